"""Browser applications of other origins: which answers they may read and what they may send (Fetch standard, CORS protocol)."""

from functools import lru_cache

from health_hub.rest.respond import Headers, Response

EXPOSED = (
    "ETag, Last-Modified, Location, Content-Location, Link, Content-Disposition, Content-Range, Accept-Patch, Allow, "
    "Retry-After, WWW-Authenticate, DPoP-Nonce, X-Progress, X-Request-Id"
)
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED = (
    "Accept, Accept-Language, Authorization, Cache-Control, Content-Type, DPoP, Idempotency-Key, If-Match, If-Modified-Since, "
    "If-None-Exist, If-None-Match, If-Range, Origin, Prefer, Range, X-Medplum, X-Provenance, X-Request-Id, X-Requested-With, "
    "X-Security-Context"
)


@lru_cache(maxsize=256)
def headers(origin: bytes, origins: tuple[str, ...]) -> Headers:
    """What an answer to a page of `origin` carries; nothing when the origin is not among `origins`."""
    exposed = (b"access-control-expose-headers", EXPOSED.encode())
    if origin.decode("latin-1") in origins:
        # Medplum's client asks with credentials: "include", which a browser lets through for an origin named in full only.
        return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"), exposed]
    return [(b"access-control-allow-origin", b"*"), exposed] if "*" in origins else []


def preflight(allow: str) -> Response:
    """The answer to OPTIONS, a browser's question before the request or a person's."""
    return Response(
        204,
        headers=[
            ("Allow", allow),
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", ALLOWED),
            ("Access-Control-Max-Age", "86400"),
        ],
    )
