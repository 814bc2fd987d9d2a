"""Transport-wide feedback: what a receiver builds, and what a sender makes of it."""

import random
from typing import Any

import pytest

from telemed.relay.estimator import Estimator
from telemed.relay.trend import Trend
from telemed.relay.twcc import SENT, Digest, FeedbackBuilder, Gather, SendHistory, chunks
from telemed.wire.rtcp import transport

from .feedback import parse


def test_a_run_of_packets_is_one_run_length_chunk() -> None:
    builder = FeedbackBuilder()
    for n in range(100):
        builder.record(65_500 + n & 0xFFFF, 1_000_000 + n * 2_000)
    (packet,) = builder.take(1, 2)
    assert len(packet) == 124  # 20 + one chunk + 100 deltas + padding
    sender, media, arrivals = parse(packet)
    assert (sender, media) == (1, 2)
    assert [seq for seq, _ in arrivals] == [65_500 + n & 0xFFFF for n in range(100)]
    assert all(at is not None and abs(at - (1_000_000 + n * 2_000)) <= 125 for n, (_, at) in enumerate(arrivals))
    assert builder.take(1, 2) == []


@pytest.mark.parametrize("seed", range(20))
def test_what_came_in_order_is_told_in_the_same_bytes_as_what_did_not_is_looked_at_for(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way to a feedback against the long one, over wraps, odd moments and what sends either back to the long one."""
    rng = random.Random(seed)
    short, long = FeedbackBuilder(), FeedbackBuilder()
    sequence, clock, taken = rng.choice((0, 65_000, 40_000)), rng.randrange(1 << 40), [0, 0]
    in_order = FeedbackBuilder.in_order

    def counted(builder: FeedbackBuilder, sender: int, media: int) -> bytes | None:
        packet = in_order(builder, sender, media)
        taken[packet is not None] += builder is short
        return packet

    monkeypatch.setattr(FeedbackBuilder, "in_order", counted)
    for _ in range(300):
        for _ in range(rng.choice((1, 2, 5, 11, 40, 190, 230))):
            sequence += 1 if rng.random() > 0.002 else rng.choice((-1, 2, 3))
            clock += rng.choice((0, 20, 900, 20_000, 33_000)) if rng.random() > 0.001 else 70_000
            for each in (short, long):
                each.record(sequence & 0xFFFF, clock)
        with monkeypatch.context() as m:
            m.setattr("telemed.relay.twcc.IN_ORDER", 0)
            expected = long.take(7, 9)
        assert short.take(7, 9) == expected
        assert (short._highest, short._next, short._count) == (long._highest, long._next, long._count)
        assert reported(short) == reported(long)
        clock += rng.randrange(100_000)
    assert min(taken) > 50


def reported(builder: FeedbackBuilder) -> dict[int, int]:
    """The newest 250 arrivals that were told of."""
    every = dict(builder._reported)
    for base, times in builder._recent:
        every.update(enumerate(times, base))
    return dict(list(every.items())[-250:])


def test_loss_order_and_large_gaps_survive_the_round_trip() -> None:
    rng = random.Random(7)
    builder = FeedbackBuilder()
    seen: dict[int, int] = {}
    told: dict[int, int | None] = {}
    clock = 5_000_000
    for batch in range(60):
        sequences = [batch * 50 + n for n in range(50) if rng.random() > 0.2]
        for place in range(0, len(sequences) - 3, 7):
            sequences[place], sequences[place + 2] = sequences[place + 2], sequences[place]
        for seq in sequences:
            clock += rng.choice((100, 1_500, 20_000, 90_000))
            seen[seq] = clock
            builder.record(seq & 0xFFFF, clock)
        for packet in builder.take(1, 2):
            assert len(packet) <= 1_200
            for seq, at in parse(packet)[2]:
                if told.get(seq) is None:
                    told[seq] = at
    assert {seq for seq, at in told.items() if at is not None} == set(seen)
    assert set(range(min(seen), max(seen))) <= set(told)
    assert all(abs(at - seen[seq]) <= 125 for seq, at in told.items() if at is not None)


def test_a_late_packet_is_told_with_those_around_it() -> None:
    builder = FeedbackBuilder()
    for seq in (10, 11, 13, 14):
        builder.record(seq, seq * 1_000)
    assert [at is None for _, at in parse(builder.take(1, 2)[0])[2]] == [False, False, True, False, False]
    builder.record(12, 16_000)
    builder.record(12, 17_000)  # twice on the way: once told
    builder.record(15, 18_000)
    assert [(seq, at) for seq, at in parse(builder.take(1, 2)[0])[2]] == [(12, 16_000), (13, 13_000), (14, 14_000), (15, 18_000)]


def test_strange_sequences_and_floods_stay_bounded() -> None:
    rng = random.Random(3)
    builder = FeedbackBuilder()
    for _ in range(30_000):
        builder.record(rng.randrange(65_536), rng.randrange(10**9))
    packets = builder.take(1, 2)
    assert 0 < len(packets) <= 16
    assert all(len(packet) <= 1_200 and parse(packet) for packet in packets)
    for n in range(3):
        builder.record(n * 9_000, 10**9 + n)
    assert sum(len(packet) for packet in builder.take(1, 2)) < 200
    builder = FeedbackBuilder()
    builder.record(1, 1_000_000)
    builder.record(2, 60_000_000)  # a minute later does not fit a delta
    assert [len(parse(packet)[2]) for packet in builder.take(1, 2)] == [1, 1]


@pytest.mark.parametrize(
    "symbols",
    [b"\1" * 20_000, b"\0\1" * 30, b"\1\1\2\0\1\1\1\1\1\1\1\1\1\1\1\1", b"\2" * 3, b"\1" * 13 + b"\0", b"\2\2\2\2\2\2\2\1"],
)
def test_chunks_name_every_symbol(symbols: bytes) -> None:
    out = chunks(bytearray(symbols))
    body = b"\x8f\xcd\0\0" + bytes(8) + b"\0\0" + len(symbols).to_bytes(2, "big") + bytes(4) + out
    body += b"".join(bytes(symbol) for symbol in symbols)
    body += bytes(-len(body) % 4)
    words = (len(body) // 4 - 1).to_bytes(2, "big")
    padding = -(20 + len(out) + sum(symbols)) % 4
    packet = bytearray(body[:2] + words + body[4:])
    if padding:
        packet[0] |= 0x20
        packet[-1] = padding
    assert [at is not None for _, at in parse(bytes(packet))[2]] == [symbol > 0 for symbol in symbols]


def test_history_tells_each_packet_once() -> None:
    history = SendHistory(64)
    for seq in range(65_530, 65_540):
        history.sent(seq & 0xFFFF, seq / 100, 1_000)
    told = history.apply([(65_530, 1_000), (65_531, None), (0, 3_000), (999, 5)])
    assert told == [(655.3, 0.001, 1_000), (655.31, None, 1_000), (655.36, 0.003, 1_000)]
    assert history.apply([(65_530, 1_000), (65_531, None)]) == []
    assert history.apply([(65_531, 9_000)]) == [(655.31, 0.009, 1_000)]
    for seq in range(4, 4 + 64):
        history.sent(seq, 700.0, 10)
    assert history.apply([(1, 1)]) == []  # overwritten long ago
    with pytest.raises(ValueError):
        SendHistory(100)


def test_history_follows_the_reference_time_over_its_wrap() -> None:
    history = SendHistory()
    span = 64_000 << 24
    history.sent(1, 0.0, 10)
    history.sent(2, 0.1, 10)
    first = history.apply([(1, span - 50_000)])[0][1]
    second = history.apply([(2, 50_000)])[0][1]
    assert first is not None
    assert second is not None
    assert second - first == pytest.approx(0.1, abs=1e-6)


def sent(history: SendHistory, base: int, delays: list[float | None], at: float) -> bytes:
    """Packets leave 20 ms apart and arrive so late; what the feedback about them says."""
    builder = FeedbackBuilder()
    for n, delay in enumerate(delays):
        history.sent(base + n & 0xFFFF, at + n * 0.02, 100 + n)
        if delay is not None:
            builder.record(base + n & 0xFFFF, int((at + n * 0.02 + 50 + delay) * 1e6))
    (packet,) = builder.take(1, 2)
    return packet[4:]


def test_feedback_that_tells_what_is_expected_is_left_and_read_as_one() -> None:
    rng = random.Random(1)
    one, other = Gather(SendHistory(256), Trend()), Gather(SendHistory(256), Trend())
    base, now, left, told, worst = 65_400, 10.0, 0, [], 0.0
    for gather in (one, other):
        gather.calm, gather.least, gather.sender = True, 50.05, b"\0\0\0\1"
        gather.take(gather.history.digest(sent(gather.history, base - 5, [0.05] * 5, now - 0.2)), now - 0.1)
    for _ in range(600):
        many = rng.random() < 0.003
        delays = [0.05 + rng.random() * 0.01 if rng.random() < 0.998 else None for _ in range(100 if many else rng.randrange(1, 14))]
        delays[0] = 0.05
        took = len(delays) * 0.02
        body = sent(one.history, base, delays, now)
        assert sent(other.history, base, delays, now) == body
        now += took
        for _twice in range(2 if rng.random() < 0.1 else 1):
            if one.leave(PACKET + (len(body) // 4).to_bytes(2) + body, now):
                left += 1
                more = other.take(other.history.digest(body), now)
            else:
                one.read()
                more = other.take(other.history.digest(body), now)
                each = one.take(one.history.digest(body), now)
                told.append((figures(each), figures(more)))
        if rng.random() < 0.05:
            rest, same = one.rest(), other.rest()
            assert (rest is None) == (same is None)
            if rest is not None and same is not None:
                assert rest[1] == same[1]
                told.append((figures(rest[0]), figures(same[0])))
        base = base + len(delays) & 0xFFFF
    assert left > 400
    for ours, theirs in told:
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours[1:] == theirs[1:]
            assert theirs[0] <= ours[0] <= theirs[0] + 0.01  # the least delay is that of the first and the last of each
            worst = max(worst, ours[0] - theirs[0])
    assert one.history.base == other.history.base
    assert one.trend.state == other.trend.state
    one.read()
    assert one.history.sizes == other.history.sizes
    assert len(told) > 30


def figures(told: Digest | None) -> tuple[Any, ...] | None:
    if told is None:
        return None
    names = ("delay", "count", "lost", "octets", "lost_octets", "first", "tail", "newest", "last_sent", "gap", "before", "fed")
    return tuple(getattr(told, name) for name in names)


PACKET = b"\x8f\xcd"  # without its length


def test_what_is_left_may_be_long_gone_when_it_is_read() -> None:
    gather = calm()
    history = gather.history
    body = sent(history, 5, [0.05] * 5, 1.0)
    assert gather.leave(PACKET + (len(body) // 4).to_bytes(2) + body, 1.1)
    for n in range(10, SENT + 7):  # the first two places are others' by now
        history.sent(n, 2.0, 7)
    rest = gather.rest()
    assert rest is not None
    assert (rest[0].count, rest[0].octets) == (3, 102 + 103 + 104)
    assert [history.sizes[n] for n in range(10)] == [7, 7, 7, 7, 7, 7, 7, 0, 0, 0]
    gather = calm()
    body = sent(gather.history, 5, [0.05] * 5, 1.0)
    assert gather.leave(PACKET + (len(body) // 4).to_bytes(2) + body, 1.1)
    for n in range(10, 2 * SENT):
        gather.history.sent(n, 2.0, 7)
    rest = gather.rest()
    assert rest is not None
    assert (rest[0].count, rest[0].octets) == (0, 0)
    assert set(gather.history.sizes) == {7}


def calm() -> Gather:
    """Of a link that is calm, with 50 ms of delay; five packets were told of at 0.9 s."""
    gather = Gather(SendHistory(), Trend())
    gather.sender = b"\0\0\0\1"
    assert gather.take(gather.history.digest(sent(gather.history, 0, [0.05] * 5, 0.9)), 0.99) is not None
    gather.calm, gather.least = True, 50.05
    return gather


def test_what_is_not_as_expected_is_not_left_and_changes_nothing() -> None:
    gather = calm()
    history = gather.history
    body = sent(history, 5, [0.05] * 5, 1.0)
    packet = PACKET + (len(body) // 4).to_bytes(2) + body
    before = history.sizes[:], history.base
    bad = [packet[:n] for n in range(8, len(packet))]
    bad += [packet[:at] + bytes((packet[at] ^ bit,)) + packet[at + 1 :] for at in (*range(8), 12, 14, 20, 21) for bit in (1, 128)]
    bad += [packet[:13] + b"\x04" + packet[14:], packet[:13] + b"\x06" + packet[14:]]  # told before, not sent yet
    bad += [packet[:15] + bytes((n,)) + packet[16:] for n in (0, 4, 6, 255)]
    bad += [packet[:22] + b"\xff" + packet[23:], packet[:26] + b"\xff" + packet[27:]]  # late by 60 ms
    bad += [b"\xaf\xcd\0\7" + packet[4:] + b"\0\0\0\x09", packet[:20] + b"\x40\x05" + packet[22:]]
    for each in bad:
        assert not gather.leave(each, 1.1), each.hex()
        assert (history.sizes, history.base) == before
    assert not gather.leave(packet, 3.0), "silence"
    assert not gather.leave(packet, 8.0), "gathered for long enough"
    assert gather.rest() is None
    assert gather.leave(packet, 1.1)
    assert not gather.leave(packet, 1.1), "it came twice"
    gather.calm = False
    assert not gather.leave(packet, 1.1)


def test_a_feedback_is_read_in_one_pass_as_by_its_arrivals() -> None:
    rng, half = random.Random(4), (1 << 23) * 64_000
    one, other = SendHistory(256), SendHistory(256)
    builder, base = FeedbackBuilder(), 65_300
    figures = ("packets", "count", "lost", "octets", "lost_octets", "delay", "tail", "newest", "last_sent", "first")
    for n in range(400):
        at, count = n * 0.5, rng.randrange(1, 30)
        for history in (one, other):
            for k in range(count):
                history.sent(base + k & 0xFFFF, at + k * 0.01, 100 + k)
        came = [k for k in range(-3 if n else 0, count + (n % 50 == 7)) if rng.random() < 0.9]
        if rng.random() < 0.5:
            rng.shuffle(came)
        for k in came:
            builder.record(base + k & 0xFFFF, int((at + k * 0.01 + rng.random() * 0.2) * 1e6) + half - 90_000_000)
        for packet in builder.take(1, 2):
            expected = Digest(other.apply(transport(packet[4:]).arrivals))
            told = one.digest(packet[4:])
            assert [getattr(told, name) for name in figures] == [getattr(expected, name) for name in figures]
            assert one.sizes == other.sizes
            assert one.base == other.base or one.base != one.base
        base = base + count & 0xFFFF
    assert one.base > half  # the reference time went round


def test_nothing_of_note_is_gathered_and_told_as_one() -> None:
    history = SendHistory()
    gather = Gather(history, Trend())

    def come(base: int, delays: list[float | None], now: float) -> Digest | None:
        return gather.take(history.digest(sent(history, base, delays, now - 0.1)), now)

    assert come(0, [0.05] * 5, 1.0) is not None  # not calm
    gather.calm, gather.least = True, 50.05
    assert come(5, [0.05] * 5, 1.1) is None
    assert come(10, [0.05, 0.052, 0.05, 0.05, 0.05], 1.2) is None
    told = come(15, [0.05, None, 0.05, 0.05, 0.05], 1.3)
    assert told is not None
    assert (told.count, told.lost, told.octets, told.fed, len(told.packets)) == (15, 1, 3 * 510 - 101, False, 5)
    assert told.before is not None
    assert told.first is not None
    assert 0.01 < told.first[1] - told.before < 0.03
    assert come(20, [0.05] * 5, 1.4) is None
    queue = come(25, [0.05, 0.06, 0.08, 0.1, 0.12], 1.5)
    assert queue is not None
    assert queue.count == 10
    assert come(30, [0.08] * 5, 1.6) is not None
    assert come(35, [0.05] * 5, 1.7) is None
    late = come(40, [0.05] * 5, 2.2)  # longer than anything is held back
    assert late is not None
    assert late.count == 10
    assert gather.rest() is None
    assert come(45, [0.05] * 5, 2.3) is None
    assert come(50, [0.05, 0.052, 0.05, 0.05, 0.05], 2.4) is None
    rest = gather.rest()
    assert rest is not None
    assert (rest[0].count, rest[0].fed, rest[0].gap, rest[1]) == (10, True, 0.0, 2.4)
    assert gather.rest() is None


def test_a_link_that_is_looked_at_rarely_has_not_been_silent() -> None:
    estimator = Estimator(0.0)
    gather = Gather(estimator.history, estimator.trend)
    gather.calm = True
    known = []
    for n in range(40):
        now = 1.0 + n * 0.1
        for k in range(5):
            estimator.history.sent(5 * n + k, now - 0.1 + k * 0.02, 1_000)
        builder = FeedbackBuilder()
        for k in range(5):
            builder.record(5 * n + k, int((now - 0.1 + k * 0.02 + 0.05) * 1e6))
        told = gather.take(estimator.history.digest(builder.take(1, 2)[0][4:]), now)
        gather.least = estimator.least if n else 0.0
        if told is not None:
            estimator.take(now, told)
        elif n % 13 == 12 and (rest := gather.rest()) is not None:
            estimator.take(rest[1], rest[0])
            known.append(estimator.least)
    assert len(known) == 3
    assert known == pytest.approx([0.05] * 3), "what was known of the delay is not forgotten"
    assert estimator.acknowledged == pytest.approx(400_000, rel=0.05)
