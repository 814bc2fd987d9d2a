"""What a person does in the consult room, in a real browser, with a relay that says what the test wants."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.page.conftest import Tab
from tests.telemed.page.fake import OFF, Relay, person, track

pytestmark = pytest.mark.xdist_group("telemed-page")
Open = Callable[..., Tab]
NURSE = person("p-nurse", "Lê Văn An", "nurse")
SIZES = [(360, 740), (1280, 800)]


@pytest.mark.parametrize("lang", ["vi", "en"])
@pytest.mark.parametrize("size", SIZES, ids=["phone", "desktop"])
def test_every_screen_fits_and_speaks(tab: Open, relay: Relay, lang: str, size: tuple[int, int]) -> None:
    at = tab(lang, *size)
    relay.me = person("me", "Lê Văn An", "nurse", state="waiting")
    at.open()
    at.until("s.devices.microphone")
    at.look("check")
    assert "token" not in at.page.url
    at.enter("waiting")
    at.look("waiting")
    relay.me = person("me", "BS. Trần Thị Bình", "doctor")
    relay.participants = [NURSE, person("p-2", "Nguyễn Thị Hoa Thị Nguyệt Thanh Phương Trường Sơn", "patient", hand=True)]
    relay.tracks = [track("t-a", "p-nurse", "audio", "microphone"), track("t-v", "p-nurse", "video", "camera")]
    relay.say("admitted", by="p-1", **relay.view())
    at.until("s.screen === 'call' && s.tiles.length === 2")
    relay.say("waiting", participant=person("p-3", "Phạm Văn Cường", state="waiting"))
    relay.say(
        "data", label="vitals", data={"pulse": 88, "spo2": 91, "systolic": 150, "diastolic": 95, "temperature": 37.2}, **{"from": "p-nurse"}
    )
    relay.say("layer", track="t-v", layer="q", temporal=0, paused=True, reason="bandwidth", bitrate=0)
    at.until("s.weak === 'paused' && s.vitals.spo2 === 91")
    at.look("call")
    for panel in ("chat", "people", "more"):
        at.page.click(f"[data-panel={panel}]")
        at.look(panel)
    at.page.click("#side-close")
    at.page.click("#vitals-open")
    at.look("vitals")
    at.page.keyboard.press("Escape")
    at.page.click("[data-action=leave-ask]")
    at.look("leave")
    at.page.click("#leave-dialog [data-action=leave]")
    at.until("s.screen === 'over' && s.over === 'left'")
    relay.wait("leave")
    at.look("over")


def test_the_language_is_switched_in_place(tab: Open, relay: Relay) -> None:
    at = tab("vi")
    relay.participants = [NURSE]
    at.open()
    at.enter()
    assert at.page.get_attribute("#tiles .tile", "aria-label") == "Lê Văn An, Điều dưỡng trạm"
    at.page.click("[data-lang=en]")
    assert at.page.title() == "Consultation room · Health Hub"
    assert at.page.get_attribute("#tiles .tile", "aria-label") == "Lê Văn An, Station nurse"
    at.lang = "en"
    at.look()


def test_hello_shows_the_token_once_and_a_reload_comes_back(tab: Open, relay: Relay) -> None:
    at = tab()
    at.open()
    at.enter()
    at.page.click("#mic")
    hello = relay.wait("hello")
    assert hello["token"] == "a-token"
    assert len(hello["client"]) >= 16
    at.page.reload()
    at.until("s.screen === 'call'")
    again = relay.wait("hello", after=1)
    assert again["client"] == hello["client"]
    assert "token" not in again
    assert again["resume"]["seq"] == 0
    assert at.page.get_attribute("#mic", "aria-pressed") == "false", "still muted"
    at.look()


def test_the_hub_gives_the_token(tab: Open, relay: Relay) -> None:
    at = tab()
    at.open("/consult")
    at.enter()
    assert relay.wait("hello")["token"] == "from-the-hub"
    at.page.click("[data-action=leave-ask]")
    at.page.click("#leave-dialog [data-action=leave]")
    at.until("s.screen === 'over'")
    assert at.page.get_attribute("#back", "href") == "/home"
    at.look()


def test_without_a_way_in_the_page_says_so(tab: Open, relay: Relay) -> None:
    at = tab("en")
    at.open("/telemed/room")
    at.until("s.over === 'token'")
    assert "This way in has ended" in at.page.inner_text("#over")
    at.look()


@pytest.mark.parametrize(("message", "code", "over"), [
    ("refused", 4403, "refused"), ("removed", 4403, "removed"), ("replaced", 4409, "replaced"), ("ended", 4410, "ended"),
])  # fmt: skip
def test_the_end_is_told(tab: Open, relay: Relay, message: str, code: int, over: str) -> None:
    at = tab("en")
    relay.me = person("me", "Lê Văn An", "nurse", state="waiting" if message == "refused" else "admitted")
    at.open()
    at.enter("waiting" if message == "refused" else "call")
    relay.say(message, by=None, text={"vi": "Vì sao", "en": "The reason why"})
    relay.drop(code)
    at.until(f"s.over === '{over}'")
    assert "The reason why" in at.page.inner_text("#over")
    assert at.state()["devices"] == {"microphone": False, "camera": False, "problem": ""}
    at.look()


def test_a_lost_link_comes_back_by_itself_and_misses_nothing(tab: Open, relay: Relay) -> None:
    at = tab()
    relay.participants = [NURSE]
    at.open()
    at.enter()
    at.allowed = "WebSocket connection"
    relay.refuse_ws = 1012
    relay.drop()
    at.until("s.signalling === 'down' && s.overlay === 'lost'")
    at.page.wait_for_selector("#overlay:not([hidden])")
    at.look()
    relay.say(
        "chat",
        message={"id": 1, "from": "p-nurse", "name": "Lê Văn An", "role": "nurse", "text": "Còn đó không?", "time": "2026-11-26T08:21:00Z"},
    )
    at.page.click("[data-panel=chat]")
    at.page.fill("#chat-text", "Tôi vẫn đây")
    at.page.press("#chat-text", "Enter")
    relay.refuse_ws = None
    at.until("s.signalling === 'up' && s.overlay === '' || s.overlay === 'media'")
    hello = relay.wait("hello", after=1)
    assert hello["resume"]["seq"] >= 1
    assert relay.wait("chat")["text"] == "Tôi vẫn đây"
    at.page.wait_for_selector("#chat-list li.own:not([data-state])")
    assert "Còn đó không?" in at.page.inner_text("#chat-list")
    assert len([m for m in relay.got if m["type"] == "chat"]) == 1


def test_a_doctor_admits_mutes_and_removes(tab: Open, relay: Relay) -> None:
    at = tab()
    relay.participants = [NURSE | {"rights": ["audio"]}]
    relay.waiting = [person("p-3", "Phạm Văn Cường", state="waiting"), person("p-4", "Vũ Thị Dung", state="waiting")]
    relay.tracks = [track("t-a", "p-nurse", "audio", "microphone")]
    at.open()
    at.enter()
    assert at.page.inner_text("#people-badge") == "2"
    at.page.click("#ask-in button >> nth=0")
    assert relay.wait("admit")["participant"] == "p-3"
    at.page.click("[data-panel=people]")
    at.page.click(".waiting-box li:nth-child(2) button >> nth=1")
    assert relay.wait("refuse")["participant"] == "p-4"
    relay.say("waiting-left", participant="p-3", reason="admitted")
    relay.say("waiting-left", participant="p-4", reason="refused")
    at.page.wait_for_selector("#ask-in", state="hidden")
    at.page.click("#people-list li:nth-child(2) button >> nth=0")
    assert relay.wait("mute") == {"type": "mute", "track": "t-a", "muted": True, "id": relay.wait("mute")["id"]}
    relay.say("track-changed", track=track("t-a", "p-nurse", "audio", "microphone", muted=True))
    at.until("s.tiles[0].muted")
    at.page.click("#people-list li:nth-child(2) button >> nth=0")
    at.page.click("#people-list li:nth-child(2) button >> nth=0")
    assert relay.wait("remove")["participant"] == "p-nurse"
    at.look()


def test_nobody_is_recorded_unasked(tab: Open, relay: Relay) -> None:
    at = tab("en")
    relay.me = person("me", "Lê Văn An", "nurse")
    relay.participants = [person("p-1", "BS. Bình", "doctor")]
    at.open()
    at.enter()
    asking = {"state": "asking", "by": "p-1", "asked": ["p-1", "me"], "consented": ["p-1"], "refused": []}
    relay.say("recording", recording=asking, reason="asked")
    at.page.wait_for_selector("#consent-dialog[open]")
    assert "BS. Bình would like to record" in at.page.inner_text("#consent-dialog")
    at.page.keyboard.press("Escape")
    assert at.page.is_visible("#consent-dialog")
    at.look()
    at.page.click("#consent-yes")
    assert relay.wait("consent")["given"] is True
    relay.say("recording", recording={**asking, "state": "on", "consented": ["p-1", "me"]}, reason="consented")
    at.page.wait_for_selector("#recording-mark:not([hidden])")
    assert at.page.get_attribute("#recording-mark", "aria-label") == "RECORDING"
    at.page.click("[data-panel=more]")
    at.page.click("#record")
    assert relay.wait("consent", after=1)["given"] is False
    relay.say("recording", recording=OFF, reason="refused")
    at.page.wait_for_selector("#recording-mark", state="hidden")


def test_vital_signs_are_entered_shown_and_told_again(tab: Open, relay: Relay) -> None:
    at = tab()
    relay.me = person("me", "Lê Văn An", "nurse")
    at.open()
    at.enter()
    at.page.click("#vitals-open")
    at.page.fill("#v-pulse", "8800")
    at.page.click("#vitals-form [type=submit]")
    assert "Mạch" in at.page.inner_text("#vitals-error")
    at.page.fill("#v-pulse", "88")
    at.page.fill("#v-systolic", "150")
    at.page.click("#vitals-form [type=submit]")
    assert at.page.inner_text("#vitals-error") == "Huyết áp cần cả hai số."
    at.page.fill("#v-diastolic", "95")
    at.page.fill("#v-temperature", "37,2")
    at.page.click("#vitals-form [type=submit]")
    data = relay.wait("data")["data"]
    assert {k: v for k, v in data.items() if k != "time"} == {"pulse": 88, "systolic": 150, "diastolic": 95, "temperature": 37.2}
    assert "150/95" in at.page.inner_text("#vitals")
    assert at.page.get_attribute("#vitals-values div:nth-child(2)", "data-odd") == "true"
    relay.say(
        "data", label="vitals", data={"spo2": 96, "pulse": "cao", "temperature": 4000, "source": "<b>Máy đo</b>"}, **{"from": "p-device"}
    )
    at.until("s.vitals.spo2 === 96 && s.vitals.pulse === 88 && s.vitals.temperature === 37.2")
    assert "<b>Máy đo</b>" in at.page.inner_text("#vitals-from")
    relay.say("joined", participant=person("p-1", "BS. Bình", "doctor"))
    assert relay.wait("data", after=1)["data"]["systolic"] == 150
    at.look()


def test_low_bandwidth_asks_for_less_and_sends_less(tab: Open, relay: Relay) -> None:
    at = tab()
    relay.participants = [NURSE]
    relay.tracks = [track("t-v", "p-nurse", "video", "camera")]
    at.open()
    at.enter()
    at.page.click("[data-panel=more]")
    at.page.check("input[name=low][value=low]")
    assert _last(relay, "prefer", lambda m: m["layer"] == "q")["paused"] is False
    at.page.check("input[name=low][value=audio]")
    assert _last(relay, "prefer", lambda m: m["paused"])["track"] == "t-v"
    at.until("!s.devices.camera && s.mode === 'audio'")
    relay.say("layer", track="t-v", layer="q", temporal=0, paused=True, reason="asked", bitrate=0)
    at.until("s.tiles[0].reason === 'asked' && s.weak === ''")
    at.look()


def _last(relay: Relay, type: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    for after in range(50):
        found = relay.wait(type, after)
        if condition(found):
            return found
    raise AssertionError(type)


def test_names_and_messages_are_text(tab: Open, relay: Relay) -> None:
    at = tab()
    evil = "<img src=x onerror=alert(1)>"
    relay.participants = [person("p-x", evil, "patient")]
    relay.chat = [{"id": 1, "from": "p-x", "name": evil, "role": "patient", "text": evil, "time": "2026-11-26T08:20:00Z"}]
    at.open()
    at.enter()
    for panel in ("people", "chat"):
        at.page.click(f"[data-panel={panel}]")
        assert evil in at.page.inner_text(f"#panel-{panel}")
    at.look()
