"""What a subscriber asks for again is sent again, but never so that it crowds out the sound on a thin link."""

import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from telemed.ports import Kind
from telemed.relay.relay import Relay
from telemed.relay.reports import RESEND_OCTETS, Reports
from telemed.relay.track import Slot
from tests.telemed.relay.honest import Ear

SIZE = 1_000  # octets of what is resent


class World:
    """One peer whose forwarding step only writes down what it is asked to resend."""

    def __init__(self, relay: Relay) -> None:
        self.peer = relay.join("r", "a", Ear())
        self.reports: Reports = self.peer.reports
        self.sent: list[int] = []
        self.relay, self.real = relay, relay.forwarding
        relay.forwarding = SimpleNamespace(resend=self._resend)  # type: ignore[assignment]

    def _resend(self, forwarder: Any, number: int, now: float) -> int:
        self.sent.append(number)
        return SIZE

    def slot(self, kind: Kind) -> Slot:
        return Slot(self.peer, "1", kind, SimpleNamespace())  # type: ignore[arg-type]

    def ask(self, slot: Slot, sequences: list[int], now: float) -> list[int]:
        """What of these is resent."""
        self.sent.clear()
        self.reports._resend(slot, sequences, now)
        return list(self.sent)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    relay = Relay(step="python")
    await relay.start()
    one = World(relay)
    try:
        yield one
    finally:
        relay.forwarding = one.real
        await relay.close()


async def test_a_packet_is_not_sent_again_while_it_is_on_its_way(world: World) -> None:
    world.reports.round_trip = 0.2
    slot = world.slot("audio")
    assert world.ask(slot, [7, 8], 10.0) == [7, 8]
    assert world.ask(slot, [7, 8, 9], 10.1) == [9]
    assert world.ask(slot, [7, 8, 9], 10.2) == [7, 8]
    world.reports.round_trip = 30.0  # whatever a link of minutes says, half a second is waited at most
    assert world.ask(slot, [7], 10.7) == [7]


async def test_a_paused_picture_is_not_resent_but_sound_is(world: World) -> None:
    video, audio = world.slot("video"), world.slot("audio")
    video.starved = True
    assert world.ask(video, [1, 2], 10.0) == []
    assert world.ask(audio, [1, 2], 10.0) == [1, 2]
    video.starved = False
    assert world.ask(video, [1, 2], 11.0) == [1, 2]


async def test_resent_video_takes_half_of_a_thin_link_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(world.reports.link), "estimate", property(lambda self: 100_000))
    video, audio = world.slot("video"), world.slot("audio")
    octets = sum(len(world.ask(video, [n * 10 + k for k in range(10)], 10.0 + n * 0.1)) for n in range(101)) * SIZE
    assert 0.45 * 100_000 / 8 * 10 < octets - RESEND_OCTETS < 0.55 * 100_000 / 8 * 10
    assert world.ask(audio, list(range(20)), 20.1) == list(range(20))


async def test_what_was_resent_is_forgotten_in_time(world: World) -> None:
    slot, rng = world.slot("audio"), random.Random(1)
    for n in range(2_000):
        world.ask(slot, [rng.randrange(65_536) for _ in range(10)], 10.0 + n * 0.1)
    assert len(slot.resent) < 600
