"""Messages for later through a front, with several relays: who may send and read them, and that they are found and outlive their relay."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from telemed.pieces.routes import BURST, CONTENT, PATH
from telemed.signal.once import digest
from telemed.tokens import Tokens
from tests.telemed.hub.cluster import Cluster
from tests.telemed.rooms.world import SECRET

VIDEO = base64.b64encode(b"video/webm").decode()


def shown(token: str, client: str = "") -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"} | ({"Telemed-Client": client} if client else {})


async def send(http: httpx.AsyncClient, who: dict[str, str], data: bytes) -> str:
    """A message in two pieces; where it is."""
    metadata = f"filetype {VIDEO},name {base64.b64encode(b'Somebody Else').decode()}"
    made = await http.post(PATH, headers={**who, "Upload-Length": str(len(data)), "Upload-Metadata": metadata})
    assert made.status_code == 201, made.text
    at, half = made.headers["location"], len(data) // 2
    for start, stop in ((0, half), (half, len(data))):
        head = {**who, "Upload-Offset": str(start), "Content-Type": CONTENT}
        answer = await http.patch(at, content=data[start:stop], headers=head)
        assert answer.status_code == 204, answer.text
    return str(at)


async def test_a_message_reaches_the_doctor_and_outlives_its_relay(c: Cluster, tmp_path: Path) -> None:
    for node in ("a", "b"):
        await c.relay(node, messages=str(tmp_path / node), disk_free=0)
    front = await c.front()
    doctor, patient = await c.come("d", "doctor"), await c.come("p", "patient")
    assert doctor.welcome["limits"]["messages"]
    data = os.urandom(300_000)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
        me = shown(patient.welcome["resume"], patient.secret)
        at = await send(http, me, data)
        there = await http.head(at, headers=me)
        assert (there.status_code, there.headers["upload-offset"], there.content) == (200, str(len(data)), b"")
        told = (await doctor.hear("message"))["message"]
        assert (told["from"], told["name"], told["type"], told["length"]) == ("p", "Tên p", "video/webm", len(data))
        reader = shown(doctor.welcome["resume"], doctor.secret)
        assert (await http.get(PATH, headers=reader)).json()["messages"] == [told]
        assert (await http.get(f"{PATH}/{told['id']}", headers=reader)).content == data
        # Who sits elsewhere sees nothing, who may not receive people sees their own, who has the token alone is nobody.
        other = shown(c.token("x", "doctor", "r2"))
        assert (await http.get(PATH, headers=other)).json() == {"messages": []}
        assert (await http.get(at, headers=other)).status_code == 404
        assert (await http.head(at, headers=shown(c.token("d", "doctor")))).status_code == 404
        assert [m["id"] for m in (await http.get(PATH, headers=me)).json()["messages"]] == [told["id"]]
        assert (await http.get(PATH, headers=shown(c.token("q", "patient")))).json() == {"messages": []}
        for nobody in (shown(patient.welcome["resume"]), shown(patient.welcome["resume"], "client-secret-of-d"), shown("x.y.z"), {}):
            assert (await http.get(PATH, headers=nobody)).status_code == 401
        watcher = shown(c.token("w", "observer"))
        assert (await http.post(PATH, headers={**watcher, "Upload-Length": "5"})).status_code == 403
        home = c.of("r1")
        found = await c.directories[0].events(100)
        events = [json.loads(e) for _, e in found]
        while not (heard := [e for e in events if e["event"] == "message"]):
            events = [json.loads(e) for _, e in await c.directories[0].events(100)]
        assert (heard[0]["message"], heard[0]["participant"], heard[0]["room"]) == (told["id"], "p", "r1")
        # Its relay dies and the room moves; until it is back the list is short, and then the message is there again.
        await home.kill()
        again = await c.again(doctor, doctor.welcome["resume"])
        assert again.welcome["type"] == "welcome"
        assert (await http.get(PATH, headers=reader)).json() == {"messages": []}
        back = await c.relay(home.agent.node.id, messages=str(tmp_path / home.agent.node.id), disk_free=0)
        assert back is not c.of("r1")
        while not (seen := (await http.get(PATH, headers=reader)).json()["messages"]):
            continue
        assert [m["id"] for m in seen] == [told["id"]]
        assert (await http.get(f"{PATH}/{told['id']}", headers={**reader, "Range": "bytes=10-19"})).content == data[10:20]
        assert (await http.delete(at, headers=me)).status_code == 204
        assert (await http.get(PATH, headers=reader)).json() == {"messages": []}
        await again.close()


async def test_a_message_may_come_days_after_the_room_and_reading_takes_a_token_of_now(
    c: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await c.relay("a", messages=str(tmp_path / "a"), disk_free=0, messages_pending_days=3)
    front = await c.front()
    clock: list[float] = [-2 * 86_400]
    import time

    past = Tokens(SECRET, now=lambda: time.time() + clock[0])
    identity = c.tokens.verify(c.token("p", "patient"))
    old = past.issue_resume(identity, "s", digest("the client's own secret"), 3600)
    clock[0] = -4 * 86_400
    older = past.issue_resume(identity, "s", digest("the client's own secret"), 3600)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
        late = shown(old, "the client's own secret")
        await send(http, late, b"x" * 1000)
        assert (await http.get(PATH, headers=late)).status_code == 401
        assert (await http.post(PATH, headers={**shown(older, "the client's own secret"), "Upload-Length": "5"})).status_code == 401
        seen = (await http.get(PATH, headers=shown(c.token("d", "doctor")))).json()["messages"]
        assert [m["from"] for m in seen] == ["p"]


async def test_limits_of_size_number_and_rate(c: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.pieces.routes.RATE", 0.0)  # the burst is all there is
    await c.relay("a", messages=str(tmp_path / "a"), disk_free=0, messages_each=1000, messages_count=2)
    front = await c.front()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
        me = shown(c.token("p", "patient"))

        async def create(length: int) -> httpx.Response:
            return await http.post(PATH, headers={**me, "Upload-Length": str(length)})

        assert (await create(1001)).status_code == 413
        assert [(await create(10)).status_code for _ in range(3)] == [201, 201, 429]
        assert {(await http.get(PATH, headers=me)).status_code for _ in range(BURST - 4)} == {200}
        answer: Any = await http.get(PATH, headers=me)
        assert answer.status_code == 429
        assert answer.json()["code"] == "rate"
        assert answer.headers["retry-after"]
        assert (await http.get(PATH, headers=shown(c.token("q", "patient")))).status_code == 200, "of one participant only"


async def test_who_was_removed_sends_nothing(c: Cluster, tmp_path: Path) -> None:
    await c.relay("a", messages=str(tmp_path / "a"), disk_free=0)
    front = await c.front()
    doctor, patient = await c.come("d", "doctor"), await c.come("p", "patient")
    await doctor.ask({"type": "remove", "participant": "p"})
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
        me = shown(patient.welcome["resume"], patient.secret)
        assert (await http.post(PATH, headers={**me, "Upload-Length": "5"})).status_code == 403
