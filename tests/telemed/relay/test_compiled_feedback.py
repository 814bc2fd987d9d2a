"""Feedback in C, both ways, against Python: what is built for a publisher byte for byte, what a subscriber's tells as a whole."""

import math
import random
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from telemed.relay import forward, srtp, twcc
from telemed.relay.build import choose, library
from telemed.relay.estimator import Estimator
from telemed.wire import rtcp
from tests.telemed.relay.ends import loopback
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import PROFILE

SENDER, KEY = 77, bytes(range(28))


class Step:
    """The step in C with one endpoint, and what it hands on of its feedback."""

    def __init__(self) -> None:
        self.sock, self.peer = loopback(2)
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
        self.endpoint.follow(twcc.Gather(self.estimator.history, self.estimator.trend))
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
def step() -> Iterator[Step]:
    with closing(Step()) as one:
        yield one


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
        before = ours.c.recent_at
        made = ours.take(1, 2)
        assert made == plain.take(1, 2)
        built += bool(made)
        in_c += ours.c.recent_at > before
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
    step.endpoint.link.told_at -= twcc.GATHERED
    step.give(feed(step, 8, [0.05] * 4, 100.2))
    assert [told[0] for told in step.told] == [4, 8]


def test_what_is_gathered_is_had_when_asked_for_and_once(step: Step) -> None:
    assert step.endpoint.gathered() is None
    step.give(feed(step, 0, [0.05] * 4, 100.0))
    assert step.endpoint.gathered() is None, "it was told"
    step.endpoint.watch(True, step.estimator.least)
    for n in (1, 2):
        step.give(feed(step, 4 * n, [0.05, 0.051, 0.05, 0.052], 100.0 + n * 0.1))
    told, came = step.endpoint.gathered()
    assert (told.count, told.lost, told.octets, told.fed, told.gap, told.packets) == (8, 0, 8_000, True, 0.0, [])
    assert (round(told.delay, 3), round(told.newest, 3), round(told.last_sent, 3)) == (50.05, 150.312, 100.26)
    assert told.first == pytest.approx((100.2, 150.25), abs=1e-3)
    assert came == step.endpoint.link.heard
    assert step.endpoint.gathered() is None
    step.give(feed(step, 12, [0.05] * 4, 100.3))
    step.endpoint.link.heard -= 1.2
    step.give(feed(step, 16, [0.05] * 4, 100.4))
    assert [n[0] for n in step.told] == [4, 8], "a silence ends it"
    assert step.endpoint.link.gap > 1.0


def test_reports_that_tell_of_no_loss_wait_while_the_peer_rests(step: Step) -> None:
    def report(lost: int, *more: bytes) -> bytes:
        block = rtcp.ReportBlock(9, lost, 0, 77, 5, 1, 2)
        return rtcp.ReceiverReport(SENDER, [block]).build() + b"".join(more)

    sender, name = rtcp.SenderReport(5, 1, 2, 3, 4).build(), rtcp.Sdes([(5, "ai-do")]).build()
    step.give(report(0))
    assert step.came == [report(0)], "the peer is looked at anyway"
    step.came.clear()
    step.endpoint.due = time.monotonic() + 100
    quiet = [report(0), sender + name, report(0, name)]
    other = rtcp.ReceiverReport(SENDER, [rtcp.ReportBlock(10, 0, 0, 77, 5, 1, 2)]).build()
    for packet in (*quiet, other):
        step.give(packet)
    assert step.came == []
    asks = rtcp.Pli(SENDER, 9).build(), rtcp.Nack(SENDER, 9, [4]).build()
    loud = [report(1), report(0, asks[0]), *asks, report(0)[:-4]]
    for packet in loud:
        step.give(packet)
    assert step.came == loud
    step.came.clear()
    late = rtcp.SenderReport(6, 1, 2, 3, 4).build(), rtcp.SenderReport(7, 1, 2, 3, 4).build()
    newer = rtcp.SenderReport(6, 9, 9, 9, 9).build()
    for packet in (*late, newer):
        step.give(packet)
    assert step.came == [late[1]], "four are kept, each in the place of the one before it about the same streams; others are told"
    kept = step.endpoint.reported()
    assert [packet for packet, _ in kept] == [quiet[2], quiet[1], other, newer]
    assert all(0 <= time.monotonic() - came < 60 for _, came in kept)
    assert step.endpoint.reported() == []
    # The Python form decides alike, and keeps them in the same places.
    plain = forward.Endpoint(None)
    assert [plain.keep(packet, 1.0) for packet in (*quiet, other)] == [True] * 4
    assert [plain.keep(packet, 1.0) for packet in loud] == [False] * len(loud)
    assert [plain.keep(packet, 2.0) for packet in (*late, newer)] == [True, False, True]
    assert plain.reported() == [(quiet[2], 1.0), (quiet[1], 1.0), (other, 1.0), (newer, 2.0)]
    assert plain.reported() == []


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


class Publishing(Step):
    """The endpoint publishes as well, and is seen to in rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.builder = self.step.builder(self.endpoint)
        self.endpoint.report(self.builder, SENDER)
        self.endpoint.add(self.step.stream(self.endpoint, 4, 90_000, True, None))
        self.round = self.step.round()
        self.round.add(self.endpoint)
        self.endpoint.remember(self.estimator.history)
        self.heard: list[bytes] = []
        self.far.owner.on_rtcp = lambda endpoint, data, now: self.heard.append(data)

    def arrivals(self, *sequences: int) -> list[int]:
        """They came, all at once; as they are noted."""
        entries = [(5_000_000 + len(sequences) * 1_000) << 16 | sequence for sequence in sequences]
        for entry in entries:
            self.endpoint.arrived(entry)
        return entries

    def see(self, now: float) -> list[Any]:
        due = self.round.due(now)
        self.far.pump()
        return due


@pytest.fixture
def publishing() -> Iterator[Publishing]:
    with closing(Publishing()) as one:
        yield one


def test_a_round_gives_plain_feedback_itself_and_names_who_is_due(publishing: Publishing) -> None:
    p, plain = publishing, twcc.FeedbackBuilder()
    p.endpoint.due = 10.0
    assert p.see(9.0) == []
    assert p.heard == []
    (first,) = p.arrivals(7)
    assert p.see(9.0) == [p.endpoint], "the first is Python's: where numbers begin is not known"
    assert len(p.builder.take(SENDER, 4)) == 1
    plain.note(first)
    plain.take(SENDER, 4)
    for entry in p.arrivals(8, 9, 11):
        plain.note(entry)
    assert p.see(9.1) == []
    assert p.heard == plain.take(SENDER, 4)
    p.arrivals(10, 12)
    assert p.see(9.2) == [p.endpoint], "one came late"
    assert len(p.builder) == 2
    assert p.builder.take(SENDER, 4)
    assert p.see(9.3) == []
    assert p.see(10.0) == [p.endpoint], "due"
    p.round.discard(p.endpoint)
    assert (p.see(11.0), len(p.round)) == ([], 0)


def test_a_round_names_a_calm_link_that_has_fallen_silent(publishing: Publishing) -> None:
    p = publishing
    p.endpoint.due = math.inf
    p.give(feed(p, 0, [0.05] * 5, 100.0))
    heard = p.endpoint.link.heard
    p.endpoint.watch(True, p.estimator.least)
    p.estimator.history.sent(5, heard + 0.1, 1_000)
    assert p.see(heard + 0.55) == []
    assert p.see(heard + 0.65) == [p.endpoint]
    p.endpoint.due = math.inf
    p.endpoint.watch(False, p.estimator.least)
    assert p.see(heard + 0.65) == [], "it is looked at ten times a second anyway"
    p.endpoint.watch(True, p.estimator.least)
    p.estimator.history.last[0] = heard
    assert p.see(heard + 5.0) == [], "nothing was sent since"


def test_feedback_by_tcp_and_more_than_c_holds_are_pythons(publishing: Publishing) -> None:
    p = publishing
    p.endpoint.due = math.inf
    p.arrivals(0)
    p.builder.take(SENDER, 4)
    p.arrivals(*range(1, 601))
    assert p.see(1.0) == [p.endpoint]
    assert len(p.builder) == 600
    assert sum(int.from_bytes(packet[14:16]) for packet in p.builder.take(SENDER, 4)) == 600
    assert len(p.builder) == 0
    p.endpoint.tcp = object()
    p.arrivals(601)
    assert p.see(1.0) == [p.endpoint]
