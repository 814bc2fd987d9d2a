"""tus 1.0 through the HTTP door."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from telemed.pieces.routes import CONTENT, PATH, routes
from telemed.pieces.store import DAY, Limits, Message, Store
from telemed.record.sealed import SealedWriter, Tampered, WrongKey

KEY = b"a key for tests, not for patients"


@dataclass(frozen=True)
class Person:
    room: str
    participant: str


PEOPLE = {"an": Person("kham-1", "bn-an"), "binh": Person("kham-1", "bs-binh"), "other": Person("kham-2", "bn-an")}


@dataclass
class World:
    """A store, its door and what it reported."""

    store: Store
    client: httpx.AsyncClient
    reported: list[Message] = field(default_factory=list)
    now: float = 1e9

    async def call(self, method: str, path: str = PATH, who: str = "an", content: Any = None, **headers: str) -> httpx.Response:
        given = {"Authorization": f"Bearer {who}", "Tus-Resumable": "1.0.0"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.client.request(method, path, headers=given, content=content)

    async def create(self, length: int, who: str = "an", **headers: str) -> str:
        answer = await self.call("POST", who=who, Upload_Length=str(length), **headers)
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    async def patch(self, path: str, offset: int, content: Any, who: str = "an", **headers: str) -> httpx.Response:
        return await self.call("PATCH", path, who, content, Upload_Offset=str(offset), Content_Type=CONTENT, **headers)

    async def offset(self, path: str, who: str = "an") -> int:
        answer = await self.call("HEAD", path, who)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        return int(answer.headers["upload-offset"])


@asynccontextmanager
async def world(folder: Path, limits: Limits | None = None, **options: Any) -> AsyncIterator[World]:
    def complete(message: Message) -> None:
        w.reported.append(message)

    store = Store(
        folder,
        KEY,
        options.get("on_complete", complete),
        lambda claims, message: claims.room == message.room and claims.participant != "nobody",
        limits or Limits(free=0),
        clock=lambda: w.now,
    )
    app = Starlette(routes=routes(store, lambda token, client, sending: PEOPLE.get(token)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
        w = World(store, client)
        await store.open()
        try:
            yield w
        finally:
            await store.close()


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "messages") as w:
        yield w


async def test_what_the_server_can_do(w: World) -> None:
    answer = await w.client.options(PATH)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert "creation" in answer.headers["tus-extension"]


async def test_a_message_in_pieces(w: World) -> None:
    data = os.urandom(700_000)
    meta = "filename " + base64.b64encode("lời nhắn.webm".encode()).decode() + ",filetype " + base64.b64encode(b"video/webm").decode()
    path = await w.create(len(data), Upload_Metadata=meta)
    assert await w.offset(path) == 0
    at = 0
    for step in (1, 300_000, 399_999):
        answer = await w.patch(path, at, data[at : at + step])
        at += step
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(at))
        assert ("upload-expires" in answer.headers) == (at < len(data))
    (message,) = w.reported
    assert (message.room, message.participant, message.length) == ("kham-1", "bn-an", len(data))
    assert message.metadata == {"filename": "lời nhắn.webm", "filetype": "video/webm"}
    answer = await w.call("GET", path, "binh")
    assert answer.content == data
    assert answer.headers["content-type"] == "video/webm"
    assert b"webm" not in b"".join(p.read_bytes() for p in w.store.folder.iterdir())


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=5-", 5, 1000), ("bytes=-7", 993, 1000), ("bytes=990-5000", 990, 1000), ("bytes=-5000", 0, 1000)],
)
async def test_a_range(w: World, asked: str, start: int, stop: int) -> None:
    data = os.urandom(1000)
    path = await w.create(1000)
    for at in range(0, 1000, 100):
        await w.patch(path, at, data[at : at + 100])
    answer = await w.call("GET", path, Range=asked)
    assert answer.status_code == 206
    assert answer.content == data[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/1000"
    assert (await w.call("GET", path, Range="bytes=1000-")).status_code == 416
    assert (await w.call("GET", path, Range="lines=1-2")).content == data
    assert (await w.call("GET", path, Range="bytes=0-1", If_Range='"another"')).content == data


async def test_no_content_is_shown_as_a_page(w: World) -> None:
    for kind in ("text/html", "image/svg+xml", "video/webm\r\nX: y"):
        path = await w.create(1, Upload_Metadata="filetype " + base64.b64encode(kind.encode()).decode())
        await w.patch(path, 0, b"x")
        answer = await w.call("GET", path)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_empty_message_is_complete_at_once(w: World) -> None:
    path = await w.create(0)
    assert len(w.reported) == 1
    assert (await w.call("GET", path)).content == b""


async def test_creation_with_the_first_bytes(w: World) -> None:
    answer = await w.call("POST", content=b"abc", Upload_Length="5", Content_Type=CONTENT)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "3")
    assert (await w.patch(answer.headers["location"], 3, b"de")).status_code == 204
    answer = await w.call("POST", content=b"abcdef", Upload_Length="5", Content_Type=CONTENT)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "0")


async def test_refusals(w: World) -> None:
    path = await w.create(10)
    assert (await w.patch(path, 3, b"abc")).status_code == 409
    assert (await w.call("PATCH", path, content=b"abc", Upload_Offset="0")).status_code == 415
    assert (await w.call("PATCH", path, content=b"abc", Upload_Offset="-1", Content_Type=CONTENT)).status_code == 400
    assert (await w.patch(path, 0, b"x" * 11)).status_code == 413
    assert (await w.call("HEAD", PATH + "/" + "0" * 32)).status_code == 404
    assert (await w.call("POST", Upload_Length="x")).status_code == 400
    assert (await w.call("POST", Upload_Length="5", Upload_Metadata="a ???")).status_code == 400
    assert (await w.call("POST", Upload_Length=str(1 << 40))).status_code == 413
    answer = await w.client.head(path, headers={"Authorization": "Bearer an"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
    assert (await w.call("GET", path)).status_code == 404  # not complete
    assert await w.offset(path) == 0
    answer = await w.patch(path, 0, _pieces(b"12345678", b"9012345"))  # without a length: found out on the way
    assert answer.status_code == 413
    assert await w.offset(path) == 0


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_anothers_message_is_not_there(w: World) -> None:
    path = await w.create(3)
    for who in ("binh", "other"):
        assert (await w.call("HEAD", path, who)).status_code == 404
        assert (await w.patch(path, 0, b"abc", who)).status_code == 404
        assert (await w.call("DELETE", path, who)).status_code == 404
    answer = await w.call("HEAD", path, "stranger")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await w.client.post(PATH)).status_code == 401
    await w.patch(path, 0, b"abc")
    assert (await w.call("GET", path, "other")).status_code == 404
    assert (await w.call("GET", path, "binh")).status_code == 200


async def test_a_checksum_that_does_not_match_leaves_nothing_behind(w: World) -> None:
    path = await w.create(6)
    sums = {name: base64.b64encode(hashlib.new(name, b"abc").digest()).decode() for name in ("sha1", "sha256")}
    assert (await w.patch(path, 0, b"abx", Upload_Checksum=f"sha256 {sums['sha256']}")).status_code == 460
    assert await w.offset(path) == 0
    assert (await w.patch(path, 0, b"abc", Upload_Checksum=f"sha256 {sums['sha256']}")).status_code == 204
    assert (await w.patch(path, 3, b"abc", Upload_Checksum=f"crc32 {sums['sha1']}")).status_code == 400
    assert (await w.patch(path, 3, b"abc", Upload_Checksum=f"sha1 {sums['sha1']}")).status_code == 204
    assert (await w.call("GET", path)).content == b"abcabc"


async def test_limits_of_count_and_of_all(tmp_path: Path) -> None:
    async with world(tmp_path / "m", Limits(free=0, count=2, total=25)) as w:
        await w.create(10)
        path = await w.create(10)
        answer = await w.call("POST", Upload_Length="1")
        assert (answer.status_code, answer.json()["code"]) == (429, "too-many")
        assert (await w.call("POST", who="binh", Upload_Length="10")).status_code == 507
        assert (await w.call("DELETE", path)).status_code == 204
        assert (await w.call("HEAD", path)).status_code == 404
        await w.create(10, "binh")


async def test_expired_messages_go(tmp_path: Path) -> None:
    async with world(tmp_path / "m") as w:
        pending, complete = await w.create(3), await w.create(3)
        await w.patch(complete, 0, b"abc")
        w.now += 8 * DAY
        assert (await w.call("HEAD", pending)).status_code == 410
        assert (await w.call("GET", complete)).status_code == 200
        await w.store.sweep()
        assert (await w.call("HEAD", pending)).status_code == 404
        w.now += 31 * DAY
        assert (await w.call("GET", complete)).status_code == 404
        await w.store.sweep()
        assert [p.name for p in w.store.folder.iterdir()] == ["lock"]


async def test_where_only_post_passes(w: World) -> None:
    path = await w.create(3)
    answer = await w.call("POST", path, content=b"abc", Upload_Offset="0", Content_Type=CONTENT, X_HTTP_Method_Override="PATCH")
    assert answer.status_code == 204
    assert (await w.call("POST", path)).status_code == 405


async def test_a_newer_request_takes_the_message_from_one_whose_link_is_dead(w: World) -> None:
    path = await w.create(6)
    stuck = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"abc"
        stuck.set()
        await asyncio.sleep(30)

    first = asyncio.create_task(w.patch(path, 0, slow()))
    await stuck.wait()
    assert await w.offset(path) == 3
    assert (await first).status_code == 423
    assert (await w.patch(path, 3, b"def")).status_code == 204
    assert (await w.call("GET", path)).content == b"abcdef"


async def test_a_request_that_brings_nothing_is_ended_and_what_it_brought_is_kept(tmp_path: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.sleep(30)

    async with world(tmp_path / "m", Limits(free=0, idle=0.05)) as w:
        path = await w.create(6)
        assert (await w.patch(path, 0, slow())).status_code == 408
        assert await w.offset(path) == 3


async def test_a_failed_report_is_made_again(tmp_path: Path) -> None:
    heard: list[str] = []

    async def fails(message: Message) -> None:
        heard.append(message.id)
        if len(heard) < 2:
            raise RuntimeError("nobody listens")

    async with world(tmp_path / "m", on_complete=fails) as w:
        path = await w.create(3)
        assert (await w.patch(path, 0, b"abc")).status_code == 204
    async with world(tmp_path / "m", on_complete=fails) as w:
        assert heard == [path.rsplit("/", 1)[1]] * 2
    async with world(tmp_path / "m", on_complete=fails) as w:
        assert len(heard) == 2
        assert (await w.call("GET", path)).content == b"abc"


async def test_whoever_hears_of_a_message_may_remove_it(tmp_path: Path) -> None:
    async with world(tmp_path / "m", on_complete=lambda m: w.store.remove(m.id)) as w:
        path = await w.create(3)
        assert (await w.patch(path, 0, b"abc")).status_code == 204
        assert (await w.call("GET", path)).status_code == 404
        assert [p.name for p in w.store.folder.iterdir()] == ["lock"]


async def test_a_folder_belongs_to_one_process(w: World) -> None:
    with pytest.raises(BlockingIOError):
        async with world(w.store.folder):
            pass


async def test_a_full_disk_loses_nothing_that_was_acknowledged(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await w.create(6)
    await w.patch(path, 0, b"abc")

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr("telemed.record.sealed.os.write", full)
        with pytest.raises(OSError, match="No space"):
            await w.patch(path, 3, b"def")
    assert await w.offset(path) == 3
    assert (await w.patch(path, 3, b"def")).status_code == 204
    assert (await w.call("GET", path)).content == b"abcdef"


async def test_what_was_changed_on_the_disk_is_not_given_out(w: World) -> None:
    path = await w.create(100)
    await w.patch(path, 0, b"x" * 100)
    file = w.store.folder / f"{path.rsplit('/', 1)[1]}.data"
    data = file.read_bytes()
    file.write_bytes(data[:80] + bytes([data[80] ^ 1]) + data[81:])
    with pytest.raises(Tampered):
        await w.call("GET", path)


async def test_after_a_crash_half_created_messages_go_and_full_ones_are_completed(tmp_path: Path) -> None:
    async with world(tmp_path / "m") as w:
        path = await w.create(3)
        await w.create(5)
    name = path.rsplit("/", 1)[1]
    writer = SealedWriter.reopen(tmp_path / "m" / f"{name}.data", KEY)
    writer.append(b"abc")  # and then it died, before the last chunk and the report
    writer.close()
    for half in ("0" * 32, "1" * 32):
        (tmp_path / "m" / f"{half}.data").write_bytes(b"HHS")
    (tmp_path / "m" / f"{'1' * 32}.new").write_bytes(b"HHS")
    async with world(tmp_path / "m") as w:
        assert [m.id for m in w.reported] == [name]
        assert (await w.call("GET", path)).content == b"abc"
        assert len({p.stem for p in w.store.folder.iterdir()}) == 3


async def test_another_key_is_noticed_at_the_start(tmp_path: Path) -> None:
    async with world(tmp_path / "m") as w:
        path = await w.create(3)
    store = Store(tmp_path / "m", KEY + b"!", lambda m: None, lambda c, m: True)
    with pytest.raises(WrongKey):
        await store.open()
    async with world(tmp_path / "m") as w:
        assert await w.offset(path) == 0
