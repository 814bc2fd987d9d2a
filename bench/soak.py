"""`python -m bench.soak`: hours of mixed work, a kill -9 now and then; what was acknowledged must be there, memory must stay level.

python -m bench.soak [--database postgresql|sqlite] [--seconds 3600] [--kill-every 120] [--workers 8]
python -m bench.soak relay [--minutes 10] [--step python] [--step compiled]     the relay, see bench/relay/soak.py
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.client import Client
from bench.processes import Hub, Postgres, memory
from bench.relay.soak import main as relay
from health_hub.store import reindex
from health_hub.store.store import Store

# Memory may grow while caches fill; from the second tenth of the time on, this much is a leak.
GROWTH_MB = 60.0


@dataclass(slots=True)
class Ledger:
    """What one worker was told by the server: the version of each of its resources; 0 is deleted, None not known after a crash."""

    versions: dict[str, int | None] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Worker:
    """Creates, updates, reads, searches and deletes resources of its own, one request at a time."""

    def __init__(self, name: int, port: int, ledger: Ledger) -> None:
        self.name, self.ledger, self.random = name, ledger, random.Random(name)
        self.client = Client("127.0.0.1", port)

    def body(self, id: str, step: int) -> bytes:
        patient: dict[str, Any] = {
            "resourceType": "Patient", "id": id, "identifier": [{"system": f"urn:soak:{self.name}", "value": id}],
            "name": [{"family": self.random.choice(("Nguyễn", "Đặng", "Trần")), "given": [f"Bước {step}"]}],
            "birthDate": f"{self.random.randrange(1930, 2020)}", "multipleBirthInteger": step,
        }  # fmt: skip
        return json.dumps(patient).encode()

    async def run(self, until: float) -> None:
        """Until the time is over or the server is gone."""
        step = sum(self.ledger.done.values())
        while time.monotonic() < until:
            step += 1
            try:
                await self.one(step)
            except (ConnectionError, OSError, asyncio.IncompleteReadError):
                break
        await self.client.close()

    async def one(self, step: int) -> None:
        versions = self.ledger.versions
        known = [i for i, v in versions.items() if v]
        choice = self.random.random() if known else 0.0
        id = self.random.choice(known) if choice > 0.3 else f"w{self.name}-{secrets.token_hex(6)}"
        version, url = versions.get(id), f"/fhir/Patient/{id}"
        if choice < 0.6:
            versions[id] = None  # until the answer is here
            status, head, _ = await self.client.call("PUT", url, self.body(id, step), (200, 201))
            versions[id] = _etag(head)
            self.expect(versions[id] == (version or 0) + 1, f"{id} is version {versions[id]} after {version}")
            self.ledger.done["create" if status == 201 else "update"] += 1
        elif choice < 0.65:
            versions[id] = None
            await self.client.call("DELETE", url, None, (200, 204))
            versions[id] = 0
            self.ledger.done["delete"] += 1
        elif choice < 0.8:
            _, head, data = await self.client.call("GET", url)
            self.expect(_etag(head) == version and json.loads(data)["id"] == id, f"{id} read as version {_etag(head)}, not {version}")
            self.ledger.done["read"] += 1
        elif choice < 0.95:
            _, _, data = await self.client.call("GET", f"/fhir/Patient?identifier=urn:soak:{self.name}%7C{id}")
            self.expect(len(json.loads(data).get("entry", ())) == 1, f"{id} is not found by its identifier")
            self.ledger.done["search"] += 1
        else:
            _, _, data = await self.client.call("GET", f"{url}/_history?_count=1000")
            listed = [e["resource"]["meta"]["versionId"] for e in json.loads(data)["entry"] if "resource" in e]
            self.expect(listed[0] == str(version) and len(set(listed)) == len(listed), f"history of {id}: {listed[:5]}")
            self.ledger.done["history"] += 1

    def expect(self, held: bool, otherwise: str) -> None:
        if not held:
            self.ledger.wrong.append(otherwise)


def _etag(head: bytes) -> int:
    at = head.lower().index(b'etag: w/"') + 9
    return int(head[at : head.index(b'"', at)])


async def verify(database: str, ledgers: list[Ledger]) -> list[str]:
    """Everything acknowledged is there, and the index agrees with the documents."""
    store = await Store.open(database)
    try:
        problems = [p async for p in reindex.check(store)]
        for ledger in ledgers:
            for id, version in ledger.versions.items():
                if version is None:
                    continue
                stored = await store.view().read("Patient", id)
                if stored is None or stored.deleted != (version == 0) or (version and stored.version != version):
                    problems.append(f"Patient/{id} was acknowledged as {version or 'deleted'}, and is {stored and stored.version}")
        return problems
    finally:
        await store.close()


async def soak(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="hub-soak-") as folder:
        postgres = Postgres(None) if args.database == "postgresql" else None
        database = postgres.url if postgres else f"sqlite:///{folder}/hub.db"
        hub = await asyncio.to_thread(Hub, database, None)
        ledgers = [Ledger() for _ in range(args.workers)]
        end, first, kills = time.monotonic() + args.seconds, 0.0, 0
        wrong: list[str] = []
        try:
            while time.monotonic() < end:
                until = min(end, time.monotonic() + args.kill_every)
                work = asyncio.gather(*(Worker(n, hub.port, ledger).run(until + 60) for n, ledger in enumerate(ledgers)))
                await asyncio.sleep(max(0.0, min(args.kill_every / 5, until - time.monotonic())))
                first = memory(hub.pid)
                await asyncio.sleep(max(0.0, until - time.monotonic()))
                grown = memory(hub.pid) - first
                done = sum((ledger.done for ledger in ledgers), Counter())
                at = args.seconds - (end - time.monotonic())
                print(f"{at:7.0f} s  {first + grown:5.0f} MB ({grown:+.0f})  {dict(done)}", flush=True)
                if grown > GROWTH_MB:
                    wrong.append(f"memory grew by {grown:.0f} MB in {args.kill_every * 0.8:.0f} s")
                hub.kill()
                kills += 1
                await work
                # A write without an answer may have happened or not: it is not looked at again.
                await asyncio.to_thread(hub.start)
        finally:
            hub.kill()
            wrong += [w for ledger in ledgers for w in ledger.wrong] + await verify(database, ledgers)
            if postgres:
                postgres.remove()
    print("\n".join(wrong[:100]) or f"{kills} crashes, nothing lost, nothing wrong")
    return 1 if wrong else 0


def main() -> int:
    if sys.argv[1:2] == ["relay"]:
        return relay(sys.argv[2:])
    p = argparse.ArgumentParser(prog="bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    p.add_argument("--seconds", type=float, default=3600)
    p.add_argument("--kill-every", type=float, default=120)
    p.add_argument("--workers", type=int, default=8)
    return asyncio.run(soak(p.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
