"""Calls through a relay of its own process are recorded while everyone agrees, and what was written is decoded by FFmpeg's decoders."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiortc import AudioStreamTrack, VideoStreamTrack

from bench.relay.relays import Ours
from telemed.client import Client, Refused, whip
from telemed.record.__main__ import main
from telemed.record.index import Index
from telemed.record.play import play
from telemed.tokens import Tokens
from tests.telemed.impair import Impairment
from tests.telemed.impair import Path as Way
from tests.telemed.record.media import Seen, decode

KEY = "the key of recordings in the tests, of an operator"
SECRET = "a secret of the tests, long enough for all"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where relays of this test record to."""
    found = tmp_path / "recordings"
    environ = {"RECORDINGS": str(found), "RECORD_KEY": KEY, "SECRET": SECRET, "DISK_FREE": "0", "STATE": str(tmp_path / "state")}
    for name, value in environ.items():
        monkeypatch.setenv(f"TELEMED_{name}", value)
    return found


@asynccontextmanager
async def running(**more: Any) -> AsyncIterator[Ours]:
    relay = Ours(**more)
    await asyncio.to_thread(relay.__enter__)
    try:
        yield relay
    finally:
        await asyncio.to_thread(relay.stop)


def ws(relay: Ours) -> str:
    return relay.base.replace("http", "ws", 1) + "/ws"


async def publish(*clients: Client) -> None:
    for client in clients:
        await client.publish(AudioStreamTrack())
        await client.publish(VideoStreamTrack())
        await client.connected()


async def agree(asker: Client, *others: Client) -> None:
    """Asks, and everybody agrees."""
    hears = [asyncio.create_task(other.until("recording", reason="asked")) for other in others]
    on = asyncio.create_task(asker.until("recording", reason="consented"))
    await asyncio.sleep(0)
    await asker.record()
    for task in hears:
        await task
    for other in others:
        await other.consent()
    assert (await on).message["recording"]["state"] == "on"  # by now it may be off again


async def until(what: Any, seconds: float = 15) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "never"
        await asyncio.sleep(0.05)
    return found


def played(folder: Path, out: Path) -> tuple[Index, dict[tuple[str, str], list[Seen]]]:
    """The index, and what was decoded by (participant, kind), in the order written."""
    index, problems = play(folder, out, KEY.encode())
    assert not problems
    seen: dict[tuple[str, str], list[Seen]] = {}
    for track in index["tracks"]:
        if track["file"]:
            seen.setdefault((track["participant"], track["kind"]), []).append(decode(out / track["file"]))
    return index, seen


def done(root: Path, count: int = 1) -> list[Path]:
    """Finished recordings, once there are so many."""
    found = sorted(path.parent for path in root.glob("*/index.json.sealed"))
    return found if len(found) >= count else []


def check(seen: dict[tuple[str, str], list[Seen]], who: str, seconds: float, file: int = 0) -> None:
    """Sound and picture of about that length. aiortc's test pictures come 30 a second where the machine keeps up."""
    sound, picture = seen[who, "audio"][file], seen[who, "video"][file]
    assert sound.codec == "opus"
    assert abs(sound.samples / 48_000 - seconds) < 1.0, sound.samples / 48_000
    assert picture.codec == "vp8"
    assert picture.width == 640
    assert len(picture.times) > 8 * seconds
    assert abs(picture.times[-1] - picture.times[0] - seconds) < 1.5, picture.times[-1]


async def test_both_sides_of_a_call_are_recorded_with_sound_and_picture(root: Path, tmp_path: Path, capsys: Any) -> None:
    async with (
        running() as relay, Client(ws(relay), room="phong-1", participant="bs", name="BS. Bình") as a,
        Client(ws(relay), room="phong-1", participant="bn", name="Lò Thị Mai") as b,
    ):  # fmt: skip
        await publish(a, b)
        await agree(a, b)
        await asyncio.sleep(4)
        await a.record(False)
        (folder,) = await until(lambda: done(root))
        await asyncio.sleep(0.3)
        assert {p.name for p in root.iterdir()} == {folder.name}, "stopped for good"
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", folder.name)
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        data = path.read_bytes()
        assert not any(word in data for word in (b"phong-1", b"Mai", b"webm", b"OpusHead")), path
    index, seen = played(folder, tmp_path / "out")
    assert set(seen) == {(who, kind) for who in ("bs", "bn") for kind in ("audio", "video")}
    assert {p["participant"] for p in index["participants"]} == {"bs", "bn"}
    assert (index["room"], index["why"]) == ("phong-1", "asked")
    for who in ("bs", "bn"):
        check(seen, who, index["seconds"])
    assert all(track["lost"] == 0 and not track["gaps"] for track in index["tracks"]), index["tracks"]
    capsys.readouterr()
    (tmp_path / "key").write_text(KEY)
    assert main(["list", str(root), "--key-file", str(tmp_path / "key")]) == 0
    line = capsys.readouterr().out.splitlines()[1].split("\t")
    assert (line[0], line[3:6], set(line[6].split(","))) == (folder.name, ["asked", "4", "phong-1"], {"bs", "bn"})


async def test_who_comes_later_pauses_it_until_they_agree_and_who_withdraws_ends_it(root: Path, tmp_path: Path) -> None:
    async with running() as relay, Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        await publish(a, b)
        await agree(a, b)
        await asyncio.sleep(2)
        async with Client(ws(relay), room="r", participant="c", role="specialist") as c:
            await publish(c)
            assert a.room["recording"]["state"] == "paused"
            with pytest.raises(Refused):
                await c.record()  # not this one's right
            await asyncio.sleep(2)
            went_on = asyncio.create_task(a.until("recording", reason="consented"))
            await asyncio.sleep(0)
            await c.consent()
            await went_on
            await asyncio.sleep(2)
            stopped = asyncio.create_task(a.until("recording", reason="refused"))
            await asyncio.sleep(0)
            await b.consent(False)
            await stopped
            assert a.room["recording"]["state"] == "off"
            (folder,) = await until(lambda: done(root))
    index, seen = played(folder, tmp_path / "out")
    assert {p["participant"] for p in index["participants"]} == {"a", "b", "c"}
    for who in ("a", "b"):
        assert len(seen[who, "audio"]) == 2
        for n in (0, 1):
            check(seen, who, 2, n)
    check(seen, "c", 2)
    begun = sorted(track["offset"] for track in index["tracks"])
    assert begun[-1] > 3.5, "what was said in the pause is not there"


async def test_a_device_by_whip_is_recorded_while_the_people_agree_and_a_person_by_whip_is_not(root: Path, tmp_path: Path) -> None:
    tokens = Tokens(SECRET)
    person = tokens.issue(room="r", participant="khach", name="Khách", role="patient", admitted=True)
    machine = tokens.issue(room="r", participant="sieu-am", name="Máy siêu âm", role="device")
    async with running() as relay, Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        await publish(a, b)
        whip_ = f"{relay.base}/whip/r"
        async with await whip.publish(whip_, machine, [VideoStreamTrack()]), await whip.publish(whip_, person, [AudioStreamTrack()]):
            await a.track("video", participant="sieu-am")
            await a.track("audio", participant="khach")
            await agree(a, b)  # neither is asked
            assert set(a.room["recording"]["asked"]) == {"a", "b"}
            await asyncio.sleep(2.5)
            async with Client(ws(relay), room="r", participant="c", role="specialist"):
                assert a.room["recording"]["state"] == "paused"
                await asyncio.sleep(2)  # what the machine sends is written as little as anybody's
            await until(lambda: a.room["recording"]["state"] == "on")
            await asyncio.sleep(2)
            await a.record(False)
            (folder,) = await until(lambda: done(root))
    index, seen = played(folder, tmp_path / "out")
    assert {p["participant"] for p in index["participants"]} == {"a", "b"}
    assert {who for who, _ in seen} == {"a", "b", "sieu-am"}
    first, second = seen["sieu-am", "video"]
    assert len(first.times) > 15
    assert len(second.times) > 10
    offsets = [t["offset"] for t in index["tracks"] if t["participant"] == "sieu-am"]
    assert offsets[1] - offsets[0] > 3.5, "the pause is not in it"
    assert {t["participant"] for t in index["tracks"] if t.get("device")} == {"sieu-am"}


async def test_what_was_lost_on_the_way_and_resent_is_in_the_recording(root: Path, tmp_path: Path) -> None:
    async with Impairment(seed=3) as link:
        relay = Ours(announce=link.address)
        link.target = ("127.0.0.1", relay.udp)
        await asyncio.to_thread(relay.__enter__)
        try:
            async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
                await publish(a, b)
                await agree(a, b)
                link.up = Way(loss=0.03, delay=20)
                await asyncio.sleep(5)
                link.up = Way()
                await asyncio.sleep(0.7)
                await a.record(False)
                (folder,) = await until(lambda: done(root))
        finally:
            await asyncio.to_thread(relay.stop)
    index, _ = played(folder, tmp_path / "out")
    videos = [track for track in index["tracks"] if track["kind"] == "video"]
    lost = sum(flow.up.counts.lost for flow in link.flows)
    assert lost > 10
    assert sum(track["lost"] for track in videos) <= 2, videos
    assert sum(track["left_out"] for track in videos) <= 10, videos


async def test_kill_9_costs_the_last_second_and_the_room_records_on_after_it(root: Path, tmp_path: Path) -> None:
    relay = Ours()
    await asyncio.to_thread(relay.__enter__)
    again: Ours | None = None
    try:
        async with Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
            await a.publish(AudioStreamTrack())
            await b.publish(VideoStreamTrack())
            await asyncio.gather(a.track("video"), b.track("audio"))
            await agree(a, b)
            await asyncio.sleep(4)
            os.kill(relay.pid, signal.SIGKILL)
            await asyncio.to_thread(relay.stop)
            (folder,) = root.iterdir()
            welcomed = asyncio.gather(*(client.until("welcome", 30) for client in (a, b)))  # from now: either may be back at once
            again = Ours(port=relay.port, udp=relay.udp)
            await asyncio.to_thread(again.__enter__)
            await until(lambda: (folder / "index.json.sealed").exists())
            await welcomed
            await asyncio.gather(a.track("video", seconds=30), b.track("audio", seconds=30))
            assert a.room["recording"]["state"] == "on"  # both had agreed
            await asyncio.sleep(3)
            await a.record(False)
            first, second = await until(lambda: done(root, 2))
    finally:
        if again is not None:
            await asyncio.to_thread(again.stop)
    index, seen = played(first, tmp_path / "first")
    assert (first, index["recovered"], index["why"]) == (folder, True, "crashed")
    assert seen["a", "audio"][0].samples / 48_000 > 2.5
    assert len(seen["b", "video"][0].times) > 20
    index, seen = played(second, tmp_path / "second")
    assert "recovered" not in index
    assert seen["a", "audio"][0].samples / 48_000 > 1.5
    assert len(seen["b", "video"][0].times) > 10


@pytest.mark.parametrize(
    ("setting", "value", "reason", "files"), [("DISK_FREE", str(1 << 39), "disk-full", 0), ("RECORDING_SECONDS", "1", "limit", 4)]
)
async def test_a_limit_ends_the_recording_and_not_the_call(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, reason: str, files: int
) -> None:
    monkeypatch.setenv(f"TELEMED_{setting}", value)
    async with running() as relay, Client(ws(relay), room="r", participant="a") as a, Client(ws(relay), room="r", participant="b") as b:
        await publish(a, b)
        heard = await b.subscribe(await b.track("audio"))
        full = asyncio.create_task(a.until("recording", reason=reason))
        await agree(a, b)
        await full
        assert a.room["recording"]["state"] == "off"
        async with asyncio.timeout(10):
            for _ in range(50):
                await heard.recv()
        if files:
            (folder,) = await until(lambda: done(root))
            index, _ = played(folder, tmp_path / "out")
            assert (index["why"], len(index["tracks"])) == ("seconds", files)


async def test_without_a_place_for_recordings_nobody_is_asked(tmp_path: Path) -> None:
    async with running() as relay, Client(ws(relay), room="r", participant="a") as a:
        with pytest.raises(Refused) as caught:
            await a.record()
        assert caught.value.code == "recording"
        assert json.loads(json.dumps(a.room["recording"]))["state"] == "off"
