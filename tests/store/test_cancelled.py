"""What watches in the background ends when it is told to, also at the very moment that it is woken."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from health_hub.access import scribe as scribes
from health_hub.access.entry import Entry, encode
from health_hub.access.scribe import Scribe
from health_hub.store.store import Store


async def _ends(stop: Coroutine[Any, Any, None]) -> None:
    # Not timeout: its cancellation would end what the first one did not.
    _, late = await asyncio.wait({asyncio.create_task(stop)}, timeout=3)
    for task in late:
        task.cancel()
    assert not late


async def test_the_watch_over_search_parameters_ends_as_it_is_woken(store: Store) -> None:
    store.parameters.start()
    await asyncio.sleep(0.05)
    store.parameters._changed.set()
    await _ends(store.parameters.stop())


async def test_a_scribe_ends_as_it_is_hurried(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribes, "EVERY", 0.01)
    monkeypatch.setattr(scribes, "SHARE", 1_000_000)
    scribe: Any = Scribe(store, "Asia/Ho_Chi_Minh")
    scribe.busy = 1
    await store.commit([], trail=[encode(Entry(1, "read", "R", 200))])
    scribe.start()
    async with asyncio.timeout(5):
        while not await store.records.get("trail", str(next(iter(await store.trail.ends())))):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # it makes way for others now
    scribe._hurried.set()
    await _ends(scribe.stop())
