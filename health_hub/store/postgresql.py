"""PostgreSQL behind the store: a pool of readers, a few writing connections (asyncpg)."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.store.connections import Connections

WRITERS = 2
READERS = 8
# jit costs more than it gives on statements of a millisecond. Searches are written so that one plan is right for every value
# (store/search/paging.py), and planning them anew each time would cost as much as running them (160 us against 90).
SESSION = {"jit": "off", "application_name": "health-hub", "timezone": "UTC", "plan_cache_mode": "force_generic_plan", "work_mem": "32MB"}


def unavailable(error: BaseException) -> FhirError:
    return FhirError(503, Issue("transient", f"the database is not reachable ({type(error).__name__}); try again"), [("Retry-After", "2")])


LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)


class PostgresReader:
    """Statements with `$1` placeholders; rows are asyncpg Records."""

    dialect = "postgresql"

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        try:
            return await self._connections.fetch(sql, args, timeout)
        except (TimeoutError, asyncpg.QueryCanceledError):  # before LOST: a TimeoutError is an OSError too
            raise FhirError(503, Issue("too-costly", f"the search took longer than {timeout or 0:g} s; narrow it")) from None
        except LOST as e:
            raise unavailable(e) from e


class PostgresTransaction:
    """One writing transaction on one connection."""

    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(sql, *args, timeout=timeout)
        return rows

    async def run(self, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """Each statement once for each of its rows."""
        for sql, rows in statements:
            if len(rows) == 1:
                await self._connection.execute(sql, *rows[0])
            else:
                await self._connection.executemany(sql, rows)


class PostgresDatabase:
    """`url` is postgresql://user:password@host/database."""

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        self._readers = Connections(self.url, READERS, SESSION)
        self._writers = Connections(self.url, WRITERS + 1, SESSION)  # one more: the trail of reads waits for no transaction
        self.reader = PostgresReader(self._readers)

    async def close(self) -> None:
        await self._readers.close()
        await self._writers.close()

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        return await self.reader.fetch(sql, args, timeout)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        try:
            async with self._writers.acquire() as connection, connection.transaction():
                yield PostgresTransaction(connection)
        except LOST as e:
            raise unavailable(e) from e

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[PostgresTransaction]:
        """For a single statement: it is its own transaction, and two round trips cheaper."""
        try:
            async with self._writers.acquire() as connection:
                yield PostgresTransaction(connection)
        except LOST as e:
            raise unavailable(e) from e

    async def at_once(self, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """A few statements in a transaction of their own; one alone is its own transaction."""
        if len(statements) == 1 and len(statements[0][1]) == 1:
            try:
                await self._writers.run(statements[0][0], statements[0][1][0])
                return
            except LOST as e:
                raise unavailable(e) from e
        async with self.autocommit() if len(statements) == 1 else self.transaction() as t:
            await t.run(statements)

    async def execute(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for each row, in a transaction of its own."""
        async with self.transaction() as t:
            await t.run([(sql, list(rows))])
