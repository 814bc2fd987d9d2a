"""Records that are not FHIR: accounts, clients, sessions, grants, keys. One small JSON object each, written all or none.

A record has a kind, an id, a version for compare-and-swap, perhaps references by which it is found, and perhaps an end, after
which it does not exist. What must happen once (a code redeemed, a counter raised, a refresh token rotated) is a `Put` with the
version that was read, or a `Take`.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_COLUMNS = "kind, id, version, expires, data"
LIMIT = 1000  # records one `find` or `page` answers


class Conflict(Exception):
    """Someone else changed, made or took a record first; nothing of the call was written."""


@dataclass(frozen=True, slots=True)
class Record:
    """`expires`: ms since 1970 UTC, None for ever. `version` counts from 1."""

    kind: str
    id: str
    version: int
    expires: int | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a record whole. `version`: the one that must be there now, 0 none (an expired one is none), None any.

    refs: what it can be found by, for instance an account's id for each of its sessions.
    """

    kind: str
    id: str
    data: dict[str, Any]
    version: int | None = None
    expires: int | None = None
    refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Take:
    """Deletes a record. `must`: Conflict unless it is there (and of `version`, where given), so that only one taker has it."""

    kind: str
    id: str
    must: bool = False
    version: int | None = None


def now() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def _record(row: Any) -> Record:
    return Record(row[0], row[1], row[2], row[3], json.loads(row[4]))


class Records:
    """One a store. Reads see what every worker has written."""

    def __init__(self, database: Any) -> None:
        self._db = database
        self._sqlite = database.dialect == "sqlite"

    def _sql(self, text: str) -> str:
        return text.replace("$", "?") if self._sqlite else text

    async def get(self, kind: str, id: str) -> Record | None:
        rows = await self._db.fetch(
            self._sql(f"SELECT {_COLUMNS} FROM record WHERE kind = $1 AND id = $2 AND (expires IS NULL OR expires > $3)"), (kind, id, now())
        )
        return _record(rows[0]) if rows else None

    async def find(self, kind: str, ref: str) -> list[Record]:
        """Records of a kind with this reference, in the order of their ids; at most LIMIT."""
        rows = await self._db.fetch(
            self._sql(
                "SELECT r.kind, r.id, r.version, r.expires, r.data FROM record_ref f JOIN record r ON r.kind = f.kind AND r.id = f.id "
                f"WHERE f.ref = $1 AND f.kind = $2 AND (r.expires IS NULL OR r.expires > $3) ORDER BY r.id LIMIT {LIMIT}"
            ),
            (ref, kind, now()),
        )
        return [_record(r) for r in rows]

    async def page(self, kind: str, after: str = "") -> list[Record]:
        """Records of a kind in the order of their ids, those behind `after`; at most LIMIT."""
        rows = await self._db.fetch(
            self._sql(
                f"SELECT {_COLUMNS} FROM record WHERE kind = $1 AND id > $2 AND (expires IS NULL OR expires > $3) ORDER BY id LIMIT {LIMIT}"
            ),
            (kind, after, now()),
        )
        return [_record(r) for r in rows]

    async def change(self, changes: Sequence[Put | Take]) -> None:
        """All of them or none, durable on return. Raises Conflict."""
        async with self._db.transaction() as t:
            await apply(t, changes)

    async def put(self, kind: str, id: str, data: dict[str, Any], **more: Any) -> None:
        """One Put; `more` as its fields."""
        await self.change([Put(kind, id, data, **more)])

    async def take(self, kind: str, id: str) -> Record | None:
        """Deletes and returns a record: of several takers exactly one has it, the others None."""
        record = await self.get(kind, id)
        if record is None:
            return None
        try:
            await self.change([Take(kind, id, must=True, version=record.version)])
        except Conflict:
            return None
        return record

    async def expire(self) -> None:
        """Removes what has ended; for a task that runs now and then."""
        until = now()
        async with self._db.transaction() as t:
            inner = "SELECT kind, id FROM record WHERE expires <= $1"
            await t.run([(self._sql(f"DELETE FROM record_ref WHERE (kind, id) IN ({inner})"), [(until,)])])
            await t.run([(self._sql("DELETE FROM record WHERE expires <= $1"), [(until,)])])


async def apply(t: Any, changes: Sequence[Put | Take]) -> None:
    """In a transaction under way: all of them, or Conflict."""
    for one in changes:
        await _take(t, one) if isinstance(one, Take) else await _put(t, one)


def _dialect(text: str, t: Any) -> str:
    return text.replace("$", "?") if t.dialect == "sqlite" else text


async def _put(t: Any, put: Put) -> None:
    data = json.dumps(put.data, ensure_ascii=False, separators=(",", ":"))
    if put.version is None:
        where = ""
    elif put.version == 0:
        where = " WHERE record.expires <= $5"
    else:
        where = " WHERE record.version = $6 AND (record.expires IS NULL OR record.expires > $5)"
    args: list[Any] = [put.kind, put.id, put.expires, data]
    insert = f"INSERT INTO record ({_COLUMNS}) VALUES ($1, $2, 1, $3, $4)"
    if put.version:
        args += [now(), put.version]
        text = f"UPDATE record SET version = version + 1, expires = $3, data = $4{where} AND kind = $1 AND id = $2 RETURNING version"
    else:
        if where:
            args.append(now())
        text = (
            f"{insert} ON CONFLICT (kind, id) DO UPDATE SET version = record.version + 1, expires = excluded.expires, "
            f"data = excluded.data{where} RETURNING version"
        )
    if not await t.fetch(_dialect(text, t), args):
        raise Conflict(f"{put.kind} {put.id}")
    await t.run([(_dialect("DELETE FROM record_ref WHERE kind = $1 AND id = $2", t), [(put.kind, put.id)])])
    if put.refs:
        rows = [(ref, put.kind, put.id) for ref in dict.fromkeys(put.refs)]
        await t.run([(_dialect("INSERT INTO record_ref (ref, kind, id) VALUES ($1, $2, $3)", t), rows)])


async def _take(t: Any, take: Take) -> None:
    args: list[Any] = [take.kind, take.id]
    text = "DELETE FROM record WHERE kind = $1 AND id = $2"
    if take.must:
        args.append(now())
        text += " AND (expires IS NULL OR expires > $3)"
        if take.version is not None:
            args.append(take.version)
            text += " AND version = $4"
    if not await t.fetch(_dialect(text + " RETURNING version", t), args) and take.must:
        raise Conflict(f"{take.kind} {take.id}")
    await t.run([(_dialect("DELETE FROM record_ref WHERE kind = $1 AND id = $2", t), [(take.kind, take.id)])])
