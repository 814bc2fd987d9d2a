"""POST /auth/par (RFC 9126 2)."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response

from health_hub.auth.authority import Authority
from health_hub.auth.limits import Rate, source
from health_hub.auth.model import AuthError, Client
from health_hub.auth.par import push, pushable
from health_hub.auth.routes.messages import address, answer, answering, authenticated, too_often

BY_ADDRESS, BY_CLIENT, SECONDS = 300, 3000, 600  # requests; seconds
Validate = Callable[[Client, Mapping[str, str]], Awaitable[object]]


def router(authority: Authority, validate: Validate) -> APIRouter:
    """validate: of auth/authorize.py, raises AuthError for what could not be authorized as it stands (RFC 9126 2.1 step 3)."""
    routes = APIRouter()
    here, clients = Rate(BY_ADDRESS, SECONDS), Rate(BY_CLIENT, SECONDS)

    async def pushed(request: Request) -> Response:
        if wait := here.take(source(address(request))):
            raise too_often(wait)
        client, form = await authenticated(authority, request, "/auth/par")
        if wait := clients.take(client.id):
            raise too_often(wait)
        params = pushable(client, form)
        if "authorization_code" not in client.grant_types:
            raise AuthError("unauthorized_client", "the client is not registered for the code flow")
        await validate(client, params)
        return answer(await push(authority.store.records, client, params), 201)

    routes.add_api_route("/auth/par", answering(pushed), methods=["POST"])
    return routes
