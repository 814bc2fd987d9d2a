"""Rooms at rest are sealed, in a relay's file and in the directory: what people wrote in a consultation is in them."""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12


def derive(secret: str, what: str) -> bytes:
    """32 bytes for one purpose from the secret that hub and relays share."""
    return HKDF(SHA256(), 32, salt=None, info=f"telemed {what}".encode()).derive(secret.encode())


class Seal:
    """AES-256-GCM under a key made from the secret that hub and relays share."""

    def __init__(self, secret: str, what: str) -> None:
        """what: names the kind, so that one kind's cannot be put in another's place."""
        self._cipher = AESGCM(derive(secret, what))

    def seal(self, data: bytes, room: str = "") -> bytes:
        """room: it opens as no other room's."""
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, data, room.encode())

    def open(self, sealed: bytes, room: str = "") -> bytes | None:
        """None: another secret, another room, or changed."""
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], room.encode())
        except (InvalidTag, ValueError):
            return None


def pass_word(secret: str) -> str:
    """What a front shows to a relay; the secret itself, which signs tokens, stays at home."""
    return hmac.digest(secret.encode(), b"telemed front", "sha256").hex()
