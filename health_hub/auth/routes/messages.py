"""What the JSON endpoints share: a request read within limits, an answer nobody keeps, a refusal in OAuth's terms."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response

from health_hub.auth.authority import Authority
from health_hub.auth.model import AuthError, Client

BODY = 64 * 1024  # bytes
FIELDS = 100  # of a form
Handler = Callable[[Request], Awaitable[Response]]


def answer(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """JSON that no cache keeps (RFC 6749 5.1); None: no content."""
    content = b"" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    response = Response(content, status, media_type=None if value is None else "application/json")
    for name, said in (("Cache-Control", "no-store"), ("Pragma", "no-cache"), *headers):
        response.headers[name] = said
    return response


def refusal(e: AuthError) -> Response:
    """RFC 6749 5.2."""
    return answer({"error": e.error} | ({"error_description": e.description} if e.description else {}), e.status, e.headers)


def answering(handler: Handler) -> Handler:
    """The handler, its AuthError as an answer."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except AuthError as e:
            return refusal(e)

    return answered


async def body(request: Request) -> bytes:
    """At most BODY bytes. Raises AuthError."""
    out = bytearray()
    async for part in request.stream():
        out += part
        if len(out) > BODY:
            raise AuthError("invalid_request", "the request is too long", 413)
    return bytes(out)


async def form(request: Request) -> dict[str, str]:
    """The parameters of a POST: none twice, those without a value left out (RFC 6749 3.2), none in the URL. Raises AuthError."""
    if request.url.query:
        raise AuthError("invalid_request", "parameters are sent in the body")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise AuthError("invalid_request", "the body is application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl((await body(request)).decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError:
        raise AuthError("invalid_request", "the body cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AuthError("invalid_request", "a parameter is there twice")
    if any("\0" in k or "\0" in v for k, v in pairs):
        raise AuthError("invalid_request", "a parameter holds a NUL")
    return {k: v for k, v in found.items() if v}


async def json_object(request: Request) -> dict[str, Any]:
    """Raises AuthError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise AuthError("invalid_client_metadata", "the body is application/json")
    try:
        value = json.loads(await body(request))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise AuthError("invalid_client_metadata", "the body is no JSON object")
    return value


def bearer(request: Request) -> str | None:
    """The token of the Authorization header (RFC 6750 2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def address(request: Request) -> str:
    """The network address a request came from."""
    return request.client.host if request.client else ""


def too_often(seconds: int) -> AuthError:
    return AuthError("temporarily_unavailable", "too many requests", 429, (("Retry-After", str(seconds)),))


async def authenticated(
    authority: Authority, request: Request, path: str, given: dict[str, str] | None = None
) -> tuple[Client, dict[str, str]]:
    """The client of a request and the form it sent, authenticated as at the token endpoint; a public one by its id. Raises AuthError.

    given: the form where it was read before.
    """
    if given is None:
        given = await form(request)
    # RFC 9126 2: the issuer, the token endpoint and the endpoint itself are all this server.
    audiences = [authority.issuer, f"{authority.issuer}/auth/token", f"{authority.issuer}{path}"]
    return await authority.clients.authenticate(request.headers.get("authorization"), given, audiences=audiences), given
