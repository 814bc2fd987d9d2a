"""Windows of Chromium on bad links to the real relay: too little rate for the picture, a cut, another address, an ICE restart."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench import windows
from tests.telemed.calls import Ear, admit, closing, count, fragment, played, received, rise, until, window
from tests.telemed.calls import Path as Way
from tests.telemed.impair import Path
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture

pytestmark = pytest.mark.xdist_group("telemed-page")

THIN = Path(rate=110_000, delay=20, queue=400)
WIDE = Path(rate=2_000_000, delay=20, queue=400)


@pytest.fixture
def way() -> Iterator[Way]:
    with Way() as made:
        yield made


def call(browser: Any, way: Way) -> tuple[Tab, Tab]:  # noqa: F811
    doctor, patient = window(browser, way.relay.base, "bacsi", "doctor"), window(browser, way.base, "benhnhan", "patient")
    doctor.enter("call")
    admit(doctor, patient)
    rise((doctor, "video", "benhnhan"), (patient, "video", "bacsi"), (patient, "audio", "bacsi"))
    return doctor, patient


def picture(tab: Tab) -> dict[str, Any]:
    """The one tile with what the relay says of its picture: paused, layer, reason."""
    state = tab.state()
    cameras = {t["id"] for t in state["tracks"] if t["kind"] == "video"}
    choice = next(c for c in state["layers"] if c["track"] in cameras)
    return {"paused": choice["paused"], "layer": choice["layer"], "why": choice["reason"], "tile": state["tiles"][0]}


def poor(seen: dict[str, Any]) -> bool:
    return seen["why"] == "bandwidth" and (seen["paused"] or seen["layer"] == "q")


def test_on_a_thin_link_sound_goes_on_while_the_picture_falls_and_comes_back(browser: Any, way: Way) -> None:  # noqa: F811
    doctor, patient = call(browser, way)
    with closing(doctor, patient):
        until(lambda: received(patient, "video")["frameHeight"] >= 360, 40)
        ear = Ear(patient)
        way.do(way.link.only, fragment(patient), WIDE, THIN)
        until(lambda: ear.listen() and poor(picture(patient)), 30)
        # The page says what happens, in either language.
        until(lambda: patient.page.inner_text("#weak").startswith("Mạng yếu: "))
        patient.page.click("[data-lang=en]")
        until(lambda: patient.page.inner_text("#weak").startswith("Weak link: "))
        # For longer than the relay keeps packets of a layer that it does not forward: probes must find the way back all the same.
        end, frames = time.monotonic() + 15, -1
        while time.monotonic() < end:
            ear.listen()
            seen = picture(patient)
            assert poor(seen), seen
            before, frames = frames, count(patient, "video") if seen["paused"] else -1
            if seen["paused"]:
                assert seen["tile"]["still"], "a paused picture keeps its last frame"
                assert seen["tile"]["reason"] == "bandwidth"
                assert before < 0 or frames - before < 10, "nothing comes of what is paused"
            time.sleep(0.2)
        way.do(way.link.only, fragment(patient), WIDE, WIDE)
        until(lambda: ear.listen() and not poor(picture(patient)), 40)
        until(lambda: ear.listen() and received(patient, "video")["frameHeight"] >= 360, 40)
        rise((patient, "video", "bacsi"))
        until(lambda: not picture(patient)["tile"]["still"])
        until(lambda: patient.state()["weak"] == "", 40)
        assert ear.silent < 3


def test_a_thin_way_up_is_left_to_sound(browser: Any, way: Way) -> None:  # noqa: F811
    """Chromium alone fills such a link's queue for good: a seventh of the sound comes too late or not at all."""
    doctor, patient = call(browser, way)
    with closing(doctor, patient):
        until(lambda: received(doctor, "video")["frameHeight"] >= 360, 40)
        way.do(way.link.only, fragment(patient), Path(rate=180_000, delay=60, queue=300), Path(delay=60))
        patient.until("s.up !== null", 60)
        # While the queue runs over it says that sound may break up; then what was done about it.
        until(lambda: patient.page.inner_text("#weak").startswith("Mạng yếu: hình bạn gửi đi"), 60)
        doctor.until("s.tiles[0].reason === 'lower-source' && s.weak === ''", 40)
        # First that it is the link or the device, then which of them, as the patient's page says it.
        until(lambda: "Hình kém nét hơn vì mạng phía benhnhan yếu" in doctor.page.inner_text("#tiles"), 30)

        def missed() -> float:
            """Share of 5 s of the patient's sound that the doctor's browser made up."""
            (all_before, made_before) = played(doctor)
            time.sleep(5)
            (all_after, made_after) = played(doctor)
            return (made_after - made_before) / (all_after - all_before)

        until(lambda: missed() < 0.03, 60)
        assert patient.state()["up"] is not None
        way.do(way.link.only, fragment(patient), WIDE, WIDE)
        patient.until("s.up === null", 120)
        until(lambda: received(doctor, "video")["frameHeight"] >= 360, 40)
        # Where not even a small picture fits it is paused, and the other side says why.
        patient.page.evaluate(
            "() => { const { publishing } = healthHubRoom.room; Object.assign(publishing.uplink, { video: 0, take: () => false }); }"
        )
        doctor.until("s.tiles[0].still && s.tiles[0].reason === 'source'")
        assert "Mạng phía benhnhan yếu" in doctor.page.inner_text("#tiles")
        patient.page.evaluate("() => { const { publishing } = healthHubRoom.room; delete publishing.uplink.take; publishing.forget(); }")
        doctor.until("!s.tiles[0].still")


def test_after_a_cut_of_20_s_the_patient_is_back_by_itself(browser: Any, way: Way) -> None:  # noqa: F811
    doctor, patient = call(browser, way)
    patient.allowed = doctor.allowed = "WebSocket"
    with closing(doctor, patient):
        way.do(way.pipe.cut, 20)
        way.do(way.link.only, fragment(doctor), Path(), Path())
        way.do(lambda: way.link.both(loss=1.0))  # whatever sockets the patient makes
        mended = time.monotonic() + 20
        patient.until("s.overlay !== ''", 20)
        doctor.until("s.tiles.some(t => t.still)", 30)
        assert patient.page.inner_text("#overlay-title")
        time.sleep(max(0.0, mended - time.monotonic()))
        way.do(lambda: way.link.both(loss=0.0))
        patient.until("s.signalling === 'up' && s.overlay === ''", 30)
        rise((patient, "video", "bacsi"), (patient, "audio", "bacsi"), (doctor, "video", "benhnhan"), (doctor, "audio", "benhnhan"))
        for tab in (doctor, patient):
            tab.until("s.tiles.length === 1 && !s.tiles[0].still")


def test_the_call_follows_a_new_address_and_an_ice_restart(browser: Any, way: Way) -> None:  # noqa: F811
    doctor, patient = call(browser, way)
    ways = [(tab, kind, other) for tab, other in ((doctor, "benhnhan"), (patient, "bacsi")) for kind in ("video", "audio")]
    with closing(doctor, patient):
        # A NAT that forgot: the same ICE session comes from another port. What is sent to the old one is lost.
        name, flows = fragment(patient), way.flows(patient)
        for flow in flows:
            way.do(way.link.rebind, flow)
        rise(*ways)
        assert fragment(patient) == name, "the relay follows without an ICE restart"
        # Another network, far away; nobody says so, the old way is silent. The page makes new sockets with new credentials. The answer
        # comes when the browser has its new sockets and has paired them with the relay's old name, which it keeps (libwebrtc: a remote
        # candidate of the same address is not changed).
        way.pipe.delay = 100
        way.do(lambda: way.link.both(delay=100))
        for flow in way.flows(patient):
            way.do(way.link.cut, 1e6, flow)
        until(lambda: fragment(patient) != name)
        until(lambda: any(flow.down.counts.passed > 50 for flow in way.flows(patient)))
        rise(*ways)
        assert not set(map(id, flows)) & set(map(id, way.flows(patient)))


def test_what_the_bench_takes_out_of_the_page_is_in_it() -> None:
    for name, more in windows.WITHOUT.items():
        text = (windows.STATIC / name).read_text()
        assert f"export class {more.partition('.')[0]} {{" in text
        assert "\n  take(" in text
