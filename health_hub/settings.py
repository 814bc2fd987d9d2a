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
    auth: bool = _setting(True, "ask for access tokens; may be off on a loopback address only")
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

    timeout: float = _setting(30.0, "seconds an interaction may take")
    timeout_long: float = _setting(300.0, "seconds a batch, a transaction, an operation or an upload may take")
    timeout_body: float = _setting(60.0, "seconds without a byte of the request body")
    async_keep: int = _setting(86_400, "seconds the answer to an asynchronous request is kept")
    async_running: int = _setting(4, "asynchronous requests one process works on at a time")

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

    cors_origins: tuple[str, ...] = _setting(("*",), "origins of browser applications, separated by commas; * is any, empty is none")

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
