"""What a VP8 payload says of itself (RFC 7741 4.2): its descriptor with the place of each field that a relay rewrites, and keyframes."""

from dataclasses import dataclass

from telemed.wire import picture_id
from telemed.wire.buffer import Buffer
from telemed.wire.errors import WireError


@dataclass(slots=True)
class Descriptor:
    """Fields that are absent are -1; offsets count from the payload's first byte and are -1 with them."""

    start: bool  # the first packet of the frame
    keyframe: bool  # and of a keyframe
    non_reference: bool
    size: int  # of the descriptor
    picture_id: int = -1
    picture_id_bits: int = 0  # 7 or 15
    picture_id_offset: int = -1
    tl0: int = -1  # running index of base layer frames
    tl0_offset: int = -1
    tid: int = -1  # temporal layer
    layer_sync: bool = False  # depends on the base layer only: the place to go up to this layer
    keyidx: int = -1
    tid_offset: int = -1  # of the byte with tid (2 bits), layer sync (1) and keyidx (5)


def descriptor(payload: Buffer) -> Descriptor:
    """Raises WireError."""
    size = len(payload)
    if not size:
        raise WireError("VP8: empty")
    first = payload[0]
    at = 1
    out = Descriptor(bool(first & 0x10) and not first & 7, False, bool(first & 0x20), 1)
    try:
        if first & 0x80:
            flags = payload[1]
            at = 2
            if flags & 0x80:
                out.picture_id_offset = at
                out.picture_id, out.picture_id_bits, at = picture_id.read(payload, at)
            if flags & 0x40:
                out.tl0, out.tl0_offset = payload[at], at
                at += 1
            if flags & 0x30:
                value = payload[at]
                out.tid_offset = at
                if flags & 0x20:
                    out.tid, out.layer_sync = value >> 6, bool(value & 0x20)
                if flags & 0x10:
                    out.keyidx = value & 31
                at += 1
        out.keyframe = out.start and not payload[at] & 1
    except IndexError:
        raise WireError("VP8: the descriptor is longer than the payload") from None
    out.size = at
    return out


def picture(payload: Buffer) -> tuple[int, bool, int, int, int, int] | None:
    """What a relay rewrites of a packet: (temporal layer, layer sync, place of the picture id, its bits, picture id, TL0PICIDX).

    The index of base layer frames (TL0PICIDX) follows the picture id directly; it is -1 where there is none, the layer 0. None: there
    is no picture id, or the descriptor cannot be read. Quicker than `descriptor`, for every packet.
    """
    size = len(payload)
    if size < 3 or not payload[0] & 0x80:
        return None
    flags = payload[1]
    if not flags & 0x80:
        return None
    value = payload[2]
    at = 3
    bits = 7
    if value & 0x80:
        bits, at = 15, 4
    if size < at + 2:
        return None
    number = (value & 0x7F) << 8 | payload[3] if bits == 15 else value
    tl0 = -1
    if flags & 0x40:
        tl0 = payload[at]
        at += 1
    if flags & 0x20:
        value = payload[at]
        return value >> 6, bool(value & 0x20), 2, bits, number, tl0
    return 0, False, 2, bits, number, tl0


def keyframe(payload: Buffer) -> bool:
    """Whether a keyframe begins here; False too for what cannot be read."""
    if not len(payload) or payload[0] & 0x17 != 0x10:  # most packets: not the start of the first partition
        return False
    try:
        return descriptor(payload).keyframe
    except WireError:
        return False


def dimensions(payload: Buffer) -> tuple[int, int] | None:
    """Width and height in pixels, of the first packet of a keyframe (RFC 6386 9.1). Raises WireError."""
    found = descriptor(payload)
    at = found.size
    if not found.keyframe or len(payload) < at + 10 or bytes(payload[at + 3 : at + 6]) != b"\x9d\x01\x2a":
        return None
    return (payload[at + 6] | payload[at + 7] << 8) & 0x3FFF, (payload[at + 8] | payload[at + 9] << 8) & 0x3FFF
