"""Every setting of the relay's signalling with its default; each comes from the variable TELEMED_<NAME> when that is set."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

PREFIX = "TELEMED_"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class SettingError(ValueError):
    """A variable holds what its setting cannot be."""


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Settings:
    """Immutable; `Settings.load()` reads the environment, keyword arguments win over it."""

    host: str = _setting("127.0.0.1", "address that signalling listens on")
    port: int = _setting(8090, "port that signalling listens on")
    open: bool = _setting(False, "a room opens by its name without a token; on a loopback address only")
    secret: str = _setting("", "secret of at least 32 characters that join tokens are signed with; the hub has the same")
    issuer: str = _setting("health-hub", "issuer (iss) of join tokens")
    origins: tuple[str, ...] = _setting(
        ("*",), "origins of pages that may connect, separated by commas; * is any (tokens guard the rooms, no cookie does)"
    )
    state: str = _setting("", "file that rooms are kept in over a restart; empty: clients' resume tokens alone bring them back")

    recordings: str = _setting("", "directory that recordings are written to; empty: nothing can be recorded")
    record_key: str = _setting("", "key of at least 32 characters that recordings are sealed with; python -m telemed.record wants the same")
    recording_bytes: int = _setting(8 * GIB, "bytes on disk at which a recording ends by itself")
    recording_seconds: int = _setting(4 * 3_600, "seconds after which a recording ends by itself")
    recordings_days: int = _setting(0, "days that a recording is kept after its end; 0: for ever")
    messages: str = _setting("", "directory of messages for later, of this relay alone; empty: none are taken")
    messages_bytes: int = _setting(50 * GIB, "bytes of all messages")
    messages_each: int = _setting(256 * MIB, "bytes of one message")
    messages_count: int = _setting(20, "messages of one participant in one room")
    messages_days: int = _setting(30, "days that a message is kept once it is complete")
    messages_pending_days: int = _setting(7, "days that an incomplete one waits for its next piece, and that its sender may still send it")
    disk_free: int = _setting(GIB, "bytes that recordings and messages leave free on their disk")

    directory: str = _setting("", "where hub and relays find each other: sqlite:///PATH or postgresql://...; empty: one relay alone")
    node: str = _setting("", "name of this relay in the directory, the same after a restart; empty: HOST:PORT of its signalling")
    address: str = _setting("", "HOST:PORT at which the hub reaches this relay's signalling; empty: where it listens")

    step: str = _setting("auto", "form of the forwarding step: python, compiled, or auto: compiled where it was built")

    stun: tuple[str, ...] = _setting((), "STUN addresses given to clients, e.g. stun:turn.example.vn:3478")
    turn: tuple[str, ...] = _setting((), "TURN addresses given to clients, e.g. turns:turn.example.vn:443?transport=tcp")
    turn_secret: str = _setting("", "coturn's static-auth-secret (use-auth-secret)")
    turn_seconds: int = _setting(3_600, "seconds that TURN credentials live")

    publishers: int = _setting(12, "participants in one room that may publish")
    watchers: int = _setting(200, "others in one room")
    waiting: int = _setting(50, "people in one waiting room")
    rooms: int = _setting(2_000, "rooms at a time")
    sessions: int = _setting(10_000, "participants at a time, in all rooms")
    pending: int = _setting(1_000, "connections that have not said hello; the oldest makes room for a new one")

    hello_seconds: float = _setting(10.0, "seconds until a connection must have said hello")
    silence_seconds: float = _setting(45.0, "seconds without any message, after which a connection counts as lost")
    ping_seconds: float = _setting(15.0, "seconds between two pings of a client")
    grace_seconds: float = _setting(60.0, "seconds that a participant who lost the link is expected back")
    empty_seconds: float = _setting(900.0, "seconds after which a room that everybody left ends")
    resume_seconds: int = _setting(6 * 3_600, "seconds that a resume token lives")

    message_bytes: int = _setting(256 * KIB, "largest message of a client")
    rate: float = _setting(20.0, "messages a second of one client")
    burst: int = _setting(100, "messages at once of one client")
    backlog_bytes: int = _setting(MIB, "unread bytes after which a client is cut off")
    backlog_messages: int = _setting(1_000, "unread messages after which a client is cut off; as many are kept for its return")
    chat_messages: int = _setting(500, "chat messages kept in a room")
    chat_chars: int = _setting(4_000, "characters of a chat message")
    data_bytes: int = _setting(16 * KIB, "bytes of a data message")

    def __post_init__(self) -> None:
        """Raises SettingError."""
        if self.open and not loopback(self.host):
            raise SettingError(f"{PREFIX}OPEN is for a loopback address, not {self.host}")
        if not self.open and len(self.secret) < 32:
            raise SettingError(f"{PREFIX}SECRET must have at least 32 characters")
        if self.recordings and len(self.record_key) < 32:
            raise SettingError(f"{PREFIX}RECORDINGS needs {PREFIX}RECORD_KEY of at least 32 characters")
        if self.messages and len(self.secret) < 32:
            raise SettingError(f"{PREFIX}MESSAGES needs {PREFIX}SECRET of at least 32 characters")
        if self.step not in ("auto", "python", "compiled"):
            raise SettingError(f"{PREFIX}STEP is auto, python or compiled, not {self.step!r}")
        if self.turn and not self.turn_secret:
            raise SettingError(f"{PREFIX}TURN needs {PREFIX}TURN_SECRET")

    def admits(self, origin: str | None) -> bool:
        """Whether a page of that origin may come in; None: no browser asks."""
        if origin is None:
            return True
        if self.open:  # no token guards these rooms: a page from elsewhere must not reach them through the visitor's browser
            return loopback(urlsplit(origin).hostname or "")
        return "*" in self.origins or origin in self.origins

    @staticmethod
    def load(environ: Mapping[str, str] | None = None, **given: Any) -> "Settings":
        """Settings from the environment; `given` values that are not None win.

        Raises SettingError.
        """
        environ = os.environ if environ is None else environ
        unknown = given.keys() - {f.name for f in fields(Settings)}
        if unknown:
            raise SettingError(f"no such setting: {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {}
        for f in fields(Settings):
            if given.get(f.name) is not None:
                values[f.name] = given[f.name]
            elif (text := environ.get(PREFIX + f.name.upper())) is not None:
                values[f.name] = _value(PREFIX + f.name.upper(), text.strip(), f.default)
        return Settings(**values)


def loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`. A name other than localhost could resolve to anything."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _value(name: str, text: str, default: Any) -> Any:
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
        if not 0 <= number < 1e12:
            raise SettingError(f"{name} is not below 0")
        return number
    return text
