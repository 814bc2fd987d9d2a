"""What of a room goes to its recording: of each track the highest layer that comes, changed at keyframes."""

from collections.abc import Callable
from typing import Final

from telemed.ports import Tap
from telemed.relay.forward import Stream
from telemed.relay.track import Track

ASK_SECONDS: Final = 2.0  # between two requests for the keyframe at which the layer is changed
CODECS: Final = frozenset(("opus", "red", "vp8", "vp9", "h264", "av1"))  # others (telephone events, comfort noise) come beside them
NTP_SECOND: Final = 1 << 32


class Feed:
    """One track on its way to the tap."""

    def __init__(self, track: Track, tap: Tap) -> None:
        self._track, self._tap = track, tap
        self._write: Callable[[bytes, float], None] | None = None
        self._stream: Stream | None = None  # whose packets are taken
        self._next: Stream | None = None  # whose keyframe is awaited
        self._kind = -1  # payload type of the last packet
        self._codec = ""
        self._asked = 0.0
        self._report: object = None

    def update(self, now: float) -> None:
        """Takes the layer that is best now, and tells of its sender reports."""
        track = self._track
        if track.muted:
            self._leave()
            return
        active = track.active(now)
        best = self._best(active)
        if best is not None and best is not self._stream:
            running = any(track.streams[rid] is self._stream for rid in active)
            if track.kind == "video" and running:
                self._await(best, now)
            else:
                self._switch(best)
                self.ask(now)
        elif self._next is not None:
            self._next.recorder = None
            self._next = None
        report = self._stream.report if self._stream is not None else None
        if report is not None and report is not self._report and self._write is not None:
            self._report = report
            self._tap.report(track.id, report.ntp / NTP_SECOND, report.rtp)

    def _best(self, active: list[str]) -> Stream | None:
        """The highest that sends; while none does what is taken already, else the highest there is."""
        streams = self._track.streams
        if not active:
            if self._stream in streams.values():
                return self._stream
            active = [rid for rid in (self._track.rids or ("",)) if rid in streams]
        return streams[active[-1]] if active else None

    def ask(self, now: float) -> None:
        """For a keyframe of what is taken, and of what is awaited."""
        self._asked = now
        for stream in (self._stream, self._next):
            if stream is not None and self._track.kind == "video":
                self._track.peer.ask_keyframe(self._track, stream)

    def end(self) -> None:
        """Nothing more is taken."""
        self._leave()
        self._close()

    def _leave(self) -> None:
        for stream in (self._stream, self._next):
            if stream is not None:
                stream.recorder = None
        self._stream = self._next = None

    def _close(self) -> None:
        if self._write is not None:
            self._write = None
            self._tap.close(self._track.id)

    def _await(self, best: Stream, now: float) -> None:
        """The picture stays the old layer's until the new one can begin."""
        if self._next is not best:
            if self._next is not None:
                self._next.recorder = None
            self._next = best
            keyframe = best.keyframe

            def take(packet: bytes, arrival: float) -> None:
                payload = memoryview(packet)[12:]
                if payload and (keyframe is None or keyframe(payload, packet[1])):
                    self._switch(best)
                    if best.recorder is not None:
                        best.recorder(packet, arrival)

            best.recorder = take
        elif now - self._asked < ASK_SECONDS:
            return
        self.ask(now)

    def _switch(self, stream: Stream) -> None:
        self._leave()
        self._stream, self._report = stream, None
        ssrc = stream.ssrc.to_bytes(4, "big")

        def take(packet: bytes, arrival: float) -> None:
            kind = packet[1] & 127
            if kind != self._kind:
                self._kinds(kind)
            if self._write is not None:
                # What is cached has the audio level where the SSRC was.
                self._write(packet[:8] + ssrc + packet[12:], arrival)

        stream.recorder = take

    def _kinds(self, kind: int) -> None:
        """Another payload type: mostly the first; another codec is another file."""
        self._kind = kind
        agreed = self._track.formats.get(kind)
        if agreed is None or agreed.name not in CODECS or agreed.name == self._codec:
            return
        if self._codec == "red" and agreed.name == "opus":
            return  # what the redundant ones carry, sent plainly
        self._close()
        self._codec = agreed.name
        within = {agreed.name, "opus"} if agreed.name == "red" else {agreed.name}
        types = {f.payload_type: f.written for f in self._track.formats.values() if f.name in within}
        self._write = self._tap.open(self._track.info(), agreed.written, agreed.clock, types)


class Tapped:
    """All tracks of a room."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._feeds: dict[str, Feed] = {}

    def track(self, track: Track, now: float) -> None:
        """It came, was muted or unmuted, or has another stream."""
        feed = self._feeds.get(track.id)
        if feed is None:
            feed = self._feeds[track.id] = Feed(track, self._tap)
        feed.update(now)

    def gone(self, track: Track) -> None:
        feed = self._feeds.pop(track.id, None)
        if feed is not None:
            feed.end()

    def ask(self, track_id: str, now: float) -> None:
        feed = self._feeds.get(track_id)
        if feed is not None:
            feed.ask(now)

    def tick(self, now: float) -> None:
        for feed in self._feeds.values():
            feed.update(now)

    def end(self) -> None:
        for feed in self._feeds.values():
            feed.end()
        self._feeds.clear()
