"""People in windows of Chromium hold a call through the real relay: waiting room, sound and pictures of everybody, chat, quality meter."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from tests.telemed.calls import admit, closing, received, rise, until, window
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture

pytestmark = pytest.mark.xdist_group("telemed-page")


@pytest.fixture
def relay() -> Iterator[Ours]:
    with Ours() as process:
        yield process


def test_a_doctor_admits_a_patient_and_they_see_hear_and_write_to_each_other(browser: Any, relay: Ours) -> None:  # noqa: F811
    doctor, patient = window(browser, relay.base, "bacsi", "doctor"), window(browser, relay.base, "benhnhan", "patient")
    with closing(doctor, patient):
        doctor.enter("call")
        admit(doctor, patient)
        for tab in (doctor, patient):
            tab.until("s.ice === 'connected' || s.ice === 'completed'", 20)
            until(lambda tab=tab: received(tab, "video").get("framesDecoded", 0) > 20)
            until(lambda tab=tab: received(tab, "audio").get("packetsReceived", 0) > 20)
            assert received(tab, "audio")["totalSamplesReceived"] > 0
        # The estimate climbs from the lowest of three layers to the highest.
        until(lambda: received(doctor, "video").get("frameHeight", 0) >= 360, 40)
        doctor.page.click("[data-panel=chat]")
        patient.page.click("[data-panel=chat]")
        doctor.page.fill("#chat-text", "Chị thấy trong người thế nào?")
        doctor.page.press("#chat-text", "Enter")
        until(lambda: "Chị thấy trong người" in patient.page.inner_text("#chat-list"))


def test_doctor_patient_and_specialist_each_see_and_hear_the_two_others(browser: Any, relay: Ours) -> None:  # noqa: F811
    people = {"bacsi": "doctor", "benhnhan": "patient", "chuyengia": "specialist"}
    tabs = {who: window(browser, relay.base, who, role) for who, role in people.items()}
    with closing(*tabs.values()):
        tabs["bacsi"].enter("call")
        admit(tabs["bacsi"], tabs["benhnhan"])
        tabs["chuyengia"].enter("call")
        ways = [(tab, kind, other) for who, tab in tabs.items() for other in people if other != who for kind in ("video", "audio")]
        rise(*ways, by=1)
        # Not only at first: each of the six pictures and voices goes on while all are there.
        rise(*ways)
        assert all(received(tab, kind, other)["totalSamplesReceived"] > 0 for tab, kind, other in ways if kind == "audio")
        _write(tabs)
        for tab in tabs.values():
            tab.until("s.level >= 1 && s.figures.round !== undefined")
            assert tab.page.locator("#meter").is_visible()
            assert tab.page.inner_text("#meter-word")


def _write(tabs: dict[str, Tab]) -> None:
    for tab in tabs.values():
        tab.page.click("[data-panel=chat]")
    for who, tab in tabs.items():
        tab.page.fill("#chat-text", f"Lời của {who}")
        tab.page.press("#chat-text", "Enter")
    for tab in tabs.values():
        until(lambda tab=tab: all(f"Lời của {who}" in tab.page.inner_text("#chat-list") for who in tabs))
