"""What may be sent once, on all workers: those that arrive together are noted in one transaction, which is what a note costs.

Records of the kind that the owner names; nothing in them but that they are there.
"""

import asyncio

from health_hub.store.records import Conflict, Put, Records

TOGETHER = 64  # of them in a transaction


class Seen:
    """One a process and kind."""

    def __init__(self, records: Records, kind: str) -> None:
        self._records, self._kind = records, kind
        self._waiting: list[tuple[Put, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def first(self, id: str, until: int) -> bool:
        """Whether nobody came with this id before, durable on return. until: ms since 1970 UTC, after which it is forgotten."""
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((Put(self._kind, id, {}, version=0, expires=until), told))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await told

    async def _write(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                firsts = await self._note([put for put, _ in some])
            except Exception as e:
                for _, told in some:
                    if not told.done():
                        told.set_exception(e)
                continue
            for (_, told), was_first in zip(some, firsts, strict=True):
                if not told.done():  # whoever asked may have gone
                    told.set_result(was_first)

    async def _note(self, puts: list[Put]) -> list[bool]:
        try:
            await self._records.change(puts)
        except Conflict:
            if len(puts) == 1:
                return [False]
            return [(await self._note([put]))[0] for put in puts]
        return [True] * len(puts)
