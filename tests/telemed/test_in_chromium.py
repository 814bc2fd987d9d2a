"""Two people in two windows of Chromium hold a call through the real relay: waiting room, sound and pictures both ways, chat."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture


class Standing:
    """The address that `Tab` wants."""

    def __init__(self, base: str) -> None:
        self.origin = base.removesuffix("/telemed")


@pytest.fixture
def relay() -> Iterator[Ours]:
    with Ours() as process:
        yield process


def window(browser: Any, relay: Ours, who: str, role: str) -> Tab:  # noqa: F811
    context = browser.new_context(viewport={"width": 1000, "height": 700}, permissions=["microphone", "camera"])
    context.set_default_timeout(15_000)
    tab = Tab(context, Standing(relay.base), "vi")  # type: ignore[arg-type]
    tab.open(f"/telemed/room#room=demo&participant={who}&name={who}&role={role}")
    return tab


def received(tab: Tab, kind: str) -> dict[str, Any]:
    """The inbound stream of a kind that has brought most."""
    found = [r for r in tab.page.evaluate("() => healthHubRoom.stats()") if r["type"] == "inbound-rtp" and r["kind"] == kind]
    return max(found, key=lambda r: r["packetsReceived"], default={})


def until(what: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never"
        time.sleep(0.2)


def test_a_doctor_admits_a_patient_and_they_see_hear_and_write_to_each_other(browser: Any, relay: Ours) -> None:  # noqa: F811
    doctor = window(browser, relay, "bacsi", "doctor")
    doctor.enter("call")
    patient = window(browser, relay, "benhnhan", "patient")
    patient.enter("waiting")
    doctor.until("s.waiting.length === 1")
    doctor.page.click("#ask-in .small-button")
    patient.until("s.screen === 'call'")
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
    for tab in (doctor, patient):
        assert not tab.complaints, tab.complaints
        tab.context.close()
