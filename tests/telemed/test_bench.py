"""The load generator measures what it says: packets are told apart, losses and repairs are counted, its RTCP and offers can be read."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.relay import packets, session
from bench.relay.load import Plan, run
from bench.relay.scenarios import LAYERS
from bench.relay.sources import Publisher, Shape, Window
from telemed.relay.dtls import Certificate


@given(stream=st.integers(0, 2**32 - 1), number=st.integers(0, 2**32 - 1), filler=st.integers(0, 1000), at=st.integers(0, 60))
def test_a_stamp_is_read_back_and_any_changed_byte_is_seen(stream: int, number: int, filler: int, at: int) -> None:
    data = bytearray(2048)
    end = packets.put(data, at, stream, number, 123456789, filler)
    assert packets.check(data, at, end) == (stream, number, 123456789)
    data[at + (number % (end - at))] ^= 1
    assert packets.check(data, at, end) is None
    assert packets.check(data, at, end - 1) is None


@pytest.mark.parametrize("key", [True, False])
def test_a_vp8_head_is_found_again(key: bool) -> None:
    head = packets.vp8_head(0x1234, True, key, 5000, 640)
    data = bytearray(head + bytes(20))
    assert packets.vp8_body(data, 0, len(data)) == (len(head), True, key)
    head = packets.vp8_head(0x1234, False, key, 5000, 640)
    assert packets.vp8_body(bytearray(head + bytes(20)), 0, 24) == (4, False, False)
    # The relay may write the descriptor anew, with a picture id of 7 bits and temporal layers.
    assert packets.vp8_body(bytearray(b"\x90\xe0\x12\x05\x20" + bytes(20)), 0, 25)[0] == 5 + 10


async def test_without_a_relay_nothing_is_lost() -> None:
    got = await run(Plan(rooms=2, seconds=1, warm=0.2))
    assert got.received == got.expected > 150
    assert (got.corrupt, got.duplicates, got.breaks, got.failed) == (0, 0, 0, [])


async def test_what_is_lost_is_asked_for_and_comes_again() -> None:
    got = await run(Plan(rooms=2, seconds=1.5, warm=0.2, loss=0.1))
    assert got.dropped > 10
    assert got.rtx > 0
    assert got.missing < 1
    assert got.corrupt == 0


async def test_simulcast_offers_its_layers_from_low_to_high() -> None:
    publisher = Publisher(Certificate(), 0, list(LAYERS), Window(), random.Random(1))
    text = session.offer(publisher.transport, publisher.sources)
    assert "a=simulcast:send q;h;f" in text
    assert "a=ssrc:" not in text.partition("m=video")[2]
    plain = Publisher(Certificate(), 1, [Shape(500)], Window(), random.Random(1))
    assert f"a=ssrc-group:FID {plain.sources[1].ssrc} {plain.sources[1].rtx_ssrc}" in session.offer(plain.transport, plain.sources)
    for each in (publisher, plain):
        each.transport.sock.close()
        each.transport.connected.cancel()
    await asyncio.sleep(0)


def test_an_answer_that_lacks_something_is_refused() -> None:
    with pytest.raises(session.Refused):
        session.read("v=0\r\n")
