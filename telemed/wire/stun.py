"""STUN (RFC 8489) as ICE uses it (RFC 8445): binding requests read and checked, answers built."""

import hashlib
import hmac
import ipaddress
import struct
import zlib
from dataclasses import dataclass, field
from functools import lru_cache

from telemed.wire.errors import WireError

COOKIE = 0x2112A442
REQUEST, INDICATION, SUCCESS, FAILURE = 0x0001, 0x0011, 0x0101, 0x0111
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, XOR_MAPPED_ADDRESS = 0x0006, 0x0008, 0x0009, 0x0020
PRIORITY, USE_CANDIDATE, FINGERPRINT, ICE_CONTROLLED, ICE_CONTROLLING = 0x0024, 0x0025, 0x8028, 0x8029, 0x802A
MAX_ATTRIBUTES = 32
PRINT = 0x5354554E  # what the CRC of a FINGERPRINT is mixed with (RFC 8489 14.7)
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
SIGNED, PRINTED = _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20), _ATTRIBUTE.pack(FINGERPRINT, 4)  # how those attributes begin


@dataclass(slots=True)
class Message:
    """One STUN message; `attributes` holds the first of each kind, `signed` how many bytes MESSAGE-INTEGRITY covers (0: it has none)."""

    kind: int
    transaction: bytes
    attributes: dict[int, bytes] = field(default_factory=dict)
    raw: bytes = b""
    signed: int = 0

    @property
    def username(self) -> str:
        """"ours:theirs", ICE fragments; empty when there is none or it is no UTF-8."""
        return self.attributes.get(USERNAME, b"").decode("utf-8", "replace")

    def authentic(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY was made with `password` (RFC 8489 14.5)."""
        if not self.signed:
            return False
        # The length field counts up to the attribute itself, whatever follows.
        covered = self.raw[:2] + struct.pack("!H", self.signed + 24 - 20) + self.raw[4 : self.signed]
        return hmac.compare_digest(hmac.digest(password, covered, hashlib.sha1), self.attributes[MESSAGE_INTEGRITY])


def parse(data: bytes) -> Message:
    """A STUN message. Raises WireError when it is none, is cut off, or its FINGERPRINT is wrong (RFC 8489 6.3)."""
    if len(data) < 20 or len(data) % 4:
        raise WireError("STUN: not a whole number of words")
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind & 0xC000 or cookie != COOKIE or length != len(data) - 20:
        raise WireError("STUN: no STUN header")
    message = Message(kind, transaction, raw=data)
    at = 20
    for _ in range(MAX_ATTRIBUTES):
        if at == len(data):
            return message
        if at + 4 > len(data):
            raise WireError(f"STUN: attribute cut off at {at}")
        name, size = _ATTRIBUTE.unpack_from(data, at)
        value = data[at + 4 : at + 4 + size]
        if len(value) != size:
            raise WireError(f"STUN: attribute cut off at {at}")
        if name == FINGERPRINT:
            if size != 4 or int.from_bytes(value) != (zlib.crc32(data[:at]) ^ PRINT):
                raise WireError("STUN: wrong fingerprint")
        elif name == MESSAGE_INTEGRITY:
            if size != 20:
                raise WireError("STUN: MESSAGE-INTEGRITY is 20 bytes")
            if not message.signed:
                message.signed = at
        elif message.signed:
            # What stands behind the signature is not signed and not believed (RFC 8489 14.5).
            at += 4 + size + (-size % 4)
            continue
        message.attributes.setdefault(name, value)
        at += 4 + size + (-size % 4)
    raise WireError("STUN: too many attributes")


def build(kind: int, transaction: bytes, attributes: list[tuple[int, bytes]], password: bytes = b"") -> bytes:
    """A message with its MESSAGE-INTEGRITY (when there is a password) and FINGERPRINT."""
    body = b"".join([_ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes])
    if password:
        signed = _HEADER.pack(kind, len(body) + 24, COOKIE, transaction) + body
        body += SIGNED + hmac.digest(password, signed, hashlib.sha1)
    message = _HEADER.pack(kind, len(body) + 8, COOKIE, transaction) + body
    return message + PRINTED + (zlib.crc32(message) ^ PRINT).to_bytes(4)


def mapped(host: str, port: int, transaction: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (RFC 8489 14.2)."""
    address = _packed(host)
    size = len(address)
    key = (COOKIE.to_bytes(4) + transaction)[:size]
    masked = (int.from_bytes(address) ^ int.from_bytes(key)).to_bytes(size)
    return struct.pack("!BBH", 0, 1 if size == 4 else 2, port ^ (COOKIE >> 16)) + masked


@lru_cache(maxsize=4096)  # peers ask again and again from where they are
def _packed(host: str) -> bytes:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.packed


def unmapped(value: bytes, transaction: bytes) -> tuple[str, int]:
    """Host and port out of XOR-MAPPED-ADDRESS. Raises WireError."""
    if len(value) not in (8, 20):
        raise WireError("STUN: XOR-MAPPED-ADDRESS is 8 or 20 bytes")
    key = struct.pack("!I", COOKIE) + transaction
    host = ipaddress.ip_address(bytes(a ^ b for a, b in zip(value[4:], key, strict=False)))
    return str(host), int.from_bytes(value[2:4]) ^ (COOKIE >> 16)


def success(request: Message, host: str, port: int, password: bytes) -> bytes:
    """The answer to a binding request."""
    return accepted(request.transaction, host, port, password)


def accepted(transaction: bytes, host: str, port: int, password: bytes) -> bytes:
    """The same, of the request of a transaction."""
    return build(SUCCESS, transaction, [(XOR_MAPPED_ADDRESS, mapped(host, port, transaction))], password)


def failure(request: Message, code: int, reason: str, password: bytes = b"") -> bytes:
    """An error answer (RFC 8489 14.8), for example 487 when both ends control (RFC 8445 7.3.1.1)."""
    return build(FAILURE, request.transaction, [(ERROR_CODE, struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode())], password)
