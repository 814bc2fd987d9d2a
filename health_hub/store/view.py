"""The one door for reads: everything a request may see, it sees through a View and its filter."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fhir_profiles.tables import type_number
from health_hub.fhir.outcome import Issue
from health_hub.fhir.search.query import Query
from health_hub.store.commit import stored
from health_hub.store.model import Filter, HistoryPage, SearchPage, Stored
from health_hub.store.postgresql import PostgresDatabase
from health_hub.store.sqlite import SqliteDatabase
from health_hub.store.together import Together

COLUMNS = "rid, type, id, version, updated, deleted, method, doc"
_R = ", ".join("r." + c for c in COLUMNS.split(", "))


class Reads:
    """Current versions by id, and ids by condition. On PostgreSQL those that wait at the same time share a statement."""

    def __init__(self, database: SqliteDatabase | PostgresDatabase, timeout: float) -> None:
        self._db, self._timeout = database, timeout
        self._rows: Together[tuple[int, str], Any] = Together(self._fetch)
        self._ids: Together[tuple[Query, Filter, int], list[str]] = Together(self._search, lambda asked: asked[1:])

    async def get(self, number: int, id: str) -> Any | None:
        """The row, or None."""
        if isinstance(self._db, SqliteDatabase):
            rows = self._db.get(f"SELECT {COLUMNS}, keys FROM resource WHERE type = ?1 AND id = ?2", (number, id))
            return rows[0] if rows else None
        return await self._rows((number, id))

    async def _fetch(self, wanted: list[tuple[int, str]]) -> list[Any]:
        if len(wanted) == 1:
            rows = await self._db.fetch(f"SELECT {COLUMNS}, keys FROM resource WHERE type = $1 AND id = $2", wanted[0])
        else:
            rows = await self._db.fetch(
                f"SELECT {_R}, r.keys FROM unnest($1::smallint[], $2::text[]) AS q(t, i) JOIN resource r ON r.type = q.t AND r.id = q.i",
                ([n for n, _ in wanted], [i for _, i in wanted]),
            )
        found = {(r[1], r[2]): r for r in rows}
        return [found.get(key) for key in wanted]

    async def find(self, query: Query, filter: Filter, limit: int) -> list[str]:
        """Ids that match, at most `limit`."""
        return await self._ids((query, filter, limit))

    async def _search(self, asked: list[tuple[Query, Filter, int]]) -> list[list[str]]:
        from health_hub.store import search

        _, filter, limit = asked[0]
        return await search.find(self._db.reader, [query for query, _, _ in asked], filter, limit, timeout=self._timeout)


class View:
    """Reads within one filter. Rows outside of it do not exist here."""

    def __init__(self, store: Any, filter: Filter) -> None:
        self._store, self.filter = store, filter
        self._db: SqliteDatabase | PostgresDatabase = store.database

    def _sees(self, keys: Any) -> bool:
        from array import array

        if self.filter.keys_any is None:
            return True
        have = array("q", keys or b"") if isinstance(keys, bytes | type(None)) else keys
        return not set(self.filter.keys_any).isdisjoint(have)

    async def read(self, type: str, id: str) -> Stored | None:
        """The current version, `deleted` or not; None when there never was one here."""
        row = await self._store.reads.get(type_number(type), id)
        return stored(row) if row is not None and self._sees(row[8]) else None

    async def read_many(self, wanted: Sequence[tuple[str, str]]) -> list[Stored | None]:
        """The current versions in the order asked for."""
        if not wanted:
            return []
        rows = await asyncio.gather(*[self._store.reads.get(type_number(t), i) for t, i in wanted])
        return [stored(r) if r is not None and self._sees(r[8]) else None for r in rows]

    async def vread(self, type: str, id: str, version: int) -> Stored | None:
        """One version, current or old. Old versions are seen by who sees the current one."""
        row = await self._store.reads.get(type_number(type), id)
        if row is None or not self._sees(row[8]):
            return None
        if row[3] == version:
            return stored(row)
        rows = await self._db.fetch(
            f"SELECT {COLUMNS} FROM history WHERE rid = {self._arg(1)} AND version = {self._arg(2)}", (row[0], version)
        )
        return stored(rows[0]) if rows else None

    def _arg(self, n: int) -> str:
        return f"?{n}" if self._db.dialect == "sqlite" else f"${n}"

    async def history(
        self,
        type: str | None = None,
        id: str | None = None,
        *,
        since_ms: int | None = None,
        at: tuple[int, int] | None = None,
        rids: Sequence[int] | None = None,
        count: int = 100,
        cursor: Any | None = None,
    ) -> HistoryPage:
        """Versions newest first: of one resource, a type or everything; with `rids`, of those only.

        `at`: ms, current at some moment in between.
        """
        args: list[Any] = []

        def arg(v: Any) -> str:
            args.append(self._keys(v) if isinstance(v, list) else v)
            return self._arg(len(args))

        row = None
        if type is not None and id is not None:
            row = await self._store.reads.get(type_number(type), id)
            if row is None or not self._sees(row[8]):
                return HistoryPage([], None, 0)
        order = "version DESC" if row is not None else "updated DESC, rid DESC, version DESC"
        where = []
        if row is not None:
            where.append(f"r.rid = {arg(row[0])}")
        elif type is not None:
            where.append(f"r.type = {arg(type_number(type))}")
        if cursor:
            where.append(
                f"r.version < {arg(cursor[2])}"
                if row is not None
                else f"(r.updated, r.rid, r.version) < ({arg(cursor[0])}, {arg(cursor[1])}, {arg(cursor[2])})"
            )
        if row is None and self.filter.keys_any is not None:
            where.append(self._visible("r.rid", arg(list(self.filter.keys_any))))
        if rids is not None:
            where.append(f"r.rid IN ({', '.join(str(int(r)) for r in rids) or 'NULL'})")
        if since_ms is not None:
            where.append(f"r.updated >= {arg(since_ms)}")
        ended = ""
        if at is not None:
            where.append(f"r.updated <= {arg(at[1])}")
            # A version ends as the next begins; within one millisecond both were current.
            start = arg(at[0])
            ended = (
                f" AND (r.updated >= {start} OR coalesce("
                "(SELECT n.updated FROM history n WHERE n.rid = r.rid AND n.version = r.version + 1), "
                f"(SELECT n.updated FROM resource n WHERE n.rid = r.rid)) > {start})"
            )
        condition, limit = " AND ".join(where) or "true", arg(count + 1)
        parts = [
            f"SELECT * FROM (SELECT {_R} FROM {table} r WHERE {condition}{extra} ORDER BY {order} LIMIT {limit}) AS {table}_part"
            for table, extra in (("resource", ""), ("history", ended))
        ]
        rows = await self._db.fetch(
            f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS both_parts ORDER BY {order} LIMIT {limit}", args, self._store.timeout
        )
        versions = [stored(r) for r in rows[:count]]
        last = versions[-1] if len(rows) > count else None
        # Versions are numbered without gaps, so the newest number is how many there are.
        total = row[3] if row is not None and since_ms is None and at is None and rids is None else None
        return HistoryPage(versions, [last.updated, last.rid, last.version] if last else None, total)

    def _keys(self, keys: list[int]) -> Any:
        """An array as an argument: SQLite takes it as JSON."""
        return keys if self._db.dialect == "postgresql" else str(keys)

    def _visible(self, rid: str, keys: str) -> str:
        """SQL: the current row of `rid` carries one of the filter's keys, which are the argument `keys`."""
        if self._db.dialect == "postgresql":
            return f"EXISTS (SELECT 1 FROM resource f WHERE f.rid = {rid} AND f.keys && {keys}::bigint[])"
        return f"EXISTS (SELECT 1 FROM key f WHERE f.rid = {rid} AND f.key IN (SELECT value FROM json_each({keys})))"

    async def search(self, query: Query, cursor: Any | None = None) -> SearchPage:
        """One page of matches and what they include."""
        from health_hub.store import search

        query = await self._store.settled.narrowed(query)
        page = await search.search(self._db.reader, query, self.filter, cursor, timeout=self._store.timeout)
        if self._store.parameters.told is not None:
            why = (
                f"the search index is being rebuilt ({self._store.parameters.told}); new search parameters may not find everything yet"
            )
            page.issues = (*page.issues, Issue("incomplete", why, (), "warning"))
        return page

    async def count(self, query: Query) -> int:
        """How many match."""
        from health_hub.store import search

        return await search.count(self._db.reader, query, self.filter, timeout=self._store.timeout)

    async def find(self, queries: Sequence[Query], limit: int = 2) -> list[list[str]]:
        """Ids that match each query, at most `limit`: for conditional interactions and references."""
        from health_hub.store import search

        if len(queries) == 1 and self._db.dialect == "postgresql":
            return [await self._store.reads.find(queries[0], self.filter, limit)]
        return await search.find(self._db.reader, queries, self.filter, limit, timeout=self._store.timeout)

    async def scan(self, types: Sequence[str] = (), since_ms: int | None = None, *, deleted: bool = False) -> AsyncIterator[Stored]:
        """Every current resource in row order; what is written meanwhile may or may not be seen."""
        at = 0
        numbers = [type_number(t) for t in types]
        while True:
            args: list[Any] = [at]
            where = f"r.rid > {self._arg(1)}"
            if numbers:
                where += f" AND r.type IN ({', '.join(map(str, numbers))})"
            if since_ms is not None:
                args.append(since_ms)
                where += f" AND r.updated >= {self._arg(len(args))}"
            if self.filter.keys_any is not None:
                args.append(self._keys(list(self.filter.keys_any)))
                where += " AND " + self._visible("r.rid", self._arg(len(args)))
            if not deleted:
                where += " AND NOT r.deleted"
            rows = await self._db.fetch(f"SELECT {_R} FROM resource r WHERE {where} ORDER BY r.rid LIMIT 500", args)
            for row in rows:
                yield stored(row)
            if len(rows) < 500:
                return
            at = rows[-1][0]

    async def blob(self, stored: Stored, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The content of a Binary from byte `start` to `stop`, in pieces."""
        from health_hub.store.blobs import read

        async for piece in read(self._db, stored, start, stop):
            yield piece
