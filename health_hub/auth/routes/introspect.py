"""POST /auth/introspect (RFC 7662 2)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.authority import Authority
from health_hub.auth.introspection import Families, introspect
from health_hub.auth.limits import Rate, source
from health_hub.auth.model import AuthError
from health_hub.auth.routes.messages import address, answer, answering, authenticated, too_often

TRIES, SECONDS = 60, 600  # of clients that do not authenticate, by address


def router(authority: Authority, families: Families) -> APIRouter:
    routes = APIRouter()
    tries = Rate(TRIES, SECONDS)

    async def introspection(request: Request) -> Response:
        try:
            client, form = await authenticated(authority, request, "/auth/introspect")
            if client.token_endpoint_auth_method == "none":
                # RFC 7662 2.1 and 4: who asks must prove who they are, against trying out tokens.
                raise AuthError("invalid_client", "only clients that authenticate may ask", 401)
        except AuthError as e:
            if e.status == 401 and (wait := tries.take(source(address(request)))):
                raise too_often(wait) from None
            raise
        if "token" not in form:
            raise AuthError("invalid_request", "token is missing")
        return answer(await introspect(authority, families, client, form["token"]))

    routes.add_api_route("/auth/introspect", answering(introspection), methods=["POST"])
    return routes
