"""One HTTP/1.1 exchange carried to another server, both bodies as they come (RFC 9112 over h11)."""

import asyncio
from typing import Any

import h11
from starlette.types import Receive, Scope, Send

ANSWER_SECONDS = 60.0  # without a byte from either side
_PIECE = 64 << 10
# Of one connection only (RFC 9110 7.6.1), what a relay has no business to know, and names that only a front may say.
_DROPPED = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host", b"expect", b"cookie",
     b"x-telemed-front", b"x-telemed-room")
)  # fmt: skip


class Unreached(Exception):
    """Nothing of the request has been taken."""


def unreached() -> tuple[type[BaseException], ...]:
    """What may go wrong under way."""
    return (OSError, TimeoutError, h11.RemoteProtocolError, EOFError)


class Exchange:
    """begun: the answer's head has been sent on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scope: Scope, receive: Receive, address: str) -> None:
        self._reader, self._writer, self._scope, self._receive, self._address = reader, writer, scope, receive, address
        self._http = h11.Connection(h11.CLIENT)
        self.begun = False

    async def to(self, send: Send) -> None:
        """Sends the request, and the answer on."""
        asking = asyncio.create_task(self._ask())
        try:
            await self._answer(send, asking)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def head(self, more: list[tuple[bytes, bytes]]) -> None:
        """Writes the request line and headers, with `more`."""
        headers = [(k, v) for k, v in self._scope["headers"] if k not in _DROPPED]
        length = any(k == b"content-length" for k, _ in headers)
        if not length and self._scope["method"] in ("POST", "PUT", "PATCH"):
            headers.append((b"transfer-encoding", b"chunked"))
        target = self._scope.get("raw_path") or self._scope["path"].encode()
        if self._scope["query_string"]:
            target += b"?" + self._scope["query_string"]
        headers += [(b"host", self._address.encode()), (b"connection", b"close"), *more]
        self._write(h11.Request(method=self._scope["method"], target=target, headers=headers))

    def _write(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _ask(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                self._writer.transport.abort()  # the client is gone
                return
            if message.get("body"):
                self._write(h11.Data(data=message["body"]))
                await self._writer.drain()
            if not message.get("more_body"):
                break
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    async def _answer(self, send: Send, asking: asyncio.Task[None]) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(ANSWER_SECONDS):
                    data = await self._reader.read(_PIECE)
                if asking.done() and (wrong := asking.exception()) is not None and not data:
                    raise wrong
                self._http.receive_data(data)
            elif isinstance(event, h11.Response):
                headers = [(k, v) for k, v in event.headers if k not in _DROPPED and k not in (b"server", b"date")]
                self.begun = True
                await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
            elif isinstance(event, h11.Data):
                await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                await send({"type": "http.response.body", "body": b""})
                return
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise EOFError("the answer ended early")

    def close(self) -> None:
        """The connection is not used again."""
        self._writer.transport.abort()


async def carry(address: str, scope: Scope, receive: Receive, more: list[tuple[bytes, bytes]], seconds: float) -> Exchange:
    """Connects, and writes the request's head.

    Raises Unreached.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as e:
        raise Unreached(repr(e)) from None
    exchange = Exchange(reader, writer, scope, receive, address)
    exchange.head(more)
    return exchange
