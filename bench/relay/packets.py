"""Packets that look like Opus and VP8 and can be told apart: each is numbered, stamped with its time and checked to the last byte."""

import random
import struct
import zlib
from typing import Final

AUDIO, VIDEO, RTX = 111, 96, 97  # payload types in every offer
MID_ID, TRANSPORT_ID, LEVEL_ID, RID_ID = 4, 5, 6, 7  # header extension ids in every offer
STAMP: Final = struct.Struct("!HHIIQ")  # magic, length of stamp and filler, stream, number, sent (monotonic ns)
MAGIC: Final = 0xB37C
SIZE: Final = STAMP.size + 4  # and a CRC-32 of the stamp and the filler
FILLER: Final = random.Random(1).randbytes(1 << 16)
AUDIO_BYTES: Final = 80  # 32 kbit/s in packets of 20 ms
VIDEO_BODY: Final = 1100


def put(out: bytearray, at: int, stream: int, number: int, sent: int, filler: int) -> int:
    """A stamp and `filler` bytes at `at`; the offset behind them."""
    end = at + SIZE + filler
    STAMP.pack_into(out, at, MAGIC, SIZE + filler, stream, number, sent)
    begin = (number * 7) & 0x7FFF
    body = FILLER[begin : begin + filler]
    out[at + SIZE : end] = body
    crc = zlib.crc32(body, zlib.crc32(memoryview(out)[at : at + STAMP.size]))
    out[at + STAMP.size : at + SIZE] = crc.to_bytes(4)
    return end


def check(data: bytearray, at: int, end: int) -> tuple[int, int, int] | None:
    """(stream, number, sent) of a stamp at `at` that fills the payload up to `end`; None when anything is not as it was sent."""
    if end - at < SIZE:
        return None
    magic, size, stream, number, sent = STAMP.unpack_from(data, at)
    if magic != MAGIC or size != end - at:
        return None
    view = memoryview(data)
    crc = zlib.crc32(view[at + SIZE : end], zlib.crc32(view[at : at + STAMP.size]))
    if crc != int.from_bytes(view[at + STAMP.size : at + SIZE]):
        return None
    return stream, number, sent


def vp8_head(picture: int, start: bool, key: bool, size: int, width: int) -> bytes:
    """A payload descriptor with a picture id of 15 bits (RFC 7741 4.2) and, where a frame starts, its header (RFC 6386 9.1)."""
    head = bytes((0x90 if start else 0x80, 0x80, 0x80 | picture >> 8 & 0x7F, picture & 0xFF))
    if not start:
        return head
    tag = size << 5 | 1 << 4 | (not key)
    head += bytes((tag & 255, tag >> 8 & 255, tag >> 16 & 255))
    if key:
        head += b"\x9d\x01\x2a" + width.to_bytes(2, "little") + (width * 3 // 4).to_bytes(2, "little")
    return head


def vp8_body(data: bytearray, at: int, end: int) -> tuple[int, bool, bool]:
    """(where the stamp begins, a frame starts, it is a keyframe) of a payload that `vp8_head` began and the relay may have rewritten."""
    if end - at < 8:
        return end, False, False
    first, i = data[at], at + 1
    if first & 0x80:
        more = data[i]
        i += 1
        if more & 0x80:
            i += 2 if data[i] & 0x80 else 1
        i += bool(more & 0x40) + bool(more & 0x30)
    if first & 0x17 != 0x10:
        return i, False, False
    key = not data[i] & 1
    return i + (10 if key else 3), True, key
