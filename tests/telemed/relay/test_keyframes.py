"""A keyframe is looked for in the packet's own format, whatever else the publisher agreed on."""

from types import SimpleNamespace
from typing import Any

from telemed.ports import Published, Source
from telemed.relay.keyframes import KEYFRAMES
from telemed.relay.negotiate import VIDEO
from telemed.relay.track import Format, Track
from tests.telemed.relay.test_forward import KEY, Bench, bench  # noqa: F401 - the fixture


def track() -> Track:
    peer: Any = SimpleNamespace(participant="p")
    made = Track("t", peer, "0", "video", Published(Source.CAMERA))
    made.formats = {96: Format(96, "vp8", 90_000, 1), 102: Format(102, "h264", 90_000, 1)}
    return made


def test_every_codec_that_passes_has_its_keyframes() -> None:
    assert set(KEYFRAMES) == VIDEO


def test_who_agreed_on_two_codecs_may_send_either() -> None:
    made = track()
    idr, slice_, vp8, inter = (memoryview(data) for data in (b"\x65\x88", b"\x41\x9a", b"\x10\x00", b"\x10\x01"))
    for marker in (0, 128):
        assert made.keyframe(vp8, marker | 96)
        assert not made.keyframe(inter, marker | 96)
        assert not made.keyframe(idr, marker | 96)
        assert made.keyframe(idr, marker | 102)
        assert not made.keyframe(slice_, marker | 102)
        assert not made.keyframe(vp8, marker | 102)
        assert not made.keyframe(vp8, marker | 97)


def test_others_are_told_of_the_codec_that_is_sent() -> None:
    made = track()
    assert made.info().codec == "VP8"
    made.payload_type = 102
    assert made.info().codec == "H264"


def test_the_step_says_which_payload_type_it_was(bench: Bench) -> None:  # noqa: F811
    made = track()
    bench.streams[0].keyframe = made.keyframe
    bench.step.attach(bench.forwarder, bench.streams[0])
    del made.formats[96]  # what the bench sends: now of no format that was agreed on
    bench.publish(1, 1, KEY)
    assert bench.received() == []
    made.formats[96] = Format(96, "vp8", 90_000, 1)
    bench.publish(1, 2, KEY)
    assert len(bench.received()) == 1
