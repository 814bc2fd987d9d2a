"""Whose packet it is: streams seen for the first time, by announced SSRC, by mid and rid extensions, by payload type (RFC 8843 9.2)."""

from typing import TYPE_CHECKING, Final

from telemed.relay.forward import Stream
from telemed.relay.negotiate import Line
from telemed.wire import rtp
from telemed.wire.errors import WireError

if TYPE_CHECKING:
    from telemed.relay.peer import Peer
    from telemed.relay.track import Track

MAX_STREAMS: Final = 64  # SSRCs of one peer, RTX included; more is no browser
MAX_UNKNOWN: Final = 500  # packets without a home that are looked at, so that a flood of SSRCs costs little


class Identify:
    """The streams of one publishing peer."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self.ids = (0, 0, 0)  # extension ids of mid, rid, repaired rid
        self._announced: dict[int, tuple[str, int]] = {}  # ssrc -> (mid, ssrc it resends or 0)
        self._unknown = 0

    def learn(self, lines: list[Line]) -> None:
        """SSRCs that the offer announces."""
        self._announced = {ssrc: (line.mid, resends) for line in lines if line.use == "receive" for ssrc, resends in line.ssrcs.items()}
        self._unknown = 0

    def forget(self, track: "Track") -> None:
        """The track ended: its streams are nobody's."""
        streams = self._peer.endpoint.streams
        gone = {id(s) for s in track.streams.values()}
        for ssrc in [n for n, s in streams.items() if id(s) in gone or (s.rtx_of is not None and id(s.rtx_of) in gone)]:
            self._peer.endpoint.drop(ssrc)

    def find(self, packet: bytes) -> Stream | None:
        """The stream a packet begins, made now; None when it is nobody's."""
        endpoint, forwarding = self._peer.endpoint, self._peer.relay.forwarding
        streams = endpoint.streams
        if self._unknown >= MAX_UNKNOWN or len(streams) >= MAX_STREAMS:
            return None
        self._unknown += 1
        try:
            header = rtp.parse(packet)
            found = rtp.extensions(packet, header)
        except WireError:
            return None
        mid_id, rid_id, repaired_id = self.ids
        mid = bytes(found.get(mid_id, b"")).decode("ascii", "replace") if mid_id else ""
        rid = bytes(found.get(rid_id, b"")).decode("ascii", "replace") if rid_id else ""
        repaired = bytes(found.get(repaired_id, b"")).decode("ascii", "replace") if repaired_id else ""
        announced = self._announced.get(header.ssrc)
        if not mid and announced is not None:
            mid = announced[0]
        track = self._peer.tracks.get(mid) if mid else self._by_payload_type(header.payload_type)
        if track is None:
            return None
        if header.payload_type in track.rtx:
            base = self._base(track, repaired or rid, announced[1] if announced else 0)
            if base is None:
                return None
            stream = forwarding.stream(endpoint, header.ssrc, base.clock, False, track)
            stream.rtx_of = base
            stream.cache = []
        else:
            agreed = track.formats.get(header.payload_type)
            if agreed is None or (track.rids and rid not in track.rids) or (not track.rids and rid):
                return None
            before = track.streams.get(rid)
            stream = forwarding.stream(endpoint, header.ssrc, agreed.clock, track.kind == "video", track)
            if before is not None:
                # The publisher began anew with another SSRC: subscribers go on with it.
                endpoint.drop(before.ssrc)
                self._move(before, stream)
            track.payload_type = header.payload_type
            endpoint.add(stream)
            self._peer.started(track, rid, stream)
        endpoint.add(stream)
        self._unknown = 0
        return stream

    def _base(self, track: "Track", rid: str, ssrc: int) -> Stream | None:
        if ssrc:
            return next((s for s in track.streams.values() if s.ssrc == ssrc), None)
        if rid or not track.rids:
            return track.streams.get(rid) or (next(iter(track.streams.values()), None) if not track.rids else None)
        return None

    def _move(self, before: Stream, stream: Stream) -> None:
        forwarding = self._peer.relay.forwarding
        for forwarder in [*before.forwarders, *before.waiting]:
            forwarding.detach(forwarder)
        for rtx in [n for n, s in self._peer.endpoint.streams.items() if s.rtx_of is before]:
            self._peer.endpoint.streams[rtx].rtx_of = stream

    def _by_payload_type(self, payload_type: int) -> "Track | None":
        """Only one m-line has it: then it is that one's."""
        fitting = [t for t in self._peer.tracks.values() if payload_type in t.formats or payload_type in t.rtx]
        return fitting[0] if len(fitting) == 1 else None
