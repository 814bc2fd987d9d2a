"""One subscriber's link: what it carries, by its feedback, and which layers go over it."""

from typing import TYPE_CHECKING, Final

from telemed.ports import Source
from telemed.relay.allocate import Allocator, Wanted
from telemed.relay.probe import Probe
from telemed.relay.twcc import LATE, Gather

if TYPE_CHECKING:
    from telemed.relay.peer import Peer
    from telemed.relay.track import Slot
    from telemed.relay.twcc import Digest

CHOOSE_SECONDS: Final = 0.2
CALM_SECONDS: Final = 0.9  # while the link carries all that is wanted, and a fifth more: with each report


class Link:
    """The estimate of one link and the choice of layers that follows from it."""

    def __init__(self, peer: "Peer", now: float) -> None:
        self._peer = peer
        self._estimator = peer.relay.forwarding.estimator(now)
        self._allocator = Allocator()
        self._choose_at = now
        self._calm = False
        self._sent = (now, 0, 0)  # time, bytes, packets
        self.probe: Probe | None = None
        self._probed = 0
        self.packet_rate = 200.0
        self.byte_rate = 0.0
        self.dirty = False
        self.trend = self._estimator.trend
        self.history = self._estimator.history  # of every packet that carries a transport-wide sequence number
        self.gather = Gather(self.history, self.trend)

    @property
    def estimate(self) -> int:
        """bit/s that the link is taken to carry."""
        return self._estimator.bitrate

    def feedback(self, body: bytes, now: float) -> None:
        """Transport-wide feedback came; `body`: what follows its common header. Raises WireError."""
        self._peer.endpoint.told_by(int.from_bytes(body[:4]))
        gather = self.gather
        gather.read()
        digest = self.history.digest(body)
        told = gather.take(digest, now)
        if not self._calm or digest.lost or digest.delay - gather.least > LATE:
            self._peer.relay.uneasy(now)
        if told is not None:
            self.told(told, now)

    def told(self, digest: "Digest", now: float) -> None:
        """What feedback told of this link."""
        estimator = self._estimator
        estimator.take(now, digest)
        if estimator.choked:
            self._choose(now)
        elif self._calm and not self._plenty():
            self.hurry()
        self._watch(self._calm and self.probe is None)

    def _watch(self, calm: bool) -> None:
        least = self._estimator.least
        self.gather.calm, self.gather.least = calm, least
        self._peer.endpoint.watch(calm, least)

    def hurry(self) -> None:
        """Choose at the next tick, and let that be soon."""
        self.dirty = True
        self._peer.endpoint.due = 0.0

    def remb(self, bitrate: int, now: float) -> None:
        """The receiver's own estimate came."""
        self._estimator.on_remb(now, bitrate)

    def loss(self, fraction: float, round_trip: float | None, now: float) -> None:
        """A receiver report came."""
        self._estimator.on_report(now, fraction, round_trip, self.byte_rate * 8)

    @property
    def resting(self) -> bool:
        """Whether nothing is to be decided before long: the link carries all that is wanted, and more."""
        return not self._peer.slots or (self._calm and self.probe is None and not self.dirty)

    def tick(self, now: float) -> None:
        """Ten times a second, or less often while it rests."""
        endpoint = self._peer.endpoint
        if not self._peer.slots:
            return
        if (gathered := endpoint.gathered() or self.gather.rest()) is not None:
            self.told(*gathered)
        then, octets, packets = self._sent
        if now - then >= 0.5:
            self.packet_rate = (endpoint.sent_packets - packets) / (now - then)
            self.byte_rate = (endpoint.sent_bytes - octets) / (now - then)
            self._sent = (now, endpoint.sent_bytes, endpoint.sent_packets)
        if now >= self._choose_at or self.dirty or (self._calm and not self._plenty()):
            self.dirty = False
            self._choose(now)
            self._calm = self._plenty()
            self._choose_at = now + (CALM_SECONDS if self._calm else CHOOSE_SECONDS)
        if self.probe is None:
            self.probe = self._estimator.poll(now)
            if self.probe is not None:
                self._probed = endpoint.sent_bytes
                self._watch(False)
                self._peer.relay.probing.add(self)
                self._peer.relay.soon()

    def probe_tick(self, now: float) -> bool:
        """Send what a running probe is due; False when it is over."""
        probe, endpoint = self.probe, self._peer.endpoint
        if probe is None or now > probe.end or endpoint.tx is None:
            self.probe = None
            return False
        probe.spent(endpoint.sent_bytes - self._probed)
        self._probed = endpoint.sent_bytes
        video = [s for s in self._peer.slots.values() if s.kind == "video" and s.track is not None]
        if not video:
            return True
        # What runs is repeated by RTX, which looks like it in size and pace.
        slot = max(video, key=lambda s: (s.forwarder.stream is not None and s.forwarder.rtx_ssrc > 0, s.forwarder.last_time))
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

    def _plenty(self) -> bool:
        return self._allocator.following == self._allocator.everything and self._estimator.bitrate > 1.2 * self._allocator.everything

    def _choose(self, now: float) -> None:
        slots: list[Slot] = []
        wanted: list[Wanted] = []
        for slot in self._peer.slots.values():
            track = slot.track
            if track is None or track.muted:
                continue
            screen = track.published.source is Source.SCREEN
            slots.append(slot)
            priority = slot.priority + (1 if screen else 0)
            wanted.append(Wanted(track.id, track.kind, slot.layers(now), priority, screen, slot.asked_pause, slot.wanted_layer))
        if not slots:
            return
        choices = self._allocator.choose(now, self._estimator.bitrate, wanted, self._estimator.proven)
        for slot, want, choice in zip(slots, wanted, choices, strict=True):
            if slot.kind == "audio":
                continue
            starved = choice.paused and choice.reason == "bandwidth"
            # What stopped coming; the forwarder stays where it is, so that the first frame that comes again is seen.
            # A screen on which nothing moves is not sent.
            dry = choice.paused and choice.reason == "source" and not want.screen and slot.track is not None and slot.track.dried(now)
            layer, temporal = (slot.layer, slot.temporal) if choice.paused else (choice.rid, choice.temporal)
            chosen = (starved, dry, choice.reason, layer, temporal)
            if chosen != (slot.starved, slot.dry, slot.limited, slot.layer, slot.temporal):
                slot.starved, slot.dry, slot.limited, slot.layer, slot.temporal = chosen
                slot.update()
        self._estimator.want(self._allocator.following, self._allocator.everything)
