"""What is published: numbered sound and pictures at a steady rate, resent when asked for, keyframes on request."""

import random
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Final

from bench.relay import packets
from bench.relay.transport import OUT, Transport
from telemed.wire import rtcp
from telemed.wire.errors import WireError

CACHE: Final = 1024
KEY_SECONDS: Final = 3.0  # between keyframes that nobody asked for
KEY_TIMES: Final = 3  # a keyframe's size, in other frames
PLI_SECONDS: Final = 0.5  # between keyframes that were asked for
_PLAIN = struct.Struct("!BBHII")
NTP_EPOCH: Final = 2_208_988_800


@dataclass(frozen=True, slots=True)
class Shape:
    """One video stream: layers of simulcast have a rid."""

    kbps: int
    fps: int = 30
    width: int = 640
    rid: str = ""


@dataclass(slots=True)
class Window:
    """The measured interval; packets belong to it by the time they were sent (monotonic ns)."""

    begin: int = 0
    end: int = 0


@dataclass(eq=False)
class Source:
    """One RTP stream. `id` travels in every packet."""

    id: int
    video: Shape | None
    window: Window
    mid: str
    ssrc: int = 0
    rtx_ssrc: int = 0
    number: int = 0
    sent: int = 0  # packets inside the window
    plis: int = 0
    resent: int = 0
    due: float = 0.0
    key: bool = True
    picture: int = 0
    frames: int = 0
    octets: int = 0
    last_key: float = 0.0
    rtx_sequence: int = 0
    first: int = 0  # RTP sequence number of packet 0
    stamp: int = 0  # RTP time of frame 0
    cache: list[bytes] = field(default_factory=lambda: [b""] * CACHE)

    @property
    def step(self) -> float:
        return 1 / self.video.fps if self.video else 0.02

    @property
    def clock(self) -> int:
        return 90000 if self.video else 48000

    def rtp_time(self) -> int:
        return (self.stamp + round(self.frames * self.step * self.clock)) & 0xFFFFFFFF


class Publisher:
    """Sound and one or more layers of video over one transport."""

    def __init__(self, certificate: Any, room: int, shapes: list[Shape], window: Window, rnd: random.Random) -> None:
        self.transport = Transport(certificate, lambda data, size: None, self._rtcp)
        self.transport_sequence = 0
        self.sources = [Source(room * 16, None, window, "0")]
        self.sources += [Source(room * 16 + n + 1, shape, window, "1") for n, shape in enumerate(shapes)]
        for source in self.sources:
            source.ssrc, source.rtx_ssrc = rnd.randrange(1, 1 << 32), rnd.randrange(1, 1 << 32)
            source.first, source.stamp = rnd.randrange(1 << 15), rnd.randrange(1 << 32)
            source.due = rnd.random() * source.step
            source.picture = rnd.randrange(1 << 15)
        self.by_ssrc = {s.ssrc: s for s in self.sources}
        self.report_at = rnd.random()

    def frame(self, source: Source) -> None:
        """Send what is due: one packet of sound or one frame."""
        if source.video is None:
            self._packet(source, b"\xfc", packets.AUDIO_BYTES - 1 - packets.SIZE, True)
        else:
            self._picture(source, source.video)
        source.frames += 1

    def _picture(self, source: Source, shape: Shape) -> None:
        every = round(KEY_SECONDS * shape.fps)
        now = time.monotonic()
        key = source.frames % every == 0 or (source.key and now - source.last_key > PLI_SECONDS)
        size = shape.kbps * 125 * every // (every + KEY_TIMES - 1) // shape.fps
        if key:
            size, source.key, source.last_key = size * KEY_TIMES, False, now
        source.picture = (source.picture + 1) & 0x7FFF
        parts = -(-size // packets.VIDEO_BODY)
        for part in range(parts):
            head = packets.vp8_head(source.picture, part == 0, key, size, shape.width)
            self._packet(source, head, max(0, size // parts - len(head) - packets.SIZE), part == parts - 1)

    def _packet(self, source: Source, head: bytes, filler: int, marker: bool) -> None:
        kind = packets.VIDEO if source.video else packets.AUDIO
        number = source.number
        sequence = (source.first + number) & 0xFFFF
        at = self._header(source, kind, marker, sequence, source.ssrc, source.video is not None and bool(source.video.rid), False)
        begin = at
        OUT[at : at + len(head)] = head
        sent = time.monotonic_ns()
        end = packets.put(OUT, at + len(head), source.id, number, sent, filler)
        source.cache[sequence % CACHE] = _PLAIN.pack(0, marker, sequence, source.rtp_time(), 0) + OUT[begin:end]
        self.transport.send_rtp(end)
        source.number += 1
        source.octets += end - begin
        if source.window.begin <= sent < source.window.end:
            source.sent += 1

    def _header(self, source: Source, kind: int, marker: bool, sequence: int, ssrc: int, rid: bool, rtx: bool) -> int:
        """RTP header and extensions into OUT; where the payload begins."""
        _PLAIN.pack_into(OUT, 0, 0x90, marker << 7 | kind, sequence, source.rtp_time(), ssrc)
        counter = self.transport_sequence = (self.transport_sequence + 1) & 0xFFFF
        block = bytes((packets.TRANSPORT_ID << 4 | 1, counter >> 8, counter & 255))
        if source.video is None:
            block += bytes((packets.LEVEL_ID << 4, 0x80 | 30))
        if rid and source.video is not None:
            number = packets.RID_ID + (1 if rtx else 0)
            block += bytes((packets.MID_ID << 4, ord(source.mid), number << 4)) + source.video.rid[:1].encode()
        block += bytes(-len(block) % 4)
        OUT[12:16] = b"\xbe\xde" + (len(block) // 4).to_bytes(2)
        OUT[16 : 16 + len(block)] = block
        return 16 + len(block)

    def _rtcp(self, data: bytes) -> None:
        try:
            found = rtcp.parse(data)
        except WireError:
            return
        for packet in found:
            if isinstance(packet, rtcp.Nack):
                source = self.by_ssrc.get(packet.media)
                if source is not None:
                    for sequence in packet.sequences:
                        self._again(source, sequence)
            elif isinstance(packet, rtcp.Pli | rtcp.Fir):
                wanted = [packet.media] if isinstance(packet, rtcp.Pli) else [ssrc for ssrc, _ in packet.entries]
                for ssrc in wanted:
                    if (source := self.by_ssrc.get(ssrc)) is not None:
                        source.plis += 1
                        source.key = True

    def _again(self, source: Source, sequence: int) -> None:
        """Resend: video by RTX (RFC 4588), sound as it was."""
        kept = source.cache[sequence % CACHE]
        if not kept:
            return
        _, marker, number, stamp, _ = _PLAIN.unpack_from(kept)
        if number != sequence:
            return
        source.resent += 1
        rid = source.video is not None and bool(source.video.rid)
        if source.video is None:
            at = self._header(source, packets.AUDIO, bool(marker), sequence, source.ssrc, False, False)
        else:
            source.rtx_sequence = (source.rtx_sequence + 1) & 0xFFFF
            at = self._header(source, packets.RTX, bool(marker), source.rtx_sequence, source.rtx_ssrc, rid, True)
            OUT[at : at + 2] = sequence.to_bytes(2)
            at += 2
        OUT[4:8] = stamp.to_bytes(4)
        OUT[at : at + len(kept) - 12] = kept[12:]
        self.transport.send_rtp(at + len(kept) - 12)

    def report(self) -> None:
        """Sender reports (RFC 3550 6.4.1), each second."""
        now = time.time() + NTP_EPOCH
        ntp = int(now) << 32 | int(now % 1 * (1 << 32))
        for source in self.sources:
            if source.number:
                report = rtcp.SenderReport(source.ssrc, ntp, source.rtp_time(), source.number, source.octets, [])
                self.transport.send_rtcp(report.build() + rtcp.Sdes([(source.ssrc, "bench")]).build())
