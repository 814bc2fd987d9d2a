"""Who goes on from the newest time it has seen misses nothing, however slow a writer is and whatever its clock says (settled.py)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from health_hub.fhir.outcome import FhirError
from health_hub.fhir.search.parse import parse
from health_hub.fhir.search.query import Query
from health_hub.store import commit, settled
from health_hub.store.model import Change
from health_hub.store.store import Store
from tests.databases import Fresh


@pytest.fixture
async def two(postgresql_fresh: Fresh) -> AsyncIterator[tuple[Store, Store]]:
    """Two processes' stores over one database."""
    url = await postgresql_fresh.url()
    one, other = await Store.open(url), await Store.open(url)
    yield one, other
    await one.close()
    await other.close()


def since(ms: int, one: Store) -> Query:
    asked = [("_lastUpdated", "gt" + one.clock.text(ms)), ("_sort", "_lastUpdated"), ("_count", "1000")]
    return parse(("Basic",), asked, strict=True, zone=ZONE)


def basic(id: str) -> Change:
    return Change("update", "Basic", id, {"resourceType": "Basic", "id": id, "code": {"text": id}})


ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


class Gate:
    """Holds the commits of a task between the choice of their time and the statement that writes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open, self._write = asyncio.Event(), asyncio.Event(), commit.write
        self.times: list[int] = []
        monkeypatch.setattr(commit, "write", self.write)

    async def write(self, t: Any, writes: Any, chosen: int) -> None:
        if any(w.id.startswith("slow") for w in writes):
            self.times.append(writes[0].updated)
            self.reached.set()
            await self.open.wait()
        await self._write(t, writes, chosen)


@contextmanager
def clock_ahead(monkeypatch: pytest.MonkeyPatch, store: Store, ms: int) -> Iterator[None]:
    with monkeypatch.context() as m:
        now, tick = store.clock.now, store.clock.tick
        m.setattr(store.clock, "now", lambda: now() + ms)
        m.setattr(store.clock, "tick", lambda after=0: max(tick(after), now() + ms))
        yield


@pytest.mark.parametrize("ahead", [0, 5000])
async def test_a_writer_that_is_slow_takes_a_later_time(two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    one, other = two
    gate = Gate(monkeypatch)
    slow = asyncio.create_task(other.commit([basic("slow")]))
    await gate.reached.wait()
    with clock_ahead(monkeypatch, one, ahead):
        await one.commit([basic("fast")])
        page = await one.view().search(since(0, one))
        assert [h.stored.id for h in page.hits] == ["fast"]
        mark = page.hits[-1].stored.updated
        assert page.until is not None
        assert page.until >= mark > gate.times[0]
        gate.open.set()
        [late] = await asyncio.wait_for(slow, 10)
        assert late.stored.updated > page.until
        again = await one.view().search(since(page.until, one)) if not ahead else None
        assert again is None or [h.stored.id for h in again.hits] == ["slow"]
    assert len(gate.times) == 2, "it was refused once"


async def test_a_long_one_asks_first_and_is_waited_for(two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two
    gate = Gate(monkeypatch)
    slow = asyncio.create_task(other.commit([basic(f"slow-{n}") for n in range(commit.LONG + 1)]))
    await gate.reached.wait()
    await one.commit([basic("fast")])
    search = asyncio.create_task(one.view().search(since(0, one)))
    history = asyncio.create_task(one.view().history(since_ms=0, count=1000))
    done, _ = await asyncio.wait([search, history], timeout=0.5)
    assert not done
    gate.open.set()
    assert len((await search).hits) == commit.LONG + 2 == len((await history).versions)
    await slow
    assert len(gate.times) == 1, "it was not refused"


async def test_an_earlier_time_is_told_when_one_takes_too_long(two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two
    monkeypatch.setattr(settled, "PATIENCE", 0.3)
    await one.commit([basic("before")])
    first = await one.view().search(since(0, one))
    gate = Gate(monkeypatch)
    slow = asyncio.create_task(other.commit([basic(f"slow-{n}") for n in range(commit.LONG + 1)]))
    await gate.reached.wait()
    await one.commit([basic("after")])
    page = await one.view().search(since(0, one))
    assert [h.stored.id for h in page.hits] == ["before"]
    assert page.until == first.until
    # Who does not know any earlier one says so instead of telling less than there is.
    monkeypatch.setattr(settled, "LONGEST", 0.5)
    with pytest.raises(FhirError) as e:
        await other.view().search(since(0, other))
    assert e.value.status == 503
    gate.open.set()
    await slow
    assert len((await one.view().search(since(0, one))).hits) == commit.LONG + 3


async def test_other_programs_are_not_waited_for(two: tuple[Store, Store], postgresql_fresh: Fresh) -> None:
    one, _ = two
    await one.commit([basic("a")])
    admin = await asyncpg.connect(one.database.url)
    try:
        await admin.execute("BEGIN; CREATE TABLE left_open (a int)")
        began = time.monotonic()
        assert [h.stored.id for h in (await one.view().search(since(0, one))).hits] == ["a"]
        assert time.monotonic() - began < settled.PATIENCE
    finally:
        await admin.close()


async def test_a_clock_that_is_years_ahead_takes_nobody_along(two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two
    with clock_ahead(monkeypatch, one, 10**11):
        page = await one.view().search(since(0, one))
    assert page.until is not None
    [written] = await other.commit([basic("a")])
    assert page.until < written.stored.updated < time.time() * 1000 + 70_000


async def test_pages_tell_no_more_than_the_first(two: tuple[Store, Store]) -> None:
    one, _ = two
    for n in range(5):
        await one.commit([basic(f"b{n}")])
    query = since(0, one)
    query.count = 2
    page = await one.view().search(query)
    seen, until = [h.stored.id for h in page.hits], page.until
    await one.commit([basic("later")])
    while page.cursor is not None:
        page = await one.view().search(query, page.cursor)
        seen += [h.stored.id for h in page.hits]
        assert page.until == until
    assert seen == [f"b{n}" for n in range(5)]


async def test_ten_readers_and_writers_at_once(two: tuple[Store, Store]) -> None:
    """Each reader sees every version once, by the mark of its last page."""
    one, other = two
    stop = False

    async def write(k: int) -> int:
        n = 0
        while not stop:
            size = 60 if k == 0 and n % 5 == 0 else 1
            await (one, other)[k % 2].commit([basic(f"{k}-{n}-{i}") for i in range(size)])
            n += 1
        return sum(60 if k == 0 and i % 5 == 0 else 1 for i in range(n))

    async def read(k: int) -> list[str]:
        store, mark, seen = (one, other)[k % 2], 0, []
        while True:
            last = stop
            query = since(mark, store)
            query.count = 7
            page = await store.view().search(query)
            mark = page.until or 0
            seen += [h.stored.id for h in page.hits]
            while page.cursor is not None:
                page = await store.view().search(query, page.cursor)
                seen += [h.stored.id for h in page.hits]
            if last:
                return seen

    writers = [asyncio.create_task(write(k)) for k in range(6)]
    readers = [asyncio.create_task(read(k)) for k in range(4)]
    await asyncio.sleep(3)
    stop = True
    made = sum(await asyncio.gather(*writers))
    for seen in await asyncio.gather(*readers):
        assert len(seen) == len(set(seen))
        assert len(seen) == made
