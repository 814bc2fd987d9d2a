"""Binding requests of a peer that is connected, answered by the one before: what asks for consent every second or two (RFC 7675).

Only what differs from a request that was answered in full, and changed nothing, in its transaction alone. stun.c does it in C.
"""

import hashlib
import hmac
import struct
import zlib
from typing import Final

from telemed.wire import stun

_SIGNED: Final = struct.pack("!HH", stun.MESSAGE_INTEGRITY, 20)
_PRINTED: Final = struct.pack("!HH", stun.FINGERPRINT, 4)


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
        return len(request) >= 52 and request[-32:-28] == _SIGNED and request[-8:-4] == _PRINTED

    def answer(self, request: bytes) -> bytes | None:
        """The answer to a request that is the same again, with a right signature; None: it is another."""
        if len(request) != self._size or request[:8] != self._head or request[20:-28] != self._middle or request[-8:-4] != _PRINTED:
            return None
        digest = hmac.digest(self._password, self._covered + request[4:-32], hashlib.sha1)
        if not hmac.compare_digest(digest, request[-28:-8]) or zlib.crc32(request[:-8]) ^ stun.PRINT != int.from_bytes(request[-4:]):
            return None
        transaction = request[8:20]
        place = stun.mapped(self._host, self._port, transaction)
        return stun.build(stun.SUCCESS, transaction, [(stun.XOR_MAPPED_ADDRESS, place)], self._password)
