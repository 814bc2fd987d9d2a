"""All rooms of one relay, and what is remembered of rooms that are gone."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from telemed.ports import MediaRelay
from telemed.rooms.recording import Hook
from telemed.rooms.refused import Refused
from telemed.rooms.room import Room, Sink
from telemed.rooms.saving import restore, snapshot
from telemed.settings import Settings
from telemed.tokens import Identity

log = logging.getLogger(__name__)


class Rooms:
    """Rooms open when someone with a token comes, and go when they end or stay empty."""

    def __init__(
        self,
        relay: MediaRelay,
        settings: Settings,
        sink: Sink = lambda event: None,
        hook: Hook | None = None,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make: Callable[[str], Room] = lambda id: Room(id, relay, settings, sink, hook, now, ticks)
        self._settings, self._now = settings, now
        self.rooms: dict[str, Room] = {}
        self._ended: dict[str, int] = {}  # room -> second up to which its tokens open nothing
        self._removed: dict[str, tuple[int, dict[str, int]]] = {}  # of rooms that are gone; first when to forget
        self.dirty = False

    def get(self, room: str) -> Room | None:
        """An open room."""
        return self.rooms.get(room)

    def open(self, identity: Identity) -> Room:
        """The room that a token is for, made when there is none.

        Raises Refused (codes: ended, removed, full).
        """
        if self._ended.get(identity.room, -1) >= identity.issued:
            raise Refused("ended")
        room = self.rooms.get(identity.room)
        if room is not None:
            room.check(identity)
            return room
        _, removed = self._removed.get(identity.room, (0, {}))
        if removed.get(identity.participant, -1) >= identity.issued:
            raise Refused("removed")
        if len(self.rooms) >= self._settings.rooms:
            raise Refused("full", "rooms")
        room = self.rooms[identity.room] = self._make(identity.room)
        room.removed.update(removed)
        return room

    def was_removed(self, identity: Identity) -> bool:
        """Whether this one was put out of the room after its token was issued."""
        room = self.rooms.get(identity.room)
        removed = room.removed if room is not None else self._removed.get(identity.room, (0, {}))[1]
        return removed.get(identity.participant, -1) >= identity.issued

    def end(self, room: str, reason: str = "hub") -> bool:
        """Ends a room from outside; False when there is none."""
        found = self.rooms.get(room)
        if found is not None:
            found.end(None, reason)
            self.sweep()
        return found is not None

    def tick(self) -> None:
        """Each half second or so."""
        for room in list(self.rooms.values()):
            try:
                room.tick()
            except Exception:
                log.exception("room %s", room.id)
        self.sweep()

    def sweep(self) -> None:
        """Forgets rooms that ended, but not that they did, as long as one of their tokens may still live."""
        now = int(self._now())
        for room in [room for room in self.rooms.values() if room.state == "ended"]:
            del self.rooms[room.id]
            self.dirty = True
            if room.started is not None:
                self._ended[room.id] = now
            if room.removed:
                self._removed[room.id] = (now + self._settings.resume_seconds, dict(room.removed))
        old = now - self._settings.resume_seconds
        while self._ended and (first := next(iter(self._ended))) and self._ended[first] < old:
            del self._ended[first]
        while self._removed and (first := next(iter(self._removed))) and self._removed[first][0] < now:
            del self._removed[first]

    def sessions(self) -> int:
        """Participants in all rooms."""
        return sum(len(room.participants) for room in self.rooms.values())

    def counts(self) -> tuple[Counter[str], Counter[tuple[str, str]]]:
        """Rooms by state, participants by role and how they came."""
        states: Counter[str] = Counter(str(room.state) for room in self.rooms.values())
        people = Counter((p.role.value, str(p.via)) for room in self.rooms.values() for p in room.participants.values())
        return states, people

    def changed(self) -> bool:
        """Whether a snapshot would differ from the last one; asking resets it."""
        changed = self.dirty or any(room.dirty for room in self.rooms.values())
        self.dirty = False
        for room in self.rooms.values():
            room.dirty = False
        return changed

    def snapshot(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        return {
            "version": 1, "rooms": [snapshot(room) for room in self.rooms.values() if room.state != "ended"], "ended": dict(self._ended),
            "removed": {room: [until, dict(ids)] for room, (until, ids) in self._removed.items()},
        }  # fmt: skip

    def part(self, room: str) -> dict[str, Any]:
        """As `snapshot()`, of one room that is open or was: for the relay that takes it over."""
        found = self.rooms.get(room)
        ended, removed = self._ended.get(room), self._removed.get(room)
        return {
            "version": 1, "rooms": [snapshot(found)] if found is not None and found.state != "ended" else [],
            "ended": {} if ended is None else {room: ended}, "removed": {} if removed is None else {room: [removed[0], dict(removed[1])]},
        }  # fmt: skip

    def release(self, room: str) -> None:
        """Another relay has it now: its people are sent there, and nothing of it is left here."""
        found = self.rooms.pop(room, None)
        if found is not None:
            found.move()

    def restore(self, saved: dict[str, Any]) -> None:
        """From `snapshot()`. A room that cannot be read is left out and logged; its people come back by their resume tokens."""
        self._ended.update(saved.get("ended", {}))
        self._removed.update({room: (until, dict(ids)) for room, (until, ids) in saved.get("removed", {}).items()})
        for one in saved.get("rooms", []):
            try:
                room = self._make(one["id"])
                restore(room, one)
                self.rooms[room.id] = room
            except (KeyError, TypeError, ValueError, AttributeError):
                log.exception("a room of the saved state cannot be read")
