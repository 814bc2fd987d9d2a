"""tus 1.0 (https://tus.io/protocols/resumable-upload) over a Store, and reading with ranges.

Extensions: creation, creation-with-upload, checksum, expiration, termination.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import inspect
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from email.utils import formatdate

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from telemed import ranges
from telemed.pieces.store import Claims, Held, Message, Refused, Store
from telemed.signal.bucket import Bucket
from telemed.tokens import bearer_of

VERSION = "1.0.0"
PATH = "/telemed/messages"
PIECE = 256 << 10  # bytes of one chunk of the sealed file
METADATA_MAX = 4 << 10  # bytes
CONTENT = "application/offset+octet-stream"
SUMS = ("sha256", "sha1")
SHOWN = re.compile(r"(audio|video|image)/[a-z0-9.+-]{1,60}(;\s?codecs=[\w\".,-]{1,80})?")
NUMBER = re.compile(r"[0-9]{1,15}")

CLIENT = "telemed-client"  # header: the client's own secret, which a resume token is bound to
RATE, BURST = 10.0, 60  # requests of one participant a second, and at once
REMEMBERED = 10_000  # participants whose rate is known

# Token, the client's secret ("": none), whether something is sent (not read) -> who it is, None: nobody. May raise Refused.
Verify = Callable[[str, str, bool], Awaitable[Claims | None] | Claims | None]
Seen = Callable[[Claims, Message], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]


class Superseded(Exception):
    """Another request goes on with the message."""


def routes(
    store: Store, verify_token: Verify, signed: Callable[[Claims], dict[str, str]] = lambda claims: {}, seen: Seen | None = None
) -> list[Route]:
    """For a Starlette application, whose start awaits `store.open()` and whose end `store.close()`.

    verify_token: may be a coroutine function. signed(claims): metadata that the token vouches for, over what the sender says.
    seen(claims, message): somebody else than the sender begins to read it; may be a coroutine function.
    """
    doors = Doors(store, verify_token, signed, seen)
    return [
        Route(PATH, doors.answer(doors.options, open_=True), methods=["OPTIONS"]),
        Route(PATH, doors.answer(doors.create), methods=["POST"]),
        Route(PATH, doors.answer(doors.listed, tus=False, sending=False), methods=["GET"]),
        Route(PATH + "/{id}", doors.answer(doors.options, open_=True), methods=["OPTIONS"]),
        Route(PATH + "/{id}", doors.answer(doors.head), methods=["HEAD"]),
        Route(PATH + "/{id}", doors.answer(doors.patch), methods=["PATCH"]),
        Route(PATH + "/{id}", doors.answer(doors.delete), methods=["DELETE"]),
        Route(PATH + "/{id}", doors.answer(doors.override), methods=["POST"]),
        Route(PATH + "/{id}", doors.answer(doors.read, tus=False, sending=False), methods=["GET"]),
        Route(PATH + "/{id}/here", doors.answer(doors.here, tus=False), methods=["GET"]),
    ]


class Doors:
    """One method a request."""

    def __init__(self, store: Store, verify: Verify, signed: Callable[[Claims], dict[str, str]], seen: Seen | None) -> None:
        self._store, self._verify, self._signed, self._seen = store, verify, signed, seen
        self._rates: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def answer(self, handler: Handler, *, open_: bool = False, tus: bool = True, sending: bool = True) -> Handler:
        """With the token checked, the rate, the protocol's version, and refusals as answers."""

        async def endpoint(request: Request) -> Response:
            try:
                if not open_:
                    request.state.claims = claims = await self._claims(request, sending)
                    self._paced(claims)
                    if not self._store.opened:
                        raise Refused(503, "not-now", "Máy chủ chưa nhận lời nhắn được", "the server cannot take messages at present")
                    if tus and request.headers.get("tus-resumable") != VERSION:
                        raise Refused(412, "version", f"Cần Tus-Resumable: {VERSION}", f"Tus-Resumable: {VERSION} is needed")
                response = await handler(request)
            except Refused as refused:
                body = {"code": refused.code, "vi": refused.vi, "en": refused.en}
                response = JSONResponse(body, refused.status)
                if refused.status == 401:
                    response.headers["WWW-Authenticate"] = "Bearer"
                if refused.status in (429, 503):
                    response.headers["Retry-After"] = "5"
                if refused.status == 412:
                    response.headers["Tus-Version"] = VERSION
            except Superseded:
                body = {"code": "superseded", "vi": "Một yêu cầu khác đang tiếp tục", "en": "another request goes on"}
                response = JSONResponse(body, 423)
            except ClientDisconnect:
                response = Response(status_code=400)  # nobody reads it
            response.headers["Tus-Resumable"] = VERSION
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return endpoint

    def _paced(self, claims: Claims) -> None:
        who, now = (claims.room, claims.participant), time.monotonic()
        bucket = self._rates.pop(who, None) or Bucket(RATE, BURST, now)
        self._rates[who] = bucket
        while len(self._rates) > REMEMBERED:
            self._rates.popitem(last=False)
        if not bucket.take(now):
            raise Refused(429, "rate", "Quá nhiều yêu cầu, xin chậm lại", "too many requests; slow down")

    async def _claims(self, request: Request, sending: bool) -> Claims:
        token = bearer_of(request.headers.get("authorization", ""))
        claims = None
        if token:
            answer = self._verify(token, request.headers.get(CLIENT, "")[:200], sending)
            claims = await answer if inspect.isawaitable(answer) else answer
        if claims is None:
            raise Refused(401, "token", "Cần mã tham gia còn hiệu lực", "a valid join token is needed")
        return claims

    async def options(self, request: Request) -> Response:
        """What we can do."""
        return Response(
            status_code=204,
            headers={
                "Tus-Version": VERSION,
                "Tus-Extension": "creation,creation-with-upload,checksum,expiration,termination",
                "Tus-Max-Size": str(self._store.limits.size),
                "Tus-Checksum-Algorithm": ",".join(SUMS),
            },
        )

    async def create(self, request: Request) -> Response:
        """201 with the message's place; with the first bytes too where the request has them."""
        length = _number(request, "upload-length")
        metadata = _metadata(request.headers.get("upload-metadata", "")) | self._signed(request.state.claims)
        message = await self._store.create(request.state.claims, length, metadata)
        headers = {"Location": f"{PATH}/{message.id}"}
        if length and request.headers.get("content-type") == CONTENT:
            held = self._store.own(message.id, request.state.claims)
            async with self._store.adding(held) as taken:
                # The message exists: whatever comes of its bytes, the answer says where it is and how far.
                with contextlib.suppress(Refused):
                    await self._add(request, held, 0, taken)
            message = held.message
            headers["Upload-Offset"] = str(message.offset)
        return Response(status_code=201, headers=headers | self._expires(message))

    async def head(self, request: Request) -> Response:
        """How much of it is safe here."""
        held = self._own(request)
        async with self._store.adding(held):
            m = held.message
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in m.metadata.items())
        headers = {"Upload-Offset": str(m.offset), "Upload-Length": str(m.length)}
        return Response(status_code=200, headers=headers | ({"Upload-Metadata": metadata} if metadata else {}) | self._expires(m))

    async def patch(self, request: Request) -> Response:
        """204 when every byte of it is on the disk."""
        if request.headers.get("content-type") != CONTENT:
            raise Refused(415, "type", f"Cần Content-Type: {CONTENT}", f"Content-Type: {CONTENT} is needed")
        offset = _number(request, "upload-offset")
        held = self._own(request)
        async with self._store.adding(held) as taken:
            await self._add(request, held, offset, taken)
        return Response(status_code=204, headers={"Upload-Offset": str(held.message.offset)} | self._expires(held.message))

    async def delete(self, request: Request) -> Response:
        await self._store.remove(self._own(request).message.id)
        return Response(status_code=204)

    async def override(self, request: Request) -> Response:
        """For networks that let nothing but GET and POST through (X-HTTP-Method-Override)."""
        handlers: dict[str, Handler] = {"PATCH": self.patch, "DELETE": self.delete, "HEAD": self.head}
        handler = handlers.get(request.headers.get("x-http-method-override", "").upper())
        if handler is None:
            raise Refused(405, "method", "Phương thức không dùng được ở đây", "that method is not for here")
        return await handler(request)

    async def listed(self, request: Request) -> Response:
        """The complete messages that one may read, the newest first."""
        found = await self._store.listed(request.state.claims)
        return JSONResponse({"messages": [self._store.told(message) for message in found]})

    async def here(self, request: Request) -> Response:
        """204 where this relay has the message: a front with several asks before it carries a request there."""
        return Response(status_code=204 if self._store.message(request.path_params["id"]) is not None else 404)

    async def read(self, request: Request) -> Response:
        """The content of a complete message; one range (RFC 9110 14.2)."""
        message = await self._store.readable(request.path_params["id"], request.state.claims)
        kind = message.metadata.get("filetype", "")
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{message.id}"',
            "Content-Type": kind if SHOWN.fullmatch(kind) and not kind.startswith("image/svg") else "application/octet-stream",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, no-store",
        }
        asked = request.headers.get("range", "")
        span = ranges.span(asked, message.length, request.headers.get("if-range"), headers["ETag"])
        if span is not None and span[0] >= span[1]:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{message.length}"})
        start, stop = span or (0, message.length)
        if self._seen is not None and request.method == "GET" and stop > start and request.state.claims.participant != message.participant:
            await self._seen(request.state.claims, message)
        headers["Content-Length"] = str(stop - start)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{message.length}"
        return StreamingResponse(self._store.read(message.id, start, stop), 206 if span else 200, headers)

    async def _add(self, request: Request, held: Held, offset: int, taken: asyncio.Event) -> None:
        async with (
            contextlib.aclosing(_arriving(request, taken, self._store.limits.idle)) as source,
            contextlib.aclosing(self._body(request, held, offset, source)) as pieces,
        ):
            await self._store.add(held, offset, pieces)

    def _own(self, request: Request) -> Held:
        return self._store.own(request.path_params["id"], request.state.claims)

    def _expires(self, message: Message) -> dict[str, str]:
        return {} if message.complete else {"Upload-Expires": formatdate(self._store.expires(message), usegmt=True)}

    async def _body(self, request: Request, held: Held, offset: int, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """The request's bytes in pieces. Raises Superseded, ClientDisconnect, Refused; what came before that was given out."""
        announced = request.headers.get("content-length", "")
        if NUMBER.fullmatch(announced) and offset + int(announced) > held.message.length:
            raise Refused(413, "too-long", "Nhiều byte hơn đã báo trước", "more bytes than were announced")
        if (wanted := request.headers.get("upload-checksum")) is not None:
            yield await self._checked(source, wanted)
            return
        gathered = bytearray()
        try:
            async for piece in source:
                gathered += piece
                while len(gathered) >= PIECE:
                    yield bytes(gathered[:PIECE])
                    del gathered[:PIECE]
        except (Superseded, ClientDisconnect, Refused):
            if gathered:  # a link that breaks has brought this much
                yield bytes(gathered)
            raise
        if gathered:
            yield bytes(gathered)

    async def _checked(self, source: AsyncIterator[bytes], wanted: str) -> bytes:
        """All of it, if it has that checksum: a wrong piece must leave nothing behind."""
        name, _, encoded = wanted.partition(" ")
        try:
            expected = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            expected = b""
        if name not in SUMS or not expected:
            raise Refused(400, "checksum-unknown", f"Chỉ dùng {', '.join(SUMS)}", f"only {', '.join(SUMS)} in base64")
        gathered = bytearray()
        async for piece in source:
            gathered += piece
            if len(gathered) > self._store.limits.checked:
                most = self._store.limits.checked
                raise Refused(
                    413,
                    "piece-too-long",
                    f"Mỗi phần có mã kiểm tra tối đa {most} byte",
                    f"a piece with a checksum has at most {most} bytes",
                )
        digest = hashlib.new(name, gathered, usedforsecurity=False).digest()
        if not secrets.compare_digest(digest, expected):
            raise Refused(460, "checksum", "Mã kiểm tra không khớp", "the checksum does not match")
        return bytes(gathered)


async def _arriving(request: Request, taken: asyncio.Event, idle: float) -> AsyncGenerator[bytes, None]:
    """The body as it comes, until another request wants the message or nothing came for a while."""
    stream = request.stream().__aiter__()
    given_up = asyncio.ensure_future(taken.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(stream, None))
            try:
                await asyncio.wait({coming, given_up}, timeout=idle, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
            if not coming.done():
                await asyncio.wait({coming})
            if coming.cancelled():
                if taken.is_set():
                    raise Superseded
                raise Refused(408, "idle", "Không nhận được dữ liệu", "nothing came for too long")
            piece = coming.result()
            if piece is None:
                return
            yield piece
    finally:
        given_up.cancel()


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not NUMBER.fullmatch(text):
        raise Refused(400, "header", f"Thiếu {header} hợp lệ", f"{header} has to be a number")
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: names with values in base64, separated by commas."""
    out: dict[str, str] = {}
    try:
        if len(text) > METADATA_MAX:
            raise ValueError
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, _, value = part.partition(" ")
            if name in out:
                raise ValueError
            out[name] = base64.b64decode(value, validate=True).decode()
    except ValueError:
        raise Refused(400, "metadata", "Upload-Metadata không hợp lệ", "Upload-Metadata is not as tus wants it") from None
    return out
