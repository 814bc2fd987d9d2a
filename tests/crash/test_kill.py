"""kill -9 in the middle of work: what was acknowledged is there, transactions are whole, the program starts again by itself."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.client import Client
from bench.processes import Hub
from health_hub.store.reindex import check
from health_hub.store.store import Store
from tests.databases import Cluster

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def single(n: int) -> bytes:
    return json.dumps({"resourceType": "Basic", "identifier": [{"system": "urn:crash", "value": f"s{n}"}], "code": {"text": "x"}}).encode()


def transaction(n: int) -> bytes:
    entries = [
        {
            "resource": {"resourceType": "Basic", "identifier": [{"system": "urn:crash", "value": f"t{n}"}], "code": {"text": str(i)}},
            "request": {"method": "POST", "url": "Basic"},
        }
        for i in range(20)
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


async def work(port: int, seed: int, acknowledged: set[str]) -> None:
    """Writes until the server is gone."""
    client, rnd = Client("127.0.0.1", port), random.Random(seed)
    while True:
        n = rnd.getrandbits(40)
        name = f"s{n}" if rnd.random() < 0.7 else f"t{n}"
        try:
            if name[0] == "s":
                await client.call("POST", "/fhir/Basic", single(n), (201,))
            else:
                await client.call("POST", "/fhir", transaction(n), (200,))
        except Exception:
            await client.close()
            return
        acknowledged.add(name)


async def found(url: str) -> tuple[dict[str, int], list[str]]:
    """How often each name is stored, and what `health-hub check` would list."""
    store = await Store.open(url)
    try:
        counts: dict[str, int] = {}
        async for s in store.view().scan(["Basic"]):
            name = json.loads(s.doc or b"")["identifier"][0]["value"]
            counts[name] = counts.get(name, 0) + 1
        return counts, [p async for p in check(store)]
    finally:
        await store.close()


def judge(acknowledged: set[str], counts: dict[str, int], problems: list[str]) -> None:
    assert problems == []
    assert acknowledged <= counts.keys(), f"{len(acknowledged - counts.keys())} acknowledged writes are lost"
    assert {n for name, n in counts.items() if name[0] == "t"} <= {20}, "a transaction is not whole"
    assert {n for name, n in counts.items() if name[0] == "s"} <= {1}
    assert len(acknowledged) > 50, "too little happened before the crash to prove anything"


async def test_killed_server_loses_nothing_acknowledged(database_url: str) -> None:
    hub = await asyncio.to_thread(Hub, database_url, None)
    acknowledged: set[str] = set()
    try:
        for turn in range(3):
            workers = [asyncio.create_task(work(hub.port, turn * 100 + i, acknowledged)) for i in range(8)]
            await asyncio.sleep(1.0 + 0.3 * turn)
            hub.kill()
            await asyncio.gather(*workers)
            await asyncio.to_thread(hub.start)
    finally:
        hub.kill()
    judge(acknowledged, *await found(database_url))


async def test_killed_postgresql_loses_nothing_acknowledged_and_the_hub_recovers(cluster: Cluster) -> None:
    own = Cluster(fsync=True)
    try:
        url = await own.create("hub_crash")
        hub = await asyncio.to_thread(Hub, url, None)
        acknowledged: set[str] = set()
        try:
            for turn in range(2):
                workers = [asyncio.create_task(work(hub.port, turn * 100 + i, acknowledged)) for i in range(8)]
                await asyncio.sleep(1.5)
                postmaster = int(Path(f"{own.folder}/data/postmaster.pid").read_text().split()[0])
                os.kill(postmaster, signal.SIGKILL)
                await asyncio.gather(*workers)
                for last in range(20):
                    try:  # until the last process of the old one is gone from its shared memory
                        await asyncio.to_thread(own.start)
                        break
                    except subprocess.CalledProcessError:
                        assert last < 19, Path(f"{own.folder}/log").read_text()[-2000:]
                        await asyncio.sleep(0.5)
                client = Client("127.0.0.1", hub.port)
                for _ in range(100):
                    status, _, _ = await client.call("GET", "/fhir/Basic?_count=1", want=(200, 503))
                    if status == 200:
                        break
                    await asyncio.sleep(0.1)
                assert status == 200, "the hub did not find its database again"
                await client.close()
        finally:
            hub.kill()
        judge(acknowledged, *await found(url))
    finally:
        own.remove()


async def test_conditional_create_by_twenty_clients_on_two_workers_makes_one(postgresql_template: Cluster) -> None:
    url = await postgresql_template.create("hub_two", "template_hub")
    hubs = [await asyncio.to_thread(Hub, url, None) for _ in range(2)]
    try:
        clients = [Client("127.0.0.1", hubs[i % 2].port) for i in range(20)]
        for turn in range(5):
            entry = {
                "resource": json.loads(single(turn)),
                "request": {"method": "POST", "url": "Basic", "ifNoneExist": f"identifier=urn:crash|s{turn}"},
            }
            body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()
            answers = await asyncio.gather(*[c.call("POST", "/fhir", body) for c in clients])
            statuses = [json.loads(a[2])["entry"][0]["response"]["status"][:3] for a in answers]
            assert statuses.count("201") == 1, statuses
            assert statuses.count("200") == 19
        for c in clients:
            await c.close()
    finally:
        for hub in hubs:
            hub.kill()
    counts, problems = await found(url)
    assert counts == {f"s{n}": 1 for n in range(5)}
    assert problems == []


def test_load_killed_and_run_again_loads_each_once(database_url: str, tmp_path: Path) -> None:
    files = tmp_path / "in"
    files.mkdir()
    for n in range(60):
        (files / f"{n:03}.json").write_bytes(transaction(n))
    command = [sys.executable, "-m", "health_hub.cli", "load", str(files), "--db", database_url]
    for wait in (1.2, 1.6, 2.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    counts, problems = asyncio.run(found(database_url))
    assert problems == []
    assert counts == {f"t{n}": 20 for n in range(60)}
