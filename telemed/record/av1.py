"""AV1: OBUs from RTP payloads (AV1 RTP 1.0, 4.4), the sequence header, the configuration record of WebM and MP4."""

from telemed.record.frames import Bits

SEQUENCE, DELIMITER, FRAME_HEADER, FRAME, TILES, PADDING = 1, 2, 3, 6, 8, 15


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends). Raises IndexError, ValueError."""
    value = 0
    for i in range(8):
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise ValueError("a length of more than eight bytes")


def written(value: int) -> bytes:
    """The other way."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def kind(unit: bytes) -> int:
    return unit[0] >> 3 & 15


def units(parts: list[bytes]) -> list[bytes]:
    """The OBUs of a temporal unit, as they were sent, without delimiters, tile lists and padding. Raises ValueError, IndexError."""
    out: list[list[bytes]] = []  # the fragments of each
    more = False
    for part in parts:
        continues, following, count = bool(part[0] & 0x80), bool(part[0] & 0x40), part[0] >> 4 & 3
        if continues != more:
            raise ValueError("a fragment without its beginning or its end")
        at, n = 1, 0
        while at < len(part):
            n += 1
            if count and n == count:
                end = len(part)
            else:
                length, at = leb128(part, at)
                end = at + length
                if end > len(part):
                    raise ValueError("an OBU longer than its packet")
            if n == 1 and continues:
                out[-1].append(part[at:end])
            else:
                out.append([part[at:end]])
            at = end
        if count and n != count:
            raise ValueError("fewer OBUs than announced")
        more = following
    if more:
        raise ValueError("an OBU without an end")
    return [u for u in map(b"".join, out) if u and kind(u) not in (DELIMITER, TILES, PADDING)]


def _split(unit: bytes) -> tuple[bytes, bytes]:
    """(header without size, payload)."""
    at = 2 if unit[0] & 4 else 1
    head = bytes([unit[0] & 0xFD]) + unit[1:at]
    if unit[0] & 2:
        length, at = leb128(unit, at)
        return head, unit[at : at + length]
    return head, unit[at:]


def sized(unit: bytes) -> bytes:
    """With its size field."""
    head, payload = _split(unit)
    return bytes([head[0] | 2]) + head[1:] + written(len(payload)) + payload


def key(sent: list[bytes]) -> bool:
    """Whether the first frame is a keyframe that is shown or can be (5.9.2: not an existing one, type KEY_FRAME)."""
    first = next((u for u in sent if kind(u) in (FRAME, FRAME_HEADER)), None)
    return first is not None and _split(first)[1][0] >> 5 == 0


def sequence(unit: bytes) -> tuple[int, int, bytes]:
    """(width, height, av1C) of a sequence header (AV1 5.5). Raises IndexError."""
    bits = Bits(_split(unit)[1])
    profile = bits(3)
    bits(1)
    level, tier, decoder_model, delay_bits = 0, 0, False, 0
    if bits(1):  # reduced still picture header
        level = bits(5)
    else:
        if bits(1):  # timing_info
            bits(64)
            if bits(1):
                bits.uvlc()
            decoder_model = bool(bits(1))
            if decoder_model:
                delay_bits = bits(5) + 1
                bits(42)
        display = bits(1)
        for i in range(bits(5) + 1):
            bits(12)
            this_level = bits(5)
            this_tier = bits(1) if this_level > 7 else 0
            if i == 0:
                level, tier = this_level, this_tier
            if decoder_model and bits(1):
                bits(2 * delay_bits + 1)
            if display and bits(1):
                bits(4)
    width_bits, height_bits = bits(4) + 1, bits(4) + 1
    width, height = bits(width_bits) + 1, bits(height_bits) + 1
    reduced = unit_reduced(unit)
    if not reduced and bits(1):
        bits(7)
    bits(3)
    if not reduced:
        bits(4)
        order_hint = bits(1)
        if order_hint:
            bits(2)
        screen = 2 if bits(1) else bits(1)
        if screen > 0 and not bits(1):
            bits(1)
        if order_hint:
            bits(3)
    bits(3)
    high = bits(1)
    twelve = bits(1) if profile == 2 and high else 0
    mono = bits(1) if profile != 1 else 0
    primaries, transfer, matrix = (bits(8), bits(8), bits(8)) if bits(1) else (2, 2, 2)
    x = y = 1
    position = 0
    if mono:
        bits(1)
    elif (primaries, transfer, matrix) == (1, 13, 0):
        x = y = 0
    else:
        bits(1)
        if profile == 1:
            x = y = 0
        elif profile == 2:
            x = bits(1) if twelve else 1
            y = (bits(1) if x else 0) if twelve else 0
        if x and y:
            position = bits(2)
    flags = tier << 7 | high << 6 | twelve << 5 | mono << 4 | x << 3 | y << 2 | position
    return width, height, bytes([0x81, profile << 5 | level, flags, 0]) + sized(unit)


def unit_reduced(unit: bytes) -> bool:
    """Whether a sequence header is that of a single still picture."""
    return bool(_split(unit)[1][0] & 8)
