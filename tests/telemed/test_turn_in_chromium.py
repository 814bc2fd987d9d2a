"""coturn as the only way through: Chromium with relay candidates alone, by the credentials that the relay makes, over UDP, TCP and TLS."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from tests.telemed.calls import admit, closing, rise, window
from tests.telemed.coturn import PROGRAM, SECRET, WHY, certificate, coturn
from tests.telemed.page.conftest import SLOW_MEDIA, Tab, browser  # noqa: F401 - the fixture
from tests.web.chromium import FLAGS
from tests.web.chromium import PROGRAM as CHROMIUM

pytestmark = [pytest.mark.skipif(PROGRAM is None, reason=WHY), pytest.mark.xdist_group("telemed-page")]

ONLY_RELAYED = """
const Plain = RTCPeerConnection;
window.RTCPeerConnection = class extends Plain {
  constructor(configuration) { super({ ...configuration, iceTransportPolicy: "relay" }); }
};
"""


def way(tab: Tab) -> tuple[str, str]:
    """Type and protocol (to the TURN server) of the candidate that the window's media goes through."""
    found: list[str] = tab.page.evaluate("""async () => {
      const stats = await healthHubRoom.room.peer.pc.getStats();
      const transport = [...stats.values()].find((r) => r.type === "transport");
      const local = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
      return [local.candidateType, local.relayProtocol ?? ""];
    }""")
    return found[0], found[1]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_patient_whose_network_lets_out_turn_alone_is_in_the_call(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str  # noqa: F811
) -> None:
    with coturn(tmp_path) as port:
        monkeypatch.setenv("TELEMED_TURN", f"turn:127.0.0.1:{port}?transport={transport}")
        monkeypatch.setenv("TELEMED_TURN_SECRET", SECRET)
        with Ours() as relay:
            doctor = window(browser, relay.base, "bacsi", "doctor")
            patient = window(browser, relay.base, "benhnhan", "patient", script=ONLY_RELAYED)
            with closing(doctor, patient):
                doctor.enter("call")
                admit(doctor, patient)
                rise(*((tab, kind, None) for tab in (doctor, patient) for kind in ("video", "audio")))
                assert way(patient) == ("relay", transport)
                assert way(doctor) == ("host", "")


def test_over_tls_for_networks_that_let_out_nothing_else(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    trusted = f"--ignore-certificate-errors-spki-list={certificate(tmp_path)}"
    with coturn(tmp_path, tls=True) as port:
        monkeypatch.setenv("TELEMED_TURN", f"turns:127.0.0.1:{port}?transport=tcp")
        monkeypatch.setenv("TELEMED_TURN_SECRET", SECRET)
        with Ours() as relay:
            outside = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, *SLOW_MEDIA, trusted])
            doctor = window(browser, relay.base, "bacsi", "doctor")
            patient = window(outside, relay.base, "benhnhan", "patient", script=ONLY_RELAYED)
            try:
                with closing(doctor, patient):
                    doctor.enter("call")
                    admit(doctor, patient)
                    rise(*((tab, kind, None) for tab in (doctor, patient) for kind in ("video", "audio")))
                    assert way(patient) == ("relay", "tls")
            finally:
                outside.close()
