"""Signed tokens, JWS compact (RFC 7515): one key and one algorithm that the reader chose, nothing that the token says decides."""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

# Algorithms whose verifier holds no secret, and what key each takes: (kty, curve); RSA by size.
ALGORITHMS: dict[str, tuple[str, str]] = {
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"), "EdDSA": ("OKP", "Ed25519"),
    **{f"{family}{bits}": ("RSA", "") for family in ("RS", "PS") for bits in ("256", "384", "512")},
}  # fmt: skip
# Header members that name a key or change the meaning of the rest (RFC 7515 4.1, RFC 7797).
POINTING = frozenset({"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"})
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
RSA_BITS = range(2048, 8193)
_REGISTRIES = {alg: jws.JWSRegistry(algorithms=[alg], strict_check_header=False) for alg in ALGORITHMS}
for _registry in _REGISTRIES.values():
    _registry.max_header_length = 8192  # an RSA key of a DPoP proof fills more than the library's 512 bytes


class Malformed(ValueError):
    """Not a signed token as it must be; the text says why, without repeating any of it."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise Malformed("a member appears twice")
    return out


def _part(text: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        value = json.loads(raw, object_pairs_hook=_unique)
    except (binascii.Error, UnicodeDecodeError, RecursionError, json.JSONDecodeError):
        raise Malformed("not base64url of JSON") from None
    if not isinstance(value, dict):
        raise Malformed("not an object")
    return value


def header(token: str, limit: int, allow: Iterable[str] = ()) -> dict[str, Any]:
    """The header, which nothing has vouched for yet. `limit`: characters; `allow`: members of POINTING that may be there."""
    if len(token) > limit or not token.isascii():
        raise Malformed("too long, or not ASCII")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise Malformed("not three parts")
    found = _part(parts[0])
    if pointing := (POINTING & found.keys()) - set(allow):
        raise Malformed(f"the header may not have {', '.join(sorted(pointing))}")
    if not isinstance(found.get("alg"), str):
        raise Malformed("no alg")
    if not isinstance(found.get("kid", ""), str):
        raise Malformed("kid is no text")
    return found


def unverified(token: str) -> dict[str, Any]:
    """The payload, not vouched for; only to learn whose key to try. Call `header` first."""
    return _part(token.split(".")[1])


def public(jwk: Any) -> Key:
    """The key of a JWK that someone else sent. Raises Malformed for private parts, secrets, and keys too weak."""
    if not isinstance(jwk, dict) or PRIVATE & jwk.keys() or jwk.get("kty") not in ("EC", "RSA", "OKP"):
        raise Malformed("not a public key of kind EC, RSA or OKP")
    # Its length says it, to a character; before the library, which computes with what it is given.
    if jwk["kty"] == "RSA" and not (isinstance(jwk.get("n"), str) and len(jwk["n"]) * 6 // 8 * 8 in RSA_BITS):
        raise Malformed("an RSA key has 2048 to 8192 bits")
    try:
        return import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError):
        raise Malformed("not a valid key") from None


def fits(key: Key, algorithm: str) -> bool:
    """Whether the key is of the kind, and the curve, that the algorithm takes."""
    kind, curve = ALGORITHMS.get(algorithm, ("", ""))
    if kind == "RSA":
        return isinstance(key, RSAKey)
    if kind in ("EC", "OKP"):
        return isinstance(key, (ECKey, OKPKey)) and key.key_type == kind and key.curve_name == curve
    return False


def verify(token: str, key: Key, algorithm: str) -> dict[str, Any]:
    """The claims of a token signed with this key by this algorithm. Raises Malformed."""
    if not fits(key, algorithm):
        raise Malformed("the key is not of the algorithm's kind")
    try:
        jws.deserialize_compact(token, key, registry=_REGISTRIES[algorithm])
    except (JoseError, ValueError, TypeError):
        raise Malformed("the signature is wrong") from None
    return unverified(token)


def sign(head: dict[str, Any], claims: dict[str, Any], key: Key) -> str:
    """`head` names `alg`, and `typ` where there is one."""
    return jwt.encode(head, claims, key, registry=_REGISTRIES[head["alg"]], default_type=None)


def seconds(claims: dict[str, Any], name: str) -> int | None:
    """A NumericDate of the claims (RFC 7519 2); None when absent. Raises Malformed."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1 << 40:
        raise Malformed(f"{name} is no time")
    return int(value)
