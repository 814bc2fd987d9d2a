"""The client's side of the protocol, against a scripted relay: replies, coming back, what is final."""

import asyncio

import pytest

from telemed.client import Client, Ended, Refused
from tests.telemed.client.relay import Message, ScriptedRelay


async def test_hello_carries_the_token_and_welcome_is_the_room() -> None:
    async with ScriptedRelay() as relay, Client(relay.url, "token", agent="test") as client:
        hello = relay.hellos[0]
        assert (hello["type"], hello["token"], hello["agent"], hello["version"]) == ("hello", "token", "test", 1)
        assert len(hello["client"]) >= 16
        assert (client.you["id"], client.room["id"]) == ("me", "room")


async def test_open_mode_names_the_room() -> None:
    async with ScriptedRelay() as relay, Client(relay.url, room="r1", participant="p1", name="An", role="nurse"):
        hello = relay.hellos[0]
        assert "token" not in hello
        assert (hello["room"], hello["participant"], hello["name"], hello["role"]) == ("r1", "p1", "An", "nurse")


async def test_an_error_is_raised_where_it_was_asked() -> None:
    refused = {"type": "error", "code": "not-allowed", "text": {"en": "No.", "vi": "Không."}}
    async with ScriptedRelay(lambda relay, message: refused) as relay, Client(relay.url, "token") as client:
        with pytest.raises(Refused, match="not-allowed") as caught:
            await client.chat("hello")
        assert caught.value.code == "not-allowed"


async def test_after_a_lost_link_it_resumes_and_gets_what_it_missed() -> None:
    async with ScriptedRelay() as relay, Client(relay.url, "token") as client:
        relay.cut()
        await relay.say({"type": "chat", "message": {"id": 1, "text": "missed"}})
        await client.until("chat")
        assert [m["text"] for m in client.messages] == ["missed"]
        assert relay.hellos[1]["resume"] == {"token": "resume-1", "seq": 1}
        assert "token" not in relay.hellos[1]
        assert relay.hellos[0]["client"] == relay.hellos[1]["client"]


async def test_a_request_whose_reply_was_lost_is_sent_again() -> None:
    def answer(relay: ScriptedRelay, message: Message) -> Message | None:
        if len(relay.hellos) == 1:
            relay.cut()
            return None
        return {"type": "ok"}

    async with ScriptedRelay(answer) as relay, Client(relay.url, "token") as client:
        await client.chat("hello")
        sent = [m for m in relay.got if m["type"] == "chat"]
        assert [m["text"] for m in sent] == ["hello", "hello"]
        assert sent[0]["id"] == sent[1]["id"]


async def test_a_relay_that_restarts_is_found_again() -> None:
    async with ScriptedRelay() as relay, Client(relay.url, "token") as client:
        await relay.down()
        relay.forget = True
        back = asyncio.create_task(client.until("welcome"))
        await asyncio.sleep(0.5)
        assert not client.signalling.up
        await relay.up()
        event = await back
        assert event.message["restored"]
        await client.chat("still here")


@pytest.mark.parametrize(("kind", "code"), [("removed", 4403), ("ended", 4410), ("replaced", 4409)])
async def test_what_is_final_ends_the_events_and_every_request(kind: str, code: int) -> None:
    async with ScriptedRelay() as relay, Client(relay.url, "token") as client:
        seen: list[str] = []

        async def listen() -> None:
            async for event in client.events():
                seen.append(event.type)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await relay.say({"type": kind})
        await relay.close(code)
        await asyncio.wait_for(listening, 5)
        assert seen[0] == kind
        assert seen[-1] == "over"
        with pytest.raises(Ended) as caught:
            await client.chat("too late")
        assert (caught.value.code, caught.value.reason) == (code, kind)
        assert len(relay.hellos) == 1


async def test_a_refused_token_is_refused_at_the_door() -> None:
    async with ScriptedRelay() as relay:
        relay.refuse = ({"code": "token", "text": {"en": "Not valid."}}, 4401)
        with pytest.raises(Refused, match="token"):
            async with Client(relay.url, "forged"):
                pass
        assert len(relay.hellos) == 1


async def test_an_ended_resume_token_is_replaced_by_a_new_join_token() -> None:
    tokens = iter(("first", "second"))

    async def token() -> str:
        return next(tokens)

    async with ScriptedRelay() as relay, Client(relay.url, token) as client:
        relay.refuse = ({"code": "token-ended", "text": {"en": "Too old."}}, 4401)
        relay.cut()
        await client.until("error")
        relay.refuse = None
        if relay.hellos[-1].get("token") != "second":
            await client.until("welcome")
        assert relay.hellos[0]["token"] == "first"
        assert relay.hellos[-1]["token"] == "second"


async def test_nobody_at_the_address_is_an_error_at_once() -> None:
    with pytest.raises(OSError):
        async with Client("ws://127.0.0.1:1/telemed/ws", "token"):
            pass


async def test_who_waits_is_told_when_admitted() -> None:
    async with ScriptedRelay() as relay:
        relay.admitted = False
        async with Client(relay.url, "token") as client:
            with pytest.raises(TimeoutError):
                await client.admitted(0.1)
            waiting = asyncio.create_task(client.admitted(5))
            await relay.say({
                "type": "admitted", "by": "p-71", "you": {"id": "me", "state": "admitted"}, "room": {"id": "room"}, "participants": [],
                "waiting": [], "tracks": [], "chat": [], "ice_servers": [], "resume": "resume-2",
            })  # fmt: skip
            await waiting
            assert client.signalling.resume == "resume-2"


async def test_the_lists_follow_what_is_told() -> None:
    async with ScriptedRelay() as relay, Client(relay.url, "token") as client:
        await relay.say({"type": "joined", "participant": {"id": "p-1", "name": "An"}})
        track = {"id": "t-1", "participant": "p-1", "kind": "audio", "source": "microphone", "name": ""}
        await relay.say({"type": "track-added", "track": track})
        assert await client.track("audio") == "t-1"
        assert client.participants["p-1"]["name"] == "An"
        await relay.say({"type": "track-removed", "track": "t-1"})
        await relay.say({"type": "left", "participant": "p-1", "reason": "left"})
        await client.until("left")
        assert not client.tracks
        assert not client.participants
