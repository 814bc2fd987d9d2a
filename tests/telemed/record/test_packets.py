"""Order restored: arithmetic that goes wrong at the wrap, at restarts and with packets that never come."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.record.depacketize import depacketizer
from telemed.record.packets import HELD, WAIT, Packet, Reorder, parse
from tests.telemed.record.media import rtp


def packet(sequence: int, arrival: float = 0.0, ssrc: int = 1) -> Packet:
    return Packet(sequence & 0xFFFF, 0, ssrc, False, b"x", arrival)


@given(st.integers(0, 65_535), st.permutations(range(1, 40)), st.lists(st.integers(0, 39), max_size=10))
def test_any_order_within_the_wait_is_restored(first: int, order: list[int], again: list[int]) -> None:
    r = Reorder()
    out = [p for n in (0, *order, *again) for p in r.push(packet(first + n))]
    assert [p.sequence for p in out] == [first + n & 0xFFFF for n in range(40)]
    assert [b.number - a.number for a, b in pairwise(out)] == [1] * 39
    assert r.lost == 0


def test_what_never_comes_is_passed_over_after_the_wait_and_marked() -> None:
    r = Reorder()
    assert len(r.push(packet(65_534, 0))) == 1
    assert not r.push(packet(0, 0.1))  # 65535 is missing
    assert not r.push(packet(1, 0.1 + WAIT))
    out = r.push(packet(2, 0.11 + WAIT))
    assert [p.sequence for p in out] == [0, 1, 2]
    assert r.lost == 1
    assert not r.push(packet(65_535, 1))  # too late
    assert r.late == 1


def test_the_wait_ends_also_when_nothing_more_comes() -> None:
    r = Reorder()
    r.push(packet(1, 0))
    r.push(packet(3, 0.1))
    assert not r.expire(0.2)
    assert [p.sequence for p in r.expire(1)] == [3]


def test_what_waits_is_bounded() -> None:
    r = Reorder()
    r.push(packet(0))
    for n in range(2, HELD + 10):
        r.push(packet(n))
    assert len(r._held) <= HELD


@pytest.mark.parametrize(("sequence", "ssrc"), [(101, 2), (50_000, 1)])
def test_a_new_source_or_a_far_jump_is_a_break_but_no_loss(sequence: int, ssrc: int) -> None:
    r = Reorder()
    (a,) = r.push(packet(100))
    (b,) = r.push(packet(sequence, ssrc=ssrc))
    (c,) = r.push(packet(sequence + 1, ssrc=ssrc))
    assert b.number > a.number + 1
    assert c.number == b.number + 1
    assert r.lost == 0


def test_headers_of_every_shape() -> None:
    assert parse(rtp(7, 8, b"abc", True), 1.5) == Packet(7, 8, 0x1234, True, b"abc", 1.5, 96)
    csrc = struct.pack(">BBHIIII", 0x82, 96, 7, 8, 9, 1, 2) + b"abc"
    assert parse(csrc, 0).payload == b"abc"  # type: ignore[union-attr]
    padded = struct.pack(">BBHII", 0xA0, 96, 7, 8, 9) + b"abc\0\0\x03"
    assert parse(padded, 0).payload == b"abc"  # type: ignore[union-attr]
    assert parse(padded[:12] + b"\x01", 0).payload == b""  # type: ignore[union-attr]


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    parse(data, 0)
    parse(b"\xb3" + data, 0)


@given(
    st.sampled_from(["opus", "red", "VP8", "VP9", "H264", "AV1"]),
    st.lists(st.tuples(st.binary(max_size=40), st.booleans(), st.integers(0, 2)), max_size=12),
)
def test_no_payloads_raise_what_is_not_awaited(codec: str, payloads: list[tuple[bytes, bool, int]]) -> None:
    d = depacketizer(codec)
    number = 5
    for payload, marker, step in payloads:
        number += step
        try:
            d.push(Packet(number & 0xFFFF, number // 2, 1, marker, payload, 0.0, 96, number))
        except (ValueError, IndexError, struct.error):
            pass
