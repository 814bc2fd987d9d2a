"""The store: opens the database, makes it current, and hands out its two doors, `commit` and `view`."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from health_hub.fhir import index, relations
from health_hub.fhir.search.query import Query
from health_hub.store.blobs import stage, sweep
from health_hub.store.commit import Committer
from health_hub.store.jobs import Jobs
from health_hub.store.model import Change, Expect, Filter, Recorded, Relation, Result, Stored, Writer
from health_hub.store.parameters import Parameters
from health_hub.store.postgresql import PostgresDatabase
from health_hub.store.prepare import Clock, new_id
from health_hub.store.records import Put, Records, Take
from health_hub.store.reindex import fingerprint
from health_hub.store.sqlite import SqliteDatabase
from health_hub.store.trail import Trail
from health_hub.store.view import Reads, View

HEAD = "0007"  # the newest migration; a test holds it against migrations/versions
TIMEOUT = 30.0  # seconds a search may take


async def _find(reader: Any, queries: Sequence[Query], filter: Filter) -> list[list[str]]:
    from health_hub.store import search

    return await search.find(reader, queries, filter, 3)


class Store:
    """One a process. `await Store.open(url)`, url being sqlite:///path or postgresql://..."""

    new_id = staticmethod(new_id)

    def __init__(self, database: SqliteDatabase | PostgresDatabase, zone: str, timeout: float) -> None:
        self.database, self.timeout, self.clock = database, timeout, Clock(zone)
        self.reads = Reads(database, timeout)
        self._committer = Committer(database, self.clock, _find, lambda: self.trail)
        self.settled = self._committer.settled
        self.notes = self._committer.notes
        self.jobs = Jobs(database)
        self.records = Records(database)
        self.parameters = Parameters(self)
        self.trail: Trail
        self.secret = b""
        self.stale_index = False

    @staticmethod
    async def open(
        url: str, *, zone: str = "Asia/Ho_Chi_Minh", timeout: float = TIMEOUT, base: str = "", key: str = "",
        durations: tuple[int, int] = (90, 7),
    ) -> "Store":
        """Creates and upgrades the database where it must. References that begin with `base` are indexed as local ones.

        key: what the audit trail is sealed with; without it a secret in the database itself. durations: days after an Encounter
        and before an Appointment that it is a treatment relationship.
        """
        database: SqliteDatabase | PostgresDatabase
        if url.startswith("sqlite:///"):
            database = SqliteDatabase(url)
        elif url.startswith(("postgresql://", "postgres://")):
            database = PostgresDatabase(url)
        else:
            raise ValueError("a database is sqlite:///path or postgresql://user@host/name")
        index.set_zone(ZoneInfo(zone))
        index.set_base(base)
        relations.set_durations(*durations)
        await database.open()
        store = Store(database, zone, timeout)
        try:
            if await store.revision() != HEAD:
                from health_hub.store.upgrade import upgrade

                await upgrade(url)
            await store._settle(key)
        except BaseException:
            await database.close()
            raise
        return store

    async def revision(self) -> str | None:
        """The newest migration the database has had; None for an empty database."""
        if self.database.dialect == "sqlite":
            exists = await self.database.fetch("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
        else:
            exists = await self.database.fetch(
                "SELECT 1 FROM pg_catalog.pg_tables WHERE tablename = 'alembic_version' AND schemaname = current_schema()"
            )
        if not exists:
            return None
        rows = await self.database.fetch("SELECT version_num FROM alembic_version")
        return rows[0][0] if rows else None

    async def _settle(self, key: str) -> None:
        """What a start must find: the shared secret, the fingerprint of the index, no leftovers of staged content."""
        self.secret = bytes.fromhex(await self.setting("secret", secrets.token_hex(32)))
        self.trail = Trail(self.database, key.encode() or self.secret)
        await self.parameters.load()
        index = fingerprint()
        self.stale_index = await self.setting("index", index) != index
        await sweep(self.database)

    async def setting(self, name: str, default: str) -> str:
        """A value all workers share; the first to ask settles the default."""
        mark = "?" if self.database.dialect == "sqlite" else "$"
        rows = await self.database.fetch(f"SELECT value FROM setting WHERE name = {mark}1", (name,))
        if not rows:
            await self.database.execute(
                f"INSERT INTO setting (name, value) VALUES ({mark}1, {mark}2) ON CONFLICT (name) DO NOTHING", [(name, default)]
            )
            rows = await self.database.fetch(f"SELECT value FROM setting WHERE name = {mark}1", (name,))
        return str(rows[0][0])

    async def put_setting(self, name: str, value: str) -> None:
        mark = "?" if self.database.dialect == "sqlite" else "$"
        await self.database.execute(
            f"INSERT INTO setting (name, value) VALUES ({mark}1, {mark}2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [(name, value)],
        )

    async def close(self) -> None:
        """Writes what is queued, then lets go of the database."""
        await self.parameters.stop()
        await self._committer.close()
        await self.database.close()

    def view(self, filter: Filter | None = None, observe: Callable[[Stored], None] | None = None) -> View:
        return View(self, filter or Filter.everything(), observe)

    async def commit(
        self,
        changes: Sequence[Change],
        expects: Sequence[Expect] = (),
        *,
        mark: str | None = None,
        by: Writer | None = None,
        trail: Recorded = (),
        relations: Sequence[Relation] = (),
        records: Sequence[Put | Take] = (),
    ) -> list[Result]:
        """All changes or none, with records of the audit trail (JSON), relationships and other records. On return they are durable.

        by: who commits; None may do everything. Raises FhirError (403, 404, 409, 412, 422, 503), Conflict for `records`,
        ExpectationChanged when a conditional match no longer holds, AlreadyDone when `mark` was committed before.
        """
        results = await self._committer.commit(changes, expects, mark, by=by, trail=trail, relations=relations, records=records)
        if any(r.stored.type == "SearchParameter" for r in results):
            await self.parameters.known()
        return results

    async def marked(self, names: Sequence[str]) -> set[str]:
        """Those of the marks that were committed."""
        found: set[str] = set()
        for at in range(0, len(names), 500):
            part = list(names[at : at + 500])
            if self.database.dialect == "postgresql":
                rows = await self.database.fetch("SELECT name FROM mark WHERE name = ANY ($1::text[])", (part,))
            else:
                rows = await self.database.fetch(f"SELECT name FROM mark WHERE name IN ({', '.join('?' * len(part))})", part)
            found |= {r[0] for r in rows}
        return found

    def listen(self, listener: Callable[[list[Result]], None]) -> None:
        """Calls `listener` with the results of every commit of this process, after it is durable."""
        self._committer.listeners.append(listener)

    async def stage(self, pieces: AsyncIterator[bytes], limit: int) -> tuple[int, int]:
        """Content for a Binary, to be named by `Change.blob`: its number and size. FhirError 413 over `limit` bytes."""
        return await stage(self.database, pieces, limit)

    async def ready(self) -> None:
        """Raises unless the database answers."""
        await asyncio.wait_for(self.database.fetch("SELECT 1"), 5)
