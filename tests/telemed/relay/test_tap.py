"""What of a track goes to its recording: the highest layer, changed at keyframes, late and padding packets too, nothing while muted."""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from telemed.ports import Published, Source, TrackInfo
from telemed.relay.build import Form
from telemed.relay.tap import Tapped
from telemed.relay.track import Format, Track
from telemed.wire import rtp
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import FRAME, KEY, Bench


class Heard:
    """A tap that remembers."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, int, bytes]] = []  # SSRC, sequence, payload
        self.said: list[tuple[Any, ...]] = []

    def open(self, track: TrackInfo, codec: str, clock: int, types: Mapping[int, str]) -> Callable[[bytes, float], None] | None:
        self.said.append(("open", track.id, codec, clock, dict(types)))

        def take(packet: bytes, arrival: float) -> None:
            header = rtp.parse(packet)
            self.packets.append((header.ssrc, header.sequence, packet[header.payload_offset :]))

        return take

    def report(self, track_id: str, ntp: float, rtp: int) -> None:
        self.said.append(("report", track_id, ntp, rtp))

    def close(self, track_id: str) -> None:
        self.said.append(("close", track_id))

    def taken(self) -> list[tuple[int, int]]:
        found, self.packets = [(ssrc, sequence) for ssrc, sequence, _ in self.packets], []
        return found


class Recorded(Bench):
    """The layers of `Bench` as one track, tapped."""

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.asked: list[int] = []
        peer: Any = SimpleNamespace(participant="p", ask_keyframe=lambda track, stream: self.asked.append(stream.ssrc))
        self.track = Track("t", peer, "0", "video", Published(Source.CAMERA))
        self.track.formats = {96: Format(96, "vp8", 90000, 1), 97: Format(97, "vp9", 90000, 1)}
        self.track.rids = ("q", "f")
        self.heard = Heard()
        self.tapped = Tapped(self.heard)

    def layers(self, *rids: str) -> None:
        """Only these send from now on."""
        for rid, stream in zip(("q", "f"), self.streams, strict=True):
            if rid in rids:
                self.track.streams.setdefault(rid, stream)
                stream.last_time = 1000.0
            else:
                stream.last_time = 0.0
        self.tapped.track(self.track, 1000.0)


@pytest.fixture(params=["python", "compiled"])
def bench(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    made = Recorded(have(request.param))
    yield made
    made.close()


def test_the_highest_layer_is_taken_and_changed_at_a_keyframe(bench: Recorded) -> None:
    bench.layers("q")
    bench.publish(1, 10, KEY)
    bench.publish(1, 11)
    assert bench.heard.taken() == [(1, 10), (1, 11)]
    assert bench.heard.said == [("open", "t", "VP8", 90000, {96: "VP8"})]
    bench.layers("q", "f")
    assert bench.asked[-1] == 2
    for sequence, payload in ((500, FRAME), (501, FRAME), (502, KEY), (503, FRAME)):
        bench.publish(2, sequence, payload)
        bench.publish(1, sequence - 488)
    assert bench.heard.taken() == [(1, 12), (1, 13), (2, 502), (2, 503)], "the old layer goes on until the new one can begin"
    bench.layers("q")  # the sender's link no longer holds the higher one
    bench.publish(1, 16, FRAME)
    assert bench.heard.taken() == [(1, 16)]
    assert bench.asked[-1] == 1
    bench.layers()  # a camera that rests changes nothing
    bench.publish(1, 17, FRAME)
    assert bench.heard.taken() == [(1, 17)]


def test_late_and_padding_packets_come_too_and_doubles_do_not(bench: Recorded) -> None:
    bench.layers("q")
    for sequence in (10, 12):
        bench.publish(1, sequence, KEY)
    bench.publish(1, 11)
    bench.publish(1, 13, b"", padding=100)
    bench.publish(1, 14)
    assert bench.heard.taken() == [(1, 10), (1, 12), (1, 11), (1, 13), (1, 14)]


def test_nothing_while_muted_and_another_codec_is_another_file(bench: Recorded) -> None:
    bench.layers("q")
    bench.publish(1, 10, KEY)
    bench.track.muted = True
    bench.tapped.track(bench.track, 1000.0)
    bench.publish(1, 11)
    assert bench.heard.taken() == [(1, 10)]
    bench.track.muted = False
    bench.tapped.track(bench.track, 1000.0)
    bench.publish(1, 12)
    assert bench.heard.taken() == [(1, 12)]
    bench.streams[0].report = SimpleNamespace(ntp=5 << 31, rtp=77)
    bench.tapped.tick(1000.0)
    bench.tapped.tick(1000.0)
    assert bench.heard.said[1:] == [("report", "t", 2.5, 77)]
    recorder = bench.streams[0].recorder
    assert recorder is not None
    recorder(bytes([0x80, 97, 0, 13]) + bytes(8) + KEY, 1.0)
    assert bench.heard.said[2:] == [("close", "t"), ("open", "t", "VP9", 90000, {97: "VP9"})]
    bench.tapped.gone(bench.track)
    assert bench.heard.said[-1] == ("close", "t")
    assert bench.streams[0].recorder is None
