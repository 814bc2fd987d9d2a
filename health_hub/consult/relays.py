"""What hub and relays share: the secret that join tokens are signed with, and the directory in which they find each other."""

import base64

from health_hub.auth.authority import issuer_of
from health_hub.auth.sealed import derive
from health_hub.settings import SettingError, Settings
from telemed.tokens import SECRET_CHARS, Tokens


def secret(settings: Settings, kept: bytes = b"") -> str:
    """`kept`: the database's own secret, where there is no HEALTH_HUB_KEY.

    Raises SettingError where nothing is there to make it from.
    """
    if settings.relay_secret:
        if len(settings.relay_secret) < SECRET_CHARS:
            raise SettingError(f"HEALTH_HUB_RELAY_SECRET has at least {SECRET_CHARS} characters")
        return settings.relay_secret
    key = settings.key.encode() or kept
    if not key:
        raise SettingError("a relay needs HEALTH_HUB_KEY, the hub's, or HEALTH_HUB_RELAY_SECRET")
    return base64.urlsafe_b64encode(derive(key, "relay")).decode()


def directory_url(settings: Settings) -> str:
    """Of telemed.directory.choose.directory."""
    if settings.relay_directory:
        return settings.relay_directory
    if settings.db.startswith("sqlite"):
        return f"{settings.db.removesuffix('.db')}.telemed.db"
    return settings.db


def tokens(settings: Settings, kept: bytes = b"") -> Tokens:
    """Issues join tokens; raises SettingError."""
    return Tokens(secret(settings, kept), issuer_of(settings))
