"""What is refused although it has not ended: tokens, grants ("session"), clients, accounts. Every worker knows within half a second.

Record kind "revoked": id "token/<jti>", "session/<grant>", "client/<id>" or "account/<id>", {"at": seconds since 1970 UTC}, which
lives as long as an access token given before could. Record kind "revocations", id "count": its version counts every addition, so
that a look which finds nothing new reads one small row.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from health_hub.auth.model import Claims
from health_hub.store.records import LIMIT, Put, Records, now

log = logging.getLogger(__name__)

LOOK = 0.4  # seconds between two looks
SILENT = 3.0  # seconds without an answer of the database that are said in the log


class Revoked:
    """One a process. `seconds`: how long what was given before can last, the lifetime of an access token."""

    def __init__(self, records: Records, seconds: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._records, self._seconds, self._clock = records, seconds, clock
        self._ids: dict[str, tuple[int, int]] = {}  # at (seconds), expires (ms)
        self._count = 0
        self._answered = clock()
        self._said = False
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, id: str) -> bool:
        return self._of(id) is not None

    def covers(self, claims: Claims) -> bool:
        """Whether a token is refused: it, its grant, or what its client or account had been given in that second and before."""
        if not self._ids:
            return False
        if f"token/{claims.id}" in self or f"session/{claims.session}" in self:
            return True
        # A client or an account goes on with new rights: tokens given after the change are good.
        for id in (f"client/{claims.client}", f"account/{claims.subject}"):
            at = self._of(id)
            if at is not None and claims.issued <= at:
                return True
        return False

    async def add(self, *ids: str, seconds: int | None = None) -> None:
        """Refused from now on, here at once and everywhere within half a second, for `seconds` (that of access tokens)."""
        at = int(time.time())
        expires = now() + (self._seconds if seconds is None else max(1, seconds)) * 1000
        puts = [Put("revoked", id, {"at": at}, expires=expires) for id in ids]
        await self._records.change([*puts, Put("revocations", "count", {})])
        for id in ids:
            self._ids[id] = (at, expires)

    async def look(self) -> None:
        """Learns now what others added: one small row, and the list where that says there is more."""
        counted = await self._records.get("revocations", "count")
        count = counted.version if counted else 0
        if count != self._count:
            await self._read()
            self._count = count
        else:
            self._sweep()
        self._answered = self._clock()
        if self._said:
            self._said = False
            log.warning("revocations can be read again")

    async def start(self) -> None:
        await self.look()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                # A database that hangs must be noticed too. Python 3.11's wait_for can lose `stop`'s cancellation and never end.
                async with asyncio.timeout(SILENT):
                    await self.look()
            except Exception as e:
                self.silent(e)

    def silent(self, why: Exception) -> None:
        """The list could not be read: said once a silence, when it has lasted; what is known stays refused."""
        if not self._said and self._clock() - self._answered >= SILENT:
            self._said = True
            log.error("revocations cannot be read (%s); what is known stays refused, what others revoke is not seen", type(why).__name__)

    async def _read(self) -> None:
        found: dict[str, tuple[int, int]] = {}
        after = ""
        while True:
            page = await self._records.page("revoked", after)
            found |= {r.id: (r.data["at"], r.expires or 0) for r in page}
            if len(page) < LIMIT:
                break
            after = page[-1].id
        # Added here while the list was read, and perhaps not in it.
        mine = {id: kept for id, kept in self._ids.items() if kept[1] > now()}
        self._ids = mine | found

    def _sweep(self) -> None:
        if self._ids:
            current = now()
            self._ids = {id: kept for id, kept in self._ids.items() if kept[1] > current}

    def _of(self, id: str) -> int | None:
        kept = self._ids.get(id)
        return kept[0] if kept is not None and kept[1] > now() else None
