"""The relays under measurement: ours as a subprocess, and others started by a script, each on one core."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from bench.processes import free_port

START_SECONDS: Final = 30.0


class Process:
    """`with Process(command, core, health) as p`; `pid` covers children too, as bench.processes.cpu counts."""

    def __init__(self, command: Sequence[str], core: int, health: str) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  read when it does not start
        self._health = health
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=self.log, stderr=self.log, env={**os.environ, "CORE": str(core)},
            start_new_session=True,
        )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        began = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(self._health, timeout=5):
                    return self
            except urllib.error.HTTPError:
                return self  # it answers
            except OSError:
                if self._process.poll() is not None or time.monotonic() - began > START_SECONDS:
                    self.log.seek(0)
                    said = self.log.read().decode(errors="replace")[-3000:]
                    self.stop()
                    raise SystemExit(f"a relay did not start: {said}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Its whole group: a peer's script may have started more."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, kind)
                self._process.wait(3)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait(3)
        self.log.close()


class Ours(Process):
    """`python -m telemed --no-auth`. `announce`: what it tells clients to send to, when that is not its own port."""

    def __init__(self, more: str = "", core: int = 0, announce: tuple[str, int] | None = None, port: int = 0, udp: int = 0) -> None:
        self.port, self.udp = port or free_port(), udp or free_port()
        command = [sys.executable, "-m", "telemed", "--no-auth", "--port", str(self.port), "--udp-port", str(self.udp)]
        command += ["--announce", f"{announce[0]}:{announce[1]}"] if announce else []
        super().__init__([*command, *shlex.split(more)], core, f"http://127.0.0.1:{self.port}/telemed/health")
        self.base = f"http://127.0.0.1:{self.port}/telemed"
        self.whip, self.whep = self.base + "/whip/{room}?participant={peer}", self.base + "/whep/{room}?participant={peer}"
        self.options: list[str] = []


@dataclass(frozen=True)
class Known:
    """How rtcload speaks to a relay of others at the addresses of its start script."""

    health: str
    whip: str
    whep: str
    options: tuple[str, ...] = ()


KNOWN: Final = {
    "livekit": Known(
        "http://127.0.0.1:7880/", "http://127.0.0.1:7880/whip/v1", "livekit:ws://127.0.0.1:7880/rtc?protocol=9&auto_subscribe=1",
        ("-token-cmd", "python3 -S peers/livekit_token.py"),
    ),
    "galene": Known("http://127.0.0.1:8843/", "http://127.0.0.1:8843/group/{room}/.whip", "galene:ws://127.0.0.1:8843/ws"),
}  # fmt: skip


class Peer(Process):
    """Another relay, by `name` and the script that starts it on core $CORE."""

    def __init__(self, name: str, script: str, core: int = 0) -> None:
        known = KNOWN[name]
        super().__init__([script], core, known.health)
        self.whip, self.whep, self.options = known.whip, known.whep, list(known.options)
