"""Discovery and the keys that tokens are checked with, open to everyone (auth/discovery.py; RFC 7517)."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from health_hub.auth import discovery
from health_hub.auth.authority import Authority

_CACHED = {"Cache-Control": "public, max-age=60"}
# Shorter than a new key is published before it signs, so that nobody meets a key they could not know.
_KEYS = {"Cache-Control": "public, max-age=2"}


def router(authority: Authority) -> APIRouter:
    routes = APIRouter()

    def document(of: Callable[[Authority], dict[str, Any]]) -> Callable[[], Any]:
        async def answer() -> Response:
            return JSONResponse(of(authority), headers=_CACHED)

        return answer

    for path, of in (
        ("smart-configuration", discovery.smart),
        ("oauth-authorization-server", discovery.oauth),
        ("openid-configuration", discovery.openid),
    ):
        routes.add_api_route(f"/.well-known/{path}", document(of), methods=["GET"])

    @routes.get("/auth/jwks")
    async def jwks() -> Response:
        keys = [k.public for k in authority.keys.all()]
        return JSONResponse({"keys": keys}, headers=_KEYS, media_type="application/jwk-set+json")

    return routes
