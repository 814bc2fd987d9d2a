"""RTCP packets (RFC 3550 6, RFC 4585, RFC 5104, REMB and transport-wide feedback drafts), parsed and built."""

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from telemed.wire.errors import WireError

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
MAX_PACKETS: Final = 64
MAX_STATUSES: Final = 8192
_BLOCK = struct.Struct("!IIIIII")
_TRANSPORT = struct.Struct("!IIHH")


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


@dataclass(slots=True)
class ReportBlock:
    ssrc: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    lsr: int
    dlsr: int

    def build(self) -> bytes:
        return _BLOCK.pack(self.ssrc, (self.fraction << 24) | (self.lost & 0xFFFFFF), self.highest, self.jitter, self.lsr, self.dlsr)


@dataclass(slots=True)
class SenderReport:
    ssrc: int
    ntp: int
    rtp: int
    packets: int
    octets: int
    blocks: list[ReportBlock] = field(default_factory=list)

    def build(self) -> bytes:
        head = struct.pack("!IQIII", self.ssrc, self.ntp, self.rtp, self.packets, self.octets)
        return _packet(SR, len(self.blocks), head + b"".join(b.build() for b in self.blocks))


@dataclass(slots=True)
class ReceiverReport:
    ssrc: int
    blocks: list[ReportBlock] = field(default_factory=list)

    def build(self) -> bytes:
        return _packet(RR, len(self.blocks), struct.pack("!I", self.ssrc) + b"".join(b.build() for b in self.blocks))


@dataclass(slots=True)
class Sdes:
    chunks: list[tuple[int, str]]

    def build(self) -> bytes:
        out = b""
        for ssrc, cname in self.chunks:
            item = struct.pack("!IBB", ssrc, 1, len(cname.encode())) + cname.encode()
            out += item + bytes(4 - len(item) % 4)
        return _packet(SDES, len(self.chunks), out)


@dataclass(slots=True)
class Bye:
    ssrcs: list[int]

    def build(self) -> bytes:
        return _packet(BYE, len(self.ssrcs), struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs))


@dataclass(slots=True)
class Nack:
    sender: int
    media: int
    sequences: list[int]

    def build(self) -> bytes:
        out = struct.pack("!II", self.sender, self.media)
        rest = list(self.sequences)
        while rest:
            first = rest.pop(0)
            mask = 0
            while rest and 1 <= (rest[0] - first) & 0xFFFF <= 16:
                mask |= 1 << (((rest.pop(0) - first) & 0xFFFF) - 1)
            out += struct.pack("!HH", first, mask)
        return _packet(RTPFB, 1, out)


@dataclass(slots=True)
class Pli:
    sender: int
    media: int

    def build(self) -> bytes:
        return _packet(PSFB, 1, struct.pack("!II", self.sender, self.media))


@dataclass(slots=True)
class Fir:
    sender: int
    entries: list[tuple[int, int]]

    def build(self) -> bytes:
        return _packet(PSFB, 4, struct.pack("!II", self.sender, 0) + b"".join(struct.pack("!IBxxx", s, n) for s, n in self.entries))


@dataclass(slots=True)
class Remb:
    sender: int
    bitrate: int
    ssrcs: list[int]

    def build(self) -> bytes:
        exponent = max(0, self.bitrate.bit_length() - 18)
        value = (exponent << 18) | (self.bitrate >> exponent)
        head = struct.pack("!II4sI", self.sender, 0, b"REMB", (len(self.ssrcs) << 24) | value)
        return _packet(PSFB, 15, head + struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs))


@dataclass(slots=True)
class RawFeedback:
    """Transport-wide feedback that was not read yet: what follows the common header (`transport`)."""

    body: bytes


@dataclass(slots=True)
class TransportFeedback:
    sender: int
    media: int
    base: int
    reference_time: int
    count: int
    arrivals: list[tuple[int, int | None]]


Packet = SenderReport | ReceiverReport | Sdes | Bye | Nack | Pli | Fir | Remb | RawFeedback | TransportFeedback


def compound(*packets: Packet) -> bytes:
    return b"".join(p.build() for p in packets)  # type: ignore[union-attr]


def parse(data: bytes, raw: bool = False) -> list[Packet]:
    """The packets of a datagram. `raw`: transport-wide feedback is left as it is. Raises WireError."""
    out: list[Packet] = []
    at = statuses = 0
    for _ in range(MAX_PACKETS):
        if at == len(data):
            return out
        if at + 4 > len(data) or data[at] >> 6 != 2:
            raise WireError("RTCP: no header")
        count, kind = data[at] & 31, data[at + 1]
        size = 4 * ((data[at + 2] << 8 | data[at + 3]) + 1)
        if at + size > len(data):
            raise WireError("RTCP: cut off")
        body = data[at + 4 : at + size]
        if data[at] & 32:
            if not body or not 0 < body[-1] <= len(body):
                raise WireError("RTCP: padding")
            body = body[: -body[-1]]
        at += size
        if kind == RTPFB and count == 15 and len(body) >= 12:
            # Of the whole datagram: run lengths make a few bytes into thousands of records.
            statuses += body[10] << 8 | body[11]
            if statuses > MAX_STATUSES:
                raise WireError("RTCP: too many statuses")
        try:
            found = RawFeedback(body) if raw and kind == RTPFB and count == 15 else _one(kind, count, body)
        except (struct.error, IndexError):
            raise WireError(f"RTCP: packet of type {kind} cut off") from None
        if found is not None:
            out.append(found)
    raise WireError("RTCP: too many packets")


def feedback_alone(data: bytes) -> bytes | None:
    """`RawFeedback.body` where a datagram is transport-wide feedback and nothing else; None: anything else, which is for `parse`."""
    if len(data) < 12 or data[0] & 0xDF != 0x8F or data[1] != RTPFB or len(data) != 4 * ((data[2] << 8 | data[3]) + 1):
        return None
    if not data[0] & 32:
        return data[4:]
    return data[4 : -data[-1]] if 0 < data[-1] <= len(data) - 4 else None


def quiet(data: bytes) -> bytes | None:
    """Of a datagram of reports that tell of no loss, and names: what it is and about whom, to know the next one by; None: it is another.

    step_quiet of feedback.c, and keep of step.c.
    """
    at, size = 0, len(data)
    while at < size:
        if size - at < 8 or data[at] >> 5 != 4:  # version 2, and no padding
            return None
        kind, length = data[at + 1], 4 * ((data[at + 2] << 8 | data[at + 3]) + 1)
        if not SR <= kind <= SDES or length > size - at:
            return None
        if kind != SDES:
            head = 28 if kind == SR else 8
            if length != head + 24 * (data[at] & 31) or any(data[at + head + 4 : at + length : 24]):
                return None
        at += length
    if not size:
        return None
    head = 28 if data[1] == SR else 8
    return bytes((data[0] & 31, data[1])) + data[4:8] + (data[head : head + 4] if data[0] & 31 else b"")


def _blocks(count: int, body: bytes, at: int) -> list[ReportBlock]:
    out = []
    for n in range(count):
        ssrc, lost, highest, jitter, lsr, dlsr = _BLOCK.unpack_from(body, at + 24 * n)
        cumulative = lost & 0xFFFFFF
        cumulative -= (cumulative & 0x800000) << 1
        out.append(ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, lsr, dlsr))
    return out


def _one(kind: int, count: int, body: bytes) -> Packet | None:
    if kind == SR:
        ssrc, ntp, rtp, packets, octets = struct.unpack_from("!IQIII", body)
        return SenderReport(ssrc, ntp, rtp, packets, octets, _blocks(count, body, 24))
    if kind == RR:
        return ReceiverReport(struct.unpack_from("!I", body)[0], _blocks(count, body, 4))
    if kind == BYE:
        return Bye(list(struct.unpack_from(f"!{count}I", body)))
    if kind == RTPFB and count == 1:
        sender, media = struct.unpack_from("!II", body)
        sequences = []
        for at in range(8, len(body) - 3, 4):
            first, mask = struct.unpack_from("!HH", body, at)
            sequences.append(first)
            sequences += [(first + n + 1) & 0xFFFF for n in range(16) if mask >> n & 1]
        return Nack(sender, media, sequences)
    if kind == RTPFB and count == 15:
        return transport(body)
    if kind == PSFB and count == 1:
        return Pli(*struct.unpack_from("!II", body))
    if kind == PSFB and count == 4:
        return Fir(struct.unpack_from("!I", body)[0], [struct.unpack_from("!IB", body, at) for at in range(8, len(body) - 7, 8)])
    if kind == PSFB and count == 15 and body[8:12] == b"REMB":
        n = body[12]
        value = int.from_bytes(body[13:16])
        return Remb(struct.unpack_from("!I", body)[0], (value & 0x3FFFF) << (value >> 18), list(struct.unpack_from(f"!{n}I", body, 16)))
    return None


def transport(body: bytes) -> TransportFeedback:
    """Transport-wide feedback, from its sender's SSRC on. Raises WireError."""
    told, at = statuses(body)
    sender, media, base, count = _TRANSPORT.unpack_from(body)
    time = reference_us(body)
    arrivals: list[tuple[int, int | None]] = []
    sequence = base
    for status in told:
        if status == 1:
            time += body[at] * 250
            at += 1
            arrivals.append((sequence, time))
        elif status == 2:
            delta = body[at] << 8 | body[at + 1]
            time += (delta - 0x10000 if delta & 0x8000 else delta) * 250
            at += 2
            arrivals.append((sequence, time))
        else:
            arrivals.append((sequence, None))
        sequence = (sequence + 1) & 0xFFFF
    return TransportFeedback(sender, media, base, int.from_bytes(body[12:15]), count, arrivals)


def reference_us(body: bytes) -> int:
    """Of transport-wide feedback the reference time (3.1), us of the receiver's clock: a signed number of 64 ms."""
    return int.from_bytes(body[12:15], signed=True) * 64_000


def statuses(body: bytes) -> tuple[bytes, int]:
    """Of transport-wide feedback a status for each packet (1: came, 2: came with a long delta, else lost), and where its deltas begin.

    All of them are there. Raises WireError.
    """
    if len(body) < 16:
        raise WireError("RTCP: feedback cut off")
    count = body[10] << 8 | body[11]
    if count > MAX_STATUSES:
        raise WireError("RTCP: too many statuses")
    at, told = 16, b""
    while len(told) < count:
        if at + 2 > len(body):
            raise WireError("RTCP: feedback cut off")
        chunk = body[at] << 8 | body[at + 1]
        told += _vector(chunk) if chunk & 0x8000 else bytes(((chunk >> 13) & 3,)) * min(chunk & 0x1FFF, count - len(told))
        at += 2
    told = told[:count]
    if at + told.count(1) + 2 * told.count(2) > len(body):
        raise WireError("RTCP: feedback cut off")
    return told, at


@lru_cache(maxsize=4096)  # receivers say a few hundred things again and again
def _vector(chunk: int) -> bytes:
    """The statuses of a status vector chunk (3.1.4)."""
    if chunk & 0x4000:
        return bytes((chunk >> shift) & 3 for shift in (12, 10, 8, 6, 4, 2, 0))
    return bytes((chunk >> shift) & 1 for shift in range(13, -1, -1))
