"""Nonces for DPoP proofs (RFC 9449 8): a proof that repeats one was made lately and for this hub. Every worker knows them by their seal."""

import base64
import binascii
import hashlib
import hmac
import time

from health_hub.auth.sealed import derive

SECONDS = 300  # that one is good for
_TIME, _SEAL = 8, 16  # bytes


class Nonces:
    """The time one was made and an HMAC of it; nothing is kept. key: the secret that all workers share."""

    def __init__(self, key: bytes) -> None:
        self._key = derive(key, "dpop nonce")

    def new(self) -> str:
        made = int(time.time()).to_bytes(_TIME)
        return base64.urlsafe_b64encode(made + self._seal(made)).decode()

    def good(self, nonce: object) -> bool:
        """Whether it is one of ours that has not ended."""
        if not isinstance(nonce, str) or len(nonce) != (_TIME + _SEAL) // 3 * 4 or not nonce.isascii():
            return False
        try:
            data = base64.b64decode(nonce, altchars=b"-_", validate=True)
        except binascii.Error:
            return False
        made, seal = data[:_TIME], data[_TIME:]
        age = time.time() - int.from_bytes(made)
        # A worker's clock may be a second behind another's.
        return hmac.compare_digest(seal, self._seal(made)) and -2 <= age <= SECONDS

    def _seal(self, made: bytes) -> bytes:
        return hmac.digest(self._key, made, hashlib.sha256)[:_SEAL]
