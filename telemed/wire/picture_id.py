"""The picture id of a VP8 or VP9 payload: 7 bits, or 15 with the first bit set (RFC 7741 4.2, RFC 9628 4.2)."""

from telemed.wire.buffer import Buffer


def read(payload: Buffer, at: int) -> tuple[int, int, int]:
    """(number, its bits, place after it). Raises IndexError when the payload ends before."""
    value = payload[at]
    if value & 0x80:
        return (value & 0x7F) << 8 | payload[at + 1], 15, at + 2
    return value, 7, at + 1
