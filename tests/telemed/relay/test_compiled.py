"""The C form of the step against the Python one: the same datagrams byte for byte, the same counts, the same estimates."""

import random
import socket
import struct
from collections import deque
from collections.abc import Sequence
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.relay import dependency, srtp
from telemed.relay.build import Form, choose, library
from telemed.relay.estimator import Estimator
from telemed.relay.forward import Endpoint, Stream
from telemed.relay.layers import AV1, VP9
from telemed.relay.twcc import FeedbackBuilder
from telemed.wire.av1 import keyframe as av1_keyframe
from telemed.wire.errors import WireError
from telemed.wire.vp9 import keyframe as vp9_keyframe
from tests.telemed.relay.ends import loopback
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_av1_layers import described as described_frame
from tests.telemed.relay.test_forward import PROFILE, session
from tests.telemed.relay.test_svc import Mode

COUNTER, LEVEL, DESCRIPTOR = 3, 1, 12


class Wire:
    """A TCP candidate that keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def write(self, datagram: memoryview) -> None:
        self.got.append(bytes(datagram))


def by_subscriber(datagrams: list[bytes]) -> list[bytes]:
    """Each gets its own in order; who is served first is each form's affair."""
    return sorted(datagrams, key=lambda data: int.from_bytes(data[8:12]) // 10)


class World:
    """One publisher of two video layers and sound; five subscribers, one of them by TCP and one who agreed on no extension."""

    def __init__(self, form: Form, vp9: Sequence[int] = (), av1: Sequence[int] = ()) -> None:
        """`vp9`, `av1`: SSRCs of streams with spatial and temporal layers."""
        self.relay, self.publisher, self.subscriber = loopback(3)
        for s in (self.relay, self.publisher, self.subscriber):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.step = choose(have(form), self.relay, self)  # type: ignore[arg-type]
        self.keys = session(bytes(range(28)), False)
        self.source = self.step.endpoint(None)
        self.source.secure(srtp.Keys(PROFILE, bytes(range(28)), True), srtp.Keys(PROFILE, bytes(range(28, 56)), False))
        self.source.counter_id, self.source.level_id, self.source.descriptor_id = COUNTER, LEVEL, DESCRIPTOR
        self.notes: list[int] = []
        self.source.arrived = self.notes.append
        self.step.know(self.publisher.getsockname(), self.source)
        # A clock that stands still: timestamps after a switch do not hang on when a world came to it.
        self.streams = [self.step.stream(self.source, n + 1, 0, n < 2, self) for n in range(3)]
        for stream in self.streams:
            stream.vp8 = 96 if stream.ssrc != 3 else 0
            stream.red = 97 if stream.ssrc == 3 else 0
            stream.keyframe = None if stream.ssrc == 3 else lambda payload, _: not payload[0] & 1
            if stream.ssrc in vp9:
                stream.svc, stream.layered, stream.keyframe = 96, VP9, lambda payload, _: vp9_keyframe(payload)
            elif stream.ssrc in av1:
                stream.svc, stream.layered, stream.keyframe = 96, AV1, lambda payload, _: av1_keyframe(payload)
            self.source.add(stream)
        self.wire = Wire()
        self.histories = [self.step.estimator(0.0).history for _ in range(5)]
        self.sinks: list[Endpoint] = []
        self.ways = []
        everything = bytes(range(256))
        opus_alone = everything.translate(bytes(0 if n & 127 in (97, 98) else n for n in range(256)))
        for n in range(5):
            sink = self.step.endpoint(None)
            sink.secure(srtp.Keys(PROFILE, bytes(range(60, 88)), True), srtp.Keys(PROFILE, bytes(range(n, n + 28)), False))
            sink.address = self.subscriber.getsockname()
            sink.remember(self.histories[n])
            self.sinks.append(sink)
            for kind in range(2):
                way = self.step.forwarder(sink, 100 + 10 * n + kind, opus_alone if n % 2 else everything, None)
                way.red, way.descriptor_id = 97 if n % 2 else 0, 9 if n < 3 else 0
                way.counter_byte, way.level_byte = (0, 0) if n == 4 else (0x51, 0x20 if n % 2 else 0)
                self.ways.append(way)
        self.sinks[3].tcp = self.wire
        self.events: list[Any] = []

    def original(self, second: int) -> int | None:
        return None

    def on_gap(self, stream: Stream) -> None:
        self.events.append(("gap", stream.ssrc))

    def on_switched(self, way: Any, stream: Stream) -> None:
        self.events.append(("switched", way.ssrc, stream.ssrc))

    def on_unknown(self, endpoint: Endpoint, packet: bytes, now: float) -> None:
        self.events.append(("unknown", packet))

    def on_rtcp(self, endpoint: Endpoint, data: bytes, now: float) -> None:
        self.events.append(("rtcp", data))

    def on_stun(self, data: bytes, address: Any) -> None:
        self.events.append(("stun", data, address == self.publisher.getsockname()))

    def on_dtls(self, endpoint: Endpoint, data: bytes) -> None:
        self.events.append(("dtls", data))

    def send(self, datagrams: list[bytes]) -> list[bytes]:
        for data in datagrams:
            self.publisher.sendto(data, self.relay.getsockname())
        self.step.pump()
        got = []
        while True:
            try:
                got.append(self.subscriber.recv(2048))
            except BlockingIOError:
                return by_subscriber(got)

    def seen(self) -> list[Any]:
        """All that must be equal: counts, numbers, what was noted. Times are each world's own."""
        more = self.source.noted() if hasattr(self.source, "noted") else []
        notes = sorted(note & 0xFFFF for note in [*more, *self.notes])
        self.notes.clear()
        return [
            notes, by_subscriber(self.wire.got), self.events,
            [(s.highest, s.cycles, s.packets, s.bytes, s.last_rtp, s.levels, s.level_sum, sorted(s.missing)) for s in self.streams],
            [(w.packets, w.octets, w.last_sequence, w.last_rtp, w.sequence_offset) for w in self.ways],
            [(w.picture_offset, w.tl0_offset, w.last_picture, w.last_tl0, w.temporal, w.passing, w.frame) for w in self.ways],
            [(w.spatial, w.top, w.switched, [(begin, of.ssrc, offsets) for begin, of, offsets in w.history]) for w in self.ways],
            [list(s.layer_bytes) for s in self.streams],
            [(w.chain.held, w.chain.top, w.chain.behind) if w.chain is not None else None for w in self.ways],
            [(e.bad, e.received_packets, e.received_bytes, e.sent_packets, e.sent_bytes, e.counter) for e in [self.source, *self.sinks]],
            [(list(h.sizes), [at > 0 for at in h.times], h.last_sent > 0) for h in self.histories],
            [s.cache[n] for s in self.streams for n in range(0, 128, 7)],
            self.step.strangers, self.step.not_sent(),
        ]  # fmt: skip

    def close(self) -> None:
        self.step.close()
        for s in (self.relay, self.publisher, self.subscriber):
            s.close()


def with_descriptor(rng: random.Random, counter: int, number: int) -> bytes:
    """Header extensions with a dependency descriptor, of the same pictures as `layer_frame`, sometimes of bytes that are none."""
    picture, part = divmod(number, 6)
    data = described_frame(
        Mode(3, 3), picture % 4, part // 2, 3 * picture + part // 2, first=not part % 2, last=part % 2 == 1, key=not picture % 52,
        offset=picture // 52 % 2 * 20, active=rng.randrange(512) if rng.random() < 0.05 else -1,
    )  # fmt: skip
    if rng.random() < 0.02:
        data = rng.randbytes(rng.randrange(1, 40))
    short = len(data) <= 16
    elements = (COUNTER, counter.to_bytes(2)), (DESCRIPTOR, data)
    block = b"".join((bytes([name << 4 | len(each) - 1]) if short else bytes([name, len(each)])) + each for name, each in elements)
    block += bytes(-len(block) % 4)
    return (b"\xbe\xde" if short else b"\x10\x00") + (len(block) // 4).to_bytes(2) + block


def extensions(rng: random.Random, counter: int) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return b""
    if kind == 1:  # the two-byte form, which is not looked into
        return b"\x10\x00\x00\x01" + bytes([COUNTER, 2, 0, 0])
    elements = [bytes([COUNTER << 4 | 1]) + counter.to_bytes(2)] if kind != 2 else []
    if kind > 3:
        elements.append(bytes([LEVEL << 4, 0x80 | rng.randrange(128)]))
    if kind == 5:
        elements.insert(0, b"\0\0" + bytes([7 << 4 | 3]) + b"abcd")
    data = b"".join(elements)
    data += bytes(-len(data) % 4)
    return b"\xbe\xde" + (len(data) // 4).to_bytes(2) + data


def described(rng: random.Random, number: int) -> bytes:
    """A VP8 payload descriptor, of any shape and sometimes cut short."""
    flags = 0x80 | rng.choice((0x60, 0x60, 0x60, 0x20, 0x40, 0x70, 0))
    narrow = rng.random() < 0.1
    picture = bytes([number & 0x7F]) if narrow else bytes([0x80 | number >> 8 & 0x7F, number & 0xFF])
    tl0 = bytes([number // 4 & 0xFF]) if flags & 0x40 else b""
    tid = bytes([rng.randrange(4) << 6 | rng.choice((0, 0x20))]) if flags & 0x30 else b""
    head = bytes([rng.choice((0x90, 0x80)), flags]) + picture + tl0 + tid
    return head[: rng.randrange(len(head))] if rng.random() < 0.01 else head


def layer_frame(rng: random.Random, number: int) -> bytes:
    """A VP9 payload descriptor: a picture of three layer frames of two packets each, of any kind and sometimes cut short."""
    picture, part = divmod(number, 6)
    first = 0xA0 | (0x08, 0x04)[part % 2] | rng.choice((0, 0x10)) | (0x40 if picture % 50 and rng.random() < 0.97 else 0)
    temporal, spatial = (0, 2, 1, 2)[picture % 4] if rng.random() < 0.98 else rng.randrange(8), part // 2
    layer = temporal << 5 | rng.choice((0, 0x10)) | (spatial if rng.random() < 0.98 else rng.randrange(8)) << 1 | rng.choice((0, 1))
    short = rng.random() < 0.1
    name = bytes([picture & 0x7F]) if short else bytes([0x80 | picture >> 8 & 0x7F, picture & 0xFF])
    head = bytes([first]) + name + bytes([layer]) + bytes([picture // 4 & 0xFF])
    return head[: rng.randrange(len(head))] if rng.random() < 0.01 else head


def redundant(rng: random.Random) -> bytes:
    """The headers of redundant sound, of blocks that may be longer than the packet, and of what may not be agreed on."""
    blocks = [(0x80 | 96, rng.randrange(1 << 14) << 10 | rng.choice((0, 9, 30, 1000))) for _ in range(rng.randrange(3))]
    data = b"".join(bytes([kind]) + word.to_bytes(3) for kind, word in blocks) + bytes([rng.choice((96, 96, 96, 97, 98))])
    return data[: rng.randrange(len(data))] if rng.random() < 0.02 else data


@pytest.mark.parametrize(("vp9", "av1"), [((), ()), ((1,), ()), ((1, 2), ()), ((2,), (1,))])
@pytest.mark.parametrize("seed", range(4))
def test_both_forms_send_the_same_datagrams_and_count_the_same(
    seed: int, vp9: tuple[int, ...], av1: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependency, "STRUCTURES", 1_000_000)  # how many are read goes by the clock, which is each world's own
    rng = random.Random(seed)
    worlds = World("python", vp9, av1), World("compiled", vp9, av1)
    numbers = [65_400, 10, 30_000, 500]
    counter = 65_000
    late: deque[bytes] = deque()
    held: set[int] = set()  # highest spatial layers of AV1 that somebody had
    try:
        for _ in range(400):
            kind = rng.random()
            if kind < 0.06:  # somebody is given another layer, nothing, or sound
                n, to = rng.randrange(10), rng.randrange(4)
                for world in worlds:
                    way = world.ways[n]
                    world.step.detach(way) if to == 3 else world.step.attach(way, world.streams[2 if n % 2 else to % 2])
            if 0.06 < kind < 0.12:
                n, temporal = rng.randrange(10), rng.randrange(4)
                for world in worlds:
                    world.ways[n].temporal = temporal
                if vp9 or av1:
                    spatial = rng.randrange(4)
                    for world in worlds:
                        world.ways[n].spatial = spatial
            if kind > 0.98:
                for world in worlds:
                    world.sinks[2].tcp = None if world.sinks[2].tcp else world.wire
            batch: list[bytes] = []
            for _ in range(rng.randrange(1, 60)):
                which = rng.choice((0, 0, 1, 2, 2)) if rng.random() < 0.99 else 3
                numbers[which] += 1 if rng.random() < 0.97 else rng.choice((2, 3, 40, 2000))
                counter += 1
                extra = extensions(rng, counter & 0xFFFF)
                if which + 1 in av1 and rng.random() < 0.98:
                    extra = with_descriptor(rng, counter & 0xFFFF, numbers[which])
                padding = rng.random() < 0.05
                csrcs = rng.randrange(3) if rng.random() < 0.1 else 0
                first = 0x80 | (0x10 if extra else 0) | (0x20 if padding else 0) | csrcs
                payload = rng.randbytes(rng.choice((0, 1, 30, 1100))) if padding else rng.randbytes(rng.choice((1, 30, 160, 1100)))
                svc = which + 1 in (*vp9, *av1)
                if len(payload) > 20 and rng.random() < (0.99 if svc else 0.8):
                    payload = (layer_frame if which + 1 in vp9 else described)(rng, numbers[which]) + payload
                if which + 1 in av1 and payload:
                    payload = (b"\0" if numbers[which] % 312 else b"\x08") + payload[1:]  # a coded video sequence begins (N)
                of = 96
                if which == 2 and rng.random() < 0.5:
                    of, payload = 97, redundant(rng) + payload
                stamp = 3000 * (numbers[which] // 6 if svc else numbers[which])
                packet = struct.pack("!BBHII", first, of | rng.choice((0, 128)), numbers[which] & 0xFFFF, stamp & 0xFFFFFFFF, which + 1)
                packet += bytes(4 * csrcs) + extra + payload + (bytes(4) + b"\5" if padding else b"")
                data = worlds[0].keys.protect(packet)
                how = rng.random()
                if how < 0.03:
                    late.append(data)
                elif how < 0.05:
                    continue
                else:
                    batch += [data, data] if how < 0.06 else [data]
                if late and rng.random() < 0.05:
                    batch.append(late.popleft())
                if rng.random() < 0.01:
                    forged = bytearray(data)
                    forged[-1] ^= 1
                    batch.append(bytes(forged))
                if rng.random() < 0.01:
                    batch.append(rng.choice((b"\0\1" + bytes(18), b"\x16" + rng.randbytes(40), rng.randbytes(rng.randrange(1, 200)))))
            ours, theirs = (world.send(batch) for world in worlds)
            assert ours == theirs
            assert worlds[0].seen() == worlds[1].seen()
            held |= {way.chain.top for way in worlds[0].ways if way.chain is not None and way.chain.held}
        assert sum(w.packets for w in worlds[0].ways) > 5000
        assert len(held) >= 2 * len(av1)
        for n in range(10):
            number = (worlds[0].ways[n].last_sequence - 3) & 0xFFFF
            assert len({world.step.resend(world.ways[n], number, 1.0) for world in worlds}) == 1
    finally:
        for world in worlds:
            world.close()


def test_strangers_of_either_family_are_known_by_their_address() -> None:
    have("compiled")
    from telemed.relay import compiled

    for address in (("192.0.2.7", 65_535), ("2001:db8::7", 1, 0, 0), ("fe80::1%lo", 40_000, 5, 3), ("::ffff:192.0.2.7", 9, 0, 0)):
        expected = (str(address[0]).partition("%")[0], *address[1:])
        assert compiled.unpacked(compiled.packed(address)) == expected


def estimators() -> tuple[Estimator, Estimator]:
    have("compiled")
    from telemed.relay import compiled

    lib = compiled.load(library())
    digest = compiled.ffi.new("step_digest *")
    return Estimator(0.0), Estimator(0.0, history=compiled.History(lib, digest), trend=compiled.Trend(lib))


@pytest.mark.parametrize("seed", range(3))
def test_both_forms_estimate_the_same(seed: int) -> None:
    rng = random.Random(seed)
    pair = estimators()
    builder = FeedbackBuilder()
    queue = now = 0.0
    sequence = 65_000
    probes = 0
    for step in range(3_000):
        rate = (300e3, 2e6, 80e3, 600e3)[step // 750]
        now += 0.02
        for _ in range(rng.randrange(1, 4)):
            sequence = (sequence + 1) & 0xFFFF
            size = rng.randrange(100, 1200)
            for each in pair:
                each.history.sent(sequence, now, size)
            queue = max(queue, now) + size * 8 / rate
            if rng.random() > 0.02 and queue - now < 1.0:
                builder.record(sequence, int((queue + 500 + rng.random() * 0.01) * 1e6))
            queue = min(queue, now + 1.0)
        if step % 5 == 0:
            for packet in builder.take(1, 2):
                for each in pair:
                    each.want(900_000, 1_500_000)
                    each.on_body(now, packet[4:])
                polled = [each.poll(now) for each in pair]
                assert polled[0] == polled[1]
                probes += polled[0] is not None
        first, second = pair
        assert (first.bitrate, first.acknowledged, first.trend.state) == (second.bitrate, second.acknowledged, second.trend.state)
        assert (first.trend.jitter, first.queue) == (second.trend.jitter, second.queue)
    assert probes


@given(st.binary(max_size=200), st.integers(0, 40), st.integers(0, 65_535))
def test_what_one_form_refuses_the_other_refuses(noise: bytes, count: int, base: int) -> None:
    counts = ("count", "lost", "octets", "lost_octets", "delay", "newest", "first")
    body = bytes(8) + base.to_bytes(2) + count.to_bytes(2) + bytes(4) + noise
    for cut in (body, body[:17], noise):
        told = []
        for each in estimators():
            for n in range(64):
                each.history.sent((base + n) & 0xFFFF, n * 0.02, 100 + n)
            try:
                digest = each.history.digest(cut)
                told.append((digest.packets, *(getattr(digest, name) for name in counts)))
            except WireError:
                history: Any = each.history
                told.append((isnan(history.c.base[0] if hasattr(history, "c") else history.base),))  # nothing was changed
        assert told[0] == told[1]
