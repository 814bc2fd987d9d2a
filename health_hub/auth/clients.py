"""Client applications: kept, found, and authenticated at the token endpoint and its neighbours (RFC 6749 2.3, RFC 7523, SMART).

Record kind "client", id the client_id, auth/model.py Client. Record kind "jti", id the hash of client and jti of an assertion (or of
key and jti of a DPoP proof), which lives as long as the assertion could be sent again.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from joserfc.jwk import Key

from health_hub.auth import jose
from health_hub.auth.ids import possible
from health_hub.auth.model import AuthError, Client
from health_hub.store.records import Conflict, Put, Records

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CACHED_SECONDS = 0.5  # how long a worker may not know that a client was changed
CACHED = 1000
ASSERTION = 8192  # characters
ASSERTION_SECONDS = 300  # the farthest end of an assertion (SMART Backend Services)
LEEWAY = 10  # seconds the clock of a client may be off
JWKS_SECONDS, JWKS_AGAIN = 300, 10  # a key set is fetched again: when it is this old; for a key id it does not have
KEYS = 20  # keys of a key set that are looked at


async def _fetches_nothing(uri: str) -> dict[str, Any]:
    raise AuthError("invalid_client", "jwks_uri cannot be fetched here", 401)


class Clients:
    """One a process. `fetch_jwks(uri)` fetches a JWK Set safely; any exception it raises means there is none."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._seen: dict[str, tuple[float, Client | None]] = {}
        self._sets: dict[str, tuple[float, dict[str, Any]]] = {}
        self.fetch_jwks: Callable[[str], Awaitable[dict[str, Any]]] = _fetches_nothing

    async def create(self, client: Client) -> tuple[Client, str]:
        """Keeps a new client under a fresh id; it and its secret, which is shown this once ("" where its method has none)."""
        secret = secrets.token_urlsafe(32) if client.token_endpoint_auth_method.startswith("client_secret") else ""
        # Hexadecimal: an id that begins with a dash is an option to every command line it is given to.
        made = replace(client, id=secrets.token_hex(16), secret=hashed(secret) if secret else "")
        await self._records.change([Put("client", made.id, made.data(), version=0)])
        self._seen.pop(made.id, None)
        return made, secret

    async def get(self, id: str) -> Client | None:
        """A client, disabled ones too; changes are seen within a second."""
        now = time.monotonic()
        found = self._seen.get(id)
        if found is None or now - found[0] > CACHED_SECONDS:
            if len(self._seen) >= CACHED:
                self._seen.clear()
            record = await self._records.get("client", id) if possible(id) else None
            found = self._seen[id] = (now, None if record is None else Client.of(record.data))
        return found[1]

    async def change(self, id: str, **fields: Any) -> Client:
        """The client with these members changed. Raises KeyError."""
        while True:
            record = await self._records.get("client", id)
            if record is None:
                raise KeyError(id)
            changed = replace(Client.of(record.data), **fields)
            try:
                await self._records.change([Put("client", id, changed.data(), version=record.version)])
            except Conflict:
                continue
            self._seen.pop(id, None)
            return changed

    async def delete(self, id: str) -> None:
        await self._records.take("client", id)
        self._seen.pop(id, None)

    async def all(self, after: str = "") -> Sequence[Client]:
        """Clients in the order of their ids, those behind `after`; at most the store's LIMIT."""
        return [Client.of(r.data) for r in await self._records.page("client", after)]

    async def authenticate(self, authorization: str | None, form: Mapping[str, str], *, audiences: Sequence[str]) -> Client:
        """The client that makes a request, by exactly one method, the one it is registered with.

        authorization: the header. audiences: what the `aud` of an assertion may be (this server's issuer and the endpoint's URL).
        Raises AuthError invalid_client (401; with WWW-Authenticate where the header was used) or invalid_request.
        """
        basic = _basic(authorization)
        tried = [m for m, there in (
            ("client_secret_basic", basic is not None), ("client_secret_post", "client_secret" in form),
            ("private_key_jwt", "client_assertion" in form or "client_assertion_type" in form),
        ) if there]  # fmt: skip
        if len(tried) > 1:
            raise AuthError("invalid_request", "more than one way to authenticate (RFC 6749 2.3)")
        method = tried[0] if tried else "none"
        headers = (("WWW-Authenticate", 'Basic realm="token"'),) if basic is not None else ()
        refused = AuthError("invalid_client", "client authentication failed", 401, headers)
        id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
        if form.get("client_id", id) != id:
            raise AuthError("invalid_request", "client_id is not the authenticated client's")
        claims: dict[str, Any] = {}
        if method == "private_key_jwt":
            id, claims = self._asserted(form)
        client = await self.get(id)
        expected = client.secret if client is not None else hashed("nobody")
        matches = hmac.compare_digest(hashed(secret), expected)
        if client is None or not client.enabled or client.token_endpoint_auth_method != method:
            raise refused
        if method.startswith("client_secret") and not matches:
            raise refused
        if method == "private_key_jwt":
            await self._proven(client, form["client_assertion"], claims, audiences)
        return client

    async def once(self, name: str, until: int) -> bool:
        """Whether `name` is heard for the first time before `until` (seconds since 1970); true for one caller, on all workers."""
        id = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        try:
            await self._records.change([Put("jti", id, {}, version=0, expires=until * 1000)])
        except Conflict:
            return False
        return True

    def _asserted(self, form: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Whose assertion it says it is; nothing has vouched for it yet."""
        if form.get("client_assertion_type") != JWT_BEARER:
            raise AuthError("invalid_request", f"client_assertion_type is {JWT_BEARER}")
        try:
            token = form.get("client_assertion", "")
            jose.header(token, ASSERTION, allow=("jku",))
            claims = jose.unverified(token)
        except jose.Malformed as e:
            raise AuthError("invalid_client", f"client_assertion: {e}", 401) from None
        id = claims.get("sub")
        if not isinstance(id, str) or claims.get("iss") != id or form.get("client_id", id) != id:
            raise AuthError("invalid_client", "client_assertion: iss and sub are the client_id", 401)
        return id, claims

    async def _proven(self, client: Client, token: str, claims: dict[str, Any], audiences: Sequence[str]) -> None:
        """RFC 7523 3 and SMART's asymmetric client authentication."""
        head = jose.header(token, ASSERTION, allow=("jku",))
        now = time.time()
        try:
            # Where keys are fetched from is what was registered; the header may repeat it and nothing else.
            if "jku" in head and head["jku"] != client.jwks_uri:
                raise jose.Malformed("jku is not the registered jwks_uri")
            await self._signed(client, token, head)
            aud = claims.get("aud")
            meant = [aud] if isinstance(aud, str) else aud
            if not isinstance(meant, list) or not meant or not all(a in audiences for a in meant):
                raise jose.Malformed("aud is the token endpoint or the issuer")
            expires, before, issued = (jose.seconds(claims, n) for n in ("exp", "nbf", "iat"))
            if expires is None or expires <= now - LEEWAY:
                raise jose.Malformed("exp has passed")
            if expires > now + ASSERTION_SECONDS + LEEWAY:
                raise jose.Malformed("exp is more than five minutes ahead")
            if max(before or 0, issued or 0) > now + LEEWAY:
                raise jose.Malformed("not in force yet")
            jti = claims.get("jti")
            if not isinstance(jti, str) or not 0 < len(jti) <= 255:
                raise jose.Malformed("jti is missing or too long")
            if not await self.once(f"assertion {client.id} {jti}", expires + LEEWAY + 1):
                raise jose.Malformed("jti was used before")
        except jose.Malformed as e:
            raise AuthError("invalid_client", f"client_assertion: {e}", 401) from None

    async def _signed(self, client: Client, token: str, head: dict[str, Any]) -> None:
        alg, kid = head["alg"], head.get("kid")
        if alg not in jose.ALGORITHMS:
            raise jose.Malformed("alg is not one of " + ", ".join(jose.ALGORITHMS))
        for key in await self._keys(client, kid, alg):
            try:
                jose.verify(token, key, alg)
            except jose.Malformed:
                continue
            return
        raise jose.Malformed("signed with none of the client's keys")

    async def _keys(self, client: Client, kid: str | None, alg: str) -> list[Key]:
        """Keys of the client that may have signed: of that id where one is given, of the algorithm's kind."""
        if client.jwks is not None:
            return _fitting(client.jwks, kid, alg)
        if client.jwks_uri is None:
            return []
        now = time.monotonic()
        at, found = self._sets.get(client.jwks_uri, (-JWKS_SECONDS, {}))
        fitting = _fitting(found, kid, alg)
        if now - at < (JWKS_SECONDS if fitting else JWKS_AGAIN):
            return fitting
        try:
            found = await self.fetch_jwks(client.jwks_uri)
        except Exception as e:
            # Remembered, so that requests which cannot succeed do not each go out.
            self._sets[client.jwks_uri] = (now, {})
            raise jose.Malformed("jwks_uri gave no key set") from e
        if len(self._sets) >= CACHED:
            self._sets.clear()
        self._sets[client.jwks_uri] = (now, found)
        return _fitting(found, kid, alg)


def hashed(secret: str) -> str:
    """What is kept of a random secret of 128 bits or more: nothing slower is needed, since there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _fitting(jwks: Mapping[str, Any], kid: str | None, alg: str) -> list[Key]:
    keys = jwks.get("keys")
    out = []
    for jwk in keys[:KEYS] if isinstance(keys, list) else ():
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("alg", alg) != alg or (kid and jwk.get("kid") != kid):
            continue
        try:
            key = jose.public(jwk)
        except jose.Malformed:
            continue
        if jose.fits(key, alg):
            out.append(key)
    return out


def _basic(authorization: str | None) -> tuple[str, str] | None:
    """Client id and secret of a Basic header, each form-encoded (RFC 6749 2.3.1); None when there is no such header."""
    if authorization is None:
        return None
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        id, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        id, colon, secret = "", "", ""
    if not colon:
        raise AuthError("invalid_client", "the Authorization header cannot be read", 401, (("WWW-Authenticate", 'Basic realm="token"'),))
    return unquote_plus(id), unquote_plus(secret)
