"""A doctor watches a recording and a message of the patient in a real browser, on a phone and on a large screen, and seeks in it."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from telemed.record.play import play
from telemed.record.recording import Limits, Recording
from telemed.tokens import Tokens
from tests.consult.served import hub_with_relay
from tests.consult.test_kept import KEY, NAME, send
from tests.telemed.hub.cluster import Relay
from tests.telemed.record.media import audio, video
from tests.telemed.rooms.world import SECRET
from tests.web.chromium import PRESENT, WHY, WIDTH, DemoHub, Tab, chromium

pytestmark = [pytest.mark.skipif(not PRESENT, reason=WHY), pytest.mark.xdist_group("chromium")]
ROOM, AT = "Appointment.kham-tu-xa", "/consult/Appointment/kham-tu-xa"
DOCTOR, PATIENT = "Practitioner.bs-01", "Patient.bn-015"
SECONDS = 20


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DemoHub, Relay]]:
    (tmp_path / "rec").mkdir()
    monkeypatch.setattr("telemed.record.routes.PART", 64 << 10)  # each track takes many answers
    kept = {"recordings": str(tmp_path / "rec"), "record_key": KEY, "messages": str(tmp_path / "mes"), "disk_free": 0}
    with hub_with_relay(tmp_path, monkeypatch, **kept) as made:
        made[1].agent._require = False
        yield made


def recorded(root: Path) -> bytes:
    """Three people's sound and pictures, and from 5 s on the patient's, more than a browser has connections; a picture as a plain file."""
    people = {DOCTOR: 0, "Practitioner.dd-01": 0, "guest.1": 0, PATIENT: 5}
    agreed = {who: datetime.now(UTC) for who in people}
    r = Recording(root / NAME, KEY.encode(), ROOM, agreed, limits=Limits(free=0), clock=lambda: 100.0)
    for who, codec in ((who, codec) for who in people for codec in ("opus", "VP8")):
        late = people[who]
        kind = "audio" if codec == "opus" else "video"
        packets = audio(50 * SECONDS) if codec == "opus" else video("VP8", 30 * SECONDS)
        track = r.track(f"{who}-{kind}", who, kind, codec, 48_000 if codec == "opus" else 90_000)
        for packet in packets:
            if packet.arrival < 100 + SECONDS - late:
                track.write(packet.data, packet.arrival + late)
    r.stop().result(30)
    out = root.parent / "out"
    play(root / NAME, out, KEY.encode())
    return (out / "02-video.webm").read_bytes()


def sees(tab: Tab, name: str) -> None:
    """Where a folder for pictures is named, they are looked at by people."""
    if folder := os.environ.get("HEALTH_HUB_SHOTS"):
        tab.page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_recording_and_a_message_are_watched(hub: tuple[DemoHub, Relay], tmp_path: Path) -> None:
    server, relay = hub
    film = recorded(tmp_path / "rec")
    token = Tokens(SECRET, server.origin).issue(room=ROOM, participant=PATIENT, name="Nguyễn Quang Hùng", role="patient")
    asyncio.run(send(relay, token, film, filetype="video/webm", seconds="20"))
    with chromium() as browser:
        context = browser.new_context(viewport={"width": WIDTH, "height": 740})
        tab = Tab(context, server, "vi")
        tab.open(f"{AT}/kept")
        tab.sign_in("bacsi.demo")
        tab.press("button[value='Organization/bvdk-tinh']")
        assert tab.at() == f"{AT}/kept"
        assert "Chưa xem" in tab.text()
        sees(tab, "list-360")
        # The message.
        message = tab.page.locator("video")
        message.evaluate("v => v.play()")
        shown = "const v = document.querySelector('video'); return !v.error && !v.seeking && v.videoWidth === 160 &&"
        tab.page.wait_for_function(f"() => {{ {shown} v.currentTime > 0.5; }}")
        message.evaluate("v => { v.currentTime = 15; }")
        tab.page.wait_for_function(f"() => {{ {shown} v.currentTime > 15.2; }}")
        tab.page.reload()
        tab.look()
        assert "đã xem lúc" in tab.text()
        # The recording.
        tab.press("a:has-text('Xem bản ghi')")
        sees(tab, "play-360")
        place = "document.querySelector('[data-player]').player"
        tab.page.click("[data-play]")
        tab.page.wait_for_function(f"() => {place}.at > 1 && {place}.playing")
        assert tab.page.inner_text("[data-play]") == "Tạm dừng"
        heard = f"() => {place}.tracks.filter(t => !t.media.paused).length"
        assert tab.page.evaluate(heard) == 6, "who is not there yet is not heard"
        tab.page.evaluate(f"() => {{ {place}.slider.value = '12'; {place}.slider.oninput(); }}")
        tab.page.wait_for_function(f"() => {place}.at > 12.5 && {place}.tracks.every(t => !t.media.paused && !t.media.error)")
        apart = tab.page.evaluate(f"() => {place}.tracks.map(t => Math.abs(t.from + t.media.currentTime - {place}.at))")
        assert len(apart) == 8
        assert max(apart) < 0.6, apart
        sees(tab, "playing-360")
        tab.page.click("[data-play]")
        tab.page.wait_for_function(f"() => {place}.tracks.every(t => t.media.paused)")
        tab.page.set_viewport_size({"width": 1280, "height": 900})
        sees(tab, "playing-1280")
        tab.page.evaluate(f"() => {{ {place}.slider.value = '{SECONDS - 0.5}'; {place}.slider.oninput(); {place}.set(true); }}")
        tab.page.wait_for_function(f"() => !{place}.playing && {place}.at === {place}.length")
        tab.page.goto(f"{server.origin}{AT}/kept")
        sees(tab, "list-1280")
        tab.page.set_viewport_size({"width": WIDTH, "height": 740})
        tab.open("/consult")
        sees(tab, "consults-360")
        assert not tab.complaints, tab.complaints
        # Who signed out meanwhile is told so, in words.
        tab.open(f"{AT}/kept/recordings/{NAME}")
        context.clear_cookies()
        tab.allowed = "401"
        tab.page.click("[data-play]")
        tab.page.locator("[data-failed]", has_text="cần đăng nhập lại (sign in again)").wait_for()
        context.close()
        # An absent one, in both languages.
        tab = Tab(browser.new_context(viewport={"width": WIDTH, "height": 740}), server, "vi")
        tab.open("/consult/Appointment/none/kept")
        tab.allowed = "404"
        tab.sign_in("benhnhan.demo")
        assert "You cannot see this consultation" in tab.text()
        sees(tab, "refused-360")
