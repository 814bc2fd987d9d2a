"""Clients that mean harm or are broken: refused within bounds, and the others go on."""

import asyncio
import contextlib
import gc
import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemed.signal.bucket import Bucket
from telemed.signal.messages import Bad, decode, shallow
from tests.telemed.rooms.world import until, world


@pytest.mark.parametrize(
    "raw",
    ["", "{", "[]", "null", '"hello"', "1", "{}", '{"type":5}', '{"type":"hello","version":"1"}', '{"type":"hello","client":"short"}',
     '{"type":"chat","text":"x"}',
     '{"type":"hello","token":5}', "[" * 100_000, '{"a":' * 50_000, '{"type":"hello","x":NaN}', '{"type":"hello","resume":{}}'],
)  # fmt: skip
async def test_the_first_message_is_a_good_hello_or_the_last(raw: str) -> None:
    async with world() as w:
        client = await w.client()
        await client.socket.send(raw)
        assert await client.code() in (4400, 4401)
        assert client.got[0]["fatal"] is True


async def test_binary_is_refused() -> None:
    async with world() as w:
        client = await w.client()
        await client.socket.send(b"\x00\x01")
        assert await client.code() == 4400


async def test_a_message_over_the_limit_ends_the_connection() -> None:
    async with world(message_bytes=10_000) as w:
        doctor = await w.come("doc", "doctor")
        await doctor.send({"type": "data", "label": "x", "data": "x" * 10_001})
        assert await doctor.code() == 4413
        doctor = await w.come("doc", "doctor")
        await doctor.socket.send(json.dumps({"type": "data", "label": "x", "data": "ế" * 4000}, ensure_ascii=False))
        assert await doctor.code() == 4413
        doctor = await w.come("doc", "doctor")
        await doctor.socket.send("x" * 50_000)
        assert await doctor.code() == 1009


async def test_without_hello_the_time_is_short() -> None:
    async with world(hello_seconds=0.5) as w:
        client = await w.client()
        assert (await client.ask({"type": "ping"}))["type"] == "pong"
        assert await client.code() == 4408


async def test_half_open_sessions_keep_nobody_out() -> None:
    async with world(pending=20) as w:
        silent = [await w.client() for _ in range(60)]
        assert w.app.state.server.connections[1] <= 20
        doctor = await w.come("doc", "doctor")
        assert doctor.welcome["type"] == "welcome"
        assert await silent[0].code() == 1013
        for client in silent:
            await client.close()
        await until(lambda: w.app.state.server.connections == (1, 0))


async def test_one_who_talks_too_fast_is_slowed_then_cut() -> None:
    async with world(rate=1.0, burst=5) as w:
        other = await w.come("pat", "patient", admitted=True)
        doctor = await w.come("doc", "doctor")
        for _ in range(300):
            await doctor.send({"type": "hand", "up": True})
        assert await doctor.code() == 4429
        assert sum(m["type"] == "error" for m in doctor.got) == 2
        assert (await other.ask({"type": "ping"}))["type"] == "pong"


async def test_one_who_reads_nothing_is_cut_and_the_others_hear_everything() -> None:
    async with world(send_buffer=16_384, backlog_bytes=200_000, rate=1e6, burst=10_000) as w:
        doctor = await w.come("doc", "doctor")
        raw = socket.create_connection(("127.0.0.1", w.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(
            raw,
            b"GET /telemed/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        await loop.sock_recv(raw, 100)
        hello = json.dumps({"type": "hello", "token": w.token("pat", "patient", admitted=True), "client": "c" * 20}).encode()
        await loop.sock_sendall(raw, b"\x81\xfe" + len(hello).to_bytes(2, "big") + b"\0\0\0\0" + hello)
        await doctor.hear("joined")
        said = 0
        while w.app.state.server.connections[0] == 2 and said < 2000:
            await doctor.ask({"type": "chat", "text": "x" * 4000})
            doctor.got.clear()
            said += 1
        assert said < 2000
        assert w.app.state.rooms.rooms["r1"].participants["pat"].down_at is not None
        raw.close()


async def test_a_flood_of_connections_leaves_no_tasks_behind() -> None:
    async with world() as w:
        before = len(asyncio.all_tasks())
        for _ in range(50):
            client = await w.client()
            await client.socket.send('{"type":"hello","token":"x"}')
            await client.cut()
        await until(lambda: w.app.state.server.connections == (0, 0))
        await until(lambda: len(asyncio.all_tasks()) <= before)
        gc.collect()
        assert not w.app.state.rooms.rooms


async def test_a_fault_in_the_relay_is_an_error_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        doctor = await w.come("doc", "doctor")

        def fail(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(w.relay, "join", fail)
        assert (await doctor.ask({"type": "offer", "sdp": "v=0\r\nm=audio 9 x 0\r\na=mid:0\r\na=recvonly\r\n"}))["code"] == "internal"
        assert (await doctor.ask({"type": "ping"}))["type"] == "pong"


async def test_participants_are_bounded() -> None:
    async with world(sessions=2) as w:
        await w.come("a", "doctor")
        await w.come("b", "doctor", room="r2")
        third = await w.come("c", "doctor", room="r3")
        assert third.welcome["code"] == "full"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
TYPES = ["hello", "offer", "candidate", "bind", "mute", "prefer", "chat", "data", "admit", "record", "consent", "report", "ice", "x"]
FIELDS = ["id", "sdp", "publish", "wanted", "mid", "track", "text", "data", "label", "participant", "all", "on", "given", "resume"]


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(FIELDS), JSON))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_a_message_or_bad(kind: str, fields: dict[str, Any]) -> None:
    with contextlib.suppress(Bad):
        decode(json.dumps({"type": kind, **fields}))


@given(st.text())
def test_any_text_is_a_message_or_bad(raw: str) -> None:
    with pytest.raises(Bad):
        decode(raw)


def test_nesting_is_bounded() -> None:
    value: Any = 1
    for _ in range(15):
        value = [value]
    assert shallow(value)
    assert not shallow([[value]])


def test_a_bucket_gives_a_burst_then_the_rate() -> None:
    bucket = Bucket(2.0, 3, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.6)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
