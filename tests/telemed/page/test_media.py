"""The page's one peer against aiortc: sound and picture, files over data channels, a picture held while the link is weak."""

import time
from collections.abc import Callable

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.page.conftest import Tab
from tests.telemed.page.fake import Relay, person, track

pytestmark = pytest.mark.xdist_group("telemed-page")
Open = Callable[..., Tab]
NURSE = person("p-nurse", "Lê Văn An", "nurse")


@pytest.fixture
def call(tab: Open, relay: Relay) -> Tab:
    """In a call: aiortc plays the relay and sends a picture and a sound on every m-line."""
    relay.answers = relay.media = True
    relay.participants = [NURSE]
    at = tab(width=800)
    at.open()
    at.enter()
    at.until("s.ice === 'connected' || s.ice === 'completed'")
    return at


def test_what_the_offer_says(call: Tab, relay: Relay) -> None:
    offer = relay.wait("offer")
    assert sorted(p["source"] for p in offer["publish"].values()) == ["camera", "microphone"]
    assert set(offer["wanted"].values()) == {None}
    assert len(offer["wanted"]) == 2, "one m-line of each kind in reserve"
    audio, video = offer["sdp"].split("\r\nm=")[1:3]
    assert "useinbandfec=1;usedtx=1" in audio
    assert "a=simulcast:send q;h;f" in video
    first = video.split("\r\n")[0].split()[3]
    assert f"a=rtpmap:{first} VP8/90000" in video


def test_a_track_is_seen_and_held_while_the_link_is_weak(call: Tab, relay: Relay) -> None:
    relay.say("track-added", track=track("t-a", "p-nurse", "audio", "microphone"))
    relay.say("track-added", track=track("t-v", "p-nurse", "video", "camera"))
    bound = {relay.wait("bind")["track"], relay.wait("bind", after=1)["track"]}
    assert bound == {"t-a", "t-v"}
    call.until("s.tiles[0].width > 0")
    relay.say("layer", track="t-v", layer="q", temporal=0, paused=True, reason="bandwidth", bitrate=0)
    call.until("s.tiles[0].still && s.tiles[0].reason === 'bandwidth' && s.weak === 'paused' && s.level <= 2")
    assert "Mạng yếu: đang giữ tiếng, tạm dừng hình" in call.page.inner_text("#tiles")
    assert "Mạng yếu: đang giữ tiếng, tạm dừng hình" in call.page.inner_text("#weak")
    call.look()
    relay.say("layer", track="t-v", layer="f", temporal=-1, paused=False, reason="", bitrate=900000)
    call.until("!s.tiles[0].still && s.tiles[0].reason === '' && s.weak === ''")
    relay.say("layer", track="t-v", layer="h", temporal=-1, paused=False, reason="bandwidth", bitrate=300000)
    call.until("s.tiles[0].reason === 'lower' && s.weak === 'lower'")
    stats = call.page.evaluate("healthHubRoom.stats()")
    assert any(s["type"] == "inbound-rtp" and s.get("track") == "t-v" and s["framesDecoded"] > 0 for s in stats)
    relay.say("track-removed", track="t-v")
    call.until("s.tiles[0].reason === 'muted'")


def test_a_picture_that_has_just_come_may_climb_before_the_link_is_called_weak(call: Tab, relay: Relay) -> None:
    relay.say("track-added", track=track("t-v", "p-nurse", "video", "camera"))
    assert relay.wait("bind")["track"] == "t-v"
    call.until("s.tiles[0].width > 0")
    began = time.monotonic()
    for layer in ("q", "h"):
        relay.say("layer", track="t-v", layer=layer, temporal=-1, paused=False, reason="bandwidth", bitrate=100000)
    call.until("s.tiles[0].reason === 'lower' && s.weak === 'lower'")
    assert time.monotonic() - began > 9
    relay.say("layer", track="t-v", layer="f", temporal=-1, paused=False, reason="", bitrate=900000)
    call.until("s.tiles[0].reason === '' && s.weak === ''")
    # Nor is the sender's, whose best layer rests for a moment.
    relay.say("layer", track="t-v", layer="h", temporal=-1, paused=False, reason="source", bitrate=300000)
    time.sleep(1)
    assert call.state()["tiles"][0]["reason"] == ""
    relay.say("layer", track="t-v", layer="h", temporal=-1, paused=False, reason="bandwidth", bitrate=300000)
    relay.say("layer", track="t-v", layer="f", temporal=-1, paused=False, reason="", bitrate=900000)
    relay.say("layer", track="t-v", layer="h", temporal=-1, paused=False, reason="bandwidth", bitrate=300000)
    call.until("s.tiles[0].reason === 'lower'", 3)


def test_a_slow_machine_is_called_a_slow_machine_on_both_sides(call: Tab, relay: Relay) -> None:
    relay.say("track-added", track=track("t-v", "p-nurse", "video", "camera", limited="device"))
    relay.say("track-added", track=track("t-cam", "me", "video", "camera", mid="1"))
    call.until("s.tiles[0].width > 0 && s.own.length === 1")
    relay.say("layer", track="t-v", layer="h", temporal=-1, paused=False, reason="source", bitrate=300000)
    call.until("s.tiles[0].reason === 'lower-source' && s.weak === ''")
    assert "Hình kém nét hơn vì máy phía Lê Văn An chậm" in call.page.inner_text("#tiles")
    relay.say("track-changed", track=track("t-v", "p-nurse", "video", "camera", limited="link"))
    call.page.wait_for_function("document.querySelector('#tiles').innerText.includes('vì mạng phía Lê Văn An yếu')")
    relay.say("track-changed", track=track("t-v", "p-nurse", "video", "camera", limited="device"))
    relay.say("layer", track="t-v", layer="h", temporal=-1, paused=True, reason="source", bitrate=0)
    call.until("s.tiles[0].still && s.tiles[0].reason === 'source'")
    assert "Máy phía Lê Văn An chậm: hình tạm dừng" in call.page.inner_text("#tiles")
    # One's own, as the browser's statistics say it.
    call.page.evaluate("""() => {
      const { publishing } = healthHubRoom.room, take = publishing.held.take;
      let later = 0;
      publishing.held.take = function ({ now }) { return take.call(this, { now: now + (later += 30000), by: "device" }); };
    }""")
    said = relay.wait("limited")
    assert (said["track"], said["by"]) == ("t-cam", "device")
    call.until("s.held === 'device'")
    assert call.page.inner_text("#weak").startswith("Máy của bạn đang chậm")
    call.look()
    # A new camera track of ours starts without it at the relay, and is told again.
    relay.say("track-removed", track="t-cam")
    relay.say("track-added", track=track("t-cam2", "me", "video", "camera", mid="1"))
    assert relay.wait("limited", after=1)["track"] == "t-cam2"


def test_a_file_goes_over_the_data_channel_and_one_comes(call: Tab, relay: Relay) -> None:
    call.until("s.channels.every((c) => c.state === 'open')")
    call.page.click("[data-panel=chat]")
    content = bytes(range(256)) * 300
    call.page.set_input_files("#file-input", {"name": "ảnh.bin", "mimeType": "application/x-anh", "buffer": content})
    call.page.wait_for_selector("#chat-list li.own a[download='ảnh.bin']")
    # The fake relay sends it back as if the nurse had sent it.
    call.page.wait_for_selector("#chat-list li:not(.own) a[download='ảnh.bin']")
    came = call.page.inner_text("#chat-list li:not(.own) a[download='ảnh.bin']")
    assert "77 kB" in came
    frames = [m["message"] for m in relay.got if m["type"] == "channel-file"]
    assert b"".join(f for f in frames if isinstance(f, bytes)) == content
    call.look()


def test_the_camera_and_the_microphone_are_switched(call: Tab, relay: Relay) -> None:
    relay.say("track-added", track=track("t-mic", "me", "audio", "microphone", mid="0"))
    relay.say("track-added", track=track("t-cam", "me", "video", "camera", mid="1"))
    call.until("s.own.length === 2")
    call.page.click("#mic")
    assert (relay.wait("mute")["track"], relay.wait("mute")["muted"]) == ("t-mic", True)
    relay.say("track-changed", track=track("t-mic", "me", "audio", "microphone", muted=True))
    call.page.click("#camera")
    assert (relay.wait("mute", after=1)["track"], relay.wait("mute", after=1)["muted"]) == ("t-cam", True)
    call.until("!s.devices.camera")
    relay.say("track-changed", track=track("t-cam", "me", "video", "camera", muted=True))
    call.page.click("#camera")
    assert relay.wait("mute", after=2)["muted"] is False
    call.until("s.devices.camera")
    relay.say("muted", track="t-mic", by="p-1")
    call.look()


def test_the_screen_is_shared_and_no_longer(call: Tab, relay: Relay) -> None:
    call.page.click("[data-panel=more]")
    call.page.click("#screen")
    offer = relay.wait("offer", after=1)
    mid = next(m for m, p in offer["publish"].items() if p["source"] == "screen")
    call.until("healthHubRoom.room.publishing.screen.length > 0")
    assert call.page.inner_text("#screen") == "Dừng chia sẻ"
    call.page.click("#screen")
    assert mid not in relay.wait("offer", after=2)["publish"]
    call.look()


def test_a_message_is_kept_and_sent_in_pieces(tab: Open, relay: Relay) -> None:
    at = tab()
    at.allowed = "503"
    at.open()
    at.enter()
    relay.broken = 1
    at.page.click("[data-panel=more]")
    at.page.click("#message")
    at.page.click("#message-record")
    at.page.wait_for_selector("#message-stop:not([hidden])")
    at.page.wait_for_timeout(2500)
    at.page.click("#message-stop")
    end = at.page.locator("#message-state", has_text="Đã gửi lời nhắn.")
    end.wait_for()
    assert relay.created["authorization"].startswith("Bearer resume-")
    assert len(relay.created["telemed-client"]) == 32
    assert relay.created["tus-resumable"] == "1.0.0"
    assert int(relay.created["upload-length"]) == len(relay.pieces)
    assert bytes(relay.pieces[:4]) == b"\x1aE\xdf\xa3", "a WebM file"
    at.look()
