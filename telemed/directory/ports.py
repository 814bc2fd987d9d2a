"""What fronts, relays and the hub ask of the directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

BEAT_SECONDS = 1.0  # between two heartbeats of a relay
DEAD_SECONDS = 4.0  # without a heartbeat: its rooms may be placed anew
PLACED_SECONDS = 600.0  # that a placement is kept which no relay has taken up
KEPT_SECONDS = 86_400.0  # that a room's snapshot outlives its last heartbeat
ROOM_SHARE = 0.01  # of a node: what a room is counted as until a heartbeat has its real load


class NoRelay(LookupError):
    """No relay is alive."""


@dataclass(frozen=True, slots=True)
class Node:
    """One relay process. address: `HOST:PORT` of its signalling inside the network. load: 0 idle, 1 full. seen: seconds since 1970."""

    id: str
    address: str
    load: float = 0.0
    state: Literal["serving", "stopping"] = "serving"
    seen: float = 0.0


class Directory(Protocol):
    """One a process. Every method may raise OSError when the directory cannot be reached."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    # --- fronts

    async def place(self, room: str) -> Node:
        """Where a room is; one that is nowhere, or on a relay that died, is put on the least loaded.

        Two fronts that ask together get the same answer. Raises NoRelay.
        """
        ...

    async def find(self, room: str) -> Node | None:
        """Where a room is, without placing it; None too when its relay died."""
        ...

    async def nodes(self) -> list[Node]:
        """Relays that are alive and serve, the least loaded first."""
        ...

    async def lost(self, node: Node) -> None:
        """A front cannot reach it: dead at once, unless it was heard of since `node.seen`."""
        ...

    # --- relays

    async def beat(self, node: Node, rooms: Sequence[str]) -> list[str]:
        """A heartbeat of a relay that holds these rooms; those of them that have been placed elsewhere meanwhile."""
        ...

    async def keep(self, node: str, snapshots: Mapping[str, bytes]) -> None:
        """Snapshots by room; of rooms that are placed elsewhere none is taken."""
        ...

    async def kept(self, room: str) -> bytes | None:
        """The newest snapshot of a room."""
        ...

    async def kept_at(self, node: str) -> dict[str, bytes]:
        """Snapshots of the rooms of a relay, for its restart."""
        ...

    async def report(self, events: Sequence[bytes]) -> None:
        """Events of rooms, durable on return."""
        ...

    # --- the hub

    async def events(self, most: int) -> list[tuple[int, bytes]]:
        """The oldest events, by number."""
        ...

    async def done(self, numbers: Sequence[int]) -> None:
        """These have been taken over."""
        ...
