"""A media relay that carries nothing and remembers everything, and offers for it."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

from telemed.ports import Listener, MediaError, PeerState, Published, RoomListener, Tap, TrackInfo
from telemed.rooms.mlines import mlines


def offer(*lines: tuple[str, str], ufrag: str = "abcd", pwd: str = "p" * 24, codec: str = "") -> str:
    """An offer of (kind, direction) m-lines with mids 0, 1, ..."""
    out = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    for mid, (kind, direction) in enumerate(lines):
        out += [f"m={kind} 9 UDP/TLS/RTP/SAVPF 96", f"a=mid:{mid}", f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", f"a={direction}"]
        out += [f"a=rtpmap:96 {codec or ('opus/48000/2' if kind == 'audio' else 'VP8/90000')}"]
    return "\r\n".join(out) + "\r\n"


BOTH = offer(("audio", "sendonly"), ("video", "sendonly"))
WATCH = offer(("audio", "recvonly"), ("video", "recvonly"))


class FakePeer:
    """`calls`: what was asked, in order."""

    def __init__(self, relay: "FakeRelay", room: str, participant: str, listener: Listener) -> None:
        self.relay, self.room, self.participant, self.listener = relay, room, participant, listener
        self.calls: list[tuple[Any, ...]] = []
        self.published: dict[str, TrackInfo] = {}
        self.bound: dict[str, str | None] = {}
        self.closed = False
        self.restarts = 0

    def negotiate(
        self, offer: str, publish: Mapping[str, Published], wanted: Mapping[str, str], kinds: frozenset[str] = frozenset(("audio", "video"))
    ) -> str:
        if "bad-codec" in offer:
            raise MediaError("codec", "nothing in common")
        self.calls.append(("negotiate", dict(publish), dict(wanted), kinds))
        self.restarts += 1
        lines = {line.mid: line for line in mlines(offer)}
        for mid, named in publish.items():
            if mid not in self.published:
                kind: Any = lines[mid].kind
                id = f"t{next(self.relay.numbers)}"
                track = TrackInfo(id, self.participant, kind, named.source, named.name, "opus" if kind == "audio" else "VP8", mid=mid)
                self.published[mid] = track
                self.listener.on_track(track)
        for mid in [mid for mid in self.published if mid not in publish]:
            self.listener.on_track_gone(self.published.pop(mid).id)
        self.bound.update(wanted)
        head = f"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=ice-ufrag:srv{self.restarts}\r\na=ice-pwd:{'s' * 24}\r\n"
        candidate = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host"
        return head + "".join(f"m={line.kind} 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{mid}\r\n{candidate}\r\n" for mid, line in lines.items())

    def bind(self, mid: str, track_id: str | None) -> None:
        self.calls.append(("bind", mid, track_id))
        self.bound[mid] = track_id

    def add_candidate(self, candidate: str, mid: str) -> None:
        self.calls.append(("candidate", candidate, mid))

    def mute(self, track_id: str, muted: bool) -> None:
        self.calls.append(("mute", track_id, muted))

    def prefer(self, track_id: str, layer: str | None, paused: bool, priority: int) -> None:
        self.calls.append(("prefer", track_id, layer, paused, priority))

    def send_data(self, label: str, sender: str, message: bytes | str) -> None:
        self.calls.append(("data", label, sender, message))

    def close(self) -> None:
        self.closed = True
        self.listener.on_state(PeerState.CLOSED)


class FakeRelay:
    """ports.MediaRelay."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.peers: list[FakePeer] = []
        self.listeners: dict[str, RoomListener] = {}
        self.taps: dict[str, Tap] = {}
        self.keyframes: list[tuple[str, str]] = []

    def join(self, room: str, participant: str, listener: Listener) -> FakePeer:
        peer = FakePeer(self, room, participant, listener)
        self.peers.append(peer)
        return peer

    def peer(self, participant: str) -> FakePeer:
        """The newest of that participant."""
        return next(peer for peer in reversed(self.peers) if peer.participant == participant)

    def listen(self, room: str, listener: RoomListener | None) -> None:
        if listener is None:
            self.listeners.pop(room, None)
        else:
            self.listeners[room] = listener

    def tracks(self, room: str) -> list[TrackInfo]:
        return [track for peer in self.peers if peer.room == room and not peer.closed for track in peer.published.values()]

    def tap(self, room: str, tap: Tap | None) -> None:
        if tap is None:
            self.taps.pop(room, None)
        else:
            self.taps[room] = tap

    def keyframe(self, room: str, track_id: str) -> None:
        self.keyframes.append((room, track_id))

    def load(self) -> dict[str, float]:
        return {"peers": float(sum(not peer.closed for peer in self.peers))}


class FakeEar:
    """Hears what a participant is told."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.code: int | None = None
        self.let_in_by: str | None = None

    def tell(self, text: str, kept: bool) -> None:
        self.heard.append(json.loads(text))

    def admitted(self, by: str) -> None:
        self.let_in_by = by

    def finish(self, code: int) -> None:
        self.code = code

    def types(self) -> list[str]:
        return [message["type"] for message in self.heard]

    def last(self, kind: str) -> dict[str, Any]:
        return next(message for message in reversed(self.heard) if message["type"] == kind)
