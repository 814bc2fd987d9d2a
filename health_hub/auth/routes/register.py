"""POST /auth/register (RFC 7591); GET, PUT and DELETE /auth/register/{client_id} (RFC 7592)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.authority import Authority
from health_hub.auth.limits import Rate, source
from health_hub.auth.model import AuthError
from health_hub.auth.registration import Registration
from health_hub.auth.routes.messages import address, answer, answering, bearer, json_object, too_often

BY_ADDRESS, BY_ALL, HOUR = 20, 200, 3600  # registrations by one address and by all, seconds
TRIES, TRIES_SECONDS = 30, 600  # refused tokens by one address


def router(authority: Authority) -> APIRouter:
    routes = APIRouter()
    registration = Registration(authority)
    here, everywhere, tries = Rate(BY_ADDRESS, HOUR), Rate(BY_ALL, HOUR, keys=1), Rate(TRIES, TRIES_SECONDS)

    def refuse(e: AuthError, who: str) -> AuthError:
        """A token that is none counts for its address."""
        if e.status == 401 and (wait := tries.take(who)):
            return too_often(wait)
        return e

    async def register(request: Request) -> Response:
        who, token = source(address(request)), bearer(request)
        # With a token the number is the token's; without one only these hold.
        if not token and (wait := here.take(who) or everywhere.take("")):
            raise too_often(wait)
        said = await json_object(request)
        try:
            return answer(await registration.register(said, token, address(request)), 201)
        except AuthError as e:
            raise refuse(e, who) from None

    async def manage(request: Request) -> Response:
        who, id = source(address(request)), request.path_params["client_id"]
        try:
            if request.method == "GET":
                return answer(await registration.read(id, bearer(request)))
            if request.method == "PUT":
                return answer(await registration.update(id, await json_object(request), bearer(request), address(request)))
            await registration.delete(id, bearer(request), address(request))
            return answer(None, 204)
        except AuthError as e:
            raise refuse(e, who) from None

    routes.add_api_route("/auth/register", answering(register), methods=["POST"])
    routes.add_api_route("/auth/register/{client_id}", answering(manage), methods=["GET", "PUT", "DELETE"])
    return routes
