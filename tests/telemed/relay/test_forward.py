"""The forwarding step over real sockets and SRTP: numbers stay continuous over wraps, switches, losses, padding; NACKs are answered."""

import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from telemed.relay import srtp
from telemed.relay.build import Form, choose
from telemed.relay.forward import Stream
from telemed.wire import rtp, vp8
from tests.telemed.relay.ends import loopback
from tests.telemed.relay.forms import have

PROFILE = srtp.PROFILES[0]
KEY, FRAME = b"\x10\x00", b"\x10\x01"  # VP8: a keyframe's first payload bytes, and another picture's


def session(material: bytes, inbound: bool) -> Session:
    policy = Policy(key=material, ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILE.libsrtp)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return Session(policy)


class Bench:
    """A publisher with two layers (SSRC 1 and 2), a subscriber, and the step between them."""

    def __init__(self, form: Form) -> None:
        self.relay, self.publisher, self.subscriber = loopback(3)
        self.step = choose(form, self.relay, self)  # type: ignore[arg-type]
        theirs, ours = bytes(range(28)), bytes(range(50, 78))
        self.send_session, self.ours = session(theirs, False), ours
        self.anew()
        keys = srtp.Keys(PROFILE, theirs, True), srtp.Keys(PROFILE, ours, False)
        self.source, self.sink = self.step.endpoint(None), self.step.endpoint(None)
        self.source.secure(*keys)
        self.sink.secure(*keys)
        self.sink.address = self.subscriber.getsockname()
        self.step.know(self.publisher.getsockname(), self.source)
        self.streams = [self.step.stream(self.source, ssrc, 90000, True, self) for ssrc in (1, 2)]
        for stream in self.streams:
            stream.keyframe = lambda payload, _: not payload[1] & 1
            self.source.add(stream)
        types = bytearray(256)
        types[96], types[96 | 128] = 100, 100 | 128
        self.forwarder = self.step.forwarder(self.sink, 777, bytes(types), None)
        self.gaps: list[Stream] = []
        self.switches = 0

    def anew(self) -> None:
        """The subscriber forgets what it got, so that the same packet is no replay to it."""
        self.receive_session = session(self.ours, True)

    def original(self, second: int) -> int | None:
        return 96

    def on_gap(self, stream: Stream) -> None:
        self.gaps.append(stream)

    def on_switched(self, *_: Any) -> None:
        self.switches += 1

    def on_unknown(self, *_: Any) -> None:
        return None

    def publish(self, ssrc: int, sequence: int, payload: bytes = FRAME, padding: int = 0) -> None:
        first = 0xA0 if padding else 0x80
        packet = struct.pack("!BBHII", first, 96, sequence & 0xFFFF, 3000 * sequence & 0xFFFFFFFF, ssrc) + payload
        packet += bytes(max(0, padding - 1)) + bytes([padding] if padding else b"")
        self.publisher.sendto(self.send_session.protect(packet), self.relay.getsockname())
        self.step.pump()

    def received(self) -> list[tuple[int, bytes]]:
        found = []
        while True:
            try:
                data = self.receive_session.unprotect(self.subscriber.recv(2048))
            except BlockingIOError:
                return found
            header = rtp.parse(data)
            assert header.payload_type in (100, 101)
            found.append((header.sequence, data[header.payload_offset:]))

    def close(self) -> None:
        self.step.close()
        for s in (self.relay, self.publisher, self.subscriber):
            s.close()


@pytest.fixture(params=["python", "compiled"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(have(request.param))
    yield made
    made.close()


def steps(found: list[tuple[int, bytes]]) -> set[int]:
    return {(b - a) & 0xFFFF for (a, _), (b, _) in pairwise(found)}


def test_nothing_goes_before_a_keyframe_and_numbers_wrap(bench: Bench) -> None:
    bench.step.attach(bench.forwarder, bench.streams[0])
    bench.publish(1, 65530)
    assert bench.received() == []
    for n in range(20):
        bench.publish(1, 65531 + n, KEY if n == 0 else FRAME)
    found = bench.received()
    assert len(found) == 20
    assert steps(found) == {1}
    assert bench.streams[0].cycles == 1


def test_a_switch_of_layers_does_not_show_and_what_was_before_is_resent(bench: Bench) -> None:
    bench.step.attach(bench.forwarder, bench.streams[0])
    for n in range(10):
        bench.publish(1, 100 + n, KEY if n == 0 else FRAME)
    bench.step.attach(bench.forwarder, bench.streams[1])
    for n in range(10):
        bench.publish(1, 110 + n)
        bench.publish(2, 40000 + n, KEY + b"two" if n == 4 else FRAME + b"two")
    found = bench.received()
    assert steps(found) == {1}
    assert [p[2:] for _, p in found].count(b"two") == 6
    assert bench.switches == 2
    bench.anew()
    for number, payload in (found[3], found[-2]):
        assert bench.step.resend(bench.forwarder, number, 1.0)
        assert bench.received() == [(number, payload)]
    assert not bench.step.resend(bench.forwarder, (found[0][0] - 5) & 0xFFFF, 1.0)


def test_what_is_resent_without_rtx_is_the_same_packet_to_the_last_bit(bench: Bench) -> None:
    """Two messages under one nonce give away the key that authenticates them (RFC 7714 9.1)."""
    way = bench.forwarder
    way.counter_byte, way.level_byte = 0x51, 0x20
    way.red = 98  # a layout with everything that a header may carry
    bench.source.level_id = 1
    bench.step.attach(way, bench.streams[0])
    went: dict[int, bytes] = {}

    def publish(sequence: int, payload: bytes) -> None:
        head = struct.pack("!BBHII", 0x90, 96, sequence, 3000 * sequence, 1) + bytes([0xBE, 0xDE, 0, 1, 0x10, 0x80 | sequence & 127, 0, 0])
        bench.publisher.sendto(bench.send_session.protect(head + payload), bench.relay.getsockname())
        bench.step.pump()
        while True:
            try:
                data = bench.subscriber.recv(2048)
            except BlockingIOError:
                return
            went[int.from_bytes(data[2:4])] = data

    numbered = bytes([0x90, 0x80, 0x80])  # VP8 with picture ids, which are moved at a switch
    bench.streams[0].vp8 = 96
    publish(10, numbered + b"\x0a\x10" + bytes(30))
    for sequence in range(11, 40):
        publish(sequence, numbered + bytes([sequence, 0x11]) + bytes(sequence))
    assert len(went) == 30
    counter = bench.sink.counter
    for number, data in went.items():
        assert bench.step.resend(way, number, 1.0)
        assert bench.subscriber.recv(2048) == data
    assert bench.sink.counter == counter
    # Where headers have come to look otherwise, nothing of before is repeated; what follows is.
    way.level_byte = 0
    way.anew()
    assert not any(bench.step.resend(way, number, 1.0) for number in went)
    publish(40, numbered + b"\x28\x11" + bytes(9))
    newest = max(went)
    assert bench.step.resend(way, newest, 1.0)
    assert bench.subscriber.recv(2048) == went[newest]


def test_resending_by_rtx_carries_the_number(bench: Bench) -> None:
    types = bytearray(256)
    types[100], types[100 | 128] = 101, 101 | 128
    bench.forwarder.rtx_payload_types, bench.forwarder.rtx_ssrc = bytes(types), 888
    bench.step.attach(bench.forwarder, bench.streams[0])
    bench.publish(1, 7, KEY + b"x")
    ((number, payload),) = bench.received()
    assert bench.step.resend(bench.forwarder, number, 1.0)
    ((_, again),) = bench.received()
    assert again == number.to_bytes(2) + payload


def test_a_lost_packet_is_missed_and_goes_on_when_it_comes_late(bench: Bench) -> None:
    bench.step.attach(bench.forwarder, bench.streams[0])
    for n in (1, 2, 4, 5):
        bench.publish(1, n, KEY if n == 1 else FRAME)
    assert list(bench.streams[0].missing) == [3]
    assert bench.gaps == [bench.streams[0]]
    bench.publish(1, 3, FRAME + b"late")
    found = bench.received()
    assert sorted(s for s, _ in found) == [found[0][0] + n for n in range(5)]
    assert found[-1] == (found[0][0] + 2, FRAME + b"late")
    assert not bench.streams[0].missing


def test_padding_alone_leaves_no_gap(bench: Bench) -> None:
    bench.step.attach(bench.forwarder, bench.streams[0])
    for n in range(1, 9):
        bench.publish(1, n, b"" if n in (4, 5) else KEY if n == 1 else FRAME, 10 if n in (4, 5) else 0)
    found = bench.received()
    assert len(found) == 6
    assert steps(found) == {1}


def test_strangers_and_forged_packets_are_counted_and_dropped(bench: Bench) -> None:
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.sendto(b"\x80" + bytes(40), bench.relay.getsockname())
    stranger.close()
    bench.publisher.sendto(b"\x80\x60" + bytes(40), bench.relay.getsockname())
    bench.step.pump()
    assert bench.step.strangers == 1
    assert bench.source.bad == 1
    assert bench.received() == []


def probes(bench: Bench) -> list[rtp.Header]:
    found = []
    while True:
        try:
            data = bench.receive_session.unprotect(bench.subscriber.recv(2048))
        except BlockingIOError:
            return found
        header = rtp.parse(data)
        # All that follows the header is padding (RFC 3550 5.1).
        assert data[0] & 0x20
        assert data[-1] == len(data) - header.payload_offset
        found.append(header)


def test_a_link_without_a_picture_is_tried_with_padding(bench: Bench) -> None:
    forwarder = bench.forwarder
    assert bench.step.pad(forwarder, 1.0) == 0  # nothing would tell how it went
    forwarder.counter_byte = 0x31
    sizes = [bench.step.pad(forwarder, 1.0) for _ in range(3)]
    found = probes(bench)
    assert min(sizes) > 200
    assert [h.ssrc for h in found] == [777] * 3
    bench.step.attach(forwarder, bench.streams[0])
    bench.publish(1, 500, KEY)
    assert bench.step.pad(forwarder, 1.0) == 0  # among the packets of a picture there is no room
    ((number, _),) = bench.received()
    assert number == (found[-1].sequence + 1) & 0xFFFF
    bench.step.detach(forwarder)
    assert bench.step.pad(forwarder, 1.0)


def test_probes_go_by_rtx_long_after_the_last_packet_is_forgotten(bench: Bench) -> None:
    types = bytearray(256)
    types[100], types[100 | 128] = 101, 101 | 128
    forwarder = bench.forwarder
    forwarder.rtx_payload_types, forwarder.rtx_ssrc, forwarder.counter_byte = bytes(types), 888, 0x31
    assert bench.step.pad(forwarder, 1.0)
    bench.step.attach(forwarder, bench.streams[0])
    bench.publish(1, 1, KEY)
    assert bench.step.pad(forwarder, 1.0)
    bench.step.detach(forwarder)
    for n in range(2, 600):
        bench.publish(1, n)
    probes_before = forwarder.rtx_sequence
    assert bench.step.pad(forwarder, 1.0)
    assert forwarder.rtx_sequence == probes_before + 1


def picture(number: int, tid: int = 0, tl0: int = 0, sync: bool = False, key: bool = False, start: bool = True) -> bytes:
    """A VP8 payload with picture id (15 bits), TL0PICIDX and temporal layer (RFC 7741 4.2)."""
    first, layer = 0x90 if start else 0x80, tid << 6 | sync << 5
    return bytes([first, 0xE0, 0x80 | number >> 8 & 0x7F, number & 0xFF, tl0 & 0xFF, layer, 0 if key else 1, 7])


def seen(payload: bytes) -> tuple[int, int, int]:
    found = vp8.descriptor(payload)
    return found.picture_id, found.tl0, found.tid


def of_vp8(bench: Bench) -> None:
    for stream in bench.streams:
        stream.vp8 = 96
        stream.keyframe = lambda payload, second: vp8.keyframe(payload)


def test_pictures_are_numbered_on_over_a_switch_and_so_are_those_sent_again(bench: Bench) -> None:
    of_vp8(bench)
    bench.step.attach(bench.forwarder, bench.streams[0])
    for n in range(6):
        bench.publish(1, 10 + n, picture(32_765 + n & 0x7FFF, tl0=250 + n, key=not n))
    bench.step.attach(bench.forwarder, bench.streams[1])
    for n in range(6):
        bench.publish(2, 900 + n, picture(77 + n, tl0=9 + n, key=not n))
    found = bench.received()
    assert steps(found) == {1}
    assert [seen(payload)[0] for _, payload in found] == [(32_765 + n) & 0x7FFF for n in range(12)]
    assert [seen(payload)[1] for _, payload in found] == [(250 + n) & 0xFF for n in range(12)]
    bench.anew()
    for number, payload in (found[2], found[8]):
        assert bench.step.resend(bench.forwarder, number, 1.0)
        assert bench.received() == [(number, payload)]
    bench.anew()
    bench.publish(1, 9, picture(32_764))  # late, of before the first: nobody's
    assert bench.received() == []


def test_frames_of_a_layer_too_dear_are_left_out_without_a_gap(bench: Bench) -> None:
    of_vp8(bench)
    bench.step.attach(bench.forwarder, bench.streams[0])
    pattern = (0, 2, 1, 2)
    sequence = 100
    sent: list[tuple[int, int]] = []

    def publish(first: int, count: int, sync: int = -1) -> None:
        nonlocal sequence
        for n in range(first, first + count):
            for part in range(2):  # two packets a frame
                payload = picture(n, pattern[n % 4], n // 4, n == sync, not n, part == 0)
                data = struct.pack("!BBHII", 0x80, 96, sequence, 3000 * n, 1) + payload
                bench.publisher.sendto(bench.send_session.protect(data), bench.relay.getsockname())
                sequence += 1
            bench.step.pump()
            sent.append((n, pattern[n % 4]))

    publish(0, 8)
    bench.forwarder.temporal = 1
    publish(8, 8)
    bench.forwarder.temporal = 0
    publish(16, 8)
    bench.forwarder.temporal = 2
    publish(24, 8, sync=30)
    found = bench.received()
    assert steps(found) == {1}
    layers = [seen(payload)[2] for _, payload in found[::2]]
    assert layers[:8] == [0, 2, 1, 2, 0, 2, 1, 2]
    assert layers[8:12] == [0, 1, 0, 1]
    assert layers[12:14] == [0, 0]
    assert layers[14:] == [0, 0, 1]  # up again only at a frame that needs no more than the base layer
    numbers = [seen(payload)[0] for _, payload in found[::2]]
    assert {b - a for a, b in pairwise(numbers)} == {1}
    assert [seen(payload)[1] for _, payload in found[::2] if seen(payload)[2] == 0] == list(range(8))
    bench.anew()
    for number, payload in found[16:24]:
        assert bench.step.resend(bench.forwarder, number, 1.0)
        assert bench.received() == [(number, payload)]
    assert sum(bench.streams[0].layer_bytes) == 64 * 8
