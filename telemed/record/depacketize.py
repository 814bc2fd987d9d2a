"""From RTP packets in order to whole frames, for each codec.

After a loss nothing is given out until a frame that needs nothing of what is missing: a still picture is honest, a smeared one is not.
"""

import struct
from typing import Protocol

from telemed.record import av1, h264, vp9
from telemed.record.frames import Frame
from telemed.record.packets import Packet

FRAME_MAX = 8 << 20  # bytes of one frame; more is no picture
PACKETS_MAX = 16_384  # of one frame
SETS_MAX = 64  # H.264 parameter sets kept; an encoder has a handful
ALL = 99  # every temporal layer can be decoded


class Depacketizer(Protocol):
    """Takes packets in order, marked by Packet.number where some are missing."""

    malformed: int
    dropped: int  # whole frames left out because what they are built on is missing

    @property
    def waiting(self) -> bool:
        """For a keyframe."""
        ...

    def push(self, packet: Packet) -> list[Frame]: ...


def depacketizer(codec: str) -> Depacketizer:
    """By the name in the SDP, in any case. Raises ValueError where it is none of ours."""
    kinds: dict[str, type[Opus | Red | Vp8 | Vp9 | H264 | Av1]] = {
        "opus": Opus,
        "red": Red,
        "vp8": Vp8,
        "vp9": Vp9,
        "h264": H264,
        "av1": Av1,
    }
    if codec.lower() not in kinds:
        raise ValueError(f"{codec} cannot be recorded")
    return kinds[codec.lower()]()


def samples(toc: bytes) -> int:
    """How long an Opus packet lasts at 48 kHz (RFC 6716 3.1)."""
    if not toc:
        return 0
    config, count = toc[0] >> 3, (1, 2, 2, 0)[toc[0] & 3]
    if count == 0:
        count = toc[1] & 63 if len(toc) > 1 else 0
    if config < 12:
        size = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        size = (480, 960)[config & 1]
    else:
        size = (120, 240, 480, 960)[config & 3]
    return size * count


class Opus:
    """RFC 7587: one packet is one frame, and each can be decoded."""

    waiting = False

    def __init__(self) -> None:
        self.malformed = self.dropped = 0
        self._number = -1

    def push(self, packet: Packet) -> list[Frame]:
        broken = self._number >= 0 and packet.number != self._number + 1
        self._number = packet.number
        if not packet.payload:
            return []
        return [Frame(packet.timestamp, packet.payload, True, packet.arrival, broken)]


class Red:
    """Opus within RFC 2198: what a lost packet held is taken from the following one's redundant blocks."""

    waiting = False

    def __init__(self) -> None:
        self.malformed = self.dropped = 0
        self._number = -1
        self._end = -1  # timestamp at which the last frame ends

    def push(self, packet: Packet) -> list[Frame]:
        lost = self._number >= 0 and packet.number != self._number + 1
        self._number = packet.number
        blocks, out = self._blocks(packet.payload), []
        if packet.payload and not blocks:
            self.malformed += 1
        for offset, data in blocks:
            timestamp = packet.timestamp - offset & 0xFFFFFFFF
            ahead = (timestamp - self._end + 0x80000000 & 0xFFFFFFFF) - 0x80000000 if self._end >= 0 else 0
            # A redundant block fills a hole; without one it was had already.
            if not data or (offset and (not lost or self._end < 0 or ahead < 0)):
                continue
            out.append(Frame(timestamp, data, True, packet.arrival, lost and ahead > 0))
            self._end = timestamp + samples(data) & 0xFFFFFFFF
            lost = lost and offset > 0
        return out

    @staticmethod
    def _blocks(payload: bytes) -> list[tuple[int, bytes]]:
        """(timestamp offset, data), oldest first."""
        heads, at = [], 0
        while at + 4 <= len(payload) and payload[at] & 0x80:
            word = int.from_bytes(payload[at + 1 : at + 4], "big")
            heads.append((word >> 10, word & 0x3FF))
            at += 4
        at += 1
        out = []
        for offset, length in heads:
            out.append((offset, payload[at : at + length]))
            at += length
        return [*out, (0, payload[at:])] if at < len(payload) else []


class Video:
    """Gathers the packets of one timestamp; what they mean is each codec's."""

    def __init__(self) -> None:
        self.malformed = self.dropped = 0
        self._number = -1
        self._parts: list[bytes] = []
        self._size = 0
        self._timestamp = -1
        self._arrival = 0.0
        self._skipping = True  # until a packet that surely begins a frame
        self._broken = False
        self._level = -1  # highest temporal layer that can be decoded

    @property
    def waiting(self) -> bool:
        return self._level < 0

    def push(self, packet: Packet) -> list[Frame]:
        out: list[Frame] = []
        if packet.number != self._number + 1:
            self._parts, self._size, self._skipping, self._level = [], 0, True, -1
            self._broken = self._broken or self._number >= 0
            self._timestamp = -1
        self._number = packet.number
        if not packet.payload:
            return out
        if packet.timestamp != self._timestamp:  # the one before ended without a marker
            if self._parts:
                self._close(out)
            elif self._timestamp >= 0:
                self._skipping = False
            self._timestamp, self._arrival = packet.timestamp, packet.arrival
        if self._skipping and self.begins(packet.payload):
            self._skipping = False
        if not self._skipping:
            self._parts.append(packet.payload)
            self._size += len(packet.payload)
        if packet.marker:
            if self._parts:
                self._close(out)
            self._skipping, self._timestamp = False, -1
        elif self._size > FRAME_MAX or len(self._parts) > PACKETS_MAX:
            self._parts, self._size, self._skipping, self._level = [], 0, True, -1
            self.malformed += 1
        return out

    def _close(self, out: list[Frame]) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        try:
            frame = self.assemble(parts)
        except (ValueError, IndexError, struct.error):
            frame = None
        if frame is None:
            self.malformed += 1
            self._level, self._broken = -1, True
            return
        if not frame.data:  # parameter sets alone
            return
        if frame.key:
            self._level = ALL
        if not self.decodable(frame):
            self.dropped += 1
            self._broken = True
            return
        frame.broken, self._broken = self._broken, False
        out.append(frame)

    def decodable(self, frame: Frame) -> bool:
        """Whether all that the frame is built on was given out."""
        return self._level >= 0

    def begins(self, payload: bytes) -> bool:
        """Whether this packet surely is the first of a frame."""
        raise NotImplementedError

    def assemble(self, parts: list[bytes]) -> Frame | None:
        """The frame (without data: nothing to show), None where a piece is missing. Raises ValueError, IndexError for what is no frame."""
        raise NotImplementedError


class Vp8(Video):
    """RFC 7741. Knows from TL0PICIDX when only a higher temporal layer lost a frame, and then goes on with the base layer."""

    def __init__(self) -> None:
        super().__init__()
        self._base = self._tl0 = self._tid = -1  # base: TL0PICIDX of the last base frame given out
        self._sync = False

    def begins(self, payload: bytes) -> bool:
        return payload[0] & 0x17 == 0x10

    @staticmethod
    def _descriptor(payload: bytes) -> tuple[int, int, int, bool]:
        """(bytes, TL0PICIDX, TID, layer sync), -1 where not told."""
        at, tl0, tid, sync = 1, -1, -1, False
        if payload[0] & 0x80:
            flags = payload[1]
            at = 2
            if flags & 0x80:
                at += 2 if payload[at] & 0x80 else 1
            if flags & 0x40:
                tl0 = payload[at]
                at += 1
            if flags & 0x30:
                if flags & 0x20:
                    tid, sync = payload[at] >> 6, bool(payload[at] & 0x20)
                at += 1
        return at, tl0, tid, sync

    def assemble(self, parts: list[bytes]) -> Frame | None:
        start, self._tl0, self._tid, self._sync = self._descriptor(parts[0])
        if not self.begins(parts[0]):
            return None
        data = parts[0][start:] + b"".join([p[self._descriptor(p)[0] :] for p in parts[1:]])
        if data[0] & 1:
            return Frame(self._timestamp, data, False, self._arrival)
        if data[3:6] != b"\x9d\x01\x2a":  # RFC 6386 9.1
            return None
        width, height = int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
        return Frame(self._timestamp, data, True, self._arrival, width=width, height=height)

    def decodable(self, frame: Frame) -> bool:
        if self._level < 0 and min(self._base, self._tl0, self._tid) >= 0:
            following = self._base + 1 & 0xFF if self._tid == 0 else self._base
            self._level = 0 if self._tl0 == following else -1
        if self._level < self._tid:
            if self._level < 0 or not self._sync:
                return False
            self._level = self._tid
        if self._level < 0:
            return False
        if frame.key or self._tid == 0:
            self._base = self._tl0
        return True


class Vp9(Video):
    """RFC 9628; the spatial layers of a picture become one superframe."""

    def begins(self, payload: bytes) -> bool:
        descriptor = vp9.descriptor(payload)
        return descriptor.start and descriptor.spatial <= 0

    def assemble(self, parts: list[bytes]) -> Frame | None:
        layers: list[list[bytes]] = []
        width = height = 0
        for part in parts:
            d = vp9.descriptor(part)
            if d.start:
                layers.append([])
            if not layers:
                return None
            layers[-1].append(part[d.length :])
            width, height = d.size or (width, height)
        frames = [b"".join(layer) for layer in layers]
        key, header_width, header_height = vp9.key(frames[0])
        return Frame(
            self._timestamp, vp9.superframe(frames), key, self._arrival, width=width or header_width, height=height or header_height
        )


class H264(Video):
    """RFC 6184, modes 0 and 1, into length-prefixed NAL units."""

    def __init__(self) -> None:
        super().__init__()
        self._sets: dict[tuple[int, int], bytes] = {}  # parameter sets by (type, id)

    def begins(self, payload: bytes) -> bool:
        return h264.begins(payload)

    def assemble(self, parts: list[bytes]) -> Frame | None:
        units = h264.units(parts)
        self._sets |= {(u[0] & 31, h264.set_id(u)): u for u in units if u[0] & 31 in (h264.SPS, h264.PPS)}
        if len(self._sets) > SETS_MAX:
            self._sets.clear()
            return None
        kinds = {u[0] & 31 for u in units}
        if not kinds & {1, 2, h264.IDR}:
            return Frame(self._timestamp, b"", False, self._arrival)
        if h264.IDR not in kinds:
            return Frame(self._timestamp, h264.prefixed(units), False, self._arrival)
        sps, pps = ([u for (kind, _), u in sorted(self._sets.items()) if kind == wanted] for wanted in (h264.SPS, h264.PPS))
        if not sps or not pps:
            return None
        width, height = h264.size(next((u for u in units if u[0] & 31 == h264.SPS), sps[-1]))
        # One can begin to watch at each keyframe, so all parameter sets go with it.
        data = h264.prefixed(sps + pps + [u for u in units if u[0] & 31 not in (h264.SPS, h264.PPS)])
        return Frame(self._timestamp, data, True, self._arrival, width=width, height=height, config=h264.config(sps, pps))


class Av1(Video):
    """The AV1 RTP payload format 1.0; temporal units without delimiters, each OBU with its size, as WebM and MP4 hold them."""

    def begins(self, payload: bytes) -> bool:
        return payload[0] & 0x88 == 0x08  # a new coded video sequence: the only certain start

    def assemble(self, parts: list[bytes]) -> Frame | None:
        units = av1.units(parts)
        if not units:
            return None
        data = b"".join(map(av1.sized, units))
        sequence = next((u for u in units if av1.kind(u) == av1.SEQUENCE), None)
        if sequence is None or not av1.key(units):
            return Frame(self._timestamp, data, False, self._arrival)
        width, height, config = av1.sequence(sequence)
        return Frame(self._timestamp, data, True, self._arrival, width=width, height=height, config=config)
