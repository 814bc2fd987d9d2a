"""`health-hub` whose audit trail SIGUSR1 leaves out and SIGUSR2 puts back: only to measure what the trail costs, within one process."""

import signal
import sys
from collections.abc import Sequence
from typing import Any

from health_hub.cli import main
from health_hub.rest.hub import Hub

_told, _commit = Hub.told, Hub.commit
_kept = True


def _switch(number: int, frame: Any) -> None:
    global _kept
    _kept = number == signal.SIGUSR2


async def told(self: Hub, request: Any, response: Any) -> None:
    if _kept:
        await _told(self, request, response)
    elif request.access is not None:
        request.access.shown.clear()


async def commit(self: Hub, request: Any, changes: Sequence[Any], expects: Sequence[Any] = ()) -> Any:
    if _kept:
        return await _commit(self, request, changes, expects)
    return await self.store.commit(changes, expects, by=request.access.rights.writer if request.access is not None else None)


# create() is what uvicorn imports, in this same process.
Hub.told = told  # type: ignore[method-assign]
Hub.commit = commit  # type: ignore[method-assign]

if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _switch)
    signal.signal(signal.SIGUSR2, _switch)
    sys.exit(main())
