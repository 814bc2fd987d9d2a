"""SRTP in place on a buffer of ours, through libsrtp as pylibsrtp carries it.

pylibsrtp's public calls copy a packet twice and make three objects; the forwarding step calls libsrtp itself. That leans on
private names of pylibsrtp: its version is pinned, `tests/telemed/relay/test_srtp.py` holds both ways against each other.
"""

from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi as _ffi
from pylibsrtp._binding import lib as _lib

ffi: Final[Any] = _ffi
lib: Final[Any] = _lib
WINDOW: Final = 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """A protection profile of DTLS-SRTP (RFC 5764 4.1.2, RFC 7714 14.2); lengths in bytes."""

    name: bytes
    libsrtp: int
    key: int
    salt: int


# AES-128-GCM before 256: a packet costs a fifth less, and 128 bits are what the DTLS handshake itself rests on.
PROFILES: Final = (
    Profile(b"SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    Profile(b"SRTP_AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    Profile(b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
)


class Keys:
    """One direction's session. `pointer` is the `srtp_t` for libsrtp and lives as long as this object."""

    __slots__ = ("_master", "_profile", "_session", "pointer")

    def __init__(self, profile: Profile, key: bytes, inbound: bool) -> None:
        policy = Policy(
            key=key, ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile.libsrtp
        )
        policy.window_size = WINDOW
        # Resending without RTX repeats a sequence number with the same content, which is safe and wanted.
        policy.allow_repeat_tx = True
        self._profile, self._master = profile, key
        self._session = Session(policy)
        # 1,500 bytes a session that nobody uses when packets are protected in place.
        self._session._cdata = self._session._buffer = None
        self.pointer = self._session._srtp[0]

    def gcm(self) -> tuple[bytes, bytes] | None:
        """Key and salt of the session's RTP (RFC 3711 4.3.1, RFC 7714 11), None where its cipher is not AES-GCM."""
        size = self._profile.key
        if b"GCM" not in self._profile.name:
            return None
        return self._derived(0x00, size), self._derived(0x02, self._profile.salt)

    def _derived(self, label: int, size: int) -> bytes:
        key, salt = self._master[: self._profile.key], bytearray(self._master[self._profile.key :].ljust(16, b"\0"))
        salt[7] ^= label
        return Cipher(AES(key), CTR(bytes(salt))).encryptor().update(bytes(size))


def derive(profile: Profile, material: bytes, server: bool) -> tuple[Keys, Keys]:
    """Keys for receiving and for sending, from the keying material that DTLS exports (RFC 5764 4.2)."""
    k, s = profile.key, profile.salt
    client = material[:k] + material[2 * k : 2 * k + s]
    serving = material[k : 2 * k] + material[2 * k + s : 2 * (k + s)]
    theirs, ours = (client, serving) if server else (serving, client)
    return Keys(profile, theirs, True), Keys(profile, ours, False)
