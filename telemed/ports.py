"""What signalling asks of the media relay and hears from it: plain records and two protocols, so that each is built and tested alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

Kind = Literal["audio", "video"]
LABEL: Final = "[a-z0-9-]{1,40}"  # of data, over a channel and over signalling


class Source(StrEnum):
    """What a track shows; a client names it when it publishes."""

    MICROPHONE = "microphone"
    CAMERA = "camera"
    SCREEN = "screen"
    SCREEN_AUDIO = "screen-audio"
    DEVICE = "device"


class PeerState(StrEnum):
    """Where a peer's transport stands."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    INTERRUPTED = "interrupted"  # consent lost (RFC 7675); packets or an ICE restart bring it back
    CLOSED = "closed"


class MediaError(ValueError):
    """A request that the relay refuses: `code` is for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class AnotherConnection(MediaError):
    """A good offer, but of another RTCPeerConnection than this peer's (a new fingerprint, RFC 8842 3.1): close it and `join` anew."""

    def __init__(self) -> None:
        super().__init__("closed", "another fingerprint is another connection")


@dataclass(frozen=True, slots=True)
class Published:
    """What an offer says of one m-line that it sends on."""

    source: Source
    name: str = ""


Limit = Literal["", "device", "link"]


@dataclass(frozen=True, slots=True)
class TrackInfo:
    """One published track, as others of the room may know it."""

    id: str
    participant: str
    kind: Kind
    source: Source
    name: str
    codec: str  # "opus", "VP8", ...
    layers: tuple[str, ...] = ()  # rids from low to high, empty without simulcast
    muted: bool = False
    mid: str = ""  # the publisher's own m-line, for its eyes only
    limited: Limit = ""  # what the publisher says holds it back: its machine, its way up, or nothing


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """What a subscriber gets of a track, and why it is not more."""

    track: str
    layer: str  # rid, "" without simulcast
    temporal: int  # highest temporal layer forwarded, -1: all
    paused: bool
    reason: Literal["", "bandwidth", "muted", "asked", "source"]
    bitrate: int  # bit/s


@dataclass(slots=True)
class Quality:
    """A participant's link over the last period, both directions seen from the relay."""

    seconds: float
    sent_packets: int = 0
    sent_lost: float = 0.0  # fraction, as the receiver reports it
    received_packets: int = 0
    received_lost: float = 0.0  # fraction, after recovery
    jitter_ms: float = 0.0
    round_trip_ms: float = 0.0
    estimate_bps: int = 0  # what the relay believes the subscriber's link carries
    received_bps: int = 0
    sent_bps: int = 0
    mos: float = 0.0  # 1 to 4.5, ITU-T G.107 simplified for Opus; 0: nothing measured
    tracks: dict[str, dict[str, Any]] = field(default_factory=dict)


class Listener(Protocol):
    """Called by the relay on its event loop; must not block and must not raise."""

    def on_state(self, state: PeerState) -> None: ...
    def on_track(self, track: TrackInfo) -> None: ...  # this peer publishes it; its packets follow
    def on_track_gone(self, track_id: str) -> None: ...
    def on_layer(self, choice: LayerChoice) -> None: ...
    def on_quality(self, quality: Quality) -> None: ...
    def on_data(self, label: str, message: bytes | str) -> None: ...


class RoomListener(Protocol):
    """What concerns a whole room."""

    def on_speakers(self, room: str, levels: Mapping[str, float]) -> None: ...  # participant -> dBov, loudest first


class MediaPeer(Protocol):
    """One participant's transport in one room."""

    def negotiate(
        self, offer: str, publish: Mapping[str, Published], wanted: Mapping[str, str], kinds: frozenset[str] = frozenset(("audio", "video"))
    ) -> str:
        """The answer to an offer (RFC 9429, JSEP).

        `wanted` maps the mid of a recvonly m-line to a track id. An offer with new ICE credentials is an ICE restart.

        Raises MediaError (codes: sdp, codec, too-many-tracks, not-allowed, closed), AnotherConnection.
        """
        ...

    def bind(self, mid: str, track_id: str | None) -> None:
        """Puts another track on a recvonly m-line, or none; needs no offer.

        Raises MediaError (codes: unknown-mid, unknown-track, closed).
        """
        ...

    def add_candidate(self, candidate: str, mid: str) -> None: ...
    def mute(self, track_id: str, muted: bool) -> None: ...
    def prefer(self, track_id: str, layer: str | None, paused: bool, priority: int) -> None: ...
    def send_data(self, label: str, sender: str, message: bytes | str) -> None: ...
    def close(self) -> None: ...


class Tap(Protocol):
    """What takes a room's packets as they come, for a recording. Called on the relay's event loop; must not block and must not raise."""

    def open(self, track: TrackInfo, codec: str, clock: int, types: Mapping[int, str]) -> Callable[[bytes, float], None] | None:
        """A track's first packet is here, or one of another codec. clock: Hz; types: the codec's name by payload type.

        What is returned takes each RTP packet (RFC 3550 5.1, no extensions) with its arrival on the clock of `time.monotonic`, one layer
        at a time, late ones when they come; None: nothing of this track.
        """
        ...

    def report(self, track_id: str, ntp: float, rtp: int) -> None:
        """Both clocks of a sender report (RFC 3550 6.4.1) of the layer that is taken; ntp in seconds."""
        ...

    def close(self, track_id: str) -> None:
        """No more of this track comes, or it goes on by another `open`."""
        ...


class MediaRelay(Protocol):
    """The relay as signalling sees it."""

    def join(self, room: str, participant: str, listener: Listener) -> MediaPeer: ...
    def listen(self, room: str, listener: RoomListener | None) -> None: ...
    def tracks(self, room: str) -> list[TrackInfo]: ...
    def tap(self, room: str, tap: Tap | None) -> None: ...  # of every track the highest layer that comes; muted ones rest; None: no more
    def keyframe(self, room: str, track_id: str) -> None: ...  # one is needed of a tapped track
    def load(self) -> Mapping[str, float]: ...  # peers, rooms, packets a second, cpu share
