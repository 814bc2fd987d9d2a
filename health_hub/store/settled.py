"""Up to which time everything that will ever carry it can be seen: what `_lastUpdated=gt` needs to miss nothing.

On PostgreSQL a commit gets its time before others can see it, and several are under way at once: one may show a later time
first. A client that goes on from the newest time it has seen would never get the other. So such a search waits for what was
under way when it came, and leaves out what came after itself. On SQLite one transaction follows the other.
"""

import asyncio
import time
from dataclasses import replace
from typing import Any

from health_hub.fhir.search.query import DateValue, Query, Test
from health_hub.store.prepare import Clock

PATIENCE = 2.0  # seconds; a transaction that takes longer may be missed by a client that goes by times
# Seconds that another process may take from choosing its time until its transaction can be seen to run.
GAP = 0.02
_OPEN = frozenset(("gt", "ge", "sa"))


class Settled:
    """One a process."""

    def __init__(self, database: Any, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._writing: set[int] = set()

    def begin(self, after: int) -> int:
        """The time of a commit, which is under way from now until `end`."""
        now = self._clock.tick(after)
        self._writing.add(now)
        return now

    def end(self, now: int) -> None:
        self._writing.discard(now)

    async def narrowed(self, query: Query) -> Query:
        """The query, with an end where it asks for everything from some time on."""
        if self._database.dialect == "sqlite":
            return query
        asked = next((n for n in query.where if type(n) is Test and n.param.code == "_lastUpdated" and _is_open(n)), None)
        if asked is None:
            return query
        limit = (await self._until() + 1) * 1000
        return replace(query, where=(*query.where, Test(asked.param, None, (DateValue("lt", limit, limit),))))

    async def _until(self) -> int:
        limit, end = self._clock.now(), time.monotonic() + PATIENCE
        await asyncio.sleep(GAP)
        newest = (await self._database.fetch("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))[0][0]
        while time.monotonic() < end:
            if not any(t <= limit for t in self._writing):
                rows = await self._database.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                if rows[0][0] >= newest:
                    break
            await asyncio.sleep(0.005)
        return limit


def _is_open(test: Test) -> bool:
    return any(isinstance(v, DateValue) and v.prefix in _OPEN for v in test.values)
