"""The Python client in a call through a relay of its own process: media both ways, devices by WHIP, lost links, a restart."""

import asyncio
import fractions
import random
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError

from bench.relay.relays import Ours
from telemed.client import Client, RawTrack, Received, Refused, whep, whip
from tests.telemed.impair import Impairment, Path


@pytest.fixture
async def relay() -> AsyncIterator[Ours]:
    process = Ours()
    await asyncio.to_thread(process.__enter__)
    yield process
    await asyncio.to_thread(process.stop)


def ws(relay: Ours) -> str:
    return relay.base.replace("http", "ws", 1) + "/ws"


async def frames(track: Received, count: int, seconds: float = 15) -> list[object]:
    async with asyncio.timeout(seconds):
        return [await track.recv() for _ in range(count)]


@asynccontextmanager
async def behind_a_link() -> AsyncIterator[tuple[Ours, Impairment]]:
    """A relay whose media goes over a link that a test can make bad."""
    async with Impairment() as link:
        relay = Ours(announce=link.address)
        link.target = ("127.0.0.1", relay.udp)
        await asyncio.to_thread(relay.__enter__)
        try:
            yield relay, link
        finally:
            await asyncio.to_thread(relay.stop)


async def test_two_people_see_and_hear_each_other(relay: Ours) -> None:
    async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        for client in (a, b):
            await client.publish(AudioStreamTrack())
            await client.publish(VideoStreamTrack())
        for client in (a, b):
            for kind, made in (("audio", av.AudioFrame), ("video", av.VideoFrame)):
                got = await client.subscribe(await client.track(kind))
                assert all(isinstance(f, made) for f in await frames(got, 5))


async def test_what_is_published_no_longer_is_gone_and_the_call_goes_on(relay: Ours) -> None:
    async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        sound, picture = AudioStreamTrack(), VideoStreamTrack()
        await a.publish(sound)
        await a.publish(picture)
        heard, seen = await b.subscribe(await b.track("audio")), await b.subscribe(await b.track("video"))
        await frames(seen, 3)
        gone = asyncio.create_task(b.until("track-removed"))
        await asyncio.sleep(0)
        await a.unpublish(picture)
        assert (await gone).message["track"] == seen.track_id
        with pytest.raises(MediaStreamError):
            await frames(seen, 1000, 5)
        await frames(heard, 20)


async def test_what_may_not_be_published_is_refused_and_the_rest_goes_on(relay: Ours) -> None:
    async with Client(ws(relay), room="r", participant="a", role="nurse") as a, Client(ws(relay), room="r", participant="d") as d:
        await d.admit("a")
        await a.admitted(5)
        async with Client(ws(relay), room="r", participant="p", role="device") as p:
            with pytest.raises(Refused):
                await p.publish(VideoStreamTrack(), source="screen")
            await p.publish(AudioStreamTrack())
            await frames(await d.subscribe(await d.track("audio", "p")), 5)


async def test_chat_and_data_reach_the_other(relay: Ours) -> None:
    async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        hears = asyncio.create_task(b.until("data", label="vitals"))
        await asyncio.sleep(0)
        await a.chat("Huyết áp 150/95")
        await a.data("vitals", {"spo2": 96})
        assert (await hears).message["data"] == {"spo2": 96}
        assert [m["text"] for m in b.messages] == ["Huyết áp 150/95"]


async def sent(client: Client, label: str, message: bytes | str) -> None:
    """Once the channel is open."""
    async with asyncio.timeout(15):
        while client._media.channels[label].readyState != "open":
            await asyncio.sleep(0.05)
    client.send(label, message)


async def test_a_file_and_vital_signs_reach_the_others_over_data_channels(relay: Ours) -> None:
    frames = [random.Random(n).randbytes(16_000) for n in range(40)]
    async with (
        Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b,
        Client(ws(relay), room="r", participant="c") as c,
    ):  # fmt: skip
        heard: dict[str, dict[str, list[bytes | str]]] = {}

        async def listen(client: Client) -> None:
            own = heard[client.you["id"]] = {"file": [], "vitals": []}
            async for event in client.events():
                if event.type == "data" and event.message["data"]:
                    assert event.message["from"] == "a"
                    own[event.message["label"]].append(event.message["data"])

        listening = [asyncio.create_task(listen(client)) for client in (a, b, c)]
        for label in ("file", "vitals"):
            await a.channel(label)
        # b has sound first and gets data channels by a later offer, when DTLS has long been up; c has nothing else.
        await b.publish(AudioStreamTrack())
        await b.connected()
        await b.channel("vitals")
        await c.channel("vitals")
        await sent(b, "vitals", "")  # open
        await sent(c, "vitals", "")
        await sent(a, "file", '{"file": "1"}')
        for frame in frames:
            a.send("file", frame)
        await sent(a, "vitals", '{"spo2": 96}')
        await sent(a, "vitals", "{}")
        async with asyncio.timeout(30):
            while any(len(heard[who]["file"]) < 41 or len(heard[who]["vitals"]) < 2 for who in "bc"):
                await asyncio.sleep(0.1)
        for who in "bc":
            assert heard[who]["file"] == ['{"file": "1"}', *frames]
            assert heard[who]["vitals"] == ['{"spo2": 96}', "{}"]
        for task in listening:
            task.cancel()


async def test_a_file_over_a_thin_link_leaves_room_for_the_sound() -> None:
    async with (
        behind_a_link() as (relay, link),
        Client(ws(relay), room="r", participant="a") as a,
        Client(ws(relay), room="r", participant="b") as b,
    ):
        await a.publish(AudioStreamTrack())
        await a.channel("file")
        await b.channel("file")
        await sent(a, "file", "")
        await sent(b, "file", "")
        flow = link.flows[-1]
        got = await b.subscribe(await b.track("audio"))
        await frames(got, 50)
        flow.down.path = Path(rate=300_000, delay=40, queue=1_000)
        queue: asyncio.Queue[bytes] = asyncio.Queue()

        async def listen() -> None:
            async for event in b.events():
                if event.type == "data" and event.message["data"]:
                    queue.put_nowait(event.message["data"])

        hearing, listening = asyncio.create_task(frames(got, 1_000_000, 120)), asyncio.create_task(listen())
        await asyncio.sleep(0)
        for n in range(10):
            a.send("file", bytes([n]) * 16_000)
        async with asyncio.timeout(90):
            assert [await queue.get() for _ in range(10)] == [bytes([n]) * 16_000 for n in range(10)]
        # Without a bound of its own SCTP would have filled it: that is how it finds out how much a link carries.
        assert flow.down.counts.overflowed == 0
        for task in (hearing, listening):
            task.cancel()


async def test_a_device_publishes_by_whip_and_is_watched_by_whep(relay: Ours) -> None:
    track = RawTrack("video")
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.bit_rate = 320, 240, "yuv420p", 200_000
    codec.time_base = fractions.Fraction(1, 30)
    codec.options = {"deadline": "realtime", "g": "15"}

    async def film() -> None:
        n = 0
        while True:
            frame = av.VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([n % 255]) * plane.buffer_size)
            frame.pts = n
            for packet in codec.encode(frame):
                track.send(bytes(packet), n * 3000)
            n += 1
            await asyncio.sleep(1 / 30)

    filming = asyncio.create_task(film())
    try:
        async with await whip.publish(relay.base + "/whip/r?participant=device", None, [track]):
            await asyncio.sleep(0.5)
            async with await whep.watch(relay.base + "/whep/r?participant=device", kinds=["video"]) as watching, asyncio.timeout(15):
                frame = await watching.tracks[0].recv()
                assert (frame.width, frame.height) == (320, 240)
    finally:
        filming.cancel()


async def test_the_call_comes_back_after_a_cut_and_a_new_address() -> None:
    async with (
        behind_a_link() as (relay, link),
        Client(ws(relay), room="r", participant="a") as a,
        Client(ws(relay), room="r", participant="b") as b,
    ):
        await a.publish(AudioStreamTrack())
        got = await b.subscribe(await b.track("audio"))
        await frames(got, 5)
        link.cut(4)
        await b.signalling.lose()
        await asyncio.sleep(4)
        link.rebind()
        back = asyncio.create_task(b.until("media", 10, state="connected"))
        before = link.counts()[1].passed
        await back
        await asyncio.sleep(1)
        assert link.counts()[1].passed > before + 30
        await frames(got, 5)


async def test_a_plain_client_comes_back_over_a_new_connection(relay: Ours) -> None:
    """aiortc cannot restart ICE: after a lost link it makes another RTCPeerConnection, while the relay has kept session and peer."""
    async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        await a.publish(AudioStreamTrack())
        sound = await b.track("audio", "a")
        first, got = await plain(b, sound)
        await frames(got, 5)
        before = await a.track("audio", "b")
        heard = await a.subscribe(before)
        await frames(heard, 5)
        back = asyncio.create_task(b.until("resumed", media="kept"))
        await asyncio.sleep(0)
        await b.signalling.lose()
        await back
        gone = asyncio.create_task(a.until("track-removed", track=before))
        fresh = asyncio.create_task(a.until("track-added"))
        await asyncio.sleep(0)
        second, got = await plain(b, sound)
        try:
            await gone
            track = (await fresh).message["track"]
            assert (track["participant"], track["kind"]) == ("b", "audio")
            assert track["id"] != before
            await frames(got, 20)
            await frames(await a.subscribe(track["id"]), 20)
            assert peers(relay) == 2
            assert first.connectionState == "closed"  # by the relay
            await first.close()
            await frames(got, 20)
            # What the relay refuses costs nothing.
            with pytest.raises(Refused, match="sdp"):
                await b.ask("offer", sdp=second.localDescription.sdp.replace("a=fingerprint:", "a=x-fingerprint:"))
            await frames(got, 20)
        finally:
            await first.close()
            await second.close()


async def plain(client: Client, wanted: str) -> tuple[RTCPeerConnection, MediaStreamTrack]:
    """A new RTCPeerConnection that sends sound and receives a track, offered over the client's signalling."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
    receives = pc.addTransceiver("audio", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    mid = receives.mid
    answer = await client.ask("offer", sdp=pc.localDescription.sdp, publish={}, wanted={mid: wanted})
    assert answer["missing"] == []
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    return pc, receives.receiver.track


def peers(relay: Ours) -> int:
    """How many peers the relay has."""
    with urllib.request.urlopen(relay.base + "/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line.split()[-1] for line in lines if line.startswith('telemed_relay{what="peers"}'))))


async def test_everyone_is_back_after_a_restart_of_the_relay(relay: Ours) -> None:
    async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        await a.publish(AudioStreamTrack())
        got = await b.subscribe(await b.track("audio"))
        await frames(got, 5)
        await asyncio.to_thread(relay.stop)
        again = Ours(port=relay.port, udp=relay.udp)
        try:
            await asyncio.to_thread(again.__enter__)
            await frames(got, 300, 20)
        finally:
            await asyncio.to_thread(again.stop)
