"""RTCP of one peer, both ways: reports, requests to resend, keyframes, transport-wide feedback, and what follows from them."""

import secrets
import time
from math import floor
from typing import TYPE_CHECKING, Final

from telemed.ports import Quality
from telemed.relay.forward import Stream
from telemed.relay.link import Link
from telemed.relay.mos import mos
from telemed.relay.track import Slot, Track
from telemed.wire import rtcp
from telemed.wire.errors import WireError

if TYPE_CHECKING:
    from telemed.relay.peer import Peer

REPORT_SECONDS: Final = 1.0
WATCHER_SECONDS: Final = 5.0  # to who publishes nothing, while its link carries all that is wanted: the interval of RFC 3550 6.2
QUALITY_SECONDS: Final = 2.0
NTP_EPOCH: Final = 2_208_988_800
NACK_FIRST: Final = 0.008  # a packet may just be out of order
NACK_GIVE_UP: Final = 1.0
NACK_TRIES: Final = 10
NACK_AT_ONCE: Final = 64  # sequence numbers in one request
RESEND_EACH: Final = 200  # packets resent to one subscriber in a second at least, whatever it asks for
RESEND_SHARE: Final = 1.0  # of what was sent
RESEND_RATE: Final = 0.5  # share of the estimate that resent video may take: on a thin link it would queue before the sound
RESEND_HOLD: Final = 0.5  # s of that at once, and
RESEND_OCTETS: Final = 3_000  # at least so many octets
RESENT_AGAIN: Final = 0.8  # round trips within which the same packet is not sent once more; it is still on its way
RESENT_KEPT: Final = 512  # packets of which it is known when they were resent


def ntp_now() -> int:
    """64-bit NTP time (RFC 3550 4)."""
    return int((time.time() + NTP_EPOCH) * 4294967296) & 0xFFFFFFFFFFFFFFFF


class Sent:
    """A publisher's sender report as it came."""

    __slots__ = ("arrived", "middle", "ntp", "rtp")

    def __init__(self, ntp: int, rtp: int, arrived: float) -> None:
        self.ntp, self.rtp, self.arrived = ntp, rtp, arrived
        self.middle = (ntp >> 16) & 0xFFFFFFFF


class Reports:
    """The RTCP side of one peer."""

    def __init__(self, peer: "Peer", phase: float) -> None:
        self._peer = peer
        self.ssrc = secrets.randbits(32) | 1
        self.link = Link(peer, peer.created)
        self._feedback = peer.relay.forwarding.builder(peer.endpoint)
        peer.endpoint.report(self._feedback, self.ssrc)
        peer.endpoint.remember(self.link.history)
        peer.endpoint.follow(self.link.gather)
        self._tries: dict[int, dict[int, tuple[int, float]]] = {}  # ssrc -> sequence -> (tries, last)
        self._before: dict[int, tuple[int, int]] = {}  # ssrc -> (expected, received) at the last report
        self.due = floor(peer.created - phase) + phase + REPORT_SECONDS  # when the next reports go, s
        self._anew = False  # what is sent goes by another clock than at the last report
        self._quality_at = self.due + QUALITY_SECONDS  # with a report: who has nothing else to be done for is woken once for both
        self._tokens = float(RESEND_EACH)
        self._tokens_at = 0.0
        self._allowance = float(RESEND_OCTETS)  # octets of video that may be resent now
        self.round_trip = 0.1  # seconds, to this peer
        self.measured_round_trip = 0.0
        self._counted = (0, 0, 0)  # at the last quality: packets expected, received, sent
        self._octets = (0, 0)  # and octets received, sent

    # What comes.

    def receive(self, data: bytes, now: float) -> None:
        """A decrypted compound packet; what is malformed is dropped whole."""
        try:
            body = rtcp.feedback_alone(data)  # as most of it is: read without a list of packets
            if body is not None:
                self.link.feedback(body, now)
                return
            for packet in rtcp.parse(data, raw=True):
                self._one(packet, now)
        except WireError:
            self._peer.endpoint.bad += 1

    def _one(self, packet: rtcp.Packet, now: float) -> None:
        if isinstance(packet, rtcp.RawFeedback):
            self.link.feedback(packet.body, now)
        elif isinstance(packet, rtcp.Nack):
            slot = self._peer.by_ssrc.get(packet.media)
            if slot is not None:
                self._resend(slot, packet.sequences, now)
        elif isinstance(packet, rtcp.Pli):
            self._keyframe(packet.media)
        elif isinstance(packet, rtcp.Fir):
            for ssrc, _ in packet.entries[:8]:
                self._keyframe(ssrc)
        elif isinstance(packet, rtcp.ReceiverReport):
            self._blocks(packet.blocks, now)
        elif isinstance(packet, rtcp.SenderReport):
            stream = self._peer.endpoint.streams.get(packet.ssrc)
            if stream is not None:
                stream.report = Sent(packet.ntp, packet.rtp, now)
            self._blocks(packet.blocks, now)
        elif isinstance(packet, rtcp.Remb):
            self.link.remb(packet.bitrate, now)

    def _keyframe(self, ssrc: int) -> None:
        slot = self._peer.by_ssrc.get(ssrc)
        if slot is not None and slot.track is not None:
            stream = slot.forwarder.target or slot.forwarder.stream
            if stream is not None:
                slot.track.peer.ask_keyframe(slot.track, stream)

    def _blocks(self, blocks: "list[rtcp.ReportBlock]", now: float) -> None:
        lost = 0.0
        seen = 0
        for block in blocks:
            slot = self._peer.by_ssrc.get(block.ssrc)
            if slot is None:
                continue
            slot.lost_fraction = block.fraction / 256
            slot.jitter_ms = block.jitter * 1000 / (90000 if slot.kind == "video" else 48000)
            lost += slot.lost_fraction
            seen += 1
            sent_at = slot.reports.get(block.lsr)
            if sent_at is not None:
                trip = now - sent_at - block.dlsr / 65536
                if 0 <= trip < 10:
                    self.measured_round_trip = trip
                    self.round_trip += (trip - self.round_trip) * 0.3
        if seen:
            self.link.loss(lost / seen, self.round_trip, now)

    def _resend(self, slot: Slot, sequences: list[int], now: float) -> None:
        """Within budgets, so that one peer's requests cannot multiply what the relay sends, nor crowd a thin link."""
        forwarding = self._peer.relay.forwarding
        elapsed = min(1.0, now - self._tokens_at)
        self._tokens_at = now
        self._tokens = min(self._tokens + elapsed * max(RESEND_EACH, self.link.packet_rate * RESEND_SHARE), 2.0 * RESEND_EACH)
        rate = self.link.estimate / 8 * RESEND_RATE
        self._allowance = min(self._allowance + elapsed * rate, max(rate * RESEND_HOLD, RESEND_OCTETS))
        video = slot.kind == "video"
        if video and slot.starved:
            return  # the picture goes on with a keyframe; what was lost before is of no use
        recent, resent = now - RESENT_AGAIN * min(self.round_trip, 0.5), slot.resent
        for sequence in sequences:
            if self._tokens < 1 or (video and self._allowance <= 0):
                return
            if resent.get(sequence, 0.0) > recent:
                continue
            octets = forwarding.resend(slot.forwarder, sequence, now)
            if octets:
                self._tokens -= 1
                resent[sequence] = now
                if video:
                    self._allowance -= octets
        if len(resent) > RESENT_KEPT:
            slot.resent = {number: at for number, at in resent.items() if at > now - 1.0}

    # What goes.

    def tell(self, reports: bytes = b"") -> None:
        """Feedback of what came, behind reports if there are any."""
        endpoint = self._peer.endpoint
        feedback = self._feedback.take(self.ssrc, next(iter(endpoint.streams), 0)) if len(self._feedback) else []
        # Feedback is padded, which only the last packet of a compound may be (RFC 3550 6.4.1).
        packet = reports + b"".join(feedback[:1])
        if packet:
            self._peer.relay.forwarding.send_rtcp(endpoint, packet)
        for more in feedback[1:]:
            self._peer.relay.forwarding.send_rtcp(endpoint, more)

    def tick(self, now: float) -> None:
        """When the peer is due: ten times a second, or about once where nothing is to be decided."""
        reports = b""
        for packet, came in self._peer.endpoint.reported():
            self._peer.relay.on_rtcp(self._peer.endpoint, packet, came)
        if now >= self.due:
            watches = not self._peer.tracks and self.link.resting
            self.due = max(self.due + (WATCHER_SECONDS if watches else REPORT_SECONDS), now)
            reports = self.sender_reports(now) + self.receiver_report_bytes()
            for track in self._peer.tracks.values():
                track.measure(now)
        elif self._anew:
            reports = self.sender_reports(now)
        self._anew = False
        self.tell(reports)
        self.link.tick(now)
        if now >= self._quality_at - REPORT_SECONDS / 4:
            self._peer.notify(self._peer.listener.on_quality, self.quality(now - self._quality_at + QUALITY_SECONDS))
            self._quality_at = now + QUALITY_SECONDS

    def anew(self) -> None:
        """A subscriber's stream comes from another source: lips and sound agree by its clock once that is reported."""
        self._anew = True
        self._peer.endpoint.due = 0.0

    def allocate_soon(self) -> None:
        """A wish changed: choose layers at the next tick."""
        self.link.hurry()

    def ask_again(self, stream: Stream, now: float) -> bool:
        """NACK what is missing of a stream (RFC 4585 6.2.1); whether there may be more to ask for."""
        if not stream.missing:
            self._tries.pop(stream.ssrc, None)
            return False
        tries = self._tries.setdefault(stream.ssrc, {})
        ask: list[int] = []
        lost_for_good = False
        every = max(0.02, min(0.3, self.round_trip * 1.1))
        for sequence, since in list(stream.missing.items()):
            count, last = tries.get(sequence, (0, 0.0))
            if now - since > NACK_GIVE_UP or count >= NACK_TRIES or len(stream.missing) > 2 * NACK_AT_ONCE:
                del stream.missing[sequence]
                tries.pop(sequence, None)
                lost_for_good = True
            elif now - since >= NACK_FIRST and now - last >= every and len(ask) < NACK_AT_ONCE:
                tries[sequence] = (count + 1, now)
                ask.append(sequence)
        for sequence in [s for s in tries if s not in stream.missing]:
            del tries[sequence]
        if ask:
            self._peer.relay.forwarding.send_rtcp(
                self._peer.endpoint, rtcp.compound(self.receiver_report(), rtcp.Nack(self.ssrc, stream.ssrc, ask))
            )
        if lost_for_good and stream.keyframe is not None:
            track: Track = stream.owner
            track.peer.ask_keyframe(track, stream)
        return True

    def receiver_report(self) -> "rtcp.ReceiverReport":
        """An empty report, the head that a compound packet needs (RFC 3550 6.1)."""
        return rtcp.ReceiverReport(self.ssrc, [])

    def receiver_report_bytes(self) -> bytes:
        """What came of each stream of this publisher since the last report (RFC 3550 6.4.2)."""
        now = self._peer.relay.now()
        blocks: list[rtcp.ReportBlock] = []
        live = self._peer.endpoint.streams
        if len(self._before) > len(live) or len(self._tries) > len(live):  # of streams that are gone nothing is kept
            self._before = {ssrc: counts for ssrc, counts in self._before.items() if ssrc in live}
            self._tries = {ssrc: tries for ssrc, tries in self._tries.items() if ssrc in live}
        for stream in self._peer.endpoint.streams.values():
            if stream.rtx_of is not None or not stream.packets or len(blocks) == 31:
                continue
            expected = stream.expected
            before = self._before.get(stream.ssrc, (0, 0))
            self._before[stream.ssrc] = (expected, stream.packets)
            due, came = expected - before[0], stream.packets - before[1]
            fraction = max(0, min(255, int((due - came) * 256 / due))) if due > 0 else 0
            report: Sent | None = stream.report
            lsr, dlsr = (report.middle, min(int((now - report.arrived) * 65536), 0xFFFFFFFF)) if report is not None else (0, 0)
            lost = max(-0x800000, min(0x7FFFFF, expected - stream.packets))
            highest = ((stream.cycles << 16) | stream.highest) & 0xFFFFFFFF
            blocks.append(rtcp.ReportBlock(stream.ssrc, fraction, lost, highest, int(stream.jitter) & 0xFFFFFFFF, lsr, dlsr))
        return rtcp.ReceiverReport(self.ssrc, blocks).build() if blocks else b""

    def sender_reports(self, now: float) -> bytes:
        """For each slot: the publisher's clock carried on, in the subscriber's numbers, so that lips and sound agree."""
        out = []
        ntp = 0
        for slot in self._peer.slots.values():
            forwarder = slot.forwarder
            stream = forwarder.stream
            if stream is None or not forwarder.packets or not stream.packets:
                continue
            report: Sent | None = stream.report
            if report is not None:
                passed = now - report.arrived
                ntp = (report.ntp + int(passed * 4294967296)) & 0xFFFFFFFFFFFFFFFF
                stamp = report.rtp + int(passed * stream.clock)
            else:
                ntp = ntp_now()
                stamp = stream.last_rtp + int((now - stream.last_time) * stream.clock)
            stamp = (stamp + forwarder.rtp_offset) & 0xFFFFFFFF
            slot.reports[(ntp >> 16) & 0xFFFFFFFF] = now
            if len(slot.reports) > 8:
                del slot.reports[next(iter(slot.reports))]
            counts = forwarder.packets & 0xFFFFFFFF, forwarder.octets & 0xFFFFFFFF
            out.append(rtcp.SenderReport(forwarder.ssrc, ntp, stamp, *counts).build())
            out.append(rtcp.Sdes([(forwarder.ssrc, self._peer.cname)]).build())
            if len(out) >= 30:
                break
        return b"".join(out)

    # Figures.

    def quality(self, seconds: float) -> Quality:
        """Both directions since the last time."""
        peer = self._peer
        endpoint = peer.endpoint
        streams = [s for s in endpoint.streams.values() if s.rtx_of is None and s.packets]
        expected = sum(s.expected for s in streams)
        packets = sum(s.packets for s in streams)
        before, self._counted = self._counted, (expected, packets, endpoint.sent_packets)
        due, came, sent = (now - then for now, then in zip(self._counted, before, strict=True))
        octets, self._octets = self._octets, (endpoint.received_bytes, endpoint.sent_bytes)
        carrying = [s for s in peer.slots.values() if s.forwarder.stream is not None]
        lost = max((s.lost_fraction for s in carrying), default=0.0)
        jitter = max((s.jitter_ms for s in carrying), default=0.0)
        sound = max((s.lost_fraction for s in carrying if s.kind == "audio"), default=lost)
        received_lost = max(0.0, (due - came) / due) if due > 0 else 0.0
        trip = self.measured_round_trip * 1000
        quality = Quality(
            seconds, sent, lost, max(0, came), received_lost, jitter, trip, int(self.link.estimate),
            int(max(0, endpoint.received_bytes - octets[0]) * 8 / seconds), int(max(0, endpoint.sent_bytes - octets[1]) * 8 / seconds),
        )
        if carrying or streams:
            quality.mos = mos(max(sound, received_lost), jitter / 1000, self.measured_round_trip)
        for slot in carrying:
            assert slot.track is not None
            quality.tracks[slot.track.id] = {
                "layer": slot.layer, "temporal": slot.temporal, "lost": round(slot.lost_fraction, 4), "jitter_ms": round(slot.jitter_ms, 1),
                "paused": slot.state()[0],
            }
        return quality
