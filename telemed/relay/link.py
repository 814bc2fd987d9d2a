"""One subscriber's link: what it carries, by its feedback, and which layers go over it."""

from typing import TYPE_CHECKING, Final

from telemed.ports import Source
from telemed.relay.allocate import Allocator, Wanted
from telemed.relay.estimator import Estimator
from telemed.relay.probe import Probe

if TYPE_CHECKING:
    from telemed.relay.peer import Peer
    from telemed.relay.track import Slot
    from telemed.wire import rtcp

CHOOSE_SECONDS: Final = 0.2
TRY_SECONDS: Final = 5.0
TRY_QUEUE, TRY_LOSS = 0.2, 0.15  # s of standing queue, share lost: the link does not carry what is tried


class Link:
    """The estimate of one link and the choice of layers that follows from it."""

    def __init__(self, peer: "Peer", now: float) -> None:
        self._peer = peer
        self._estimator = Estimator(now)
        self._allocator = Allocator()
        self._choose_at = now
        self._sent = (now, 0, 0)  # time, bytes, packets
        self.probe: Probe | None = None
        self._probed = 0
        self._trying: Slot | None = None
        self._try_until = 0.0  # 0: its first packet has not gone yet
        self.packet_rate = 200.0
        self.byte_rate = 0.0
        self.dirty = False
        self.sent = self._estimator.history.sent  # for every packet that carries a transport-wide sequence number

    @property
    def estimate(self) -> int:
        """bit/s that the link is taken to carry."""
        return self._estimator.bitrate

    def feedback(self, packet: "rtcp.TransportFeedback", now: float) -> None:
        """Transport-wide feedback came."""
        self._estimator.on_feedback(now, packet.arrivals)

    def remb(self, bitrate: int, now: float) -> None:
        """The receiver's own estimate came."""
        self._estimator.on_remb(now, bitrate)

    def loss(self, fraction: float, round_trip: float | None, now: float) -> None:
        """A receiver report came."""
        self._estimator.on_report(now, fraction, round_trip, self.byte_rate * 8)

    def tick(self, now: float) -> None:
        """Ten times a second."""
        endpoint = self._peer.endpoint
        if not self._peer.slots:
            return
        then, octets, packets = self._sent
        if now - then >= 0.5:
            self.packet_rate = (endpoint.sent_packets - packets) / (now - then)
            self.byte_rate = (endpoint.sent_bytes - octets) / (now - then)
            self._sent = (now, endpoint.sent_bytes, endpoint.sent_packets)
        if now >= self._choose_at or self.dirty:
            self._choose_at, self.dirty = now + CHOOSE_SECONDS, False
            self._choose(now)
        if self.probe is None:
            self.probe = self._estimator.poll(now)
            if self.probe is not None:
                self._probed = endpoint.sent_bytes
                self._peer.relay.probing.add(self)

    def probe_tick(self, now: float) -> bool:
        """Send what a running probe is due; False when it is over."""
        probe, endpoint = self.probe, self._peer.endpoint
        if probe is None or now > probe.end or endpoint.tx is None:
            self.probe = None
            return False
        probe.spent(endpoint.sent_bytes - self._probed)
        self._probed = endpoint.sent_bytes
        slot = self._repeatable()
        if slot is None:
            return True
        due = probe.due(now)
        for _ in range(40):
            if due <= 0:
                break
            size = self._peer.relay.forwarding.pad(slot.forwarder, now)
            if not size:
                break
            due -= size
        probe.spent(endpoint.sent_bytes - self._probed)
        self._probed = endpoint.sent_bytes
        return True

    def _repeatable(self) -> "Slot | None":
        """A picture whose packets a probe can repeat."""
        return next((s for s in self._peer.slots.values() if s.kind == "video" and s.forwarder.rtx_ssrc and s.forwarder.packets), None)

    def _tries(self, slot: "Slot", now: float) -> bool:
        """Whether a picture that is over the estimate is forwarded all the same, for a moment.

        The estimate of a new link is a guess, and probes that would better it repeat packets of a picture: before the first picture
        nothing but trying tells what the link carries. Once for each track, one at a time.
        """
        if self._trying is None and not slot.tried and self._repeatable() is None:
            slot.tried, self._trying, self._try_until = True, slot, 0.0
        if self._trying is not slot:
            return False
        if not self._try_until and slot.forwarder.packets:
            self._try_until = now + TRY_SECONDS
        choked = self._estimator.queue > TRY_QUEUE or self._estimator.loss.recent > TRY_LOSS
        if self._try_until and (choked or now > self._try_until):
            self._trying = None
        return self._trying is slot

    def _choose(self, now: float) -> None:
        slots: list[Slot] = []
        wanted: list[Wanted] = []
        if self._trying is not None and self._trying.track is None:
            self._trying = None
        for slot in self._peer.slots.values():
            track = slot.track
            if track is None or track.muted:
                continue
            active = track.active(now)
            layers = [(rid, -1, int(track.rates.get(rid, (0.0, 0, 0.0))[2]) if rid in active else 0) for rid in (track.rids or ("",))]
            screen = track.published.source is Source.SCREEN
            slots.append(slot)
            wanted.append(
                Wanted(track.id, track.kind, layers, slot.priority + (1 if screen else 0), screen, slot.asked_pause, slot.wanted_layer)
            )
        if not slots:
            return
        for slot, choice in zip(slots, self._allocator.choose(now, self._estimator.bitrate, wanted), strict=True):
            if slot.kind == "audio":
                continue
            # Without a measured rate nothing is known yet: what runs goes on.
            starved = choice.paused and choice.reason == "bandwidth"
            if starved:
                starved = not self._tries(slot, now)
            elif self._trying is slot:
                self._trying = None
            layer = slot.layer if choice.paused else choice.rid
            if starved != slot.starved or layer != slot.layer:
                slot.starved, slot.layer = starved, layer
                slot.update()
        self._estimator.want(self._allocator.following, self._allocator.everything)
