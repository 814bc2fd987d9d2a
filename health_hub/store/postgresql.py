"""PostgreSQL behind the store: a pool of readers, a few writing connections (asyncpg)."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from health_hub.fhir.outcome import FhirError, Issue

WRITERS = 2
READERS = 8
# jit costs more than it gives on statements of a millisecond; statements are prepared once a connection.
SESSION = {"jit": "off", "application_name": "health-hub", "timezone": "UTC"}


def unavailable(error: BaseException) -> FhirError:
    return FhirError(503, Issue("transient", f"the database is not reachable ({type(error).__name__}); try again"), [("Retry-After", "2")])


LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError, asyncpg.TooManyConnectionsError)


class PostgresReader:
    """Statements with `$1` placeholders; rows are asyncpg Records."""

    dialect = "postgresql"

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        try:
            rows: list[Any] = await self._pool.fetch(sql, *args, timeout=timeout)
        except (TimeoutError, asyncpg.QueryCanceledError):  # before LOST: a TimeoutError is an OSError too
            raise FhirError(503, Issue("too-costly", f"the search took longer than {timeout or 0:g} s; narrow it")) from None
        except LOST as e:
            raise unavailable(e) from e
        return rows


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

    async def _pool(self, size: int) -> Any:
        return await asyncpg.create_pool(self.url, min_size=min(2, size), max_size=size, statement_cache_size=1000,
                                         max_cached_statement_lifetime=0, server_settings=SESSION)

    async def open(self) -> None:
        self._readers = await self._pool(READERS)
        self._writers = await self._pool(WRITERS)
        self.reader = PostgresReader(self._readers)

    async def close(self) -> None:
        for pool in (self._readers, self._writers):
            try:
                await asyncio.wait_for(pool.close(), 10)
            except TimeoutError:
                pool.terminate()

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

    async def execute(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for each row, in a transaction of its own."""
        async with self.transaction() as t:
            await t.run([(sql, list(rows))])
