"""Records of the trail that go with no change: durable before whoever left them goes on, together, each whatever becomes of others."""

import asyncio
import contextlib
import json
import sqlite3
from typing import Any

import pytest

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.store.model import Change
from health_hub.store.postgresql import WRITERS
from health_hub.store.store import Store
from tests.store.test_access import writer


async def rows(store: Store) -> list[list[Any]]:
    """The records of each row, first rows of chains apart."""
    return [row.records for chain in await store.trail.ends() for row in await store.trail.rows(chain)]


async def test_what_waits_together_is_one_row_and_durable_when_it_is_answered(store: Store) -> None:
    waiting = 0
    store.notes.under_way = lambda: waiting

    async def leave(n: int) -> None:
        nonlocal waiting
        waiting += 1
        await store.notes.add(b'{"n":%d}' % n)
        assert any({"n": n} in row for row in await rows(store))
        waiting -= 1

    await leave(0)
    for turn in range(5):
        await asyncio.gather(*[leave(100 * turn + n) for n in range(40)])
    found = await rows(store)
    assert sorted(r["n"] for row in found for r in row) == sorted([0, *(100 * t + n for t in range(5) for n in range(40))])
    assert len(found) < 100
    assert [problem async for problem in store.trail.check()] == []


async def test_nobody_waits_long_for_others_who_do_not_come(store: Store) -> None:
    store.notes.under_way = lambda: 1000
    async with asyncio.timeout(5):
        for n in range(5):
            await store.notes.add(b'{"n":%d}' % n)


async def test_they_go_with_a_commit_that_is_made_meanwhile_and_stay_when_it_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.notes.under_way = lambda: 1000
    patient: dict[str, Any] = {"resourceType": "Patient"}
    good = Change("create", "Patient", None, patient, method="POST")
    bad = Change("create", "Patient", "x", patient)

    async def failing() -> None:
        await store.commit([bad], trail=[b'{"n":"x"}'], by=writer(None))
        with pytest.raises(FhirError):
            await store.commit([bad], trail=[b'{"n":"twice"}'], by=writer(None))

    append, fails = store.trail.append, 0

    async def sometimes(*given: Any) -> Any:
        nonlocal fails
        fails += 1
        if fails % 3 == 1:
            raise RuntimeError("the trail could not be made")
        return await append(*given)

    monkeypatch.setattr(store.trail, "append", sometimes)
    for n in range(10):
        notes = [store.notes.add(b'{"n":%d}' % (10 * n + k)) for k in range(10)]
        both = [store.commit([good], trail=[b'{"n":"c%d-%d"}' % (n, k)], by=writer(None)) for k in range(2)]
        answers = await asyncio.gather(*notes, *both, return_exceptions=True)
        assert not any(isinstance(a, BaseException) for a in answers[:10]), "notes are tried again"
    monkeypatch.undo()
    await failing()
    found = [r["n"] for row in await rows(store) for r in row]
    assert sorted(n for n in found if isinstance(n, int)) == list(range(100))
    assert "x" in found
    assert "twice" not in found
    assert [problem async for problem in store.trail.check()] == []


async def test_who_goes_away_takes_nobody_along_and_a_database_that_fails_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.notes.under_way = lambda: 4
    gone = asyncio.create_task(_leave(store, b'{"n":1}'))
    stays = asyncio.create_task(_leave(store, b'{"n":2}'))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert sorted(r["n"] for row in await rows(store) for r in row) == [1, 2]

    async def away(*_: Any) -> None:
        raise FhirError(503, Issue("transient", "the database is away"))

    with monkeypatch.context() as m:
        m.setattr(store.database, "at_once", away)
        with pytest.raises(FhirError):
            await store.notes.add(b'{"n":3}')
    await store.notes.add(b'{"n":4}')
    assert json.dumps({"n": 3}) not in json.dumps(await rows(store))
    assert [problem async for problem in store.trail.check()] == []


async def test_what_was_left_is_written_before_the_store_closes(store: Store) -> None:
    left = [store.notes.add(b'{"n":%d}' % n) for n in range(3)]
    await store.notes.close()
    assert all(one.done() and one.exception() is None for one in left)


async def test_a_database_that_is_locked_is_told_to_all_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to one after the other, each after the time that a lock is waited for; nor with an error nobody understands."""
    store.notes.under_way = lambda: 8
    await store.notes.add(b'{"n":0}')
    tried = 0

    async def locked(*_: Any) -> None:
        nonlocal tried
        tried += 1
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as m:
        m.setattr(store.database, "at_once", locked)
        answers = await asyncio.gather(*[store.notes.add(b'{"n":%d}' % n) for n in range(1, 5)], return_exceptions=True)
    assert tried == 1
    assert [a.status for a in answers if isinstance(a, FhirError)] == [503] * 4
    await store.notes.add(b'{"n":5}')
    assert sorted(r["n"] for row in await rows(store) for r in row) == [0, 5]
    assert [problem async for problem in store.trail.check()] == []


async def test_nobody_waits_for_a_writer_that_was_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.notes.add(b'{"n":0}')
    begun = asyncio.Event()

    async def hangs(*_: Any) -> None:
        begun.set()
        await asyncio.sleep(3600)

    with monkeypatch.context() as m:
        m.setattr(store.database, "at_once", hangs)
        waiting = asyncio.create_task(_leave(store, b'{"n":1}'))
        await begun.wait()
        writer = store.notes._task
        assert writer is not None
        writer.cancel()
        with pytest.raises(FhirError):
            async with asyncio.timeout(5):
                await waiting
    await store.notes.add(b'{"n":2}')
    assert [problem async for problem in store.trail.check()] == []


async def test_on_postgresql_reads_wait_for_no_transaction(store: Store) -> None:
    if store.database.dialect == "sqlite":
        return  # one writes at a time there
    await store.notes.add(b'{"n":0}')
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(10):
        for _ in range(WRITERS):
            await stack.enter_async_context(store.database.transaction())
        await store.notes.add(b'{"n":1}')


async def _leave(store: Store, record: bytes) -> None:
    await store.notes.add(record)
