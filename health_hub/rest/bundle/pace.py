"""Long work in slices: others are served while a big Bundle is being read, checked and rewritten."""

import asyncio
from time import perf_counter

SLICE = 0.02  # seconds of work before others get their turn


class Pace:
    """Call `due` between pieces of work, and `await rest()` when it says so."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = perf_counter() + SLICE

    def due(self) -> bool:
        return perf_counter() > self._until

    async def rest(self) -> None:
        await asyncio.sleep(0)
        self._until = perf_counter() + SLICE
