"""Proofs that who sends a token has the key it is bound to (RFC 9449).

Record kind "dpop", id the hash of key and jti: a proof that was seen, for as long as it could be sent again, so that no worker takes
it twice.
"""

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from health_hub.auth import jose
from health_hub.auth.model import AuthError

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

TYPE = "dpop+jwt"
ALGORITHMS = ("ES256", "ES384", "EdDSA", "RS256", "PS256")  # asymmetric ones that libraries have
LIMIT = 8192  # characters of a proof
JTI = 256  # characters of its id
OLD, EARLY = 60, 10  # seconds a proof may be old, and its clock ahead
_PORTS = {"http": 80, "https": 443}


async def check(authority: "Authority", proof: str, method: str, url: str, *, access_token: str | None = None) -> str:
    """The thumbprint (RFC 7638, SHA-256) of the key that made the proof for this request.

    url: of the request, without query. access_token: what the proof must be for, where it comes with one. Raises AuthError
    invalid_dpop_proof, or use_dpop_nonce with a DPoP-Nonce to try again with (8, 9): 400 at the token endpoint, 401 at a resource.
    """
    status = 400 if access_token is None else 401
    try:
        thumbprint, jti, nonce = _checked(proof, method, url, access_token)
    except jose.Malformed as e:
        raise AuthError("invalid_dpop_proof", str(e), status) from None
    # One that is not asked for is checked all the same: a client that repeats an old one learns the next.
    if (nonce is not None or authority.settings.dpop_nonce) and not authority.nonces.good(nonce):
        why = "the proof needs the nonce of the DPoP-Nonce header"
        raise AuthError("use_dpop_nonce", why, status, (("DPoP-Nonce", authority.nonces.new()),))
    id = hashlib.sha256(f"{thumbprint} {jti}".encode()).hexdigest()
    ends = (int(time.time()) + OLD + EARLY + 1) * 1000
    if not await authority.proofs.first(id, ends):
        raise AuthError("invalid_dpop_proof", "the proof was sent before", status)
    return thumbprint


def _checked(proof: str, method: str, url: str, access_token: str | None) -> tuple[str, str, object]:
    """(thumbprint, jti, nonce), after RFC 9449 4.3 point by point."""
    head = jose.header(proof, LIMIT, allow=("jwk",))
    if head.get("typ") != TYPE:
        raise jose.Malformed(f"typ is not {TYPE}")
    alg = head["alg"]
    if alg not in ALGORITHMS:
        raise jose.Malformed(f"alg is one of {', '.join(ALGORITHMS)}")
    key = jose.public(head.get("jwk"))
    said = jose.verify(proof, key, alg)
    jti = said.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI:
        raise jose.Malformed("jti is missing or too long")
    if said.get("htm") != method:
        raise jose.Malformed("htm is another method")
    if not _same(said.get("htu"), url):
        raise jose.Malformed("htu is another address")
    issued, now = jose.seconds(said, "iat"), time.time()
    if issued is None or not now - OLD <= issued <= now + EARLY:
        raise jose.Malformed("iat is too long ago, or in the future")
    if access_token is not None:
        wanted = base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=")
        ath = said.get("ath")
        if not isinstance(ath, str) or not hmac.compare_digest(ath.encode(), wanted):
            raise jose.Malformed("ath is not of this token")
    return key.thumbprint(), jti, said.get("nonce")


def _same(given: object, url: str) -> bool:
    """Whether two addresses are the same after normalisation, without query and fragment (RFC 9449 4.3, RFC 3986 6.2)."""
    if not isinstance(given, str) or len(given) > 2000:
        return False
    try:
        return _normal(given) == _normal(url)
    except ValueError:
        return False


def _normal(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme), parts.path or "/"
