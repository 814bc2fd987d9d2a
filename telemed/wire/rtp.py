"""RTP packets (RFC 3550 5.1) and their header extensions (RFC 8285)."""

import struct
from dataclasses import dataclass

from telemed.wire.errors import WireError

_HEAD = struct.Struct("!BBHII")


@dataclass(slots=True)
class Header:
    """What stands before the payload; `payload_end` is where padding begins."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    extension_profile: int
    extension_start: int
    payload_offset: int
    payload_end: int


def parse(data: bytes | memoryview) -> Header:
    """The header of one RTP packet. Raises WireError when it is none or is cut off."""
    if len(data) < 12:
        raise WireError("RTP: shorter than its header")
    first, second, sequence, timestamp, ssrc = _HEAD.unpack_from(data)
    if first >> 6 != 2:
        raise WireError("RTP: version is not 2")
    at = 12 + 4 * (first & 15)
    profile = start = 0
    end = len(data)
    if first & 16:
        if at + 4 > end:
            raise WireError("RTP: extension cut off")
        profile = data[at] << 8 | data[at + 1]
        start = at + 4
        at = start + 4 * (data[at + 2] << 8 | data[at + 3])
    if at > end:
        raise WireError("RTP: header cut off")
    if first & 32:
        padding = data[end - 1]
        if not padding or padding > end - at:
            raise WireError("RTP: padding longer than the payload")
        end -= padding
    return Header(second & 127, bool(second & 128), sequence, timestamp, ssrc, profile, start, at, end)


def extensions(data: bytes | memoryview, header: Header) -> dict[int, memoryview]:
    """Extension elements by id. Raises WireError when an element is longer than its block."""
    found: dict[int, memoryview] = {}
    view = memoryview(data)
    at, end = header.extension_start, header.payload_offset
    one = header.extension_profile == 0xBEDE
    if not at or not (one or header.extension_profile & 0xFFF0 == 0x1000):
        return found
    while at < end:
        if not data[at]:
            at += 1
            continue
        if one:
            name, size = data[at] >> 4, (data[at] & 15) + 1
            at += 1
            if name == 15:
                break
        else:
            if at + 2 > end:
                raise WireError("RTP: extension element cut off")
            name, size = data[at], data[at + 1]
            at += 2
        if at + size > end:
            raise WireError("RTP: extension element cut off")
        found.setdefault(name, view[at : at + size])
        at += size
    return found
