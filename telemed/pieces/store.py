"""Messages on disk: sealed, complete or still coming, each with its owner and its end of life.

ID.meta and ID.data are sealed files (telemed/record/sealed.py), and ID.seen, which says who read it first; an empty ID.told says that
the finished message was reported.
One process has the folder at a time.
"""

import asyncio
import contextlib
import fcntl
import inspect
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from telemed.record.index import sync_folder
from telemed.record.sealed import SealedError, SealedReader, SealedWriter, WrongKey

log = logging.getLogger(__name__)

T = TypeVar("T")
DAY = 86_400
NAME = re.compile(r"[0-9a-f]{32}")


class Claims(Protocol):
    """What a token says of who shows it."""

    @property
    def room(self) -> str: ...

    @property
    def participant(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    size: int = 256 << 20  # of one message
    count: int = 20  # messages of one participant in one room, coming and complete
    total: int = 50 << 30  # all messages
    free: int = 1 << 30  # left to others on the disk
    pending: float = 7 * DAY  # a message that is not complete lives on after its last piece
    keep: float = 30 * DAY  # a complete one
    idle: float = 60  # a request that brings nothing for so long is ended
    checked: int = 4 << 20  # of one piece with a checksum, which is held in memory until it is right


@dataclass(frozen=True, slots=True)
class Message:
    """One message as others may know it. Times are seconds since 1970."""

    id: str
    room: str
    participant: str
    length: int  # bytes when complete
    metadata: dict[str, str]
    created: float
    offset: int = 0  # bytes that are safe
    touched: float = 0.0  # when its last piece came
    complete: bool = False
    seen: dict[str, Any] | None = None  # by whom first, who is not the sender: participant, name, role, time


class Refused(Exception):
    """A request that is not carried out: a status, a code for programs, and words for people."""

    def __init__(self, status: int, code: str, vi: str, en: str) -> None:
        super().__init__(en)
        self.status, self.code, self.vi, self.en = status, code, vi, en


@dataclass(slots=True)
class Held:
    """A message and who is adding to it."""

    message: Message
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    taken: asyncio.Event | None = None  # set when another request wants it


class Store:
    """`await open()` first; its methods are for one event loop, and file work is done beside it."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        on_complete: Callable[[Message], Awaitable[None] | None],
        may_read: Callable[[Claims, Message], Awaitable[bool] | bool],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """on_complete(message): called at least once for each; where it raises, again at the next start or sweep.

        may_read(claims, message): whether they may have its content. key: from a setting, at least 16 bytes.
        """
        self.folder, self.limits = folder, limits or Limits()
        self._key, self._on_complete, self._may_read, self._clock = key, on_complete, may_read, clock
        self._held: dict[str, Held] = {}
        self._told: set[str] = set()
        self._lock = -1
        self.opened = False

    async def open(self) -> None:
        """Finds what there is, ends what a crash left, reports what nobody heard of.

        Raises BlockingIOError (another process has the folder), WrongKey.
        """
        for message in await asyncio.to_thread(self._scan):
            self._held[message.id] = Held(message)
        self.opened = True
        await self.sweep()

    async def close(self) -> None:
        """Ends the requests at work and lets go of the folder."""
        self.opened = False
        for held in self._held.values():
            if held.taken is not None:
                held.taken.set()
            async with held.lock:
                pass
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _scan(self) -> list[Message]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise
        out = []
        names = {path.name.partition(".")[0] for path in self.folder.iterdir()}
        for name in names:
            if NAME.fullmatch(name):
                try:
                    out.append(self._found(name))
                except WrongKey:
                    self._release()
                    raise
                except (SealedError, OSError, ValueError, KeyError) as error:
                    # Changed by somebody: left for an operator to look at. A creation that was not answered leaves no meta.
                    log.warning("message %s cannot be used: %s", name, error)
                    if not (self.folder / f"{name}.meta").exists():
                        self._remove(name)
        return out

    def _found(self, name: str) -> Message:
        with SealedReader(self.folder / f"{name}.meta", self._key) as reader:
            if reader.owner.hex() != name:
                raise ValueError("it is of another message")
            made = json.loads(reader.whole())
        data = self.folder / f"{name}.data"
        with SealedReader(data, self._key) as reader:
            reader.drop_torn()
            complete, offset = reader.complete, reader.length
        if not complete and offset == made["length"]:
            self._end(SealedWriter.reopen(data, self._key), True)
            complete = True
        if (self.folder / f"{name}.told").exists():
            self._told.add(name)
        return Message(id=name, offset=offset, touched=data.stat().st_mtime, complete=complete, seen=self._found_seen(name), **made)

    def _found_seen(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.seen"
        try:
            with SealedReader(path, self._key) as reader:
                found: dict[str, Any] = json.loads(reader.whole())
                return found
        except FileNotFoundError:
            return None
        except (SealedError, OSError, ValueError) as error:
            log.warning("who has seen message %s is not known: %s", name, error)
            return None

    # Making, finding, removing.

    async def create(self, claims: Claims, length: int, metadata: dict[str, str]) -> Message:
        """A message of that many bytes, none of them here yet. Raises Refused."""
        limits = self.limits
        if length > limits.size:
            raise Refused(413, "too-long", f"Tin nhắn lớn nhất là {limits.size} byte", f"a message has at most {limits.size} bytes")
        own = [h for h in self._held.values() if (h.message.room, h.message.participant) == (claims.room, claims.participant)]
        if len(own) >= limits.count:
            raise Refused(429, "too-many", f"Đã có {len(own)} tin nhắn", f"there are {len(own)} messages already")
        total = sum(h.message.length for h in self._held.values())
        if total + length > limits.total or shutil.disk_usage(self.folder).free - length < limits.free:
            raise Refused(507, "no-room", "Máy chủ hết chỗ lưu", "the server has no room left")
        now = self._clock()
        message = Message(secrets.token_hex(16), claims.room, claims.participant, length, metadata, now, touched=now)
        self._held[message.id] = held = Held(message)  # counted before anybody else is
        try:
            await asyncio.to_thread(self._make, message)
        except BaseException:
            del self._held[message.id]
            raise
        if not length:
            async with self.adding(held):
                await self._settle(held, await asyncio.to_thread(self._reopen, held))
        return held.message

    def _make(self, message: Message) -> None:
        owner = bytes.fromhex(message.id)
        data = SealedWriter.create(self.folder / f"{message.id}.data", self._key, owner)
        data.sync()
        data.close()
        made = {"room": message.room, "participant": message.participant, "length": message.length}
        made |= {"metadata": message.metadata, "created": message.created}
        # Written last: a message without it was never promised to anybody.
        path = self.folder / f"{message.id}.meta"
        meta = SealedWriter.create(path.with_suffix(".new"), self._key, owner, path.name)
        meta.finish(json.dumps(made, ensure_ascii=False).encode())
        path.with_suffix(".new").rename(path)
        sync_folder(self.folder)

    def own(self, name: str, claims: Claims) -> Held:
        """A message of one's own. Raises Refused, 404 also for another's: hidden is absent."""
        held = self._held.get(name)
        if held is None or (held.message.room, held.message.participant) != (claims.room, claims.participant):
            raise Refused(404, "unknown", "Không có tin nhắn này", "there is no such message")
        if self._clock() > self.expires(held.message):
            raise Refused(410, "expired", "Tin nhắn đã hết hạn", "the message has expired")
        return held

    async def readable(self, name: str, claims: Claims) -> Message:
        """A complete message that these may read. Raises Refused."""
        held = self._held.get(name)
        allowed = held is not None and held.message.complete and self._clock() <= self.expires(held.message)
        if allowed and held is not None:
            answer = self._may_read(claims, held.message)
            allowed = await answer if inspect.isawaitable(answer) else bool(answer)
        if not allowed or held is None:
            raise Refused(404, "unknown", "Không có tin nhắn này", "there is no such message")
        return held.message

    async def listed(self, claims: Claims) -> list[Message]:
        """Complete ones of the room that these may read, the newest first."""
        out = []
        for held in list(self._held.values()):
            if held.message.room == claims.room:
                with contextlib.suppress(Refused):
                    out.append(await self.readable(held.message.id, claims))
        return sorted(out, key=lambda message: message.created, reverse=True)

    def told(self, message: Message) -> dict[str, Any]:
        """As those who may read it are told of it."""
        said = message.metadata
        return {
            "id": message.id, "from": message.participant, "name": said.get("name", ""), "role": said.get("role", ""),
            "type": said.get("filetype", ""), "length": message.length, "created": _stamp(message.created),
            "expires": _stamp(self.expires(message)), "seconds": _seconds(said.get("seconds", "")),
            "seen": None if message.seen is None else {"name": message.seen["name"], "time": _stamp(message.seen["time"])},
        }  # fmt: skip

    def expires(self, message: Message) -> float:
        """Seconds since 1970."""
        return message.touched + (self.limits.keep if message.complete else self.limits.pending)

    def message(self, name: str) -> Message | None:
        """As it is now, whoever asks; for the program itself."""
        held = self._held.get(name)
        return held.message if held else None

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The content from `start` to `stop` (exclusive), in pieces; reads the disk. Raises Tampered."""
        with SealedReader(self.folder / f"{name}.data", self._key) as reader:
            yield from reader.read(start, stop)

    async def see(self, name: str, reader: dict[str, str]) -> bool:
        """Marks it as seen; whether this was the first time. reader: participant, name, role. Raises OSError."""
        held = self._held.get(name)
        if held is None or held.message.seen is not None:
            return False
        seen = {**reader, "time": self._clock()}
        held.message = replace(held.message, seen=seen)  # before anything is awaited: nobody else is first too
        await asyncio.to_thread(self._mark, name, json.dumps(seen, ensure_ascii=False).encode())
        return True

    def _mark(self, name: str, seen: bytes) -> None:
        path, new = self.folder / f"{name}.seen", self.folder / f"{name}.mark"
        new.unlink(missing_ok=True)
        SealedWriter.create(new, self._key, bytes.fromhex(name), path.name).finish(seen)
        new.rename(path)
        sync_folder(self.folder)

    async def remove(self, name: str) -> None:
        """Ends what is being added to it, and forgets it."""
        held = self._held.get(name)
        if held is not None:
            async with self.adding(held):
                if self._held.pop(name, None) is not None:
                    await asyncio.to_thread(self._remove, name)
                    self._told.discard(name)

    def _remove(self, name: str) -> None:
        for suffix in ("meta", "new", "data", "told", "seen", "mark"):
            (self.folder / f"{name}.{suffix}").unlink(missing_ok=True)
        sync_folder(self.folder)

    async def sweep(self) -> None:
        """Removes what has expired and reports what could not be reported before. To be called now and then."""
        now = self._clock()
        for held in list(self._held.values()):
            if now > self.expires(held.message):
                await self.remove(held.message.id)
            elif held.message.complete and held.message.id not in self._told:
                await self._report(held.message)

    # Adding.

    @asynccontextmanager
    async def adding(self, held: Held) -> AsyncIterator[asyncio.Event]:
        """Alone with a message. A newer request takes it away from an older one, whose link is likely dead: the event is set then."""
        if held.taken is not None:
            held.taken.set()
        try:
            async with held.lock:
                held.taken = asyncio.Event()
                try:
                    yield held.taken
                finally:
                    held.taken = None
        finally:
            # Out of the lock: who hears of a complete message may want to remove it.
            if held.message.complete and held.message.id in self._held and held.message.id not in self._told:
                await self._report(held.message)

    async def add(self, held: Held, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Appends within `adding`. What came before `pieces` failed is kept too, and all is on the disk before this returns or raises.

        Raises Refused, OSError, and what `pieces` raises.
        """
        message = held.message
        if self._held.get(message.id) is not held:
            raise Refused(404, "unknown", "Không có tin nhắn này", "there is no such message")
        if offset != message.offset:
            raise _goes_on(message.offset)
        writer: SealedWriter | None = None
        try:
            async for piece in pieces:
                if message.complete or (writer.length if writer else offset) + len(piece) > message.length:
                    raise Refused(413, "too-long", "Nhiều byte hơn đã báo trước", "more bytes than were announced")
                if writer is None:
                    writer = await _wholly(asyncio.to_thread(self._reopen, held))
                    if writer.length != offset:  # the disk failed in an earlier request
                        raise _goes_on(writer.length)
                await _wholly(asyncio.to_thread(writer.append, piece))
        finally:
            if writer is not None:
                await _wholly(self._settle(held, writer))

    def _reopen(self, held: Held) -> SealedWriter:
        return SealedWriter.reopen(self.folder / f"{held.message.id}.data", self._key)

    async def _settle(self, held: Held, writer: SealedWriter) -> None:
        """What was appended becomes what is told."""
        complete = writer.length == held.message.length
        await asyncio.to_thread(self._end, writer, complete)
        held.message = replace(held.message, offset=writer.length, touched=self._clock(), complete=complete)

    @staticmethod
    def _end(writer: SealedWriter, complete: bool) -> None:
        try:
            if complete:
                writer.finish()
            else:
                writer.sync()
        finally:
            writer.close()

    async def _report(self, message: Message) -> None:
        self._told.add(message.id)
        try:
            answer = self._on_complete(message)
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            log.exception("message %s is complete, but that could not be reported", message.id)
            self._told.discard(message.id)
            return
        if message.id in self._held:
            await asyncio.to_thread((self.folder / f"{message.id}.told").touch, 0o600)


def _stamp(seconds: float) -> str:
    """ISO 8601 UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: str) -> float | None:
    """How long it plays, as its sender says: a recording that a browser makes does not hold it."""
    return float(text) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) else None


def _goes_on(offset: int) -> Refused:
    return Refused(409, "offset", f"Cần tiếp tục từ byte {offset}", f"the message goes on at byte {offset}")


async def _wholly(work: Awaitable[T]) -> T:
    """Waits for work on a file until it is done, also when the waiting is cancelled: nobody else may come in between."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            task.exception()
        raise
