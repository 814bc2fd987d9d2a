"""Who receives: every packet is checked against what was sent; gaps are asked for, feedback is given as a browser gives it."""

import random
import time
from array import array
from typing import Any, Final

from bench.relay import packets
from bench.relay.sources import Window
from bench.relay.transport import Transport
from telemed.relay.twcc import FeedbackBuilder
from telemed.wire import rtcp

NACK_TRIES: Final = 10
NACK_SECONDS: Final = 0.04  # between two requests for the same packet, or somewhat more than the round trip
FEEDBACK_SECONDS: Final = 0.1
SENDER: Final = 1


class Track:
    """One SSRC as it arrives."""

    __slots__ = (
        "clock", "cycles", "first", "highest", "jitter", "lost_before", "missing", "packets", "received_before", "ssrc", "transit", "video",
    )  # fmt: skip

    def __init__(self, ssrc: int, video: bool, sequence: int) -> None:
        self.ssrc, self.video, self.highest, self.first = ssrc, video, sequence, sequence
        self.clock = 90000 if video else 48000
        self.cycles = self.packets = 0
        self.missing: dict[int, tuple[float, int]] = {}  # sequence -> (when it is asked for next, tries)
        self.jitter = self.transit = 0.0
        self.lost_before = self.received_before = 0


class Got:
    """One stream of a publisher, as one watcher received it."""

    __slots__ = ("breaks", "delays", "duplicates", "gap", "gaps", "last", "late", "offset", "rtx", "seen", "top")

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.delays = array("L")  # us
        self.rtx = self.late = self.duplicates = self.breaks = self.gaps = 0
        self.gap = 0.0  # longest silence, s
        self.last = 0.0
        self.top = -1
        self.offset: int | None = None


class Watcher:
    """`wanted`: ids of the streams it may see. `loss`: share of RTP packets dropped on arrival."""

    def __init__(
        self, certificate: Any, wanted: set[int], window: Window, loss: float = 0.0, seed: str = "1", nack_audio: bool = True
    ) -> None:
        self.transport = Transport(certificate, self._rtp, lambda data: None)
        self.wanted, self.window, self.loss, self._random = wanted, window, loss, random.Random(seed)
        self._nack_audio = nack_audio
        self.tracks: dict[int, Track] = {}
        self.got: dict[int, Got] = {}
        self.corrupt = self.strays = self.dropped = self.packets = 0
        self.first_frame = 0.0  # monotonic s of the first whole keyframe
        self.arrived: list[tuple[float, int]] = []  # (monotonic s, stream id) of video, when `trace` is on
        self.heard: list[float] = []  # monotonic s of each packet of sound, when `trace` is on
        self.trace = False
        self.sound_back = self.video_back = 0.0  # first arrival since they were set to 0
        self._key_started = False
        self._builder = FeedbackBuilder()
        self.gaps: set[Track] = set()
        self.feedback_at = self._random.random() * FEEDBACK_SECONDS
        self.report_at = self._random.random()
        self.round_trip = 0.0

    def lose(self) -> bool:
        """Whether the next packet is lost on its last stretch."""
        lost = self._random.random() < self.loss
        self.dropped += lost
        return lost

    def _rtp(self, data: bytearray, size: int) -> None:
        now = time.monotonic()
        kind = data[1] & 127
        sequence = data[2] << 8 | data[3]
        ssrc = int.from_bytes(data[8:12])
        at = 12 + ((data[0] & 15) << 2)
        if data[0] & 16:
            end = at + 4 + ((data[at + 2] << 8 | data[at + 3]) << 2)
            if data[at] == 0xBE:
                i = at + 4
                while i < end:
                    element = data[i]
                    if element >> 4 == packets.TRANSPORT_ID:
                        self._builder.record(data[i + 1] << 8 | data[i + 2], int(now * 1e6))
                        break
                    i += 1 if element == 0 else 2 + (element & 15)
            at = end
        if data[0] & 32:
            size -= data[size - 1]
        if size <= at:
            return
        rtx = kind == packets.RTX
        if rtx:
            original = data[at] << 8 | data[at + 1]
            at += 2
            for track in self.tracks.values():
                if track.video and track.missing.pop(original, None):
                    break
        else:
            self._follow(ssrc, kind == packets.VIDEO, sequence, int.from_bytes(data[4:8]), now)
        start = key = False
        if kind == packets.AUDIO:
            at += 1
        else:
            at, start, key = packets.vp8_body(data, at, size)
        stamp = packets.check(data, at, size)
        if stamp is None:
            self.corrupt += 1
            return
        stream, number, sent = stamp
        if stream not in self.wanted:
            self.strays += 1
            return
        self._count(stream, number, sent, sequence, rtx, kind == packets.AUDIO, now)
        if kind != packets.AUDIO and not self.first_frame:
            self._key_started = key if start else self._key_started
            if data[1] & 128 and self._key_started:
                self.first_frame = now

    def _count(self, stream: int, number: int, sent: int, sequence: int, rtx: bool, audio: bool, now: float) -> None:
        got = self.got.get(stream)
        if got is None:
            got = self.got[stream] = Got()
        self.packets += 1
        if audio:
            self.sound_back = self.sound_back or now
            if self.trace:
                self.heard.append(now)
        else:
            self.video_back = self.video_back or now
            if self.trace:
                self.arrived.append((now, stream))
        window = self.window
        # Silence counts by when packets arrive: what was sent in the stretch still comes, resent, after its end.
        if window.begin <= now * 1e9 < window.end:
            if got.last:
                silence = now - got.last
                if silence > got.gap:
                    got.gap = silence
                if silence > 0.2:
                    got.gaps += 1
            got.last = now
        if window.begin <= sent < window.end:
            if number in got.seen:
                got.duplicates += 1
                return
            got.seen.add(number)
            got.delays.append((time.monotonic_ns() - sent) // 1000)
            if rtx:
                got.rtx += 1
            else:
                if number < got.top:
                    got.late += 1
                offset = (sequence - number) & 0xFFFF
                if got.offset is not None and offset != got.offset:
                    got.breaks += 1
                got.offset = offset
        if number > got.top:
            got.top = number

    def _follow(self, ssrc: int, video: bool, sequence: int, stamp: int, now: float) -> None:
        """Loss and jitter of what arrives (RFC 3550 A.1, A.8)."""
        track = self.tracks.get(ssrc)
        if track is None:
            track = self.tracks[ssrc] = Track(ssrc, video, sequence)
            track.packets = 1
            return
        track.packets += 1
        ahead = (sequence - track.highest) & 0xFFFF
        if ahead == 0:
            return
        if ahead < 0x8000:
            if sequence < track.highest:
                track.cycles += 1
            if 1 < ahead < 500 and (video or self._nack_audio):
                for lost in range(1, ahead):
                    track.missing[(track.highest + lost) & 0xFFFF] = (now, 0)
                self.gaps.add(track)
            track.highest = sequence
            transit = now * track.clock - stamp
            change = abs(transit - track.transit)
            track.transit = transit
            if change < 900_000:
                track.jitter += (change - track.jitter) / 16
        else:
            track.missing.pop(sequence, None)

    def tick(self, now: float) -> None:
        """Each 20 ms or so."""
        if self.gaps:
            self._ask(now)
        if now >= self.feedback_at:
            self.feedback_at = now + FEEDBACK_SECONDS
            self._feedback()
        if now >= self.report_at:
            self.report_at = now + 1.0
            blocks = [self._block(t) for t in self.tracks.values()]
            if blocks:
                self.transport.send_rtcp(rtcp.ReceiverReport(SENDER, blocks[:31]).build() + rtcp.Sdes([(SENDER, "bench")]).build())

    def _ask(self, now: float) -> None:
        for track in list(self.gaps):
            due = []
            for sequence, (when, tries) in list(track.missing.items()):
                if when > now:
                    continue
                if tries >= NACK_TRIES:
                    del track.missing[sequence]
                    continue
                due.append(sequence)
                track.missing[sequence] = (now + max(NACK_SECONDS, self.round_trip * 1.2), tries + 1)
            if due:
                self.transport.send_rtcp(
                    rtcp.ReceiverReport(SENDER, []).build() + rtcp.Nack(SENDER, track.ssrc, due[:200]).build()
                )
            if not track.missing:
                self.gaps.discard(track)

    def ask_keyframe(self) -> None:
        """PLI for every video track."""
        for track in self.tracks.values():
            if track.video:
                self.transport.send_rtcp(rtcp.ReceiverReport(SENDER, []).build() + rtcp.Pli(SENDER, track.ssrc).build())

    def _feedback(self) -> None:
        """Transport-wide feedback of what arrived since the last."""
        for packet in self._builder.take(SENDER, 0):
            self.transport.send_rtcp(packet)

    def _block(self, track: Track) -> Any:
        expected = (track.cycles << 16) + track.highest - track.first + 1
        lost = expected - track.packets
        span, received = expected - track.lost_before, track.packets - track.received_before
        track.lost_before, track.received_before = expected, track.packets
        fraction = max(0, min(255, (span - received) * 256 // span)) if span > 0 else 0
        highest = (track.cycles << 16 | track.highest) & 0xFFFFFFFF
        return rtcp.ReportBlock(track.ssrc, fraction, max(-0x800000, min(lost, 0x7FFFFF)), highest, int(track.jitter), 0, 0)
