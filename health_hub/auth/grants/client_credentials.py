"""grant_type client_credentials (RFC 6749 4.4, SMART Backend Services): a system acts for its own facility, or for the province."""

from typing import TYPE_CHECKING

from health_hub.auth import scopes
from health_hub.auth.audit import AuthEvent
from health_hub.auth.grants.asked import Answer, TokenRequest
from health_hub.auth.model import AuthError

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


async def redeem(authority: "Authority", asked: TokenRequest) -> Answer:
    """Raises AuthError. No refresh token: the client asks again (RFC 6749 4.4.3)."""
    client = asked.client
    if client.token_endpoint_auth_method == "none":
        raise AuthError("unauthorized_client", "a client that cannot authenticate has no credentials")
    wanted = asked.form.get("scope", "")
    scope = scopes.grant(wanted, client.scope, authority.restriction_ok, scopes.SYSTEMS)
    if not scope:
        raise AuthError("invalid_scope", "the client may have nothing of the scope; it is made of system/ scopes")
    token, claims = authority.tokens.issue(
        subject=client.id, client=client.id, role="system", scope=scope, name=client.client_name, organization=client.organization,
        labels=client.labels, thumbprint=asked.thumbprint,
    )  # fmt: skip
    await authority.audit(AuthEvent("token", None, client.id, asked.address, detail=f"client_credentials: {scope}"))
    return {
        "access_token": token, "token_type": "DPoP" if asked.thumbprint else "Bearer", "expires_in": claims.expires - claims.issued,
        "scope": scopes.spoken(scope, wanted),
    }  # fmt: skip
