"""Spatial and temporal layers in one stream (VP9, RFC 9628): who gets which, where layers are taken up and left, numbers and markers."""

import struct
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from telemed.ports import LayerChoice, Published, Source
from telemed.relay.allocate import Allocator, Wanted
from telemed.relay.layers import ALL_LAYERS, VP9
from telemed.relay.negotiate import MID, RID
from telemed.relay.track import Format, Slot, Track
from telemed.wire import rtp, vp9
from tests.telemed.relay import ends
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import Bench

TEMPORAL = {1: (0,), 2: (0, 1), 3: (0, 2, 1, 2)}
PACKETS = 2  # of a layer frame


class Mode(NamedTuple):
    """A scalability mode: L<spatial>T<temporal>, _KEY where upper layers need the lower ones at keyframes only."""

    spatial: int
    temporal: int
    key: bool = False
    flexible: bool = False


class Got(NamedTuple):
    """One packet that the subscriber got."""

    sequence: int
    marker: bool
    picture: int
    sid: int
    tid: int
    end: bool


def payload(mode: Mode, n: int, sid: int, part: int, *, key: bool, up: bool, fresh: bool = False) -> bytes:
    """Packet `part` of the frame of layer `sid` in picture `n`. `fresh`: without anything of earlier pictures."""
    tid = TEMPORAL[mode.temporal][n % len(TEMPORAL[mode.temporal])]
    inter = not key and not fresh
    below = sid > 0 and (key or not mode.key)
    first = 0xA0 | inter << 6 | mode.flexible << 4 | (part == 0) << 3 | (part == PACKETS - 1) << 2 | (key and not sid and not part) << 1
    data = bytes([first, 0x80 | n >> 8 & 0x7F, n & 0xFF, tid << 5 | up << 4 | sid << 1 | below])
    if not mode.flexible:
        data += bytes([n // len(TEMPORAL[mode.temporal]) & 0xFF])
    elif inter:
        data += bytes([len(TEMPORAL[mode.temporal]) << 1])
    if first & 2:
        data += bytes([(mode.spatial - 1) << 5])
    return data + bytes([n & 0xFF, sid, part]) * 9


class Svc(Bench):
    """A publisher of one SVC stream of VP9."""

    def __init__(self, form: str) -> None:
        super().__init__(have(form))  # type: ignore[arg-type]
        stream = self.streams[0]
        stream.svc, stream.layered, stream.keyframe = 96, VP9, lambda payload, _: vp9.keyframe(payload)
        self.step.attach(self.forwarder, stream)
        self.sequence, self.number = 65_500, 32_700

    def picture(
        self, mode: Mode, *, key: bool = False, up: bool = True, lose: tuple[tuple[int, int], ...] = (), fresh: int = 9
    ) -> list[bytes]:
        """Sends a picture; what is lost of it, as (layer, packet), is given back. `fresh`: the layer that begins with it."""
        lost = []
        for sid in range(mode.spatial):
            for part in range(PACKETS):
                last = sid == mode.spatial - 1 and part == PACKETS - 1
                head = struct.pack("!BBHII", 0x80, 96 | last << 7, self.sequence & 0xFFFF, 3000 * self.number & 0xFFFFFFFF, 1)
                packet = head + payload(mode, self.number & 0x7FFF, sid, part, key=key, up=up, fresh=sid == fresh)
                self.sequence += 1
                if (sid, part) in lose:
                    lost.append(packet)
                else:
                    self.send(packet)
        self.number += 1
        return lost

    def send(self, packet: bytes) -> None:
        self.publisher.sendto(self.send_session.protect(packet), self.relay.getsockname())
        self.step.pump()

    def run(self, mode: Mode, pictures: int, *, key: bool = False, up: bool = True) -> list[Got]:
        """That many pictures, the first a keyframe if it is asked for."""
        for n in range(pictures):
            self.picture(mode, key=key and not n, up=up)
        return self.got()

    def got(self) -> list[Got]:
        found = []
        while True:
            try:
                data = self.receive_session.unprotect(self.subscriber.recv(2048))
            except BlockingIOError:
                return found
            header = rtp.parse(data)
            of = vp9.descriptor(data[header.payload_offset :])
            found.append(Got(header.sequence, header.marker, of.picture_id, of.sid, of.tid, of.end))


@pytest.fixture(params=["python", "compiled"])
def svc(request: pytest.FixtureRequest) -> Iterator[Svc]:
    made = Svc(request.param)
    yield made
    made.close()


def layers(found: list[Got]) -> set[tuple[int, int]]:
    return {(packet.sid, packet.tid) for packet in found}


def whole(found: list[Got]) -> bool:
    """Numbers without a gap; each picture ends once, with the last packet of its highest layer that came."""
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(found)} <= {1}
    for a, b in pairwise(found):
        assert a.marker == (a.picture != b.picture), (a, b)
        assert not a.marker or a.end
    return found[-1].marker


MODES = [
    Mode(1, 2), Mode(1, 3), Mode(2, 1), Mode(2, 2), Mode(2, 3, flexible=True), Mode(3, 1), Mode(3, 3), Mode(2, 2, True), Mode(3, 3, True),
    Mode(3, 3, True, True), Mode(3, 2, flexible=True),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_each_choice_of_layers_gets_those_up_to_it_and_no_other(svc: Svc, mode: Mode) -> None:
    everything: list[Got] = []
    for spatial in range(mode.spatial):
        for temporal in range(mode.temporal):
            svc.forwarder.spatial, svc.forwarder.temporal = spatial, temporal
            found = svc.run(mode, 12, key=True)
            assert layers(found) == {(s, t) for s in range(spatial + 1) for t in range(temporal + 1)}
            everything += found
    assert whole(everything)
    # Pictures keep the numbers that the publisher gave them; those that are left out are missing.
    assert all(1 <= (b.picture - a.picture) & 0x7FFF <= 4 for a, b in pairwise(everything) if a.picture != b.picture)


@pytest.mark.parametrize("mode", [Mode(3, 3), Mode(3, 3, True), Mode(3, 3, True, True)])
def test_down_with_the_next_picture_and_up_with_a_keyframe(svc: Svc, mode: Mode) -> None:
    found = svc.run(mode, 8, key=True)
    assert layers(found) == {(s, t) for s in range(3) for t in range(3)}
    svc.forwarder.spatial = 0
    lower = svc.run(mode, 8)
    assert layers(lower) == {(0, t) for t in range(3)}
    svc.forwarder.spatial = 2
    waiting = svc.run(mode, 8)
    assert layers(waiting) == {(0, t) for t in range(3)}
    higher = svc.run(mode, 8, key=True)
    assert layers(higher) == {(s, t) for s in range(3) for t in range(3)}
    assert higher[0].picture == (waiting[-1].picture + 1) & 0x7FFF
    svc.forwarder.spatial = 1
    assert whole(found + lower + waiting + higher + svc.run(mode, 3))


def test_a_choice_that_changes_within_a_picture_waits_for_its_end(svc: Svc) -> None:
    mode = Mode(3, 1)
    svc.picture(mode, key=True)
    heads = [struct.pack("!BBHII", 0x80, 96 | (n == 5) << 7, svc.sequence + n & 0xFFFF, 9, 1) for n in range(6)]
    held = [head + payload(mode, 5, *divmod(n, 2), key=False, up=True) for n, head in enumerate(heads)]
    for packet in held[:2]:
        svc.send(packet)
    svc.forwarder.spatial = 0
    for packet in held[2:]:
        svc.send(packet)
    svc.sequence += 6
    found = svc.got()
    assert len(found) == 12
    assert whole(found)
    assert layers(svc.run(mode, 2)) == {(0, 0)}


def test_more_frames_where_the_stream_says_that_it_can_be(svc: Svc) -> None:
    mode = Mode(1, 3)
    svc.forwarder.temporal = 0
    found = svc.run(mode, 8, key=True)
    svc.forwarder.temporal = ALL_LAYERS
    found += svc.run(mode, 8, up=False)
    assert layers(found) == {(0, 0)}
    # A picture that is itself left out is no place: what it needs may have been left out too.
    svc.number += 1
    svc.picture(mode, up=True)
    assert svc.got() == []
    svc.number += 2
    climbed = svc.run(mode, 8)
    assert layers(climbed) == {(0, 0), (0, 1), (0, 2)}
    svc.forwarder.temporal = 1
    assert layers(svc.run(mode, 8)) == {(0, 0), (0, 1)}


def test_a_layer_that_begins_without_a_keyframe_is_taken_up_there(svc: Svc) -> None:
    """The publisher's link has room again: an upper layer comes that needs only the one below (not with _KEY)."""
    mode = Mode(3, 1)
    svc.forwarder.spatial = 0
    svc.run(mode, 3, key=True)
    svc.forwarder.spatial = 2
    svc.picture(mode, fresh=2)  # two above what the subscriber has: it needs the one between
    assert layers(svc.got()) == {(0, 0)}
    svc.picture(mode, fresh=1)
    assert layers(svc.got()) == {(0, 0), (1, 0)}
    svc.picture(mode, fresh=2)
    assert layers(svc.run(mode, 2)) == {(0, 0), (1, 0), (2, 0)}


def test_the_marker_of_a_picture_with_fewer_layers_is_the_publishers(svc: Svc) -> None:
    svc.run(Mode(3, 1), 2, key=True)
    assert whole(svc.run(Mode(1, 1), 3) + svc.run(Mode(2, 1), 3))


def test_late_and_lost_packets_of_each_layer(svc: Svc) -> None:
    mode = Mode(3, 1)
    svc.forwarder.spatial = 1
    found = svc.run(mode, 2, key=True)
    lost = svc.picture(mode, lose=((0, 1), (1, 1), (2, 0)))
    found += svc.run(mode, 2)
    assert len(svc.streams[0].missing) == 3
    for packet in lost:
        svc.send(packet)
    late = svc.got()
    assert [(packet.sid, packet.marker) for packet in late] == [(0, False), (1, True)]
    assert not svc.streams[0].missing
    numbers = sorted((packet.sequence - found[0].sequence) & 0xFFFF for packet in found + late)
    assert len(set(numbers)) == len(numbers)
    assert numbers[-1] + 1 - len(numbers) == 1  # the lost packet of the layer that is left out is missing to the subscriber as to us


def test_what_is_asked_for_again_has_its_number_and_marker_long_after_the_layers_changed(svc: Svc) -> None:
    mode = Mode(3, 3, True)
    sent: list[tuple[Got, bytes]] = []
    svc.sequence = 100  # a session made anew does not know of a wrap

    def run(pictures: int, key: bool = False) -> None:
        svc.anew()
        for n in range(pictures):
            svc.picture(mode, key=key and not n)
        while True:
            try:
                data = svc.receive_session.unprotect(svc.subscriber.recv(2048))
            except BlockingIOError:
                return
            header = rtp.parse(data)
            of = vp9.descriptor(data[header.payload_offset :])
            sent.append((Got(header.sequence, header.marker, of.picture_id, of.sid, of.tid, of.end), data))

    run(6, key=True)
    for spatial, temporal in ((1, 3), (0, 1), (0, 0)):
        svc.forwarder.spatial, svc.forwarder.temporal = spatial, temporal
        run(6)
    svc.forwarder.spatial = svc.forwarder.temporal = 3
    run(6, key=True)
    assert {got.sid for got, _ in sent if got.marker} == {0, 1, 2}
    for _, data in sent:
        svc.anew()
        assert svc.step.resend(svc.forwarder, int.from_bytes(data[2:4]), 1.0)
        assert svc.receive_session.unprotect(svc.subscriber.recv(2048)) == data


def test_packets_that_name_no_layer_go_to_everybody(svc: Svc) -> None:
    mode = Mode(2, 1)
    svc.forwarder.spatial = 0
    found = svc.run(mode, 2, key=True)
    for data in (b"\x88\x05\x00", b"\xa0", b"\xa0\x80\x01", b"\x01\x02\x03"):
        svc.send(struct.pack("!BBHII", 0x80, 96, svc.sequence & 0xFFFF, 77, 1) + data)
        svc.sequence += 1
    raw = []
    while True:
        try:
            raw.append(svc.receive_session.unprotect(svc.subscriber.recv(2048)))
        except BlockingIOError:
            break
    assert [data[12:] for data in raw] == [b"\x88\x05\x00", b"\xa0", b"\xa0\x80\x01", b"\x01\x02\x03"]
    assert int.from_bytes(raw[0][2:4]) == (found[-1].sequence + 1) & 0xFFFF


def test_what_each_layer_costs_is_counted(svc: Svc) -> None:
    svc.run(Mode(3, 3), 8, key=True)
    counts = list(svc.streams[0].layer_bytes)
    assert [n for n, count in enumerate(counts) if count] == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert counts[2] == counts[6] > counts[1]


class Track9(Svc):
    """The stream of `Svc` as a track with one subscriber's slot on it."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.step.detach(self.forwarder)
        self.asked: list[int] = []
        self.told: list[LayerChoice] = []
        publisher: Any = SimpleNamespace(participant="p", ask_keyframe=lambda track, stream: self.asked.append(stream.ssrc))
        self.track = Track("t", publisher, "0", "video", Published(Source.CAMERA))
        self.track.formats = {96: Format(96, "vp9", 90000, 1)}
        self.track.payload_type = 96
        relay = SimpleNamespace(forwarding=self.step)
        subscriber: Any = SimpleNamespace(
            relay=relay, endpoint=self.sink, reports=SimpleNamespace(allocate_soon=lambda: None),
            listener=SimpleNamespace(on_layer=self.told.append), notify=lambda call, *args: call(*args),
        )  # fmt: skip
        self.slot = Slot(subscriber, "0", "video", self.forwarder)
        self.slot.formats = [Format(100, "vp9", 90000, 1)]
        self.forwarder.owner = self.slot
        stream = self.streams[0]
        stream.svc = stream.layered = 0
        self.track.add("", stream)
        self.slot.bind(self.track)
        self.allocator = Allocator()
        self.now = 0.0

    def on_switched(self, forwarder: Any, stream: Any) -> None:
        self.slot.switched(stream)

    def second(self, mode: Mode, key: bool = False) -> None:
        """A second of pictures, and the measuring that follows."""
        self.run(mode, 30, key=key)
        self.now = self.streams[0].last_time = self.now + 1.0
        self.track.measure(self.now)

    def choose(self, estimate: int) -> str:
        """What the link's choice is, given to the slot."""
        wanted = Wanted("t", "video", self.track.layers(self.now), limit=self.slot.wanted_layer)
        (choice,) = self.allocator.choose(self.now, estimate, [wanted])
        if (choice.rid, choice.temporal) != (self.slot.layer, self.slot.temporal):
            self.slot.layer, self.slot.temporal = choice.rid, choice.temporal
            self.slot.update()
        return choice.rid


@pytest.fixture(params=["python", "compiled"])
def track(request: pytest.FixtureRequest) -> Iterator[Track9]:
    made = Track9(request.param)
    yield made
    made.close()


def test_each_layer_is_a_step_with_its_measured_rate(track: Track9) -> None:
    mode = Mode(3, 3)
    for _ in range(3):
        track.second(mode, key=True)
    assert track.track.names == ("s0", "s1", "s2")
    rates = {(name, temporal): rate for name, temporal, rate in track.track.layers(track.now)}
    assert list(rates) == [(f"s{s}", t) for s in range(3) for t in (0, 1, -1)]
    whole = rates["s2", -1]
    assert whole == int(track.track.rates[""][2])
    assert rates["s0", -1] == pytest.approx(whole / 3, rel=0.03)
    assert rates["s1", -1] == pytest.approx(whole * 2 / 3, rel=0.03)
    assert rates["s0", 0] == pytest.approx(whole / 12, rel=0.1)
    assert rates["s2", 0] == pytest.approx(whole / 4, rel=0.1)
    assert track.track.rate("s1") == pytest.approx(rates["s1", -1], abs=1)
    # A camera gives up size before frames, as with simulcast.
    allocator, seen, measured = Allocator(), [], track.track.layers(track.now)
    for estimate in (whole * 2, int(whole * 0.8), int(rates["s0", -1] * 1.02), int(rates["s0", 1] * 1.02)):
        for _ in range(20):
            track.now += 0.2
            (choice,) = allocator.choose(track.now, estimate, [Wanted("t", "video", measured)])
        seen.append((choice.rid, choice.temporal))
    assert seen == [("s2", -1), ("s1", -1), ("s0", -1), ("s0", 1)]


def test_a_subscriber_begins_with_the_lowest_layer_and_climbs_at_a_keyframe_that_is_asked_for(track: Track9) -> None:
    mode = Mode(3, 3, True)
    assert track.asked == [1]
    assert layers(track.run(mode, 8, key=True)) == {(0, t) for t in range(3)}
    track.second(mode)
    track.second(mode)
    assert track.choose(10_000_000) == "s2"
    assert track.asked == [1, 1]
    assert layers(track.run(mode, 8)) == {(0, t) for t in range(3)}
    track.second(mode)
    track.second(mode)
    assert track.asked == [1, 1, 1]  # the first request was lost
    assert layers(track.run(mode, 8, key=True)) == {(s, t) for s in range(3) for t in range(3)}
    track.second(mode)
    track.second(mode)
    assert track.asked == [1, 1, 1]
    assert [(choice.layer, choice.reason) for choice in track.told] == [("", ""), ("s2", "")]


def test_a_wish_for_a_spatial_layer_is_a_limit(track: Track9) -> None:
    mode = Mode(3, 1)
    track.slot.wanted_layer = "s1"
    for _ in range(2):
        track.second(mode, key=True)
    assert track.choose(10_000_000) == "s1"
    assert layers(track.run(mode, 4, key=True)) == {(0, 0), (1, 0)}
    assert (track.told[-1].layer, track.told[-1].reason) == ("s1", "")
    assert track.told[-1].bitrate == pytest.approx(track.track.rates[""][2] * 2 / 3, rel=0.1)


def test_a_publisher_may_change_to_another_codec_and_back(track: Track9) -> None:
    """With the same SSRC: what names no layers is forwarded whole, and no longer looked into."""
    mode = Mode(2, 1)
    track.track.formats[97] = Format(97, "h264", 90000, 1)
    track.second(mode, key=True)
    for n in range(3):
        track.send(struct.pack("!BBHII", 0x80, 97, track.sequence & 0xFFFF, 90 * n, 1) + b"\xa1\x80\x01\x02")
        track.sequence += 1
    track.got()
    track.now += 1.5
    track.streams[0].last_time = track.now
    track.track.measure(track.now)
    assert (track.streams[0].svc, track.streams[0].layered) == (0, 0)
    track.second(mode, key=True)
    assert (track.streams[0].svc, track.streams[0].layered) == (96, VP9)


VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=rtpmap:96 VP9/90000\r\n"


async def test_a_wish_names_a_spatial_layer_or_a_rid_but_not_one_for_the_other() -> None:
    simulcast = f"a=extmap:1 {MID}\r\na=extmap:2 {RID}\r\na=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n"
    for more, taken in (("", "s1"), (simulcast, "f")):
        async with ends.relay() as relay:
            sender, watcher = ends.End(relay, "a"), ends.End(relay, "b")
            head = ends.HEAD.format(mids="0", setup="active")
            sender.peer.negotiate(head + VIDEO.format(direction="sendonly") + more, {"0": Published(Source.CAMERA)}, {})
            (track,) = relay.tracks("r")
            watcher.peer.negotiate(head + VIDEO.format(direction="recvonly"), {}, {"0": track.id})
            slot = watcher.peer.slots["0"]
            for wish in ("s1", "f", "s9", ""):
                watcher.peer.prefer(track.id, wish, False, 5)
                assert slot.wanted_layer == (wish if wish == taken else None)
