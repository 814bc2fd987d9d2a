"""A process beside the server: started with it, started again when it dies, ended with it."""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

FIRST, LAST = 0.2, 10.0  # seconds until it is started again; doubled as long as it does not live LIVED
LIVED = 10.0
END_SECONDS = 5.0  # after SIGTERM


class Beside:
    """`command` runs with a pipe as standard input, whose end it is to take for ours."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], name: str) -> None:
        self._command, self._environ, self._name = list(command), dict(environ), name
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it, and waits until it has."""
        self._over.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(END_SECONDS)

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _watch(self) -> None:
        wait = FIRST
        while not self._over.is_set():
            began = time.monotonic()
            with self._lock:
                if self._over.is_set():
                    return
                process = subprocess.Popen(self._command, env=self._environ, stdin=subprocess.PIPE)  # noqa: S603  ours
                self._process = process
            status = process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if self._over.is_set():
                return
            wait = FIRST if time.monotonic() - began >= LIVED else min(wait * 2, LAST)
            print(f"{self._name} ended with status {status}; again in {wait:.1f} s", file=sys.stderr, flush=True)
            self._over.wait(wait)
