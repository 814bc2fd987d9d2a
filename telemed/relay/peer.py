"""One participant's transport: ICE-lite and DTLS state, what it publishes and subscribes to, and its RTCP."""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from telemed.ports import AnotherConnection, Listener, MediaError, PeerState, Published
from telemed.relay.data import Data
from telemed.relay.dependency import DEPENDENCY
from telemed.relay.dtls import Dtls, DtlsError
from telemed.relay.forward import Address, Stream
from telemed.relay.identify import Identify
from telemed.relay.negotiate import AUDIO_LEVEL, MID, REPAIRED_RID, RID, TRANSPORT_WIDE, Line, Local, Plan, Sending, answer, read
from telemed.relay.reports import Reports
from telemed.relay.tcp import TcpConnection
from telemed.relay.track import SPATIAL, Slot, Track
from telemed.wire import rtcp, stun

if TYPE_CHECKING:
    from telemed.relay.relay import Relay

log = logging.getLogger(__name__)

INTERRUPTED_SECONDS: Final = 5.0  # without a packet; browsers ask for consent every 5 s at most (RFC 7675)
CLOSED_SECONDS: Final = 45.0
CONNECT_SECONDS: Final = 30.0  # from the first answer until the handshake is done, however many offers follow
MAX_TRACKS: Final = 8
MAX_ADDRESSES: Final = 16
MAX_FRAGMENTS: Final = 3  # the pair in use may bear the name before the last (see `on_stun`), and lives until a newer one is checked
MAX_SSRCS: Final = 1024  # that one peer sends with, RTP and RTCP, from the handshake to the end


class Peer:
    """`ports.MediaPeer`. All methods are for the event loop that the relay runs on."""

    def __init__(self, relay: "Relay", room: str, participant: str, listener: Listener, now: float, phase: float) -> None:
        """phase: of each second its reports go at, s."""
        self.relay, self.room, self.participant, self.listener = relay, room, participant, listener
        self.state = PeerState.NEW
        self.endpoint = relay.forwarding.endpoint(self)
        self.ufrag, self.password = _credentials()
        self.remote: tuple[str, str] | None = None
        self.fragments = [self.ufrag]  # ours, newest last; earlier ones stay valid after an ICE restart
        self.passwords = {self.ufrag: self.password.encode()}
        self.addresses: list[Address] = []
        self.dtls: Dtls | None = None
        self.fingerprints: list[tuple[str, str]] = []
        self.tracks: dict[str, Track] = {}  # by mid
        self.slots: dict[str, Slot] = {}  # by mid
        self.by_ssrc: dict[int, Slot] = {}
        self.lines: list[Line] = []
        self.session, self.version = secrets.randbits(62), 0
        self.cname = secrets.token_hex(8)
        self.seen: set[int] = set()  # SSRCs that authentic packets came with
        self.created = self.answered = self.began = now  # began: of what CONNECT_SECONDS is counted from
        self.identify = Identify(self)
        self.reports = Reports(self, phase)
        self.data = Data(self)

    # What signalling asks.

    def negotiate(
        self, offer: str, publish: Mapping[str, Published], wanted: Mapping[str, str], kinds: frozenset[str] = frozenset(("audio", "video"))
    ) -> str:
        if self.state is PeerState.CLOSED:
            raise MediaError("closed", "this participant has left")
        plan = read(offer, publish, kinds)
        receiving = [line for line in plan.lines if line.use == "receive"]
        if len(receiving) > MAX_TRACKS:
            raise MediaError("too-many-tracks", f"one participant publishes {MAX_TRACKS} tracks at most")
        if self.dtls is not None and plan.fingerprints != self.fingerprints:
            raise AnotherConnection
        if self.lines and [line.mid for line in self.lines] != [line.mid for line in plan.lines[: len(self.lines)]]:
            raise MediaError("sdp", "m-lines keep their place and their mid in later offers (RFC 9429 5.2.2)")
        # From here on nothing fails.
        self._credentials_of(plan)
        self.lines = plan.lines
        for line in plan.lines:
            self._publish(line, publish) if line.use == "receive" else self._unpublish(line.mid)
            self._subscribe(line) if line.use == "send" else self._unsubscribe(line.mid)
        self.identify.learn(plan.lines)
        self._extensions(plan.lines)
        self.data.agree(next((line.offered for line in plan.lines if line.use == "data"), None))
        for mid, slot in self.slots.items():
            self.bind(mid, wanted.get(mid)) if mid in wanted or slot.track is None else None
        self.version += 1
        self.answered = self.relay.now()
        if self.dtls is None:
            self.fingerprints = plan.fingerprints
            self.dtls = Dtls(self.relay.certificate, plan.fingerprints, plan.server, self._send_dtls)
            self.began = self.answered
            self._set_state(PeerState.CONNECTING)
        sending = {
            mid: Sending(
                slot.forwarder.ssrc, slot.forwarder.rtx_ssrc, self.cname, slot.track.peer.participant if slot.track else "-",
                slot.track.id if slot.track else mid,
            )
            for mid, slot in self.slots.items()
        }
        local = Local(
            self.session, self.version, self.ufrag, self.password, self.relay.certificate.fingerprint, self.relay.candidates
        )
        return answer(plan, local, sending)

    def bind(self, mid: str, track_id: str | None) -> None:
        """Let m-line `mid` carry another track, or none, without an offer."""
        slot = self.slots.get(mid)
        if slot is None:
            raise MediaError("sdp", f"m-line {mid} receives nothing")
        track = self.relay.track(self.room, track_id) if track_id else None
        if track is not None and (track.peer is self or track.kind != slot.kind):
            track = None
        slot.bind(track)

    def add_candidate(self, candidate: str, mid: str) -> None:
        """Nothing to do: an ICE-lite agent learns addresses from checks (RFC 8445 2.5)."""

    def mute(self, track_id: str, muted: bool) -> None:
        """Stop or go on forwarding one of this peer's own tracks."""
        track = next((t for t in self.tracks.values() if t.id == track_id), None)
        if track is not None and track.muted != muted:
            track.muted = muted
            self.relay.retap(track)
            for slot in list(track.slots):
                slot.update()

    def prefer(self, track_id: str, layer: str | None, paused: bool, priority: int) -> None:
        """What this subscriber wants of a track at most."""
        for slot in self.slots.values():
            if slot.track is not None and slot.track.id == track_id:
                slot.wanted_layer = layer if layer in (slot.track.rids or SPATIAL) else None
                slot.asked_pause = paused
                slot.priority = priority
                slot.update()
                self.reports.allocate_soon()

    def send_data(self, label: str, sender: str, message: bytes | str) -> None:
        """Pass on what another of the room sent; nothing when this peer has no data channels or does not read them."""
        self.data.send(label, sender, message)

    def close(self) -> None:
        """Leave: subscribers lose the tracks, the transport ends."""
        if self.state is PeerState.CLOSED:
            return
        for mid in list(self.tracks):
            self._unpublish(mid)
        for mid in list(self.slots):
            self._unsubscribe(mid)
        self.data.close()
        if self.dtls is not None:
            self.dtls.close()
        self.relay.forget(self)
        self._set_state(PeerState.CLOSED)

    # Offers and answers.

    def _credentials_of(self, plan: Plan) -> None:
        remote = (plan.ufrag, plan.password)
        if self.remote is not None and self.remote != remote:
            # An ICE restart (RFC 8445 9): new names on both sides, the old pair carries on until the new one is checked.
            self.ufrag, self.password = _credentials()
            self.fragments.append(self.ufrag)
            self.passwords[self.ufrag] = self.password.encode()
            for old in self.fragments[:-MAX_FRAGMENTS]:
                self.passwords.pop(old, None)
                self.relay.fragments.pop(old, None)
            del self.fragments[:-MAX_FRAGMENTS]
        self.remote = remote
        self.relay.fragments[self.ufrag] = self
        self.endpoint.named(f"{self.ufrag}:{plan.ufrag}", self.passwords[self.ufrag])

    def _publish(self, line: Line, publish: Mapping[str, Published]) -> None:
        known = self.tracks.get(line.mid)
        if known is not None and (known.kind, known.published) != (line.kind, publish[line.mid]):
            self._unpublish(line.mid)
            known = None
        track = known or Track(secrets.token_urlsafe(9), self, line.mid, line.kind, publish[line.mid])
        track.formats = {f.payload_type: f for f in line.formats}
        track.rtx = dict(line.rtx)
        track.rids = line.rids
        if known is None:
            # Told before its first packet: subscribers are bound to it by then, and its first keyframe is the one that they see.
            self.tracks[line.mid] = track
            self.relay.announce(track)
            self.notify(self.listener.on_track, track.info())

    def _unpublish(self, mid: str) -> None:
        track = self.tracks.pop(mid, None)
        if track is None:
            return
        for slot in list(track.slots):
            slot.bind(None)
        self.identify.forget(track)
        self.relay.withdraw(track)
        self.notify(self.listener.on_track_gone, track.id)

    def _subscribe(self, line: Line) -> None:
        slot = self.slots.get(line.mid)
        if slot is None:
            forwarder = self.relay.forwarding.forwarder(self.endpoint, self._ssrc(), bytes(256), None)
            slot = forwarder.owner = Slot(self, line.mid, line.kind, forwarder)
            self.slots[line.mid] = slot
            self.by_ssrc[forwarder.ssrc] = slot
        slot.formats = line.formats
        slot.rtx = {apt: number for number, apt in line.rtx.items()}
        forwarder = slot.forwarder
        if slot.rtx and not forwarder.rtx_ssrc:
            forwarder.rtx_ssrc, forwarder.rtx_sequence = self._ssrc(), secrets.randbits(15)
        counter = line.extensions.get(TRANSPORT_WIDE, 0)
        level = line.extensions.get(AUDIO_LEVEL, 0)
        layout = counter << 4 | 1 if counter else 0, level << 4 if level else 0, line.extensions.get(DEPENDENCY, 0)
        if layout != (forwarder.counter_byte, forwarder.level_byte, forwarder.descriptor_id):
            forwarder.counter_byte, forwarder.level_byte, forwarder.descriptor_id = layout
            forwarder.anew()
        if slot.track is not None:
            slot.map_formats()

    def _unsubscribe(self, mid: str) -> None:
        slot = self.slots.pop(mid, None)
        if slot is not None:
            slot.bind(None)
            self.by_ssrc.pop(slot.forwarder.ssrc, None)

    def _ssrc(self) -> int:
        while True:
            ssrc = secrets.randbits(32)
            if ssrc and ssrc not in self.by_ssrc:
                return ssrc

    def _extensions(self, lines: list[Line]) -> None:
        """Ids of one transport mean the same on all its m-lines (RFC 8843 9.2)."""
        ids: dict[str, int] = {}
        for line in lines:
            if line.use == "receive":
                ids |= line.extensions
        self.endpoint.counter_id = ids.get(TRANSPORT_WIDE, 0)
        self.endpoint.level_id = ids.get(AUDIO_LEVEL, 0)
        self.endpoint.descriptor_id = ids.get(DEPENDENCY, 0)
        self.identify.ids = (ids.get(MID, 0), ids.get(RID, 0), ids.get(REPAIRED_RID, 0))

    # Datagrams.

    def on_stun(self, request: stun.Message, ours: str, theirs: str, address: Address) -> None:
        """A binding request (RFC 8445 7.3) with the user name "ours:theirs", where `ours` is one of our fragments."""
        password = self.passwords.get(ours)
        if password is None or not request.authentic(password):
            return
        if stun.ICE_CONTROLLED in request.attributes:
            self.relay.forwarding.send_to(address, stun.failure(request, 487, "Role Conflict", password))
            return
        host, port = self.relay.seen_as(address)
        self.endpoint.heard = self.relay.now()
        self._know(address)
        self.relay.forwarding.send_to(address, stun.success(request, host, port, password))
        fresh = self.endpoint.address is None and self.endpoint.tcp is None
        # Of the present session are also the peer's new sockets under our name of before: browsers pair them with our address as they
        # know it, keep that name when our answer comes with a new one for the same address, and nominate that pair.
        present = ours == self.fragments[-1] or (self.remote is not None and theirs == self.remote[0])
        if fresh or (present and stun.USE_CANDIDATE in request.attributes):
            self._use(address)
        if self.state is PeerState.INTERRUPTED:
            self._set_state(PeerState.CONNECTED if self.endpoint.rx is not None else PeerState.CONNECTING)
        self.endpoint.consents(request.raw, password, address, (host, port))

    def _know(self, address: Address) -> None:
        before = self.relay.forwarding.endpoints.get(address)
        if before is self.endpoint:
            return
        if before is not None and before.owner is not self:
            before.owner.lose(address)
        self.relay.forwarding.know(address, self.endpoint)
        self.addresses.append(address)
        if len(self.addresses) > MAX_ADDRESSES:
            used = self.endpoint.tcp or self.endpoint.address
            oldest = next(a for a in self.addresses if a is not used and a != used)  # the one in use stays, however old
            self.lose(oldest)
            if isinstance(oldest, TcpConnection):
                oldest.close()  # else it would be nobody's, and stay open

    def lose(self, address: Address) -> None:
        """The address is another's now, or its connection ended."""
        if address in self.addresses:
            self.addresses.remove(address)
            if self.relay.forwarding.endpoints.get(address) is self.endpoint:
                self.relay.forwarding.forget(address)
        if address is (self.endpoint.tcp or self.endpoint.address) or address == self.endpoint.address:
            self.endpoint.address = self.endpoint.tcp = None

    def _use(self, address: Address) -> None:
        if isinstance(address, tuple):
            self.endpoint.address, self.endpoint.tcp = address, None
        else:
            self.endpoint.address, self.endpoint.tcp = None, address
        if self.dtls is not None and not self.dtls.connected:
            self._handshake(self.dtls.start)

    def on_dtls(self, data: bytes) -> None:
        """A datagram of the DTLS association."""
        if self.dtls is None:
            return
        dtls = self.dtls

        def take() -> None:
            was = dtls.connected
            received = dtls.receive(data)
            if dtls.connected and not was:
                self._secured()
            for datagram in received:
                self.data.receive(datagram)
            if dtls.ended:
                self.close()

        self._handshake(take)

    def _handshake(self, step: Callable[[], None]) -> None:
        try:
            step()
        except DtlsError as e:
            log.info("room %s: a peer is cut off: %s", self.room, e)
            self.close()
        else:
            if self.dtls is not None and self.dtls.timeout() is not None:
                self.relay.soon()
                self.relay.connecting.add(self)  # a flight waits for its answer; who has begun nothing costs no clock

    def _secured(self) -> None:
        assert self.dtls is not None
        assert self.dtls.rx is not None
        assert self.dtls.tx is not None
        self.endpoint.secure(self.dtls.rx, self.dtls.tx)
        self.data.begin()
        self._set_state(PeerState.CONNECTED)
        for slot in self.slots.values():
            slot.update()

    def _send_dtls(self, datagram: bytes) -> None:
        self.relay.forwarding.send(self.endpoint, datagram)

    # Media.

    def started(self, track: Track, rid: str, stream: Stream) -> None:
        """The first packet of a track's layer."""
        track.add(rid, stream)
        self.relay.retap(track)

    def wears_out(self, ssrc: int) -> bool:
        """Whether this peer has used up its SSRCs and is cut off: libsrtp keeps state of each, for as long as the keys live."""
        self.seen.add(ssrc)
        if len(self.seen) <= MAX_SSRCS:
            return False
        if self.state is not PeerState.CLOSED:
            log.info("room %s: a peer is cut off: more than %d SSRCs", self.room, MAX_SSRCS)
            self.close()
        return True

    def ask_keyframe(self, track: Track, stream: Stream) -> None:
        """PLI to the publisher, merged for all who need it (RFC 4585 6.3.1); later where one was sent just before and someone waits."""
        rid = next((r for r, s in track.streams.items() if s is stream), None)
        if rid is None or self.endpoint.tx is None:
            return
        if not track.need_keyframe(rid, self.relay.now()):
            if stream.waiting:
                self.relay.asking[stream] = track
                self.relay.soon()
        else:
            self.relay.asking.pop(stream, None)
            report = rtcp.compound(self.reports.receiver_report(), rtcp.Pli(self.reports.ssrc, stream.ssrc))
            self.relay.forwarding.send_rtcp(self.endpoint, report)

    def tick(self, now: float) -> None:
        """Ten times a second, or when it is due and in between when feedback is to be given."""
        if now < self.endpoint.due:
            self.reports.tell()
            return
        heard = max(self.endpoint.heard, self.answered)
        if self.endpoint.rx is None:
            if now - self.began > CONNECT_SECONDS:
                self.close()
            return
        if now - heard > CLOSED_SECONDS:
            self.close()
            return
        if now - heard > INTERRUPTED_SECONDS and self.state is PeerState.CONNECTED:
            self._set_state(PeerState.INTERRUPTED)
        elif now - heard <= INTERRUPTED_SECONDS and self.state is PeerState.INTERRUPTED:
            self._set_state(PeerState.CONNECTED)
        self.reports.tick(now)
        self.data.tick(now)
        # Over a link that holds nothing is to be done ten times a second, besides feedback of what the peer sends.
        rests = self.state is PeerState.CONNECTED and self.reports.link.resting and self.data.still
        self.endpoint.due = self.reports.due if rests else 0.0

    def handshake_tick(self) -> bool:
        """DTLS flights that were not answered are sent again; False when there is nothing left to wait for."""
        if self.dtls is None or self.state is PeerState.CLOSED:
            return False
        wait = self.dtls.timeout()
        if wait is not None and wait <= 0:
            self._handshake(self.dtls.expired)
        return self.dtls.timeout() is not None

    def _set_state(self, state: PeerState) -> None:
        if state is not self.state:
            self.state = state
            self.notify(self.listener.on_state, state)

    def notify(self, call: Callable[..., None], *args: Any) -> None:
        """Tell signalling, after what is being done is done: it may call back."""
        self.relay.later(call, *args)


def _credentials() -> tuple[str, str]:
    """An ICE user fragment and password: 48 and 144 bits (RFC 8445 5.3 asks for 24 and 128)."""
    return secrets.token_hex(6), secrets.token_hex(18)

