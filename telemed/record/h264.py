"""H.264: NAL units from RTP payloads (RFC 6184), the picture's size, the MP4 configuration record."""

import struct

from telemed.record.frames import Bits

IDR, SPS, PPS = 5, 7, 8
STAP_A, FU_A = 24, 28
LEFT_OUT = {9, 12}  # delimiters and filler: MP4 has its own way


def begins(payload: bytes) -> bool:
    """Whether a packet surely is the first of a picture: it opens with a delimiter or a sequence parameter set.

    A slice of macroblock 0 may have had parameter sets before it.
    """
    kind = payload[0] & 31
    if kind == STAP_A and len(payload) > 3:
        kind = payload[3] & 31
    return kind in (SPS, 9)


def units(parts: list[bytes]) -> list[bytes]:
    """Raises ValueError where a fragment is missing or a length leads outside."""
    out: list[bytes] = []
    open_: list[bytes] = []
    for part in parts:
        kind = part[0] & 31
        if kind == FU_A:
            head = part[1]
            if bool(open_) == bool(head & 0x80):
                raise ValueError("fragments out of order")
            if head & 0x80:
                open_ = [bytes([part[0] & 0xE0 | head & 31])]
            open_.append(part[2:])
            if head & 0x40:
                out.append(b"".join(open_))
                open_ = []
            continue
        if open_:
            raise ValueError("a fragmented unit without an end")
        if kind == STAP_A:
            at = 1
            while at < len(part):
                length = int.from_bytes(part[at : at + 2], "big")
                if not length or at + 2 + length > len(part):
                    raise ValueError("an aggregated unit longer than its packet")
                out.append(part[at + 2 : at + 2 + length])
                at += 2 + length
        elif 1 <= kind <= 23:
            out.append(part)
        else:
            raise ValueError(f"packets of kind {kind} are not in mode 0 or 1")
    if open_:
        raise ValueError("a fragmented unit without an end")
    return [u for u in out if u[0] & 31 not in LEFT_OUT]


def prefixed(nals: list[bytes]) -> bytes:
    """Each with four bytes of length before it (ISO 14496-15)."""
    return b"".join([struct.pack(">I", len(u)) + u for u in nals])


def _plain(unit: bytes) -> bytes:
    """Without emulation prevention (7.3.1)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def set_id(unit: bytes) -> int:
    """The id within a parameter set."""
    if len(unit) > 4096:
        raise ValueError("no parameter set is that long")
    bits = Bits(_plain(unit[:16]))
    bits(8 if unit[0] & 31 == PPS else 32)
    return bits.ue()


def size(sps: bytes) -> tuple[int, int]:
    """Width and height in pixels (7.3.2.1.1). Raises IndexError."""
    bits = Bits(_plain(sps))
    bits(8)
    profile = bits(8)
    bits(16)
    bits.ue()
    chroma = 1
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.ue()
        if chroma == 3:
            bits(1)
        bits.ue()
        bits.ue()
        bits(1)
        if bits(1):
            for i in range(8 if chroma != 3 else 12):
                if bits(1):
                    _scaling(bits, 16 if i < 6 else 64)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 255)):
            bits.se()
    bits.ue()
    bits(1)
    width = (bits.ue() + 1) * 16
    rows = bits.ue() + 1
    frames_only = bits(1)
    if not frames_only:
        bits(1)
    height = rows * 16 * (2 - frames_only)
    bits(1)
    if bits(1):
        unit_x = 2 if chroma in (1, 2) else 1
        unit_y = (2 if chroma == 1 else 1) * (2 - frames_only)
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * unit_x
        height -= (top + bottom) * unit_y
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16):
        raise ValueError("no picture has that size")
    return width, height


def _scaling(bits: Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def config(sps: list[bytes], pps: list[bytes]) -> bytes:
    """AVCDecoderConfigurationRecord (ISO 14496-15 5.3.3.1)."""
    first = sps[-1]
    out = bytes([1, first[1], first[2], first[3], 0xFF, 0xE0 | len(sps[:31])])
    out += b"".join(struct.pack(">H", len(s)) + s for s in sps[:31])
    out += bytes([len(pps[:255])]) + b"".join(struct.pack(">H", len(p)) + p for p in pps[:255])
    if first[1] in (100, 110, 122, 144):
        out += b"\xfd\xf8\xf8\x00"  # 4:2:0, 8 bits: what WebRTC sends
    return out
