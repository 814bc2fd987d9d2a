"""The servers under measurement: a private PostgreSQL and one hub, each pinned to a core, and the CPU they use."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def cpu(*pids: int) -> float:
    """User and system CPU-seconds of these processes and all below them, those already waited for included."""
    stats = {}
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            f = Path(f"/proc/{p}/stat").read_text().rsplit(") ", 1)[1].split()
            stats[int(p)] = (int(f[1]), sum(map(int, f[11:15])))
        except OSError:
            pass
    tree, grew = set(pids), True
    while grew:
        more = {p for p, (parent, _) in stats.items() if parent in tree} - tree
        tree |= more
        grew = bool(more)
    return sum(stats[p][1] for p in tree if p in stats) / TICK


def memory(pid: int) -> float:
    """Resident MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Postgres:
    """A cluster in a temporary folder with durable commits; `initdb` refuses root, so root runs it as `nobody`."""

    def __init__(self, core: int | None) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
        tool = str(found[0]) if found else shutil.which("postgres")
        if not tool:
            raise SystemExit("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self.bin = str(Path(tool).parent)
        self.folder, self.port, self.core = tempfile.mkdtemp(prefix="hub-bench-pg-"), free_port(), core
        self.user = {"user": "nobody"} if os.getuid() == 0 else {}
        if self.user:
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
        self._run(f"{self.bin}/initdb", "-D", f"{self.folder}/data", "-U", "hub", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.url = f"postgresql://hub@127.0.0.1:{self.port}/postgres"
        self.start()

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **self.user)  # type: ignore[call-overload]

    def start(self) -> None:
        options = (
            f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c shared_buffers=1GB -c max_wal_size=4GB -c work_mem=16MB"
        )
        pin = ["taskset", "-c", str(self.core)] if self.core is not None else []
        self._run(*pin, f"{self.bin}/pg_ctl", "-D", f"{self.folder}/data", "-w", "-s", "-l", f"{self.folder}/log", "-o", options, "start")
        self.pid = int(Path(f"{self.folder}/data/postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """kill -9 of every process of the cluster."""
        subprocess.run(["pkill", "-9", "-P", str(self.pid)], check=False)
        os.kill(self.pid, signal.SIGKILL)

    def remove(self) -> None:
        subprocess.run(
            [f"{self.bin}/pg_ctl", "-D", f"{self.folder}/data", "-s", "-m", "immediate", "stop"], check=False, cwd="/tmp", **self.user
        )  # type: ignore[call-overload]
        shutil.rmtree(self.folder, ignore_errors=True)


class Hub:
    """`health-hub serve` on a free loopback port; auth: with access control. program: the module that is run."""

    def __init__(self, database: str, core: int | None, *more: str, auth: bool = False, program: str = "health_hub.cli") -> None:
        self.database, self.core, self.more, self.port, self.auth, self.program = database, core, more, free_port(), auth, program
        self.start()

    def start(self) -> None:
        pin = ["taskset", "-c", str(self.core)] if self.core is not None else []
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  read when the hub does not start
        began = time.monotonic()
        self.process = subprocess.Popen(
            [
                *pin,
                sys.executable,
                "-m",
                self.program,
                "serve",
                *([] if self.auth else ["--no-auth"]),
                "--port",
                str(self.port),
                "--db",
                self.database,
                *self.more,
            ],
            stdout=self.log,
            stderr=self.log,
            # No relay beside it: it is measured by itself.
            env={"HEALTH_HUB_RELAY": "0", **os.environ},
        )
        self.pid = self.process.pid
        while True:
            try:
                first = "metadata" if self.auth else "Patient?_count=1"
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/fhir/{first}", timeout=5) as answer:
                    answer.read()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 120:
                    self.log.seek(0)
                    raise SystemExit("the hub did not start:\n" + self.log.read().decode(errors="replace")[-3000:]) from None
                time.sleep(0.02)
        self.started_in = time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
