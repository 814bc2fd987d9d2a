"""Which payloads begin a picture that a decoder can start with, by codec; nothing is decoded for it."""

from collections.abc import Callable
from typing import Final


def _vp8(payload: memoryview) -> bool:
    """RFC 7741 4.2, 4.3: start of the first partition, inverse key frame flag clear."""
    first = payload[0]
    if first & 0x17 != 0x10:
        return False
    at = 1
    if first & 0x80:
        if len(payload) < 2:
            return False
        extended = payload[1]
        at = 2
        if extended & 0x80:
            if len(payload) <= at:
                return False
            at += 2 if payload[at] & 0x80 else 1
        if extended & 0x40:
            at += 1
        if extended & 0x30:
            at += 1
    return len(payload) > at and not payload[at] & 1


def _vp9(payload: memoryview) -> bool:
    """RFC 9628 4.2: not inter-predicted, begins a frame, of the lowest spatial layer."""
    first = payload[0]
    if first & 0x40 or not first & 0x08:
        return False
    if not first & 0x20:
        return True
    at = 1
    if first & 0x80:
        if len(payload) <= at:
            return False
        at += 2 if payload[at] & 0x80 else 1
    return len(payload) > at and not (payload[at] >> 1) & 7


def _h264(payload: memoryview) -> bool:
    """RFC 6184 5: an SPS (7) or an IDR slice (5), alone, in a STAP-A (24) or begun in an FU-A (28)."""
    kind = payload[0] & 31
    if kind in (5, 7):
        return True
    if kind == 28:
        return len(payload) > 1 and bool(payload[1] & 0x80) and payload[1] & 31 in (5, 7)
    if kind == 24:
        at = 1
        while at + 3 <= len(payload):
            if payload[at + 2] & 31 in (5, 7):
                return True
            at += 2 + (payload[at] << 8 | payload[at + 1])
    return False


def _av1(payload: memoryview) -> bool:
    """AV1 RTP 4.4: the N bit, first packet of a coded video sequence."""
    return bool(payload[0] & 0x08)


_DETECTORS: Final[dict[str, Callable[[memoryview], bool]]] = {"vp8": _vp8, "vp9": _vp9, "h264": _h264, "av1": _av1}


def is_keyframe(codec: str) -> Callable[[memoryview], bool]:
    """The detector for a codec's payloads (never empty ones). Raises KeyError for codecs that the relay does not pass."""
    return _DETECTORS[codec]
