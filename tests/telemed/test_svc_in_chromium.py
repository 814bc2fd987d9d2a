"""Chromium sends one stream of several layers (VP9 and AV1): another window of it gets the lower ones, then the higher, and no freeze."""

import json
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


def prefer(tab: Tab, layer: str | None) -> None:
    track = next(t["id"] for t in tab.state()["tracks"] if t["kind"] == "video" and t["participant"] == "bacsi")
    wish = {"type": "prefer", "track": track, "layer": layer, "paused": False, "priority": 5}
    tab.page.evaluate("(wish) => healthHubRoom.room.signalling.request(wish).then(() => null)", wish)


def height(tab: Tab, least: int, most: int, seconds: float = 30) -> None:
    until(lambda: least <= picture(tab).get("frameHeight", 0) <= most, seconds)
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
        sent = next(r for r in doctor.page.evaluate("() => healthHubRoom.stats()") if r["type"] == "outbound-rtp" and r["kind"] == "video")
        assert sent["scalabilityMode"] == mode
        spatial = mode.startswith("L3")
        whole = sent["frameHeight"]
        low = (whole // 4, whole // 4) if spatial else (whole, whole)
        height(patient, whole, whole, 40)
        flow = way.flows(patient)[0]
        flow.down.path = WIDE
        before = picture(patient)
        if spatial:
            prefer(patient, "s0")
            height(patient, *low)
            prefer(patient, "s1")
            height(patient, whole // 2, whole // 2)
            prefer(patient, None)
            height(patient, whole, whole)
        after = picture(patient)
        assert after["freezeCount"] == before["freezeCount"]
        assert after["codecId"] == before["codecId"]
        flow.down.path = THIN
        until(lambda: any(c["reason"] == "bandwidth" and not c["paused"] for c in patient.state()["layers"]), 40)
        rise((patient, "video", "bacsi"), by=15)
        if spatial:
            height(patient, whole // 4, whole // 2)
        flow.down.path = WIDE
        until(lambda: all(not c["reason"] for c in patient.state()["layers"]), 60)
        height(patient, whole, whole, 40)
        assert count(patient, "audio") > 100
