"""Taking a token back (RFC 7009): an access token alone, a refresh token with its whole family; only the client's own."""

from typing import TYPE_CHECKING

from health_hub.auth.audit import AuthEvent
from health_hub.auth.introspection import TOKEN_MAX, Families
from health_hub.auth.model import AuthError, Client

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


async def revoke(authority: "Authority", families: Families, client: Client, token: str, address: str = "") -> None:
    """Nothing is said of a token that is unknown, ended or another's: there is nothing for this client to revoke (RFC 7009 2.1, 2.2)."""
    if len(token) > TOKEN_MAX or not token.isascii():
        return
    try:
        claims = await authority.tokens.read(token)
    except AuthError:
        owner = await families.owner(token)
        if owner is None or owner[1] != client.id:
            return
        # The family first: a refresh that comes in between makes an access token that the second step still covers.
        await families.end(owner[0])
        await authority.revoked.add(f"session/{owner[0]}")
        detail = "refresh token"
    else:
        if claims.client != client.id:
            return
        await authority.revoked.add(f"token/{claims.id}")
        detail = "access token"
    await authority.audit(AuthEvent("revoked", client=client.id, address=address, detail=detail))
