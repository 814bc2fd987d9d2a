"""VP9: the payload descriptor (RFC 9628 4.2), the frame header's start, superframes (VP9 bitstream, annex B)."""

from dataclasses import dataclass

from telemed.record.frames import Bits


@dataclass(frozen=True, slots=True)
class Descriptor:
    """length: bytes it takes. spatial: -1 where not told. size: of the highest layer, where the scalability structure tells it."""

    length: int
    start: bool
    spatial: int
    size: tuple[int, int] | None


def descriptor(payload: bytes) -> Descriptor:
    """Raises IndexError where it is cut."""
    flags, at, spatial, size = payload[0], 1, -1, None
    if flags & 0x80:  # I
        at += 2 if payload[at] & 0x80 else 1
    if flags & 0x20:  # L
        spatial = payload[at] >> 1 & 7
        at += 1 if flags & 0x10 else 2
    if flags & 0x50 == 0x50:  # P and F: up to three reference indices
        for _ in range(3):
            at += 1
            if not payload[at - 1] & 1:
                break
    if flags & 0x02:  # V
        structure = payload[at]
        at += 1
        if structure & 0x10:
            for _ in range((structure >> 5) + 1):
                size = payload[at] << 8 | payload[at + 1], payload[at + 2] << 8 | payload[at + 3]
                at += 4
        if structure & 0x08:
            at += 1
            for _ in range(payload[at - 1]):
                at += 1 + (payload[at] >> 2 & 3)
    return Descriptor(at, bool(flags & 0x08), spatial, size)


def key(frame: bytes) -> tuple[bool, int, int]:
    """(keyframe, width, height) from the uncompressed header (VP9 bitstream 6.2). Raises ValueError, IndexError."""
    bits = Bits(frame)
    if bits(2) != 2:
        raise ValueError("not a VP9 frame")
    profile = bits(1) | bits(1) << 1
    if profile == 3:
        bits(1)
    if bits(1) or bits(1):  # an existing frame shown, or not a keyframe
        return False, 0, 0
    bits(2)
    if bits(24) != 0x498342:
        raise ValueError("a VP9 keyframe without its sync code")
    if profile >= 2:
        bits(1)
    if bits(3) != 7:  # not RGB
        bits(1)
        if profile & 1:
            bits(3)
    elif profile & 1:
        bits(1)
    return True, bits(16) + 1, bits(16) + 1


def superframe(frames: list[bytes]) -> bytes:
    """The frames of one picture, with an index where there are several."""
    if len(frames) == 1:
        return frames[0]
    if len(frames) > 8:
        raise ValueError("more than eight frames in a picture")
    width = max(1, (max(map(len, frames)).bit_length() + 7) // 8)
    mark = bytes([0xC0 | width - 1 << 3 | len(frames) - 1])
    return b"".join(frames) + mark + b"".join(len(f).to_bytes(width, "little") for f in frames) + mark
