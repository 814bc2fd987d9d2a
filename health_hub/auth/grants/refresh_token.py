"""grant_type refresh_token (RFC 6749 6): what was granted or less, for the client it was granted to, never more."""

from typing import TYPE_CHECKING

from health_hub.auth import scopes
from health_hub.auth.grants.answer import answered, holder
from health_hub.auth.grants.asked import Answer, TokenRequest
from health_hub.auth.model import AuthError

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


async def redeem(authority: "Authority", asked: TokenRequest) -> Answer:
    """Raises AuthError."""
    granted, version = await authority.families.read(asked.needed("refresh_token"), asked.client)
    if granted.thumbprint is not None and asked.thumbprint != granted.thumbprint:
        raise AuthError("invalid_grant", "the refresh token is bound to another key")
    account = await holder(authority, granted)
    # What the client may have can have become less since.
    allowed = scopes.grant(granted.scope, asked.client.scope, authority.restriction_ok)
    scope = scopes.narrow(asked.form["scope"], granted.scope) if "scope" in asked.form else granted.scope
    scope = scopes.grant(scope, allowed, authority.restriction_ok) if allowed else ""
    if not scope:
        raise AuthError("invalid_scope", "nothing of it may be had any more")
    # Narrowed for this access token only: the next refresh token stands for all that was granted.
    refresh_token = await authority.families.rotate(granted, version)
    return await answered(authority, asked, account, granted, scope=scope, refresh_token=refresh_token, fresh=False)
