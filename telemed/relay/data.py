"""A peer's data channels in its room: when they begin and end, and how fast one peer may make the relay and the others work.

Nothing on a reliable channel may be dropped, so whoever sends too fast is slowed by SCTP's own window: it shrinks by what the
sender has cost lately and by what waits for the slowest of the others. Whoever does not keep to the window loses datagrams, as
on a link that is full.
"""

from struct import unpack_from
from typing import TYPE_CHECKING, Final

from telemed.relay.sctp import WINDOW, DataChannels
from telemed.wire import sdp

if TYPE_CHECKING:
    from telemed.relay.peer import Peer

# Cost: a byte in, and a byte and MESSAGE_COST a message to each receiver. 1 MB/s from one to one other is 2 MB/s of it and 6% of a core.
RATE: Final = 2_000_000.0  # a second, of one peer
TOTAL: Final = 4_000_000.0  # of all peers of the relay that send at the time
MESSAGE_COST: Final = 4_096
POLICED: Final = 4 * WINDOW  # a peer that owes more does not keep to the window
SHARE, MOST = 0.2, 0.8  # of a link's estimate: what data get however much sound and pictures take, and what all of them fill together
MAX_EARLY: Final = 64 << 10  # bytes kept for a peer whose handshake is not done


class Data:
    """What `Peer` asks of data channels. All calls are on the relay's loop and none raises."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self._remote: tuple[int, int] | None = None  # the peer's SCTP port, the largest message it takes
        self._channels: DataChannels | None = None
        self._early: list[tuple[str, str, bytes | str]] = []
        self._early_bytes = 0
        self._debt = 0.0
        self._slowest = 0  # bytes that wait for the slowest of the others
        self._at = 0.0
        self.policed = 0  # datagrams of the peer that were dropped

    def agree(self, offered: sdp.Media | None) -> None:
        """What an offer says of data channels, None: there are none (any more). They may come with a later offer than the first."""
        if offered is None:
            self.close()
            return
        self._remote = (offered.sctp_port, offered.max_message_size)
        if self._channels is None or self._channels.closed:
            self.begin()

    def begin(self) -> None:
        """DTLS is connected, or channels were agreed on since."""
        dtls = self._peer.dtls
        if dtls is None or not dtls.connected or self._remote is None:
            return
        if self._channels is not None:
            self._channels.close()
        self._channels = DataChannels(dtls.send, dtls.server, *self._remote, self._message)
        early, self._early, self._early_bytes = self._early, [], 0
        for item in early:
            self._channels.send(*item)

    def receive(self, datagram: bytes) -> None:
        """What DTLS brought."""
        if self._channels is None:
            return
        if self._debt > POLICED and carries_data(datagram):
            self.policed += 1
            return
        if len(datagram) > 256:  # less is mostly acknowledgements of what we send; a message in it is charged as one
            self._charge(len(datagram))
        self._channels.receive(datagram)

    def send(self, label: str, sender: str, message: bytes | str) -> None:
        """To the peer. Vital signs entered while it is still connecting are not to be lost."""
        if self._channels is not None:
            self._channels.send(label, sender, message)
            self._peer.endpoint.due = 0.0
        elif self._remote is not None and self._early_bytes + len(message) <= MAX_EARLY:
            self._early_bytes += len(message) + len(label) + len(sender) + 64
            self._early.append((label, sender, message))

    def left(self, participant: str) -> None:
        """Another of the room is gone: its channels to this peer end."""
        if self._channels is not None:
            self._channels.forget(participant)

    @property
    def waiting(self) -> int:
        """Bytes that wait until the peer's link takes them."""
        return self._channels.buffered if self._channels is not None else 0

    def tick(self, now: float) -> None:
        """Ten times a second."""
        if self._channels is None:
            return
        self._channels.tick(now)
        self._channels.pace(self._spare())
        relay = self._peer.relay
        if self._peer in relay.sending:
            self._debt = max(0.0, self._debt - min(RATE, TOTAL / len(relay.sending)) * (now - self._at))
            self._at = now
            self._slowest = max((other.data.waiting for other in self._others()), default=0)
            self._channels.hold(int(self._debt) + self._slowest)
            if not self._debt and not self._slowest:
                relay.sending.discard(self._peer)

    @property
    def still(self) -> bool:
        """Whether nothing waits to be sent, nor is the peer slowed: until then there is nothing to be done ten times a second."""
        return self._channels is None or (self._peer not in self._peer.relay.sending and not self._channels.buffered)

    def _spare(self) -> float:
        """Bytes a second that sound and pictures leave of the peer's link, a share of it at least; 0 when it gets none of them: all."""
        slots, link = self._peer.slots.values(), self._peer.reports.link
        if all(slot.forwarder.stream is None for slot in slots):
            return 0.0
        least = SHARE * link.estimate / 8
        if link.probe is not None:
            return least  # it is more than the link was ever seen to carry
        return max(least, MOST * link.estimate / 8 - link.byte_rate)

    def close(self) -> None:
        """End them; the peer is told."""
        self._remote = None
        self._early.clear()
        self._early_bytes = 0
        if self._channels is not None:
            self._channels.close()
            self._channels = None

    def _message(self, label: str, message: bytes | str) -> None:
        receivers = sum(other.data._channels is not None for other in self._others())
        self._charge((len(message) + MESSAGE_COST) * max(1, receivers))
        self._peer.notify(self._peer.listener.on_data, label, message)

    def _charge(self, cost: int) -> None:
        if self._peer not in self._peer.relay.sending:
            self._peer.relay.sending.add(self._peer)
            self._at = self._peer.relay.now()
            self._peer.endpoint.due = 0.0
        self._debt += cost
        if self._channels is not None:
            self._channels.hold(int(self._debt) + self._slowest)

    def _others(self) -> "list[Peer]":
        room = self._peer.relay.rooms.get(self._peer.room)
        return [peer for peer in room.peers if peer is not self._peer] if room is not None else []


def carries_data(datagram: bytes) -> bool:
    """Whether an SCTP packet has a DATA chunk (RFC 9260 3.3.1); what cannot be read counts as one."""
    at = 12
    while at + 4 <= len(datagram):
        kind, _, length = unpack_from("!BBH", datagram, at)
        if kind == 0 or length < 4:
            return True
        at += length + -length % 4
    return False
