"""The directory as three tables of a schema of its own; SQLite and PostgreSQL run the same statements."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from telemed.directory.ports import DEAD_SECONDS, KEPT_SECONDS, PLACED_SECONDS, ROOM_SHARE, Node, NoRelay

_NODE = "n.id, n.address, n.load, n.state, n.seen"
_ALIVE = f"n.state = 'serving' AND n.seen > {{now}} - {DEAD_SECONDS}"
_SINCE = "(SELECT count(*) FROM telemed.room r WHERE r.node = n.id AND r.placed > n.seen)"
_LEAST = f"ORDER BY n.load + {ROOM_SHARE} * {_SINCE}, n.id"
_FIND = f"SELECT {_NODE} FROM telemed.room r JOIN telemed.node n ON n.id = r.node WHERE r.id = $1 AND {_ALIVE}"
Run = Callable[..., Awaitable[list[Any]]]
TABLES = (
    "CREATE TABLE IF NOT EXISTS telemed.node ("
    "id text PRIMARY KEY, address text NOT NULL, load {real} NOT NULL, state text NOT NULL, seen {real} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS telemed.room ("
    "id text PRIMARY KEY, node text NOT NULL, placed {real} NOT NULL, expires {real} NOT NULL, snapshot {bytes})",
    "CREATE TABLE IF NOT EXISTS telemed.event (n {serial}, data {bytes} NOT NULL)",
)


class SqlDirectory:
    """`words`: what the two databases call differently."""

    words: ClassVar[Mapping[str, str]]

    def __init__(self) -> None:
        self._beats = 0

    async def _run(self, sql: str, *args: Any) -> list[Any]:
        """One statement in a transaction of its own."""
        raise NotImplementedError

    async def _run_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """One statement with each of the rows, in one transaction."""
        raise NotImplementedError

    def _sql(self, text: str) -> str:
        for name, word in self.words.items():
            text = text.replace("{" + name + "}", word)
        return text

    # --- fronts

    async def place(self, room: str) -> Node:
        """See ports.Directory."""
        found = await self.find(room)
        return found if found is not None else await self._place(room, self._run)

    async def _place(self, room: str, run: Run) -> Node:
        # One statement: where another front was faster the row is its, and stays.
        await run(
            f"INSERT INTO telemed.room (id, node, placed, expires) "
            f"SELECT $1, n.id, {{now}}, {{now}} + {PLACED_SECONDS} FROM telemed.node n WHERE {_ALIVE} {_LEAST} LIMIT 1 "
            f"ON CONFLICT (id) DO UPDATE SET node = excluded.node, placed = excluded.placed, "
            f"expires = CASE WHEN room.snapshot IS NULL THEN excluded.expires ELSE room.expires END "
            f"WHERE room.node NOT IN (SELECT n.id FROM telemed.node n WHERE {_ALIVE})",
            room,
        )
        rows = await run(_FIND, room)
        if not rows:
            raise NoRelay("no relay is alive")
        return Node(*rows[0])

    async def find(self, room: str) -> Node | None:
        """See ports.Directory."""
        rows = await self._run(_FIND, room)
        return Node(*rows[0]) if rows else None

    async def nodes(self) -> list[Node]:
        """See ports.Directory."""
        return [Node(*row) for row in await self._run(f"SELECT {_NODE} FROM telemed.node n WHERE {_ALIVE} {_LEAST}")]

    async def lost(self, node: Node) -> None:
        """See ports.Directory."""
        await self._run("UPDATE telemed.node SET seen = 0 WHERE id = $1 AND seen <= $2", node.id, node.seen)

    # --- relays

    async def beat(self, node: Node, rooms: Sequence[str]) -> list[str]:
        """See ports.Directory."""
        await self._run(
            "INSERT INTO telemed.node (id, address, load, state, seen) VALUES ($1, $2, $3, $4, {now}) ON CONFLICT (id) DO UPDATE SET "
            "address = excluded.address, load = excluded.load, state = excluded.state, seen = excluded.seen",
            node.id, node.address, node.load, node.state,
        )  # fmt: skip
        foreign: list[str] = []
        if rooms:
            await self._run_many(
                f"INSERT INTO telemed.room (id, node, placed, expires) VALUES ($1, $2, {{now}}, {{now}} + {KEPT_SECONDS}) "
                "ON CONFLICT (id) DO UPDATE SET expires = excluded.expires WHERE room.node = excluded.node",
                [(room, node.id) for room in rooms],
            )
            elsewhere = "SELECT r.id FROM telemed.room r WHERE r.node <> $1 AND r.id IN ({list:$2})"
            rows = await self._run(elsewhere, node.id, json.dumps(list(rooms)))
            foreign = [row[0] for row in rows]
        if self._beats % 60 == 0:
            await self._run("DELETE FROM telemed.room WHERE expires < {now}")
            await self._run(f"DELETE FROM telemed.node WHERE seen < {{now}} - {KEPT_SECONDS}")
        self._beats += 1
        return foreign

    async def keep(self, node: str, snapshots: Mapping[str, bytes]) -> None:
        """See ports.Directory."""
        await self._run_many(
            f"INSERT INTO telemed.room (id, node, placed, expires, snapshot) VALUES ($1, $2, {{now}}, {{now}} + {KEPT_SECONDS}, $3) "
            "ON CONFLICT (id) DO UPDATE SET expires = excluded.expires, snapshot = excluded.snapshot WHERE room.node = excluded.node",
            [(room, node, data) for room, data in snapshots.items()],
        )

    async def kept(self, room: str) -> bytes | None:
        """See ports.Directory."""
        rows = await self._run("SELECT snapshot FROM telemed.room WHERE id = $1", room)
        return bytes(rows[0][0]) if rows and rows[0][0] is not None else None

    async def kept_at(self, node: str) -> dict[str, bytes]:
        """See ports.Directory."""
        rows = await self._run("SELECT id, snapshot FROM telemed.room WHERE node = $1 AND snapshot IS NOT NULL AND expires > {now}", node)
        return {row[0]: bytes(row[1]) for row in rows}

    async def report(self, events: Sequence[bytes]) -> None:
        """See ports.Directory."""
        await self._run_many("INSERT INTO telemed.event (data) VALUES ($1)", [(event,) for event in events])

    # --- the hub

    async def events(self, most: int) -> list[tuple[int, bytes]]:
        """See ports.Directory."""
        return [(row[0], bytes(row[1])) for row in await self._run("SELECT n, data FROM telemed.event ORDER BY n LIMIT $1", most)]

    async def done(self, numbers: Sequence[int]) -> None:
        """See ports.Directory."""
        await self._run_many("DELETE FROM telemed.event WHERE n = $1", [(n,) for n in numbers])
