"""Browser applications of other origins: which answers they may read and what they may send (Fetch standard, CORS protocol)."""

from functools import lru_cache

from health_hub.rest.respond import Headers, Response

EXPOSED = (
    "ETag, Last-Modified, Location, Content-Location, Link, Content-Disposition, Content-Range, Accept-Patch, Allow, "
    "Retry-After, WWW-Authenticate, X-Progress, X-Request-Id"
)
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED = (
    "Accept, Accept-Language, Authorization, Cache-Control, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Exist, "
    "If-None-Match, If-Range, Origin, Prefer, Range, X-Provenance, X-Request-Id, X-Requested-With, X-Security-Context"
)


@lru_cache(maxsize=256)
def headers(origin: bytes, origins: tuple[str, ...]) -> Headers:
    """What an answer to a page of `origin` carries; nothing when the origin is not among `origins`."""
    if "*" in origins:
        allowed = b"*"
    elif origin.decode("latin-1") in origins:
        allowed = origin
    else:
        return []
    return [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", EXPOSED.encode())]


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
