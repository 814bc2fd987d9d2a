"""SRTP of what is sent (RFC 3711 3.3) by AES-GCM (RFC 7714): the framing here, the cipher cryptography's. seal.c does the same in C.

libsrtp looks for a stream in a list, moves a window against replay that only receivers need and wants the packet in a buffer of ours:
half of what a packet costs it. Bytes are the same (tests/telemed/relay/test_seal.py). Other profiles are libsrtp's.
"""

from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telemed.relay.srtp import Keys, ffi

NONCE: Final = 12  # octets (RFC 7714 8.1)
MEDIAN: Final = 0x8000
WINDOW: Final = 1024  # packets; what is older than the newest by more is not sent again
BUFFER: Final = 2048

Encrypt = Callable[[bytes, "bytes | bytearray | memoryview", bytes], bytes]  # of nonce, payload and header: payload and tag, encrypted


class Refused(Exception):
    """A packet cannot be protected: its nonce would come twice, or libsrtp says no."""


class Way:
    """One SSRC on its way to one peer: the count of its packets (RFC 3711 3.3.1), and what protects them.

    The forwarding step does what `seal` does in its loop.
    """

    __slots__ = ("encrypt", "highest", "nonce", "ssrc")

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.encrypt: Encrypt | None = None  # None: the keys are not there yet
        self.highest = -1  # greatest index so far, 48 bits; -1: `encrypt` counts by itself
        self.nonce = 0  # the salt and the SSRC: with the index, the nonce (RFC 7714 8.1)

    def begin(self, encrypt: Encrypt, salt: bytes | None) -> None:
        """From now on by these keys; salt None: `encrypt` makes its nonces itself."""
        self.encrypt = encrypt
        self.highest, self.nonce = (-1, 0) if salt is None else (0, int.from_bytes(salt) ^ self.ssrc << 48)

    def index(self, sequence: int) -> int:
        """The index that a sequence number means (RFC 3711 3.3.1, appendix A), noted. Raises Refused.

        As libsrtp has it, there is none before the first round.
        """
        highest = self.highest
        if highest < 0:
            return 0
        rounds, last = highest >> 16, highest & 0xFFFF
        if highest <= MEDIAN:
            rounds = 0
        elif last < MEDIAN and sequence > last + MEDIAN:
            rounds -= 1
        elif last >= MEDIAN and sequence < last - MEDIAN:
            rounds += 1
        index = rounds << 16 | sequence
        if index >> 48 or index < 0 or highest - index >= WINDOW:
            raise Refused
        if index > highest:
            self.highest = index
        return index

    def seal(self, head: bytes, payload: bytes | bytearray | memoryview) -> bytes:
        """The packet of this header, with its extensions, and this payload. Raises Refused."""
        if self.encrypt is None:
            raise Refused
        index = self.index(head[2] << 8 | head[3])
        return head + self.encrypt((self.nonce ^ index).to_bytes(NONCE), payload, head)


class Joint:
    """An `Encrypt` of what protects whole packets in place, as libsrtp and seal.c do; it counts packets by itself."""

    __slots__ = ("_buffer", "_length", "_pointer", "_protect", "_session")

    def __init__(self, protect: Any, session: Any) -> None:
        """protect: of `session`, a packet and its length, which it changes; 0 when it is done, as srtp_protect."""
        self._protect, self._session = protect, session
        self._buffer = bytearray(BUFFER)
        self._pointer, self._length = ffi.from_buffer(self._buffer), ffi.new("int *")

    def __call__(self, nonce: bytes, payload: bytes | bytearray | memoryview, head: bytes) -> bytes:
        at, end = len(head), len(head) + len(payload)
        if end > BUFFER - 40:
            raise Refused
        self._buffer[:at], self._buffer[at:end] = head, payload
        self._length[0] = end
        if self._protect(self._session, self._pointer, self._length):
            raise Refused
        return bytes(self._buffer[at : self._length[0]])


def cipher(tx: Keys, protect: Any) -> tuple[Encrypt, bytes | None]:
    """What protects RTP by these keys, which must live as long, and its salt; None where it is libsrtp, whose `protect` is given."""
    gcm = tx.gcm()
    if gcm is None:
        return Joint(protect, tx.pointer), None
    return AESGCM(gcm[0]).encrypt, gcm[1]
