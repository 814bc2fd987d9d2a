"""The FHIR API as a bare ASGI application: request in, interaction, answer or OperationOutcome out (R4 http.html).

Bare, because a framework's route costs more here than everything this server does for a read.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any

from health_hub.access.gate import Gate
from health_hub.auth import discovery, dpop
from health_hub.auth.model import AuthError
from health_hub.fhir import index
from health_hub.fhir.json import dumps
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest import async_, cors
from health_hub.rest.hub import Hub
from health_hub.rest.request import ClientGone, Receive, Request, segments_of
from health_hub.rest.respond import Broken, Headers, Response, refused, send_response
from health_hub.rest.route import Route, route
from health_hub.settings import Settings
from health_hub.store.store import Store

ROOT = "/fhir"
OPEN = (["metadata"], [".well-known", "smart-configuration"])  # without a token
AUDIT = "AuditEvent"
Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]

_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}\Z").match
_BODIES = frozenset(("POST", "PUT", "PATCH"))
_PROOFS = " ".join(dpop.ALGORITHMS)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}\Z").match

log = logging.getLogger(__name__)


class FhirApp:
    """Serves every path below /fhir. `hub` is what its interactions share."""

    def __init__(self, store: Store, settings: Settings, gate: Gate | None = None) -> None:
        self.hub = Hub(store, settings, gate)
        self._gate = gate
        self.hub.interact = self.interact
        self._settings = settings
        self._base = settings.base_url.rstrip("/")
        if self._base:
            index.set_base(self._base)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._request(scope, receive)
        gate = self._gate
        if gate is not None:
            gate.scribe.busy += 1
            gate.scribe.served += 1
        try:
            try:
                response = await self._answer(request, len(scope.get("raw_path") or b"") + len(request.query))
            except FhirError as e:
                response = refused(e)
            except ClientGone:
                return
            except Exception as e:
                response = self._failed(request, e)
            if request.access is not None:
                try:
                    await self.hub.told(request, response)
                except Exception as e:
                    response = refused(e) if isinstance(e, FhirError) else self._failed(request, e)
        finally:
            if gate is not None:
                gate.scribe.busy -= 1
        settings, extra = self._settings, self._extra(request)
        try:
            try:
                await send_response(request, response, send, gzip_min=settings.gzip_min, gzip_level=settings.gzip_level, extra=extra)
            except FhirError as e:
                await send_response(request, refused(e), send, gzip_min=0, gzip_level=0, extra=extra)
            except (Broken, OSError, asyncio.CancelledError):
                raise
            except Exception as e:
                await send_response(request, self._failed(request, e), send, gzip_min=0, gzip_level=0, extra=extra)
        except Broken as e:
            log.warning("%s %s: the answer broke off: %r", request.method, "/".join(request.segments), e.__cause__)
            raise

    def _request(self, scope: Scope, receive: Receive) -> Request:
        listed = scope["headers"]
        headers = dict(listed)
        if len(headers) != len(listed):
            headers = _joined(listed)
        path: str = scope["path"]
        client = scope.get("client")
        return Request(
            scope["method"],
            segments_of(path[len(ROOT) :]),
            scope["query_string"],
            headers,
            base=self._base or _base(scope.get("scheme", "http"), headers.get(b"host", b"localhost")),
            receive=receive,
            client=client[0] if client else None,
            content_limit=self._settings.max_body,
            idle=self._settings.timeout_body,
        )

    async def _answer(self, request: Request, length: int) -> Response:
        if length > self._settings.max_url:
            why = f"the URL has {length} bytes, at most {self._settings.max_url} are read; a search can be sent by POST _search"
            raise FhirError(414, Issue("too-long", why))
        if request.method == "OPTIONS":
            return cors.preflight(cors.METHODS)
        if self._gate is not None:
            if request.segments in OPEN and request.method in ("GET", "HEAD"):
                return await self._in_the_open(request)
            await self._admit(self._gate, request)
        found = route(request)
        # What cannot be answered is not begun. A Binary is served in its own type, and decides by itself.
        if request.type != "Binary" or request.method != "GET":
            request.format  # noqa: B018
        if request.method in _BODIES and not found.streams:
            await request.body()  # at the client's pace, outside of the time limit
        if found.detach and b"prefer" in request.headers and request.prefer.respond_async:
            return await async_.start(self.hub, request, found.interaction)
        return await self._within_time(found, request)

    async def _in_the_open(self, request: Request) -> Response:
        """What anyone may read, because signing in begins with it."""
        assert self._gate is not None
        if request.segments == ["metadata"]:
            return await route(request).interaction(self.hub, request)
        body = dumps(discovery.smart(self._gate.authority))
        return Response(200, content=body, content_type="application/json", headers=[("Cache-Control", "max-age=60")])

    async def _admit(self, gate: Gate, request: Request) -> None:
        """FhirError 401 without a good token."""
        headers = request.headers
        url = f"{request.base}/{'/'.join(request.segments)}"
        try:
            access = await gate.admit(headers.get(b"authorization"), headers.get(b"dpop"), request.method, url, request.client)
        except AuthError as e:
            raise _unauthorized(e) from None
        number = headers.get(b"x-request-id")
        if number is not None and _REQUEST_ID(number):
            access.request_id = number.decode("ascii")
        request.access = access
        if AUDIT in request.segments:
            await gate.scribe.now()  # who asks for AuditEvents sees those of a moment ago

    async def _within_time(self, found: Route, request: Request) -> Response:
        limit = self._settings.timeout_long if found.long else self._settings.timeout
        if found.streams:
            return await found.interaction(self.hub, request)
        try:
            async with asyncio.timeout(limit):
                return await found.interaction(self.hub, request)
        except TimeoutError:
            why = f"the request took longer than {limit:g} s; ask for less, or with Prefer: respond-async"
            raise FhirError(503, Issue("timeout", why), [("Retry-After", "10")]) from None

    async def interact(self, request: Request) -> Response:
        """A request by hand: an entry of a batch."""
        return await route(request).interaction(self.hub, request)

    def _failed(self, request: Request, error: Exception) -> Response:
        """What happened goes to the log under a number; the client gets the number only."""
        number = secrets.token_hex(6)
        log.error("error %s: %s %s", number, request.method, "/".join(request.segments)[:500], exc_info=error)
        return refused(FhirError(500, Issue("exception", f"the server failed at this; its log has the details under {number}")))

    def _extra(self, request: Request) -> Headers:
        headers: Headers = []
        origin = request.headers.get(b"origin")
        if origin is not None and self._settings.cors_origins:
            # SMART App Launch, CORS support: discovery is for every origin.
            headers += cors.headers(origin, ("*",) if request.segments in OPEN else self._settings.cors_origins)
        number = request.headers.get(b"x-request-id")
        if number is not None and _REQUEST_ID(number):
            headers.append((b"x-request-id", number))
        return headers


def _unauthorized(error: AuthError) -> FhirError:
    """RFC 6750 3: no error code where no token was sent; RFC 9449 7.1 names the other scheme as well."""
    said = f', error="{error.error}", error_description="{error.description}"' if error.error else ""
    # Only who sent a proof can do something about a nonce.
    bearer = "" if error.error == "use_dpop_nonce" else f'Bearer realm="fhir"{said}, '
    challenges = f'{bearer}DPoP algs="{_PROOFS}"{said}'
    why = error.description or "an access token is needed"
    headers = [("WWW-Authenticate", challenges), *error.headers]
    return FhirError(error.status, Issue("login" if not error.error else "security", why), headers)


def _joined(listed: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Several lines of one header are one list (RFC 9110 5.2)."""
    headers: dict[bytes, bytes] = {}
    for name, value in listed:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


@lru_cache(maxsize=256)
def _base(scheme: str, host: bytes) -> str:
    return f"{scheme}://{host.decode() if _HOST(host) else 'localhost'}{ROOT}"
