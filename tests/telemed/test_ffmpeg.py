"""ffmpeg as a machine in the room, by WHIP: H.264 and Opus, seen and heard in Chromium and by WHEP."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from tests.clients import install
from tests.telemed.calls import closing, received, rise, until, window
from tests.telemed.page.conftest import browser  # noqa: F401 - the fixture

pytestmark = pytest.mark.xdist_group("telemed-page")

PICTURE, SOUND = "testsrc2=size=640x360:rate=25", "sine=frequency=440:sample_rate=48000"
CODECS = (
    "-c:v libx264 -profile:v baseline -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 50 -bf 0 -b:v 500k "
    "-c:a libopus -ac 2 -b:a 48k"
)  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return install.ffmpeg()
    except install.Missing as e:
        pytest.skip(str(e))


@contextmanager
def publishing(program: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    inputs = ["-re", "-f", "lavfi", "-i", PICTURE, "-re", "-f", "lavfi", "-i", SOUND]
    process = subprocess.Popen(
        [program, "-hide_banner", "-loglevel", "error", *inputs, *CODECS.split(), "-f", "whip", address], stdin=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def test_a_machine_that_publishes_by_ffmpeg_is_seen_and_heard(browser: Any, program: Path) -> None:  # noqa: F811
    with Ours() as relay:
        doctor = window(browser, relay.base, "bacsi", "doctor")
        with closing(doctor), publishing(program, relay.base + "/whip/demo?participant=sieuam&name=Siêu%20âm") as process:
            doctor.enter("call")
            doctor.until("s.tracks.filter(t => t.participant === 'sieuam' && t.source === 'device').length === 2")
            rise((doctor, "video", "sieuam"), (doctor, "audio", "sieuam"))
            seen = received(doctor, "video", "sieuam")
            assert (seen["frameWidth"], seen["frameHeight"]) == (640, 360)
            codecs = {t["kind"]: t["codec"] for t in doctor.state()["tracks"] if t["participant"] == "sieuam"}
            assert codecs == {"video": "H264", "audio": "opus"}
            process.terminate()
            doctor.until("!s.tracks.some(t => t.participant === 'sieuam')", 5)
            until(lambda: process.poll() is not None)
