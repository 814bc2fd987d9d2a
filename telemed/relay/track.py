"""A published track with its layers, and a slot: the m-line through which one subscriber gets a track."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from telemed.ports import Kind, LayerChoice, Published, TrackInfo
from telemed.relay.forward import Forwarder, Stream
from telemed.relay.keyframes import KEYFRAMES
from telemed.relay.layers import ALL_LAYERS, AV1, VP9

if TYPE_CHECKING:
    from telemed.relay.peer import Peer

NAMES: Final = {"opus": "opus", "red": "red"}  # as RFC 7587 and RFC 2198 write them; the others are written in capitals
LAYERED: Final = {"vp9": VP9, "av1": AV1}  # codecs whose packets name the spatial and temporal layer they are of
SPATIAL: Final = ("s0", "s1", "s2", "s3")  # what spatial layers of one stream (SVC) are called, where rids stand for those of several
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
        if self.name == "red":
            return set(ours) == set(theirs)  # the blocks within name payload types, which nobody rewrites
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
        # rid -> for each spatial layer, lowest first, the share of all that it takes with what is below, by its highest temporal layer
        self.shares: dict[str, list[list[float]]] = {}

    @property
    def codec(self) -> str:
        """Name of the format that is sent; of the first agreed one while nothing is."""
        sent = self.formats.get(self.payload_type)
        return sent.written if sent is not None else next((f.written for f in self.formats.values()), "")

    @property
    def names(self) -> tuple[str, ...]:
        """What a subscriber may choose among, low to high: rids, or the spatial layers that one stream carried lately; empty: no choice."""
        return self.rids or (SPATIAL[: len(shares)] if len(shares := self.shares.get("", [])) > 1 else ())

    def stream(self, layer: str) -> Stream | None:
        """Where a layer is found, by its rid or its spatial name."""
        return self.streams.get(layer if self.rids else "")

    def spatial(self, layer: str) -> int:
        """The highest spatial layer that the stream of a layer carried lately."""
        return max(len(self.shares.get(layer if self.rids else "", [])) - 1, 0)

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
        self.mark(stream)
        if self.kind == "video":
            stream.keyframe = self.keyframe
            self._look(stream, self.payload_type)
        for slot in self.slots:
            slot.update()

    def keyframe(self, payload: memoryview, second: int) -> bool:
        """Whether a picture begins with this packet, by its own format: who agreed on several may send any, and change."""
        sent = self.formats.get(second & 127)
        return sent is not None and KEYFRAMES[sent.name](payload)

    def mark(self, stream: Stream) -> None:
        """Which payload types the forwarding step looks into."""
        numbers = {f.name: number for number, f in reversed(self.formats.items())}
        stream.vp8, stream.red = numbers.get("vp8", 0), numbers.get("red", 0)

    def _look(self, stream: Stream, kind: int) -> None:
        """Whether packets of this payload type name their layers: a publisher may change its codec without another SSRC."""
        sent = self.formats.get(kind)
        layered = LAYERED.get(sent.name, 0) if sent is not None else 0
        if layered == AV1 and not stream.endpoint.descriptor_id:
            layered = 0  # nothing says what its frames are
        if layered and (stream.svc, stream.layered) != (kind, layered):
            stream.svc, stream.layered = kind, layered
        elif not layered and stream.svc and sent is not None:
            stream.svc = stream.layered = 0

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
                self.shares[rid] = _shares(list(stream.layer_bytes))
                stream.layer_bytes = [0] * 16
                if self.kind == "video" and (newest := stream.cache[stream.highest & stream.mask]) is not None:
                    self._look(stream, newest[1] & 127)
        for slot in self.slots:
            slot.climb(now)

    def rate(self, layer: str) -> float:
        """bit/s of a layer with those below it."""
        rate = self.rates.get(layer if self.rids else "", (0.0, 0, 0.0))[2]
        shares = self.shares.get("", [])
        return rate if self.rids or layer not in SPATIAL[: len(shares)] else rate * shares[SPATIAL.index(layer)][-1]

    def layers(self, now: float) -> list[tuple[str, int, int]]:
        """What a subscriber may be given: (rid or spatial layer, highest temporal layer or -1 for all, bit/s with all that is below it).

        0 bit/s where nothing is sent now. Of simulcast the spatial layers within a rid go together.
        """
        active = self.active(now)
        out = []
        for rid in self.rids or ("",):
            rate = self.rates.get(rid, (0.0, 0, 0.0))[2] if rid in active else 0.0
            shares = self.shares.get(rid, [])
            named = list(zip(self.names, shares, strict=True)) if not self.rids and self.names else [(rid, shares[-1] if shares else [1.0])]
            for name, of in named:
                out += [(name, layer, int(rate * share)) for layer, share in enumerate(of[:-1]) if rate]
                out.append((name, -1, int(rate * of[-1])))
        return out

    def dried(self, now: float) -> bool:
        """Whether packets came, and come no more."""
        return bool(self.streams) and not self.active(now)

    def active(self, now: float) -> list[str]:
        """Rids that carry packets at present, low to high. Browsers stop layers that their uplink cannot hold."""
        return [rid for rid in (self.rids or ("",)) if rid in self.streams and now - self.streams[rid].last_time < 2.0]


def _shares(octets: list[int]) -> list[list[float]]:
    """Of octets by 4 * spatial + temporal layer; empty where there is one layer of each, or nothing."""
    total = sum(octets)
    rows = [octets[n : n + 4] for n in range(0, 16, 4)]
    while rows and not any(rows[-1]):
        rows.pop()
    highest = max((n for row in rows for n, count in enumerate(row) if count), default=0)
    if len(rows) < 2 and not highest:
        return []
    return [[sum(sum(row[: n + 1]) for row in rows[: s + 1]) / total for n in range(highest + 1)] for s in range(len(rows))]


@lru_cache(maxsize=256)
def _one(table: bytes) -> bytes:
    """The same object for all equal tables: those of a room are, and then lie in the cache once."""
    return table


class Slot:
    """A recvonly m-line of a subscriber: it has its SSRC for good, tracks come and go in it."""

    def __init__(self, peer: "Peer", mid: str, kind: Kind, forwarder: Forwarder) -> None:
        self.peer, self.mid, self.kind, self.forwarder = peer, mid, kind, forwarder
        self.formats: list[Format] = []
        self.rtx: dict[int, int] = {}  # payload type -> RTX payload type, the subscriber's
        self.track: Track | None = None
        self.wanted_layer: str | None = None  # the subscriber's own wish: at most this rid or spatial layer
        self.asked_pause = False
        self.priority = 0
        self.layer = ""  # rid or spatial layer that the allocation chose
        self.temporal = -1
        self.waits = 0  # seconds that layers chosen within the stream were not taken up
        self.starved = False  # the allocation found no room for it
        self.dry = False  # nothing comes of it any more
        self.limited: str | None = None  # why the allocation chose no more (allocate.Reason); None: it has not chosen yet
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
        self.starved = self.dry = False
        self.limited = None
        if track is not None:
            track.slots.append(self)
            self.layer, self.temporal = self.start_layer(), -1
            self.map_formats()
            self.update()

    def start_layer(self) -> str:
        """The layer to begin with: the lowest, so that the picture is there at once; the estimate climbs from it."""
        assert self.track is not None
        return next(iter(self.track.names), "")

    def map_formats(self) -> None:
        """Publisher's payload types -> this subscriber's."""
        assert self.track is not None
        table, rtx = bytearray(256), bytearray(256)
        before = self.forwarder.payload_types, self.forwarder.rtx_payload_types, self.forwarder.red
        self.forwarder.red = 0
        for theirs in self.track.formats.values():
            ours = next((f.payload_type for f in self.formats if theirs.fits(f)), None)
            if ours is None:
                if theirs.name == "red":
                    self.forwarder.red = theirs.payload_type
                continue
            for marker in (0, 128):
                table[marker | theirs.payload_type] = marker | ours
                if ours in self.rtx:
                    rtx[marker | ours] = marker | self.rtx[ours]
        self.forwarder.payload_types = _one(bytes(table))
        self.forwarder.rtx_payload_types = _one(bytes(rtx)) if self.rtx else b""
        if before != (self.forwarder.payload_types, self.forwarder.rtx_payload_types, self.forwarder.red):
            self.forwarder.anew()
        for stream in self.track.streams.values():
            self.track.mark(stream)

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
        forwarder.spatial = self.spatial()
        # Before the handshake is done a keyframe would be lost, and the picture with it.
        if paused or track is None or self.peer.endpoint.tx is None:
            forwarding.detach(forwarder)
        else:
            stream = track.stream(self.layer)
            if stream is None and track.streams:
                # The chosen layer sends nothing yet: what there is, rather than nothing.
                stream = next(iter(track.streams.values()))
            if stream is not None and forwarder.stream is not stream and forwarder.target is not stream:
                forwarding.attach(forwarder, stream)
                if self.kind == "video":
                    track.peer.ask_keyframe(track, stream)
            elif stream is not None and forwarder.stream is stream:
                forwarding.cancel(forwarder)
                if stream.svc and forwarder.top < min(forwarder.spatial, track.spatial(self.layer)):
                    track.peer.ask_keyframe(track, stream)  # a spatial layer begins at one
        self.tell(paused, reason)

    def spatial(self) -> int:
        """The highest spatial layer chosen. While those of a stream are not known it is the lowest, as with rids."""
        if self._alone():
            return 0
        if self.track is not None and self.track.rids:
            return ALL_LAYERS
        return SPATIAL.index(self.layer) if self.layer in SPATIAL else 0

    def _alone(self) -> bool:
        """Whether only the lowest spatial layer can be had: Chromium puts those of AV1 together by the dependency descriptor alone."""
        streams = self.track.streams.values() if self.track is not None else ()
        return not self.forwarder.descriptor_id and any(stream.layered == AV1 for stream in streams)

    def layers(self, now: float) -> list[tuple[str, int, int]]:
        """What of its track the subscriber may be given, as `Track.layers`."""
        assert self.track is not None
        found = self.track.layers(now)
        return [layer for layer in found if layer[0] == found[0][0]] if self._alone() and not self.track.rids else found

    def climb(self, now: float) -> None:
        """Once a second: a layer that is waited for comes with a keyframe, which is asked for again; requests are lost too."""
        forwarder = self.forwarder
        stream, track = forwarder.stream, self.track
        if stream is None or track is None or not stream.svc or now - stream.last_time > 1.0:
            return
        if forwarder.chain is not None:
            behind = forwarder.chain.behind
        else:
            behind = forwarder.top < forwarder.spatial or forwarder.passing < forwarder.temporal
        self.waits = self.waits + 1 if behind else 0
        if self.waits > 1:
            track.peer.ask_keyframe(track, stream)

    def tell(self, paused: bool, reason: str) -> None:
        """The subscriber's listener hears of a choice that differs from the last one."""
        if self.track is None:
            return
        limited = reason
        names = self.track.names
        best = self.wanted_layer if self.wanted_layer in names else next(reversed(names), "")
        if not limited and (self.temporal >= 0 or (names and self.layer != best)):
            # The best of what comes is not the best there is: the publisher's link carries no more.
            limited = "bandwidth" if self.limited is None or self.limited == "bandwidth" else "source"
        if not paused and self.dry:
            paused, limited = True, "source"
        rate = int(self.track.rate(self.layer))
        choice = LayerChoice(self.track.id, self.layer, self.temporal, paused, limited, rate)  # type: ignore[arg-type]
        before = self.told
        if before is None or (before.layer, before.temporal, before.paused, before.reason) != (
            choice.layer, choice.temporal, choice.paused, choice.reason
        ):
            self.told = choice
            self.peer.notify(self.peer.listener.on_layer, choice)
