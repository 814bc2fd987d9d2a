"""The one door for writes: every commit is atomic, and commits that wait together share one database transaction.

While one transaction is being made durable, whatever arrives waits and then goes together in the next one: a disk
flush is paid once for all of them. Each commit still succeeds or fails alone.
"""

import asyncio
import itertools
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from fhir_profiles.tables import type_name
from health_hub.fhir import keys
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import Query
from health_hub.store.guard import Guard, grant
from health_hub.store.model import AlreadyDone, Change, Expect, ExpectationChanged, Filter, Recorded, Relation, Result, Stored, Writer
from health_hub.store.notes import Note, Notes
from health_hub.store.postgresql import WRITERS, PostgresDatabase, unavailable
from health_hub.store.prepare import METHOD_NAMES, METHODS, Clock, Prepared, prepare
from health_hub.store.records import Conflict, Put, Take, apply
from health_hub.store.settled import SURE, Settled, refused_until
from health_hub.store.sqlite import SqliteDatabase
from health_hub.store.trail import Chain, Trail, new_chain
from health_hub.store.write import Head, Transaction, Write, heads, write

LONG = 50  # changes from which on a transaction takes a while to be written down
GROUP = 300  # changes in one shared transaction
UNITS = 1000  # commits in one shared transaction
ALONE = 100  # a commit of more changes than this shares with nobody
TRIES = 5
Find = Callable[[Any, Sequence[Query], Filter], Awaitable[list[list[str]]]]
RETRY = (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError, sqlite3.IntegrityError)


@dataclass(slots=True)
class Unit:
    """One call of `commit`."""

    prepared: list[Prepared]
    expects: Sequence[Expect]
    mark: str | None
    done: "asyncio.Future[list[Result]]"
    by: Writer | None = None
    trail: Recorded = ()
    relations: Sequence[Relation] = ()
    records: Sequence[Put | Take] = ()
    touches: set[tuple[int, str]] = field(default_factory=set)
    simple: bool = False  # only creates under ids of our own: nothing to look up, nothing to lock


def _records(trail: Recorded, results: list[Result]) -> Sequence[bytes]:
    return trail(results) if callable(trail) else trail


def _conflict(p: Prepared, why: str, status: int, code: str) -> FhirError:
    return FhirError(status, Issue(code, f"{p.change.type}/{p.id}: {why}"))


def _lock(expect: Expect) -> int:
    """Names a conditional interaction: two that ask the same have the same lock, on every worker."""
    return keys.value("L", repr((expect.query.types, sorted(expect.query.understood))))


class Committer:
    """Queues units and writes them in groups, as many at a time as there are writing connections."""

    def __init__(self, database: SqliteDatabase | PostgresDatabase, clock: Clock, find: Find, trail: Callable[[], Trail]) -> None:
        self._db, self._clock, self._find, self._trail = database, clock, find, trail
        self._chains: list[Chain] = []
        self.notes = Notes(database, clock, trail)
        self._queue: deque[Unit] = deque()
        self._writing: set[tuple[int, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._limit = 1 if isinstance(database, SqliteDatabase) else WRITERS
        self._block: tuple[int, int] = (0, 0)
        self._block_lock = asyncio.Lock()
        self.settled = Settled(database, clock)
        self.listeners: list[Callable[[list[Result]], None]] = []

    async def commit(
        self,
        changes: Sequence[Change],
        expects: Sequence[Expect],
        mark: str | None,
        *,
        by: Writer | None = None,
        trail: Recorded = (),
        relations: Sequence[Relation] = (),
        records: Sequence[Put | Take] = (),
    ) -> list[Result]:
        if not (changes or expects or mark or relations or records):
            if said := _records(trail, []):
                await self.notes.add(b",".join(said))
            return []
        prepared = []
        for n, change in enumerate(changes):
            prepared.append(prepare(change))
            if n % 100 == 99:
                await asyncio.sleep(0)  # others are served while a large transaction is indexed
        unit = Unit(prepared, expects, mark, asyncio.get_running_loop().create_future(), by, trail, relations, records)
        unit.simple = not (expects or mark is not None or by or trail or relations or records) and all(
            c.action == "create" and c.id is None for c in changes
        )
        if not unit.simple and (changes or expects or records):
            unit.touches = {(p.type, p.id) for p in prepared} | {(0, str(_lock(e))) for e in expects}
            unit.touches |= {(-1, f"{r.kind} {r.id}") for r in records}
        self._queue.append(unit)
        self._start()
        return await unit.done

    def _start(self) -> None:
        # Counted here and not by the set of tasks: a task leaves that a turn of the loop after its last look at the queue.
        if self._queue and self._running < self._limit:
            self._running += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Everything queued is written first."""
        while self._tasks or self._queue:
            self._start()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # a task leaves the set in the turn after its end; to gather what has ended takes no turn (3.12)
        await self.notes.close()

    def _take(self) -> list[Unit]:
        """The next group in order. A unit that touches what is being written waits, and so does all behind it that touches the same."""
        group: list[Unit] = []
        size, blocked, later = 0, set(self._writing), deque[Unit]()
        while self._queue:
            unit = self._queue.popleft()
            n = len(unit.prepared)
            fits = not group or (size + n <= GROUP and n <= ALONE and size <= ALONE * 2 and len(group) < UNITS)
            if not fits or (unit.touches and not blocked.isdisjoint(unit.touches)):
                later.append(unit)
                blocked |= unit.touches
                if not fits:
                    break
                continue
            group.append(unit)
            size += n
            blocked |= unit.touches
        later.extend(self._queue)
        self._queue = later
        return group

    async def _drain(self) -> None:
        chain = self._chains.pop() if self._chains else new_chain()
        try:
            while group := self._take():
                touched = set(itertools.chain.from_iterable(u.touches for u in group))
                self._writing |= touched
                try:
                    chain = await self._write_group(group, chain)
                finally:
                    self._writing -= touched
        finally:
            self._running -= 1
            self._chains.append(chain)

    async def _write_group(self, group: list[Unit], chain: Chain) -> Chain:
        """The chain of the trail as it is afterwards."""
        try:
            return await self._in_time(group, chain)
        except FhirError as e:
            self._fail(group, e)  # the database is away: whether it committed cannot be known
            return new_chain()
        except Exception:
            # Nothing was committed. What one of them cannot have must not be refused to the others.
            for unit in group:
                chain = await self._write_alone(unit, chain)
            return chain

    async def _write_alone(self, unit: Unit, chain: Chain) -> Chain:
        for n in range(TRIES):
            try:
                return await self._in_time([unit], chain)
            except RETRY as e:
                if n == TRIES - 1:
                    self._fail(
                        [unit],
                        FhirError(409, Issue("conflict", f"others keep changing the same resources ({type(e).__name__}); try again")),
                    )
            except Exception as e:
                self._fail([unit], e)
                return chain if isinstance(e, Conflict) else new_chain()
        return chain

    def _fail(self, group: list[Unit], error: Exception) -> None:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            error = unavailable(error)
        for unit in group:
            if not unit.done.done():
                unit.done.set_exception(error)

    async def _in_time(self, group: list[Unit], chain: Chain) -> Chain:
        """Writes the group at a time that no reader was told to be over (settled.py)."""
        # What takes long to be written down asks first: it would be late each time where clients look often.
        long = sum(len(u.prepared) for u in group) > LONG
        if not long:
            try:
                return await self._attempt(group, chain)
            except asyncpg.RaiseError as e:
                self._clock.tick(refused_until(e))
        return await self._attempt(group, chain, tried=True)

    async def _attempt(self, group: list[Unit], chain: Chain, *, tried: bool = False) -> Chain:
        """One database transaction for the group; units that fail their preconditions leave it before anything is written.

        tried: the time is asked for beforehand, which is one round trip more and never in vain.
        """
        group = [u for u in group if not u.done.done()]
        if not tried and all(u.simple for u in group) and isinstance(self._db, PostgresDatabase):
            scope: Any = self._db.autocommit()
        else:
            scope = self._db.transaction()
        finished: list[tuple[Unit, list[Result]]] = []
        notes: list[Note] = []
        try:
            async with scope as t:
                known: dict[tuple[int, str], Head] = {}
                guard = Guard()
                if not all(u.simple for u in group):
                    group = await self._expectations(t, group)
                    wanted = sorted({touch for u in group for touch in u.touches if touch[0] > 0})
                    if wanted:
                        known = await heads(t, wanted)
                    guard = await Guard.of(t, [(u.by, u.prepared) for u in group if u.by is not None])
                size = sum(len(u.prepared) for u in group)
                rids = await self._rids(t, size)
                # After the rows are locked: what they hold now is older, whichever worker wrote it.
                now = self._clock.tick(max((head.updated for head in known.values()), default=0))
                if tried and t.dialect == "postgresql":
                    now = await self.settled.sure(t, now)
                text = self._clock.text(now)
                writes: list[Write] = []
                for unit in group:
                    try:
                        results, new = self._decide(unit, known, guard, rids, now, text)
                    except FhirError as e:
                        unit.done.set_exception(e)
                        continue
                    finished.append((unit, results))
                    writes += new
                if writes:
                    await write(t, writes, SURE if tried else now)
                marks = [(u.mark,) for u, _ in finished if u.mark]
                if marks:
                    await t.run([(f"INSERT INTO mark (name) VALUES ({'?1' if t.dialect == 'sqlite' else '$1'})", marks)])
                if relations := [r for u, _ in finished for r in u.relations]:
                    await grant(t, relations)
                for unit, _ in finished:
                    if unit.records:
                        await apply(t, unit.records)
                if trail := [record for u, results in finished for record in _records(u.trail, results)]:
                    notes = self.notes.take()  # they have their flush for nothing
                    chain = await self._trail().append(t, chain, [*trail, *(record for record, _ in notes)], now)
        except BaseException:
            self.notes.back(notes)
            raise
        self.notes.settle(notes)
        for unit, results in finished:
            if not unit.done.done():
                unit.done.set_result(results)
            for listener in self.listeners:
                listener(results)
        return chain

    async def _expectations(self, t: Transaction, group: list[Unit]) -> list[Unit]:
        """Locks what conditional interactions ask about, asks again, and keeps the units whose answers still hold."""
        if t.dialect == "postgresql":
            locks = sorted({_lock(e) for u in group for e in u.expects})
            if locks:
                await t.fetch("SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k", (locks,))
        found = await self._asked_again(t, [e for u in group for e in u.expects])
        kept = []
        for unit in group:
            error: Exception | None = None
            if unit.mark and await t.fetch(f"SELECT 1 FROM mark WHERE name = {'?1' if t.dialect == 'sqlite' else '$1'}", (unit.mark,)):
                error = AlreadyDone(unit.mark)
            for expect in unit.expects:
                answer = next(found)
                if error is None and isinstance(answer, FhirError):
                    error = answer
                elif error is None and set(answer) != set(expect.ids):
                    error = ExpectationChanged()
            if error is None:
                kept.append(unit)
            else:
                unit.done.set_exception(error)
        return kept

    async def _asked_again(self, t: Transaction, expects: list[Expect]) -> Iterator[Any]:
        """What each expectation finds now: ids, or the error of its own search. Questions of one asker go together."""
        out: list[Any] = [None] * len(expects)
        by_filter: dict[Filter, list[int]] = {}
        for n, expect in enumerate(expects):
            by_filter.setdefault((expect.filter or Filter.everything()).asked(expect.query), []).append(n)
        for filter, places in by_filter.items():
            try:
                for n, ids in zip(places, await self._find(t, [expects[n].query for n in places], filter), strict=True):
                    out[n] = ids
            except FhirError as e:
                if len(places) == 1:
                    out[places[0]] = e
                    continue
                for n in places:
                    try:
                        out[n] = (await self._find(t, [expects[n].query], filter))[0]
                    except FhirError as own:
                        out[n] = own
        return iter(out)

    async def _rids(self, t: Transaction, n: int) -> "itertools.count[int] | Any":
        """Row numbers: blocks of a sequence on PostgreSQL, the next free ones on SQLite, where we alone write."""
        if t.dialect == "sqlite":
            return itertools.count((await t.fetch("SELECT coalesce(max(rid), 0) + 1 FROM resource"))[0][0])
        at, end = self._block
        out: list[range] = []
        async with self._block_lock:
            at, end = self._block
            while n > 0:
                if at >= end:
                    last = (await t.fetch("SELECT nextval('resource_rid')"))[0][0]
                    at, end = last - 999, last + 1
                take = min(n, end - at)
                out.append(range(at, at + take))
                at, n = at + take, n - take
            self._block = (at, end)
        return itertools.chain.from_iterable(out)

    def _decide(
        self, unit: Unit, known: dict[tuple[int, str], Head], guard: Guard, rids: Any, now: int, text: str
    ) -> tuple[list[Result], list[Write]]:
        results, writes = [], []
        by = unit.by
        own = frozenset(p.self for p in unit.prepared if p.change.action != "delete") if by is not None else frozenset()
        for p in unit.prepared:
            change, head = p.change, known.get((p.type, p.id))
            hidden = by is not None and head is not None and guard.hidden(by, p)
            taken = head is not None
            if hidden:
                head = None  # as if it were not there
            alive = head is not None and not head.deleted
            if change.if_version is not None:
                current = head.version if head is not None and not head.deleted else 0
                if change.if_version != current:
                    raise _conflict(
                        p, f"the version is {current or 'none'}, not {change.if_version or 'none'} as the request expects", 412, "conflict"
                    )
            if change.action == "delete":
                if head is None or not alive:
                    results.append(Result(Stored(0, change.type, p.id, head.version if head else 0, now, True, "DELETE", None), False))
                    continue
            elif change.action == "create" and alive:
                raise _conflict(p, "exists already", 409, "duplicate")
            elif change.action == "update" and not alive and not change.may_create:
                raise _conflict(p, "is not known", 404, "not-found")
            if by is not None:
                guard.allow(by, p, alive=alive, taken=taken, own=own)
            version = head.version + 1 if head else 1
            deleted = change.action == "delete"
            doc = None if deleted else p.document(version, text)
            rid = head.rid if head else next(rids)
            owner, author = (head.owner, head.author) if head else (by.owner, by.author) if by is not None else (change.owner, None)
            p.belongs(owner, author, now)
            first, lent = False, None
            if by is not None:
                guard.becomes(by, p, owner, author, new=not alive)
                guard.vouched(by, p, unit.prepared)
                lent = guard.lent(by, p)
                p.lend(lent)
                first = guard.first(p)
            method = "DELETE" if deleted else change.method
            writes.append(
                Write(
                    rid, p.type, p.id, version, now, deleted, METHODS[method], p.self, change.blob, doc, p.rows,
                    replaces=head is not None, owner=owner, author=author, lent=lent,
                )
            )
            results.append(Result(Stored(rid, change.type, p.id, version, now, deleted, method, doc), not alive and not deleted, first))
        return results, writes


def stored(row: Any) -> Stored:
    """From the columns rid, type, id, version, updated, deleted, method, doc."""
    doc = row[7]
    return Stored(row[0], type_name(row[1]), row[2], row[3], row[4], bool(row[5]), METHOD_NAMES[row[6]], doc)
