"""Every setting with its default; each comes from the variable HEALTH_HUB_<NAME> when that is set. Imports nothing of the project."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

PREFIX = "HEALTH_HUB_"
KIB, MIB = 1 << 10, 1 << 20


class SettingError(ValueError):
    """A variable holds what its setting cannot be."""


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Settings:
    """Immutable; `Settings.load()` reads the environment, keyword arguments win over it."""

    db: str = _setting("sqlite:///health-hub.db", "database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8080, "port to listen on")
    workers: int = _setting(1, "server processes; more than one needs PostgreSQL")
    base_url: str = _setting(
        "",
        "the API's address as clients see it, e.g. https://hub.example.vn/fhir; empty: taken from each request, "
        "and no absolute reference is a local one",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, separated by commas"
    )
    auth: bool = _setting(True, "ask for access tokens; may be off on a loopback address only")
    registration: str = _setting(
        "token", "who may register applications themselves (RFC 7591): token (with one of `health-hub registration-token`), open or closed"
    )
    introspection_clients: tuple[str, ...] = _setting(
        (), "client_ids of resource servers that may ask about every token (RFC 7662), separated by commas; others ask about their own"
    )
    demo: bool = _setting(False, "load the demo records on the first start")
    log_level: str = _setting("info", "critical, error, warning, info or debug")
    zone: str = _setting("Asia/Ho_Chi_Minh", "time zone of dates written without one")

    max_body: int = _setting(64 * MIB, "largest request body in bytes, also after decompression")
    max_binary: int = _setting(1024 * MIB, "largest content of a Binary sent as it is, in bytes")
    max_url: int = _setting(64 * KIB, "longest request target in bytes")
    gzip_min: int = _setting(4 * KIB, "answers from this size on are compressed for clients that ask; 0: never")
    gzip_level: int = _setting(1, "1 (fast) to 9 (small)")

    count_default: int = _setting(20, "resources on a page when _count is not given")
    count_max: int = _setting(1000, "most resources on a page")
    conditional_delete: str = _setting("single", "single: several matches are refused with 412; multiple: all are deleted")
    conditional_delete_max: int = _setting(1000, "most resources one conditional delete may delete")

    bundle_entries: int = _setting(10_000, "most entries of a batch or transaction")
    everything_max: int = _setting(20_000, "most resources $everything answers in one Bundle; more must be asked for in pages")
    lastn_max: int = _setting(100_000, "most Observations $lastn looks through")
    graphql_depth: int = _setting(20, "deepest nesting of a GraphQL query")
    graphql_cost: int = _setting(20_000, "most resources and elements one GraphQL query may bring")

    relationship_days: int = _setting(90, "days after an Encounter's end that it is a treatment relationship; a change needs `reindex`")
    appointment_days: int = _setting(7, "days before an Appointment that it is a treatment relationship; a change needs `reindex`")
    emergency_hours: float = _setting(4.0, "hours that emergency access to a record lasts")

    timeout: float = _setting(30.0, "seconds an interaction may take")
    timeout_long: float = _setting(300.0, "seconds a batch, a transaction, an operation or an upload may take")
    timeout_body: float = _setting(60.0, "seconds without a byte of the request body")
    async_keep: int = _setting(86_400, "seconds the answer to an asynchronous request is kept")
    async_running: int = _setting(4, "asynchronous requests one process works on at a time")

    key: str = _setting("", "secret of at least 32 characters that signing keys are encrypted with; empty: one kept in the database")
    access_token_seconds: int = _setting(300, "seconds an access token lives")
    id_token_seconds: int = _setting(300, "seconds an id_token lives")
    refresh_token_seconds: int = _setting(90 * 86_400, "seconds without use after which offline access ends")
    online_token_seconds: int = _setting(12 * 3_600, "seconds without use after which access of an application in use (online_access) ends")
    grant_seconds: int = _setting(365 * 86_400, "seconds after which a person must let an application in again, used or not")
    trusted_hosts: tuple[str, ...] = _setting((), "HOST:PORT that may be fetched from although they are loopback or private")
    dpop_nonce: bool = _setting(False, "DPoP proofs must repeat a nonce of ours (RFC 9449 8), so that none is made in advance")
    session_seconds: int = _setting(43_200, "seconds after which a person signs in again, whatever they do")
    session_idle_seconds: int = _setting(3_600, "seconds without a request after which a session ends")
    second_factor_roles: tuple[str, ...] = _setting(
        ("administrator", "auditor"), "roles that need a second factor or a passkey to sign in, separated by commas"
    )
    external_issuer: str = _setting("", "issuer of an external OpenID provider people may sign in with, e.g. https://id.example.vn")
    external_client_id: str = _setting("", "our client_id at the external provider")
    external_client_secret: str = _setting("", "our client secret at the external provider; empty: none, PKCE alone")
    external_name: str = _setting("", "what the external provider is called on the sign-in page")
    external_identifier_claim: str = _setting(
        "", "claim of the external provider's id_token that holds a verified identifier, by which accounts were linked beforehand"
    )

    relay: bool = _setting(True, "`serve` runs a relay for video consultations beside the API; false where relays run alone")
    relay_udp_port: int = _setting(40_000, "UDP port of the relay's media; open it in the firewall")
    relay_host: str = _setting("", "address of this machine as clients see it, announced for media; empty: where the relay listens")
    relay_bind: str = _setting("127.0.0.1", "address of the relay's signalling, for the hub's processes alone")
    relay_secret: str = _setting("", "secret of at least 32 characters that hub and relays share; empty: made from HEALTH_HUB_KEY")
    relay_directory: str = _setting(
        "", "where hub and relays find each other, sqlite:///PATH or postgresql://...; empty: the hub's PostgreSQL, or beside its SQLite"
    )
    consult_minutes_before: int = _setting(60, "minutes before an Appointment that its consultation opens")
    consult_hours_after: int = _setting(4, "hours after an Appointment's end that its consultation closes")

    cors_origins: tuple[str, ...] = _setting(("*",), "origins of browser applications, separated by commas; * is any, empty is none")

    def store(self) -> dict[str, Any]:
        """How the store is opened, beside `db`: arguments of Store.open."""
        durations = (self.relationship_days, self.appointment_days)
        return {"zone": self.zone, "timeout": self.timeout, "base": self.base_url, "key": self.key, "durations": durations}

    @staticmethod
    def load(environ: Mapping[str, str] | None = None, **given: Any) -> "Settings":
        """Settings from the environment; `given` values that are not None win."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for f in fields(Settings):
            if given.get(f.name) is not None:
                values[f.name] = given[f.name]
            elif (text := environ.get(PREFIX + f.name.upper())) is not None:
                values[f.name] = _value(PREFIX + f.name.upper(), text, f.default)
        unknown = given.keys() - {f.name for f in fields(Settings)}
        if unknown:
            raise SettingError(f"no such setting: {', '.join(sorted(unknown))}")
        settings = Settings(**values)
        if settings.conditional_delete not in ("single", "multiple"):
            raise SettingError(f"{PREFIX}CONDITIONAL_DELETE is single or multiple, not {settings.conditional_delete!r}")
        if settings.registration not in ("token", "open", "closed"):
            raise SettingError(f"{PREFIX}REGISTRATION is token, open or closed, not {settings.registration!r}")
        return settings


def _value(name: str, text: str, default: Any) -> Any:
    text = text.strip()
    if isinstance(default, bool):
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise SettingError(f"{name} is true or false, not {text!r}")
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, (int, float)):
        try:
            number = type(default)(text)
        except ValueError:
            raise SettingError(f"{name} is a number, not {text!r}") from None
        if number < 0:
            raise SettingError(f"{name} is not below 0")
        return number
    return text
