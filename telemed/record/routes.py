"""Recordings for the hub, which knows who may see them and notes who did: lists, and tracks with ranges, to fronts alone."""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from telemed import ranges
from telemed.directory.agent import FRONT
from telemed.record.kept import Kept, Plain
from telemed.record.sealed import SealedError
from telemed.sealed import pass_word

log = logging.getLogger(__name__)
PATH = "/telemed/recordings"
# Bytes of an answer to a range. Less than a browser loads ahead, so that each answer ends: a player of many tracks has some six
# connections in all, one that stands still keeps no file open, and one that goes on is looked at anew.
PART = 1 << 20
Handler = Callable[[Request], Awaitable[Response]]


def routes(kept: Kept, secret: str) -> list[Route]:
    """secret: shared with the fronts; whoever does not show its word gets 404."""
    doors = _Doors(kept)
    return [
        Route(PATH + "/{room}", _guarded(doors.listed, secret), methods=["GET"]),
        Route(PATH + "/{room}/{name}", _guarded(doors.one, secret), methods=["GET"]),
        Route(PATH + "/{room}/{name}/{file}", _guarded(doors.track, secret), methods=["GET"]),
    ]


def _guarded(handler: Handler, secret: str) -> Handler:
    word = pass_word(secret).encode()

    async def endpoint(request: Request) -> Response:
        shown = request.headers.get(FRONT.decode(), "").encode("latin-1", "replace")
        answer: Response
        if not hmac.compare_digest(shown, word):
            answer = _refused(404, "unknown", "Không có bản ghi này", "there is no such recording")
        else:
            try:
                answer = await handler(request)
            except LookupError:
                answer = _refused(404, "unknown", "Không có bản ghi này", "there is no such recording")
            except (SealedError, OSError) as error:
                log.error("a recording cannot be played: %s", error)
                answer = _refused(500, "damaged", "Bản ghi này không đọc được", "this recording cannot be read")
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    return endpoint


class _Doors:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def listed(self, request: Request) -> Response:
        return JSONResponse({"recordings": await asyncio.to_thread(self._kept.of_room, request.path_params["room"])})

    async def one(self, request: Request) -> Response:
        """204 where this relay has it."""
        await asyncio.to_thread(self._kept.index, request.path_params["room"], request.path_params["name"])
        return Response(status_code=204)

    async def track(self, request: Request) -> Response:
        """A range, of which at most PART bytes are given (RFC 9110 15.3.7), or all."""
        plain = await asyncio.to_thread(self._kept.track, *(request.path_params[part] for part in ("room", "name", "file")))
        headers = {"Accept-Ranges": "bytes", "ETag": plain.etag, "Content-Type": plain.type, "Cache-Control": "no-store"}
        span = ranges.span(request.headers.get("range", ""), plain.length, request.headers.get("if-range"), plain.etag)
        if span is not None and span[0] >= span[1]:
            plain.close()
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{plain.length}"})
        start, stop = (span[0], min(span[1], span[0] + PART)) if span is not None else (0, plain.length)
        headers["Content-Length"] = str(stop - start)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{plain.length}"
        if request.method == "HEAD":
            plain.close()
            return Response(status_code=206 if span is not None else 200, headers=headers)
        return _Given(plain, start, stop, 206 if span is not None else 200, headers)


class _Given(StreamingResponse):
    """Closes the file also where the player goes away before the first byte."""

    def __init__(self, plain: Plain, start: int, stop: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(plain.read(start, stop), status, headers)
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._plain.close()  # no thread reads any more: a read under way is waited for, also by who is cancelled


def _refused(status: int, code: str, vi: str, en: str) -> Response:
    return JSONResponse({"code": code, "vi": vi, "en": en}, status)
