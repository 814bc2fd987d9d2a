"""The one door for reads: everything a request may see, it sees through a View and its filter."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from fhir_profiles.tables import type_number
from health_hub.fhir import audit, shared
from health_hub.fhir.consent import decode
from health_hub.fhir.json import dumps, loads
from health_hub.fhir.labels import EVERY
from health_hub.fhir.masking import MARK, masks, redacted
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import Query
from health_hub.store.access import Facts, facts_of, now, sees, settled
from health_hub.store.commit import stored
from health_hub.store.condition import NOTHING
from health_hub.store.judge import ACCESS, COLUMNS, SQLITE, SQLITE_PARTIES, SQLITE_RULES, WANTED, A, Judged, R, by_id, place
from health_hub.store.model import Filter, HistoryPage, SearchPage, Stored
from health_hub.store.postgresql import PostgresDatabase
from health_hub.store.prepare import rows_of
from health_hub.store.settled import from_some_time_on, narrowed
from health_hub.store.sqlite import SqliteDatabase
from health_hub.store.together import Together


class Reads:
    """Current versions by id, and ids by condition. On PostgreSQL those that wait at the same time share a statement."""

    def __init__(self, database: SqliteDatabase | PostgresDatabase, timeout: float) -> None:
        self._db, self._timeout = database, timeout
        self._rows: Together[tuple[int, str], Any] = Together(self._fetch)
        self._judged: Together[tuple[int, str], Judged | None] = Together(self._fetch_judged)
        self._ids: Together[tuple[Query, Filter, int], list[str]] = Together(self._search, lambda asked: asked[1:])

    async def get(self, number: int, id: str) -> Any | None:
        """The row with its ACCESS columns, or None."""
        if isinstance(self._db, SqliteDatabase):
            rows = self._db.get(SQLITE, (number, id))
            return rows[0] if rows else None
        return await self._rows((number, id))

    async def judged(self, number: int, id: str) -> Judged | None:
        """The row and all that a filter may ask about it: relationships and Consents as they are now."""
        if not isinstance(self._db, SqliteDatabase):
            return await self._judged((number, id))
        row = await self.get(number, id)
        if row is None:
            return None
        facts = facts_of(row)
        if facts.persons:
            asked = place(facts, now())
            facts.parties = frozenset(r[0] for r in self._db.get(SQLITE_PARTIES, asked))
            facts.rules = [decode(r[0]) for r in self._db.get(SQLITE_RULES, asked)]
        return row, facts

    async def _fetch(self, wanted: list[tuple[int, str]]) -> list[Any]:
        if len(wanted) == 1:
            rows = await self._db.fetch(f"SELECT {COLUMNS}, {ACCESS} FROM resource WHERE type = $1 AND id = $2", wanted[0])
        else:
            rows = await self._db.fetch(f"SELECT {R}, {A} FROM {WANTED}", ([n for n, _ in wanted], [i for _, i in wanted]))
        return _in_order(rows, wanted)

    async def _fetch_judged(self, wanted: list[tuple[int, str]]) -> list[Judged | None]:
        found = await by_id(self._db, wanted)
        return [found.get(key) for key in wanted]

    async def find(self, query: Query, filter: Filter, limit: int) -> list[str]:
        """Ids that match, at most `limit`."""
        return await self._ids((query, filter, limit))

    async def _search(self, asked: list[tuple[Query, Filter, int]]) -> list[list[str]]:
        from health_hub.store import search

        _, filter, limit = asked[0]
        return await search.find(self._db.reader, [query for query, _, _ in asked], filter, limit, timeout=self._timeout)


def _in_order(rows: list[Any], wanted: list[tuple[int, str]]) -> list[Any]:
    found = {(r[1], r[2]): r for r in rows}
    return [found.get(key) for key in wanted]


class View:
    """Reads within one filter. Rows outside of it do not exist here. observe: is told of every version that is handed out."""

    def __init__(self, store: Any, filter: Filter, observe: Callable[[Stored], None] | None = None) -> None:
        self._store, self.filter, self._observe = store, filter, observe
        self._masking = filter.labels != EVERY or filter.told is not None
        self._db: SqliteDatabase | PostgresDatabase = store.database

    async def _row(self, number: int, id: str) -> tuple[Any, Facts | None] | None:
        """The row by id, if it is seen; its facts where there is a filter."""
        if self.filter.grants is None:
            row = await self._store.reads.get(number, id)
            return None if row is None else (row, None)
        where = self.filter.on(number)
        if where == NOTHING:
            return None
        if self.filter.asks_elsewhere(number):
            found = await self._store.reads.judged(number, id)
            if found is None or not sees(where, found[1], now()):
                return None
            return found[0], found[1]
        row = await self._store.reads.get(number, id)
        if row is None or not sees(where, facts := facts_of(row), now()):
            return None
        return row, facts

    def _shown(self, row: Any) -> Stored:
        """The version as this view shows it: elements with a label that it has no right to are masked."""
        found = self._masked(stored(row)) if self._masking else stored(row)
        if self._observe is not None:
            self._observe(found)
        return found

    def _vet(self, query: Query) -> None:
        """FhirError 403 for a search that would tell, by what it finds, of whom else an AuditEvent is."""
        if self.filter.told is not None and audit.asks_of_others(query, self.filter.told):
            raise FhirError(403, Issue("forbidden", "AuditEvents are searched by the own record only"))

    def _masked(self, found: Stored) -> Stored:
        if self.filter.told is not None and found.type == audit.TYPE and found.doc is not None:
            return replace(found, doc=dumps(audit.only(loads(found.doc), self.filter.told)))
        if self.filter.told is not None and (apart := shared.alone(found.doc, self.filter.told)) is not None:
            return replace(found, doc=dumps(redacted(apart, self.filter.labels)))
        if found.doc is None or MARK not in found.doc:
            return found
        return replace(found, doc=dumps(redacted(loads(found.doc), self.filter.labels)))

    async def read(self, type: str, id: str) -> Stored | None:
        """The current version, `deleted` or not; None when there never was one here."""
        found = await self._row(type_number(type), id)
        return None if found is None else self._shown(found[0])

    async def read_many(self, wanted: Sequence[tuple[str, str]]) -> list[Stored | None]:
        """The current versions in the order asked for."""
        if not wanted:
            return []
        return list(await asyncio.gather(*[self.read(t, i) for t, i in wanted]))

    async def vread(self, type: str, id: str, version: int) -> Stored | None:
        """One version, current or old. Old versions are seen by who sees the current one, and would see that of the old."""
        found = await self._row(type_number(type), id)
        if found is None:
            return None
        row, facts = found
        if row[3] == version:
            return self._shown(row)
        rows = await self._db.fetch(
            f"SELECT {COLUMNS} FROM history WHERE rid = {self._arg(1)} AND version = {self._arg(2)}", (row[0], version)
        )
        if not rows or (facts is not None and (masks(row[7], self.filter.labels) or not self._saw(rows[0], facts))):
            return None
        return self._shown(rows[0])

    def _saw(self, row: Any, now_facts: Facts) -> bool:
        """Whether an old version may be seen by who sees the current one: its own labels and patients count as well."""
        if row[7] is None:
            return True
        rows = rows_of(loads(row[7]), row[7])
        then = replace(now_facts, keys=rows.keys, sensitive=now_facts.sensitive | rows.sensitive)
        if not set(rows.persons) <= set(now_facts.persons):
            # It was about someone else then: only who owns it sees that.
            then = replace(then, persons=(), parties=frozenset(), rules=())
        return sees(self.filter.on(row[1]), then, now())

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
            args.append(v)
            return self._arg(len(args))

        row = None
        if type is not None and id is not None:
            found = await self._row(type_number(type), id)
            if found is None:
                return HistoryPage([], None, 0)
            row = found[0]
        order = "version DESC" if row is not None else "updated DESC, rid DESC, version DESC"
        where, until = [], None
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
        if row is None and self.filter.grants is not None:
            where.append(await self._visible("r.rid", args, () if type is None else (type_number(type),)))
        if rids is not None:
            where.append(f"r.rid IN ({', '.join(str(int(r)) for r in rids) or 'NULL'})")
        if since_ms is not None:
            where.append(f"r.updated >= {arg(since_ms)}")
            if row is None and cursor is None:  # further pages go back in time
                until = await self._store.settled.until()
                if until is not None:
                    where.append(f"r.updated <= {arg(until)}")
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
            f"SELECT * FROM (SELECT {R} FROM {table} r WHERE {condition}{extra} ORDER BY {order} LIMIT {limit}) AS {table}_part"
            for table, extra in (("resource", ""), ("history", ended))
        ]
        rows = await self._db.fetch(
            f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS both_parts ORDER BY {order} LIMIT {limit}", args, self._store.timeout
        )
        last = rows[count - 1] if len(rows) > count else None
        kept = rows[:count]
        # Versions are numbered without gaps, so the newest number is how many there are.
        total = row[3] if row is not None and since_ms is None and at is None and rids is None else None
        if self.filter.grants is not None and kept:
            judged = await self._judged(kept)
            kept = [r for r in kept if r[0] in judged and self._told(r, *judged[r[0]])]
            total = len(kept) if total is not None and last is None and cursor is None else None
        return HistoryPage([self._shown(r) for r in kept], [last[4], last[0], last[3]] if last else None, total, until)

    def _told(self, row: Any, current: Any, facts: Facts) -> bool:
        """Whether a version belongs into a history: an element that was masked later stands open in the versions before."""
        return self._saw(row, facts) and (row[3] == current[3] or not masks(current[7], self.filter.labels))

    async def _judged(self, rows: Sequence[Any]) -> dict[int, Judged]:
        """The current versions of these rows that the filter shows, with what it may ask of them, by rid."""
        names = {r[0]: (r[1], r[2]) for r in rows}
        found = await asyncio.gather(*[self._store.reads.judged(*name) for name in names.values()])
        pairs = zip(names, found, strict=True)
        return {rid: f for rid, f in pairs if f is not None and sees(self.filter.on(f[1].type), f[1], now())}

    async def _visible(self, rid: str, args: list[Any], types: tuple[int, ...]) -> str:
        """SQL: the current row of `rid`, deleted or not, is seen. Its arguments are added to `args`."""
        from health_hub.store.search.sql import Sql

        access = await settled(self.filter, self._db.fetch, sqlite=self._db.dialect == "sqlite")
        access.plain = True  # a deleted row has no keys; its own columns are asked
        sql = Sql(self._db.dialect, access)
        sql.args = args
        asked = " AND ".join(sql.seen("f", types)) or "1 = 1"
        return f"EXISTS (SELECT 1 FROM resource f WHERE f.rid = {rid} AND {asked})"

    async def search(self, query: Query, cursor: Any | None = None) -> SearchPage:
        """One page of matches and what they include."""
        from health_hub.store import search

        self._vet(query)
        until = None if cursor is None else cursor.get("u")
        if cursor is None and from_some_time_on(query) is not None:
            until = await self._store.settled.until()
        if until is not None:
            query = narrowed(query, until)
        page = await search.search(self._db.reader, query, self.filter.asked(query), cursor, timeout=self._store.timeout)
        if until is not None:
            page.until = until
            if page.cursor is not None:
                page.cursor["u"] = until  # no page tells more than the first
        if self._masking:
            page.hits = [replace(h, stored=self._masked(h.stored)) for h in page.hits]
        if self._observe is not None:
            for hit in page.hits:
                self._observe(hit.stored)
        if self._store.parameters.told is not None:
            why = (
                f"the search index is being rebuilt ({self._store.parameters.told}); new search parameters may not find everything yet"
            )
            page.issues = (*page.issues, Issue("incomplete", why, (), "warning"))
        return page

    async def count(self, query: Query) -> int:
        """How many match."""
        from health_hub.store import search

        self._vet(query)

        return await search.count(self._db.reader, query, self.filter.asked(query), timeout=self._store.timeout)

    async def find(self, queries: Sequence[Query], limit: int = 2) -> list[list[str]]:
        """Ids that match each query, at most `limit`: for conditional interactions and references."""
        from health_hub.store import search

        for query in queries:
            self._vet(query)
        if len(queries) == 1 and self._db.dialect == "postgresql":
            return [await self._store.reads.find(queries[0], self.filter.asked(queries[0]), limit)]
        filters = [self.filter.asked(query) for query in queries]
        if all(filter is self.filter for filter in filters):
            return await search.find(self._db.reader, queries, self.filter, limit, timeout=self._store.timeout)
        pairs = zip(queries, filters, strict=True)
        return [(await search.find(self._db.reader, [q], f, limit, timeout=self._store.timeout))[0] for q, f in pairs]

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
            if self.filter.grants is not None:
                where += " AND " + await self._visible("r.rid", args, tuple(numbers))
            if not deleted:
                where += " AND NOT r.deleted"
            rows = await self._db.fetch(f"SELECT {R} FROM resource r WHERE {where} ORDER BY r.rid LIMIT 500", args)
            for row in rows:
                yield self._shown(row)
            if len(rows) < 500:
                return
            at = rows[-1][0]

    async def blob(self, stored: Stored, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The content of a Binary from byte `start` to `stop`, in pieces."""
        from health_hub.store.blobs import read

        async for piece in read(self._db, stored, start, stop):
            yield piece
