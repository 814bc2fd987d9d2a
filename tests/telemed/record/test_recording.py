"""Packets in, files out that an independent reader decodes."""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from telemed.record.play import play
from telemed.record.recording import ConsentMissing, Limits, Recording
from tests.telemed.record.media import KEY, Sent, audio, decode, rtp, video

AGREED = {"bn-an": datetime.now(UTC), "bs-binh": datetime.now(UTC)}
CODECS = ["VP8", "VP9", "H264", "AV1"]


def recording(folder: Path, **options: Any) -> Recording:
    return Recording(folder, KEY, "kham-1", AGREED, limits=Limits(free=0), clock=lambda: 100.0, zone=ZoneInfo("Asia/Ho_Chi_Minh"), **options)


def recorded(folder: Path, sent: dict[str, Iterable[Sent]], **options: Any) -> tuple[dict[str, Any], Path]:
    """Records tracks named by their codec; the index and the folder of the plain files."""
    r = recording(folder / "in", **options)
    for codec, packets in sent.items():
        sound = codec in ("opus", "red")
        track = r.track(codec, "bn-an", "audio" if sound else "video", codec, 48_000 if sound else 90_000)
        for p in packets:
            track.write(p.data, p.arrival)
    r.stop().result(20)
    index, problems = play(folder / "in", folder / "out", KEY)
    assert not problems
    return index, folder / "out"


@pytest.mark.parametrize("codec", CODECS)
def test_every_picture_of_a_track_is_in_its_file(codec: str, tmp_path: Path) -> None:
    index, out = recorded(tmp_path, {codec: video(codec)})
    (track,) = index["tracks"]
    seen = decode(out / track["file"])
    assert len(seen.times) == track["frames"] == 45
    assert (seen.width, track["width"]) == (160, 160)
    assert seen.times == pytest.approx([n / 30 for n in range(45)], abs=0.0011)
    assert seen.duration == pytest.approx(1.5, abs=0.05)
    assert track["gaps"] == []
    assert track["keyframes"] == 3


def test_every_sample_of_sound_is_in_its_file(tmp_path: Path) -> None:
    index, out = recorded(tmp_path, {"opus": audio(100)})
    seen = decode(out / index["tracks"][0]["file"])
    assert seen.samples >= 99 * 960
    assert seen.times[-1] == pytest.approx(99 * 0.02, abs=0.0011)
    assert seen.duration == pytest.approx(2.0, abs=0.03)
    assert index["tracks"][0]["gaps"] == []
