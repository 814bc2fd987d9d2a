"""Two windows of Chromium exchange files and vital signs over data channels through the real relay."""

import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture
from tests.telemed.test_in_chromium import relay, until, window  # noqa: F401 - the fixture

OPEN = "() => ['file', 'vitals'].every((label) => healthHubRoom.room.channels.ready(label))"
BY_SIGNALLING = "() => { window.bySignalling = 0; healthHubRoom.room.signalling.on('data', () => { window.bySignalling += 1; }); }"


def ready(tab: Tab) -> None:
    tab.until("s.ice === 'connected' || s.ice === 'completed'", 20)
    until(lambda: tab.page.evaluate(OPEN))
    tab.page.evaluate(BY_SIGNALLING)


def saved(tab: Tab, name: str, to: Path) -> bytes:
    """What the link under a file's name saves."""
    until(lambda: tab.page.locator(f"#chat-list a[download='{name}']").count() == 1, 40)
    with tab.page.expect_download() as download:
        tab.page.click(f"#chat-list a[download='{name}']")
    assert download.value.suggested_filename == name
    download.value.save_as(to / name)
    return (to / name).read_bytes()


def test_a_file_and_vital_signs_arrive_as_they_were_sent(browser: Any, relay: Ours, tmp_path: Path) -> None:  # noqa: F811
    doctor, nurse = (window(browser, relay, who, role) for who, role in (("bacsi", "doctor"), ("dieuduong", "nurse")))
    doctor.enter("call")
    nurse.enter("waiting")
    doctor.until("s.waiting.length === 1")
    doctor.page.click("#ask-in .small-button")
    nurse.until("s.screen === 'call'")
    for tab in (doctor, nurse):
        ready(tab)
        tab.page.click("[data-panel=chat]")
    # Longer than what the relay lets be on the way, both ways at once.
    sent = {"siêu âm.bin": random.Random(1).randbytes(1_500_001), "đơn.bin": random.Random(2).randbytes(300_000)}
    for tab, name in ((nurse, "siêu âm.bin"), (doctor, "đơn.bin")):
        tab.page.set_input_files("#file-input", {"name": name, "mimeType": "application/octet-stream", "buffer": sent[name]})
    nurse.page.click("#vitals-open")
    for field, value in (("pulse", "88"), ("spo2", "96"), ("temperature", "37,2")):
        nurse.page.fill(f"#vitals-form [name={field}]", value)
    nurse.page.click("#vitals-form [type=submit]")
    doctor.until("s.vitals.spo2 === 96 && s.vitals.pulse === 88 && s.vitals.temperature === 37.2")
    assert "dieuduong" in doctor.page.inner_text("#vitals-from")
    assert saved(doctor, "siêu âm.bin", tmp_path) == sent["siêu âm.bin"]
    assert saved(nurse, "đơn.bin", tmp_path) == sent["đơn.bin"]
    for tab in (doctor, nurse):
        assert tab.page.evaluate("window.bySignalling") == 0
        assert not tab.complaints, tab.complaints
    # Who leaves in the middle of a file: the other does not wait for the rest.
    nurse.page.set_input_files("#file-input", {"name": "phim.bin", "mimeType": "application/octet-stream", "buffer": bytes(9_000_000)})
    coming = doctor.page.locator("#chat-list progress")
    until(lambda: coming.count() and coming.get_attribute("value") != "0")
    nurse.page.click("[data-action=leave-ask]")
    nurse.page.click("#leave-dialog [data-action=leave]")
    until(lambda: "phim.bin: chưa nhận đủ" in doctor.page.inner_text("#chat-list"), 10)
    assert not doctor.complaints, doctor.complaints
    for tab in (doctor, nurse):
        tab.context.close()
