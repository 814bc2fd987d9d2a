"""A small pool of PostgreSQL connections: half the cost of asyncpg's for a statement of 100 us, and simple to trust.

A connection that saw anything but a plain answer or a plain database error (a time-out, a cancelled task, a broken
socket) is thrown away instead of being nursed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg


class Connections:
    """At most `size` at once; who finds none free waits in line."""

    def __init__(self, url: str, size: int, session: dict[str, str]) -> None:
        self._url, self._size, self._session = url, size, session
        self._idle: list[Any] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._prepared: dict[tuple[Any, str], Any] = {}  # statements by connection and text
        self._closed = False

    async def _connect(self) -> Any:
        return await asyncpg.connect(self._url, statement_cache_size=256, max_cached_statement_lifetime=0, server_settings=self._session)

    async def _acquire(self) -> Any:
        while True:
            while self._idle:
                c = self._idle.pop()
                if not c.is_closed():
                    return c
                self._lost(c)
            if self._closed:
                raise asyncpg.InterfaceError("the pool is closed")
            if self._open < self._size:
                self._open += 1
                try:
                    return await self._connect()
                except BaseException:
                    self._open -= 1
                    self._wake()
                    raise
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the turn came and nobody takes it
                raise

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _release(self, c: Any, *, sound: bool) -> None:
        if sound and not self._closed and not c.is_closed():
            self._idle.append(c)
        else:
            c.terminate()
            self._lost(c)
        self._wake()

    def _lost(self, c: Any) -> None:
        self._open -= 1
        for key in [key for key in self._prepared if key[0] is c]:
            del self._prepared[key]

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        c = await self._acquire()
        sound = False
        try:
            yield c
            sound = True
        except (asyncpg.PostgresError, ValueError, TypeError):
            sound = not c.is_in_transaction()
            raise
        finally:
            self._release(c, sound=sound and not c.is_in_transaction())

    async def fetch(self, sql: str, args: Sequence[Any], timeout: float | None) -> list[Any]:
        """Rows of one statement, without the cost of a context manager."""
        c = await self._acquire()
        sound = False
        try:
            rows: list[Any] = await c.fetch(sql, *args, timeout=timeout)
            sound = True
            return rows
        except asyncpg.PostgresError:
            sound = True
            raise
        finally:
            self._release(c, sound=sound)

    async def run(self, sql: str, args: Sequence[Any]) -> None:
        """A statement that is run over and over and gives no rows, whose text never changes: a third cheaper than `fetch`."""
        async with self.acquire() as c:
            statement = self._prepared.get((c, sql))
            if statement is None:
                statement = self._prepared[c, sql] = await c.prepare(sql)
            await statement.fetch(*args)

    async def close(self) -> None:
        """Idle connections are closed in order, those in use when they come back."""
        self._closed = True
        while self._idle:
            c = self._idle.pop()
            self._lost(c)
            try:
                await c.close(timeout=5)
            except (TimeoutError, OSError, asyncpg.PostgresError):
                c.terminate()
