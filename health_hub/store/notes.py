"""Records of the audit trail that go with no change, as those of reads do: what waits together is one row, and one flush.

A flush costs as much for one record as for a hundred. Where others are under way that will leave a record too, it waits for a third of
them, or a moment; the others are read while it is being flushed.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from health_hub.fhir.outcome import FhirError
from health_hub.store.postgresql import unavailable
from health_hub.store.trail import Trail, new_chain

PATIENCE = 0.002  # seconds
Note = tuple[bytes, "asyncio.Future[None]"]


class Notes:
    """One a store. under_way: how many requests are, those that wait here among them."""

    def __init__(self, database: Any, clock: Any, trail: Callable[[], Trail]) -> None:
        self._db, self._clock, self._trail = database, clock, trail
        self._waiting: list[Note] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._chain = new_chain()
        self.under_way: Callable[[], int] = lambda: 0

    def add(self, record: bytes) -> "asyncio.Future[None]":
        """Done when the record (JSON; several with commas between) is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        self._look()
        return done

    async def close(self) -> None:
        """Everything added is written first."""
        while self._waiting or self._busy:
            self._flush()
            if self._task is not None:
                await asyncio.gather(self._task, return_exceptions=True)

    # --- with a commit that writes a row of the trail anyway

    def take(self) -> list[Note]:
        """What waits; to be `settle`d, or given `back`."""
        taken, self._waiting = self._waiting, []
        return taken

    def back(self, notes: Sequence[Note]) -> None:
        if notes:
            self._waiting[:0] = notes
            self._look()

    @staticmethod
    def settle(notes: Sequence[Note], error: Exception | None = None) -> None:
        for _, done in notes:
            if not done.done():
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    # --- alone

    @property
    def _busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def _look(self) -> None:
        """Begins a flush when enough wait, or sees to it that one begins in a moment; after one under way it is called again."""
        if self._busy or not self._waiting:
            return
        if len(self._waiting) >= self.under_way() // 3:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and not self._busy:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            if notes := self.take():
                await self._write(notes)
        finally:
            self._task = None
            self._look()

    async def _write(self, notes: list[Note]) -> None:
        try:
            await self._append([record for record, _ in notes])
        except BaseException as e:
            # Whether it was committed cannot be known: another chain begins.
            self._chain = new_chain()
            if not isinstance(e, Exception):
                self.settle(notes, unavailable(e))  # nobody is to wait for a task that is over
                raise
            if isinstance(e, sqlite3.OperationalError):
                e = unavailable(e)  # locked, or no room: so it is for the others
            if isinstance(e, FhirError) or len(notes) == 1:
                self.settle(notes, e)
                return
            # What one of them cannot have must not be refused to the others.
            for note in notes:
                await self._write([note])
            return
        self.settle(notes)

    async def _append(self, records: list[bytes]) -> None:
        now = self._clock.now()
        if self._chain.n:
            statement, chain = self._trail().next(self._chain, records, now)
            await self._db.at_once([statement])
        else:
            async with self._db.transaction() as t:
                chain = await self._trail().append(t, self._chain, records, now)
        self._chain = chain
