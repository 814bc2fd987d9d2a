"""What is kept of a consultation in Chromium: a recording with everyone's consent, and a message of one whose link was gone."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from bench.relay.relays import Ours
from telemed.record.play import play
from tests.telemed.calls import admit, until, window
from tests.telemed.page.conftest import browser  # noqa: F401 - the fixture
from tests.telemed.record.media import Seen, decode

pytestmark = pytest.mark.xdist_group("telemed-page")
KEY = "the key of recordings in the tests, of an operator"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where relays of this test keep everything."""
    environ = {"RECORDINGS": str(tmp_path / "rec"), "MESSAGES": str(tmp_path / "mes"), "STATE": str(tmp_path / "state")}
    for name, value in (environ | {"RECORD_KEY": KEY, "SECRET": "a secret of the tests, long enough", "DISK_FREE": "0"}).items():
        monkeypatch.setenv(f"TELEMED_{name}", value)
    return tmp_path


@pytest.fixture
def start(kept: Path) -> Iterator[Callable[..., Ours]]:
    """Starts a relay; the last one is ended."""
    made: list[Ours] = []

    def one(**more: Any) -> Ours:
        made.append(Ours(**more))
        made[-1].__enter__()
        return made[-1]

    yield one
    made[-1].stop()


def enter(browser: Any, relay: Ours) -> tuple[Any, Any]:  # noqa: F811
    """A doctor and a patient in a call."""
    doctor, patient = window(browser, relay.base, "bacsi", "doctor"), window(browser, relay.base, "benhnhan", "patient")
    doctor.enter("call")
    admit(doctor, patient)
    return doctor, patient


def test_two_windows_are_recorded_with_consent_and_the_files_play(browser: Any, start: Callable[..., Ours], kept: Path) -> None:  # noqa: F811
    doctor, patient = enter(browser, start())
    for tab in (doctor, patient):
        tab.until("s.ice === 'connected' || s.ice === 'completed'", 20)
        tab.until("s.tracks.length === 2 && s.own.length === 2", 20)
    doctor.page.wait_for_timeout(4000)  # the uplinks find their highest layer
    doctor.page.click("[data-panel=more]")
    assert patient.page.locator("#recording-mark").is_hidden()
    doctor.page.click("#record")
    patient.page.click("#consent-yes")
    for tab in (doctor, patient):
        tab.until("s.recording.state === 'on'")
        assert tab.page.inner_text("#recording-mark") == "ĐANG GHI"
    doctor.page.wait_for_timeout(6000)
    doctor.page.click("#record")
    for tab in (doctor, patient):
        tab.until("s.recording.state === 'off'")
        assert tab.page.locator("#recording-mark").is_hidden()
        assert not tab.complaints, tab.complaints
        tab.context.close()
    until(lambda: list(kept.glob("rec/*/index.json.sealed")))
    (folder,) = (kept / "rec").iterdir()
    index, problems = play(folder, kept / "out", KEY.encode())
    assert not problems
    seen: dict[tuple[str, str], Seen] = {(t["participant"], t["kind"]): decode(kept / "out" / t["file"]) for t in index["tracks"]}
    assert set(seen) == {(who, kind) for who in ("bacsi", "benhnhan") for kind in ("audio", "video")}
    assert 5.5 < index["seconds"] < 12
    for who in ("bacsi", "benhnhan"):
        sound, picture = seen[who, "audio"], seen[who, "video"]
        assert abs(sound.samples / 48_000 - index["seconds"]) < 1.0
        assert len(picture.times) > 30
        assert abs(picture.times[-1] - picture.times[0] - index["seconds"]) < 2.0
        assert picture.width >= 640, "the highest layer"


def test_a_message_of_one_whose_link_was_gone_reaches_the_doctor(browser: Any, start: Callable[..., Ours], kept: Path) -> None:  # noqa: F811
    relay = start()
    doctor, patient = enter(browser, relay)
    for tab in (doctor, patient):
        tab.allowed = "net::ERR_"  # the link is gone on purpose
    patient.until("s.ice === 'connected' || s.ice === 'completed'", 20)
    os.kill(relay.pid, signal.SIGKILL)
    relay.stop()
    patient.page.wait_for_selector("#overlay-message:not([hidden])", timeout=20_000)
    patient.page.click("#overlay-message")
    patient.page.click("#message-record")
    patient.page.wait_for_selector("#message-stop:not([hidden])")
    patient.page.wait_for_timeout(5000)
    patient.page.click("#message-stop")
    patient.page.locator("#message-state", has_text="giữ trên máy này").wait_for()
    # The link returns, and breaks once more after the first piece.
    pieces: list[int] = []

    def piece(route: Any) -> None:
        if route.request.method == "PATCH":
            pieces.append(int(route.request.headers["upload-offset"]))
            if len(pieces) == 2:
                os.kill(again.pid, signal.SIGKILL)
                again.stop()
        route.continue_()

    patient.page.route("**/telemed/messages/*", piece)
    again = start(port=relay.port, udp=relay.udp)
    end = time.monotonic() + 90
    while len(pieces) < 2 and time.monotonic() < end:
        patient.page.wait_for_timeout(100)  # in which the route is heard
    start(port=relay.port, udp=relay.udp)
    patient.page.locator("#message-state", has_text="Đã gửi lời nhắn.").wait_for(timeout=90_000)
    assert pieces[0] == 0
    assert len(pieces) > 2
    assert pieces[-1] > 0, "what had come was not sent again"
    doctor.until("s.letters.length === 1 && s.letters[0].from === 'benhnhan'", 30)
    doctor.page.click("[data-panel=more]")
    doctor.page.click("#letters-list button")
    player = doctor.page.locator("#letters-list video")
    player.wait_for()
    until(lambda: player.evaluate("v => v.readyState >= 2 && v.currentTime > 0.5 && v.videoWidth > 0 && !v.error"), 30)
    assert "benhnhan" in doctor.page.inner_text("#letters-list")
    assert not patient.page.evaluate(
        "async () => { const r = indexedDB.open('hh-messages'); await new Promise((d) => { r.onsuccess = d; });"
        " const q = r.result.transaction('messages').objectStore('messages').count(); await new Promise((d) => { q.onsuccess = d; });"
        " return q.result; }"
    )
    for tab in (doctor, patient):
        assert not tab.complaints, tab.complaints
        tab.context.close()
    for path in (kept / "mes").iterdir():
        assert not any(word in path.read_bytes() for word in (b"benhnhan", b"webm")), path
