"""id_tokens (OpenID Connect Core 2): who signed in, when and how, for the one application that asked."""

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any

from health_hub.auth import jose
from health_hub.auth.model import Account, Client, Granted

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

LIMIT = 8192  # characters


def about(authority: "Authority", account: Account, scope: str) -> dict[str, Any]:
    """What the scopes let an application know of a person; fhirUser is a URL (SMART App Launch, fhirUser)."""
    named = scope.split()
    said: dict[str, Any] = {"sub": account.id}
    if account.fhir_user and ("fhirUser" in named or "profile" in named):
        said["fhirUser"] = f"{authority.audience}/{account.fhir_user}"
    if "profile" in named:
        said |= {"name": account.name, "locale": account.language} if account.name else {"locale": account.language}
    return said


def issue(authority: "Authority", client: Client, account: Account, granted: Granted, access_token: str, *, fresh: bool) -> str:
    """fresh: from the code, not from a refresh, in which the nonce has no place (OpenID Connect Core 12.2)."""
    now = int(time.time())
    said = {
        "iss": authority.issuer, "aud": client.id, "iat": now, "exp": now + authority.settings.id_token_seconds,
        "auth_time": granted.signed_in, "amr": list(granted.amr), "sid": granted.session, "at_hash": at_hash(access_token),
        "nonce": granted.nonce if fresh else None,
    } | about(authority, account, granted.scope)  # fmt: skip
    key = authority.keys.signer(client.id_token_signed_response_alg)
    head = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    return jose.sign(head, {k: v for k, v in said.items() if v not in (None, "", [])}, key.key)


def at_hash(access_token: str) -> str:
    """Half of the SHA-256 (RS256 and ES256 both hash so), which binds the two tokens (OpenID Connect Core 3.1.3.6)."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode("ascii")).digest()[:16]).rstrip(b"=").decode()


async def read(authority: "Authority", token: str) -> dict[str, Any] | None:
    """What an id_token of ours says, an expired one too (it is a hint, not a proof); None: it is none."""
    try:
        head = jose.header(token, LIMIT)
        # An access token is no id_token (RFC 8725 3.11).
        if str(head.get("typ", "JWT")).upper() != "JWT":
            return None
        kid = head.get("kid", "")
        if authority.keys.get(kid) is None:
            await authority.keys.look()
        key = authority.keys.get(kid)
        if key is None or head["alg"] != key.alg:
            return None
        said = jose.verify(token, key.key, key.alg)
    except jose.Malformed:
        return None
    return said if said.get("iss") == authority.issuer and isinstance(said.get("sub"), str) else None
