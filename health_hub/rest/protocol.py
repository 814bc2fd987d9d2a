"""uvicorn's HTTP protocol with bounds it lacks: how long a request's head may be and take, and a reader that stops reading.

Refusals that never reach the application are OperationOutcomes too. `uvicorn.Config(http=HttpProtocol)`.
"""

import asyncio
from typing import Any
from urllib.parse import quote_from_bytes

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from health_hub.fhir.json import dumps
from health_hub.fhir.outcome import Issue, outcome

HEAD_BYTES = 256 << 10  # request line and headers; a target over `max_url` but below this is refused by the application
HEAD_SECONDS = 30.0
STALL_SECONDS = 120.0  # without a byte taken by the client while an answer waits for it
DISCARD_BYTES = 256 << 20  # of a body that was refused; read and dropped, so that the refusal is not lost in a reset
_URL_BYTES = (64 << 10) - 1  # httptools counts the parts of a URL in 16 bits
_ASCII = "".join(map(chr, range(0x80)))
_LOOK = 10.0  # seconds between two looks at a connection


class HttpProtocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._between = True  # nothing of the next request has come
        self._in_head = True
        self._head = 0
        self._head_since = 0.0
        self._discarded = 0
        self._refused = False
        self._unsent = 0
        self._stalled = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._watch = self.loop.call_later(_LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discard(len(data))
            return
        if self._between and not data.isascii():
            data = _escaped(data)
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self._refuse_long_head()
        elif self.cycle is not None and self.cycle.response_complete:
            self._discard(len(data))

    def _discard(self, n: int) -> None:
        self._discarded += n
        if self._discarded > DISCARD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._between = False
        self._in_head = True
        self._head = self._discarded = 0
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_since = 0.0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def _refuse_long_head(self) -> None:
        if not self._refuse_long_url():
            self._refuse(b"431 Request Header Fields Too Large", "too-long", f"the headers have more than {HEAD_BYTES} bytes")

    def _refuse_long_url(self) -> bool:
        if len(getattr(self, "url", b"")) < _URL_BYTES:
            return False
        self._refuse(b"414 URI Too Long", "too-long", "the URL is too long; a search can be sent by POST _search")
        return True

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read as HTTP; a URL over 64 KiB is among it."""
        if self._refuse_long_url():
            return
        why = "this is not HTTP as RFC 9112 has it: look for unescaped characters in the URL or headers"
        self._refuse(b"400 Bad Request", "structure", why)

    def _refuse(self, status: bytes, code: str, why: str) -> None:
        body = dumps(outcome([Issue(code, why)]))
        head = b"HTTP/1.1 %b\r\ncontent-type: application/fhir+json;charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self._refused = True
        self.transport.write(head % (status, len(body)) + body)
        # Closing at once would reset the connection under the client's unread data, and the answer with it.
        self.loop.call_later(2.0, self.transport.close)

    def _look(self) -> None:
        """Now and then: is the client still sending its head, still reading its answer?"""
        now = self.loop.time()
        if self.transport.is_closing():
            return
        if self._in_head and self._head_since and now - self._head_since > HEAD_SECONDS and self.timeout_keep_alive_task is None:
            self.transport.close()
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent == self._unsent:
            self._stalled += _LOOK
            if self._stalled >= STALL_SECONDS:
                self.transport.abort()
                return
        else:
            self._stalled = 0.0
        self._unsent = unsent
        self._watch = self.loop.call_later(_LOOK, self._look)


def _escaped(data: bytes) -> bytes:
    """`GET /fhir/Patient?name=Nguyễn`, as people type it, with its UTF-8 escaped as the parser wants it."""
    line, end, rest = data.partition(b"\r\n")
    return quote_from_bytes(line, _ASCII).encode() + end + rest
