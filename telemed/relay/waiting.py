"""An event loop that forwards media while it waits, so that a packet needs no Python at all where the step is compiled.

Woken in Python for each datagram a relay spends more on the loop than on the packet, most of all when little is to be done and the
code has left the caches in between.
"""

import asyncio
import selectors
from collections.abc import Callable


class _Selector(selectors.EpollSelector):
    """A selector whose waiting another does (`forward.Forwarding.waiter`), once there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.waiter: Callable[[int, float], bool] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.waiter is not None:
            if not self.waiter(self.fileno(), -1.0 if timeout is None else max(timeout, 0.0)):
                return []
            timeout = 0  # what is ready is known already, or callbacks of what was forwarded are due
        return super().select(timeout)


class Loop(asyncio.SelectorEventLoop):
    """For Linux; readers and timers as in any other loop."""

    def __init__(self) -> None:
        self._waiting = _Selector()
        super().__init__(self._waiting)

    def wait_by(self, waiter: Callable[[int, float], bool] | None) -> None:
        """Let `waiter` do the waiting, which is told the epoll descriptor; None: as before."""
        self._waiting.waiter = waiter
