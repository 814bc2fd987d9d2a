"""Long work and its progress, in the database, so that any worker can answer for it (R4 async.html)."""

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

COLUMNS = "id, kind, state, created, updated, progress, request, result"


@dataclass(frozen=True, slots=True)
class Job:
    """`state`: running, done, failed or cancelled. `progress` is for a person. Times in ms since 1970 UTC."""

    id: str
    kind: str
    state: str
    created: int
    updated: int
    progress: str
    request: dict[str, Any]
    result: bytes | None


def _job(r: Any) -> Job:
    return Job(r[0], r[1], r[2], r[3], r[4], r[5], json.loads(r[6]), r[7])


class Jobs:
    """Kept until deleted or `expire`d."""

    def __init__(self, database: Any) -> None:
        self._db = database
        self._m = "?" if database.dialect == "sqlite" else "$"

    def _sql(self, text: str) -> str:
        return text if self._m == "$" else text.replace("$", "?")

    async def create(self, kind: str, request: dict[str, Any]) -> str:
        id, now = secrets.token_urlsafe(18), time.time_ns() // 1_000_000
        await self._db.execute(
            self._sql(
                f"INSERT INTO job ({COLUMNS}) VALUES ($1, $2, 'running', $3, $4, '', $5, NULL)"
            ),
            [(id, kind, now, now, json.dumps(request))],
        )
        return id

    async def get(self, id: str) -> Job | None:
        rows = await self._db.fetch(
            self._sql(f"SELECT {COLUMNS} FROM job WHERE id = $1"), (id,)
        )
        return _job(rows[0]) if rows else None

    async def running(self, kind: str) -> list[Job]:
        rows = await self._db.fetch(
            self._sql(f"SELECT {COLUMNS} FROM job WHERE kind = $1 AND state = 'running'"),
            (kind,),
        )
        return [_job(r) for r in rows]

    async def progress(self, id: str, text: str) -> None:
        await self._db.execute(
            self._sql("UPDATE job SET progress = $2, updated = $3 WHERE id = $1 AND state = 'running'"),
            [(id, text[:100], time.time_ns() // 1_000_000)],
        )

    async def finish(self, id: str, state: str, result: bytes | None = None) -> None:
        """Only a running job ends: a cancelled one stays cancelled."""
        await self._db.execute(
            self._sql("UPDATE job SET state = $2, result = $3, updated = $4 WHERE id = $1 AND state = 'running'"),
            [(id, state, result, time.time_ns() // 1_000_000)],
        )

    async def delete(self, id: str) -> None:
        await self._db.execute(self._sql("DELETE FROM job WHERE id = $1"), [(id,)])

    async def expire(self, older_than_ms: int) -> None:
        await self._db.execute(self._sql("DELETE FROM job WHERE updated < $1"), [(older_than_ms,)])
