"""What may be sent once, on all workers: those that arrive together are noted in one transaction, which is what a note costs.

Records of the kind that the owner names; nothing in them but that they are there.
"""

from health_hub.store.records import Conflict, Put, Records
from health_hub.store.together import Together

TOGETHER = 64  # of them in a transaction


class Seen:
    """One a process and kind."""

    def __init__(self, records: Records, kind: str) -> None:
        self._records, self._kind = records, kind
        self._first: Together[Put, bool] = Together(self._note, at_once=1, batch=TOGETHER, alone=Conflict)

    async def first(self, id: str, until: int) -> bool:
        """Whether nobody came with this id before, durable on return. until: ms since 1970 UTC, after which it is forgotten."""
        return await self._first(Put(self._kind, id, {}, version=0, expires=until))

    async def _note(self, puts: list[Put]) -> list[bool]:
        try:
            await self._records.change(puts)
        except Conflict:
            if len(puts) == 1:
                return [False]
            raise
        return [True] * len(puts)
