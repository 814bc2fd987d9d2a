"""Messages for later of one relay's rooms: who may send and read them, and who is told when one is complete."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.routing import Route

from telemed.pieces.routes import routes
from telemed.pieces.store import DAY, Claims, Limits, Message, Refused, Store
from telemed.record.sealed import SealedError
from telemed.rooms.participant import stamp
from telemed.rooms.registry import Rooms
from telemed.rooms.roles import Right
from telemed.sealed import derive
from telemed.settings import Settings
from telemed.signal.once import digest
from telemed.tokens import Identity, TokenError, Tokens

log = logging.getLogger(__name__)
AGAIN = 2.0  # seconds until a folder that another process has is tried again: the one before may still be ending
SWEEP = 600.0  # seconds between two looks for what has expired


class Messages:
    """`start()` in a running loop, `stop()` at its end. sink: hears of complete messages (docs/telemed-protocol.md, Events)."""

    def __init__(self, settings: Settings, tokens: Tokens, rooms: Rooms, sink: Callable[[dict[str, Any]], None]) -> None:
        limits = Limits(
            size=settings.messages_each, count=settings.messages_count, total=settings.messages_bytes, free=settings.disk_free,
            pending=settings.messages_pending_days * DAY, keep=settings.messages_days * DAY,
        )  # fmt: skip
        self._tokens, self._rooms, self._sink, self._late = tokens, rooms, sink, limits.pending
        self.store = Store(Path(settings.messages), derive(settings.secret, "messages"), self._complete, self._may_read, limits)
        self._task: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Below /telemed/messages."""
        return routes(self.store, self._verify, self._signed, self._seen)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Calls go on whatever becomes of this."""
        told = False
        while True:
            try:
                if not self.store.opened:
                    await self.store.open()
                told = False
                await asyncio.sleep(SWEEP)
                await self.store.sweep()
            except BlockingIOError:
                if not told:
                    log.warning("%s is another process's: each relay has a folder of messages for itself", self.store.folder)
                told = True
                await asyncio.sleep(AGAIN)
            except (SealedError, ValueError):
                log.exception("no messages can be taken; has the secret changed?")
                return
            except OSError as error:
                if not told:
                    log.error("no messages can be taken yet: %s", error)
                told = True
                await asyncio.sleep(AGAIN)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.store.close()

    # Who.

    def _verify(self, token: str, client: str, sending: bool) -> Identity | None:
        """A message that was recorded without a link may come long after the room's tokens ended; to read takes one that is good now."""
        try:
            found = self._tokens.verify_bearer(token, digest(client), self._late if sending else 0)
        except TokenError:
            return None
        if self._rooms.was_removed(found):
            raise Refused(403, "removed", "Bạn đã được mời ra khỏi phòng khám", "you were removed from the room")
        if sending and not found.rights & {Right.AUDIO, Right.VIDEO}:
            raise Refused(403, "not-allowed", "Bạn không có quyền gửi lời nhắn", "you have no right to send messages")
        return found

    @staticmethod
    def _signed(claims: Claims) -> dict[str, str]:
        assert isinstance(claims, Identity)
        return {"name": claims.name, "role": claims.role.value}

    @staticmethod
    def _may_read(claims: Claims, message: Message) -> bool:
        """Their own, and those of their room for who receives people in it."""
        assert isinstance(claims, Identity)
        return claims.room == message.room and (claims.participant == message.participant or Right.ADMIT in claims.rights)

    # What.

    async def _seen(self, claims: Claims, message: Message) -> None:
        assert isinstance(claims, Identity)
        who = {"participant": claims.participant, "name": claims.name, "role": claims.role.value}
        try:
            first = await self.store.see(message.id, who)
        except OSError:
            log.exception("that message %s was seen is not on the disk", message.id)  # it is read all the same
            return
        if first:
            event = {"event": "message-seen", "room": message.room, "time": stamp(time.time()), "message": message.id}
            self._sink(event | who)

    def _complete(self, message: Message) -> None:
        said = self.store.told(message)
        room = self._rooms.get(message.room)
        if room is not None:
            room.tell_all({"type": "message", "message": said}, right=Right.ADMIT)
        self._sink({
            "event": "message", "room": message.room, "time": stamp(time.time()), "participant": message.participant, "message": message.id,
            "name": said["name"], "role": said["role"], "kind": said["type"], "length": message.length,
        })  # fmt: skip
