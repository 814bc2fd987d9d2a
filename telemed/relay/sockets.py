"""The relay's UDP sockets: one that wakes it, and on Linux a second one at the same port for reports, which can wait for the next tick."""

import ctypes
import logging
import socket
import struct
import sys
from time import monotonic, time
from typing import Final

log = logging.getLogger(__name__)

BUFFER: Final = 4 << 20
REPORTS: Final = (200, 201)  # packet types of RFC 3550 6.4
FEEDBACK, TRANSPORT_WIDE = 205, 15  # RFC 4585 6.2, draft-holmer-rmcat-transport-wide-cc-extensions-01
TRAILER: Final = 20  # SRTCP puts so much behind a packet at most: a tag of 16 and the index (RFC 7714 9.1); the next packet would be 8
SO_ATTACH_REUSEPORT_CBPF: Final = 51  # of Linux, as the next one; Python does not name them
SO_TIMESTAMPNS: Final = 35
STAMP: Final = struct.Struct("@qq")  # what comes with a datagram: when it did, s and ns of the wall clock
STAMP_ROOM: Final = socket.CMSG_SPACE(STAMP.size)
DELAYED: Final = 1.0  # s; a datagram that seems to have waited longer came when the wall clock was set

# Classic BPF (linux/filter.h), offsets from the datagram's first byte.
_LENGTH, _BYTE, _HALF, _LENGTH_IN_X, _AND, _SHIFT, _ADD = 0x80, 0x30, 0x28, 0x81, 0x54, 0x64, 0x04
_EQUAL, _AT_LEAST, _AT_LEAST_X, _RETURN = 0x15, 0x35, 0x3D, 0x06


def _program() -> bytes:
    """0 for the first socket, 1 for the second: of RTCP that stands alone (RFC 5761 4) reports and transport-wide feedback.

    The header of a packet is sent in clear (RFC 3711 3.4), so its length tells whether another one follows, which might be a NACK.
    """
    lines: list[tuple[str, int, int, str, str]] = [  # label, code, operand, then, else
        ("", _LENGTH, 0, "", ""),
        ("", _AT_LEAST, 12, "kind", "soon"),
        ("kind", _BYTE, 1, "", ""),
        ("", _EQUAL, REPORTS[0], "alone", ""),
        ("", _EQUAL, REPORTS[1], "alone", ""),
        ("", _EQUAL, FEEDBACK, "", "soon"),
        ("", _BYTE, 0, "", ""),
        ("", _AND, 31, "", ""),
        ("", _EQUAL, TRANSPORT_WIDE, "alone", "soon"),
        ("alone", _BYTE, 0, "", ""),
        ("", _AND, 0xC0, "", ""),
        ("", _EQUAL, 0x80, "", "soon"),
        ("", _HALF, 2, "", ""),
        ("", _SHIFT, 2, "", ""),
        ("", _ADD, 4 + TRAILER, "", ""),
        ("", _LENGTH_IN_X, 0, "", ""),
        ("", _AT_LEAST_X, 0, "", "soon"),
        ("", _RETURN, 1, "", ""),
        ("soon", _RETURN, 0, "", ""),
    ]
    places = {label: n for n, (label, *_) in enumerate(lines) if label}
    out = b""
    for n, (_, code, operand, then, other) in enumerate(lines):
        jumps = code in (_EQUAL, _AT_LEAST, _AT_LEAST_X)
        ways = [places.get(label, n + 1) - n - 1 if jumps else 0 for label in (then, other)]
        out += struct.pack("=HBBI", code, *ways, operand)
    return out


def bind(family: int, host: str, port: int) -> tuple[socket.socket, socket.socket | None]:
    """(the socket to wake up for, the one for reports or None where the system does not tell them apart); port 0: any.

    Raises OSError when the address is taken, also by another relay: the second socket is for us alone.
    """
    first = _socket(family)
    try:
        first.bind((host, port))
        if sys.platform != "linux":
            return first, None
        place = first.getsockname()
        first.close()
        first = _socket(family)
        return first, _second(first, family, place)
    except OSError:
        first.close()
        raise


def _second(first: socket.socket, family: int, place: tuple[object, ...]) -> socket.socket | None:
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first.bind(place)
    second = _socket(family)
    try:
        code = _program()
        held = ctypes.create_string_buffer(code, len(code))
        # Before the second one is there: from then on each datagram goes where it belongs.
        first.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(code) // 8, ctypes.addressof(held)))
        second.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        second.bind(place)
    except OSError as e:
        second.close()
        log.info("reports come by the socket that media comes by: %s", e)
        return None
    return second


def _socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return sock


def apart() -> float:
    """What the monotonic clock is less the wall clock, s; read anew where the thread was stopped between the two."""
    for _ in range(3):
        before, wall = monotonic(), time()
        if monotonic() - before < 0.0002:
            break
    return before - wall


def arrived(more: list[tuple[int, int, bytes]], wall: float, now: float) -> float:
    """When a report came, s of the monotonic clock; `more`: what came beside it, `wall`: that clock less the wall clock's."""
    if not more or len(more[0][2]) < STAMP.size:
        return now
    seconds, nanoseconds = STAMP.unpack_from(more[0][2])
    came = seconds + nanoseconds * 1e-9 + wall
    return came if now - DELAYED < came < now else now
