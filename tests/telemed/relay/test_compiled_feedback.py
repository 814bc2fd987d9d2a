"""Feedback in C, both ways, against Python: what is built for a publisher byte for byte, what a subscriber's tells as a whole."""

import math
import random
import socket
import time
from typing import Any

import pytest

from telemed.relay import srtp, twcc
from telemed.relay.build import choose, library
from telemed.relay.estimator import Estimator
from telemed.wire import rtcp
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import PROFILE

SENDER, KEY = 77, bytes(range(28))


class Step:
    """The step in C with one endpoint, and what it hands on of its feedback."""

    def __init__(self) -> None:
        self.sock, self.peer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for s in (self.sock, self.peer):
            s.bind(("127.0.0.1", 0))
            s.setblocking(False)
        self.step: Any = choose(have("compiled"), self.sock, self)  # type: ignore[arg-type]
        self.endpoint = self.step.endpoint(None)
        self.endpoint.secure(srtp.Keys(PROFILE, KEY, True), srtp.Keys(PROFILE, KEY, False))
        self.endpoint.address = self.peer.getsockname()
        self.step.know(self.peer.getsockname(), self.endpoint)
        self.far: Any = choose("python", self.peer, self)  # type: ignore[arg-type]
        self.there = self.far.endpoint(None)
        self.there.secure(srtp.Keys(PROFILE, KEY, True), srtp.Keys(PROFILE, KEY, False))
        self.there.address = self.sock.getsockname()
        self.far.know(self.sock.getsockname(), self.there)
        self.estimator: Estimator = self.step.estimator(0.0)
        self.endpoint.follow(self.estimator.history, self.estimator.trend)
        self.endpoint.told_by(SENDER)
        self.told: list[Any] = []
        self.came: list[bytes] = []

    def give(self, packet: bytes) -> None:
        """An RTCP packet comes."""
        self.far.send_rtcp(self.there, packet)
        self.step.pump()

    def on_told(self, endpoint: Any, told: twcc.Digest, now: float) -> None:
        assert endpoint is self.endpoint
        self.told.append((told.count, told.lost, told.octets, told.delay, told.tail, told.newest, told.first, told.fed, told.packets))
        self.estimator.take(now, told)

    def on_rtcp(self, endpoint: Any, data: bytes, now: float) -> None:
        self.came.append(data)

    def close(self) -> None:
        self.step.close()
        self.sock.close()
        self.peer.close()


@pytest.fixture
def step() -> Any:
    have("compiled")
    one = Step()
    yield one
    one.close()


@pytest.mark.parametrize("seed", range(4))
def test_both_forms_build_the_same_feedback(step: Step, seed: int) -> None:
    from telemed.relay import compiled

    rng = random.Random(seed)
    lib = compiled.load(library())
    plain, ours = twcc.FeedbackBuilder(), compiled.FeedbackBuilder(lib, step.endpoint, compiled.ffi.new("uint8_t[1500]"))
    sequence, clock, held = rng.randrange(65_536), 5_000_000, []
    built = in_c = 0
    for _ in range(1_500):
        entries = []
        for _ in range(rng.choice((0, 1, 3, 12, 40, 250))):
            sequence += rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 25)) if rng.random() < 0.3 else 1
            clock += rng.choice((0, 40, 900, 5_000, 20_000)) + (rng.randrange(10_000_000) if rng.random() < 0.001 else 0)
            entry = clock << 16 | sequence & 0xFFFF
            (held if rng.random() < 0.003 else entries).append(entry)
        if held and rng.random() < 0.3:  # one that was overtaken
            late = held.pop()
            entries.append(clock << 16 | late & 0xFFFF)
        for entry in entries:
            plain.note(entry)
        count = min(len(entries), 512)
        for n, entry in enumerate(entries[:count]):
            step.endpoint.c.noted[n] = entry
        step.endpoint.c.noted_count = count
        before = ours._c.recent_at
        made = ours.take(1, 2)
        assert made == plain.take(1, 2)
        built += bool(made)
        in_c += ours._c.recent_at > before
    assert in_c > built // 3


def feed(step: Step, base: int, delays: list[float | None], at: float) -> bytes:
    """Packets leave 20 ms apart and arrive so late; the feedback about them."""
    builder = twcc.FeedbackBuilder()
    for n, delay in enumerate(delays):
        left = at + n * 0.02
        step.estimator.history.sent(base + n & 0xFFFF, left, 1_000)
        if delay is not None:
            builder.record(base + n & 0xFFFF, int((left + 50 + delay) * 1e6))
    (packet,) = builder.take(SENDER, 2)
    return packet


def test_what_tells_of_nothing_is_gathered_and_told_as_one(step: Step) -> None:
    step.give(feed(step, 0, [0.05] * 5, 100.0))
    assert [told[0] for told in step.told] == [5]  # not calm: at once
    step.endpoint.watch(True, step.estimator.least)
    for n in range(1, 4):
        step.give(feed(step, 5 * n, [0.05, 0.051, 0.05, 0.052, 0.05], 100.0 + n * 0.1))
    assert len(step.told) == 1
    step.give(feed(step, 20, [0.05, None, 0.05, 0.05, 0.05], 100.4))  # something is lost: all of it is told
    count, lost, octets, delay, _, newest, first, fed, packets = step.told[1]
    assert (count, lost, octets, fed, len(packets)) == (20, 1, 19_000, False, 5)
    assert (round(delay, 3), round(newest, 3)) == (50.05, 150.53)
    assert first == pytest.approx((100.4, 150.45), abs=1e-3)
    assert not step.came


@pytest.mark.parametrize("delays", [[0.05, 0.05, 0.05, 0.095], [0.08] * 4, [0.31, 0.29, 0.27, 0.25]])
def test_a_queue_that_begins_is_told_at_once(step: Step, delays: list[float | None]) -> None:
    step.give(feed(step, 0, [0.05] * 4, 100.0))
    step.endpoint.watch(True, step.estimator.least)
    step.give(feed(step, 4, [0.05] * 4, 100.1))
    step.give(feed(step, 8, delays, 100.2))
    assert [told[0] for told in step.told] == [4, 8]


def test_gathering_ends_in_time(step: Step) -> None:
    step.give(feed(step, 0, [0.05] * 4, 100.0))
    step.endpoint.watch(True, step.estimator.least)
    step.give(feed(step, 4, [0.05] * 4, 100.1))
    time.sleep(0.45)
    step.give(feed(step, 8, [0.05] * 4, 100.2))
    assert [told[0] for told in step.told] == [4, 8]


def test_the_trend_misses_nothing_of_what_was_gathered(step: Step) -> None:
    rng = random.Random(3)
    plain = Estimator(0.0)
    for n in range(200):
        packet = feed(step, 5 * n, [0.05 + rng.random() * 0.01 for _ in range(5)], 100.0 + n * 0.1)
        for k in range(5):
            plain.history.sent(5 * n + k & 0xFFFF, 100.0 + n * 0.1 + k * 0.02, 1_000)
        plain.trend.follow(plain.history.digest(packet[4:]))
        step.give(packet)
        step.endpoint.watch(n > 10, step.estimator.least)
    assert 10 < len(step.told) < 100
    assert (step.estimator.trend.state, step.estimator.trend.jitter) == (plain.trend.state, plain.trend.jitter)


def test_what_is_not_one_feedback_of_the_known_sender_is_pythons(step: Step) -> None:
    packet = feed(step, 0, [0.05] * 4, 100.0)
    report = rtcp.ReceiverReport(SENDER, []).build()
    others = [report + packet, packet[:4] + bytes(3) + b"\x05" + packet[8:], report]
    for each in others:
        step.give(each)
    assert step.came == others
    bad = step.endpoint.bad
    step.give(packet[:14] + b"\xff\xff" + packet[16:])  # more packets than it has room for
    assert step.endpoint.bad == bad + 1
    for noise in (b"\xaf\xcd\0\1" + SENDER.to_bytes(4), b"\x8f\xcd\0\1" + SENDER.to_bytes(4)):
        step.give(noise)
    assert not step.told
    assert math.isinf(step.estimator.least)
    step.give(packet)
    assert [told[0] for told in step.told] == [4]
