"""The WebSocket protocol as docs/telemed-protocol.md tells it, over a real port."""

import asyncio
import base64
import hashlib
import hmac
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from telemed.tokens import Tokens
from tests.telemed.rooms.fake import BOTH, WATCH
from tests.telemed.rooms.world import SECRET, until, world


async def test_two_people_meet() -> None:
    async with world(stun=("stun:t.example:3478",), turn=("turn:t.example:3478",), turn_secret="north") as w:
        nurse = await w.come("nur", "nurse")
        assert nurse.welcome["type"] == "welcome"
        assert nurse.welcome["you"]["state"] == "waiting"
        assert nurse.welcome["seq"] == 1
        doctor = await w.come("doc", "doctor")
        assert doctor.welcome["you"]["rights"] == ["audio", "video", "screen", "chat", "admit", "mute", "remove", "record", "end"]
        turn = doctor.welcome["ice_servers"][1]
        assert turn["username"].endswith(":doc")
        assert [p["id"] for p in doctor.welcome["waiting"]] == ["nur"]
        assert (await doctor.ask({"type": "admit", "participant": "nur"}))["type"] == "ok"
        admitted = await nurse.hear("admitted")
        assert admitted["by"] == "doc"
        assert [p["id"] for p in admitted["participants"]] == ["doc"]
        assert admitted["you"]["state"] == "admitted"
        answer = await nurse.ask({"type": "offer", "sdp": BOTH, "publish": {"0": {"source": "microphone"}, "1": {"source": "camera"}}})
        assert answer["type"] == "answer"
        assert answer["sdp"].startswith("v=0")
        tracks = [(await doctor.hear("track-added"))["track"] for _ in range(2)]
        assert [t["source"] for t in tracks] == ["microphone", "camera"]
        assert (await nurse.hear("track-added"))["track"]["mid"] == "0"
        assert (await doctor.hear("room"))["room"]["state"] == "live"
        reply = await doctor.ask({"type": "offer", "sdp": WATCH, "wanted": {"0": tracks[0]["id"], "1": "t99"}})
        assert reply["missing"] == ["1"]
        assert w.relay.peer("doc").bound == {"0": tracks[0]["id"]}
        assert (await doctor.ask({"type": "bind", "mid": "1", "track": tracks[1]["id"]}))["type"] == "ok"
        assert (await doctor.ask({"type": "bind", "mid": "1", "track": None}))["type"] == "ok"
        await doctor.send({"type": "candidate", "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "mid": "0"})
        assert (await doctor.ask({"type": "prefer", "track": tracks[1]["id"], "layer": "q"}))["type"] == "ok"
        assert w.relay.peer("doc").calls[-1] == ("prefer", tracks[1]["id"], "q", False, 5)
        assert w.relay.peer("doc").calls[-2][0] == "candidate"
        assert (await doctor.ask({"type": "mute", "track": tracks[0]["id"], "muted": True}))["type"] == "ok"
        assert (await nurse.hear("muted"))["by"] == "doc"
        assert (await nurse.ask({"type": "chat", "text": "Huyết áp 150/95"}))["type"] == "ok"
        assert (await doctor.hear("chat"))["message"]["text"] == "Huyết áp 150/95"
        assert (await nurse.ask({"type": "hand", "up": True}))["type"] == "ok"
        assert (await doctor.hear("changed"))["participant"]["hand"] is True
        assert (await nurse.ask({"type": "data", "label": "vitals", "data": {"spo2": 96}}))["type"] == "ok"
        assert await doctor.hear("data") == {"type": "data", "from": "nur", "label": "vitals", "data": {"spo2": 96}}
        await nurse.send({"type": "report", "freezes": 1, "freeze_seconds": 0.5})
        assert (await nurse.ask({"type": "ping"}))["type"] == "pong"
        assert len((await nurse.ask({"type": "ice"}))["ice_servers"]) == 2
        assert (await doctor.ask({"type": "record", "on": True}))["type"] == "ok"
        assert (await nurse.hear("recording"))["recording"]["state"] == "asking"
        assert (await nurse.ask({"type": "consent", "given": True}))["type"] == "ok"
        assert (await doctor.hear("recording", reason="consented"))["recording"]["state"] == "on"
        assert w.hooks == [("r1", "on", ["doc", "nur"])]
        assert (await doctor.ask({"type": "end"}))["type"] == "ok"
        assert (await nurse.hear("ended"))["reason"] == "end"
        assert await nurse.code() == 4410
        assert await doctor.code() == 4410
        assert w.hooks[-1][1] == "off"
        ended = w.events[-1]
        assert ended["event"] == "ended"
        assert next(p for p in ended["participants"] if p["id"] == "nur")["quality"]["freezes"] == 1


async def test_turn_credentials_are_those_of_coturn() -> None:
    async with world(turn=("turn:t.example:3478",), turn_secret="north") as w:
        doctor = await w.come("doc", "doctor")
        server = doctor.welcome["ice_servers"][0]
        expected = base64.b64encode(hmac.new(b"north", server["username"].encode(), hashlib.sha1).digest()).decode()
        assert server["credential"] == expected


async def test_refused_removed_and_left() -> None:
    async with world() as w:
        doctor = await w.come("doc", "doctor")
        one, two = await w.come("one", "patient"), await w.come("two", "patient", admitted=True)
        three = await w.come("three", "carer", admitted=True)
        await doctor.ask({"type": "refuse", "participant": "one"})
        assert (await one.hear("refused"))["text"]["vi"]
        assert await one.code() == 4403
        await doctor.ask({"type": "remove", "participant": "two"})
        assert (await two.hear("removed"))["by"] == "doc"
        assert await two.code() == 4403
        await three.send({"type": "leave"})
        assert await three.code() == 1000
        assert (await doctor.hear("left", participant="three"))["reason"] == "left"
        back = await w.client()
        error = await back.ask({"type": "hello", "resume": {"token": two.welcome["resume"], "seq": 1}, "client": two.secret})
        assert (error["code"], error["fatal"]) == ("removed", True)
        assert await back.code() == 4403


async def test_errors_name_what_is_wrong_and_the_session_goes_on() -> None:
    async with world() as w:
        patient = await w.come("pat", "patient", admitted=True)
        for message, code in [
            ({"type": "dance"}, "unknown-type"), ({"type": "chat"}, "bad-message"), ({"type": "chat", "text": 5}, "bad-message"),
            ({"type": "chat", "text": "x" * 4001}, "too-long"), ({"type": "data", "label": "Vitals", "data": 1}, "bad-message"),
            ({"type": "data", "label": "vitals", "data": "x" * 20_000}, "too-long"), ({"type": "admit", "participant": "x"}, "not-allowed"),
            ({"type": "admit"}, "bad-message"), ({"type": "mute", "track": "t1", "muted": True}, "unknown-track"),
            ({"type": "prefer", "track": "t1"}, "unknown-track"), ({"type": "prefer", "track": "t1", "priority": 11}, "bad-message"),
            ({"type": "bind", "mid": "0", "track": "t1"}, "unknown-mid"), ({"type": "offer", "sdp": "hello"}, "sdp"),
            ({"type": "offer", "sdp": "v=0\r\n"}, "sdp"), ({"type": "offer", "sdp": "v=0\r\n" + "m=audio 9 x 0\r\n" * 2}, "sdp"),
            ({"type": "offer", "sdp": "v=0\r\n" + "m=audio 9 x 0\r\n" * 200}, "sdp"),
            ({"type": "offer", "sdp": BOTH + "a=bad-codec"}, "codec"),
            ({"type": "offer", "sdp": BOTH, "publish": {"0": {"source": "moon"}}}, "bad-message"), ({"type": "end"}, "not-allowed"),
            ({"type": "consent", "given": True}, "recording"), ({"type": "hello"}, "hello-first"),
        ]:  # fmt: skip
            error = await patient.ask(message)
            assert (error["type"], error.get("code"), error.get("fatal")) == ("error", code, False), message
            assert error["text"]["vi"]
            assert error["text"]["en"]
        assert (await patient.ask({"type": "ping"}))["type"] == "pong"


async def test_a_link_that_was_cut_is_taken_up_where_it_was() -> None:
    async with world() as w:
        doctor = await w.come("doc", "doctor")
        patient = await w.come("pat", "patient", admitted=True)
        await patient.ask({"type": "offer", "sdp": BOTH})
        await patient.ask({"type": "ping"})
        seq = patient.seq
        await patient.cut()
        assert (await doctor.hear("changed"))["participant"]["link"] == "down"
        for n in range(3):
            await doctor.ask({"type": "chat", "text": f"{n}"})
        again = await w.client()
        resumed = await again.ask({"type": "hello", "resume": {"token": patient.welcome["resume"], "seq": seq}, "client": patient.secret})
        assert (resumed["type"], resumed["media"], resumed["missed"]) == ("resumed", "kept", resumed["seq"] - seq)
        assert [(await again.hear("chat"))["message"]["text"] for _ in range(3)] == ["0", "1", "2"]
        assert (await doctor.hear("changed"))["participant"]["link"] == "up"
        assert not w.relay.peer("pat").closed
        assert "left" not in w.event_names()
        await again.ask({"type": "chat", "text": "here"})
        old = await w.client()  # the same again while the newer link lives: the older one is dropped
        await old.ask({"type": "hello", "resume": {"token": resumed["resume"], "seq": again.seq}, "client": patient.secret})
        assert (await old.ask({"type": "ping"}))["type"] == "pong"
        await until(lambda: again.socket.close_code is not None)


async def test_too_much_missed_begins_anew_with_the_media_kept() -> None:
    async with world(backlog_messages=20) as w:
        doctor = await w.come("doc", "doctor")
        patient = await w.come("pat", "patient", admitted=True)
        await patient.ask({"type": "offer", "sdp": BOTH})
        await patient.cut()
        for n in range(30):
            await doctor.ask({"type": "chat", "text": f"{n}"})
        again = await w.client()
        welcome = await again.ask({"type": "hello", "resume": {"token": patient.welcome["resume"], "seq": 1}, "client": patient.secret})
        assert (welcome["type"], welcome["restored"], welcome["media"]) == ("welcome", True, "kept")
        assert len(welcome["chat"]) == 30


async def test_a_page_that_was_loaded_again_begins_anew_without_waiting() -> None:
    async with world() as w:
        doctor = await w.come("doc", "doctor")
        patient = await w.come("pat", "patient")
        await doctor.ask({"type": "admit", "participant": "pat"})
        resume = (await patient.hear("admitted"))["resume"]
        await patient.ask({"type": "offer", "sdp": BOTH})
        await patient.cut()
        again = await w.client()
        welcome = await again.ask({"type": "hello", "resume": {"token": resume, "seq": 0}, "client": patient.secret})
        assert (welcome["type"], welcome["restored"], welcome["media"], welcome["tracks"]) == ("welcome", True, "new", [])
        assert welcome["you"]["state"] == "admitted"
        assert w.relay.peer("pat").closed


async def test_a_restarted_relay_takes_everybody_back_without_waiting(tmp_path: Path) -> None:
    state = f"{tmp_path}/state"
    async with world(state=state) as w:
        doctor = await w.come("doc", "doctor")
        patient = await w.come("pat", "patient")
        await doctor.ask({"type": "admit", "participant": "pat"})
        resume = (await patient.hear("admitted"))["resume"]
        await patient.ask({"type": "chat", "text": "đau đầu"})
        bad = await w.come("bad", "patient")
        await doctor.ask({"type": "remove", "participant": "bad"})
    assert await patient.code() == 1012
    assert "đau".encode() not in Path(state).read_bytes()
    async with world(state=state) as w:
        again = await w.client()
        welcome = await again.ask({"type": "hello", "resume": {"token": resume, "seq": 9}, "client": patient.secret})
        assert (welcome["type"], welcome["restored"], welcome["media"], welcome["you"]["state"]) == ("welcome", True, "new", "admitted")
        assert welcome["chat"][0]["text"] == "đau đầu"
        other = await w.client()
        error = await other.ask({"type": "hello", "resume": {"token": bad.welcome["resume"], "seq": 1}, "client": bad.secret})
        assert error["code"] == "removed"
        assert {"doc", "pat"} == set(w.app.state.rooms.rooms["r1"].participants)


async def test_without_a_state_file_resume_tokens_alone_bring_a_room_back() -> None:
    async with world() as w:
        doctor = await w.come("doc", "doctor")
        patient = await w.come("pat", "patient")
        await doctor.ask({"type": "admit", "participant": "pat"})
        resume = (await patient.hear("admitted"))["resume"]
    async with world() as w:
        again = await w.client()
        welcome = await again.ask({"type": "hello", "resume": {"token": resume, "seq": 9}, "client": patient.secret})
        assert (welcome["type"], welcome["you"]["state"]) == ("welcome", "admitted")


async def test_a_copied_token_opens_nothing() -> None:
    async with world() as w:
        token = w.token("pat", "patient")
        owner = await w.client()
        hello = {"type": "hello", "token": token, "client": "the owner's own secret"}
        welcome = await owner.ask(hello)
        assert welcome["type"] == "welcome"
        for client in ({"client": "somebody else's secret"}, {}):
            thief = await w.client()
            assert (await thief.ask({"type": "hello", "token": token, **client}))["code"] == "token-used"
            assert await thief.code() == 4401
            thief = await w.client()
            resume = {"resume": {"token": welcome["resume"], "seq": 0}}
            assert (await thief.ask({"type": "hello", **resume, **client}))["code"] == "token"
        again = await w.client()
        assert (await again.ask(hello))["type"] == "welcome"
        assert (await owner.hear("replaced"))["text"]["en"]
        assert await owner.code() == 4409


async def test_a_window_that_was_replaced_does_not_push_the_newer_one_out() -> None:
    async with world() as w:
        first = await w.come("doc", "doctor")
        await first.cut()
        second = await w.client()
        await second.ask({"type": "hello", "token": w.token("doc", "doctor"), "client": "the second window's secret"})
        back = await w.client()
        await back.send({"type": "hello", "resume": {"token": first.welcome["resume"], "seq": 1}, "client": first.secret})
        assert await back.code() == 4409
        assert (await second.ask({"type": "ping"}))["type"] == "pong"


async def test_without_a_client_secret_the_token_works_once() -> None:
    async with world() as w:
        token = w.token("doc", "doctor")
        one, two = await w.client(), await w.client()
        assert (await one.ask({"type": "hello", "token": token}))["resume"] == ""
        assert (await two.ask({"type": "hello", "token": token}))["code"] == "token-used"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * 4000])
async def test_a_token_that_is_none_is_4401(token: str) -> None:
    async with world() as w:
        client = await w.client()
        assert (await client.ask({"type": "hello", "token": token}))["code"] == "token"
        assert await client.code() == 4401


async def test_a_token_of_another_hub_is_refused() -> None:
    async with world() as w:
        for tokens in (Tokens("another secret, also long enough for it"), Tokens(SECRET, "elsewhere")):
            client = await w.client()
            token = tokens.issue(room="r1", participant="x", name="x", role="doctor")
            assert (await client.ask({"type": "hello", "token": token}))["code"] == "token"


async def test_open_mode_opens_a_room_by_its_name() -> None:
    async with world(secret="", open=True) as w:
        client = await w.client()
        welcome = await client.ask({"type": "hello", "room": "demo", "name": "An", "participant": "an"})
        assert (welcome["room"]["id"], welcome["you"]["role"], welcome["you"]["id"]) == ("demo", "doctor", "an")
        bad = await w.client()
        assert (await bad.ask({"type": "hello", "room": "../x"}))["code"] == "bad-message"
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{w.port}/telemed/ws", origin="https://evil.example", proxy=None)  # type: ignore[arg-type]
    async with world() as w:
        client = await w.client()
        assert (await client.ask({"type": "hello", "room": "demo"}))["code"] == "token"


async def test_origins_are_held_to() -> None:
    async with world(origins=("https://hub.example.vn",)) as w:
        url = f"ws://127.0.0.1:{w.port}/telemed/ws"
        with pytest.raises(InvalidStatus):
            await connect(url, origin="https://evil.example", proxy=None)  # type: ignore[arg-type]
        good = await connect(url, origin="https://hub.example.vn", proxy=None)  # type: ignore[arg-type]
        await good.close()


async def test_health_and_metrics() -> None:
    async with world() as w, httpx.AsyncClient(base_url=w.http) as http:
        await w.come("doc", "doctor")
        assert (await http.get("/telemed/health")).json() == {"status": "ok"}
        text = (await http.get("/telemed/metrics")).text
        assert 'telemed_rooms{state="admitted"} 1' in text
        assert 'telemed_participants{role="doctor",via="ws"} 1' in text
        assert 'telemed_hellos_total{result="joined"} 1' in text
        assert "# TYPE telemed_rooms gauge" in text


async def test_a_resume_token_is_renewed_before_it_ends() -> None:
    async with world(resume_seconds=3) as w:
        doctor = await w.come("doc", "doctor")
        token = (await doctor.hear("token"))["resume"]
        assert token != doctor.welcome["resume"]


async def test_who_stays_silent_is_cut_off_and_expected_back() -> None:
    async with world(silence_seconds=0.6) as w:
        doctor = await w.come("doc", "doctor")
        error = await doctor.hear("error")
        assert (error["code"], error["fatal"]) == ("silence", True)
        assert await doctor.code() == 4408
        assert "doc" in w.app.state.rooms.rooms["r1"].participants
        again = await w.client()
        hello = {"type": "hello", "resume": {"token": doctor.welcome["resume"], "seq": doctor.seq}, "client": doctor.secret}
        assert (await again.ask(hello))["type"] == "resumed"
        for _ in range(4):
            await asyncio.sleep(0.3)
            assert (await again.ask({"type": "ping"}))["type"] == "pong"
