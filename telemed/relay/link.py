"""One subscriber's link: what it carries, by feedback, and which layers go over it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemed.relay.peer import Peer
    from telemed.wire import rtcp


class Link:
    """To be filled by the estimator."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self.estimate = 0.0
        self.packet_rate = 200.0
        self.dirty = False

    def feedback(self, packet: "rtcp.TransportFeedback", now: float) -> None: ...
    def remb(self, bitrate: int, now: float) -> None: ...
    def loss(self, fraction: float, round_trip: float, now: float) -> None: ...
    def tick(self, now: float) -> None: ...
