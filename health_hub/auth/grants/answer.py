"""The answer of the token endpoint to what a person granted (RFC 6749 5.1, SMART App Launch, OpenID Connect Core 3.1.3.3)."""

from typing import TYPE_CHECKING

from health_hub.auth import id_tokens, scopes
from health_hub.auth.audit import AuthEvent
from health_hub.auth.grants.asked import Answer, TokenRequest
from health_hub.auth.model import Account, AuthError, Granted
from health_hub.auth.signin import FOR_FACILITY

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


async def holder(authority: "Authority", granted: Granted) -> Account:
    """Who granted it, as they are now. Raises AuthError where they have no account any more, or left the facility they acted for."""
    account = await authority.accounts.get(granted.account)
    if account is None or not account.enabled:
        raise AuthError("invalid_grant", "the account is closed")
    if account.role in FOR_FACILITY and granted.organization is not None:
        belongs = {f.reference for f in await authority.facilities(account)} | set(account.organizations)
        if granted.organization not in belongs:
            raise AuthError("invalid_grant", "the person no longer acts for the facility")
    return account


async def answered(
    authority: "Authority", asked: TokenRequest, account: Account, granted: Granted, *, scope: str, refresh_token: str, fresh: bool
) -> Answer:
    """scope: of this access token, what was granted or less. fresh: the first answer, not that to a refresh."""
    token, claims = authority.tokens.issue(
        subject=account.id, client=granted.client, role=account.role, scope=scope, fhir_user=account.fhir_user, name=account.name,
        organization=granted.organization, labels=account.labels, patient=granted.patient, encounter=granted.encounter, session=granted.id,
        thumbprint=asked.thumbprint,
    )  # fmt: skip
    context = {
        "patient": granted.patient, "encounter": granted.encounter, "need_patient_banner": granted.need_patient_banner,
        "intent": granted.intent, "smart_style_url": granted.smart_style_url,
    }  # fmt: skip
    answer: Answer = {
        "access_token": token, "token_type": "DPoP" if asked.thumbprint else "Bearer", "expires_in": claims.expires - claims.issued,
        "scope": scopes.spoken(scope, granted.asked), **{k: v for k, v in context.items() if v is not None},
    }  # fmt: skip
    if refresh_token:
        answer["refresh_token"] = refresh_token
    if "openid" in scope.split():
        answer["id_token"] = id_tokens.issue(authority, asked.client, account, granted, token, fresh=fresh)
    grant_type = asked.form["grant_type"].rpartition(":")[2]
    await authority.audit(AuthEvent("token", account.id, asked.client.id, asked.address, detail=f"{grant_type}: {scope}"))
    return answer


def refreshes(asked: TokenRequest, scope: str) -> bool:
    """Whether what was granted lasts longer than its first access token."""
    return "refresh_token" in asked.client.grant_types and bool({"offline_access", "online_access"} & set(scope.split()))


def bound(asked: TokenRequest) -> str | None:
    """The key that refresh tokens are bound to: a client that cannot authenticate proves itself by it (RFC 9449 5)."""
    return asked.thumbprint if asked.client.token_endpoint_auth_method == "none" else None
