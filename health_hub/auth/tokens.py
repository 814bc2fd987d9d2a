"""Access tokens: signed JWTs by RFC 9068, made here and read here without asking anyone."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from health_hub.auth import jose
from health_hub.auth.keys import Keys
from health_hub.auth.model import AuthError, Claims

TYPE = "at+jwt"
LIMIT = 8192  # characters of a token
LEEWAY = 5  # seconds the clocks of workers may differ; an end is an end without it
CACHED = 4096  # verified tokens a worker remembers


class UnknownKey(AuthError):
    """Signed with a key that this worker does not know; another may just have made it."""


class Tokens:
    """`revoked`: whether a token was revoked, by its own id or its session, client or account; asked for every token every time."""

    def __init__(self, issuer: str, audience: str, keys: Keys, lifetime: int, revoked: Callable[[Claims], bool]) -> None:
        self.issuer, self.audience, self.lifetime = issuer, audience, lifetime
        self._keys, self._revoked = keys, revoked
        self._seen: OrderedDict[bytes, Claims] = OrderedDict()
        self._seen_with = 0

    def issue(
        self, *, subject: str, client: str, role: str, scope: str, fhir_user: str | None = None, name: str = "",
        organization: str | None = None, labels: tuple[str, ...] = (), patient: str | None = None, encounter: str | None = None,
        session: str | None = None, thumbprint: str | None = None, lifetime: int | None = None,
    ) -> tuple[str, Claims]:  # fmt: skip
        """The token and what it says; arguments as in Claims, `lifetime` in seconds (no more than the setting)."""
        now = int(time.time())
        claims = Claims(
            id=secrets.token_urlsafe(16), subject=subject, client=client, role=role, scope=scope, issued=now,
            expires=now + min(lifetime or self.lifetime, self.lifetime), fhir_user=fhir_user, name=name, organization=organization,
            labels=labels, patient=patient, encounter=encounter, session=session, thumbprint=thumbprint,
        )  # fmt: skip
        key = self._keys.signer()
        return jose.sign({"alg": key.alg, "kid": key.kid, "typ": TYPE}, self._written(claims), key.key), claims

    def verify(self, token: str) -> Claims:
        """What a token says, when it is ours, for this API, in force and not revoked. Raises AuthError invalid_token, 401."""
        if self._seen_with != self._keys.version:
            self._seen.clear()
            self._seen_with = self._keys.version
        try:
            digest = hashlib.sha256(token.encode("ascii")).digest()
        except UnicodeEncodeError:
            raise _refused("not ASCII") from None
        claims = self._seen.get(digest)
        if claims is None:
            claims = self._read(token)
            self._seen[digest] = claims
            if len(self._seen) > CACHED:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(digest)
        if claims.expires <= time.time():
            self._seen.pop(digest, None)
            raise _refused("the token has expired")
        if self._revoked(claims):
            raise _refused("the token was revoked")
        return claims

    async def read(self, token: str) -> Claims:
        """As `verify`, and looks for a key it does not know in the store (at most once a second)."""
        try:
            return self.verify(token)
        except UnknownKey:
            await self._keys.look()
            return self.verify(token)

    def _written(self, c: Claims) -> dict[str, Any]:
        said = {
            "iss": self.issuer, "aud": self.audience, "sub": c.subject, "client_id": c.client, "iat": c.issued, "exp": c.expires,
            "jti": c.id, "scope": c.scope, "role": c.role, "name": c.name, "fhirUser": c.fhir_user, "org": c.organization,
            "labels": list(c.labels), "patient": c.patient, "encounter": c.encounter, "sid": c.session,
            "cnf": {"jkt": c.thumbprint} if c.thumbprint else None,
        }  # fmt: skip
        return {k: v for k, v in said.items() if v not in (None, "", [])} | {"scope": c.scope}

    def _read(self, token: str) -> Claims:
        try:
            head = jose.header(token, LIMIT)
            kid = head.get("kid", "")
            # RFC 9068 4: typ at+jwt or application/at+jwt, and nothing else may pass for an access token (RFC 8725 3.11).
            if str(head.get("typ", "")).lower().removeprefix("application/") != TYPE:
                raise _refused("not an access token")
            key = self._keys.get(kid)
            if key is None:
                raise UnknownKey("invalid_token", "signed with a key that is not this server's", 401)
            if head["alg"] != key.alg:
                raise _refused("alg is not the key's")
            said = jose.verify(token, key.key, key.alg)
            if said.get("iss") != self.issuer:
                raise _refused("from another issuer")
            if said.get("aud") != self.audience:
                raise _refused("for another audience")
            now = time.time()
            issued, expires, before = (jose.seconds(said, n) for n in ("iat", "exp", "nbf"))
            if issued is None or expires is None or max(issued, before or 0) > now + LEEWAY:
                raise _refused("not in force yet")
            return Claims(
                id=said["jti"], subject=said["sub"], client=said["client_id"], role=said["role"], scope=said["scope"], issued=issued,
                expires=expires, fhir_user=said.get("fhirUser"), name=said.get("name", ""), organization=said.get("org"),
                labels=tuple(said.get("labels", ())), patient=said.get("patient"), encounter=said.get("encounter"),
                session=said.get("sid"), thumbprint=said.get("cnf", {}).get("jkt"),
            )  # fmt: skip
        except jose.Malformed as e:
            raise _refused(str(e)) from None
        except KeyError as e:
            raise _refused(f"{e.args[0]} is missing") from None


def _refused(why: str) -> AuthError:
    return AuthError("invalid_token", why, 401)
