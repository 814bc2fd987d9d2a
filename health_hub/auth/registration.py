"""Applications that register themselves (RFC 7591) and manage what they registered (RFC 7592), as far as the policy lets them.

Record kind "registration", id the client_id: {"token": SHA-256 of the registration access token, "system": whether it may have
system scopes, "native", "made": seconds since 1970 UTC}. Record kind "registration-token", id SHA-256 of an initial access token:
{"uses": left, "system", "organization"}; it ends with its record.
"""

import hmac
import json
import re
import secrets
import time
import unicodedata
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from health_hub.auth import jose, redirects
from health_hub.auth.audit import AuthEvent
from health_hub.auth.clients import hashed
from health_hub.auth.fetch import FetchError
from health_hub.auth.ids import possible
from health_hub.auth.model import AuthError, AuthMethod, Client, Grant
from health_hub.store.records import Conflict, Put, Record, Records, Take, now

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

REDIRECTS, KEYS, SCOPES, SCOPE_MAX, NAME_MAX = 10, 10, 100, 200, 80
JWKS_MAX = 16 * 1024  # characters of a JWK Set as JSON
TOKEN_MAX = 200  # characters; a longer token is none of ours
USES_MAX = 10_000
METHODS: tuple[AuthMethod, ...] = get_args(AuthMethod)
GRANTS: tuple[Grant, ...] = get_args(Grant)
DEVICE: Grant = "urn:ietf:params:oauth:grant-type:device_code"
PLAIN = ("openid", "profile", "fhirUser", "offline_access", "online_access", "launch", "launch/patient", "launch/encounter")
DEFAULT_SCOPE = "openid fhirUser launch launch/patient patient/*.rs"
_CLINICAL = re.compile(
    r"(patient|user|system)/(?:\*|[A-Z][A-Za-z]{1,60})\.(?:read|write|\*|(?=[cruds])c?r?u?d?s?)(?:\?[\x21\x23-\x5b\x5d-\x7e]{1,150})?"
)
# What the server says and an update may not (RFC 7592 2.2).
_OURS = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")
# What an update leaves as the hub set it, and what of it ends tokens given before.
_KEPT = ("id", "secret", "organization", "labels", "enabled")
_RIGHTS = ("scope", "grant_types", "token_endpoint_auth_method", "jwks", "jwks_uri", "dpop_bound_access_tokens")
_JWK = ("kty", "crv", "x", "y", "n", "e", "kid", "use", "alg")
_ORGANIZATION = re.compile(r"Organization/[A-Za-z0-9.-]{1,64}")
_ALGORITHMS = ("RS256", "ES256")


def _refused(error: str, why: str) -> AuthError:
    return AuthError(error, why, 400)


def _metadata(why: str) -> AuthError:
    return _refused("invalid_client_metadata", why)


async def initial_token(
    records: Records, *, uses: int = 1, expires_in: int | None = None, system: bool = False, organization: str | None = None
) -> str:
    """A new initial access token, whole only here. expires_in: seconds. Raises ValueError.

    system: its applications may have system scopes and client credentials, and act for `organization` (None: the province).
    """
    if not 0 < uses <= USES_MAX:
        raise ValueError(f"a registration token has 1 to {USES_MAX} uses")
    if expires_in is not None and not 0 < expires_in <= 366 * 86_400:
        raise ValueError("a registration token lives a second to a year")
    if organization is not None and not (system and _ORGANIZATION.fullmatch(organization)):
        raise ValueError("the organization of system applications is Organization/ID")
    token = secrets.token_urlsafe(32)
    expires = None if expires_in is None else now() + expires_in * 1000
    data = {"uses": uses, "system": system, "organization": organization}
    await records.change([Put("registration-token", hashed(token), data, version=0, expires=expires)])
    return token


class Registration:
    """One a process."""

    def __init__(self, authority: "Authority") -> None:
        self._authority, self._records = authority, authority.store.records

    async def register(self, said: dict[str, Any], token: str | None, address: str = "") -> dict[str, Any]:
        """The client information response (RFC 7591 3.2.1). token: the initial access token. Raises AuthError."""
        policy = self._authority.settings.registration
        if policy == "closed":
            raise AuthError("access_denied", "applications are registered by the hub's administrators", 403)
        held = await self._held(token) if token else None
        if held is None and (token or policy == "token"):
            raise AuthError("invalid_token", "an initial access token is needed", 401, (("WWW-Authenticate", 'Bearer realm="register"'),))
        system = held is not None and bool(held.data["system"])
        client = self._client(said, system=system)
        if held is not None and system:
            client = replace(client, organization=held.data["organization"])
        if held is not None and not await self._use(hashed(token or "")):
            raise AuthError("invalid_token", "the initial access token was used up", 401)
        client, secret = await self._authority.clients.create(client)
        access = secrets.token_urlsafe(32)
        kept = {"token": hashed(access), "system": system, "native": said.get("application_type") == "native", "made": int(time.time())}
        await self._records.put("registration", client.id, kept, version=0)
        await self._authority.audit(AuthEvent("client-registered", client=client.id, address=address, detail=f"by {policy}"))
        return self._shown(client, kept) | self._once(client, secret) | {"registration_access_token": access}

    async def read(self, id: str, token: str | None) -> dict[str, Any]:
        """Raises AuthError (RFC 7592 2.1)."""
        client, record = await self._owned(id, token)
        return self._shown(client, record.data)

    async def update(self, id: str, said: dict[str, Any], token: str | None, address: str = "") -> dict[str, Any]:
        """All of its metadata as now said; what is left out is gone (RFC 7592 2.2). Raises AuthError."""
        client, record = await self._owned(id, token)
        if said.get("client_id") != id:
            raise _metadata("client_id is that of the client")
        if there := [n for n in _OURS if n in said]:
            raise _metadata(f"{', '.join(there)} is not the client's to say")
        given = said.get("client_secret")
        ascii = given if isinstance(given, str) and given.isascii() else ""
        if given is not None and not (client.secret and hmac.compare_digest(hashed(ascii), client.secret)):
            raise _metadata("client_secret is not the one that was issued")
        new = self._client(said, system=record.data["system"])
        secret, kept = "", client.secret
        if not new.token_endpoint_auth_method.startswith("client_secret"):
            kept = ""
        elif not kept:
            secret = secrets.token_urlsafe(32)
            kept = hashed(secret)
        # What it was given before may be more than it may have now.
        lessened = any(getattr(client, n) != getattr(new, n) for n in _RIGHTS) or kept != client.secret
        changed = {f.name: getattr(new, f.name) for f in fields(Client) if f.name not in _KEPT} | {"secret": kept}
        try:
            client = await self._authority.clients.change(id, **changed)
        except KeyError:
            raise self._stranger() from None
        data = record.data | {"native": said.get("application_type") == "native"}
        await self._records.put("registration", id, data)
        if lessened:
            await self._authority.revoked.add(f"client/{id}")
        await self._authority.audit(AuthEvent("client-changed", client=id, address=address, detail="by itself"))
        return self._shown(client, data) | (self._once(client, secret) if secret else {})

    async def delete(self, id: str, token: str | None, address: str = "") -> None:
        """The client is gone, and what it was given with it (RFC 7592 2.3). Raises AuthError."""
        await self._owned(id, token)
        await self._authority.revoked.add(f"client/{id}")
        await self._authority.clients.delete(id)
        await self._records.change([Take("registration", id)])
        await self._authority.audit(AuthEvent("client-changed", client=id, address=address, detail="deleted by itself"))

    async def _held(self, token: str) -> Record | None:
        return await self._records.get("registration-token", hashed(token)) if len(token) <= TOKEN_MAX else None

    async def _use(self, id: str) -> bool:
        """One use less; of those who want the last one, one has it."""
        while True:
            record = await self._records.get("registration-token", id)
            if record is None:
                return False
            left = record.data["uses"] - 1
            change: Put | Take = (
                Put("registration-token", id, record.data | {"uses": left}, version=record.version, expires=record.expires)
                if left > 0 else Take("registration-token", id, must=True, version=record.version)
            )  # fmt: skip
            try:
                await self._records.change([change])
            except Conflict:
                continue
            return True

    async def _owned(self, id: str, token: str | None) -> tuple[Client, Record]:
        """The same refusal whether there is no such client or it is another's (RFC 7592 2.1: 401)."""
        record = await self._records.get("registration", id) if possible(id) else None
        right = hmac.compare_digest(hashed((token or "")[:TOKEN_MAX]), record.data["token"] if record else hashed("nobody's"))
        client = await self._authority.clients.get(id) if record else None
        if record is None or not right or client is None or not client.enabled:
            raise self._stranger()
        return client, record

    @staticmethod
    def _stranger() -> AuthError:
        return AuthError("invalid_token", "not this client's registration access token", 401, (("WWW-Authenticate", "Bearer"),))

    def _client(self, said: dict[str, Any], *, system: bool) -> Client:
        """The client these members describe (RFC 7591 2). Raises AuthError."""
        if "software_statement" in said:
            raise _refused("unapproved_software_statement", "software statements are of no issuer this server trusts")
        native = _one_of(said, "application_type", ("web", "native"), "web") == "native"
        method = _one_of(said, "token_endpoint_auth_method", METHODS, "client_secret_basic")
        grants = _listed(said, "grant_types", ("authorization_code",), GRANTS)
        answers = _listed(said, "response_types", ("code",) if "authorization_code" in grants else (), ("code",))
        if ("authorization_code" in grants) != ("code" in answers):
            raise _metadata("response_types has code exactly when grant_types has authorization_code")
        if not set(grants) - {"refresh_token"}:
            raise _metadata("grant_types has more than refresh_token")
        uris = self._uris(said, "redirect_uris", native)
        if "authorization_code" in grants and not uris:
            raise _refused("invalid_redirect_uri", "authorization_code needs redirect_uris")
        if "client_credentials" in grants:
            if method == "none":
                raise _metadata("client_credentials needs a client that authenticates")
            if not system:
                raise _metadata("client_credentials needs an initial access token made for system applications")
        jwks, jwks_uri = self._keys(said, method)
        return Client(
            id="", client_name=display_name(said, uris), grant_types=grants,  # type: ignore[arg-type]
            token_endpoint_auth_method=method, scope=scope_of(said, system=system, grants=grants), redirect_uris=uris,  # type: ignore[arg-type]
            post_logout_redirect_uris=self._uris(said, "post_logout_redirect_uris", native), jwks=jwks, jwks_uri=jwks_uri,
            client_uri=_web(said, "client_uri"), logo_uri=_web(said, "logo_uri"),
            dpop_bound_access_tokens=_flag(said, "dpop_bound_access_tokens"),
            id_token_signed_response_alg=_one_of(said, "id_token_signed_response_alg", _ALGORITHMS, "RS256"), registered=True,
        )  # fmt: skip

    @staticmethod
    def _uris(said: dict[str, Any], name: str, native: bool) -> tuple[str, ...]:
        error = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
        found = said.get(name, [])
        if not isinstance(found, list) or len(found) > REDIRECTS:
            raise _refused(error, f"{name} is a list of at most {REDIRECTS}")
        for uri in found:
            if why := redirects.wrong(uri, native=native):
                raise _refused(error, why)
        return tuple(dict.fromkeys(found))

    def _keys(self, said: dict[str, Any], method: str) -> tuple[dict[str, Any] | None, str | None]:
        jwks, uri = said.get("jwks"), said.get("jwks_uri")
        if jwks is not None and uri is not None:
            raise _metadata("jwks or jwks_uri, not both (RFC 7591 2)")
        if method == "private_key_jwt" and jwks is None and uri is None:
            raise _metadata("private_key_jwt needs jwks or jwks_uri")
        if uri is not None:
            try:
                self._authority.fetch.check(uri if isinstance(uri, str) else "")
            except FetchError as e:
                raise _metadata(f"jwks_uri: {e}") from None
            return None, uri
        if jwks is None:
            return None, None
        keys = jwks.get("keys") if isinstance(jwks, dict) else None
        if not isinstance(keys, list) or not 0 < len(keys) <= KEYS or len(json.dumps(jwks)) > JWKS_MAX:
            raise _metadata(f"jwks is a JWK Set of 1 to {KEYS} keys")
        return {"keys": [_key(key) for key in keys]}, None

    def _shown(self, client: Client, kept: dict[str, Any]) -> dict[str, Any]:
        """What is registered, in RFC 7591's names."""
        out: dict[str, Any] = {
            "client_id": client.id, "client_id_issued_at": kept["made"], "client_name": client.client_name,
            "application_type": "native" if kept["native"] else "web",
            "token_endpoint_auth_method": client.token_endpoint_auth_method, "grant_types": list(client.grant_types),
            "response_types": ["code"] if "authorization_code" in client.grant_types else [], "scope": client.scope,
            "redirect_uris": list(client.redirect_uris), "post_logout_redirect_uris": list(client.post_logout_redirect_uris),
            "jwks": client.jwks, "jwks_uri": client.jwks_uri, "client_uri": client.client_uri, "logo_uri": client.logo_uri,
            "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
            "id_token_signed_response_alg": client.id_token_signed_response_alg,
            "registration_client_uri": f"{self._authority.issuer}/auth/register/{client.id}",
        }  # fmt: skip
        return {k: v for k, v in out.items() if v is not None}

    @staticmethod
    def _once(client: Client, secret: str) -> dict[str, Any]:
        return {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}


def _key(said: Any) -> dict[str, str]:
    """A public key, of what was sent only what a key is made of (RFC 7517 4, RFC 7518 6)."""
    kept = {k: v for k, v in said.items() if k in _JWK or k in jose.PRIVATE} if isinstance(said, dict) else said
    try:
        jose.public(kept)
    except jose.Malformed as e:
        raise _metadata(f"jwks: {e}") from None
    if not all(isinstance(v, str) and v.isascii() and v.isprintable() for v in kept.values()):
        raise _metadata("jwks: the members of a key are text, printable ASCII")
    return kept


def scope_of(said: dict[str, Any], *, system: bool, grants: tuple[str, ...]) -> str:
    """What of the scopes asked for registration may have; cutting is allowed (RFC 7591 2) and the answer says what is left."""
    asked = said.get("scope", DEFAULT_SCOPE if set(grants) & {"authorization_code", DEVICE} else "")
    if not isinstance(asked, str) or len(asked) > SCOPES * SCOPE_MAX:
        raise _metadata("scope is text, scopes separated by spaces")
    found = dict.fromkeys(asked.split())
    if len(found) > SCOPES:
        raise _metadata(f"scope has at most {SCOPES} scopes")
    kept = [s for s in found if s in PLAIN or ((m := _CLINICAL.fullmatch(s)) and (system or m.group(1) != "system"))]
    if found and not kept:
        raise _metadata("scope has nothing an application registered this way may have")
    return " ".join(kept)


def display_name(said: dict[str, Any], uris: tuple[str, ...]) -> str:
    """A name as a page may show it: one line, no character that hides, turns or stacks the text around it."""
    name = said.get("client_name", "")
    if not isinstance(name, str):
        raise _metadata("client_name is text")
    # Marks (M) are letters' own in NFC Vietnamese only where no composed form exists: a heap of them paints over other lines.
    plain = (" " if unicodedata.category(c)[0] in "ZC" else c for c in unicodedata.normalize("NFC", name[:1000]))
    name = re.sub(r"\s+", " ", "".join(c for c in plain if unicodedata.category(c)[0] != "M")).strip()
    if name:
        return name[:NAME_MAX].rstrip()
    return (urlsplit(uris[0]).hostname or urlsplit(uris[0]).scheme)[:NAME_MAX] if uris else "?"


def _one_of(said: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = said.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise _metadata(f"{name} is one of {', '.join(allowed)}")
    return value


def _listed(said: dict[str, Any], name: str, default: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    value = said.get(name)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(v, str) and v in allowed for v in value):
        raise _metadata(f"{name} is a list of {', '.join(allowed)}")
    return tuple(dict.fromkeys(value))


def _flag(said: dict[str, Any], name: str) -> bool:
    value = said.get(name, False)
    if not isinstance(value, bool):
        raise _metadata(f"{name} is true or false")
    return value


def _web(said: dict[str, Any], name: str) -> str | None:
    """An https address of a page or picture."""
    value = said.get(name)
    if value is not None and (redirects.wrong(value, native=False) is not None):
        raise _metadata(f"{name} is an https URL")
    return value
