"""Up to which time everything that will ever carry it can be seen: what `_lastUpdated=gt` and `_since` need to miss nothing.

On PostgreSQL a commit gets its time before others can see it, and several are under way at once, in several processes: one may
show a later time first. A client that goes on from the newest time it has seen would never get the other. So who asks for
everything from some time on says up to when it will be told (`settle_time`). From then on no commit with a time up to that goes
through: it is refused as it is written (`commit_number`) and takes a later one. Those that were let through before hold a
transaction number below the one that the reader then got, and are waited for. Nothing rests on clocks that
agree. On SQLite one transaction follows the other.
"""

import asyncio
import time
from collections import deque
from dataclasses import replace
from typing import Any

import asyncpg

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import DateValue, Query, Test
from health_hub.store.prepare import Clock

PATIENCE = 2.0  # seconds; then it is told up to an earlier time, if one is known
LONGEST = 20.0  # seconds
LOOK = 0.002  # seconds between two looks at what is still under way, at first
CLOSELY = 0.05  # seconds from which on only who writes resources is waited for
SURE = 2**62  # a time that is never over: the commit has asked already
_OPEN = frozenset(("gt", "ge", "sa"))
_WRITING = (
    "SELECT t.transactionid::text::bigint FROM pg_locks w JOIN pg_locks t ON t.pid = w.pid "
    "AND t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock' AND t.granted "
    "WHERE w.locktype = 'relation' AND w.relation = 'resource'::regclass AND w.mode = 'RowExclusiveLock' AND w.granted "
    "AND w.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def refused_until(error: asyncpg.RaiseError) -> int:
    """The settled time, out of a refusal of `commit_number`; other errors are raised again."""
    said = str(error)
    if not said.startswith("settled until "):
        raise error
    return int(said.split()[-1])


class Settled:
    """One a process."""

    def __init__(self, database: Any, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._known = 0  # ms; up to here it was once found settled
        self._asked: deque[tuple[int, int]] = deque(maxlen=1000)  # (ms, transaction number), not known to be settled yet

    async def sure(self, t: Any, chosen: int) -> int:
        """In the transaction `t`: the time `chosen`, or a later one, that no reader can be told to be over any more."""
        while (late := (await t.fetch("SELECT settled_after($1)", (chosen,)))[0][0]) is not None:
            chosen = self._clock.tick(late)
        return chosen

    async def until(self) -> int | None:
        """ms since 1970: whatever carries a time up to this one can be seen, or never will be. FhirError 503 when that takes too long.

        None: where one transaction follows the other there is no such end to tell.
        """
        if self._database.dialect == "sqlite":
            return None
        began, pause = time.monotonic(), LOOK
        number: int
        limit: int
        number, limit = (await self._database.fetch("SELECT number, told FROM settle_time($1)", (self._clock.now(),)))[0]
        self._asked.append((limit, number))
        while True:
            waited = time.monotonic() - began
            oldest = await self._oldest(number, closely=waited > CLOSELY)
            if number <= oldest:
                self._known = max(self._known, limit)
            while self._asked and self._asked[0][1] <= oldest:
                self._known = max(self._known, self._asked.popleft()[0])
            if self._known >= limit or (waited > PATIENCE and self._known):
                return min(self._known, limit)
            if waited > LONGEST:
                why = "a large transaction is being written: what comes after it cannot be told yet"
                raise FhirError(503, Issue("transient", why), [("Retry-After", "5")])
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    async def _oldest(self, number: int, *, closely: bool) -> int:
        """A transaction number below which none is under way; closely: that writes resources, other programs' left aside."""
        oldest: int = (await self._database.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))[0][0]
        if oldest >= number or not closely:
            return oldest
        # pg_locks has the lower 32 bits.
        behind = [(number - row[0]) % 2**32 for row in await self._database.fetch(_WRITING)]
        return number - max((n for n in behind if 0 < n < 2**31), default=0)


def narrowed(query: Query, until: int) -> Query:
    """A query that asks for everything from some time on, with an end at `until` (ms)."""
    asked, limit = from_some_time_on(query), (until + 1) * 1000
    return query if asked is None else replace(query, where=(*query.where, Test(asked.param, None, (DateValue("lt", limit, limit),))))


def from_some_time_on(query: Query) -> Test | None:
    """The condition by which a query asks for all that has changed since."""
    return next((n for n in query.where if type(n) is Test and n.param.code == "_lastUpdated" and _is_open(n)), None)


def _is_open(test: Test) -> bool:
    return any(isinstance(v, DateValue) and v.prefix in _OPEN for v in test.values)
