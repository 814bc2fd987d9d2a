"""The relay of one process: its sockets, rooms and peers, and the clocks that drive them."""

import asyncio
import logging
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from telemed.ports import Listener, MediaError, RoomListener, Tap, TrackInfo
from telemed.relay import sctp, sockets
from telemed.relay.build import Form, choose
from telemed.relay.dtls import Certificate
from telemed.relay.forward import Address, Endpoint, Forwarder, Round, Stream
from telemed.relay.link import Link
from telemed.relay.peer import Peer
from telemed.relay.tap import Tapped
from telemed.relay.tcp import TcpCandidates, TcpConnection
from telemed.relay.track import Track
from telemed.relay.twcc import Digest
from telemed.wire import stun
from telemed.wire.errors import WireError

if TYPE_CHECKING:
    from telemed.relay.waiting import Loop

log = logging.getLogger(__name__)

TICK: Final = 0.025  # gaps are asked for this often; each peer's other work is done every fourth tick
ROUNDS: Final = 4
FEW: Final = 4  # peers seen to in one tick: with more, those of the next round wait, for they would hold up media
UNEASY_SECONDS: Final = 0.3  # after feedback of a link that does not carry all that is wanted, where the tick reads it
TOGETHER: Final = 16  # peers whose reports go in one tick: one by one the code for them is cold each time, all at once they hold up media
SPEAKERS_SECONDS: Final = 0.3
SPEAKER_LEVEL: Final = 50  # -dBov below which someone is taken to speak
MAX_PEERS: Final = 4000


class Room:
    """Who is in a room and what is published there."""

    __slots__ = ("listener", "peers", "speaking", "tapped", "tracks")

    def __init__(self) -> None:
        self.peers: set[Peer] = set()
        self.tracks: dict[str, Track] = {}
        self.listener: RoomListener | None = None
        self.speaking: dict[str, float] = {}
        self.tapped: Tapped | None = None


class Relay:
    """`ports.MediaRelay` and the owner of the forwarding step."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, announce: tuple[tuple[str, int], ...] = (), tcp: bool = True,
        max_peers: int = MAX_PEERS, step: Form = "auto",
    ) -> None:
        self._host, self._port, self._announce, self._want_tcp, self._max = host, port, announce, tcp, max_peers
        self._step = step
        self.certificate = Certificate()
        self.fragments: dict[str, Peer] = {}
        self.rooms: dict[str, Room] = {}
        self.peers: set[Peer] = set()
        self.connecting: set[Peer] = set()
        self.gaps: set[Stream] = set()
        self.asking: dict[Stream, Track] = {}  # a keyframe of it is to be asked for when that may be done again
        self.probing: set[Link] = set()
        self.sending: set[Peer] = set()  # who sent over data channels lately
        self.candidates: tuple[str, ...] = ()
        self.address: tuple[str, int] = ("", 0)
        self._rounds: list[Round] = []
        self._turn = 0
        self._waits: Loop | None = None  # the event loop, where it forwards and settles while it waits
        self._slow = False  # the next tick is a late one, since nothing is to be done
        self._uneasy = 0.0  # until then reports are not left for long
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tcp: TcpCandidates | None = None
        self._speakers_at = 0.0
        self._cpu = (0.0, 0.0)
        self.late = 0.0  # seconds the last tick came late: what the loop is behind

    # Its life.

    async def start(self, attempts: int = 8) -> None:
        """Open the sockets. `attempts`: how many ports are tried when any will do (0). Raises OSError when the address is taken."""
        self._loop = asyncio.get_running_loop()
        sctp.prepare()  # before anyone is there who would hear how long it takes; not in a thread: its modules import each other
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock, reports = sockets.bind(family, self._host, self._port)
        self._sockets = [sock] if reports is None else [sock, reports]
        host, port = sock.getsockname()[:2]
        self.address = (host, port)
        self.forwarding = choose(self._step, sock, self, reports)
        self._rounds = [self.forwarding.round() for _ in range(ROUNDS)]
        if self._want_tcp:
            self._tcp = TcpCandidates(self)
            try:
                await self._tcp.start(self._host, port)
            except OSError:
                self._shut()
                if self._port or attempts <= 1:
                    raise
                await self.start(attempts - 1)  # port 0 is any port that is free for UDP; another program may have it for TCP
                return
        self.candidates = tuple(self._candidate_lines(host, port))
        self._loop.add_reader(sock.fileno(), self.forwarding.pump)
        if sys.platform == "linux":
            from telemed.relay.waiting import Loop  # there is no epoll elsewhere

            if isinstance(self._loop, Loop) and (waiter := self.forwarding.waiter()) is not None:
                self._loop.wait_by(waiter)
                self._waits = self._loop
        self._ticked = self._loop.time()
        self._next(TICK)

    def _candidate_lines(self, host: str, port: int) -> list[str]:
        places = self._announce or tuple((h, port) for h in (own_addresses() if host in ("0.0.0.0", "::") else [host]))  # noqa: S104
        lines = []
        for n, (name, number) in enumerate(places):
            # RFC 8445 5.1.2.1: host candidates; UDP before TCP.
            lines.append(f"candidate:{n + 1} 1 udp {(126 << 24) | ((65535 - n) << 8) | 255} {name} {number} typ host")
        if self._tcp is not None:
            for n, (name, number) in enumerate(places):
                lines.append(f"candidate:{n + 101} 1 tcp {(90 << 24) | ((65535 - n) << 8) | 255} {name} {number} typ host tcptype passive")
        return lines

    async def close(self) -> None:
        """Close every peer and the sockets."""
        for peer in list(self.peers):
            peer.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._tcp is not None:
            await self._tcp.close()
        if self._loop is not None:
            if self._waits is not None:
                self._waits.wait_by(None)
            self._loop.remove_reader(self._sockets[0].fileno())
            self._shut()
            await asyncio.sleep(0)  # what listeners are still to hear

    def _shut(self) -> None:
        for sock in self._sockets:
            sock.close()
        self.forwarding.close()

    # What signalling asks (ports.MediaRelay).

    def join(self, room: str, participant: str, listener: Listener) -> Peer:
        """A transport for one participant. Raises MediaError `full`."""
        if len(self.peers) >= self._max:
            raise MediaError("full", "this relay has no room for another participant")
        emptiest = min(self._rounds, key=len)
        peer = Peer(self, room, participant, listener, self.now(), len(emptiest) // TOGETHER % 10 / 10)
        self.rooms.setdefault(room, Room()).peers.add(peer)
        self.peers.add(peer)
        emptiest.add(peer.endpoint)
        return peer

    def listen(self, room: str, listener: RoomListener | None) -> None:
        """Who hears what concerns the whole room; None: no one any more."""
        if listener is not None:
            self.rooms.setdefault(room, Room()).listener = listener
        elif room in self.rooms:
            self.rooms[room].listener = None
            self._drop_empty(room)

    def tracks(self, room: str) -> list[TrackInfo]:
        """What is published in a room now."""
        found = self.rooms.get(room)
        return [track.info() for track in found.tracks.values()] if found is not None else []

    def tap(self, room: str, tap: Tap | None) -> None:
        """Everything that is published in a room goes to `tap` too, from now on; None: nothing any more."""
        found = self.rooms.get(room) if tap is None else self.rooms.setdefault(room, Room())
        if found is None:
            return
        before, found.tapped = found.tapped, Tapped(tap) if tap is not None else None
        if before is not None:
            before.end()
        for track in found.tracks.values():
            self.retap(track)
        if tap is None:
            self._drop_empty(room)

    def keyframe(self, room: str, track_id: str) -> None:
        """Ask the publisher of a tapped track for a keyframe; merged with what subscribers ask."""
        found = self.rooms.get(room)
        if found is not None and found.tapped is not None:
            found.tapped.ask(track_id, self.now())

    def load(self) -> Mapping[str, float]:
        """Figures for placing rooms and for watching: counts, packets since the start, share of a core since the last call."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu, now = usage.ru_utime + usage.ru_stime, monotonic()
        before, self._cpu = self._cpu, (cpu, now)
        share = (cpu - before[0]) / (now - before[1]) if before[1] and now > before[1] else 0.0
        return {
            "handshakes": len(self.connecting), "addresses": len(self.forwarding.endpoints), "faults": self.forwarding.faults,
            "tcp": len(self._tcp.connections) if self._tcp is not None else 0,
            "peers": len(self.peers), "rooms": len(self.rooms), "tracks": sum(len(r.tracks) for r in self.rooms.values()),
            "received": sum(p.endpoint.received_packets for p in self.peers), "sent": sum(p.endpoint.sent_packets for p in self.peers),
            "strangers": self.forwarding.strangers, "unsent": self.forwarding.not_sent(),
            "policed": sum(p.data.policed for p in self.peers), "cpu": share, "late": self.late,
        }

    # For peers.

    def now(self) -> float:
        """Seconds of the clock that all of the relay goes by."""
        return monotonic()

    def later(self, call: Callable[..., None], *args: Any) -> None:
        """Call when the present work is done."""
        assert self._loop is not None
        self._loop.call_soon(call, *args)

    def track(self, room: str, track_id: str) -> Track | None:
        """A track by its id."""
        found = self.rooms.get(room)
        return found.tracks.get(track_id) if found is not None else None

    def announce(self, track: Track) -> None:
        """A track is there; its packets follow."""
        self.rooms.setdefault(track.peer.room, Room()).tracks[track.id] = track

    def retap(self, track: Track) -> None:
        """A live track has another stream, or was muted or unmuted: the recording is to know."""
        room = self.rooms.get(track.peer.room)
        if room is not None and room.tapped is not None and track.id in room.tracks:
            room.tapped.track(track, self.now())

    def withdraw(self, track: Track) -> None:
        """A track is gone."""
        room = self.rooms.get(track.peer.room)
        if room is not None:
            room.tracks.pop(track.id, None)
            if room.tapped is not None:
                room.tapped.gone(track)

    def forget(self, peer: Peer) -> None:
        """A peer left: nothing of it remains."""
        self.peers.discard(peer)
        self.connecting.discard(peer)
        self.sending.discard(peer)
        for each in self._rounds:
            each.discard(peer.endpoint)
        for fragment in peer.fragments:
            self.fragments.pop(fragment, None)
        for address in list(peer.addresses):
            peer.lose(address)
            if isinstance(address, TcpConnection):
                address.close()
        room = self.rooms.get(peer.room)
        if room is not None:
            room.peers.discard(peer)
            for other in room.peers:
                other.data.left(peer.participant)
            self._drop_empty(peer.room)

    def _drop_empty(self, name: str) -> None:
        room = self.rooms[name]
        if not room.peers and room.listener is None and room.tapped is None:
            del self.rooms[name]

    def seen_as(self, address: Address) -> tuple[str, int]:
        """Host and port that a datagram came from."""
        host, port = address[:2] if isinstance(address, tuple) else address.remote
        return host, port

    # What is not media (forward.Owner).

    def on_stun(self, data: bytes, address: Address) -> None:
        try:
            message = stun.parse(data)
        except WireError:
            self.forwarding.strangers += 1
            return
        if message.kind != stun.REQUEST:
            return
        ours, _, theirs = message.username.partition(":")
        peer = self.fragments.get(ours)
        if peer is None:
            self.forwarding.strangers += 1
            return
        peer.on_stun(message, ours, theirs, address)

    def on_dtls(self, endpoint: Endpoint, data: bytes) -> None:
        endpoint.owner.on_dtls(data)

    def on_rtcp(self, endpoint: Endpoint, data: bytes, now: float) -> None:
        peer: Peer = endpoint.owner
        if not peer.wears_out(int.from_bytes(data[4:8])):
            peer.reports.receive(data, now)

    def on_told(self, endpoint: Endpoint, told: Digest, now: float) -> None:
        endpoint.owner.reports.link.told(told, now)

    def on_unknown(self, endpoint: Endpoint, packet: bytes, now: float) -> Stream | None:
        peer: Peer = endpoint.owner
        return None if peer.wears_out(int.from_bytes(packet[8:12])) else peer.identify.find(packet)

    def on_gap(self, stream: Stream) -> None:
        self.gaps.add(stream)
        self.soon()

    def on_switched(self, forwarder: Forwarder, stream: Stream) -> None:
        forwarder.owner.switched(stream)
        forwarder.endpoint.owner.reports.anew()

    # Clocks.

    def _tick(self) -> None:
        assert self._loop is not None
        started = self._loop.time()
        self.late = started - self._due
        now = monotonic()
        rounds = max(1, min(ROUNDS, round((started - self._ticked) / TICK)))
        try:
            if self._waits is None:
                self.forwarding.settle()
            if self.gaps:
                gaps, self.gaps = self.gaps, set()
                for stream in gaps:
                    if stream.endpoint.owner.reports.ask_again(stream, now):
                        self.gaps.add(stream)
            for stream, track in list(self.asking.items()):
                if stream.waiting and stream in track.streams.values():
                    track.peer.ask_keyframe(track, stream)
                else:
                    del self.asking[stream]  # another's request has brought it, or the stream is gone
            for link in list(self.probing):
                if not link.probe_tick(now):
                    self.probing.discard(link)
            for peer in list(self.connecting):
                if not peer.handshake_tick():
                    self.connecting.discard(peer)
            seen = 0
            while rounds and seen < FEW:
                rounds -= 1
                self._turn = (self._turn + 1) % ROUNDS
                due = self._rounds[self._turn].due(now)
                seen += len(due) + self._rounds[self._turn].given
                for endpoint in due:
                    endpoint.owner.tick(now)
            if now - self._speakers_at > SPEAKERS_SECONDS:
                self._speakers_at = now
                for name, room in list(self.rooms.items()):
                    if room.listener is not None:
                        self._speakers(name, room)
                    if room.tapped is not None:
                        room.tapped.tick(now)
        except Exception:
            log.exception("a tick of the relay failed")
        self._ticked = started - rounds * TICK  # what is left of them is the next tick's
        self._slow = not (rounds or self.gaps or self.asking or self.probing or self.connecting or now < self._uneasy)
        # From when it was due, so that load does not stretch the period; never a burst of ticks that were missed.
        self._next(max(self._due - self._loop.time(), -TICK) + TICK * (ROUNDS if self._slow else 1))

    def _next(self, wait: float) -> None:
        """The next tick, s from now."""
        assert self._loop is not None
        self._due = self._loop.time() + max(wait, 0.0)
        self._timer = self._loop.call_at(self._due, self._tick)

    def uneasy(self, now: float) -> None:
        """A link may be about to change: the next reports are wanted soon."""
        if self._waits is None:  # else they are read behind media
            self._uneasy = now + UNEASY_SECONDS

    def soon(self) -> None:
        """There is something that the next tick is to see to: let it come after TICK, also where nothing was to be done."""
        if self._slow and self._timer is not None and self._loop is not None:
            self._slow = False
            self._timer.cancel()
            self._next(min(self._due - self._loop.time(), TICK))

    def _speakers(self, name: str, room: Room) -> None:
        """Who speaks, loudest first, from the audio levels of RFC 6464."""
        levels: dict[str, float] = {}
        for track in room.tracks.values():
            if track.kind != "audio":
                continue
            for stream in track.streams.values():
                if stream.levels:
                    mean = stream.level_sum / stream.levels
                    stream.levels = stream.level_sum = 0
                    if mean < SPEAKER_LEVEL and not track.muted:
                        who = track.peer.participant
                        levels[who] = max(levels.get(who, -127.0), -mean)
        ordered = dict(sorted(levels.items(), key=lambda item: -item[1]))
        if list(ordered) != list(room.speaking) and room.listener is not None:
            self.later(room.listener.on_speakers, name, ordered)
        room.speaking = ordered


def own_addresses() -> list[str]:
    """Addresses of this machine that others may reach it by: what a socket to the outside would be bound to, then loopback."""
    found = []
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                s.connect((probe, 9))
                found.append(s.getsockname()[0])
        except OSError:
            continue
    return found or ["127.0.0.1"]
