"""One WebSocket: a bounded queue of what it has not been sent yet, a writer, and a clean or a hard end."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from telemed.signal.bucket import Bucket

if TYPE_CHECKING:
    from telemed.signal.session import Session

CLOSE_SECONDS = 5.0  # for a client to take what is left and the close frame
VOLATILE_BACKLOG = 64  # unread messages from which on those that only count when fresh are left out


class Transport(Protocol):
    """What is known of the server's transport."""

    def abort(self) -> None: ...
    def get_extra_info(self, name: str) -> Any: ...


def transport_of(send: Any) -> Transport | None:
    """uvicorn's transport behind an ASGI `send`, so that the line to a client that reads nothing can be cut: ASGI has no word for it."""
    transport: Transport | None = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "abort") else None


class Connection:
    """`ticks`: a steady clock. The end comes by `finish` (once all is sent) or `abort` (now)."""

    def __init__(
        self, socket: WebSocket, transport: Transport | None, limits: tuple[int, int], bucket: Bucket, ticks: Callable[[], float]
    ) -> None:
        self.socket, self.transport, self.bucket, self._ticks = socket, transport, bucket, ticks
        self._max_bytes, self._max_messages = limits
        self.session: Session | None = None
        self.reader: asyncio.Task[None] | None = None
        self.opened = self.heard = ticks()
        self.over_rate = 0
        self.code: int | None = None  # how it ends, once it does
        self._queue: deque[str] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self.gone = asyncio.Event()  # nothing more can be sent

    def send(self, text: str, fresh_only: bool = False) -> bool:
        """Queues a message. False when the client has left too much unread: then the connection is over."""
        if self.code is not None or self.gone.is_set():
            return True
        if fresh_only and len(self._queue) >= VOLATILE_BACKLOG:
            return True
        self._queue.append(text)
        self._bytes += len(text)
        self._wake.set()
        if len(self._queue) > self._max_messages or self._bytes > self._max_bytes:
            self.abort(4430)
            return False
        return True

    def finish(self, code: int) -> None:
        """Closes with this code once what is queued has been sent."""
        if self.code is None:
            self.code = code
            self._wake.set()

    def abort(self, code: int) -> None:
        """Closes now, whatever is unread."""
        if self.code is None:
            self.code = code
        self._queue.clear()
        self._bytes = 0
        self.gone.set()
        self._wake.set()
        if self.reader is not None:  # the writer may hang in a send that the client never takes
            self.reader.cancel()

    async def write(self) -> None:
        """Sends until the end; the caller cancels it when it takes too long to get there."""
        try:
            while not self.gone.is_set():
                while self._queue:
                    text = self._queue[0]
                    await self.socket.send_text(text)
                    if self._queue and self._queue[0] is text:
                        self._queue.popleft()
                        self._bytes -= len(text)
                if self.code is not None:
                    break
                self._wake.clear()
                await self._wake.wait()
        except (WebSocketDisconnect, RuntimeError, OSError):  # the client went; RuntimeError: after its close frame
            pass
        finally:
            self.gone.set()

    async def end(self, writer: asyncio.Task[None]) -> None:
        """Sends the close frame if the client still takes it, else cuts the line: a transport only closed waits for its reader for ever."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self.code is not None:
                    if not self.gone.is_set() or not writer.done():
                        await asyncio.shield(writer)
                    await self.socket.close(self.code)
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
