"""The server under attack, the second client that must be answered meanwhile, and the end's account."""

import http.client
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench.processes import Hub, cpu, memory
from tests.hostile import wire

CPU_SECONDS = 20.0  # most work one test's requests may cause, in seconds of CPU of the server: wall time depends on the neighbours
GAP_SECONDS = 15.0  # longest wait of a second client
GROWTH_MB = 400.0  # of the server's memory over the whole run, hostile bodies of 64 MiB among it
PEAK_MB = 1200.0  # of its memory at any time: a body of 64 MiB, and what it becomes

PATIENT = {"resourceType": "Patient", "id": "an", "name": [{"family": "Nguyễn", "given": ["Văn", "An_50%"]}], "birthDate": "1980-02-29"}
SEED: list[dict[str, Any]] = [
    PATIENT,
    {"resourceType": "Patient", "id": "binh", "name": [{"family": "Trần", "given": ["Bình\\"]}], "birthDate": "1991"},
    {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/an"},
        "effectiveDateTime": "2026-11-20T08:00:00+07:00",
        "valueQuantity": {"value": 72, "system": "http://unitsofmeasure.org", "code": "/min"},
    },
    {"resourceType": "Location", "id": "l1", "name": "Trạm y tế", "position": {"longitude": 105.8, "latitude": 21.6}},
]


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


class Attacked:
    """A hub with a few records and a second client who asks all the time."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.hub = Hub(database, None)
        self.port = self.hub.port
        for resource in SEED:
            answer = self.call("PUT", f"{resource['resourceType']}/{resource['id']}", wire.json.dumps(resource).encode())
            assert answer.status == 201, answer
        self.memory = memory(self.hub.pid)
        self.longest = 0.0
        self._answered = threading.Condition()
        self._count = 0
        self._wanted = threading.Event()  # somebody waits for the next answer
        self._stop = False
        self._second = threading.Thread(target=self._ask, daemon=True)
        self._second.start()

    def call(self, method: str, path: str, body: bytes | None = None, headers: wire.Headers = (), **more: Any) -> wire.Answer:
        return wire.call(self.port, method, path, body, headers, **more)

    def get(self, path: str, headers: wire.Headers = ()) -> wire.Answer:
        return self.call("GET", path, None, headers)

    def post(self, path: str, body: bytes, content_type: str = wire.JSON, **more: Any) -> wire.Answer:
        return self.call("POST", path, body, [("Content-Type", content_type)], **more)

    def cpu(self) -> float:
        return cpu(self.hub.pid)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self._stop:
            began = time.monotonic()
            try:
                connection.request("GET", "/fhir/Patient/an")
                answer = connection.getresponse()
                answer.read()
                good = answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                good = False
            with self._answered:
                self.longest = max(self.longest, time.monotonic() - began)
                self._count += good
                self._answered.notify_all()
            self._wanted.wait(0.05)
        connection.close()

    def answered(self) -> bool:
        """Whether the second client gets an answer from now on."""
        with self._answered:
            goal = self._count + 2  # one may have been under way
            self._wanted.set()
            try:
                return self._answered.wait_for(lambda: self._count >= goal, 30)
            finally:
                self._wanted.clear()

    def finish(self) -> list[str]:
        """What is wrong with the server after all of it; stops it."""
        wrong = []
        if self.hub.process.poll() is not None:
            wrong.append(f"the server ended with {self.hub.process.returncode}")
        else:
            grown, peak = memory(self.hub.pid) - self.memory, _peak(self.hub.pid)
            print(f"memory: {grown:.0f} MB more than before, {peak:.0f} MB at most")
            if grown > GROWTH_MB:
                wrong.append(f"the server's memory grew by {grown:.0f} MB")
            if peak > PEAK_MB:
                wrong.append(f"the server's memory was {peak:.0f} MB at most")
        self._stop = True
        self._second.join(10)
        for resource in SEED:
            kept = self.get(f"{resource['resourceType']}/{resource['id']}").json()
            if {k: v for k, v in kept.items() if k != "meta"} != resource:
                wrong.append(f"{resource['resourceType']}/{resource['id']} was changed: {kept}")
        self.hub.stop()
        self.hub.log.seek(0)
        log = self.hub.log.read().decode(errors="replace")
        self.hub.log.close()
        if "Traceback" in log:
            wrong.append("the server's log holds a traceback: " + log[log.index("Traceback") - 300 :][:3000])
        done = subprocess.run(
            [sys.executable, "-m", "health_hub.cli", "check", "--db", self.database], capture_output=True, text=True, check=False
        )
        if done.returncode:
            wrong.append("health-hub check: " + done.stdout[-2000:] + done.stderr[-2000:])
        return wrong
