"""Binding requests of a peer that is connected, answered by the one before: what asks for consent every second or two (RFC 7675).

Only what differs from a request that was answered in full, and changed nothing, in its transaction alone. stun.c does it in C.
"""

import hashlib
import hmac
import zlib

from telemed.wire import stun


class Consent:
    """The request that was answered, and how."""

    __slots__ = ("_covered", "_head", "_host", "_middle", "_password", "_port", "_size")

    def __init__(self, request: bytes, password: bytes, host: str, port: int) -> None:
        """request: from `host` and `port`, good and signed by `password`."""
        self._size, self._head, self._middle = len(request), request[:8], request[20:-28]
        self._covered = request[:2] + (len(request) - 20 - 8).to_bytes(2)  # the length without FINGERPRINT (RFC 8489 14.5)
        self._password, self._host, self._port = password, host, port

    @staticmethod
    def plain(request: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY and FINGERPRINT are the last things in it, as with all that is not made to confuse."""
        return len(request) >= 52 and request[-32:-28] == stun.SIGNED and request[-8:-4] == stun.PRINTED

    def answer(self, request: bytes) -> bytes | None:
        """The answer to a request that is the same again, with a right signature; None: it is another."""
        if len(request) != self._size or request[:8] != self._head or request[20:-28] != self._middle or request[-8:-4] != stun.PRINTED:
            return None
        digest = hmac.digest(self._password, self._covered + request[4:-32], hashlib.sha1)
        if not hmac.compare_digest(digest, request[-28:-8]) or zlib.crc32(request[:-8]) ^ stun.PRINT != int.from_bytes(request[-4:]):
            return None
        return stun.accepted(request[8:20], self._host, self._port, self._password)
