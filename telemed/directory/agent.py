"""A relay's side of the directory: heartbeats, snapshots of its rooms, their events, and the door that only fronts may use."""

import asyncio
import contextlib
import hmac
import logging
import time
from collections import deque
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemed.directory.ports import BEAT_SECONDS, Directory, Node
from telemed.ports import MediaRelay
from telemed.rooms.registry import Rooms
from telemed.sealed import Seal, pass_word
from telemed.settings import Settings

log = logging.getLogger(__name__)
FRONT, ROOM = b"x-telemed-front", b"x-telemed-room"  # headers that a front adds
EVENTS = 10_000  # kept while the directory cannot be reached; the oldest go first
# Of what is kept of a room; they come long after it too, and change nothing in it.
_KEPT = frozenset(("recorded", "recording-deleted", "message", "message-seen"))
_json = msgspec.json.Encoder().encode


class Agent:
    """One a relay process: give `sink` to telemed.app.create, then serve `attach(app, relay)`.

    node: id that stays over restarts. address: `HOST:PORT` at which fronts reach the relay. `require`: nobody but a front may come in.
    """

    def __init__(self, directory: Directory, settings: Settings, *, node: str, address: str, require: bool = True) -> None:
        if len(settings.secret) < 32:
            raise ValueError("relays of a directory share a secret of at least 32 characters")
        self._directory, self._settings, self._require = directory, settings, require
        self.node = Node(node, address)
        self._seal, self._word = Seal(settings.secret, "directory"), pass_word(settings.secret).encode()
        self._events: deque[bytes] = deque(maxlen=EVENTS)
        self._known: set[str] = set()  # rooms whose snapshot is in the directory
        self._unsaved: set[str] = set()  # changed, and not in the directory yet
        self._task: asyncio.Task[None] | None = None
        self._fetching: dict[str, asyncio.Lock] = {}
        self._reached = True

    def sink(self, event: dict[str, Any]) -> None:
        """Takes an event of a room."""
        self._events.append(_json(event))
        if event["event"] not in _KEPT:
            self._unsaved.add(event["room"])  # one that ended at once too: that it did must be known elsewhere

    def attach(self, app: Starlette, relay: MediaRelay) -> ASGIApp:
        """The application as it is served."""
        self._app, self._relay = app, relay
        self._rooms: Rooms = app.state.rooms
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in (FRONT, ROOM)}
        trusted = hmac.compare_digest(headers.get(FRONT, b""), self._word)
        if not trusted and self._require and scope["path"] not in ("/telemed/health", "/telemed/metrics"):
            await _refuse(scope, receive, send)
            return
        if trusted and (room := headers.get(ROOM, b"").decode("ascii", "replace")):
            await self._ensure(room)
        await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                try:
                    await self._begin()
                except OSError as e:
                    log.error("%s", e)
                    await send({"type": "lifespan.startup.failed", "message": str(e)})
                    return
            elif message["type"] == "lifespan.shutdown.complete":
                await self._end()
            await send(message)

        await self._app(scope, receive, told)

    async def _begin(self) -> None:
        await self._directory.open()
        for room, sealed in (await self._directory.kept_at(self.node.id)).items():
            self._restore(room, sealed)
        await self._directory.beat(self._now(), list(self._rooms.rooms))
        self._task = asyncio.create_task(self._beat())

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(OSError):
            await self._flush()
            await self._directory.beat(self._now("stopping"), list(self._rooms.rooms))
        await self._directory.close()

    # --- to the directory

    def _now(self, state: Any = "serving") -> Node:
        full = max(self._rooms.sessions() / max(self._settings.sessions, 1), len(self._rooms.rooms) / max(self._settings.rooms, 1))
        return Node(self.node.id, self.node.address, max(full, float(self._relay.load().get("cpu", 0.0))), state)

    async def _beat(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._flush()
                for room in await self._directory.beat(self._now(), list(self._rooms.rooms)):
                    log.warning("room %s is placed elsewhere: its people are sent there", room)
                    self._rooms.release(room)
                    self._known.discard(room)
                    self._unsaved.discard(room)
                if not self._reached:
                    log.warning("the directory is reached again")
                self._reached = True
            except OSError as e:
                # Calls go on; they only could not move.
                if self._reached:
                    log.error("the directory cannot be reached: %s", e)
                self._reached = False
            except Exception:
                log.exception("heartbeat")
            await asyncio.sleep(max(0.1, BEAT_SECONDS - (time.monotonic() - began)))

    async def _flush(self) -> None:
        """Snapshots first: an event that says `ended` must not be known where the room could be opened again."""
        rooms = self._rooms
        for id, room in rooms.rooms.items():
            if room.dirty:
                room.dirty = False
                self._unsaved.add(id)
        self._unsaved |= self._known - rooms.rooms.keys()
        told = set(self._unsaved)
        if told:
            sealed = {id: self._seal.seal(_json(rooms.part(id)), id) for id in told}
            await self._directory.keep(self.node.id, sealed)
            self._unsaved -= told
            self._known = (self._known | told) & rooms.rooms.keys()
        while self._events:
            batch = list(self._events)[:500]
            await self._directory.report(batch)
            for _ in batch:
                self._events.popleft()

    # --- from the directory

    async def _ensure(self, room: str) -> None:
        """A room that was elsewhere is as it was there, before its first participant comes in."""
        if room in self._rooms.rooms:
            return
        lock = self._fetching.setdefault(room, asyncio.Lock())
        try:
            async with lock:
                if room not in self._rooms.rooms and (sealed := await self._directory.kept(room)) is not None:
                    self._restore(room, sealed)
        except OSError as e:
            log.error("room %s comes without what was kept of it: %s", room, e)
        finally:
            if not lock.locked():
                self._fetching.pop(room, None)

    def _restore(self, room: str, sealed: bytes) -> None:
        data = self._seal.open(sealed, room)
        if data is None:
            log.error("what is kept of room %s was sealed with another secret", room)
            return
        self._rooms.restore(msgspec.json.decode(data))
        if room in self._rooms.rooms:
            self._known.add(room)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    await send({"type": "http.response.body", "body": b"only fronts of the hub come in here\n"})
