"""The directory in a file, for the processes of one machine: no other server is needed."""

import asyncio
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from telemed.directory.sql import TABLES, SqlDirectory

_MARK = re.compile(r"\$(\d)")


class SqliteDirectory(SqlDirectory):
    """path: of the file; `:memory:` for one process alone."""

    words: ClassVar[Mapping[str, str]] = {
        "now": "((julianday('now') - 2440587.5) * 86400.0)", "real": "real", "bytes": "blob",
        "serial": "integer PRIMARY KEY AUTOINCREMENT",
        "list:$2": "SELECT value FROM json_each($2)",
    }  # fmt: skip

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Raises OSError."""
        try:
            self._db = await asyncio.to_thread(self._connect)
        except sqlite3.Error as e:
            raise OSError(f"{self._path}: {e}") from None

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, timeout=10)
        # Under the name that the schema has on PostgreSQL.
        db.execute("ATTACH DATABASE ? AS telemed", (self._path,))
        db.execute("PRAGMA telemed.journal_mode = WAL")
        db.execute("PRAGMA telemed.synchronous = NORMAL")
        for table in TABLES:
            db.execute(self._sql(table))
        return db

    async def close(self) -> None:
        """Nothing is asked any more."""
        async with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    async def _run(self, sql: str, *args: Any) -> list[Any]:
        return await self._threaded(lambda db: db.execute(_MARK.sub(r"?\1", self._sql(sql)), args).fetchall())

    async def _run_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        def work(db: sqlite3.Connection) -> list[Any]:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(_MARK.sub(r"?\1", self._sql(sql)), rows)
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
            return []

        if rows:
            await self._threaded(work)

    async def _threaded(self, work: Any) -> list[Any]:
        # In a thread: another process may be writing, and sound must not wait for a disk. Shielded: the lock is held until it is done.
        async with self._lock:
            if self._db is None:
                raise OSError("the directory is closed")
            doing = asyncio.ensure_future(asyncio.to_thread(work, self._db))
            try:
                found: list[Any] = await asyncio.shield(doing)
            except asyncio.CancelledError:
                await asyncio.wait((doing,))
                raise
            except sqlite3.Error as e:
                raise OSError(f"{self._path}: {e}") from e
            return found
