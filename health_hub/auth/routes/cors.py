"""Endpoints that applications in browsers ask from their own origin (Fetch standard, CORS protocol): never with our cookies."""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# What an application reads before anyone knows it: for every origin, where browsers are served at all (SMART App Launch, CORS support).
PUBLIC = frozenset((
    "/auth/jwks", "/.well-known/smart-configuration", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
))  # fmt: skip
OPEN = PUBLIC | {
    "/auth/token", "/auth/userinfo", "/auth/revoke", "/auth/par", "/auth/device_authorization", "/auth/register",
}  # fmt: skip
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, DPoP"),
    (b"access-control-max-age", b"86400"),
)
_EXPOSED = ((b"access-control-expose-headers", b"WWW-Authenticate, DPoP-Nonce, Retry-After"),)


class CrossOrigin:
    """ASGI, around the application that has the endpoints. origins: HEALTH_HUB_CORS_ORIGINS."""

    def __init__(self, app: Application, origins: Collection[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _open(scope["path"]):
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        origin = given.get(b"origin", b"")
        allowed = self._allowed(scope["path"], origin)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
            headers = [*allowed, *_PREFLIGHT]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *allowed, *_EXPOSED]
            await send(message)

        await self._app(scope, receive, said)

    def _allowed(self, path: str, origin: bytes) -> list[tuple[bytes, bytes]]:
        if not origin:
            return []
        if "*" in self._origins or (self._origins and path in PUBLIC):
            return [(b"access-control-allow-origin", b"*")]
        vary = [(b"vary", b"Origin")]
        return [(b"access-control-allow-origin", origin), *vary] if origin.decode("latin-1") in self._origins else vary


def _open(path: str) -> bool:
    return path in OPEN or path.startswith("/auth/register/")
