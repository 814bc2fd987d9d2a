"""A window of Chromium sends redundant sound (RED); one that has it hears it as it was sent, one that has not hears Opus."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from tests.telemed.calls import admit, closing, received, until, window
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture

pytestmark = pytest.mark.xdist_group("telemed-page")

# What an m-line of sound says of its codecs: those that KEEP gives, in its order.
CODECS = """{
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (track, init) {
    const made = add.call(this, track, init);
    if ((track.kind ?? track) === "audio") made.setCodecPreferences((KEEP)(RTCRtpReceiver.getCapabilities("audio").codecs));
    return made;
  };
}"""
RED_FIRST = "(all) => [...all.filter((c) => c.mimeType === 'audio/red'), ...all.filter((c) => c.mimeType !== 'audio/red')]"
NO_RED = "(all) => all.filter((c) => c.mimeType !== 'audio/red')"


@pytest.fixture
def relay() -> Iterator[Ours]:
    with Ours() as process:
        yield process


def test_each_window_hears_what_it_agreed_on(browser: Any, relay: Ours) -> None:  # noqa: F811
    doctor = window(browser, relay.base, "bacsi", "doctor", script=CODECS.replace("KEEP", RED_FIRST))
    patient = window(browser, relay.base, "benhnhan", "patient", script=CODECS.replace("KEEP", NO_RED))
    specialist = window(browser, relay.base, "chuyengia", "specialist")
    with closing(doctor, patient, specialist):
        doctor.enter("call")
        admit(doctor, patient)
        specialist.enter("call")

        def size(tab: Tab) -> float:
            """Bytes in a packet of the doctor's sound. Statistics call either Opus."""
            found = received(tab, "audio", "bacsi")
            return float(found["bytesReceived"] / found["packetsReceived"])

        for tab in (patient, specialist):
            until(lambda tab=tab: received(tab, "audio", "bacsi").get("packetsReceived", 0) > 150)
            found = received(tab, "audio", "bacsi")
            assert found["totalSamplesReceived"] > 48_000
            assert found["concealedSamples"] < found["totalSamplesReceived"] / 4
        assert size(specialist) > 1.6 * size(patient)  # the sound of the packet before is in each
