"""What must be read again and yet not lie open in the database or its backups: encrypted with a key that need not be in it."""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12  # bytes


def derive(secret: bytes, what: str) -> bytes:
    """32 bytes for one purpose, from the secret that all workers share (HKDF, RFC 5869): no purpose's key tells another's."""
    return HKDF(SHA256(), 32, salt=None, info=f"health-hub {what}".encode()).derive(secret)


class Sealed:
    """AES-256-GCM. what: names the kind of secret, so that one kind's cannot be put in another's place."""

    def __init__(self, key: bytes, what: str) -> None:
        self._cipher = AESGCM(derive(key, what))

    def seal(self, text: str, owner: str) -> str:
        """owner: id of the account it belongs to; it opens beside no other."""
        nonce = os.urandom(NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), owner.encode())).decode()

    def open(self, sealed: str, owner: str) -> str | None:
        """None: sealed with another key, for another owner, or changed since."""
        data = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(data[:NONCE], data[NONCE:], owner.encode()).decode()
        except InvalidTag:
            return None
