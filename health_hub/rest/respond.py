"""One answer of the API and its way onto the wire: headers, Prefer, subsets, JSON or XML, HEAD, compression (R4 http.html)."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from health_hub.fhir.json import dumps, loads, pretty
from health_hub.fhir.outcome import FhirError, Issue, outcome
from health_hub.fhir.xml import to_xml
from health_hub.rest import subset
from health_hub.rest.negotiate import CONTENT_TYPE, Format, content_type
from health_hub.rest.request import Request
from health_hub.store.model import Stored

Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON, _XML = CONTENT_TYPE["json"].encode(), CONTENT_TYPE["xml"].encode()
# Clinical data: no shared cache keeps it, and a private one asks again (R4 http.html#cread makes that cheap).
_CACHE = (b"cache-control", b"private, no-cache")
_VARY = (b"vary", b"Accept, Accept-Encoding, Prefer, Authorization, Origin")
_THREAD_FROM = 256 << 10  # compressing this much takes 2 ms and more: elsewhere than on the event loop


class Response:
    """What an interaction answers.

    The body is the first of these that is there: `content` (not FHIR, as it is), `json` (a resource already encoded),
    `resource`, the document of `stored`. `stored` also gives ETag and Last-Modified. `written` marks the answer
    to a create, update, patch or delete, whose body `Prefer: return` governs. `empty` asks for no body at all.
    """

    __slots__ = (
        "content", "content_type", "empty", "headers", "json", "length",
        "location", "resource", "status", "stored", "subset_done", "written",
    )  # fmt: skip

    def __init__(
        self,
        status: int,
        *,
        stored: Stored | None = None,
        resource: dict[str, Any] | None = None,
        json: bytes | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        content_type: str = "",
        length: int | None = None,
        location: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        written: bool = False,
        empty: bool = False,
        subset_done: bool = False,
    ) -> None:
        self.status = status
        self.stored = stored
        self.resource = resource
        self.json = json
        self.content = content
        self.content_type = content_type
        self.length = length
        self.location = location
        self.headers = headers
        self.written = written
        self.empty = empty
        self.subset_done = subset_done

    @property
    def etag(self) -> str | None:
        return None if self.stored is None or not self.stored.version else f'W/"{self.stored.version}"'

    def document(self, request: Request) -> bytes | None:
        """The resource of the answer as compact JSON; None when there is none. Heeds Prefer, _summary and _elements."""
        if self.empty:
            return None
        if self.written:
            returns = request.prefer.returns
            if returns == "minimal":
                return None
            if returns == "OperationOutcome" and self.status < 300:
                return dumps(outcome([Issue("informational", self._said(), severity="information")]))
        if self.json is not None:
            data = self.json
        elif self.resource is not None:
            data = dumps(self.resource)
        elif self.stored is not None and self.stored.doc is not None:
            data = self.stored.doc
        else:
            return None
        query = request.query
        if query and (b"_summary" in query or b"_elements" in query) and not (self.subset_done or self.written or self.status >= 300):
            data = _reduced(request, data)
        return data

    def _said(self) -> str:
        name = self.stored.reference if self.stored else "the resource"
        if self.stored is not None and self.stored.deleted:
            return f"{name} is deleted"
        return f"{name} {'created' if self.status == 201 else 'stored'} as version {self.stored.version if self.stored else 0}"


def _reduced(request: Request, data: bytes) -> bytes:
    summary, elements = subset.wanted(request.parameter("_summary"), request.parameter("_elements"))
    if summary is None and not elements:
        return data
    if summary == "count":
        raise FhirError(400, Issue("value", "_summary=count belongs to searches"))
    return dumps(subset.reduce(loads(data), summary, elements))


def refused(error: FhirError) -> Response:
    """The answer that tells a FhirError."""
    return Response(error.status, resource=outcome(error.issues), headers=error.headers, subset_done=True)


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


def xml(data: bytes) -> bytes:
    """A resource's JSON as FHIR XML."""
    return to_xml(loads(data))


async def send_response(request: Request, response: Response, send: Send, *, gzip_min: int, gzip_level: int, extra: Headers) -> None:
    """Writes the answer. `extra` are headers that do not depend on the interaction (CORS, request id)."""
    headers: Headers = []
    stored = response.stored
    body: bytes | AsyncIterator[bytes] = b""
    content_type = b""
    if response.content is not None:
        body, content_type = response.content, response.content_type.encode("latin-1", "replace")
    elif response.status != 304 and (document := response.document(request)) is not None:
        body, content_type = _represent(request, response, document)
    if content_type:
        headers.append((b"content-type", content_type))
    if stored is not None and stored.version:
        headers.append((b"etag", b'W/"%d"' % stored.version))
        headers.append((b"last-modified", http_date(stored.updated // 1000)))
    if response.location is not None:
        headers.append((b"location", response.location.encode()))
    for name, value in response.headers:
        headers.append((name.lower().encode(), value.encode("latin-1", "replace")))
    headers.append(_CACHE)
    headers.append(_VARY)
    headers += extra

    if not isinstance(body, bytes):
        await _send_stream(request, response, body, headers, send)
        return
    if gzip_min and len(body) >= gzip_min and b"gzip" in request.headers.get(b"accept-encoding", b"") and _compressible(content_type):
        body = await (asyncio.to_thread(_gzip, body, gzip_level) if len(body) > _THREAD_FROM else _now(body, gzip_level))
        headers.append((b"content-encoding", b"gzip"))
    status = 200 if body and response.status == 204 else response.status  # a delete that was asked for an OperationOutcome
    if status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})


def _represent(request: Request, response: Response, document: bytes) -> tuple[bytes, bytes]:
    try:
        format = request.format
    except FhirError:
        # The refusal of what cannot be negotiated is itself told in JSON.
        if response.status < 400:
            raise
        format = "json"
    indent = (b"_pretty" in request.query or request.formed) and _flag(request, "_pretty")
    if format == "xml":
        return xml(document), _content_type(request, "xml")
    return (pretty(document) if indent else document), _content_type(request, "json")


def _content_type(request: Request, format: Format) -> bytes:
    accept = request.headers.get(b"accept")
    if accept is None or accept == b"*/*" or b"_format" in request.query:
        return _JSON if format == "json" else _XML
    return content_type(accept.decode("latin-1"), format).encode("latin-1")


def _flag(request: Request, name: str) -> bool:
    try:
        return request.flag(name)
    except FhirError:
        return False  # a query that cannot be decoded is being refused for that


class Broken(Exception):
    """The body failed after its head was sent; all that is left is to cut the connection, so that nobody takes it for whole."""


async def _send_stream(request: Request, response: Response, body: AsyncIterator[bytes], headers: Headers, send: Send) -> None:
    if response.length is not None:
        headers.append((b"content-length", b"%d" % response.length))
    start = {"type": "http.response.start", "status": response.status, "headers": headers}
    if request.method == "HEAD":
        await send(start)
        await send({"type": "http.response.body", "body": b""})
        return
    # The first piece before the head: what fails at once can still be told.
    piece = await anext(body, b"")
    await send(start)
    try:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        async for piece in body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except Exception as e:
        raise Broken from e
    await send({"type": "http.response.body", "body": b""})


def _compressible(content_type: bytes) -> bool:
    return content_type.startswith((b"application/fhir", b"application/json", b"text/", b"application/xml"))


def _gzip(body: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


async def _now(body: bytes, level: int) -> bytes:
    return _gzip(body, level)
