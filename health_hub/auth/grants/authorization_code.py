"""grant_type authorization_code (RFC 6749 4.1.3, RFC 7636 4.5): a code is good once, for the client and browser that asked for it.

A code that is brought again ends all that came of it, so its record stays USED_SECONDS.
"""

import hashlib
import hmac
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from health_hub.auth import consents, scopes
from health_hub.auth.grants.answer import answered, bound, holder, refreshes
from health_hub.auth.grants.asked import Answer, TokenRequest
from health_hub.auth.model import AuthError, Granted
from health_hub.store.records import Conflict, Put, now

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

USED_SECONDS = 86_400
CODE_MAX = 200  # characters
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


async def redeem(authority: "Authority", asked: TokenRequest) -> Answer:
    """Raises AuthError."""
    code, records = asked.needed("code"), authority.store.records
    id = hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
    record = await records.get("code", id) if len(code) <= CODE_MAX else None
    if record is None or record.data["granted"]["client"] != asked.client.id:
        raise AuthError("invalid_grant", "the code is unknown, ended or another application's")
    granted = Granted.of(record.data["granted"])
    if record.data["used"]:
        await authority.families.end(granted.id)
        raise _again()
    if asked.needed("redirect_uri") != record.data["redirect_uri"]:
        raise AuthError("invalid_grant", "redirect_uri is not that of the authorization request")
    if not _verified(asked.form.get("code_verifier", ""), record.data["code_challenge"]):
        raise AuthError("invalid_grant", "code_verifier does not fit the code_challenge")
    if record.data["dpop_jkt"] not in (None, asked.thumbprint):
        raise AuthError("invalid_grant", "the code is bound to another key")
    account = await holder(authority, granted)
    if await authority.sessions.get(granted.session) is None:
        raise AuthError("invalid_grant", "the person has signed out")
    if not scopes.within(granted.scope, await consents.remembered(authority, account.id, asked.client.id)):
        raise AuthError("invalid_grant", "the person has taken their consent back")
    granted = replace(granted, thumbprint=bound(asked))
    used = Put("code", id, record.data | {"used": True}, version=record.version, expires=now() + USED_SECONDS * 1000)
    try:
        refresh_token = await authority.families.begin(granted, refreshing=refreshes(asked, granted.scope), also=[used])
    except Conflict:
        await authority.families.end(granted.id)
        raise _again() from None
    return await answered(authority, asked, account, granted, scope=granted.scope, refresh_token=refresh_token, fresh=True)


def _verified(verifier: str, challenge: str) -> bool:
    return _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(create_s256_code_challenge(verifier), challenge)


def _again() -> AuthError:
    return AuthError("invalid_grant", "the code was used before: all that came of it has ended")
