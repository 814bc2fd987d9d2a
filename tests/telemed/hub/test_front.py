"""Rooms on several relays, reached through fronts: placed once, kept over deaths, and nobody in by another door."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from telemed.directory.ports import Node
from telemed.sealed import pass_word
from tests.telemed.hub.cluster import Cluster
from tests.telemed.rooms.fake import BOTH, WATCH
from tests.telemed.rooms.world import SECRET, until


async def test_a_consultation_through_a_front(c: Cluster) -> None:
    await c.relay("a")
    await c.front()
    doctor = await c.come("d", "doctor")
    patient = await c.come("p", "patient")
    assert patient.welcome["you"]["state"] == "waiting"
    await doctor.hear("waiting")
    assert (await doctor.ask({"type": "admit", "participant": "p"}))["type"] == "ok"
    await patient.hear("admitted")
    await patient.ask({"type": "chat", "text": "Chào bác sĩ"})
    assert (await doctor.hear("chat"))["message"]["text"] == "Chào bác sĩ"
    await doctor.send({"type": "end", "id": 9})
    assert await patient.code() == 4410
    assert await doctor.code() == 4410


async def test_rooms_are_spread_and_each_is_on_one_relay_whatever_front_is_asked(c: Cluster) -> None:
    for node in ("a", "b", "c"):
        await c.relay(node)
    fronts = [await c.front() for _ in range(3)]

    async def one(n: int, k: int) -> Any:
        return await c.come(f"d{k}", "doctor", f"room-{n}", fronts[k].port)

    clients = await asyncio.gather(*(one(n, k) for n in range(12) for k in range(3)))
    held = [r.rooms for r in c.relays]
    assert set.union(*held) == {f"room-{n}" for n in range(12)}
    assert sum(map(len, held)) == 12, "no room is on two relays"
    assert all(2 <= len(rooms) <= 6 for rooms in held), held
    for client in clients:
        await client.close()


async def test_rooms_that_come_at_once_are_not_heaped_on_one_relay(c: Cluster) -> None:
    nodes = [Node(name, f"127.0.0.1:{n}") for n, name in enumerate("abc", 1)]
    for _ in range(3):
        await c.front()
    for node in nodes:
        await c.directories[0].beat(node, [])
    placed = await asyncio.gather(*(c.directories[n % 3].place(f"room-{n}") for n in range(60)))
    assert Counter(node.id for node in placed) == {"a": 20, "b": 20, "c": 20}


async def test_a_relay_that_dies_is_replaced_by_another_and_the_room_goes_on(c: Cluster) -> None:
    for node in ("a", "b"):
        await c.relay(node)
    await c.front()
    doctor, patient = await c.come("d", "doctor"), await c.come("p", "patient")
    await doctor.ask({"type": "admit", "participant": "p"})
    admitted = await patient.hear("admitted")
    await doctor.ask({"type": "chat", "text": "Huyết áp 150/95"})
    home = c.of("r1")
    other = next(r for r in c.relays if r is not home)
    await until(lambda: not home.agent._unsaved and not home.app.state.rooms.rooms["r1"].dirty)
    await asyncio.sleep(0.3)
    await home.kill()
    assert await patient.code() == 1012
    assert await doctor.code() == 1012
    back = await c.again(patient, admitted["resume"], patient.seq)
    assert back.welcome["type"] == "welcome"
    assert back.welcome["you"]["state"] == "admitted", "without waiting again"
    assert back.welcome["restored"] is True
    assert [m["text"] for m in back.welcome["chat"]] == ["Huyết áp 150/95"]
    assert other.rooms == {"r1"}
    returned = await c.again(doctor, doctor.welcome["resume"], doctor.seq)
    assert {p["id"] for p in returned.welcome["participants"]} == {"p"}
    await back.close()
    await returned.close()


async def test_one_relay_that_restarts_is_waited_for(c: Cluster) -> None:
    home = await c.relay("a")
    await c.front()
    doctor = await c.come("d", "doctor")
    await doctor.ask({"type": "chat", "text": "một"})
    await until(lambda: not home.agent._unsaved and not home.app.state.rooms.rooms["r1"].dirty)
    await asyncio.sleep(0.3)
    await home.kill()
    assert await doctor.code() == 1012
    coming = asyncio.create_task(c.again(doctor, doctor.welcome["resume"], doctor.seq))
    await asyncio.sleep(0.5)
    c.relays.remove(home)
    new = await c.relay("a")
    back = await coming
    assert [m["text"] for m in back.welcome["chat"]] == ["một"]
    assert new.rooms == {"r1"}
    await back.close()


async def test_a_removed_one_and_an_ended_room_stay_so_on_another_relay(c: Cluster) -> None:
    for node in ("a", "b"):
        await c.relay(node)
    await c.front()
    doctor, patient = await c.come("d", "doctor"), await c.come("p", "patient")
    await doctor.ask({"type": "end"})
    assert await patient.code() == 4410
    home = next(r for r in c.relays if "r1" in r.app.state.rooms._ended)
    await until(lambda: not home.agent._unsaved and not home.agent._events)
    await home.kill()
    late = await c.client()
    reply = await late.ask({"type": "hello", "resume": {"token": patient.welcome["resume"], "seq": 1}, "client": patient.secret})
    assert reply["code"] == "ended"
    assert await late.code() == 4410


async def test_a_relay_that_hung_gives_its_rooms_up(c: Cluster) -> None:
    home = await c.relay("a")
    await c.front()
    doctor = await c.come("d", "doctor")
    await until(lambda: not home.agent._unsaved)
    await c.relay("b")
    nodes = {n.id: n for n in await c.directories[0].nodes()}
    await home.directory._run("UPDATE telemed.node SET seen = 0 WHERE id = $1", "a")  # type: ignore[attr-defined]
    assert (await c.directories[0].place("r1")).id == "b"
    assert set(nodes) == {"a", "b"}
    assert await doctor.code() == 1012
    assert home.rooms == set()
    back = await c.again(doctor, doctor.welcome["resume"], doctor.seq)
    assert back.welcome["you"]["state"] == "admitted"
    assert c.of("r1").agent.node.id == "b"
    await back.close()


async def test_a_relay_that_stops_hands_over(c: Cluster) -> None:
    a = await c.relay("a")
    await c.front()
    doctor = await c.come("d", "doctor")
    await doctor.ask({"type": "chat", "text": "một"})
    await c.relay("b")
    await a.stop()
    assert await doctor.code() == 1012
    back = await c.again(doctor, doctor.welcome["resume"], doctor.seq)
    assert [m["text"] for m in back.welcome["chat"]] == ["một"]
    assert c.relays[1].rooms == {"r1"}
    await back.close()


async def test_whip_and_whep_through_a_front(c: Cluster) -> None:
    for node in ("a", "b"):
        await c.relay(node)
    front = await c.front()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
        token = c.token("cam", "device")
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        made = await http.post("/telemed/whip/r1", content=BOTH, headers=head)
        assert made.status_code == 201, made.text
        assert "a=ice-lite" in made.text
        watcher = c.token("w", "observer", admitted=True)
        seen = await http.post(
            "/telemed/whep/r1", content=WATCH, headers={"Authorization": f"Bearer {watcher}", "Content-Type": "application/sdp"}
        )
        assert seen.status_code == 201, seen.text
        assert [len(r.rooms) for r in c.relays].count(1) == 1
        patch = {"Authorization": f"Bearer {token}", "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": made.headers["etag"]}
        lines = ["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "m=audio 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0"]
        frag = "\r\n".join([*lines, "a=candidate:1 1 udp 1 192.0.2.9 9 typ host", ""])
        assert (await http.patch(made.headers["location"], content=frag, headers=patch)).status_code == 204
        assert (await http.delete(made.headers["location"], headers=patch)).status_code == 200
        assert (await http.get("/telemed/whip/r1")).status_code == 405
        assert (await http.post("/telemed/whip/r1", content=BOTH, headers={"Content-Type": "application/sdp"})).status_code == 401
        assert (await http.get("/telemed/health")).json() == {"status": "ok"}
        for hidden in ("/telemed/metrics", "/telemed/node", "/telemed/", "/telemed/whip", "/telemed/whip/a/b/c"):
            assert (await http.get(hidden)).status_code == 404, hidden


async def test_tokens_that_open_nothing_place_nothing_and_are_refused_in_the_protocols_words(c: Cluster) -> None:
    await c.relay("a")
    front = await c.front()
    for hello, code in (
        ({"type": "hello", "token": "x.y.z"}, 4401), ({"type": "hello", "token": 5}, 4400), ({"type": "chat", "text": "a"}, 4400),
        ({"type": "hello", "room": "r1"}, 4401), ({"type": "hello", "resume": {"token": "x", "seq": 1}}, 4401),
    ):  # fmt: skip
        client = await c.client()
        await client.send(hello)
        assert await client.code() == code, hello
    for words in ("[" * 100_000, "\udc00", "{", "x" * 300_000, ""):
        client = await c.client()
        try:
            await client.socket.send(words.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
        finally:
            assert await client.code() in (4400, 4413)
    client = await c.client()
    await client.socket.send(b"\x00\x01")
    assert await client.code() == 4400
    client = await c.client()
    assert (await client.ask({"type": "ping"}))["type"] == "pong"
    await client.close()
    assert await c.directories[0]._run("SELECT * FROM telemed.room") == []  # type: ignore[attr-defined]
    del front


async def test_nobody_but_a_front_comes_to_a_relay(c: Cluster) -> None:
    relay = await c.relay("a")
    with pytest.raises(InvalidStatus):
        await c.client(relay.port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{relay.port}") as http:
        for headers in ({}, {"x-telemed-front": "0" * 64}, {"x-telemed-front": SECRET}):
            assert (await http.post("/telemed/whip/r1", content=BOTH, headers=headers)).status_code == 403
        good = {"x-telemed-front": pass_word(SECRET)}
        assert (await http.post("/telemed/whip/r1", content=BOTH, headers=good)).status_code == 415


async def test_without_a_relay_clients_are_told_to_try_again(c: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.front.PATIENCE", 0.2)
    front = await c.front()
    client = await c.client()
    await client.send({"type": "hello", "token": c.token("d", "doctor")})
    assert await client.code() == 1013
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
        assert (await http.get("/telemed/health")).status_code == 503
        answer = await http.post("/telemed/whip/r1", content=BOTH)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


async def test_events_wait_for_the_hub_in_order(c: Cluster) -> None:
    relay = await c.relay("a")
    await c.front()
    doctor = await c.come("d", "doctor")
    await doctor.ask({"type": "end"})
    await until(lambda: not relay.agent._events)
    found = await c.directories[0].events(100)
    assert [json.loads(data)["event"] for _, data in found] == ["opened", "admitted", "state", "state", "ended"]
    await c.directories[0].done([n for n, _ in found[:2]])
    assert [n for n, _ in await c.directories[0].events(100)] == [n for n, _ in found[2:]]
