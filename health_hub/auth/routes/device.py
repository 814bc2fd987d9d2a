"""POST /auth/device_authorization (RFC 8628 3.1)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import scopes
from health_hub.auth.authority import Authority
from health_hub.auth.device import GRANT, Devices
from health_hub.auth.limits import Rate, source
from health_hub.auth.model import AuthError
from health_hub.auth.routes.messages import address, answer, answering, authenticated, too_often

BY_ADDRESS, BY_CLIENT, SECONDS = 60, 600, 600  # codes; seconds


def router(authority: Authority, devices: Devices) -> APIRouter:
    routes = APIRouter()
    here, clients = Rate(BY_ADDRESS, SECONDS), Rate(BY_CLIENT, SECONDS)

    async def device_authorization(request: Request) -> Response:
        client, form = await authenticated(authority, request, "/auth/device_authorization")
        if GRANT not in client.grant_types:
            raise AuthError("unauthorized_client", "the client is not registered for the device grant")
        if wait := here.take(source(address(request))) or clients.take(client.id):
            raise too_often(wait)
        asked = form.get("scope", "")
        scope = scopes.spoken(scopes.grant(asked, client.scope, authority.restriction_ok), asked)
        if not scope:
            raise AuthError("invalid_scope", "nothing of the scope may be had by this client")
        return answer(await devices.begin(client, scope))

    routes.add_api_route("/auth/device_authorization", answering(device_authorization), methods=["POST"])
    return routes
