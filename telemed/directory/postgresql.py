"""The directory in PostgreSQL, for relays on several machines: in a schema of its own, `telemed`."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import asyncpg

from telemed.directory.ports import Node
from telemed.directory.sql import TABLES, SqlDirectory

_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


class PostgresDirectory(SqlDirectory):
    """url: postgresql://USER:PASSWORD@HOST/NAME."""

    words: ClassVar[Mapping[str, str]] = {
        "now": "extract(epoch FROM clock_timestamp())::float8", "real": "float8", "bytes": "bytea",
        "serial": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "list:$2": "SELECT jsonb_array_elements_text($2::text::jsonb)",
    }  # fmt: skip

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Raises OSError."""
        try:
            self._pool = await asyncpg.create_pool(self._url, min_size=1, max_size=4, timeout=5, command_timeout=5)
        except _FAULTS as e:
            raise OSError(f"the directory cannot be reached: {e}") from e
        async with self._connection() as c, c.transaction():
            # Several that start at once would make the same tables.
            await c.execute("SELECT pg_advisory_xact_lock(hashtextextended('telemed tables', 0))")
            if await c.fetchval("SELECT to_regclass('telemed.event')") is None:
                await c.execute("CREATE SCHEMA IF NOT EXISTS telemed")
                for table in TABLES:
                    await c.execute(self._sql(table))

    async def close(self) -> None:
        """Nothing is asked any more."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise OSError("the directory is closed")
        try:
            async with self._pool.acquire(timeout=5) as connection:
                yield connection
        except _FAULTS as e:
            raise OSError(f"the directory cannot be reached: {e}") from e

    async def _run(self, sql: str, *args: Any) -> list[Any]:
        async with self._connection() as c:
            return list(await c.fetch(self._sql(sql), *args))

    async def _run_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            async with self._connection() as c:
                await c.executemany(self._sql(sql), rows)

    async def place(self, room: str) -> Node:
        """See ports.Directory."""
        found = await self.find(room)
        if found is not None:
            return found
        # A statement sees the relays and rooms as they were when it began. One room is placed at a time, in all fronts: otherwise
        # those that come at once, as after a relay's death, all see the same relay as the emptiest and are heaped on it.
        async with self._connection() as c, c.transaction():
            await c.execute("SELECT pg_advisory_xact_lock(hashtextextended('telemed placing', 0))")

            async def run(sql: str, *args: Any) -> list[Any]:
                return list(await c.fetch(self._sql(sql), *args))

            return await self._place(room, run)
