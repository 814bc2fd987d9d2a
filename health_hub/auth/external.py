"""Signing in by an external OpenID provider (OpenID Connect Core 1.0, code flow with PKCE), for instance a national identity.

An account is found by a link that its owner made while signed in, or by an identifier the provider has verified and that was
written beside the account beforehand (setting external_identifier_claim); never by an e-mail address or a name.

Record kinds owned here: "external" (id SHA-256 of issuer and subject, ref "account/" + id, {"account", "issuer", "subject",
"made"}), "external-identifier" (id SHA-256 of issuer, claim and value, ref "account/" + id, {"account"}), and "external-state"
(id SHA-256 of `state`, 10 minutes, taken by the one answer; {"browser", "nonce", "verifier", "account": whose link, "fresh",
"at": seconds since 1970}).
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from health_hub.auth.audit import AuthEvent
from health_hub.auth.cookies import digest, secret
from health_hub.auth.model import Account
from health_hub.auth.signin import Caller, Hub, Refused
from health_hub.settings import SettingError, Settings
from health_hub.store.records import Conflict, Put, Take, now
from health_hub.store.store import Store

STATE_SECONDS = 600
METADATA_SECONDS = 3_600
KEYS_SECONDS = 60  # a token with an unknown key id makes us look for new keys this often at most
LEEWAY_SECONDS = 60  # between the provider's clock and ours
TOKEN_MAX = 16_384  # characters of an id_token
SUBJECT_MAX = 255  # OpenID Connect Core 2
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"]
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # for a try on one machine; reached only if HEALTH_HUB_TRUSTED_HOSTS says so
CALLBACK = "/sign-in/external"  # our redirect URI, behind the issuer


class Answer(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class Fetch(Protocol):
    """The one way out (auth/fetch.py): addresses, size and time are checked there."""

    async def __call__(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Found:
    """Who came back. linked: the link was made just now by who is signed in; else they sign in (SignIn.external).

    amr: the provider's. fresh: the provider was told to ask them anew, and says that it did.
    """

    account: Account
    amr: tuple[str, ...]
    linked: bool
    fresh: bool


@dataclass(frozen=True, slots=True)
class Link:
    """As its owner sees it. made: seconds since 1970 UTC."""

    id: str
    issuer: str
    made: int


class _Wrong(Exception):
    """The provider's answer is not right; the text is for the trail."""


async def expect(store: Store, settings: Settings, account: Account, value: str) -> None:
    """Whoever the provider says has this identifier is this account. Raises Conflict where it is written beside another one."""
    id = _identifier(settings, value)
    there = await store.records.get("external-identifier", id)
    if there is None or there.data["account"] != account.id:
        await store.records.put("external-identifier", id, {"account": account.id}, version=0, refs=(f"account/{account.id}",))


def _identifier(settings: Settings, value: str) -> str:
    return digest(f"{settings.external_issuer}\0{settings.external_identifier_claim}\0{value}")


class External:
    """One a process; for the one provider of the settings."""

    def __init__(self, hub: Hub, fetch: Fetch) -> None:
        self._hub, self._fetch, self._records = hub, fetch, hub.store.records
        self._settings = hub.settings
        self._issuer = hub.settings.external_issuer
        if self._issuer and urlsplit(self._issuer).scheme != "https" and urlsplit(self._issuer).hostname not in LOOPBACK:
            raise SettingError("HEALTH_HUB_EXTERNAL_ISSUER begins with https://")
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @property
    def possible(self) -> bool:
        return bool(self._issuer and self._settings.external_client_id)

    @property
    def name(self) -> str:
        """What the provider is called."""
        return self._settings.external_name or urlsplit(self._issuer).hostname or ""

    @property
    def redirect_uri(self) -> str:
        return self._hub.issuer + CALLBACK

    async def begin(self, caller: Caller, *, account: Account | None = None, fresh: bool = False) -> str:
        """URL to send the browser to. Raises Refused.

        account: who is signed in (and fresh) and wants the link. fresh: the provider asks the person anew (SignIn.step_up_external).
        """
        if not self.possible or not caller.browser:
            raise Refused("external")
        try:
            metadata = await self._discovered()
        except _Wrong as e:
            await self._told(caller, account, str(e))
            raise Refused("external") from None
        state, nonce, verifier = secret(), secret(), secret()
        data = {"browser": digest(caller.browser), "nonce": nonce, "verifier": verifier, "account": account.id if account else "",
                "fresh": fresh, "at": int(time.time())}  # fmt: skip
        await self._records.put("external-state", digest(state), data, version=0, expires=now() + STATE_SECONDS * 1000)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = urlencode({
            "response_type": "code", "client_id": self._settings.external_client_id, "redirect_uri": self.redirect_uri, "scope": "openid",
            "state": state, "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
            **({"prompt": "login", "max_age": "0"} if fresh else {}),
        })  # fmt: skip
        endpoint: str = metadata["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, query: Mapping[str, str], caller: Caller, *, account: Account | None = None) -> Found:
        """What came to the redirect URI. account: who is signed in now; a link is made for them only. Raises Refused."""
        try:
            claims, asked = await self._answered(query, caller)
            linking = asked["account"]
            found = await self._link(claims, linking, account) if linking else await self._linked(claims)
        except _Wrong as e:
            await self._told(caller, account, str(e))
            raise Refused("external") from None
        if found is None:
            await self._told(caller, None, "external: no account is linked")
            raise Refused("unlinked")
        if linking:
            await self._hub.audit(AuthEvent("account-changed", found.id, address=caller.address, detail="external sign-in linked"))
        amr = claims.get("amr")
        shown = _seconds(claims.get("auth_time"))
        fresh = asked["fresh"] and shown is not None and shown >= asked["at"] - LEEWAY_SECONDS
        return Found(found, tuple(m for m in amr[:20] if isinstance(m, str)) if isinstance(amr, list) else (), bool(linking), fresh)

    async def links(self, account: Account) -> Sequence[Link]:
        found = await self._records.find("external", f"account/{account.id}")
        return [Link(r.id, r.data["issuer"], r.data["made"]) for r in found]

    async def unlink(self, account: Account) -> int:
        """Forget all links and identifiers of an account; how many."""
        gone = 0
        for kind in ("external", "external-identifier"):
            for record in await self._records.find(kind, f"account/{account.id}"):
                await self._records.change([Take(kind, record.id)])
                gone += 1
        return gone

    async def _answered(self, query: Mapping[str, str], caller: Caller) -> tuple[dict[str, Any], dict[str, Any]]:
        """Claims of the id_token, and what was asked."""
        state = await self._records.take("external-state", digest(query.get("state", "")))
        if state is None:
            raise _Wrong("external: no such state, or answered before")
        asked = state.data
        if not caller.browser or not hmac.compare_digest(asked["browser"], digest(caller.browser)):
            raise _Wrong("external: a state of another browser")
        metadata = await self._discovered()
        # An answer of another provider than the one asked (mix-up, RFC 9207 2.4).
        issuer = query.get("iss")
        if issuer != self._issuer and (issuer is not None or metadata.get("authorization_response_iss_parameter_supported") is True):
            raise _Wrong("external: answer of another issuer")
        if "error" in query or not query.get("code"):
            raise _Wrong("external: refused by the provider")
        return await self._exchanged(query["code"], asked, metadata), asked

    async def _exchanged(self, code: str, asked: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, "code_verifier": asked["verifier"]}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        id, key = self._settings.external_client_id, self._settings.external_client_secret
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if key and "client_secret_basic" in methods:
            # Form-encoded before base64 (RFC 6749 2.3.1).
            headers["authorization"] = "Basic " + base64.b64encode(f"{quote(id, safe='')}:{quote(key, safe='')}".encode()).decode()
        else:
            form |= {"client_id": id} | ({"client_secret": key} if key else {})
        answer = await self._json(metadata["token_endpoint"], method="POST", headers=headers, body=urlencode(form).encode())
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > TOKEN_MAX:
            raise _Wrong("external: no id_token")
        return await self._verified(token, asked["nonce"], metadata)

    async def _verified(self, token: str, nonce: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """OpenID Connect Core 3.1.3.7."""
        try:
            claims = jwt.decode(token, await self._key_set(metadata), algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, KeyError, TypeError):
            try:
                claims = jwt.decode(token, await self._key_set(metadata, again=True), algorithms=ALGORITHMS).claims
            except (JoseError, ValueError, KeyError, TypeError) as e:
                raise _Wrong(f"external: id_token: {type(e).__name__}") from None
        client, current = self._settings.external_client_id, time.time()
        audience = claims.get("aud")
        audience = [audience] if isinstance(audience, str) else audience
        subject, given = claims.get("sub"), claims.get("nonce")
        expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
        wrong = (
            ("iss", claims.get("iss") != self._issuer),
            ("aud", not isinstance(audience, list) or client not in audience),
            ("azp", claims.get("azp", client) != client or (isinstance(audience, list) and len(audience) > 1 and "azp" not in claims)),
            ("exp", expires is None or expires + LEEWAY_SECONDS <= current),
            ("iat", issued is None or not current - STATE_SECONDS - LEEWAY_SECONDS <= issued <= current + LEEWAY_SECONDS),
            ("nonce", not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "replace"), nonce.encode())),
            ("sub", not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX),
        )
        for claim, bad in wrong:
            if bad:
                raise _Wrong(f"external: id_token: {claim}")
        return dict(claims)

    async def _linked(self, claims: dict[str, Any]) -> Account | None:
        id = self._subject(claims["sub"])
        link = await self._records.get("external", id)
        if link is not None:
            return await self._hub.accounts.get(link.data["account"])
        name = self._settings.external_identifier_claim
        value = claims.get(name) if name and name != "email" else None
        if not isinstance(value, str) or not value:
            return None
        expected = await self._records.get("external-identifier", _identifier(self._settings, value))
        account = await self._hub.accounts.get(expected.data["account"]) if expected else None
        if account is not None:
            await self._write(id, claims["sub"], account)
        return account

    async def _link(self, claims: dict[str, Any], asked: str, account: Account | None) -> Account:
        if account is None or account.id != asked:
            raise _Wrong("external: a link asked for by another account")
        await self._write(self._subject(claims["sub"]), claims["sub"], account)
        return account

    async def _write(self, id: str, subject: str, account: Account) -> None:
        data = {"account": account.id, "issuer": self._issuer, "subject": subject, "made": int(time.time())}
        try:
            await self._records.change([Put("external", id, data, version=0, refs=(f"account/{account.id}",))])
        except Conflict:
            there = await self._records.get("external", id)
            if there is None or there.data["account"] != account.id:
                raise _Wrong("external: linked to another account") from None

    async def _discovered(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 4); its issuer must be the one we know (4.3)."""
        if self._metadata is None or time.monotonic() - self._metadata[0] > METADATA_SECONDS:
            found = await self._json(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise _Wrong("external: metadata of another issuer")
            for member in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                # A provider known by https is not spoken to by http.
                if not isinstance(url := found.get(member), str) or urlsplit(url).scheme != urlsplit(self._issuer).scheme:
                    raise _Wrong(f"external: metadata: {member}")
            self._metadata = time.monotonic(), found
        return self._metadata[1]

    async def _key_set(self, metadata: dict[str, Any], *, again: bool = False) -> KeySet:
        kept = self._keys
        if kept is None or time.monotonic() - kept[0] > (KEYS_SECONDS if again else METADATA_SECONDS):
            found = await self._json(metadata["jwks_uri"])
            try:
                keys = [k for k in found["keys"] if k.get("kty") in ("RSA", "EC", "OKP") and k.get("use", "sig") == "sig"]
                kept = time.monotonic(), KeySet.import_key_set({"keys": keys[:50]})
            except (JoseError, ValueError, KeyError, TypeError, AttributeError):
                raise _Wrong("external: keys") from None
            self._keys = kept
        return kept[1]

    async def _json(self, url: str, **request: Any) -> dict[str, Any]:
        try:
            answer = await self._fetch(url, **request)
            body = json.loads(answer.body) if answer.status == 200 else None
        except Exception as e:  # refused address, no answer, too slow, too long, not JSON: the person sees one text for all
            raise _Wrong(f"external: {type(e).__name__}") from None
        if not isinstance(body, dict):
            raise _Wrong(f"external: status {answer.status}")
        return body

    def _subject(self, subject: str) -> str:
        return digest(f"{self._issuer}\0{subject}")

    async def _told(self, caller: Caller, account: Account | None, why: str) -> None:
        event = AuthEvent("sign-in-refused", account.id if account else None, address=caller.address, success=False, detail=why)
        await self._hub.audit(event)


def _seconds(value: Any) -> float | None:
    """A NumericDate; NaN, which JSON in Python can hold and which is below and above nothing, is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and -1e12 < value < 1e12 else None
