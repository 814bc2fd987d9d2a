"""What the parts of the authorization server pass to each other: accounts, clients, sessions, and what a verified token says."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

Role = Literal["patient", "carer", "practitioner", "nurse", "operator", "auditor", "administrator"]
ROLES: tuple[Role, ...] = get_args(Role)
Grant = Literal["authorization_code", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
AuthMethod = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]


class _Kept:
    """Kept as the JSON object of a record: lists there, tuples here; members that are not known are passed over."""

    __slots__ = ()

    def data(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known})


@dataclass(frozen=True, slots=True)
class Account(_Kept):
    """A person who signs in. Record kind "account", id random, ref "login/" + the login folded.

    fhir_user: `Practitioner/1`, `Patient/1`, `RelatedPerson/1` or None. organizations: `Organization/1` that were named when the
    account was made; the facilities of a practitioner are also those of their active PractitionerRoles (access/ looks them up).
    labels: sensitive labels the person may see, `HIV`. patient: of a carer, the `Patient/1` that their RelatedPerson named when the
    account was made; it opens nothing while it names another. Secrets of signing in are in records of their own (accounts.py).
    """

    id: str
    login: str
    role: Role
    name: str = ""
    fhir_user: str | None = None
    organizations: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    enabled: bool = True
    language: str = "vi"
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class Client(_Kept):
    """An application (RFC 7591's members, in its names where it has one). Record kind "client".

    organization: `Organization/1` that a system client acts for; None: the province. secret: hash of the client secret.
    scope: all it may ever ask for, separated by spaces. jwks: the JWK Set, an object.
    """

    id: str
    client_name: str
    grant_types: tuple[Grant, ...]
    token_endpoint_auth_method: AuthMethod = "none"
    secret: str = ""
    scope: str = ""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    organization: str | None = None
    labels: tuple[str, ...] = ()
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    launch_uri: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    dpop_bound_access_tokens: bool = False
    id_token_signed_response_alg: str = "RS256"
    registered: bool = False  # by dynamic registration
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Session(_Kept):
    """A person signed in in one browser. Record kind "session", id a hash of the cookie's secret, ref "account/" + id.

    organization: the facility they act for, chosen at sign-in. amr: how they signed in (RFC 8176). times in seconds since 1970 UTC.
    """

    id: str
    account: str
    signed_in: int
    amr: tuple[str, ...] = ()
    organization: str | None = None
    agent: str = ""  # the browser, as a person would call it
    address: str = ""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says (RFC 9068). times in seconds since 1970 UTC.

    subject: the account's id, or the client's for client credentials. role: the account's, or "system".
    scope: what was granted, SMART v2 scopes in their v2 form. patient, encounter: launch context, bare ids.
    organization: the facility acted for. session: the grant (refresh token family) it belongs to. thumbprint: DPoP key (RFC 9449).
    """

    id: str
    subject: str
    client: str
    role: str
    scope: str
    issued: int
    expires: int
    fhir_user: str | None = None
    name: str = ""
    organization: str | None = None
    labels: tuple[str, ...] = ()
    patient: str | None = None
    encounter: str | None = None
    session: str | None = None
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True)
class Granted(_Kept):
    """What a person let a client have, from the code or device code to the last refresh. times: seconds since 1970 UTC.

    id: `Claims.session` of its access tokens. scope: v2; asked: the client's own words, in which it is answered. session: the
    browser's in which it was given; offline: outlives it. patient, encounter, need_patient_banner, intent, smart_style_url: launch
    context. thumbprint: of the DPoP key that refresh tokens are bound to (RFC 9449 5). nonce: of the authorization request.
    """

    id: str
    client: str
    account: str
    scope: str
    asked: str
    began: int
    signed_in: int
    amr: tuple[str, ...] = ()
    session: str = ""
    organization: str | None = None
    offline: bool = False
    patient: str | None = None
    encounter: str | None = None
    need_patient_banner: bool | None = None
    intent: str | None = None
    smart_style_url: str | None = None
    thumbprint: str | None = None
    nonce: str | None = None


class AuthError(Exception):
    """A refusal in OAuth's terms (RFC 6749 5.2, RFC 6750 3.1, RFC 9449 7.1): `error` code, text for the developer, HTTP status."""

    def __init__(self, error: str, description: str = "", status: int = 400, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{error}: {description}")
        self.error, self.description, self.status, self.headers = error, description, status, headers
