"""POST /auth/revoke (RFC 7009 2)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.authority import Authority
from health_hub.auth.introspection import Families
from health_hub.auth.limits import Rate, source
from health_hub.auth.model import AuthError
from health_hub.auth.revocation import revoke
from health_hub.auth.routes.messages import address, answer, answering, authenticated, too_often

TRIES, SECONDS = 60, 600  # of clients that do not authenticate, by address


def router(authority: Authority, families: Families) -> APIRouter:
    routes = APIRouter()
    tries = Rate(TRIES, SECONDS)

    async def revocation(request: Request) -> Response:
        try:
            client, form = await authenticated(authority, request, "/auth/revoke")
        except AuthError as e:
            if e.status == 401 and (wait := tries.take(source(address(request)))):
                raise too_often(wait) from None
            raise
        if "token" not in form:
            raise AuthError("invalid_request", "token is missing")
        await revoke(authority, families, client, form["token"], address(request))
        return answer({})

    routes.add_api_route("/auth/revoke", answering(revocation), methods=["POST"])
    return routes
