"""A published track with its layers, and a slot: the m-line through which one subscriber gets a track."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from telemed.ports import Kind, LayerChoice, Published, TrackInfo
from telemed.relay.forward import ALL_LAYERS, Forwarder, Stream
from telemed.relay.keyframes import KEYFRAMES

if TYPE_CHECKING:
    from telemed.relay.peer import Peer

NAMES: Final = {"opus": "opus"}  # as RFC 7587 writes it; the others are written in capitals
KEYFRAME_SECONDS: Final = 0.5  # between two requests to one publisher's stream, however many subscribers ask
OVERHEAD: Final = 20  # octets of a packet beside its payload as the estimate counts it: RTP header 12, extensions 8


@dataclass(frozen=True, slots=True)
class Format:
    """A codec as an m-line agreed on it: what has to be equal for packets to pass unchanged."""

    payload_type: int
    name: str  # lower case
    clock: int
    channels: int
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def written(self) -> str:
        """The name as descriptions have it."""
        return NAMES.get(self.name, self.name.upper())

    def fits(self, other: "Format") -> bool:
        """Whether a receiver of `other` understands packets of this."""
        if (self.name, self.clock, self.channels) != (other.name, other.clock, other.channels):
            return False
        ours, theirs = self.parameters, other.parameters
        if self.name == "h264":
            # RFC 6184 8.1: mode 1 receives what mode 0 sends. The level is the receiver's upper bound and browsers decode above it.
            if ours.get("packetization-mode", "0") not in ("0", theirs.get("packetization-mode", "0")):
                return False
            (family, rank), (accepted, highest) = _h264(ours), _h264(theirs)
            return family == accepted and rank <= highest
        if self.name == "vp9":
            return ours.get("profile-id", "0") == theirs.get("profile-id", "0")
        if self.name == "av1":
            return ours.get("profile", "0") == theirs.get("profile", "0")
        return True


def _h264(parameters: Mapping[str, str]) -> tuple[str, int]:
    """The profile (RFC 6184, table 5): a decoder takes those of the same family up to its own rank.

    Baseline counts as constrained: no encoder in use makes what tells them apart, and ffmpeg and cameras write either.
    """
    text = parameters.get("profile-level-id", "42e01f").lower()
    profile = text[:2]
    if profile == "4d" and text[2:3] in tuple("89abcdef"):  # constraint_set0: within baseline too
        profile = "42"
    ranks = ("42", "4d", "64")
    return ("", ranks.index(profile)) if profile in ranks else (text[:4], 0)


class Track:
    """What one m-line of a publisher carries. Its streams appear as their first packets come."""

    def __init__(self, id: str, peer: "Peer", mid: str, kind: Kind, published: Published) -> None:
        self.id, self.peer, self.mid, self.kind, self.published = id, peer, mid, kind, published
        self.formats: dict[int, Format] = {}
        self.rtx: dict[int, int] = {}  # RTX payload type -> payload type (apt)
        self.rids: tuple[str, ...] = ()  # low to high
        self.streams: dict[str, Stream] = {}
        self.slots: list[Slot] = []
        self.muted = False
        self.payload_type = -1  # of its newest stream's first packet
        self.asked: dict[str, float] = {}  # rid -> when a keyframe was asked for
        self.rates: dict[str, tuple[float, int, float]] = {}  # rid -> (time, octets then, bit/s as a subscriber gets it)
        self.shares: dict[str, list[float]] = {}  # rid -> share of it that temporal layers up to each take; empty: there is one

    @property
    def codec(self) -> str:
        """Name of the format that is sent; of the first agreed one while nothing is."""
        sent = self.formats.get(self.payload_type)
        return sent.written if sent is not None else next((f.written for f in self.formats.values()), "")

    def info(self) -> TrackInfo:
        """What others may know of it."""
        return TrackInfo(
            self.id, self.peer.participant, self.kind, self.published.source, self.published.name, self.codec, self.rids, self.muted,
            mid=self.mid,
        )

    def original(self, second: int) -> int | None:
        """Second header byte of an RTX packet -> that of the packet it carries; None when it is no RTX of this track."""
        apt = self.rtx.get(second & 127)
        return None if apt is None else (second & 128) | apt

    def add(self, rid: str, stream: Stream) -> None:
        """The first packet of a layer came."""
        self.streams[rid] = stream
        if self.kind == "video":
            stream.keyframe = self.keyframe
            stream.vp8 = next((number for number, f in self.formats.items() if f.name == "vp8"), 0)
        for slot in self.slots:
            slot.update()

    def keyframe(self, payload: memoryview, second: int) -> bool:
        """Whether a picture begins with this packet, by its own format: who agreed on several may send any, and change."""
        sent = self.formats.get(second & 127)
        return sent is not None and KEYFRAMES[sent.name](payload)

    def need_keyframe(self, rid: str, now: float) -> bool:
        """Whether the publisher is to be asked now; asking is merged and limited for all subscribers."""
        if now - self.asked.get(rid, 0.0) < KEYFRAME_SECONDS:
            return False
        self.asked[rid] = now
        return True

    def measure(self, now: float) -> None:
        """Bit rates of the layers, over the second that passed."""
        for rid, stream in self.streams.items():
            then, octets, rate = self.rates.get(rid, (0.0, 0, 0.0))
            if now - then >= 1.0:
                total = stream.bytes + stream.packets * OVERHEAD
                fresh = (total - octets) * 8 / (now - then) if then else 0.0
                self.rates[rid] = (now, total, fresh if not rate else rate * 0.3 + fresh * 0.7)
                self.shares[rid] = _shares(list(stream.temporal_bytes))
                stream.temporal_bytes = [0, 0, 0, 0]

    def layers(self, now: float) -> list[tuple[str, int, int]]:
        """What a subscriber may be given: (rid, highest temporal layer or -1 for all, bit/s); 0 bit/s where nothing is sent now."""
        active = self.active(now)
        out = []
        for rid in self.rids or ("",):
            rate = self.rates.get(rid, (0.0, 0, 0.0))[2] if rid in active else 0.0
            shares = self.shares.get(rid, [])
            out += [(rid, layer, int(rate * share)) for layer, share in enumerate(shares[:-1]) if rate]
            out.append((rid, -1, int(rate)))
        return out

    def active(self, now: float) -> list[str]:
        """Rids that carry packets at present, low to high. Browsers stop layers that their uplink cannot hold."""
        return [rid for rid in (self.rids or ("",)) if rid in self.streams and now - self.streams[rid].last_time < 2.0]


def _shares(octets: list[int]) -> list[float]:
    while octets and not octets[-1]:
        octets.pop()
    if len(octets) < 2:
        return []
    total = sum(octets)
    return [sum(octets[: n + 1]) / total for n in range(len(octets))]


class Slot:
    """A recvonly m-line of a subscriber: it has its SSRC for good, tracks come and go in it."""

    def __init__(self, peer: "Peer", mid: str, kind: Kind, forwarder: Forwarder) -> None:
        self.peer, self.mid, self.kind, self.forwarder = peer, mid, kind, forwarder
        self.formats: list[Format] = []
        self.rtx: dict[int, int] = {}  # payload type -> RTX payload type, the subscriber's
        self.track: Track | None = None
        self.wanted_layer: str | None = None  # the subscriber's own wish: at most this rid
        self.asked_pause = False
        self.priority = 0
        self.layer = ""  # rid that the allocation chose
        self.temporal = -1
        self.starved = False  # the allocation found no room for it
        self.told: LayerChoice | None = None
        self.lost_fraction = 0.0
        self.jitter_ms = 0.0
        self.resent: dict[int, float] = {}  # sequence number, as this subscriber knows it -> when it was resent
        self.reports: dict[int, float] = {}  # middle NTP bits of our sender reports -> when sent

    def bind(self, track: Track | None) -> None:
        """Carry `track` from now on; None: nothing."""
        if track is self.track:
            return
        self.peer.relay.forwarding.detach(self.forwarder)
        if self.track is not None:
            self.track.slots.remove(self)
        self.track = track
        self.peer.reports.allocate_soon()
        self.told = None
        self.starved = False
        if track is not None:
            track.slots.append(self)
            self.layer, self.temporal = self.start_layer(), -1
            self.map_formats()
            self.update()

    def start_layer(self) -> str:
        """The layer to begin with: the lowest, so that the picture is there at once; the estimate climbs from it."""
        assert self.track is not None
        return self.track.rids[0] if self.track.rids else ""

    def map_formats(self) -> None:
        """Publisher's payload types -> this subscriber's."""
        assert self.track is not None
        table, rtx = bytearray(256), bytearray(256)
        for theirs in self.track.formats.values():
            ours = next((f.payload_type for f in self.formats if theirs.fits(f)), None)
            if ours is None:
                continue
            for marker in (0, 128):
                table[marker | theirs.payload_type] = marker | ours
                if ours in self.rtx:
                    rtx[marker | ours] = marker | self.rtx[ours]
        self.forwarder.payload_types = bytes(table)
        self.forwarder.rtx_payload_types = bytes(rtx) if self.rtx else b""

    def state(self) -> tuple[bool, str]:
        """(whether nothing is forwarded, why)."""
        if self.track is None:
            return True, "source"
        if self.track.muted:
            return True, "muted"
        if self.asked_pause:
            return True, "asked"
        if self.starved:
            return True, "bandwidth"
        return False, ""

    def switched(self, stream: Stream) -> None:
        """The forwarder goes on with `stream`, at a keyframe of it."""
        if self.track is not None:
            self.tell(*self.state())

    def update(self) -> None:
        """Make the forwarder do what was chosen: attach to the layer, or stop; tell the subscriber what changed."""
        forwarding, forwarder, track = self.peer.relay.forwarding, self.forwarder, self.track
        paused, reason = self.state()
        forwarder.temporal = ALL_LAYERS if self.temporal < 0 else self.temporal
        # Before the handshake is done a keyframe would be lost, and the picture with it.
        if paused or track is None or self.peer.endpoint.tx is None:
            forwarding.detach(forwarder)
        else:
            stream = track.streams.get(self.layer)
            if stream is None and track.streams:
                # The chosen layer sends nothing yet: what there is, rather than nothing.
                stream = next(iter(track.streams.values()))
            if stream is not None and forwarder.stream is not stream and forwarder.target is not stream:
                forwarding.attach(forwarder, stream)
                if self.kind == "video":
                    track.peer.ask_keyframe(track, stream)
            elif stream is not None and forwarder.stream is stream:
                forwarding.cancel(forwarder)
        self.tell(paused, reason)

    def tell(self, paused: bool, reason: str) -> None:
        """The subscriber's listener hears of a choice that differs from the last one."""
        if self.track is None:
            return
        limited = reason
        if not limited and (self.temporal >= 0 or (self.track.rids and self.layer != (self.wanted_layer or self.track.rids[-1]))):
            limited = "bandwidth"
        rate = int(self.track.rates.get(self.layer, (0.0, 0, 0.0))[2])
        choice = LayerChoice(self.track.id, self.layer, self.temporal, paused, limited, rate)  # type: ignore[arg-type]
        before = self.told
        if before is None or (before.layer, before.temporal, before.paused, before.reason) != (
            choice.layer, choice.temporal, choice.paused, choice.reason
        ):
            self.told = choice
            self.peer.notify(self.peer.listener.on_layer, choice)
