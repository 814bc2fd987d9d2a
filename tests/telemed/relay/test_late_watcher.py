"""Who comes late to a picture dearer than the first guess of a link gets it all the same, and a link that was starved is tried again."""

import asyncio

import pytest

from bench.relay import sources
from bench.relay.load import Load, Plan
from bench.relay.relays import Ours

SECONDS = 20.0  # the worst that a busy machine may take


async def test_late_watchers_of_one_dear_layer_see_it() -> None:
    with Ours() as relay:
        async with Load(Plan(base=(relay.base,), watchers=0, kbps=700)) as load:
            publisher = load.publishers[0]
            await asyncio.sleep(2.5)  # by now the relay has measured what the layer takes
            watchers = [await load.watch(0, "a", publisher, str(n)) for n in range(3)]
            for watcher in watchers:
                watcher.trace = True
            for _ in range(int(SECONDS * 10)):
                if min(len(w.arrived) for w in watchers) > 200:
                    break
                await asyncio.sleep(0.1)
            assert min(len(w.arrived) for w in watchers) > 200


async def test_a_keyframe_asked_for_too_soon_after_another_is_asked_for_when_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher sends keyframes only when asked, and nobody but the relay asks."""
    monkeypatch.setattr(sources, "KEY_SECONDS", 10_000)
    with Ours() as relay:
        async with Load(Plan(base=(relay.base,), watchers=0)) as load:
            publisher = load.publishers[0]
            for n in range(5):
                watcher = await load.watch(0, "a", publisher, str(n))
                for _ in range(int(SECONDS * 25)):
                    if watcher.first_frame:
                        break
                    await asyncio.sleep(0.02)
                assert watcher.first_frame, f"watcher {n} saw nothing"
