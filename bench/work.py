"""The kinds of work that are measured; each checks what it is answered."""

import asyncio
import json
import os
import random
import tarfile
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jiter

from bench.client import Client
from bench.data import CODES, FAMILY, GIVEN, LOINC, observation, patient
from bench.processes import cpu
from health_hub.fhir.keys import fold

SYNTHEA = Path(os.environ.get("HEALTH_HUB_DATA", Path(__file__).parents[2] / "shared" / "data")) / "synthea-24-patients.tar.xz"


@dataclass
class Measured:
    """One kind of work. `each`: what is counted (requests or resources). CPU-seconds are of server and database alone."""

    work: str
    count: int
    seconds: float
    server_cpu: float
    database_cpu: float
    took_ms: list[float] = field(repr=False)
    failed: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def rate_cpu(self) -> float:
        used = self.server_cpu + self.database_cpu
        return self.count / used if used else 0.0

    def quantile(self, q: float) -> float:
        return sorted(self.took_ms)[min(len(self.took_ms) - 1, int(len(self.took_ms) * q))] if self.took_ms else 0.0

    def row(self) -> dict[str, Any]:
        return {
            "work": self.work,
            "count": self.count,
            "failed": len(self.failed),
            "per s": round(self.rate),
            "per CPU-s": round(self.rate_cpu),
            "p50 ms": round(self.quantile(0.5), 2),
            "p95 ms": round(self.quantile(0.95), 2),
            "server CPU s": round(self.server_cpu, 2),
            "database CPU s": round(self.database_cpu, 2),
        }


class Work:
    """Closed-loop load by `clients` connections against one hub."""

    def __init__(self, port: int, server: int, database: int | None, clients: int = 8, seed: int = 7, token: str | None = None) -> None:
        self.port, self.server, self.database, self.rnd = port, server, database, random.Random(seed)
        self.clients = [Client("127.0.0.1", port, token) for _ in range(clients)]
        self.patients: list[str] = []
        self.observations: list[str] = []
        self.each = 0
        self.files: list[tuple[bytes, int]] = []
        self.walked = 0

    async def seed(self, patients: int, each: int, tell: Callable[[int], None] = lambda n: None) -> None:
        """`patients` and for each `each` Observations, in transactions of about 500 entries."""
        todo, self.each = list(range(len(self.patients), patients)), each
        part_size = max(1, 500 // (each + 1))

        async def fill(client: Client) -> None:
            while todo:
                part, entries = [todo.pop(0) for _ in range(min(len(todo), part_size))], []
                for n in part:
                    full = f"urn:uuid:00000000-0000-4000-8000-{n:012x}"
                    entries.append({"fullUrl": full, "resource": patient(n, self.rnd), "request": {"method": "POST", "url": "Patient"}})
                    entries += [
                        {
                            "resource": observation(full, CODES[i % len(CODES)], n, self.rnd),
                            "request": {"method": "POST", "url": "Observation"},
                        }
                        for i in range(each)
                    ]
                body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
                answer = jiter.from_json((await client.call("POST", "/fhir", body))[2])["entry"]
                assert len(answer) == len(entries)
                for e in answer:
                    kind, id = e["response"]["location"].split("/_history")[0].split("/")[-2:]
                    (self.patients if kind == "Patient" else self.observations).append(f"{kind}/{id}")
                tell(len(entries))

        await asyncio.gather(*[fill(c) for c in self.clients[:4]])

    async def create(self, client: Client) -> int:
        n = self.rnd.getrandbits(30)
        body = json.dumps(observation(self.rnd.choice(self.patients), self.rnd.choice(CODES), n, self.rnd)).encode()
        _, head, _ = await client.call("POST", "/fhir/Observation", body, (201,))
        assert b"/_history/1" in head
        return 1

    async def read(self, client: Client) -> int:
        ref = self.rnd.choice(self.observations)
        _, _, body = await client.call("GET", f"/fhir/{ref}")
        assert jiter.from_json(body)["id"] == ref.split("/")[1]
        return 1

    async def search(self, client: Client) -> int:
        p, c = self.rnd.choice(self.patients), self.rnd.choice(CODES)
        _, _, body = await client.call(
            "GET", f"/fhir/Observation?subject={p}&code={urllib.parse.quote(LOINC + '|' + c, safe='')}&_sort=-date&_count=20"
        )
        got = [e["resource"] for e in jiter.from_json(body).get("entry", [])]
        assert min(self.each // len(CODES), 20) <= len(got) <= 20, len(got)
        assert all(o["subject"]["reference"] == p and o["code"]["coding"][0]["code"] == c for o in got)
        dates = [o["effectiveDateTime"] for o in got]
        assert dates == sorted(dates, reverse=True)
        return 1

    async def newest(self, client: Client) -> int:
        _, _, body = await client.call(
            "GET", f"/fhir/Observation?code={urllib.parse.quote(LOINC + '|' + self.rnd.choice(CODES), safe='')}&_sort=-date&_count=20"
        )
        dates = [e["resource"]["effectiveDateTime"] for e in jiter.from_json(body)["entry"]]
        assert len(dates) == 20
        assert dates == sorted(dates, reverse=True)
        return 1

    async def name(self, client: Client) -> int:
        word = self.rnd.choice(FAMILY)[:3] if self.rnd.random() < 0.5 else self.rnd.choice(GIVEN)[:3]
        _, _, body = await client.call("GET", f"/fhir/Patient?name={urllib.parse.quote(word)}")
        got = [e["resource"]["name"][0] for e in jiter.from_json(body)["entry"]]
        assert got
        assert all(any(fold(v).startswith(fold(word)) for v in [n["family"], *n["given"]]) for n in got)
        return 1

    async def bundle(self, client: Client) -> int:
        body, count = self.files.pop()
        answer = jiter.from_json((await client.call("POST", "/fhir", body))[2])["entry"]
        assert len(answer) == count
        assert all(e["response"]["status"][:3] in ("200", "201") for e in answer)
        return count

    async def walk(self, client: Client) -> int:
        path: str | None = (
            f"/fhir/Observation?code={urllib.parse.quote(LOINC + '|' + CODES[self.walked % len(CODES)], safe='')}&_count=1000"
        )
        self.walked += 1
        seen: set[str] = set()
        while path:
            page = jiter.from_json((await client.call("GET", path))[2])
            ids = [e["resource"]["id"] for e in page.get("entry", [])]
            assert not seen & set(ids), "a page repeats a resource"
            seen.update(ids)
            following = next((x["url"] for x in page.get("link", []) if x["relation"] == "next"), None)
            path = following and following[following.index("/fhir/") :]
        assert len(seen) >= len(self.patients) * self.each // len(CODES), len(seen)
        return len(seen)

    async def open_bundles(self) -> None:
        """The Synthea patients, after the hospitals and practitioners they point to."""

        def members(shared: bool) -> list[bytes]:
            with tarfile.open(SYNTHEA) as t:
                found = sorted((m for m in t.getmembers() if m.isfile() and ("Information" in m.name) == shared), key=lambda m: m.name)
                return [f.read() for m in found if (f := t.extractfile(m))]

        for raw in members(True):
            await self.clients[0].call("POST", "/fhir", raw)
        self.files = [(b, len(json.loads(b)["entry"])) for b in members(False)]

    def _cpu(self) -> tuple[float, float]:
        return cpu(self.server), cpu(self.database) if self.database else 0.0

    async def timed(self, work: str, seconds: float, warm: float = 3.0) -> Measured:
        """Runs one kind of work for `seconds`, or until there is no more of it (bundles)."""
        job: Callable[[Client], Awaitable[int]] = getattr(self, work)
        clients = self.clients[:1] if work == "walk" else self.clients[:4] if work == "bundle" else self.clients
        if warm and work != "bundle":
            await self._run(job, clients, warm, [], [])
        elif work == "bundle":
            await self.open_bundles()
        took: list[float] = []
        bad: list[str] = []
        before, start = self._cpu(), time.monotonic()
        count = await self._run(job, clients, seconds, took, bad)
        after = self._cpu()
        return Measured(work, count, time.monotonic() - start, after[0] - before[0], after[1] - before[1], took, bad)

    async def _run(
        self, job: Callable[[Client], Awaitable[int]], clients: list[Client], seconds: float, took: list[float], bad: list[str]
    ) -> int:
        count, start = 0, time.monotonic()

        async def loop(client: Client) -> None:
            nonlocal count
            while time.monotonic() - start < seconds and (job.__name__ != "bundle" or self.files) and len(bad) < 20:
                t = time.perf_counter()
                try:
                    n = await job(client)
                    count += n  # not `+= await`: that adds to what count was before waiting
                except Exception as e:
                    bad.append(repr(e)[:300])
                took.append((time.perf_counter() - t) * 1000)

        await asyncio.gather(*[loop(c) for c in clients])
        return count
