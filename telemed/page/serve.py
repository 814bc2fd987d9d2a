"""Routes of the consult room: the page, and its files under a name that holds their version."""

import gzip
from collections.abc import Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from telemed.page.files import File, files

# Nothing foreign, nothing inline. Sound and pictures of the call are no fetches and need no entry; recordings and files are blobs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'{connect}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_PAGE = {
    **_GUARDS,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), screen-wake-lock=(self), geolocation=()",
    "Vary": "Accept-Encoding",
}
_YEAR = "public, max-age=31536000, immutable"


def room(request: Request, prefix: str = "/telemed", *, join: str = "", back: str = "", connect: Sequence[str] = ()) -> Response:
    """The room's page.

    join: path whose POST (with the session's cookie) answers `{"token": "<join token>"}`; empty: the token is in the address, `#token=`.
    back: path where a person goes after the consultation.
    connect: further origins that the page may speak with, e.g. `wss://relay2.example.vn`.
    """
    found = files()
    names = sorted(n for n in found.named if n.endswith(".js"))
    values = {
        "base": f"{prefix}/page/{found.version}",
        "prefix": prefix,
        "join": join,
        "back": back,
    }
    text = found.template
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", escape(value, quote=True))
    # One round trip for all modules instead of one for each step of the chain of imports.
    text = text.replace("{{preload}}", "\n".join(f'<link rel="modulepreload" href="{prefix}/page/{found.version}/{n}">' for n in names))
    policy = POLICY.format(connect="".join(f" {origin}" for origin in connect))
    headers = {**_PAGE, "Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}
    body = text.encode()
    if _takes_gzip(request):
        body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
    return Response(body, headers=headers)


def routes(prefix: str = "/telemed", *, connect: Sequence[str] = ()) -> list[Route]:
    """`{prefix}/room`: the page; `{prefix}/page/{version}/{file}`: kept for a year; `{prefix}/page/{file}`: asked for anew each time."""

    async def page(request: Request) -> Response:
        return room(request, prefix, connect=connect)

    async def file(request: Request) -> Response:
        known = files()
        found = known.named.get(request.path_params["file"])
        version = request.path_params.get("version")
        if found is None:
            return Response(status_code=404)
        # An older version's name gets what there is now, but nobody may keep it under that name.
        return _answer(request, found, _YEAR if version == known.version else "no-cache")

    return [
        Route(f"{prefix}/room", page, methods=["GET"]),
        Route(f"{prefix}/page/{{file}}", file, methods=["GET"]),
        Route(f"{prefix}/page/{{version}}/{{file}}", file, methods=["GET"]),
    ]


def _takes_gzip(request: Request) -> bool:
    return any(part.split(";")[0].strip() == "gzip" for part in request.headers.get("accept-encoding", "").split(","))


def _answer(request: Request, found: File, keep: str) -> Response:
    headers = {
        **_GUARDS, "Cache-Control": keep, "ETag": found.etag, "Content-Type": found.type, "Vary": "Accept-Encoding",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }  # fmt: skip
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    if _takes_gzip(request):
        return Response(found.packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, headers=headers)
