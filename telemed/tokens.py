"""Tokens: what opens one room for one participant (join), and what brings them back after a lost link or a restart (resume).

Both are JWTs (RFC 7519) in compact form, HS256 with a secret that hub and relay share. Neither is ever in a URL.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from telemed.rooms.roles import DEFAULTS, Right, Role

JOIN, RESUME = "telemed", "telemed-resume"  # audiences
JOIN_SECONDS = 600  # longest life of a join token
LEEWAY = 10  # seconds that two clocks may differ
SECRET_CHARS = 32
NAME_CHARS = 100
_MAX = 4096  # characters of a token
_ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")
_REGISTRY = jws.JWSRegistry(algorithms=["HS256"])


class TokenError(ValueError):
    """A token that opens nothing: `code` is token or token-ended; the text repeats nothing of it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def valid_id(text: str) -> bool:
    """Whether this may name a room or a participant: 1 to 100 of the unreserved characters of a URL."""
    return bool(_ID.fullmatch(text))


def bearer_of(authorization: str) -> str:
    """The token in an Authorization header (RFC 6750 2.1); "" where there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who comes, and with which rights. `issued`, `expires`: seconds since 1970 UTC."""

    room: str
    participant: str
    name: str
    role: Role
    rights: frozenset[Right]
    admitted: bool = False
    main: bool = False
    issued: int = 0
    expires: int = 0
    jti: str = ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a resume token says. `client`: digest of the client's own secret; `identity.issued` is the join token's."""

    identity: Identity
    session: str
    client: str


class Tokens:
    """Issues and checks both kinds. `now`: seconds since 1970.

    Raises ValueError for a secret of fewer than 32 characters.
    """

    def __init__(self, secret: str, issuer: str = "health-hub", now: Callable[[], float] = time.time) -> None:
        if len(secret) < SECRET_CHARS:
            raise ValueError(f"the secret has fewer than {SECRET_CHARS} characters")
        self._key, self._issuer, self._now = OctKey.import_key(secret), issuer, now

    def issue(
        self,
        *,
        room: str,
        participant: str,
        name: str,
        role: Role | str,
        rights: Iterable[Right | str] | None = None,
        admitted: bool = False,
        main: bool = False,
        seconds: int = 300,
    ) -> str:
        """A join token that lives `seconds` (at most 600). `rights`: None gives those of the role.

        Raises ValueError for an id, name, role, right or life that `verify` would refuse.
        """
        role = Role(role)
        given = DEFAULTS[role] if rights is None else frozenset(Right(right) for right in rights)
        if not (valid_id(room) and valid_id(participant)):
            raise ValueError("a room or participant id is 1 to 100 of A-Z a-z 0-9 . _ ~ -")
        if not (0 < len(name) <= NAME_CHARS and 0 < seconds <= JOIN_SECONDS):
            raise ValueError(f"a name has 1 to {NAME_CHARS} characters, a join token lives 1 to {JOIN_SECONDS} s")
        at = int(self._now())
        claims = {
            "iss": self._issuer, "aud": JOIN, "jti": secrets.token_urlsafe(18), "iat": at, "nbf": at, "exp": at + seconds,
            "room": room, "sub": participant, "name": name, "role": role.value, "rights": sorted(given), "admitted": admitted, "main": main,
        }  # fmt: skip
        return self._sign(claims)

    def verify(self, token: str, room: str | None = None) -> Identity:
        """The identity in a join token; `room`: the only one it may be for.

        Raises TokenError.
        """
        claims = self._open(token, JOIN)
        if claims["exp"] - claims["iat"] > JOIN_SECONDS:
            raise TokenError("token", "lives too long")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 16 <= len(jti) <= 200:
            raise TokenError("token", "no jti of 16 to 200 characters")
        found = _identity(claims, claims["iat"], jti)
        if room is not None and found.room != room:
            raise TokenError("token", "for another room")
        return found

    def issue_resume(self, identity: Identity, session: str, client: str, seconds: int) -> str:
        """A resume token. `client`: digest of the client's secret, so that the token alone opens nothing."""
        at = int(self._now())
        claims = {
            "iss": self._issuer, "aud": RESUME, "iat": at, "nbf": at, "exp": at + seconds, "jti": identity.jti, "joined": identity.issued,
            "room": identity.room, "sub": identity.participant, "name": identity.name, "role": identity.role.value,
            "rights": sorted(identity.rights), "admitted": identity.admitted, "main": identity.main, "session": session, "client": client,
        }  # fmt: skip
        return self._sign(claims)

    def verify_resume(self, token: str, late: float = 0) -> Resumption:
        """What a resume token says; `late`: seconds for which one that has ended is still taken.

        Raises TokenError.
        """
        claims = self._open(token, RESUME, late)
        session, client, joined = claims.get("session"), claims.get("client"), claims.get("joined")
        if not (isinstance(session, str) and isinstance(client, str) and client and isinstance(joined, int)):
            raise TokenError("token", "not a resume token")
        return Resumption(_identity(claims, joined, str(claims.get("jti", ""))), session, client)

    def verify_bearer(self, token: str, client: str, late: float = 0) -> Identity:
        """Who shows a join token, or a resume token together with the client it was given to (`client`: the digest of its secret).

        `late`: as for `verify_resume`; a join token has ended when it has.

        Raises TokenError.
        """
        try:
            return self.verify(token)
        except TokenError as error:
            if error.code == "token-ended":
                raise
        found = self.verify_resume(token, late)
        if not client or not hmac.compare_digest(found.client, client):
            raise TokenError("token", "of another client")
        return found.identity

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "HS256"}, claims, self._key, registry=_REGISTRY)

    def _open(self, token: str, audience: str, late: float = 0) -> dict[str, Any]:
        """The claims, once signature (compared in constant time), issuer, audience and times are right."""
        if len(token) > _MAX or not token.isascii():
            raise TokenError("token", "too long, or not ASCII")
        try:
            claims = jwt.decode(token, self._key, registry=_REGISTRY).claims
        except (JoseError, ValueError, RecursionError):
            raise TokenError("token", "not signed by our secret") from None
        if claims.get("iss") != self._issuer or claims.get("aud") != audience:
            raise TokenError("token", "another issuer or audience")
        times = [claims.get(name) for name in ("iat", "nbf", "exp")]
        if not all(isinstance(t, int) and not isinstance(t, bool) and 0 <= t < 1 << 40 for t in times):
            raise TokenError("token", "iat, nbf and exp must be there")
        now = self._now()
        if claims["exp"] + LEEWAY + late <= now:
            raise TokenError("token-ended", "ended")
        if max(claims["nbf"], claims["iat"]) - LEEWAY > now:
            raise TokenError("token", "not valid yet")
        return claims


def _identity(claims: dict[str, Any], issued: int, jti: str) -> Identity:
    room, participant, name = claims.get("room"), claims.get("sub"), claims.get("name")
    if not (isinstance(room, str) and isinstance(participant, str) and valid_id(room) and valid_id(participant)):
        raise TokenError("token", "room and sub must be ids")
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS:
        raise TokenError("token", f"name must have 1 to {NAME_CHARS} characters")
    try:
        role = Role(claims.get("role", Role.DEVICE))
        listed = claims.get("rights")
        if listed is not None and not isinstance(listed, list):
            raise ValueError("rights")
        rights = DEFAULTS[role] if listed is None else frozenset(Right(right) for right in listed)
    except (ValueError, TypeError):
        raise TokenError("token", "role or rights that do not exist") from None
    return Identity(
        room, participant, name, role, rights, claims.get("admitted") is True, claims.get("main") is True, issued, claims["exp"], jti
    )
