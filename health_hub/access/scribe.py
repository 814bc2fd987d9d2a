"""Makes AuditEvents of the journal: behind the answers, in batches, and at once when somebody asks for AuditEvents.

The journal (store/trail.py) is what is durable before an access is answered. Each of its records becomes one AuditEvent under an
id that follows from its place, in one commit with how far this has come, so that a crash neither loses nor doubles one.
"""

import asyncio
import logging
import time
from contextlib import suppress
from zoneinfo import ZoneInfo

import msgspec

from health_hub.access import entry as entries
from health_hub.access.balp import audit_event
from health_hub.access.entry import Entry
from health_hub.store.model import Change
from health_hub.store.records import Conflict, Put
from health_hub.store.store import Store
from health_hub.store.trail import Row

EVERY = 0.5  # seconds between two looks at the journal
BATCH = 200  # AuditEvents in one commit
SMALL = 25  # while others are served: whoever comes meanwhile waits for a batch
SHARE = 50  # one part in so many of the time is the scribe's while others are served
KIND = "trail"  # records: how far a chain has been written out, by its number

log = logging.getLogger(__name__)
_records = msgspec.json.Decoder(list[msgspec.Raw]).decode


def id_of(row: Row, n: int) -> str:
    """The id of the AuditEvent of a record."""
    return f"{row.chain:x}-{row.n}-{n}"


class Scribe:
    """One a process; several share the work, and none is needed for the trail itself."""

    def __init__(self, store: Store, zone: str) -> None:
        self._store, self._zone = store, ZoneInfo(zone)
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._hurried = asyncio.Event()
        self._before = 0
        self.busy = 0  # requests under way
        self.served = 0  # requests that have come

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.catch_up(gently=True)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("AuditEvents could not be written out; the journal has them, and they follow")
                await asyncio.sleep(5)

    async def catch_up(self, *, gently: bool = False) -> None:
        """Until every record that is in the journal now is an AuditEvent. gently: whoever waits for an answer goes first."""
        async with self._lock:
            for chain, end in (await self._store.trail.ends()).items():
                while True:
                    served, began = self.served, time.perf_counter()
                    busy = gently and (self.busy > 0 or served != self._before)
                    self._before = served
                    if not await self._write(chain, end, SMALL if busy else BATCH):
                        break
                    if busy and not self._hurried.is_set():
                        with suppress(TimeoutError):
                            # Not wait_for: a cancellation that comes as the event does would be lost in it, and `stop` wait for ever.
                            async with asyncio.timeout((time.perf_counter() - began) * SHARE):
                                await self._hurried.wait()

    async def now(self) -> None:
        """As `catch_up`, for who waits for it: the gentle one makes way."""
        self._hurried.set()
        try:
            await self.catch_up()
        finally:
            self._hurried.clear()

    async def _write(self, chain: int, end: int, most: int) -> bool:
        """One batch of a chain; False when it is done."""
        done = await self._store.records.get(KIND, str(chain))
        at = done.data["n"] if done is not None else 0
        if at >= end:
            return False
        changes: list[Change] = []
        for row in await self._store.trail.rows(chain, at, most):
            if len(changes) >= most:
                break
            changes += [self._change(row, n, raw) for n, raw in enumerate(_records(row.data))]
            at = row.n
        progress = Put(KIND, str(chain), {"n": at}, version=done.version if done is not None else 0)
        try:
            await self._store.commit(changes, records=[progress])
        except Conflict:
            pass  # another worker was faster
        return True

    def _change(self, row: Row, n: int, raw: msgspec.Raw) -> Change:
        try:
            found = entries.decode(raw)
        except msgspec.MsgspecError:
            found = Entry(row.time, "unreadable", "E", 500, note="a record of the journal that this version cannot read")
        id = id_of(row, n)
        return Change("update", "AuditEvent", id, audit_event(found, id, self._zone), method="POST")
