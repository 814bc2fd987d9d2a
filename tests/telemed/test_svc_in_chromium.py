"""Chromium sends one stream of several layers (VP9 and AV1): another window of it gets the lower ones, then the higher, and no hole."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.calls import Path as Way
from tests.telemed.calls import admit, closing, count, received, rise, until, window
from tests.telemed.impair import Path
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture

pytestmark = pytest.mark.xdist_group("telemed-page")

WIDE, THIN = Path(rate=3_000_000, delay=20, queue=400), Path(rate=330_000, delay=20, queue=400)

# The page sends VP8 in simulcast; here it is made to send one encoding, of another codec.
SENDS = """{
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (track, init) {
    const camera = init?.direction === "sendonly" && track.kind === "video";
    return add.call(this, track, camera ? { ...init, sendEncodings: [ENCODING] } : init);
  };
  const prefer = RTCRtpTransceiver.prototype.setCodecPreferences;
  RTCRtpTransceiver.prototype.setCodecPreferences = function (codecs) {
    const first = codecs.filter((c) => c.mimeType.toLowerCase() === "CODEC");
    prefer.call(this, [...first, ...codecs.filter((c) => !first.includes(c))]);
  };
}"""


def sends(codec: str, **encoding: Any) -> str:
    return SENDS.replace("CODEC", codec).replace("ENCODING", json.dumps(encoding))


@pytest.fixture
def way() -> Iterator[Way]:
    with Way() as made:
        yield made


def picture(tab: Tab) -> dict[str, Any]:
    return received(tab, "video")


def sent(tab: Tab) -> dict[str, Any]:
    found = tab.page.evaluate("() => healthHubRoom.stats()")
    return next(r for r in found if r["type"] == "outbound-rtp" and r["kind"] == "video")


def prefer(tab: Tab, layer: str | None) -> None:
    track = next(t["id"] for t in tab.state()["tracks"] if t["kind"] == "video" and t["participant"] == "bacsi")
    wish = {"type": "prefer", "track": track, "layer": layer, "paused": False, "priority": 5}
    tab.page.evaluate("(wish) => healthHubRoom.room.signalling.request(wish).then(() => null)", wish)


def full(tab: Tab) -> bool:
    """Whether nothing of the picture is held back: `layer` messages come once its rate is known."""
    theirs = {t["id"] for t in tab.state()["tracks"] if t["kind"] == "video" and t["participant"] == "bacsi"}
    choices = [c for c in tab.state()["layers"] if c["track"] in theirs]
    return bool(choices) and all(not c["reason"] and not c["paused"] and c["temporal"] < 0 for c in choices)


def whole(tab: Tab) -> int:
    """Height of what it sends. Which layer the figures are of changes from one time to the next; a busy machine sends less."""
    return max(sent(tab).get("frameHeight", 0) for _ in range(20))


def height(tab: Tab, doctor: Tab, *shares: int, seconds: float = 30) -> None:
    """Until the picture is so much smaller than what is sent (1, 2 or 4 times), and goes on."""
    end = time.monotonic() + seconds
    while (got := picture(tab).get("frameHeight", 0)) not in [(full := whole(doctor)) // share for share in shares]:
        assert time.monotonic() < end, (got, full, shares, sent(doctor), tab.state()["layers"])
    rise((tab, "video", "bacsi"), by=15)


@pytest.mark.parametrize(("codec", "mode"), [("video/vp9", "L3T3_KEY"), ("video/av1", "L1T3"), ("video/av1", "L3T3_KEY")])
def test_layers_of_one_stream_come_and_go(browser: Any, way: Way, codec: str, mode: str) -> None:  # noqa: F811
    doctor = window(browser, way.relay.base, "bacsi", "doctor", script=sends(codec, scalabilityMode=mode, maxBitrate=900_000))
    patient = window(browser, way.base, "benhnhan", "patient", script=sends("video/vp8", scaleResolutionDownBy=4, maxBitrate=80_000))
    able = doctor.page.evaluate("() => RTCRtpSender.getCapabilities('video').codecs.map((c) => c.mimeType.toLowerCase())")
    if codec not in able:
        pytest.skip(f"this Chromium does not send {codec}")
    with closing(doctor, patient):
        doctor.enter("call")
        admit(doctor, patient)
        rise((patient, "video", "bacsi"), (doctor, "video", "benhnhan"))
        assert sent(doctor)["scalabilityMode"] == mode
        spatial = mode.startswith("L3")
        flow = way.flows(patient)[0]
        flow.down.path = WIDE
        until(lambda: full(patient), 40)
        before = picture(patient)
        if spatial:
            height(patient, doctor, 1)
            for layer, of in (("s0", 4), ("s1", 2), (None, 1)):
                prefer(patient, layer)
                height(patient, doctor, of)
        after = picture(patient)
        # A hole in the stream, or a frame no decoder can begin with, would make the window ask for a key frame.
        asked = ("pliCount", "firCount", "codecId")
        assert {name: after[name] for name in asked} == {name: before[name] for name in asked}
        flow.down.path = THIN
        until(lambda: any(c["reason"] == "bandwidth" and not c["paused"] for c in patient.state()["layers"]), 40)
        rise((patient, "video", "bacsi"), by=15)
        if spatial:
            height(patient, doctor, 2, 4)
        else:
            until(lambda: any(c["temporal"] >= 0 for c in patient.state()["layers"]), 40)
            rise((patient, "video", "bacsi"), by=10)
        flow.down.path = WIDE
        until(lambda: full(patient), 60)
        rise((patient, "video", "bacsi"))
        if spatial:
            height(patient, doctor, 1, seconds=40)
        assert count(patient, "audio") > 100
