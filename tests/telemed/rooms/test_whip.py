"""WHIP (RFC 9725) and WHEP: devices and programs in the room."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed import sdpfrag, whip
from telemed.ports import PeerState
from telemed.rooms.refused import Refused
from tests.telemed.rooms.fake import BOTH, WATCH, offer
from tests.telemed.rooms.world import World, until, world

SDP = {"Content-Type": "application/sdp"}
FRAG = {"Content-Type": "application/trickle-ice-sdpfrag"}
CANDIDATE = f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 24}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n"


@contextlib.asynccontextmanager
async def ward(**given: Any) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    async with world(**given) as w, httpx.AsyncClient(base_url=w.http) as http:
        yield w, http


def bearer(w: World, participant: str, role: str, **more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {w.token(participant, role, **more)}"}


async def test_an_ultrasound_machine_publishes_and_leaves() -> None:
    async with ward(stun=("stun:t.example:3478",), turn=("turn:t.example:3478?transport=udp",), turn_secret="north") as (w, http):
        doctor = await w.come("doc", "doctor")
        auth = bearer(w, "us1", "device")
        made = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | auth)
        assert made.status_code == 201
        assert made.headers["content-type"] == "application/sdp"
        assert made.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
        assert made.headers["etag"].startswith('"')
        assert made.headers["location"].startswith("/telemed/whip/r1/")
        assert '<stun:t.example:3478>; rel="ice-server"' in made.headers["link"]
        assert 'credential-type="password"' in made.headers["link"]
        joined = (await doctor.hear("joined"))["participant"]
        assert (joined["id"], joined["role"], joined["via"]) == ("us1", "device", "whip")
        assert [(await doctor.hear("track-added"))["track"]["source"] for _ in range(2)] == ["device", "device"]
        gone = await http.delete(made.headers["location"], headers=auth)
        assert gone.status_code == 200
        assert (await doctor.hear("left", participant="us1"))["reason"] == "left"
        assert w.relay.peer("us1").closed
        assert (await http.delete(made.headers["location"], headers=auth)).status_code == 404
        assert not w.app.state.http.sessions


async def test_trickle_and_ice_restart() -> None:
    async with ward() as (w, http):
        auth = bearer(w, "us1", "device")
        made = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | auth)
        at, etag = made.headers["location"], made.headers["etag"]

        async def patch(body: str, **headers: str) -> httpx.Response:
            return await http.patch(at, content=body, headers=FRAG | auth | headers)

        assert (await patch(CANDIDATE)).status_code == 428
        assert (await patch(CANDIDATE, **{"If-Match": '"other"'})).status_code == 412
        assert (await patch(CANDIDATE, **{"If-Match": etag, "Content-Type": "text/plain"})).status_code == 415
        assert (await patch("nonsense", **{"If-Match": etag})).status_code == 400
        assert (await patch("a=ice-ufrag:x\r\n", **{"If-Match": etag})).status_code == 400
        done = await patch(CANDIDATE + "a=end-of-candidates\r\n", **{"If-Match": etag})
        assert (done.status_code, done.content) == (204, b"")
        peer = w.relay.peer("us1")
        assert peer.calls[-2:] == [("candidate", "candidate:1 1 udp 1 192.0.2.9 9 typ host", "0"), ("candidate", "", "0")]
        restart = await patch(CANDIDATE.replace("abcd", "efgh"), **{"If-Match": "*"})
        assert restart.status_code == 200
        assert restart.headers["content-type"] == "application/trickle-ice-sdpfrag"
        assert restart.headers["etag"] != etag
        answered = sdpfrag.parse(restart.text)
        assert (answered.ufrag, answered.candidates[0]) == ("srv2", ("0", "candidate:1 1 udp 1 192.0.2.1 5000 typ host"))
        assert (await patch(CANDIDATE.replace("abcd", "efgh"), **{"If-Match": etag})).status_code == 412
        assert (await patch(CANDIDATE.replace("abcd", "efgh"), **{"If-Match": restart.headers["etag"]})).status_code == 204
        assert len(peer.published) == 2
        assert w.event_names().count("track") == 2


async def test_a_watcher_waits_for_a_publisher_with_empty_lines() -> None:
    async with ward() as (w, http):
        made = await http.post("/telemed/whep/r1", content=WATCH, headers=SDP | bearer(w, "eye", "watcher", admitted=True))
        assert made.status_code == 201
        peer = w.relay.peer("eye")
        assert peer.calls[0] == ("negotiate", {}, {}, frozenset())
        auth = bearer(w, "us1", "device")
        published = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | auth)
        tracks = {mid: track.id for mid, track in w.relay.peer("us1").published.items()}
        assert peer.bound == tracks
        await http.delete(published.headers["location"], headers=auth)
        assert peer.bound == {"0": None, "1": None}


async def test_a_watcher_of_one_participant() -> None:
    async with ward() as (w, http):
        for id in ("us1", "us2"):
            await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | bearer(w, id, "device"))
        both = offer(("audio", "sendrecv"), ("video", "sendrecv"))  # as some players offer
        made = await http.post("/telemed/whep/r1?participant=us2", content=both, headers=SDP | bearer(w, "eye", "watcher", admitted=True))
        assert made.status_code == 201
        assert w.relay.peer("eye").bound == {mid: t.id for mid, t in w.relay.peer("us2").published.items()}
        doctor = await w.come("doc", "doctor")
        assert (doctor.welcome["room"]["watchers"], [p["id"] for p in doctor.welcome["participants"]]) == (1, ["us1", "us2"])


async def test_refusals_say_why() -> None:
    async with ward() as (w, http):
        good = bearer(w, "us1", "device")

        async def status(path: str = "/telemed/whip/r1", body: str = BOTH, **headers: str) -> tuple[int, str]:
            answer = await http.post(path, content=body, headers=SDP | good | {k.replace("_", "-"): v for k, v in headers.items()})
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["title_vi"]
            return answer.status_code, problem["code"]

        assert await status(Content_Type="text/plain") == (415, "bad-message")
        assert await status(body="x" * 70_000) == (413, "too-long")
        assert await status(body="hello") == (400, "sdp")
        assert await status(body=WATCH) == (422, "sdp")
        assert await status(body=offer(("audio", "sendonly"), codec="bad-codec/90000")) == (422, "codec")
        assert await status(Authorization="Bearer x") == (401, "token")
        assert await status(Authorization="Basic eDp4") == (401, "token")
        assert await status(path="/telemed/whip/r2") == (401, "token")
        assert await status(path="/telemed/whip/a%20b") == (404, "bad-message")
        assert await status(Authorization=bearer(w, "p", "patient")["Authorization"]) == (403, "not-admitted")
        assert await status(Authorization=bearer(w, "o", "observer", admitted=True)["Authorization"]) == (403, "not-allowed")
        assert await status("/telemed/whep/r1", BOTH) == (422, "sdp")
        await w.come("doc", "doctor")
        assert await status(Authorization=bearer(w, "doc", "doctor")["Authorization"]) == (409, "conflict")
        assert "us1" not in w.app.state.rooms.rooms["r1"].participants
        assert not w.app.state.http.sessions
        w.app.state.rooms.end("r1")
        assert await status() == (410, "ended")


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whip, "BODY_SECONDS", 0.2)

    async with ward() as (w, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", w.port)
        writer.write(b"POST /telemed/whip/r1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 100\r\n\r\nv=0")
        assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
        writer.close()
        await writer.wait_closed()


async def test_only_the_one_who_opened_a_session_changes_it() -> None:
    async with ward() as (w, http):
        auth = bearer(w, "us1", "device")
        made = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | auth)
        at = made.headers["location"]
        for headers in ({}, bearer(w, "us2", "device"), {"Authorization": "Bearer \xff"}):
            answer = await http.delete(at, headers={k: v.encode("latin-1") for k, v in headers.items()})  # type: ignore[arg-type]
            assert answer.status_code == 401
        assert (await http.delete(at.replace("whip", "whep"), headers=auth)).status_code == 404
        assert (await http.delete(at + "x", headers=auth)).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_405(method: str) -> None:
    async with ward() as (_, http):
        answer = await http.request(method, "/telemed/whip/r1")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
        if method not in ("PATCH", "DELETE"):
            assert (await http.request(method, "/telemed/whip/r1/x")).status_code == 405


async def test_pages_of_other_origins_may_publish_with_a_token() -> None:
    async with ward() as (w, http):
        asked = await http.options("/telemed/whip/r1", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == "https://a.example"
        assert "Authorization" in asked.headers["access-control-allow-headers"]
        assert asked.headers["accept-post"] == "application/sdp"
        made = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | bearer(w, "us1", "device") | {"Origin": "https://a.example"})
        assert "Location" in made.headers["access-control-expose-headers"]
        assert (await http.options(made.headers["location"])).status_code == 204


async def test_open_mode_needs_no_token_but_the_same_machine() -> None:
    async with ward(secret="", open=True) as (w, http):
        made = await http.post("/telemed/whip/demo?participant=cam1", content=BOTH, headers=SDP)
        assert made.status_code == 201
        assert (await http.post("/telemed/whep/demo", content=WATCH, headers=SDP)).status_code == 201
        assert {p.via for p in w.app.state.rooms.rooms["demo"].participants.values()} == {"whip", "whep"}
        assert (await http.delete(made.headers["location"])).status_code == 200
        foreign = await http.post("/telemed/whip/demo", content=BOTH, headers=SDP | {"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert "access-control-allow-origin" not in foreign.headers


async def test_publishing_again_with_the_same_token_replaces_the_older_session() -> None:
    async with ward() as (w, http):
        auth = bearer(w, "us1", "device")
        first = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | auth)
        second = await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | auth)
        assert second.status_code == 201
        assert list(w.app.state.http.sessions) == [second.headers["location"].rpartition("/")[2]]
        assert (await http.delete(first.headers["location"], headers=auth)).status_code == 404


async def test_a_device_whose_media_are_gone_leaves() -> None:
    async with ward(grace_seconds=0.2) as (w, http):
        await http.post("/telemed/whip/r1", content=BOTH, headers=SDP | bearer(w, "us1", "device"))
        peer = w.relay.peer("us1")
        peer.listener.on_state(PeerState.CONNECTED)
        peer.listener.on_state(PeerState.INTERRUPTED)
        await until(lambda: not w.app.state.http.sessions)
        assert peer.closed


@given(st.text())
def test_any_fragment_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Refused):
        sdpfrag.parse(text)


LINES = ["a=ice-ufrag:x", "a=ice-pwd:y", "m=audio 9 x 0", "a=mid:0", "a=candidate:1", "a=end-of-candidates", "junk", ""]


@given(st.lists(st.sampled_from(LINES)))
def test_any_order_of_lines_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(Refused):
        found = sdpfrag.parse("\r\n".join(lines))
        sdpfrag.fragment_of(sdpfrag.restarted("\r\n".join(lines), found))
