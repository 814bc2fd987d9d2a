"""One person or device in a room."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from telemed.ports import MediaPeer, PeerState
from telemed.rooms.quality import Summary
from telemed.rooms.roles import PUBLISH, STRAIGHT_IN, Right, Role
from telemed.tokens import Identity

Via = Literal["ws", "whip", "whep"]


class Ear(Protocol):
    """Where messages to a participant go. Never blocks."""

    def tell(self, text: str, kept: bool) -> None:
        """One encoded message; `kept`: it is numbered and repeated after a lost link, otherwise the newest is enough."""
        ...

    def admitted(self, by: str) -> None:
        """Let in from the waiting room."""
        ...

    def finish(self, code: int) -> None:
        """Nothing follows; close with this code once all is sent."""
        ...


def stamp(seconds: float) -> str:
    """ISO 8601 UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True, eq=False)
class Participant:
    """`since`, `entered`: seconds since 1970; `down_at`: on the room's own clock, None while connected."""

    identity: Identity
    via: Via
    admitted: bool
    since: float
    entered: float | None = None
    hand: bool = False
    down_at: float | None = None
    ear: Ear | None = None
    peer: MediaPeer | None = None
    media: PeerState = PeerState.NEW
    media_at: float = 0.0  # when it became so, on the room's own clock
    link: Literal["up", "down"] = "up"
    summary: Summary = field(default_factory=Summary)
    quality_told: float = 0.0
    watch: dict[str, str] = field(default_factory=dict)  # WHEP: mid -> kind
    follows: str | None = None  # WHEP: whom; None: the main publisher
    bound: dict[str, str | None] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.identity.participant

    @property
    def role(self) -> Role:
        return self.identity.role

    @property
    def publishes(self) -> bool:
        """May send something."""
        return bool(self.identity.rights & PUBLISH) and self.via != "whep"

    @property
    def listed(self) -> bool:
        """Known one by one to the others."""
        return self.role is not Role.WATCHER and self.via != "whep"

    @property
    def consents(self) -> bool:
        """Asked before anything is recorded: everyone but devices and those watchers of whom there is nothing to record."""
        return self.via == "ws" and self.role is not Role.DEVICE and (self.listed or self.publishes)

    def may(self, right: Right) -> bool:
        return right in self.identity.rights

    def reached(self) -> bool:
        """Whether a link to this one exists: its media when there are any that were tried, else signalling."""
        if self.peer is not None and self.media in (PeerState.CONNECTED, PeerState.INTERRUPTED):
            return self.media is PeerState.CONNECTED
        return self.down_at is None

    def record(self) -> dict[str, Any]:
        """As the protocol shows it."""
        who = self.identity
        return {
            "id": who.participant, "name": who.name, "role": who.role.value, "rights": [r.value for r in Right if r in who.rights],
            "state": "admitted" if self.admitted else "waiting", "via": self.via, "since": stamp(self.since), "hand": self.hand,
            "link": self.link,
        }  # fmt: skip


def straight_in(identity: Identity) -> bool:
    """Whether this one does not wait."""
    return identity.admitted or identity.role in STRAIGHT_IN or Right.ADMIT in identity.rights
