"""What a token says and whether it is still good (RFC 7662; SMART App Launch 2.2, Token Introspection), for who may know."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from health_hub.auth.model import AuthError, Client

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

TOKEN_MAX = 8192  # characters
INACTIVE: dict[str, Any] = {"active": False}


@dataclass(frozen=True, slots=True)
class Family:
    """A refresh token that could be redeemed now, and the grant (the family) it belongs to. times: seconds since 1970 UTC.

    id: of the grant, which is `Claims.session` of its access tokens. account: id of the person. thumbprint: of the DPoP key it is
    bound to (RFC 9449 5).
    """

    id: str
    client: str
    account: str
    scope: str
    issued: int
    expires: int
    fhir_user: str | None = None
    patient: str | None = None
    encounter: str | None = None
    thumbprint: str | None = None


class Families(Protocol):
    """Refresh tokens, as introspection and revocation need them."""

    async def find(self, token: str) -> Family | None:
        """The family of a refresh token that is its newest and in force; looking changes nothing, and is no reuse."""

    async def owner(self, token: str) -> tuple[str, str] | None:
        """Family and client of a refresh token, whether it is still the newest or was rotated away."""

    async def end(self, id: str) -> None:
        """No refresh token of the family is good any more."""


Answer = dict[str, Any]


async def introspect(authority: "Authority", families: Families, client: Client, token: str) -> Answer:
    """The answer for an authenticated client; about a token it may not know of, as about one that is none (RFC 7662 2.2)."""
    if len(token) > TOKEN_MAX or not token.isascii():
        return INACTIVE
    # Revoked by another worker a moment ago counts here too, which API requests learn within half a second.
    await authority.revoked.look()
    said = await _access(authority, token) or await _refresh(authority, families, token)
    if said is None or not (said["client_id"] == client.id or client.id in authority.settings.introspection_clients):
        return INACTIVE
    owner = client if said["client_id"] == client.id else await authority.clients.get(said["client_id"])
    if owner is None or not owner.enabled:
        return INACTIVE
    if said["sub"] != said["client_id"]:
        account = await authority.accounts.get(said["sub"])
        if account is None or not account.enabled:
            return INACTIVE
    return {"active": True} | {k: v for k, v in said.items() if v is not None}


async def _access(authority: "Authority", token: str) -> Answer | None:
    try:
        claims = await authority.tokens.read(token)
    except AuthError:
        return None
    return {
        "scope": claims.scope, "client_id": claims.client, "token_type": "DPoP" if claims.thumbprint else "Bearer", "exp": claims.expires,
        "iat": claims.issued, "sub": claims.subject, "aud": authority.audience, "iss": authority.issuer, "jti": claims.id,
        "sid": claims.session, "fhirUser": _absolute(authority, claims.fhir_user), "patient": claims.patient,
        "encounter": claims.encounter, "cnf": {"jkt": claims.thumbprint} if claims.thumbprint else None,
    }  # fmt: skip


async def _refresh(authority: "Authority", families: Families, token: str) -> Answer | None:
    family = await families.find(token)
    if family is None:
        return None
    return {
        "scope": family.scope, "client_id": family.client, "exp": family.expires, "iat": family.issued, "sub": family.account,
        "iss": authority.issuer, "sid": family.id, "fhirUser": _absolute(authority, family.fhir_user), "patient": family.patient,
        "encounter": family.encounter, "cnf": {"jkt": family.thumbprint} if family.thumbprint else None,
    }  # fmt: skip


def _absolute(authority: "Authority", fhir_user: str | None) -> str | None:
    """As in the id_token: a URL."""
    return f"{authority.audience}/{fhir_user}" if fhir_user and "://" not in fhir_user else fhir_user
