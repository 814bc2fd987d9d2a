"""`meta.lastUpdated` is a mark to go on from: shown, searched and sorted by alike, later with each commit (R4 resource.html#Meta)."""

import asyncio
import time

import httpx

from health_hub.store.model import Change
from health_hub.store.store import Store
from tests.conformance.asking import Asking, patient


async def test_last_updated_as_a_mark_misses_nothing(client: httpx.AsyncClient) -> None:
    """A client that asks `_lastUpdated=gt` the newest it has seen gets every resource, and each once."""
    stop = False
    begun = asyncio.Event()

    async def writer() -> int:
        n = 0
        while not stop:
            await client.post("Basic", json={"resourceType": "Basic", "code": {"text": "sync"}})
            n += 1
            begun.set()
        return n

    writers = [asyncio.create_task(writer()) for _ in range(8)]
    await begun.wait()
    mark, got, made = "2000-01-01T00:00:00.000+07:00", [], 0
    end = time.monotonic() + 2
    while not stop:
        await asyncio.sleep(0)
        if time.monotonic() > end:
            stop = True
            made = sum(await asyncio.gather(*writers))
        url = f"Basic?_sort=_lastUpdated&_count=1000&_lastUpdated=gt{mark.replace('+', '%2B')}"
        while url:
            page = (await client.get(url)).json()
            found = [e["resource"] for e in page.get("entry", ())]
            got += [r["id"] for r in found]
            mark = max([mark, *(r["meta"]["lastUpdated"] for r in found)])
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert len(got) == len(set(got))
    assert len(got) == made


async def test_the_time_shown_is_the_time_stored_also_behind_a_worker_whose_clock_is_ahead(ask: Asking, store: Store) -> None:
    await ask.put(patient("1"))
    ahead = (await store.view().read("Patient", "1")).updated + 60_000  # type: ignore[union-attr]
    mark = "?1" if store.database.dialect == "sqlite" else "$1"
    await store.database.execute(f"UPDATE resource SET updated = {mark}", [(ahead,)])
    if hasattr(store.reads, "forget"):
        store.reads.forget()
    result = (await store.commit([Change("update", "Patient", "1", patient("1", active=True))]))[0].stored
    assert result.updated > ahead
    shown = (await ask.client.get("Patient/1")).json()["meta"]["lastUpdated"]
    assert await ask.found("Patient?_lastUpdated=" + shown.replace("+", "%2B")) == "1"


async def test_last_updated_as_a_mark_misses_nothing_beside_long_transactions(client: httpx.AsyncClient) -> None:
    basic = {"resourceType": "Basic", "code": {"text": "sync"}}
    entries = [{"resource": basic, "request": {"method": "POST", "url": "Basic"}} for _ in range(150)]
    busy = True

    async def single() -> int:
        n = 0
        while busy:
            await client.post("Basic", json=basic)
            n += 1
        return n

    async def long() -> int:
        for _ in range(4):
            await client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        return 4 * len(entries)

    singles, large = [asyncio.create_task(single()) for _ in range(3)], asyncio.create_task(long())
    mark, got, made = "2000-01-01T00:00:00.000+07:00", [], 0
    while made == 0:
        await asyncio.sleep(0)  # reads of SQLite within this process give the writers no turn
        if large.done():
            busy = False
            made = sum(await asyncio.gather(*singles)) + await large
        url = f"Basic?_sort=_lastUpdated&_count=1000&_lastUpdated=gt{mark.replace('+', '%2B')}"
        while url:
            page = (await client.get(url)).json()
            found = [e["resource"] for e in page.get("entry", ())]
            got += [r["id"] for r in found]
            mark = max([mark, *(r["meta"]["lastUpdated"] for r in found)])
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert len(got) == len(set(got))
    assert len(got) == made
