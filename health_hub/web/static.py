"""Style sheets, scripts and the mark, each under a name that holds its hash: browsers keep it for a year and never an old one."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Static:
    """The files as they were when the process started."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._files: dict[str, tuple[bytes, str]] = {}
        for file in sorted(FOLDER.iterdir()):
            if file.suffix in _TYPES:
                content = file.read_bytes()
                name = f"{file.stem}.{hashlib.sha256(content).hexdigest()[:16]}{file.suffix}"
                self._paths[file.name] = f"/static/{name}"
                self._files[name] = content, _TYPES[file.suffix]

    def __call__(self, name: str) -> str:
        """Where a page finds the file `name`. Raises KeyError."""
        return self._paths[name]

    def route(self) -> Route:
        async def answer(request: Request) -> Response:
            found = self._files.get(request.path_params["name"])
            if found is None:
                return Response(status_code=404)
            return Response(found[0], headers={**_HEADERS, "Content-Type": found[1]})

        return Route("/static/{name}", answer, methods=["GET"])
