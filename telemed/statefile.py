"""Rooms over a restart: one file, sealed, since what people wrote in a consultation is in it."""

import logging
import os
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

log = logging.getLogger(__name__)


class StateFile:
    """AES-256-GCM under a key made from the relay's secret."""

    def __init__(self, path: str, secret: str) -> None:
        self._path = Path(path)
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=b"telemed state").derive(secret.encode()))

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the file in one step.

        Raises OSError.
        """
        nonce = os.urandom(12)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.json.encode(state), None)
        beside = self._path.with_name(self._path.name + ".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(sealed)
        beside.replace(self._path)

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None: a file that cannot be read is logged, and clients' own resume tokens bring the rooms back."""
        try:
            sealed = self._path.read_bytes()
            state = msgspec.json.decode(self._cipher.decrypt(sealed[:12], sealed[12:], None))
        except FileNotFoundError:
            return None
        except (OSError, InvalidTag, ValueError):
            log.exception("%s cannot be read", self._path)
            return None
        return state if isinstance(state, dict) else None
