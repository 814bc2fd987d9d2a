"""Data channels: two ends over a path in memory, bounds, and peers that break the rules."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from struct import pack, unpack_from
from typing import Any

import pytest
from google_crc32c import value as crc32c

from telemed.relay import sctp
from telemed.relay.sctp import DataChannels


class Pair:
    """Client and server; what each sends reaches the other at the next turn of the loop, unless `lose` says no."""

    def __init__(self, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.lose: Callable[[bytes], bool] = lambda data: False
        self.heard: dict[str, list[tuple[str, bytes | str]]] = {"client": [], "server": []}
        self.sent: list[bytes] = []

        def to_server(data: bytes) -> None:
            self.sent.append(data)
            if not self.lose(data):
                loop.call_soon(lambda: self.server.receive(data))

        def to_client(data: bytes) -> None:
            if not self.lose(data):
                loop.call_soon(lambda: self.client.receive(data))

        self.server = DataChannels(to_client, True, 5000, 0, lambda *item: self.heard["server"].append(item), **options)
        self.client = DataChannels(to_server, False, 5000, 262_144, lambda *item: self.heard["client"].append(item), **options)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.002)

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()
    await asyncio.sleep(0)


async def test_messages_arrive_in_order_with_their_labels(pair: Pair) -> None:
    messages: list[bytes | str] = ["xin chào", b"\x00\x01", "", b"", "x" * 200_000, bytes(100_000)]
    for message in messages:
        assert pair.client.send("chat", "an", message)
        assert pair.server.send("trò chuyện", "bình", message)
    await pair.until(lambda: all(len(items) == len(messages) for items in pair.heard.values()))
    assert pair.heard["server"] == [("chat", message) for message in messages]
    assert pair.heard["client"] == [("trò chuyện", message) for message in messages]
    await pair.until(lambda: pair.client.buffered == 0)


async def test_each_label_and_sender_has_its_channel(pair: Pair) -> None:
    for sender in ("a", "b"):
        for label in ("x", "y"):
            assert pair.client.send(label, sender, sender + label)
            assert pair.client.send(label, sender, sender + label)
    await pair.until(lambda: len(pair.heard["server"]) == 8)
    channels = pair.server._sctp._data_channels
    assert sorted(channels) == [0, 2, 4, 6]  # even: opened by the DTLS client
    assert {(channel.label, channel.protocol, channel.ordered) for channel in channels.values()} == {
        (label, sender, True) for label in ("x", "y") for sender in ("a", "b")
    }
    assert all(channel.maxRetransmits is None and channel.maxPacketLifeTime is None for channel in channels.values())


async def test_a_lost_datagram_is_sent_again(pair: Pair) -> None:
    chance = random.Random(2)
    pair.client.send("chat", "an", "first")
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    pair.lose = lambda data: len(data) > 1_000 and chance.random() < 0.05
    pair.client.send("chat", "an", bytes(60_000))
    await pair.until(lambda: len(pair.heard["server"]) == 2)
    assert pair.heard["server"][1] == ("chat", bytes(60_000))


async def test_channels_messages_and_names_are_bounded(pair: Pair) -> None:
    assert not pair.client.send("chat", "an", bytes(sctp.MAX_MESSAGE + 1))
    assert not pair.client.send("chat", "ă" * 200, "x")
    assert not pair.client.send("l" * 257, "an", "x")
    taken = [pair.client.send("chat", str(n), "x") for n in range(40)]
    assert taken == [True] * 32 + [False] * 8
    await pair.until(lambda: len(pair.heard["server"]) == 32)
    assert not pair.server.send("chat", "an", "x")  # theirs count too
    assert pair.client.send("chat", "7", "again")


async def test_the_longest_unused_channel_makes_room(pair: Pair) -> None:
    for sent, n in enumerate([*range(21), 0, *range(21, 40)], 1):
        assert pair.client.send("chat", str(n), "x")
        await pair.until(lambda sent=sent: len(pair.heard["server"]) == sent and not pair.client.buffered)  # type: ignore[misc]
    await pair.until(lambda: len(pair.client._sctp._data_channels) == sctp.MAX_CHANNELS)
    # Of 0 to 39 the first eight had to go, but for 0, which was used again.
    left = {channel.protocol for channel in pair.client._sctp._data_channels.values()}
    assert left == {"0", *(str(n) for n in range(9, 40))}
    await pair.until(lambda: len(pair.server._sctp._data_channels) == sctp.MAX_CHANNELS)


async def test_what_is_small_does_not_wait_for_what_is_large(pair: Pair) -> None:
    for _ in range(5):
        assert pair.client.send("file", "an", bytes(50_000))
    assert pair.client.send("vitals", "an", "1")
    assert pair.client.send("file", "an", "end")  # in its channel's order nevertheless
    assert pair.client.send("vitals", "an", "2")
    await pair.until(lambda: len(pair.heard["server"]) == 8)
    labels = [label for label, _ in pair.heard["server"]]
    assert labels[0] == "vitals"
    assert [m for label, m in pair.heard["server"] if label == "vitals"] == ["1", "2"]
    assert [m for label, m in pair.heard["server"] if label == "file"] == [bytes(50_000)] * 5 + ["end"]


async def test_channels_of_one_who_left_end_after_what_waits_in_them(pair: Pair) -> None:
    for sender in ("an", "bình"):
        assert pair.client.send("file", sender, "x")
    await pair.until(lambda: len(pair.heard["server"]) == 2)
    for _ in range(3):
        pair.client.send("file", "an", bytes(50_000))
    pair.client.forget("an")
    assert pair.client.buffered > 50_000  # counted on
    await pair.until(lambda: len(pair.server._sctp._data_channels) == 1)
    assert len(pair.heard["server"]) == 5
    assert pair.client.send("file", "an", "anew")
    await pair.until(lambda: len(pair.heard["server"]) == 6)


async def test_the_window_is_told_and_opened_again(pair: Pair) -> None:
    windows: list[int] = []

    def told(data: bytes) -> bool:
        if data[12] == 3:
            windows.append(unpack_from("!L", data, 20)[0])
        return False

    pair.lose = told
    pair.client.send("file", "an", bytes(3_000))
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    assert windows[-1] == sctp.WINDOW
    pair.server.hold(sctp.WINDOW - 10_000)
    pair.client.send("file", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 2)
    assert windows[-1] == 10_000
    pair.server.hold(10 * sctp.WINDOW)
    pair.client.send("file", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 3)
    assert windows[-1] == 0
    count = len(windows)
    pair.server.hold(100_000)
    assert windows[-1] == sctp.WINDOW - 100_000
    pair.server.hold(0)
    assert len(windows) == count + 1  # what is wide open is not told again
    assert not pair.server.closed


async def test_no_more_is_on_the_way_than_the_pace_allows(pair: Pair) -> None:
    pair.client.send("file", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    most = 0
    for rate, allowed in ((0.0, 0), (20_000.0, 20_000.0), (1.0, sctp.CHUNK)):
        pair.client._sctp._srtt, pair.client._sctp._rttvar = 1.0, 0.0
        pair.client._sctp._update_rto = lambda trip: None
        pair.client.pace(rate)
        pair.client.send("file", "an", bytes(200_000))
        pair.heard["server"].clear()
        while not pair.heard["server"]:
            await asyncio.sleep(0)
            flight = pair.client._sctp._flight_size
            most = max(most, flight)
            assert not allowed or flight <= allowed + 2 * sctp.CHUNK  # one to grow by, one begun below the bound
        if not rate:
            assert most > 30_000, "else nothing is seen here"
    assert not pair.client.closed


async def test_the_peer_may_say_a_smaller_size() -> None:
    channels = DataChannels(lambda data: None, True, 5000, 1_000, lambda label, message: None)
    assert channels.send("chat", "an", bytes(1_000))
    assert not channels.send("chat", "an", "ế" * 500)
    channels.close()
    assert channels.closed
    assert not channels.send("chat", "an", "x")


async def test_what_waits_is_bounded_and_the_channel_dropped() -> None:
    pair = Pair(max_buffered=300_000)
    pair.client.send("chat", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    pair.lose = lambda data: True
    taken = [pair.client.send("chat", "an", bytes(50_000)) for _ in range(6)]
    assert taken == [True] * 5 + [False]
    assert pair.client.buffered < 1_000
    assert pair.client.send("chat", "an", "anew")  # on another channel
    assert not pair.client.closed
    most = 0
    for _ in range(3_000):  # small ones cost too
        pair.client.send("chat", "bình", "")
        most = max(most, pair.client.buffered, 256 * len(pair.client._sctp._data_channel_queue))
    assert 200_000 < most <= 300_000
    pair.close()
    await asyncio.sleep(0)


async def test_the_end_is_told(pair: Pair) -> None:
    pair.client.send("chat", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    pair.client.close()
    await pair.until(lambda: pair.server.closed)
    assert not pair.server.send("chat", "an", "x")
    pair.server.receive(pair.sent[-1])
    pair.client.close()


def packet(tag: int, *chunks: tuple[int, int, bytes]) -> bytes:
    """With its checksum; chunks as (type, flags, body)."""
    body = b"".join(pack("!BBH", kind, flags, 4 + len(data)) + data + bytes(-len(data) % 4) for kind, flags, data in chunks)
    return sealed(pack("!HHLL", 5000, 5000, tag, 0) + body)


def sealed(data: bytes) -> bytes:
    data = data[:8] + bytes(4) + data[12:]
    return data[:8] + pack("<L", crc32c(data)) + data[12:]


@pytest.mark.parametrize("data", [
    b"", bytes(15), bytes(4_097),
    packet(1, (1, 0, pack("!LLHHL", 1, 1, 1, 1, 1) + pack("!HH", 7, 0))),  # a parameter of length 0: aiortc would never end
    packet(1, (130, 0, pack("!HH", 13, 3) + bytes(4))),
    packet(1, (3, 0, pack("!LLHH", 1, 1, 2, 0) + pack("!HHHH", 1, 65_535, 1, 65_535))),
    packet(1, (3, 0, pack("!LLHH", 1, 1, 9, 0))),
    packet(1, (3, 0, pack("!LLHH", 1, 1, 1, 0) + pack("!HH", 5, 4))),
    packet(1, (0, 3, pack("!LHHL", 1, 1, 1, 51))),
    packet(1, (11, 0, b""))[:-2] + b"\x00\x09",
])  # fmt: skip
def test_what_aiortc_does_not_get_to_see(data: bytes) -> None:
    assert not sctp._plausible(data)


async def flood(make: Callable[[int], tuple[int, int, bytes]], count: int) -> DataChannels:
    """A server whose peer sends `count` DATA chunks after the handshake."""
    pair = Pair()
    pair.client.send("chat", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    tag, tsn = pair.server._sctp._local_verification_tag, pair.server._sctp._last_received_tsn
    for index in range(0, count, 20):
        chunks = (make(number) for number in range(index, index + 20))
        pair.server.receive(packet(tag, *((0, flags, pack("!LHHL", (tsn + ahead) % 2**32, sid, 0, 51) + b"x") for ahead, flags, sid in
                                          ((ahead, flags, unpack_from("!H", sid)[0]) for ahead, flags, sid in chunks))))  # fmt: skip
        if pair.server.closed:
            break
    pair.close()
    await asyncio.sleep(0)
    return pair.server


async def test_messages_without_end_streams_and_holes() -> None:
    for make in (
        lambda n: (n + 1, 2 if n == 0 else 0, pack("!H", 0)),  # one message, never its last fragment
        lambda n: (n + 2, 7, pack("!H", 0)),  # whole messages, unordered, after a hole that is never filled
        lambda n: (n + 1, 3, pack("!H", 3 * n % 60_000)),  # each on a stream of its own
    ):
        count = 0

        def counted(n: int, make: Callable[[int], tuple[int, int, bytes]] = make) -> tuple[int, int, bytes]:
            nonlocal count
            count = n
            return make(n)

        await flood(counted, 10_000)
        assert count < 2_200


async def test_a_window_that_is_not_kept() -> None:
    pair = Pair()
    pair.client.send("chat", "an", "x")
    await pair.until(lambda: len(pair.heard["server"]) == 1)
    tag, tsn = pair.server._sctp._local_verification_tag, pair.server._sctp._last_received_tsn
    number = 0
    while not pair.server.closed:
        number += 1
        pair.server.receive(packet(tag, (0, 2 if number == 1 else 0, pack("!LHHL", (tsn + number) % 2**32, 0, 1, 51) + bytes(4_000))))
        assert number < 400
    assert pair.heard["server"] == [("chat", "x")]
    pair.close()
    await asyncio.sleep(0)


async def test_too_many_channels_and_too_long_names_of_the_peer() -> None:
    pair = Pair()
    client = pair.client._sctp
    from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters

    made = [RTCDataChannel(client, RTCDataChannelParameters(label=str(n))) for n in range(40)]
    long = RTCDataChannel(client, RTCDataChannelParameters(label="l" * 300))
    await pair.until(lambda: sum(channel.readyState == "closed" for channel in [*made, long]) == 9)
    assert sum(channel.readyState == "open" for channel in made) == 32
    assert long.readyState == "closed"
    assert not pair.server.closed
    pair.close()
    await asyncio.sleep(0)


async def test_any_datagram(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes changed behind a valid checksum and tag: nothing is raised, nothing hangs."""
    chance = random.Random(4)
    pair = Pair()
    for message in ("x", b"y" * 3_000):
        pair.client.send("chat", "an", message)
    await pair.until(lambda: len(pair.heard["server"]) == 2)
    samples = [data for data in pair.sent if len(data) < 400]
    pair.close()
    target = DataChannels(lambda data: None, True, 5000, 0, lambda label, message: None)
    for _ in range(1_500):
        if target.closed:
            target = DataChannels(lambda data: None, True, 5000, 0, lambda label, message: None)
        data = bytearray(chance.choice(samples))
        kind = chance.choice((0, 1, 2, 3, 4, 7, 8, 10, 11, 14, 130, 192))
        if chance.random() < 0.5:
            data[12] = kind
        for _ in range(chance.randrange(4)):
            data[chance.randrange(12, len(data))] = chance.choice((0, 1, 3, 4, 255, chance.randrange(256)))
        init = data[12] == 1
        data[4:8] = bytes(4) if init else pack("!L", target._sctp._local_verification_tag)
        target.receive(sealed(bytes(data)))
    target.close()
    await asyncio.sleep(0)


def test_aiortc_is_imported_when_needed() -> None:
    code = "import sys, telemed.relay.sctp; sys.exit('aiortc' in sys.modules or 'av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
