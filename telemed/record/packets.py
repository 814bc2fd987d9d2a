"""RTP packets back in order: a short wait for late ones, and a mark where one never came."""

from dataclasses import dataclass

from telemed.wire import rtp
from telemed.wire.errors import WireError

WAIT = 0.5  # seconds a missing packet may take; two resends at 200 ms round trip fit in
HELD = 512  # most packets waiting for a missing one
JUMP = 3000  # a sequence number farther off than this is a restart of the sender (RFC 3550 A.1, MAX_DROPOUT)


@dataclass(slots=True)
class Packet:
    """One RTP packet. sequence and timestamp as on the wire."""

    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes
    arrival: float  # seconds
    kind: int = 0  # payload type
    number: int = 0  # the sequence without wrap, set by Reorder; one more than the last where nothing is missing


def parse(data: bytes, arrival: float) -> Packet | None:
    """A packet of RFC 3550 5.1 without header extensions and padding; None where it is no RTP or carries nothing."""
    try:
        h = rtp.parse(data)
    except WireError:
        return None
    # An empty one (padding, sent to probe the link) is kept: its number is not missing.
    return Packet(h.sequence, h.timestamp, h.ssrc, h.marker, data[h.payload_offset : h.payload_end], arrival, h.payload_type)


class Reorder:
    """`push` gives packets in order, each once. A packet whose number is not the last one's plus one comes after a loss."""

    def __init__(self) -> None:
        self.late = self.lost = 0
        self._next = -1  # number awaited
        self._ssrc = -1
        self._held: dict[int, Packet] = {}

    def push(self, packet: Packet) -> list[Packet]:
        out: list[Packet] = []
        if packet.ssrc != self._ssrc:
            out = self.flush()
            self._ssrc = packet.ssrc
            # Whatever the old source sent last is not followed by this one: a number left out makes it a break.
            self._next = self._restart(packet)
        delta = (packet.sequence - self._next + 0x8000 & 0xFFFF) - 0x8000
        if abs(delta) > JUMP:
            out += self.flush()
            self._next = self._restart(packet)
            delta = 0
        if delta < 0:
            self.late += 1
            return out
        packet.number = self._next + delta
        if delta == 0 and not self._held:
            self._next += 1
            out.append(packet)
            return out
        self._held.setdefault(packet.number, packet)
        self._release(out)
        return out + self.expire(packet.arrival)

    def expire(self, now: float) -> list[Packet]:
        """What has waited long enough for a missing one."""
        out: list[Packet] = []
        while self._held and (len(self._held) > HELD or now - next(iter(self._held.values())).arrival > WAIT):  # insertion is by arrival
            self._skip(out)
        return out

    def _restart(self, packet: Packet) -> int:
        if self._next < 0:
            return packet.sequence + 0x10000  # room for a number below the first
        # The next number with the packet's sequence after one that nobody gets.
        return self._next + 1 + (packet.sequence - self._next - 1 & 0xFFFF)

    def _release(self, out: list[Packet]) -> None:
        while (packet := self._held.pop(self._next, None)) is not None:
            out.append(packet)
            self._next += 1

    def _skip(self, out: list[Packet]) -> None:
        first = min(self._held)
        self.lost += first - self._next
        self._next = first
        self._release(out)

    def flush(self) -> list[Packet]:
        """What still waits, at the end."""
        out: list[Packet] = []
        while self._held:
            self._skip(out)
        return out
