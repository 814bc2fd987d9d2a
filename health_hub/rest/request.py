"""One request to the API, from HTTP or made by hand for an entry of a batch: target, headers, body within limits."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from health_hub.access.gate import Access
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.xml import from_xml
from health_hub.rest import negotiate
from health_hub.rest.negotiate import Format, MediaType, Prefer

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Pairs = list[tuple[str, str]]

_ETAG = re.compile(r'(?:W/)?"?([^"]*)"?')
_MISSING: Any = object()
LARGE = 1 << 20


class Request:
    """`segments` is the path below [base]; routing fills `type`, `id` and `version` from it.

    `access` is who sends it and what they may; None where nobody is asked (`--no-auth`).
    `await request.resource()` is the parsed body whether it came over HTTP or was given by hand.
    """

    __slots__ = (
        "_body", "_format", "_pairs", "_receive", "_resource", "access", "base", "batch", "client", "content_limit", "formed", "headers",
        "id", "idle", "method", "query", "segments", "type", "version",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        segments: list[str],
        query: bytes = b"",
        headers: dict[bytes, bytes] | None = None,
        *,
        base: str,
        receive: Receive | None = None,
        client: str | None = None,
        content_limit: int = 64 << 20,
        idle: float | None = None,
    ) -> None:
        self.method = method
        self.segments = segments
        self.query = query
        self.headers: dict[bytes, bytes] = {} if headers is None else headers
        self.base = base
        self.client = client
        self.access: Access | None = None
        self.batch = False  # a Bundle whose entries stand alone
        self.content_limit = content_limit
        self.idle = idle
        self.type = ""
        self.id = ""
        self.version = ""
        self._receive = receive
        self._body: bytes | None = None
        self._resource: Any = _MISSING
        self._pairs: Pairs | None = None
        self._format: Format | None = None
        self.formed = False  # parameters came in a form, too

    @classmethod
    def make(
        cls,
        method: str,
        url: str,
        *,
        base: str,
        headers: Mapping[str, str] | None = None,
        resource: Any = None,
        body: bytes | None = None,
        client: str | None = None,
        access: Access | None = None,
    ) -> "Request":
        """A request by hand, as a Bundle entry asks for it: `url` relative to [base] or absolute below it.

        `resource` is the body already parsed and is taken over, not copied.
        """
        if url.startswith(base) and url[len(base) : len(base) + 1] in ("", "/", "?"):
            url = url[len(base) :]
        path, _, query = url.partition("?")
        known = {name.lower().encode(): value.encode("utf-8", "surrogateescape") for name, value in (headers or {}).items()}
        request = cls(method.upper(), segments_of(unquote(path)), query.encode(), known, base=base, client=client)
        request.access = access
        request._body = b"" if body is None else body
        if resource is not None:
            request._resource = resource
        return request

    @property
    def by_hand(self) -> bool:
        """Made from a Bundle entry, not received over HTTP."""
        return self._receive is None

    # --- headers

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; several lines of it were joined by commas."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def prefer(self) -> Prefer:
        value = self.headers.get(b"prefer")
        return Prefer() if value is None else negotiate.prefer(value.decode("latin-1"))

    @property
    def content_type(self) -> MediaType:
        return negotiate.media_type(self.headers.get(b"content-type", b"").decode("latin-1"))

    @property
    def format(self) -> Format:
        """What to answer with: `_format` first, then Accept (R4 http.html#parameters). FhirError 406 when neither can be."""
        if self._format is None:
            self._format = self._negotiate()
        return self._format

    def _negotiate(self) -> Format:
        if b"_format" in self.query or self.formed:
            wanted = self.parameter("_format")
            if wanted:
                # An unescaped + of `application/fhir+json` arrives as a space.
                media = negotiate.media_type(wanted.replace(" ", "+"))
                found = negotiate.FORMATS.get(media.name)
                if found is None or not negotiate.right_version(media):
                    raise FhirError(406, Issue("not-supported", f"_format {wanted!r}: this server writes {negotiate.SUPPORTED}"))
                return found
        accept = self.headers.get(b"accept")
        if accept is None or accept == b"*/*":
            return "json"
        format = negotiate.accepted(accept.decode("latin-1"))
        if format is None:
            wanted = self.header(b"accept")
            raise FhirError(406, Issue("not-supported", f"Accept: {wanted!r}: this server writes {negotiate.SUPPORTED}"))
        return format

    @property
    def if_match(self) -> str | None:
        """The version id in If-Match, weak, strong or bare; `*` stays `*`."""
        return _etag(self.header(b"if-match"))

    @property
    def if_none_match(self) -> str | None:
        return _etag(self.header(b"if-none-match"))

    # --- query

    @property
    def pairs(self) -> Pairs:
        """Every parameter of the query in order, decoded; those of a _search form are added by `form()`."""
        if self._pairs is None:
            if self.query:
                from health_hub.fhir.search.split import split_query

                self._pairs = split_query(self.query)
            else:
                self._pairs = []
        return self._pairs

    def parameter(self, name: str) -> str | None:
        """The last value of a parameter that does not repeat."""
        if not self.query and not self._pairs:
            return None
        return next((value for key, value in reversed(self.pairs) if key == name), None)

    def flag(self, name: str) -> bool:
        return self.parameter(name) == "true"

    async def form(self) -> None:
        """Adds the parameters of a _search form in the body to those of the URL (R4 search.html#Introduction)."""
        from health_hub.fhir.search.split import split_query

        body = await self.body()
        if body:
            if self.content_type.name != "application/x-www-form-urlencoded":
                raise FhirError(415, Issue("not-supported", "a _search form comes as application/x-www-form-urlencoded"))
            self._pairs = self.pairs + split_query(body)
            self._format, self.formed = None, True

    # --- body

    async def stream(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, decompressed, 413 over `limit`, 408 when the client stalls."""
        limit = self.content_limit if limit is None else limit
        if self._body is not None:
            yield self._body
            return
        self._announced(limit)
        encoding = self.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"gzip", b"x-gzip"):
            inflate = zlib.decompressobj(31)
        elif encoding == b"deflate":
            inflate = zlib.decompressobj(15)
        elif encoding in (b"identity", b""):
            inflate = None
        else:
            raise FhirError(415, Issue("not-supported", f"Content-Encoding {encoding.decode('latin-1')!r}: this server reads gzip"))
        total, more = 0, True
        while more:
            chunk, more = await self._chunk()
            if inflate is None:
                total += len(chunk)
                if total > limit:
                    raise _too_large(limit)
                if chunk:
                    yield chunk
                continue
            while chunk and not inflate.eof:
                # A bomb grows by at most this much before it is counted.
                try:
                    piece = inflate.decompress(chunk, 1 << 20)
                except zlib.error as e:
                    raise bad_request(f"the body is not {encoding.decode()}: {e}", "structure") from None
                chunk = inflate.unconsumed_tail
                total += len(piece)
                if total > limit:
                    raise _too_large(limit)
                if piece:
                    yield piece
        if inflate is not None and not inflate.eof:
            raise bad_request("the compressed body ends too early", "structure")

    async def _chunk(self) -> tuple[bytes, bool]:
        """The next bytes from the wire, and whether more follow."""
        if self._receive is None:
            return b"", False
        if self.idle is None:
            message = await self._receive()
        else:
            try:
                async with asyncio.timeout(self.idle):
                    message = await self._receive()
            except TimeoutError:
                raise FhirError(408, Issue("timeout", f"no byte of the body for {self.idle:g} s"), [("Connection", "close")]) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    async def body(self) -> bytes:
        """The whole body, decompressed, within the limit."""
        if self._body is None:
            if b"content-encoding" in self.headers:
                self._body = b"".join([piece async for piece in self.stream()])
            else:
                self._body = await self._plain()
        return self._body

    async def _plain(self) -> bytes:
        """An uncompressed body; nearly always it is one chunk."""
        limit = self.content_limit
        self._announced(limit)
        chunk, more = await self._chunk()
        pieces, total = [chunk], len(chunk)
        while more and total <= limit:
            chunk, more = await self._chunk()
            pieces.append(chunk)
            total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        return chunk if len(pieces) == 1 else b"".join(pieces)

    def _announced(self, limit: int) -> None:
        length = self.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise _too_large(limit)

    @property
    def body_format(self) -> Format | None:
        """What the body claims to be; None when it is no FHIR format. No Content-Type at all counts as JSON."""
        if b"content-type" not in self.headers:
            return "json"
        return negotiate.FORMATS.get(self.content_type.name)

    async def resource(self) -> Any:
        """The body as plain data: JSON and XML alike (not yet validated). 415 for other types, 400 for what cannot be parsed."""
        if self._resource is not _MISSING:
            return self._resource
        format = self.body_format
        if format is None or not negotiate.right_version(self.content_type):
            sent = self.header(b"content-type")
            raise FhirError(415, Issue("not-supported", f"Content-Type {sent!r}: this server reads {negotiate.SUPPORTED}"))
        charset = (self.content_type.get("charset") or "utf-8").lower()
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise FhirError(415, Issue("not-supported", f"charset {charset!r}: FHIR is written in UTF-8"))
        body = await self.body()
        if not body:
            raise bad_request("the request has no body", "required")
        parse = loads if format == "json" else from_xml
        self._resource = await asyncio.to_thread(parse, body) if self.large else parse(body)
        return self._resource

    @property
    def large(self) -> bool:
        """Whether work on the whole body takes so long that it belongs in a thread, where others are served meanwhile."""
        return self._body is not None and len(self._body) > LARGE


class ClientGone(Exception):
    """The client closed the connection before its request was whole; nobody is left to answer."""


def _too_large(limit: int) -> FhirError:
    return FhirError(413, Issue("too-long", f"the body is longer than {limit} bytes"))


@lru_cache(maxsize=1024)
def _etag(header: str | None) -> str | None:
    if header is None:
        return None
    match = _ETAG.fullmatch(header.strip())
    return match.group(1) if match else header


def segments_of(path: str) -> list[str]:
    """`/Patient/1/` -> ["Patient", "1"]; one slash at the end means nothing."""
    parts = path.split("/")
    if parts and not parts[0]:
        del parts[0]
    if parts and not parts[-1]:
        del parts[-1]
    return parts
