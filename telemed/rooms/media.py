"""What a room's participants publish and receive: between the rights of the room and the media relay."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Protocol

from telemed.ports import (
    LABEL,
    AnotherConnection,
    LayerChoice,
    Limit,
    MediaError,
    MediaPeer,
    MediaRelay,
    PeerState,
    Published,
    Quality,
    Source,
    TrackInfo,
)
from telemed.rooms.mlines import mlines
from telemed.rooms.participant import Participant
from telemed.rooms.refused import Refused
from telemed.rooms.roles import NEEDED, Right, kinds

log = logging.getLogger(__name__)
REFUSALS = frozenset({"sdp", "codec", "too-many-tracks", "not-allowed", "closed", "unknown-mid", "unknown-track", "full"})
QUALITY_EVERY = 10.0  # seconds between two samples of one participant told to those with the right to admit
_LABEL = re.compile(LABEL)
_FIGURES = tuple(f.name for f in fields(Quality))
_KINDS = {Source.MICROPHONE: "audio", Source.SCREEN_AUDIO: "audio", Source.CAMERA: "video", Source.SCREEN: "video"}
_FIRST = {
    "video": (Source.SCREEN, Source.CAMERA, Source.DEVICE, Source.MICROPHONE, Source.SCREEN_AUDIO),
    "audio": (Source.MICROPHONE, Source.DEVICE, Source.SCREEN_AUDIO, Source.CAMERA, Source.SCREEN),
}


class Speech(Protocol):
    """What Media needs of its room."""

    id: str
    participants: dict[str, Participant]

    def tell(self, participant: Participant, message: dict[str, Any], kept: bool = True) -> None: ...
    def tell_all(self, message: dict[str, Any], kept: bool = True, but: Participant | None = None, right: Right | None = None) -> None: ...
    def event(self, name: str, /, **fields: Any) -> None: ...
    def settle(self) -> None: ...
    def media_lost(self, participant: Participant) -> None: ...


def refused(error: MediaError) -> Refused:
    """The relay's refusal as the room's."""
    return Refused(error.code if error.code in REFUSALS else "sdp", str(error))


class Media:
    """Tracks in the order in which they came."""

    def __init__(self, room: Speech, relay: MediaRelay, ticks: Callable[[], float]) -> None:
        self._room, self._relay, self.ticks = room, relay, ticks
        self.tracks: dict[str, TrackInfo] = {}

    def record(self, track: TrackInfo, reader: Participant | None) -> dict[str, Any]:
        """As the protocol shows it; the m-line to the owner alone."""
        found = asdict(track)
        if not (reader is not None and reader.id == track.participant and track.mid):
            del found["mid"]
        return found

    def negotiate(
        self, who: Participant, offer: str, publish: Mapping[str, Published], wanted: Mapping[str, str | None]
    ) -> tuple[str, list[str]]:
        """The answer, and the mids whose track does not exist.

        Raises Refused.
        """
        if not who.admitted:
            raise Refused("not-admitted")
        lines = mlines(offer)
        sends: dict[str, Published] = {}
        for line in lines:
            if not line.sends:
                continue
            named = publish.get(line.mid)
            if named is None and line.receives and not who.publishes:
                continue  # sendrecv of one who may only watch: the relay answers it without taking anything
            named = named or Published(_usual(who, line.kind))
            self._check(who, line.mid, line.kind, named.source)
            sends[line.mid] = named
        receives = {line.mid for line in lines if line.receives}
        missing = sorted(mid for mid, track in wanted.items() if track is not None and (track not in self.tracks or mid not in receives))
        bound = {mid: track for mid, track in wanted.items() if track is not None and mid not in missing}
        try:
            may = kinds(who.identity.rights) if who.publishes else frozenset()
            try:
                answer = self._peer(who).negotiate(offer, sends, bound, may)
            except AnotherConnection:  # of a client that cannot restart ICE, or a page that was loaded again
                self.close(who)
                answer = self._peer(who).negotiate(offer, sends, bound, may)
        except MediaError as error:
            raise refused(error) from None
        return answer, missing

    def _peer(self, who: Participant) -> MediaPeer:
        """The peer that there is, or a new one."""
        if who.peer is None:
            events = PeerEvents(self._room, self, who)
            events.peer = who.peer = self._relay.join(self._room.id, who.id, events)
            who.media, who.media_at = PeerState.NEW, self.ticks()
        return who.peer

    @staticmethod
    def _check(who: Participant, mid: str, kind: str, source: Source) -> None:
        expected = _KINDS.get(source, kind)
        if expected != kind:
            raise Refused("bad-message", f"publish {mid}: {source} on an m-line of {kind}")
        needed = NEEDED[source] if source is not Source.DEVICE else {Right.AUDIO if kind == "audio" else Right.VIDEO}
        if who.via == "whep" or not needed & who.identity.rights:
            raise Refused("not-allowed", f"publish {mid}: {source}")

    def candidate(self, who: Participant, candidate: str, mid: str) -> None:
        """One more candidate of the client; without a peer it comes too late or too early and is nothing."""
        if who.peer is not None:
            try:
                who.peer.add_candidate(candidate, mid)
            except MediaError as error:
                raise refused(error) from None

    def bind(self, who: Participant, mid: str, track: str | None) -> None:
        """Raises Refused."""
        if who.peer is None:
            raise Refused("unknown-mid")
        if track is not None and track not in self.tracks:
            raise Refused("unknown-track")
        try:
            who.peer.bind(mid, track)
        except MediaError as error:
            raise refused(error) from None

    def mute(self, by: Participant, track_id: str, muted: bool) -> None:
        """Raises Refused."""
        track = self.tracks.get(track_id)
        if track is None:
            raise Refused("unknown-track")
        owner = self._room.participants.get(track.participant)
        own = track.participant == by.id
        if not own and not (muted and by.may(Right.MUTE)):
            raise Refused("not-allowed")
        if owner is None or owner.peer is None:
            raise Refused("unknown-track")
        if track.muted == muted:
            return
        owner.peer.mute(track_id, muted)
        self.tracks[track_id] = track = replace(track, muted=muted)
        self._room.tell_all({"type": "track-changed", "track": self.record(track, None)})
        if not own:
            self._room.tell(owner, {"type": "muted", "track": track_id, "by": by.id})
        self._room.event("muted", participant=track.participant, track=track_id, muted=muted, by=by.id)

    def limited(self, by: Participant, track_id: str, limit: Limit) -> None:
        """What the publisher says holds its track back, so that the others are told whose machine or link it is. Raises Refused."""
        track = self.tracks.get(track_id)
        if track is None:
            raise Refused("unknown-track")
        if track.participant != by.id:
            raise Refused("not-allowed")
        if track.limited != limit:
            self.tracks[track_id] = track = replace(track, limited=limit)
            self._room.tell_all({"type": "track-changed", "track": self.record(track, None)}, but=by)

    def prefer(self, who: Participant, track: str, layer: str | None, paused: bool, priority: int) -> None:
        """Raises Refused."""
        if track not in self.tracks or who.peer is None:
            raise Refused("unknown-track")
        try:
            who.peer.prefer(track, layer, paused, priority)
        except MediaError as error:
            raise refused(error) from None

    def main(self) -> str | None:
        """The participant whom WHEP shows when it is not told whom: token's word, else the first video, else the first sound."""
        publishing = list(self.tracks.values())
        for track in publishing:
            owner = self._room.participants.get(track.participant)
            if owner is not None and owner.identity.main:
                return track.participant
        for kind in ("video", "audio"):
            for track in publishing:
                if track.kind == kind:
                    return track.participant
        return None

    def choice(self, follows: str | None, lines: Mapping[str, str]) -> dict[str, str | None]:
        """mid -> track for one who watches; each track once."""
        publisher = follows or self.main()
        left = [track for track in self.tracks.values() if track.participant == publisher]
        chosen: dict[str, str | None] = {}
        for mid, kind in lines.items():
            fitting = sorted((t for t in left if t.kind == kind), key=lambda t: _FIRST[t.kind].index(t.source))
            chosen[mid] = fitting[0].id if fitting else None
            if fitting:
                left.remove(fitting[0])
        return chosen

    def _rebind(self) -> None:
        main = self.main()
        for who in self._room.participants.values():
            if not who.watch or who.peer is None:
                continue
            for mid, track in self.choice(who.follows or main, who.watch).items():
                if who.bound.get(mid) != track:
                    who.bound[mid] = track
                    try:
                        who.peer.bind(mid, track)
                    except MediaError:
                        log.warning("room %s: cannot show %s on m-line %s of %s", self._room.id, track, mid, who.id)

    def added(self, track: TrackInfo) -> None:
        """A publication became live."""
        fresh = track.id not in self.tracks
        if not fresh:  # the relay does not know what the publisher said
            track = replace(track, limited=self.tracks[track.id].limited)
        self.tracks[track.id] = track
        owner = self._room.participants.get(track.participant)
        name = "track-added" if fresh else "track-changed"
        self._room.tell_all({"type": name, "track": self.record(track, None)}, but=owner)
        if owner is not None:
            self._room.tell(owner, {"type": name, "track": self.record(track, owner)})
        if fresh:
            self._room.event("track", participant=track.participant, track=self.record(track, None), on=True)
            self._rebind()
            self._room.settle()

    def gone(self, track_id: str) -> None:
        """A publication ended."""
        track = self.tracks.pop(track_id, None)
        if track is None:
            return
        self._room.tell_all({"type": "track-removed", "track": track_id})
        self._room.event("track", participant=track.participant, track=self.record(track, None), on=False)
        self._rebind()
        self._room.settle()

    def close(self, who: Participant) -> None:
        """Ends the peer of one who leaves or comes anew, and what it published."""
        peer, who.peer, who.media = who.peer, None, PeerState.NEW
        who.bound.clear()
        for track in [t.id for t in self.tracks.values() if t.participant == who.id]:
            self.gone(track)
        if peer is not None:
            try:
                peer.close()
            except Exception:
                log.exception("room %s: closing the peer of %s", self._room.id, who.id)

    def sample(self, who: Participant, quality: Quality) -> None:
        """A participant's link over the last period."""
        who.summary.add(quality)
        message = {"type": "quality", "participant": who.id, **{name: getattr(quality, name) for name in _FIGURES}}
        self._room.tell(who, message, kept=False)
        now = self.ticks()
        if now - who.quality_told >= QUALITY_EVERY:
            who.quality_told = now
            self._room.tell_all(message, kept=False, but=who, right=Right.ADMIT)

    def data(self, who: Participant, label: str, message: bytes | str) -> None:
        """A data channel's message to everybody else's: of who may write or publishes, as vital signs of a device."""
        if not (who.may(Right.CHAT) or who.publishes) or not _LABEL.fullmatch(label):
            return
        for other in list(self._room.participants.values()):
            if other is not who and other.admitted and other.peer is not None and other.via != "whep":
                other.peer.send_data(label, who.id, message)


def _usual(who: Participant, kind: str) -> Source:
    """The source of a sending m-line that the client did not name."""
    if who.via == "whip":
        return Source.DEVICE
    return Source.MICROPHONE if kind == "audio" else Source.CAMERA


class PeerEvents:
    """A participant's peer speaking (ports.Listener). Once the participant has another peer or none, what it says is nothing."""

    __slots__ = ("_media", "_room", "_who", "peer")

    def __init__(self, room: Speech, media: Media, who: Participant) -> None:
        self._room, self._media, self._who = room, media, who
        self.peer: object | None = None

    def _stale(self) -> bool:
        return self.peer is not None and self._who.peer is not self.peer

    def on_state(self, state: PeerState) -> None:
        if self._stale():
            return
        self._who.media = state
        self._who.media_at = self._media.ticks()
        if state is PeerState.CLOSED:
            self._room.media_lost(self._who)
        else:
            self._room.settle()

    def on_track(self, track: TrackInfo) -> None:
        if not self._stale():
            self._media.added(track)

    def on_track_gone(self, track_id: str) -> None:
        if not self._stale():
            self._media.gone(track_id)

    def on_layer(self, choice: LayerChoice) -> None:
        if not self._stale():
            self._room.tell(self._who, {"type": "layer", **asdict(choice)}, kept=False)

    def on_quality(self, quality: Quality) -> None:
        if not self._stale():
            self._media.sample(self._who, quality)

    def on_data(self, label: str, message: bytes | str) -> None:
        if not self._stale():
            self._media.data(self._who, label, message)
