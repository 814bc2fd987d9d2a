"""What may be sent once: noted together, told apart."""

import asyncio
import time

import pytest

from health_hub.auth.seen import TOGETHER, Seen
from health_hub.store.store import Store


def soon() -> int:
    return (int(time.time()) + 60) * 1000


async def test_of_many_at_once_each_is_first_once(store: Store) -> None:
    seen = Seen(store.records, "dpop")
    ids = [str(n % 100) for n in range(TOGETHER * 4)]
    told = await asyncio.gather(*(seen.first(id, soon()) for id in ids))
    assert [id for id, was_first in zip(ids, told, strict=True) if was_first] == [str(n) for n in range(100)]


async def test_of_two_workers_one_is_first(store: Store) -> None:
    workers = [Seen(store.records, "dpop") for _ in range(4)]
    told = await asyncio.gather(*(w.first(str(n), soon()) for n in range(20) for w in workers))
    assert sum(told) == 20


async def test_one_that_came_before_takes_nobody_with_it(store: Store) -> None:
    seen = Seen(store.records, "dpop")
    assert await seen.first("old", soon())
    assert await asyncio.gather(*(seen.first(id, soon()) for id in ("a", "old", "b"))) == [True, False, True]
    assert not await seen.first("a", soon())


async def test_one_that_has_ended_is_forgotten(store: Store) -> None:
    seen = Seen(store.records, "dpop")
    assert await seen.first("a", soon() - 120_000)
    assert await seen.first("a", soon())


async def test_who_asked_and_went_is_noted_all_the_same(store: Store) -> None:
    seen = Seen(store.records, "dpop")
    gone = asyncio.create_task(seen.first("gone", soon()))
    stays = asyncio.create_task(seen.first("stays", soon()))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays
    assert not await seen.first("gone", soon())


async def test_what_cannot_be_noted_is_not_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails lets no proof through, and the next is noted again."""
    seen = Seen(store.records, "dpop")
    with monkeypatch.context() as broken:

        async def fail(changes: object) -> None:
            raise OSError("the database is gone")

        broken.setattr(store.records, "change", fail)
        told = await asyncio.gather(*(seen.first(id, soon()) for id in "ab"), return_exceptions=True)
        assert all(isinstance(t, OSError) for t in told)
    assert await seen.first("a", soon())
