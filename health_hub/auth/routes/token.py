"""POST /auth/token (RFC 6749 3.2)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import dpop
from health_hub.auth.audit import AuthEvent
from health_hub.auth.authority import Authority
from health_hub.auth.grants import GRANTS
from health_hub.auth.grants.asked import TokenRequest
from health_hub.auth.limits import Rate, source
from health_hub.auth.model import AuthError, Client
from health_hub.auth.routes.messages import address, answer, answering, authenticated, form, too_often

TRIES, SECONDS = 120, 600  # of clients that do not authenticate, by address
PATH = "/auth/token"
# A device that polls too early, or before the person has agreed, is no event.
_EXPECTED = ("authorization_pending", "slow_down")


def router(authority: Authority) -> APIRouter:
    routes = APIRouter()
    tries = Rate(TRIES, SECONDS)

    async def token(request: Request) -> Response:
        try:
            given = await _named(authority, request, await form(request))
            client, _ = await authenticated(authority, request, PATH, given)
        except AuthError as e:
            if e.status == 401 and (wait := tries.take(source(address(request)))):
                raise too_often(wait) from None
            raise
        try:
            asked = TokenRequest(client, given, address(request), await _thumbprint(authority, request, client))
            redeem = next((f for name, f in GRANTS.items() if name == asked.needed("grant_type")), None)
            if redeem is None:
                raise AuthError("unsupported_grant_type", "this grant_type is not supported")
            if asked.form["grant_type"] not in client.grant_types:
                raise AuthError("unauthorized_client", "the client is not registered for this grant_type")
            return answer(await redeem(authority, asked))
        except AuthError as e:
            if e.error not in _EXPECTED:
                said = f"{e.error}: {e.description}"
                await authority.audit(AuthEvent("token-refused", None, client.id, address(request), success=False, detail=said))
            raise

    routes.add_api_route(PATH, answering(token), methods=["POST"])
    return routes


async def _named(authority: Authority, request: Request, given: dict[str, str]) -> dict[str, str]:
    """The form, with the client_id that a public application leaves out when it refreshes.

    SMART App Launch, "Refresh access token", has it send grant_type, refresh_token and perhaps scope. Its id is no secret, and the token
    is bound to it; a confidential one gains nothing by this, for it is still refused without its secret or key.
    """
    says = {"client_id", "client_secret", "client_assertion", "client_assertion_type"} & given.keys() or "authorization" in request.headers
    if says or given.get("grant_type") != "refresh_token" or "refresh_token" not in given:
        return given
    owner = await authority.families.owner(given["refresh_token"])
    return given if owner is None else given | {"client_id": owner[1]}


async def _thumbprint(authority: Authority, request: Request, client: Client) -> str | None:
    """Of the key that the client shows it has (RFC 9449 5); None: it shows none."""
    proofs = request.headers.getlist("dpop")
    if not proofs and client.dpop_bound_access_tokens:
        raise AuthError("invalid_dpop_proof", "the client is registered to send a DPoP proof")
    if len(proofs) > 1:
        raise AuthError("invalid_dpop_proof", "one DPoP proof (RFC 9449 4.3)")
    return await dpop.check(authority, proofs[0], "POST", f"{authority.issuer}{PATH}") if proofs else None
