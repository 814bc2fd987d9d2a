"""Redundant audio (RFC 2198): where the newest block lies in a packet."""

from telemed.wire.buffer import Buffer


def primary(payload: Buffer) -> tuple[int, int] | None:
    """(payload type, place) of the primary block, the last; None when it is empty or the packet cannot be read.

    Each earlier block has a header of four bytes that says how long it is; the last has one byte, and takes the rest.
    """
    size, at, before = len(payload), 0, 0
    while at < size and payload[at] & 0x80:
        if at + 4 > size:
            return None
        before += (payload[at + 2] & 3) << 8 | payload[at + 3]
        at += 4
    if at + 1 + before >= size:
        return None
    return payload[at], at + 1 + before
