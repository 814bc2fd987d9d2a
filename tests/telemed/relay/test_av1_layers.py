"""Spatial and temporal layers of AV1 by its dependency descriptors: who gets which frames, and what of it cannot be read."""

import struct
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from telemed.ports import Published, Source
from telemed.relay.build import library
from telemed.relay.dependency import DEPENDENCY, STRUCTURES, Chain, Frame, Reader
from telemed.relay.layers import ALL_LAYERS, AV1, VP9
from telemed.relay.negotiate import read
from telemed.relay.track import Slot, Track
from telemed.wire import av1, rtp
from tests.telemed.relay import ends
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import Bench
from tests.telemed.relay.test_svc import PACKETS, TEMPORAL, Mode
from tests.telemed.wire.fuzz import mutated
from tests.telemed.wire.test_payloads import Bits

THEIRS, COUNTER, OURS = 12, 3, 7  # extension ids of the descriptor in and out, and of the transport-wide number


def back(mode: Mode, n: int) -> int:
    """How many pictures before picture `n` of the pattern lies the one it needs."""
    tid = TEMPORAL[mode.temporal][n]
    return len(TEMPORAL[mode.temporal]) if not tid else 2 if tid == 1 and mode.temporal == 3 else 1


def indications(mode: Mode, sid: int, tid: int, key: bool) -> list[int]:
    """What a frame is to each decode target (A.8.3), in their order: spatial layer first."""
    out = []
    for target in range(mode.spatial):
        for temporal in range(mode.temporal):
            if temporal < tid or target < sid or (target > sid and mode.key and not key):
                out.append(av1.NOT_PRESENT)
            elif key or target == sid:
                out.append(av1.SWITCH if tid < 2 else av1.DISCARDABLE)
            else:
                out.append(av1.REQUIRED)
    return out


def templates(mode: Mode) -> list[tuple[int, int, bool, list[int]]]:
    """(spatial layer, temporal layer, of a keyframe, frames needed), in the order of layers."""
    out = []
    for sid in range(mode.spatial):
        for tid in range(mode.temporal):
            if not tid:
                out.append((sid, tid, True, [1] if sid else []))
            place = TEMPORAL[mode.temporal].index(tid)
            needed = [back(mode, place) * mode.spatial]
            out.append((sid, tid, False, [*needed, 1] if sid and not mode.key else needed))
    return out


def structure(bits: Bits, mode: Mode, offset: int) -> None:
    kinds = templates(mode)
    bits.put((offset, 6), (mode.spatial * mode.temporal - 1, 5))
    for before, after in pairwise(kinds):
        bits.put((0 if before[:2] == after[:2] else 1 if before[0] == after[0] else 2, 2))
    bits.put((3, 2))
    for sid, tid, key, _ in kinds:
        bits.put(*[(what, 2) for what in indications(mode, sid, tid, key)])
    for _, _, _, needed in kinds:
        for frame in needed:
            bits.put((1, 1), (frame - 1, 4))
        bits.put((0, 1))
    width = (mode.spatial * mode.temporal + 1).bit_length()
    bits.put((0, width - 1))  # no chains: ns(targets + 1)
    bits.put((1, 1), *[x for sid in range(mode.spatial) for x in ((320 * 2**sid - 1, 16), (180 * 2**sid - 1, 16))])


def described(mode: Mode, n: int, sid: int, number: int, *, first: bool, last: bool, key: bool, offset: int = 0, active: int = -1) -> bytes:
    tid = TEMPORAL[mode.temporal][n]
    index = next(k for k, kind in enumerate(templates(mode)) if kind[:3] == (sid, tid, key))
    bits = Bits().put((first, 1), (last, 1), ((offset + index) % 64, 6), (number & 0xFFFF, 16))
    announced = key and first and not sid
    if announced or active >= 0:
        bits.put((announced, 1), (active >= 0, 1), (0, 3))
        if announced:
            structure(bits, mode, offset)
        if active >= 0:
            bits.put((active, mode.spatial * mode.temporal))
    return bits.done()


class Got(NamedTuple):
    """One packet that the subscriber got."""

    sequence: int
    marker: bool
    picture: int
    sid: int
    tid: int
    descriptor: bytes


class Dd(Bench):
    """A publisher of one AV1 stream with dependency descriptors. Payloads say what they are: picture, layers."""

    def __init__(self, form: str) -> None:
        super().__init__(have(form))  # type: ignore[arg-type]
        stream = self.streams[0]
        stream.svc, stream.layered, stream.keyframe = 96, AV1, lambda payload, _: av1.keyframe(payload)
        self.source.descriptor_id, self.source.counter_id = THEIRS, COUNTER
        self.forwarder.descriptor_id = OURS
        self.notes: list[int] = []
        self.source.arrived = self.notes.append
        self.step.attach(self.forwarder, stream)
        self.sequence, self.picture_number, self.number, self.place, self.counter = 65_500, 0, 65_000, 0, 0
        self.offset = 0

    def picture(self, mode: Mode, *, key: bool = False, lose: tuple[tuple[int, int], ...] = (), active: int = -1) -> list[bytes]:
        if key:
            self.place, self.offset = 0, (self.offset + 17) % 64
        lost = []
        pattern = TEMPORAL[mode.temporal]
        n = self.place % len(pattern)
        for sid in range(mode.spatial):
            for part in range(PACKETS):
                last = sid == mode.spatial - 1 and part == PACKETS - 1
                ends = {"first": not part, "last": part == PACKETS - 1}
                dd = described(mode, n, sid, self.number, **ends, key=key, offset=self.offset, active=active)
                body = bytes([8 if key and not sid and not part else 0, self.picture_number & 0xFF, sid, pattern[n]]) + bytes(40)
                packet = self.packet(dd, body, last)
                if (sid, part) in lose:
                    lost.append(packet)
                else:
                    self.send(packet)
            self.number += 1
        self.place += 1
        self.picture_number += 1
        return lost

    def packet(self, dd: bytes, body: bytes, marker: bool = False) -> bytes:
        self.counter += 1
        count = (self.counter & 0xFFFF).to_bytes(2)
        if len(dd) <= 16:
            block = bytes([COUNTER << 4 | 1]) + count + (bytes([THEIRS << 4 | len(dd) - 1]) + dd if dd else b"")
        else:
            block = bytes([COUNTER, 2]) + count + b"\0" + bytes([THEIRS, len(dd)]) + dd
        block += bytes(-len(block) % 4)
        head = struct.pack("!BBHII", 0x90, 96 | marker << 7, self.sequence & 0xFFFF, 3000 * self.picture_number & 0xFFFFFFFF, 1)
        self.sequence += 1
        return head + (b"\xbe\xde" if len(dd) <= 16 else b"\x10\x00") + (len(block) // 4).to_bytes(2) + block + body

    def send(self, packet: bytes) -> None:
        self.publisher.sendto(self.send_session.protect(packet), self.relay.getsockname())
        self.step.pump()

    def run(self, mode: Mode, pictures: int, *, key: bool = False, active: int = -1) -> list[Got]:
        for n in range(pictures):
            self.picture(mode, key=key and not n, active=active if not n else -1)
        return self.got()

    def raw(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.receive_session.unprotect(self.subscriber.recv(2048)))
            except BlockingIOError:
                return found

    def got(self) -> list[Got]:
        found = []
        for data in self.raw():
            header = rtp.parse(data)
            body = data[header.payload_offset :]
            elements = rtp.extensions(data, header)
            found.append(Got(header.sequence, header.marker, body[1], body[2], body[3], bytes(elements.get(OURS, b""))))
        return found


@pytest.fixture(params=["python", "compiled"])
def dd(request: pytest.FixtureRequest) -> Iterator[Dd]:
    made = Dd(request.param)
    yield made
    made.close()


def layers(found: list[Got]) -> set[tuple[int, int]]:
    return {(packet.sid, packet.tid) for packet in found}


def decodable(found: list[Got], known: av1.Structure | None = None) -> av1.Structure | None:
    """A receiver's view: numbers without a gap, one marker a temporal unit, and every frame finds what it needs."""
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(found)} <= {1}
    have: set[int] = set()
    for packet in found:
        of = av1.dependency(packet.descriptor, known)
        if of.structure is not None:
            known, have = of.structure, set()
        assert all((of.frame_number - reference) & 0xFFFF in have for reference in of.references), of
        if of.end:
            have.add(of.frame_number)
    for a, b in pairwise(found):
        assert a.marker == (a.picture != b.picture), (a, b)
    assert found[-1].marker
    return known


MODES = [Mode(1, 2), Mode(1, 3), Mode(2, 1), Mode(2, 2), Mode(3, 1), Mode(3, 3), Mode(2, 2, True), Mode(3, 1, True), Mode(3, 3, True)]


@pytest.mark.parametrize("mode", MODES)
def test_each_choice_of_layers_gets_those_up_to_it_and_no_other(dd: Dd, mode: Mode) -> None:
    everything: list[Got] = []
    for spatial in range(mode.spatial):
        for temporal in range(mode.temporal):
            dd.forwarder.spatial, dd.forwarder.temporal = spatial, temporal
            found = dd.run(mode, 12, key=True)
            assert layers(found) == {(s, t) for s in range(spatial + 1) for t in range(temporal + 1)}
            everything += found
    decodable(everything)
    assert len(dd.notes) == dd.counter  # transport-wide numbers are found in both forms of extensions


@pytest.mark.parametrize("mode", [Mode(3, 3), Mode(3, 3, True)])
def test_down_with_the_next_unit_and_up_at_a_keyframe(dd: Dd, mode: Mode) -> None:
    found = dd.run(mode, 8, key=True)
    assert layers(found) == {(s, t) for s in range(3) for t in range(3)}
    dd.forwarder.spatial = 0
    found += (lower := dd.run(mode, 8))
    dd.forwarder.spatial = 2
    found += (waiting := dd.run(mode, 8))
    assert layers(lower) == layers(waiting) == {(0, t) for t in range(3)}
    assert dd.forwarder.chain is not None
    assert dd.forwarder.chain.behind
    found += (higher := dd.run(mode, 8, key=True))
    assert layers(higher) == {(s, t) for s in range(3) for t in range(3)}
    assert not dd.forwarder.chain.behind
    decodable(found)


def test_more_frames_at_a_frame_that_is_a_switch_and_whose_references_went(dd: Dd) -> None:
    mode = Mode(1, 3)
    dd.forwarder.temporal = 0
    found = dd.run(mode, 6, key=True)  # the pattern ends after its second picture
    assert layers(found) == {(0, 0)}
    dd.forwarder.temporal = ALL_LAYERS
    found += (more := dd.run(mode, 8))
    # T1 is a switch too and needs only a T0 that went; the T2 before it is none, and needs it.
    assert [(packet.tid, packet.picture) for packet in more if packet.marker][:4] == [(1, 6), (2, 7), (0, 8), (2, 9)]
    dd.forwarder.temporal = 1
    found += (fewer := dd.run(mode, 8))
    assert layers(fewer) == {(0, 0), (0, 1)}
    decodable(found)


def test_a_switch_whose_references_did_not_go_is_none(dd: Dd) -> None:
    """In a stream with inter-layer prediction frames of the upper layer are switches, for who has the upper layer."""
    mode = Mode(2, 1)
    dd.forwarder.spatial = 0
    dd.run(mode, 3, key=True)
    dd.forwarder.spatial = 1
    assert layers(dd.run(mode, 5)) == {(0, 0)}
    assert layers(dd.run(mode, 1, key=True)) == {(0, 0), (1, 0)}


def test_targets_that_the_publisher_stops_are_not_waited_for(dd: Dd) -> None:
    mode = Mode(3, 1)
    dd.run(mode, 3, key=True)
    chain = dd.forwarder.chain
    assert chain is not None
    # Bits of the decode targets as the descriptor has them, lowest target first.
    dd.run(mode, 2, active=0b011)
    assert (chain.held, chain.top, chain.behind) == (0b011, 1, False)
    dd.forwarder.spatial = 0
    dd.run(mode, 2, active=0b110)  # nothing so low: the lowest that there is
    assert (chain.top, chain.held) == (1, 0b010)


def test_the_descriptor_goes_on_as_it_came_and_nothing_where_it_was_not_agreed_on(dd: Dd) -> None:
    mode = Mode(3, 3)
    dd.forwarder.counter_byte = 5 << 4 | 1
    dd.run(mode, 1, key=True)
    dd.picture(mode)
    for data in dd.raw():
        header = rtp.parse(data)
        elements = rtp.extensions(data, header)
        assert set(elements) == {OURS, 5}
        assert header.extension_profile == (0xBEDE if len(elements[OURS]) <= 16 else 0x1000)
    assert dd.sink.counter == 2 * 3 * PACKETS
    dd.forwarder.descriptor_id = 0
    dd.picture(mode, key=True)
    assert all(set(rtp.extensions(data, rtp.parse(data))) == {5} for data in dd.raw())


def test_what_is_asked_for_again_has_its_descriptor_number_and_marker(dd: Dd) -> None:
    mode = Mode(3, 3, True)
    dd.sequence = 100
    sent: list[bytes] = []
    for spatial, temporal, key in ((3, 3, True), (1, 3, False), (0, 1, False), (3, 3, True)):
        dd.forwarder.spatial, dd.forwarder.temporal = spatial, temporal
        for n in range(6):
            dd.picture(mode, key=key and not n)
        sent += dd.raw()
    assert len(sent) > 80
    for data in sent:
        dd.anew()
        assert dd.step.resend(dd.forwarder, int.from_bytes(data[2:4]), 1.0)
        assert dd.raw() == [data]


def test_a_lost_keyframe_packet_that_comes_late_announces_what_follows(dd: Dd) -> None:
    mode = Mode(2, 1)
    dd.forwarder.spatial = 0
    before = dd.run(mode, 2, key=True)
    (lost,) = dd.picture(mode, key=True, lose=((0, 0),))
    dd.run(mode, 1)  # nobody knows yet what this is: it goes to everybody
    dd.send(lost)
    late = dd.got()
    assert [len(packet.descriptor) > 3 for packet in late].count(True) == 1
    assert late[-1].sequence == (before[-1].sequence + 1) & 0xFFFF
    assert layers(dd.run(mode, 3)) == {(0, 0)}


def test_by_rtx_the_descriptor_comes_too(dd: Dd) -> None:
    mode = Mode(1, 2)
    rtx = dd.step.stream(dd.source, 9, 90000, False, dd)
    rtx.rtx_of = dd.streams[0]
    dd.source.add(rtx)
    dd.run(mode, 2, key=True)
    (lost,) = dd.picture(mode, lose=((0, 0),))
    dd.run(mode, 1)
    header = rtp.parse(lost)
    at = header.payload_offset
    dd.send(lost[:2] + b"\x00\x07" + lost[4:8] + (9).to_bytes(4) + lost[12:at] + lost[2:4] + lost[at:])
    (late,) = dd.got()
    assert late.descriptor == bytes(rtp.extensions(lost, header)[THEIRS])


def test_what_cannot_be_read_goes_to_everybody(dd: Dd) -> None:
    mode = Mode(2, 1)
    dd.forwarder.spatial = 0
    dd.run(mode, 2, key=True)
    bad = [b"", b"\x80", b"\xff\x12", bytes((0x80 | (dd.offset + 40) % 64, 0, 1)), b"\x80\x00\x01\x40", bytes(200)]
    for dependency in bad:
        dd.send(dd.packet(dependency, b"\0\1\2\3"))
    assert [packet.descriptor for packet in dd.got()] == bad
    assert layers(dd.run(mode, 2)) == {(0, 0)}


def test_any_descriptors(dd: Dd) -> None:
    """Mutated ones, absurd counts among them: nothing raises, numbers stay without a gap, and the stream is found again."""
    mode = Mode(3, 3)
    dd.run(mode, 2, key=True)
    samples = [described(mode, n, 0, 7, first=True, last=False, key=not n, active=5) for n in range(2)]
    endless = Bits().put((1, 1), (1, 1), (0, 6), (1, 16), (1, 1), (0, 4), (0, 6), (31, 5)).put(*[(0, 2)] * 900).done()
    for n, data in enumerate(mutated([*samples, endless[:200]], 150)):
        dd.send(dd.packet(data[:255], b"\0\1\2\3"))
        dd.forwarder.spatial, dd.forwarder.temporal = n % 4, n % 3
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(dd.got())} == {1}
    assert dd.step.faults == 0
    dd.forwarder.spatial = dd.forwarder.temporal = ALL_LAYERS
    assert dd.streams[0].reader is not None
    dd.streams[0].reader._budget = 1.0  # a second later
    decodable(dd.run(mode, 8, key=True))


def test_a_structure_that_is_repeated_with_each_layer_of_a_keyframe_changes_nothing() -> None:
    """As in modes whose layers need nothing of each other (S2T1)."""
    shape = Mode(2, 1)
    reader, chain = Reader(), Chain()
    for number in (1, 3):
        for sid in range(2):
            bits = Bits().put((1, 1), (1, 1), (2 if sid else 0, 6), (number + sid, 16), (1, 1), (0, 1), (1, 1), (1, 1), (0, 1))
            structure(bits, shape, 0)
            bits.put(*[(2 if target == sid else 0, 2) for target in range(2)], (0, 2))  # a switch for its own target; needs nothing
            frame = reader.read(bits.done(), False, 1.0)
            assert frame is not None
            assert chain.takes(frame, 3, 3, number)
        assert (chain.held, chain.top, chain.behind) == (0b11, 1, False)


def test_structures_cost_no_more_than_so_many_a_second() -> None:
    reader = Reader()
    made = [described(Mode(3, 3), 0, 0, n, first=True, last=False, key=True, offset=n % 64) for n in range(1, 400)]
    assert sum(reader.read(data, False, 5.0 + n / 1000) is not None for n, data in enumerate(made[:200])) < STRUCTURES * 1.3
    assert reader.read(made[300], False, 7.0) is not None


def test_a_number_that_wraps_and_frames_long_lost() -> None:
    shape = av1.Structure(0, (), ((0, 0), (0, 1)))
    chain = Chain()

    def frame(number: int, tid: int, *references: int) -> Frame:
        return Frame(number & 0xFFFF, 0, tid, (2, 2) if not tid else (0, 2), references, shape, 3)

    assert chain.takes(frame(65_534, 0), 0, 0, 1)
    assert not chain.takes(frame(65_535, 1, 1), 0, 0, 2)
    assert chain.takes(frame(65_536, 0, 2), 0, 0, 3)
    assert not chain.takes(frame(65_537, 1, 2), 0, 3, 4)  # it needs what was left out
    assert chain.takes(frame(65_538, 1, 2), 0, 3, 5)
    assert chain.takes(frame(70_000, 0, 4_000), 0, 3, 6)
    assert chain.takes(frame(69_999, 0), 0, 3, 6, late=True)


def test_who_has_not_agreed_on_the_descriptor_gets_the_lowest_spatial_layer_alone() -> None:
    """Chromium makes a picture of each layer frame then."""
    stream: Any = SimpleNamespace(layered=AV1)
    track = Track("t", SimpleNamespace(), "0", "video", Published(Source.CAMERA))  # type: ignore[arg-type]
    track.streams[""] = stream
    stream.last_time = 5.0
    track.shares[""], track.rates[""] = [[0.1, 0.2], [0.3, 0.5], [0.6, 1.0]], (5.0, 0, 1000.0)
    way: Any = SimpleNamespace(descriptor_id=0)
    slot = Slot(SimpleNamespace(), "0", "video", way)  # type: ignore[arg-type]
    slot.track, slot.layer = track, "s2"
    assert slot.spatial() == 0
    assert slot.layers(5.0) == [("s0", 0, 100), ("s0", -1, 200)]
    way.descriptor_id = OURS
    assert slot.spatial() == 2
    assert len(slot.layers(5.0)) == 6
    way.descriptor_id, stream.layered = 0, VP9
    assert slot.spatial() == 2


EXTENSIONS = f"a=extmap:1 {DEPENDENCY}\r\n"
PICTURE = "m=video 9 UDP/TLS/RTP/SAVPF {order}\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\n"
PICTURE += "a=rtpmap:45 AV1/90000\r\na=rtpmap:96 VP8/90000\r\n"


@pytest.mark.parametrize(
    ("order", "direction", "mixed", "agreed"),
    [
        ("45 96", "sendonly", "a=extmap-allow-mixed\r\n", True),
        ("96 45", "sendonly", "a=extmap-allow-mixed\r\n", False),  # beside VP8 it is of no use
        ("45 96", "sendonly", "", False),
        ("96 45", "recvonly", "a=extmap-allow-mixed\r\n", True),
        ("96", "recvonly", "a=extmap-allow-mixed\r\n", False),
    ],
)
async def test_it_is_agreed_on_where_it_will_be_read(order: str, direction: str, mixed: str, agreed: bool) -> None:
    publish = {"0": Published(Source.CAMERA)} if direction == "sendonly" else {}
    lines = PICTURE.format(order=order, direction=direction) + EXTENSIONS
    at_line = ends.HEAD.format(mids="0", setup="active") + lines + mixed
    at_session = ends.HEAD.format(mids="0", setup="active") + mixed + lines
    for offer in (at_line, at_session):
        (line,) = read(offer, publish, frozenset(("video",))).lines
        assert (DEPENDENCY in line.extensions, line.mixed) == (agreed, agreed)
        async with ends.relay() as relay:
            end = ends.End(relay, "a")
            answer = end.peer.negotiate(offer, publish, {})
            assert (EXTENSIONS in answer) == ("a=extmap-allow-mixed\r\n" in answer) == agreed
            if direction == "recvonly":
                assert end.peer.slots["0"].forwarder.descriptor_id == (1 if agreed else 0)
            else:
                assert end.peer.endpoint.descriptor_id == (1 if agreed else 0)


def test_the_compiled_form_leaves_such_a_stream_to_python() -> None:
    have("compiled")
    from telemed.relay import compiled

    lib: Any = compiled.load(library())
    endpoint = compiled.Endpoint(lib, None)
    stream = compiled.Stream(lib, endpoint, 1, 90000, True, None)
    assert not stream.c.slow
    stream.layered = AV1
    assert stream.c.slow
    stream.layered = 0
    assert not stream.c.slow
