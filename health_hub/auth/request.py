"""The authorization request (RFC 6749 4.1.1, RFC 7636, OpenID Connect Core 3.1.2.1, SMART App Launch): what of it is good.

Until the client and the redirect_uri are known to belong together, a refusal is an AuthError for our own error page; afterwards it
is `Returned`, which brings the browser back to the application with `error`, `state` and `iss` (RFC 9207).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from health_hub.auth import scopes
from health_hub.auth.id_tokens import read
from health_hub.auth.model import AuthError, Client

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

PARAMETERS, VALUE_MAX = 50, 2000  # of a request; characters of a value other than scope and tokens
LOGIN_HINT_MAX = 200  # characters
MAX_AGE = 366 * 86_400  # seconds; whoever asks for more asks for nothing
_LONG = {"scope": scopes.LENGTH, "id_token_hint": 8192, "claims": 8192, "request": 16_384, "registration": 16_384}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url
UI_LOCALES = ("vi", "en")
_PROMPTS = {"none", "login", "consent", "select_account"}
# RFC 8252 7.3: the port of a loopback redirect is the system's to choose; by address, not by name (8.3).
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::(\d{1,5}))?((?:[/?].*)?)")


class Returned(AuthError):
    """A refusal that the application hears. url: where the browser goes."""

    def __init__(self, url: str, error: str, description: str) -> None:
        super().__init__(error, description)
        self.url = url


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request found good. scope: what of `asked` the client may have, in v2, "offline_access" only where it may refresh.

    client: its id. prompt: OpenID's words. max_age: seconds. subject: account id of an id_token_hint. dpop_jkt: thumbprint the code is
    bound to (RFC 9449 10). language: the first of ui_locales that the pages have (OpenID Connect Core 3.1.2.1).
    """

    client: str
    redirect_uri: str
    scope: str
    asked: str
    state: str
    code_challenge: str
    nonce: str | None = None
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    login_hint: str = ""
    subject: str | None = None
    dpop_jkt: str | None = None
    language: str | None = None


def single(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parameters of a URL or a form: none twice, those without a value as if left out (RFC 6749 3.1). Raises AuthError."""
    given = list(pairs)
    found = dict(given)
    if len(given) > PARAMETERS or len(found) != len(given):
        raise AuthError("invalid_request", "a parameter is there twice, or there are too many")
    for name, value in found.items():
        if len(value) > _LONG.get(name, VALUE_MAX):
            raise AuthError("invalid_request", "a parameter is too long")
        if "\0" in value or not _unicode(value):
            raise AuthError("invalid_request", "a parameter cannot be read")
    return {k: v for k, v in found.items() if v}


def redirect_matches(client: Client, uri: str) -> bool:
    """Whether it is one that was registered, character for character; for a public client's loopback address with any port."""
    if uri in client.redirect_uris:
        return True
    given = _LOOPBACK.fullmatch(uri) if client.token_endpoint_auth_method == "none" else None
    if given is None or int(given[2] or 80) not in range(1, 65536):
        return False
    return any((r := _LOOPBACK.fullmatch(known)) is not None and (r[1], r[3]) == (given[1], given[3]) for known in client.redirect_uris)


def returned(authority: "Authority", redirect_uri: str, state: str, answer: Mapping[str, str]) -> str:
    """The redirect URI with an answer in its query; with `iss`, so that a client of several servers cannot mix them up (RFC 9207)."""
    query = urlencode({**answer, **({"state": state} if state else {}), "iss": authority.issuer})
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}"


async def validate(authority: "Authority", client: Client, params: Mapping[str, str]) -> AuthorizationRequest:
    """A client's request, as `single` read it, good as it stands. Raises AuthError, Returned."""
    redirect_uri, state = params.get("redirect_uri", ""), params.get("state", "")
    if not redirect_uri or not redirect_matches(client, redirect_uri):
        raise AuthError("invalid_request", "redirect_uri is not one the application registered")

    def refused(error: str, why: str) -> Returned:
        return Returned(returned(authority, redirect_uri, state, {"error": error, "error_description": why}), error, why)

    for name in ("request", "registration"):
        if name in params:
            raise refused(f"{name}_not_supported", f"{name} is not supported")
    if "authorization_code" not in client.grant_types:
        raise refused("unauthorized_client", "the application is not registered for the code flow")
    if params.get("response_type") != "code":
        raise refused("unsupported_response_type", "response_type is code")
    if params.get("response_mode", "query") != "query":
        raise refused("invalid_request", "response_mode is query")
    if not state:
        raise refused("invalid_request", "state is missing")
    # RFC 9700 2.1.1. A challenge without its method would be "plain".
    if params.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(params.get("code_challenge", "")):
        raise refused("invalid_request", "code_challenge is missing: PKCE with code_challenge_method S256 (RFC 7636)")
    asked = params.get("scope", "")
    try:
        scope = scopes.grant(asked, client.scope, authority.restriction_ok)
    except AuthError as e:
        raise refused(e.error, e.description) from None
    named = scope.split()
    if "refresh_token" not in client.grant_types:
        named = [w for w in named if w not in ("offline_access", "online_access")]
    if "launch" in params and "launch" not in named:
        raise refused("invalid_scope", "launch is used with scope launch")
    if "launch" not in params:
        named = [w for w in named if w != "launch"]
    if not named:
        raise refused("invalid_scope", "the application may have nothing of what it asks for")
    meant = [params[n].removesuffix("/") for n in ("aud", "resource") if n in params]
    if any(a != authority.audience for a in meant):
        raise refused("invalid_target" if "aud" not in params else "invalid_request", f"aud is {authority.audience}")
    if not meant and ("launch" in named or scopes.wants_fhir(scope)):
        raise refused("invalid_request", f"aud is missing: it is {authority.audience}")
    prompt = tuple(dict.fromkeys(params.get("prompt", "").split()))
    if not set(prompt) <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise refused("invalid_request", "prompt is none, or of login, consent and select_account")
    max_age = params.get("max_age")
    if max_age is not None and not re.fullmatch(r"[0-9]{1,10}", max_age):
        raise refused("invalid_request", "max_age is a number of seconds")
    hint = params.get("id_token_hint")
    said = await read(authority, hint) if hint else None
    if hint and said is None:
        raise refused("invalid_request", "id_token_hint is not of this server")
    jkt = params.get("dpop_jkt")
    if jkt is not None and not _CHALLENGE.fullmatch(jkt):
        raise refused("invalid_request", "dpop_jkt is a SHA-256 thumbprint")
    return AuthorizationRequest(
        client.id, redirect_uri, " ".join(named), asked, state, params["code_challenge"], params.get("nonce"), prompt,
        None if max_age is None else min(int(max_age), MAX_AGE), params.get("login_hint", "")[:LOGIN_HINT_MAX],
        None if said is None else said["sub"], jkt, _language(params.get("ui_locales", "")),
    )  # fmt: skip


def _language(locales: str) -> str | None:
    found = (tag.partition("-")[0].lower() for tag in locales.split())
    return next((language for language in found if language in UI_LOCALES), None)


def _unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
