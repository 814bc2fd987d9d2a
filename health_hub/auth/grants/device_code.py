"""grant_type urn:ietf:params:oauth:grant-type:device_code (RFC 8628 3.4): a station polls until a person has agreed elsewhere."""

import secrets
import time
from typing import TYPE_CHECKING

from health_hub.auth import consents, scopes
from health_hub.auth.grants.answer import answered, bound, holder, refreshes
from health_hub.auth.grants.asked import Answer, TokenRequest
from health_hub.auth.model import AuthError, Granted

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


async def redeem(authority: "Authority", asked: TokenRequest) -> Answer:
    """Raises AuthError."""
    approved = await authority.devices.poll(asked.client, asked.needed("device_code"))
    session = await authority.sessions.get(approved.session)
    if session is None:
        raise AuthError("invalid_grant", "the person has signed out")
    scope = scopes.grant(approved.scope, asked.client.scope, authority.restriction_ok)
    if approved.patient is None:
        scope = scopes.only(scope, lambda s: s.context != "patient")
    if not scope:
        raise AuthError("invalid_scope", "nothing is left of the scope")
    granted = Granted(
        id=secrets.token_urlsafe(16), client=asked.client.id, account=approved.account, scope=scope, asked=approved.scope,
        began=int(time.time()), signed_in=session.signed_in, amr=session.amr, session=session.id, organization=approved.organization,
        offline="offline_access" in scope.split(), patient=approved.patient, encounter=approved.encounter,
        need_patient_banner=None if approved.patient is None else True, thumbprint=bound(asked),
    )  # fmt: skip
    account = await holder(authority, granted)
    # So that the person sees it among their applications and can take it back.
    await consents.remember(authority, account.id, asked.client.id, scope)
    refresh_token = await authority.families.begin(granted, refreshing=refreshes(asked, scope))
    return await answered(authority, asked, account, granted, scope=scope, refresh_token=refresh_token, fresh=True)
