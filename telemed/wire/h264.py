"""What an H.264 payload holds (RFC 6184 5): NAL units alone, aggregated or in fragments, and whether a keyframe begins there."""

from dataclasses import dataclass

from telemed.wire.buffer import Buffer
from telemed.wire.errors import WireError

SLICE, IDR, SEI, SPS, PPS = 1, 5, 6, 7, 8
STAP_A, FU_A = 24, 28
_AGGREGATES = {24: (1, 0), 25: (3, 0), 26: (3, 3), 27: (3, 4)}  # STAP-A, STAP-B, MTAP16, MTAP24: bytes before all, before each
_MOST = 256  # units of one packet


@dataclass(frozen=True, slots=True)
class Unit:
    """One NAL unit or a part of it: where its bytes lie in the payload (of a fragment: what follows the FU header)."""

    type: int
    start: bool
    end: bool
    offset: int
    size: int


def units(payload: Buffer) -> list[Unit]:
    """Every NAL unit of a packet. Raises WireError."""
    size = len(payload)
    if not size:
        raise WireError("H.264: empty")
    kind = payload[0] & 31
    if 0 < kind < 24:
        return [Unit(kind, True, True, 0, size)]
    if kind in (28, 29):
        if size < (2 if kind == 28 else 4):
            raise WireError("H.264: a fragment is cut off")
        second = payload[1]
        at = 2 if kind == 28 else 4
        return [Unit(second & 31, bool(second & 0x80), bool(second & 0x40), at, size - at)]
    if kind not in _AGGREGATES:
        raise WireError(f"H.264: type {kind}")
    at, each = _AGGREGATES[kind]
    out: list[Unit] = []
    while at < size:
        if at + 2 > size or len(out) == _MOST:
            raise WireError("H.264: an aggregate is cut off")
        length = payload[at] << 8 | payload[at + 1]
        at += 2 + each  # MTAP: the size covers the unit alone (RFC 6184 5.7.2)
        if not length or at + length > size:
            raise WireError("H.264: a unit runs over the end")
        out.append(Unit(payload[at] & 31, True, True, at, length))
        at += length
    if not out:
        raise WireError("H.264: an aggregate of nothing")
    return out


def keyframe(payload: Buffer) -> bool:
    """Whether a keyframe begins here: its parameter sets, or its first slice. False too for what cannot be read.

    A stream is to be entered at the parameter sets; an IDR slice counts because some send those only in the SDP.
    """
    kind = payload[0] & 31 if len(payload) else 0
    if 0 < kind < 24:
        return kind in (IDR, SPS)
    if kind == FU_A:
        return len(payload) > 1 and payload[1] & 0x80 != 0 and payload[1] & 31 in (IDR, SPS)
    try:
        found = units(payload)
    except WireError:
        return False
    return any(unit.start and unit.type in (IDR, SPS) for unit in found)
