"""SQLite behind the store: one file in WAL mode, one writing thread, reads where they are cheapest."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from health_hub.fhir.outcome import FhirError, Issue

# A read of fewer steps than this (about 2 ms) runs on the event loop; a longer one starts again in a thread.
INLINE_STEPS = 60_000
READERS = 3


def _connect(path: str, *, write: bool) -> sqlite3.Connection:
    c = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=1024, timeout=30)
    c.execute("PRAGMA busy_timeout=30000")
    c.execute("PRAGMA cache_size=-65536" if write else "PRAGMA cache_size=-16384")
    c.execute("PRAGMA mmap_size=1073741824")
    c.execute("PRAGMA temp_store=MEMORY")
    if write:
        c.execute("PRAGMA journal_mode=WAL")
        c.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a power cut as well
        c.execute("PRAGMA wal_autocheckpoint=4000")
    else:
        c.execute("PRAGMA query_only=1")
    return c


def _too_long(seconds: float) -> FhirError:
    return FhirError(503, Issue("too-costly", f"the search took longer than {seconds:g} s; narrow it"))


class SqliteReader:
    """Statements with `?1` placeholders; rows are tuples."""

    dialect = "sqlite"

    def __init__(self, database: "SqliteDatabase") -> None:
        self._database = database

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        return await self._database.fetch(sql, args, timeout)


class SqliteTransaction:
    """One writing transaction; every call is one hop into the writing thread."""

    dialect = "sqlite"

    def __init__(self, database: "SqliteDatabase") -> None:
        self._database = database

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        rows: list[Any] = await self._database.on_writer(lambda c: c.execute(sql, args).fetchall())
        return rows

    async def run(self, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """Each statement once for each of its rows."""

        def work(c: sqlite3.Connection) -> None:
            for sql, rows in statements:
                c.executemany(sql, rows)

        await self._database.on_writer(work)

    async def __aenter__(self) -> "SqliteTransaction":
        await self._database.writer_lock.acquire()
        try:
            await self._database.on_writer(lambda c: c.execute("BEGIN IMMEDIATE"))
        except BaseException:
            self._database.writer_lock.release()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self._database.on_writer(lambda c: c.execute("ROLLBACK" if kind else "COMMIT") if c.in_transaction else None)
        except sqlite3.Error:
            await self._database.on_writer(lambda c: c.execute("ROLLBACK") if c.in_transaction else None)
            raise
        finally:
            self._database.writer_lock.release()


class SqliteDatabase:
    """`url` is sqlite:///path."""

    dialect = "sqlite"

    def __init__(self, url: str) -> None:
        self.path = url.removeprefix("sqlite:///")
        self.reader = SqliteReader(self)

    async def open(self) -> None:
        self._inline = _connect(self.path, write=False)
        self._busy = False
        self._writer = _connect(self.path, write=True)
        self._writer_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self.writer_lock = asyncio.Lock()
        self._readers: list[sqlite3.Connection] = [_connect(self.path, write=False) for _ in range(READERS)]
        self._reader_threads = ThreadPoolExecutor(READERS, "sqlite-reader")

    async def close(self) -> None:
        self._reader_threads.shutdown()
        self._writer_thread.shutdown()
        for c in (self._inline, *self._readers, self._writer):
            c.close()

    def get(self, sql: str, args: Sequence[Any]) -> list[Any]:
        """A read known to be short, on the event loop."""
        return self._inline.execute(sql, args).fetchall()

    async def fetch(self, sql: str, args: Sequence[Any] = (), timeout: float | None = None) -> list[Any]:
        self._inline.set_progress_handler(lambda: 1, INLINE_STEPS)
        try:
            return self._inline.execute(sql, args).fetchall()
        except sqlite3.OperationalError as e:
            if "interrupted" not in str(e):
                raise
        finally:
            self._inline.set_progress_handler(None, 0)
        return await asyncio.get_running_loop().run_in_executor(self._reader_threads, self._fetch_in_thread, sql, args, timeout)

    def _fetch_in_thread(self, sql: str, args: Sequence[Any], timeout: float | None) -> list[Any]:
        import time

        c = self._readers.pop()
        deadline = time.monotonic() + (timeout or 3600)
        c.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        try:
            return c.execute(sql, args).fetchall()
        except sqlite3.OperationalError as e:
            if "interrupted" in str(e):
                raise _too_long(timeout or 0) from None
            raise
        finally:
            c.set_progress_handler(None, 0)
            self._readers.append(c)

    async def on_writer(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer_thread, work, self._writer)

    def transaction(self) -> SqliteTransaction:
        return SqliteTransaction(self)

    async def at_once(self, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """A few statements in a transaction of their own, with one hop into the writing thread."""

        def work(c: sqlite3.Connection) -> None:
            c.execute("BEGIN IMMEDIATE")
            try:
                for sql, rows in statements:
                    c.executemany(sql, rows)
                c.execute("COMMIT")
            except BaseException:
                c.execute("ROLLBACK")
                raise

        async with self.writer_lock:
            await self.on_writer(work)

    async def execute(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for each row, in a transaction of its own."""
        async with self.transaction() as t:
            await t.run([(sql, list(rows))])
