"""A room as plain JSON and back: what a restart must not lose. Media and connections are not in it."""

from typing import Any

from telemed.rooms.participant import Participant
from telemed.rooms.quality import Summary
from telemed.rooms.roles import Right, Role
from telemed.rooms.room import Room
from telemed.tokens import Identity


def snapshot(room: Room) -> dict[str, Any]:
    """Those who came over HTTP are not in it: their sessions end with the process."""
    return {
        "id": room.id, "state": room.state, "since": room.since, "started": room.started, "was_live": room.was_live,
        "removed": dict(room.removed), "past": list(room.past.values()), "chat": room.chat.snapshot(),
        "recording": room.recording.snapshot(), "participants": [_saved(p) for p in room.participants.values() if p.via == "ws"],
    }  # fmt: skip


def restore(room: Room, saved: dict[str, Any]) -> None:
    """Fills a new room: its people are expected back.

    Raises KeyError, TypeError, ValueError or AttributeError for what is no snapshot.
    """
    room.since, room.started, room.was_live = float(saved["since"]), saved["started"], saved["was_live"]
    room.removed = {str(k): int(v) for k, v in saved["removed"].items()}
    room.past = {p["id"]: p for p in saved["past"]}
    room.chat.restore(saved["chat"])
    people = [_participant(room.id, one) for one in saved["participants"]]
    room.recording.restore(saved["recording"])
    room.expect(people, saved["state"])


def _saved(who: Participant) -> dict[str, Any]:
    identity = who.identity
    return {
        "id": who.id, "name": identity.name, "role": identity.role.value, "rights": sorted(identity.rights), "main": identity.main,
        "issued": identity.issued, "jti": identity.jti, "admitted": who.admitted, "since": who.since, "entered": who.entered,
        "hand": who.hand, "summary": who.summary.snapshot(),
    }  # fmt: skip


def _participant(room: str, one: dict[str, Any]) -> Participant:
    rights = frozenset(Right(right) for right in one["rights"])
    identity = Identity(
        room, one["id"], one["name"], Role(one["role"]), rights, one["admitted"], one["main"], one["issued"], 0, one["jti"]
    )
    who = Participant(identity, "ws", one["admitted"], one["since"], one["entered"], one["hand"])
    who.summary = Summary.restore(one["summary"])
    return who
