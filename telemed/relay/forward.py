"""The forwarding step in Python: from a datagram to every subscriber in one synchronous call. compiled.py has the common case in C.

A packet is decrypted in place in one buffer, kept once for resending, and for each subscriber given a new header and encrypted: no
task, queue or callback for each of them. Everything that is not media (STUN, DTLS, RTCP, streams seen for the first time) goes to the
`Owner`, which works a few times a second.
"""

import logging
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, Protocol

from telemed.relay import layers, seal
from telemed.relay.consent import Consent
from telemed.relay.dependency import Chain, Reader
from telemed.relay.estimator import Estimator
from telemed.relay.layers import ALL_LAYERS, AV1, NUMBERED, VP9
from telemed.relay.seal import BUFFER, MEDIAN, Refused, Way
from telemed.relay.sockets import STAMP_ROOM, apart, arrived
from telemed.relay.srtp import Keys, ffi, lib
from telemed.relay.twcc import SENT, Digest, FeedbackBuilder, Gather, SendHistory
from telemed.wire import red, rtcp, vp8, vp9

log = logging.getLogger(__name__)

Recorder = Callable[[bytes, float], None]  # of the packet as it is cached (audio level for SSRC), and its arrival
Address = Any  # what recvfrom gives: (host, port) or (host, port, flow, scope); for TCP the connection itself

DATAGRAM: Final = 1800  # more than any path carries; the rest of BUFFER is room for headers and tags
BURST: Final = 16  # packets of one stream that are sent on together at most
SEVERAL: Final = 4  # subscribers for whom it is worth while to wait for another packet
LENGTHS: Final = list(range(BUFFER + 24))  # one object for all who are sent a packet of that length, and in the cache
BATCH: Final = 256  # datagrams before other work of the event loop gets its turn
PACE: Final = 0.001  # s between two looks at the socket: under load it costs more to be woken for a datagram than to handle it
KEPT: Final = 4  # reports of one peer that wait
SETTLED: Final = 1024  # reports at once, before other work of the event loop gets its turn
TURN: Final = 16  # reports between two looks at the media
VIDEO_RING, AUDIO_RING = 512, 128  # packets kept for resending; powers of two
MISSING_MAX: Final = 256  # sequence numbers asked for again at most; beyond, a keyframe is cheaper
REORDERED: Final = 1000  # further apart is a new start of the stream (RFC 3550 A.1 has 3000 for both)
PADDING: Final = 255  # the most that one packet can have of it
_PADDING: Final = bytes(PADDING - 1) + bytes([PADDING])
REPEATED: Final = 512  # packets that can be sent once more as they were: a power of two, and no fewer than are kept
HISTORY: Final = 128  # stretches; each frame that is left out ends one
BEDE: Final = 0xBEDE  # one-byte header extensions (RFC 8285 4.2)
TWO_BYTE: Final = 0x1000  # and those of 4.3, for elements of more than 16 bytes

_HEAD: Final = struct.Struct("!BBHII")
_PLAIN: Final = _HEAD.pack
_WITH_COUNTER: Final = struct.Struct("!BBHIIHHBHx").pack  # one word of extensions: transport-wide sequence number
_WITH_BOTH: Final = struct.Struct("!BBHIIHHBHBBxxx").pack  # two words: that and the audio level
_WITH_LEVEL: Final = struct.Struct("!BBHIIHHBBxx").pack


Offsets = tuple[int, int, int, int, int]  # of sequence, rtp, picture id, TL0PICIDX; the highest spatial layer of the stretch
# Of a packet: second byte, sequence, timestamp, audio level, payload, picture, whether it is late, when it came.
Packet = tuple[int, int, int, int, bytes, "Picture | None", bool, float]
Picture = tuple[int, bool, int, int, int, int]  # as vp8.picture gives it


class Tcp(Protocol):
    """A TCP candidate's connection (RFC 4571 framing is its business)."""

    def write(self, datagram: memoryview) -> None: ...


class Outlet:
    """What each packet to a peer touches of its transport. Slots of a base class lie together: one line of the cache instead of four."""

    __slots__ = ("address", "counter", "ring", "sent_bytes", "sent_packets", "tcp")


class Endpoint(Outlet):
    """One peer's transport as this step sees it."""

    __slots__ = (
        "arrived", "bad", "consent", "counter_id", "descriptor_id", "due", "encrypt", "feedback", "gather", "heard", "kept", "level_id",
        "owner", "received_bytes", "received_packets", "report_ssrc", "rx", "rx_keys", "salt", "sent", "streams", "tx", "tx_keys", "ways",
    )  # fmt: skip

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.address: Address = None
        self.tcp: Tcp | None = None
        self.rx: Any = None
        self.tx: Any = None
        self.encrypt: seal.Encrypt | None = None  # what RTP to it is protected by
        self.salt: bytes | None = None
        self.ways: dict[int, Way] = {}  # by SSRC, what is sent or was; their counts are kept, lest a nonce come twice
        self.rx_keys: Keys | None = None
        self.tx_keys: Keys | None = None
        self.streams: dict[int, Stream] = {}
        self.counter = 0  # last transport-wide sequence number sent
        self.counter_id = 0  # extension id of it in what the peer sends, 0: not agreed
        self.level_id = 0
        self.descriptor_id = 0  # of the dependency descriptor of AV1
        # Told of each packet with a transport-wide sequence number: (arrival in us << 16 | sequence), and (sequence, time, size) sent.
        self.arrived: Callable[[int], None] = lambda _: None
        self.sent: Callable[[int, float, int], None] = lambda *_: None
        self.ring: list[Any] | None = None  # that history's, where the loop writes it by itself
        self.heard = 0.0
        self.due = 0.0  # when the owner has anything to do for it besides feedback
        self.feedback: FeedbackBuilder | None = None
        self.report_ssrc = 0  # whose that is
        self.gather: Gather | None = None
        self.kept: dict[bytes, tuple[bytes, float]] = {}
        self.consent: Consent | None = None  # of the address in use
        self.received_packets = self.received_bytes = self.bad = 0
        self.sent_packets = self.sent_bytes = 0

    def secure(self, rx: Keys, tx: Keys) -> None:
        """The DTLS handshake is done: media may flow."""
        self.rx_keys, self.tx_keys = rx, tx
        self.rx, self.tx = rx.pointer, tx.pointer
        self.encrypt, self.salt = self._cipher(tx)
        for way in self.ways.values():
            way.begin(self.encrypt, self.salt)

    def _cipher(self, tx: Keys) -> tuple[seal.Encrypt, bytes | None]:
        return seal.cipher(tx, lib.srtp_protect)

    def way(self, ssrc: int) -> Way:
        """What is sent to it as `ssrc`."""
        way = self.ways.get(ssrc)
        if way is None:
            way = self.ways[ssrc] = Way(ssrc)
            if self.encrypt is not None:
                way.begin(self.encrypt, self.salt)
        return way

    def named(self, user: str, password: bytes) -> None:
        """The USERNAME and password of the present ICE session, where binding requests that change nothing are answered here."""
        self.consent = None

    def consents(self, request: bytes, password: bytes, address: Address, place: tuple[str, int]) -> None:
        """A binding request from `address`, which others see as `place`, was answered: the next like it changes nothing."""
        known = address == self.address and self.rx is not None and Consent.plain(request)
        self.consent = Consent(request, password, *place) if known else None

    def add(self, stream: "Stream") -> None:
        """The peer sends `stream`."""
        self.streams[stream.ssrc] = stream

    def drop(self, ssrc: int) -> None:
        """It does no longer."""
        self.streams.pop(ssrc, None)

    def remember(self, history: SendHistory) -> None:
        """Let `history` know of each packet sent with a transport-wide sequence number."""
        self.sent = history.sent
        if len(history.ring) == 2 * SENT:
            self.ring, history.source = history.ring, self

    def follow(self, gather: Gather) -> None:
        """What feedback that comes alone goes to before it is told (`Owner.on_told`, `on_rtcp`)."""
        self.gather = gather

    def gathered(self) -> tuple[Digest, float] | None:
        """What feedback told that was read here and not told yet, and when the last of it came; None: nothing."""
        return None

    def keep(self, packet: bytes, now: float) -> bool:
        """Whether a report can wait for the owner's next look, which it does in place of the one before it about the same streams."""
        about = rtcp.quiet(packet)
        if about is None or (len(self.kept) >= KEPT and about not in self.kept):
            return False
        self.kept[about] = packet, now
        return True

    def reported(self) -> list[tuple[bytes, float]]:
        """Reports that tell of no loss and were kept for the owner's next look, with when they came."""
        if not self.kept:
            return []
        kept = list(self.kept.values())
        self.kept.clear()
        return kept

    def told_by(self, ssrc: int) -> None:
        """Whose feedback that is."""
        if self.gather is not None:
            self.gather.sender = ssrc.to_bytes(4)

    def report(self, feedback: FeedbackBuilder, ssrc: int) -> None:
        """What it is told of its packets' arrivals, as `ssrc`: in each round, by the owner where `Round.due` names it."""
        self.feedback, self.arrived, self.report_ssrc = feedback, feedback.note, ssrc

    def watch(self, calm: bool, least: float) -> None:
        """Whether feedback may be gathered for a while where nothing is lost or late; `least`: the least delay known, s."""


class Stream:
    """One SSRC of a publisher: a track, or one simulcast layer of it."""

    __slots__ = (
        "bytes", "cache", "clock", "cycles", "descriptors", "endpoint", "first", "forwarders", "highest", "jitter", "keyframe", "last_rtp",
        "last_time", "layer_bytes", "layered", "level_sum", "levels", "mask", "missing", "owner", "packets", "reader", "recorder", "red",
        "report", "rtx_of", "ssrc", "svc", "transit", "vp8", "waiting",
    )

    def __init__(self, endpoint: Endpoint, ssrc: int, clock: int, video: bool, owner: Any) -> None:
        self.endpoint, self.ssrc, self.clock, self.owner = endpoint, ssrc, clock, owner
        size = VIDEO_RING if video else AUDIO_RING
        self.cache: list[bytes | None] = [None] * size
        self.mask = size - 1
        self.highest = 0
        self.first = 0
        self.cycles = 0
        self.packets = self.bytes = 0
        self.jitter = self.transit = 0.0
        self.last_time = 0.0
        self.last_rtp = 0
        self.missing: dict[int, float] = {}  # sequence -> when it was missed first; the owner asks for it again
        self.forwarders: list[Forwarder] = []
        self.waiting: list[Forwarder] = []  # they switch to this stream at its next keyframe
        self.keyframe: Callable[[memoryview, int], bool] | None = None  # of payload, second byte; None: sound, all are
        self.rtx_of: Stream | None = None
        self.recorder: Recorder | None = None  # takes packets as they are cached, late ones too
        self.report: Any = None  # the publisher's last sender report
        self.levels = 0
        self.level_sum = 0
        self.vp8 = 0  # payload type of VP8, 0: it is not agreed on
        # NUMBERED: its pictures have numbers, which must stay continuous for each subscriber; VP9, AV1: packets name their layers.
        self.layered = 0
        self.svc = 0  # payload type of the VP9 or AV1 that names layers
        self.reader: Reader | None = None  # of the dependency descriptors of AV1
        self.descriptors: dict[int, tuple[bytes, int]] = {}  # by place in the cache: a packet's descriptor, and its spatial layer or -1
        self.red = 0  # payload type of redundant sound (RFC 2198), 0: none is agreed on
        self.layer_bytes = [0] * 16  # by 4 * spatial + temporal layer, while layered

    @property
    def expected(self) -> int:
        """Packets that were sent so far, as the sequence numbers tell (RFC 3550 A.3)."""
        return (self.cycles << 16) + self.highest - self.first + 1


class Leg:
    """What each packet touches of a forwarder, lying together as of `Outlet`."""

    __slots__ = (
        "counter_byte", "counters", "endpoint", "frame", "last_picture", "last_rtp", "last_sequence", "last_time", "last_tl0", "level_byte",
        "octets", "packets", "passing", "payload_types", "picture_offset", "rtp_offset", "sequence_offset", "ssrc", "tl0_offset", "way",
    )  # fmt: skip


class Forwarder(Leg):
    """One track on its way to one subscriber: the SSRC it gets, and what is added to numbers so that switches do not show."""

    __slots__ = (
        "chain", "descriptor_id", "history", "owner", "red", "rtx_payload_types", "rtx_sequence", "rtx_ssrc", "spatial", "started",
        "stream", "switched", "target", "temporal", "top",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, ssrc: int, payload_types: bytes, owner: Any) -> None:
        self.endpoint, self.ssrc, self.owner = endpoint, ssrc, owner
        self.way = endpoint.way(ssrc)
        # Second header byte in (marker and payload type) -> out; 0: the subscriber cannot have it.
        self.payload_types = payload_types
        self.red = 0  # payload type in of redundant sound that the subscriber gets the newest block of, 0: none
        self.counter_byte = self.level_byte = 0  # first byte of each extension element, 0: not agreed
        # By outgoing sequence number: the transport-wide one that it went with, -1: it did not go, or with another header than now.
        # None where lost packets are resent by RTX.
        self.counters: array[int] | None
        self.stream: Stream | None = None
        self.target: Stream | None = None  # it switches to this one at the next keyframe
        self.sequence_offset = self.rtp_offset = 0
        self.last_sequence = self.last_rtp = 0
        self.last_time = 0.0
        self.packets = self.octets = 0
        self.started = False
        self.switched = 0  # source sequence number since when the offsets hold
        # VP8 (RFC 7741 4.2): what is added to picture ids and TL0PICIDX, what went last (-1: nothing yet), and temporal layers.
        self.picture_offset = self.tl0_offset = 0
        self.last_picture = self.last_tl0 = -1
        self.temporal = self.passing = ALL_LAYERS  # the highest wanted, and the highest that passes until a frame allows a change
        self.spatial = self.top = ALL_LAYERS  # the same of spatial layers
        self.chain: Chain | None = None  # what of an AV1 stream with dependency descriptors the subscriber holds
        self.descriptor_id = 0  # extension id of that descriptor in what the subscriber gets, 0: not agreed
        self.frame = -1  # timestamp of the frame that was decided on last
        # (first outgoing sequence number, stream, offsets) of earlier stretches, newest last.
        self.history: deque[tuple[int, Stream, Offsets]] = deque(maxlen=HISTORY)
        self.rtx_ssrc = 0
        self.rtx_sequence = 0
        self.rtx_payload_types: bytes = b""
        self.anew()

    def anew(self) -> None:
        """Headers look otherwise from now on: what went before is not repeated."""
        self.counters = array("i", [-1]) * REPEATED if not any(self.rtx_payload_types) else None


def _renumbered(payload: bytes | memoryview, picture: Picture, picture_offset: int, tl0_offset: int) -> memoryview:
    """A VP8 payload with picture id and TL0PICIDX moved by the offsets."""
    out = bytearray(payload)
    _, _, place, bits, number, tl0 = picture
    if bits == 15:
        number = (number + picture_offset) & 0x7FFF
        out[place], out[place + 1] = 0x80 | number >> 8, number & 0xFF
        place += 1
    else:
        out[place] = (number + picture_offset) & 0x7F
    if tl0 >= 0:
        out[place + 1] = (tl0 + tl0_offset) & 0xFF
    return memoryview(out)


class Round:
    """Endpoints that are seen to together, ten times a second; feedback that is plain sailing is given here."""

    def __init__(self, forwarding: "Forwarding") -> None:
        self.forwarding = forwarding
        self.members: dict[Endpoint, None] = {}
        self.given = 0  # feedbacks, by the last look

    def __len__(self) -> int:
        return len(self.members)

    def add(self, endpoint: Endpoint) -> None:
        """It is seen to from now on."""
        self.members[endpoint] = None

    def discard(self, endpoint: Endpoint) -> None:
        """It is no longer, if it was."""
        self.members.pop(endpoint, None)

    def due(self, now: float) -> list[Endpoint]:
        """Those that are due, or have feedback to be given that was not given here."""
        out: list[Endpoint] = []
        self.given = 0
        for endpoint in self.members:
            feedback = endpoint.feedback
            if now >= endpoint.due:
                out.append(endpoint)
            elif feedback is not None and feedback.pending:
                packet = feedback.in_order(endpoint.report_ssrc, next(iter(endpoint.streams), 0))
                if packet is None:
                    out.append(endpoint)
                else:
                    self.given += 1
                    self.forwarding.send_rtcp(endpoint, packet)
        return out


class Owner(Protocol):
    """Who takes what is not media."""

    def on_stun(self, data: bytes, address: Address) -> None: ...
    def on_dtls(self, endpoint: Endpoint, data: bytes) -> None: ...
    def on_rtcp(self, endpoint: Endpoint, data: bytes, now: float) -> None: ...
    def on_told(self, endpoint: Endpoint, told: Digest, now: float) -> None: ...
    def on_unknown(self, endpoint: Endpoint, packet: bytes, now: float) -> Stream | None: ...
    def on_gap(self, stream: Stream) -> None: ...
    def on_switched(self, forwarder: Forwarder, stream: Stream) -> None: ...


class Forwarding:
    """The step itself, on one UDP socket. Not thread-safe: it belongs to one event loop."""

    def __init__(self, sock: socket.socket, owner: Owner, reports: socket.socket | None = None) -> None:
        """reports: where those come that can wait for `settle`, with the time at which they came; see sockets.py."""
        self.sock, self.owner, self.reports = sock, owner, reports
        self.endpoints: dict[Address, Endpoint] = {}
        self._in = bytearray(BUFFER)
        self._view = memoryview(self._in)
        self._in_pointer = ffi.from_buffer(self._in)
        self._out = bytearray(BUFFER)
        self._out_view = memoryview(self._out)
        self._out_pointer = ffi.from_buffer(self._out)
        self._length = ffi.new("int *")
        self.strangers = 0  # datagrams of addresses that no one has authenticated
        self.unsent = 0
        self.faults = 0
        self._fault_told = 0.0
        self._pumped = 0.0
        self._burst_of: Stream | None = None
        self._burst: list[Packet] = []  # of that stream, not yet sent on

    # Its parts.

    def endpoint(self, owner: Any) -> Endpoint:
        """A peer's transport."""
        return Endpoint(owner)

    def stream(self, endpoint: Endpoint, ssrc: int, clock: int, video: bool, owner: Any) -> Stream:
        """A stream of a publisher; `clock` in Hz."""
        return Stream(endpoint, ssrc, clock, video, owner)

    def forwarder(self, endpoint: Endpoint, ssrc: int, payload_types: bytes, owner: Any) -> Forwarder:
        """A track's way to a subscriber, not yet attached."""
        return Forwarder(endpoint, ssrc, payload_types, owner)

    def estimator(self, now: float) -> Estimator:
        """What a subscriber's link carries."""
        return Estimator(now)

    def builder(self, endpoint: Endpoint) -> FeedbackBuilder:
        """What is told to a publisher of its packets' arrivals."""
        return FeedbackBuilder()

    def round(self) -> Round:
        """Endpoints to be seen to together, none yet."""
        return Round(self)

    def know(self, address: Address, endpoint: Endpoint) -> None:
        """Datagrams from `address` are this endpoint's."""
        self.endpoints[address] = endpoint

    def forget(self, address: Address) -> None:
        """They are no one's any more."""
        self.endpoints.pop(address, None)

    def close(self) -> None:
        """Nothing is sent or taken after this."""

    def waiter(self) -> Callable[[int, float], bool] | None:
        """What waits in an event loop's stead, and forwards and settles meanwhile (waiting.py); None where this form cannot.

        Of an epoll descriptor that watches the socket too, and s (below 0: for ever): whether there is anything for the loop to do.
        """
        return None

    def not_sent(self) -> int:
        """Datagrams that the kernel did not take, since the start."""
        return self.unsent

    def _changed(self, stream: Stream) -> None:
        """Who gets the stream, or waits for it, is another than before."""

    # Receiving.

    def pump(self) -> None:
        """The socket is readable: take what is there, BATCH at most."""
        now = monotonic()
        if (wait := self._pumped + PACE - now) > 0:
            sleep(wait)  # of this thread: other work of the loop waits so long at most
            now = monotonic()
        self._pumped = now
        self._drain()

    def _drain(self) -> None:
        receive, view, media = self.sock.recvfrom_into, self._in, self._media
        for _ in range(BATCH):
            try:
                size, address = receive(view, DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error of some earlier send
            try:
                media(size, address)
            except Exception:
                self.failed()
        self._finish()

    def _finish(self) -> None:
        """No more comes for now."""
        try:
            self._flush()
        except Exception:
            self.failed()

    def settle(self) -> None:
        """Reports and feedback that came since the last time, SETTLED at most: none of them woke the relay."""
        if self.reports is None:
            return
        receive, parts, now = self.reports.recvmsg_into, [self._view[:DATAGRAM]], monotonic()
        wall = apart()
        for n in range(SETTLED):
            if n % TURN == TURN - 1:
                self._drain()  # media does not wait for more reports than that
            try:
                size, more, _, address = receive(parts, STAMP_ROOM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            try:
                self._media(size, address, arrived(more, wall, now))
            except Exception:
                self.failed()

    def take(self, datagram: bytes, address: Address) -> None:
        """A datagram that came by TCP."""
        if len(datagram) <= DATAGRAM:
            self._in[: len(datagram)] = datagram
            try:
                self._media(len(datagram), address)
            except Exception:
                self.failed()
            self._finish()

    def failed(self) -> None:
        """A datagram could not be handled, which is a fault of ours: said once a second at most, for it may be sent again and again."""
        self.faults += 1
        if (now := monotonic()) - self._fault_told >= 1:
            self._fault_told = now
            log.exception("a datagram could not be handled; %d so far", self.faults)

    def _media(self, size: int, address: Address, came: float = 0.0) -> None:
        """A datagram in the buffer; `came`: when, 0: just now."""
        data = self._in
        first = data[0] if size else 255
        endpoint = self.endpoints.get(address)
        if endpoint is None or not 128 <= first <= 191 or size < 12 or endpoint.rx is None:
            self._flush()
            self._other(first, size, endpoint, address)
            return
        now = came or monotonic()
        second = data[1]
        length = self._length
        length[0] = size
        if 192 <= second <= 223:
            if lib.srtp_unprotect_rtcp(endpoint.rx, self._in_pointer, length):
                endpoint.bad += 1
                return
            endpoint.heard = now
            self._flush()
            packet = bytes(self._view[: length[0]])
            if endpoint.gather is not None and endpoint.gather.leave(packet, now):
                return
            if now >= endpoint.due or not endpoint.keep(packet, now):
                self.owner.on_rtcp(endpoint, packet, now)
            return
        if lib.srtp_unprotect(endpoint.rx, self._in_pointer, length):
            endpoint.bad += 1
            return
        endpoint.heard = now
        endpoint.received_packets += 1
        endpoint.received_bytes += size
        self._packet(endpoint, length[0], now)

    def _packet(self, endpoint: Endpoint, size: int, now: float, described: bytes = b"") -> None:
        """The decrypted packet in the buffer: to its stream and on to the subscribers. `described`: of AV1, what came beside it by RTX."""
        data = self._in
        first, second, sequence, rtp, ssrc = _HEAD.unpack_from(data)
        at = 12 + ((first & 15) << 2)
        level = 255
        if first & 16:
            if at + 4 > size:
                endpoint.bad += 1
                return
            end = at + 4 + (((data[at + 2] << 8) | data[at + 3]) << 2)
            if end > size:
                endpoint.bad += 1
                return
            if data[at] == 0xBE:
                at += 4
                counter_id, level_id = endpoint.counter_id, endpoint.level_id
                while at < end:
                    element = data[at]
                    name = element >> 4
                    if name == counter_id and name:
                        endpoint.arrived(int(now * 1e6) << 16 | data[at + 1] << 8 | data[at + 2])
                    elif name == level_id and name:
                        level = data[at + 1]
                    elif name == endpoint.descriptor_id and name:
                        described = bytes(self._view[at + 1 : min(at + 2 + (element & 15), end)])
                    at += 1 if element == 0 else 2 + (element & 15)
            elif data[at] == 0x10:
                level, described = self._two_byte(endpoint, at + 4, end, now)
            at = end
        if first & 32:
            padding = data[size - 1]
            if padding == 0 or padding > size - at:
                endpoint.bad += 1
                return
            size -= padding
        stream = endpoint.streams.get(ssrc)
        if stream is None:
            self._flush()
            found = self.owner.on_unknown(endpoint, bytes(self._view[:size]), now)
            if found is None:
                return
            stream = found
        if stream.rtx_of is not None:
            self._resent(stream.rtx_of, at, size, now, described)
            return

        # Where the packet stands among those that came (RFC 3550 A.1), and what is missing before it.
        ahead = (sequence - stream.highest) & 0xFFFF
        late = False
        if not stream.packets:
            stream.highest = stream.first = sequence
        elif ahead == 1:
            stream.highest = sequence
            if not sequence:
                stream.cycles += 1
        elif ahead == 0:
            return  # libsrtp let a repeated one through: resent without RTX, or a duplicate
        elif ahead < REORDERED:
            missing = stream.missing
            if ahead <= MISSING_MAX:
                for lost in range(stream.highest + 1, stream.highest + ahead):
                    missing[lost & 0xFFFF] = now
                self.owner.on_gap(stream)
            if sequence < stream.highest:
                stream.cycles += 1
            stream.highest = sequence
        elif ahead > 0x10000 - REORDERED:
            late = True
            stream.missing.pop(sequence, None)
        else:
            # Too far either way: the sender began anew. Offsets are made again, as at a switch.
            stream.missing.clear()
            stream.highest = stream.first = sequence
            stream.cycles += 1
            self._flush()
            for forwarder in stream.forwarders:
                self._align(forwarder, stream, sequence, rtp, now, self._picture(stream, second, self._view[at:size]))

        stream.packets += 1
        stream.bytes += size - at
        if not late:
            if rtp != stream.last_rtp:
                transit = now * stream.clock - rtp
                change = transit - stream.transit
                stream.transit = transit
                if -900_000 < change < 900_000:  # else a wrap of the 32 bits or the first packet
                    stream.jitter += ((change if change > 0 else -change) - stream.jitter) * 0.0625
                stream.last_rtp = rtp
            stream.last_time = now
            if level != 255:
                stream.levels += 1
                stream.level_sum += level & 127
        elif self._cached(stream, sequence) is not None:
            return  # it came twice
        view = self._view
        if size == at:
            # Padding only, a probe of the sender's: kept out of what subscribers see, without leaving a gap in their numbers.
            if not late:
                self._flush()
                for forwarder in stream.forwarders:
                    self.skip(forwarder, sequence)
            if stream.recorder is not None:
                stream.recorder(_HEAD.pack(first & 0x80, second, sequence, rtp, level), now)
            return
        # CSRCs and header extensions are left off here: what a subscriber gets of them is written anew.
        stream.cache[sequence & stream.mask] = kept = _HEAD.pack(first & 0x80, second, sequence, rtp, level) + view[at:size]
        if stream.recorder is not None:
            stream.recorder(kept, now)
        payload = view[at:size]
        if stream.waiting and (stream.keyframe is None or stream.keyframe(payload, second)) and not late:
            self._flush()
            begun = vp8.picture(payload) if stream.vp8 > 0 and stream.vp8 == second & 127 else None
            if stream.layered <= NUMBERED:
                stream.layered = NUMBERED if begun is not None else 0
            self._switch(stream, sequence, rtp, now, begun)
        picture = None
        if stream.layered:
            if stream.layered > NUMBERED:
                self._flush()
                if layers.forward(self, stream, second, sequence, rtp, level, payload, described, late, now):
                    return
            picture = self._picture(stream, second, payload)
            if picture is not None:
                stream.layer_bytes[picture[0]] += size - at
        if self._burst_of is not stream or len(self._burst) >= BURST:
            self._flush()
            self._burst_of = stream
        self._burst.append((second, sequence, rtp, level, kept[12:], picture, late, now))
        if len(stream.forwarders) < SEVERAL:
            self._flush()

    def _flush(self) -> None:
        """What came of one stream goes to its subscribers: to each all of it, so that what one packet touches is warm for the next."""
        stream, burst = self._burst_of, self._burst
        if stream is None:
            return
        self._burst_of, self._burst = None, []
        send = self.sock.sendto
        for forwarder in stream.forwarders:
            to, way, kinds, ssrc = forwarder.endpoint, forwarder.way, forwarder.payload_types, forwarder.ssrc
            encrypt, counter_byte = way.encrypt, forwarder.counter_byte
            if encrypt is None:
                continue
            packets = octets = total = 0
            for second, sequence, rtp, level, payload, picture, late, now in burst:
                kind = kinds[second]
                if not kind:
                    if forwarder.red and forwarder.red == second & 127:
                        self._plain(forwarder, stream, second, sequence, rtp, level, payload, late, now)
                    continue
                if picture is not None and (late or rtp != forwarder.frame or picture[0] > forwarder.passing) and not self._passes(
                    forwarder, picture, sequence, rtp, late
                ):
                    continue
                number = (sequence + forwarder.sequence_offset) & 0xFFFF
                stamp = (rtp + forwarder.rtp_offset) & 0xFFFFFFFF
                picture_offset, tl0_offset = forwarder.picture_offset, forwarder.tl0_offset
                if late and ((sequence - forwarder.switched) & 0xFFFF) > 0x8000:
                    earlier = self._earlier(forwarder, stream, sequence)
                    if earlier is None:
                        continue
                    number, stamp = (sequence + earlier[0]) & 0xFFFF, (rtp + earlier[1]) & 0xFFFFFFFF
                    _, _, picture_offset, tl0_offset, _ = earlier
                counter = 0
                if counter_byte:
                    counter = to.counter = (to.counter + 1) & 0xFFFF
                    if forwarder.level_byte and level != 255:
                        head = _WITH_BOTH(0x90, kind, number, stamp, ssrc, BEDE, 2, counter_byte, counter, forwarder.level_byte, level)
                        end = LENGTHS[len(payload) + 24]
                    else:
                        head = _WITH_COUNTER(0x90, kind, number, stamp, ssrc, BEDE, 1, counter_byte, counter)
                        end = LENGTHS[len(payload) + 20]
                    if (ring := to.ring) is not None:  # as SendHistory.sent
                        place = 2 * (counter & SENT - 1)
                        ring[place], ring[place + 1] = now, end
                    else:
                        to.sent(counter, now, end)
                elif forwarder.level_byte and level != 255:
                    head = _WITH_LEVEL(0x90, kind, number, stamp, ssrc, BEDE, 1, forwarder.level_byte, level)
                    end = len(payload) + 20
                else:
                    head = _PLAIN(0x80, kind, number, stamp, ssrc)
                    end = len(payload) + 12
                if forwarder.counters is not None:
                    forwarder.counters[number % REPEATED] = counter
                content: bytes | memoryview = payload
                if picture is not None:
                    if picture_offset or tl0_offset:
                        content = _renumbered(payload, picture, picture_offset, tl0_offset)
                    if not late:
                        forwarder.last_picture = (picture[4] + picture_offset) & 0x7FFF
                        forwarder.last_tl0 = (picture[5] + tl0_offset) & 0xFF
                try:
                    # As Way.seal; the next packet of the round needs no thought.
                    highest = way.highest
                    ahead = number - (highest & 0xFFFF)
                    if 0 < ahead < MEDIAN:
                        index = way.highest = highest + ahead
                    else:
                        index = way.index(number)
                    packet = head + encrypt((way.nonce ^ index).to_bytes(12), content, head)
                    if to.tcp is None:
                        send(packet, to.address)
                    else:
                        to.tcp.write(memoryview(packet))
                except (OSError, Refused):
                    self.unsent += 1
                    continue
                packets += 1
                octets += len(payload)
                total += end
                if not late:
                    forwarder.last_sequence, forwarder.last_rtp, forwarder.last_time = number, stamp, now
            forwarder.packets += packets
            forwarder.octets += octets
            to.sent_packets += packets
            to.sent_bytes += total

    def _two_byte(self, endpoint: Endpoint, at: int, end: int, now: float) -> tuple[int, bytes]:
        """(audio level or 255, dependency descriptor) of two-byte header extensions (RFC 8285 4.3): what browsers send of long elements."""
        data, level, described = self._in, 255, b""
        while at + 2 <= end:
            name, size = data[at], data[at + 1]
            if not name:
                at += 1
                continue
            at += 2
            if at + size > end:
                break
            if name == endpoint.counter_id and size >= 2:
                endpoint.arrived(int(now * 1e6) << 16 | data[at] << 8 | data[at + 1])
            elif name == endpoint.level_id and size:
                level = data[at]
            elif name == endpoint.descriptor_id:
                described = bytes(self._view[at : at + size])
            at += size
        return level, described

    @staticmethod
    def _picture(stream: Stream, second: int, payload: memoryview) -> Picture | None:
        return vp8.picture(payload) if stream.layered == NUMBERED and second & 127 == stream.vp8 else None

    def _passes(self, forwarder: Forwarder, picture: Picture, sequence: int, rtp: int, late: bool) -> bool:
        """Whether the frame's temporal layer goes to this subscriber; what does not leaves no gap in the numbers."""
        layer = picture[0]
        if late:
            return layer <= forwarder.passing
        fresh = rtp != forwarder.frame
        if fresh:
            forwarder.frame = rtp
            if forwarder.passing > forwarder.temporal:
                forwarder.passing = forwarder.temporal
            elif forwarder.passing < layer <= forwarder.temporal and picture[1]:
                forwarder.passing = layer  # such a frame needs only the base layer: the place to climb (RFC 7741 4.2, Y)
        if layer <= forwarder.passing:
            return True
        self.skip(forwarder, sequence)
        if fresh:
            forwarder.picture_offset = (forwarder.picture_offset - 1) & 0x7FFF
        return False

    def _plain(
        self, forwarder: Forwarder, stream: Stream, second: int, sequence: int, rtp: int, level: int, payload: bytes, late: bool,
        now: float,
    ) -> None:
        """Of redundant sound the newest block, to who has not agreed on redundancy: one packet for one, so numbers stay as they are."""
        if forwarder.endpoint.tx is None:
            return
        found = red.primary(payload)
        kind = forwarder.payload_types[second & 0x80 | found[0]] if found is not None else 0
        if found is None or not kind:
            if not late:
                self.skip(forwarder, sequence)
            return
        offsets = self.due(forwarder, stream, sequence, late)
        if offsets is not None:
            number, stamp = (sequence + offsets[0]) & 0xFFFF, (rtp + offsets[1]) & 0xFFFFFFFF
            self.deliver(forwarder, kind, number, stamp, level, payload[found[1] :], late, now)

    def deliver(
        self, forwarder: Forwarder, kind: int, number: int, stamp: int, level: int, payload: bytes | memoryview, late: bool,
        now: float, described: bytes = b"",
    ) -> None:
        """One packet to one subscriber, as `_packet` does it for what needs no thought."""
        to = forwarder.endpoint
        head = self._head(forwarder, kind, number, stamp, forwarder.ssrc, level, described)
        end = len(head) + len(payload)
        if forwarder.counter_byte:
            to.sent(to.counter, now, end)
        if forwarder.counters is not None:
            forwarder.counters[number % REPEATED] = to.counter if forwarder.counter_byte else 0
        if not self._leave(to, forwarder.way, head, payload):
            self.unsent += 1
            return
        forwarder.packets += 1
        forwarder.octets += len(payload)
        if not late:
            forwarder.last_sequence, forwarder.last_rtp, forwarder.last_time = number, stamp, now

    def _head(
        self, forwarder: Forwarder, kind: int, sequence: int, stamp: int, ssrc: int, level: int, described: bytes, counter: int = -1
    ) -> bytes:
        """A header with what was agreed on, and the next transport-wide number or `counter`."""
        to = forwarder.endpoint
        with_level = forwarder.level_byte and level != 255
        if not forwarder.counter_byte:
            counter = -1
        elif counter < 0:
            counter = to.counter = (to.counter + 1) & 0xFFFF
        if described and forwarder.descriptor_id:
            return self._described(forwarder, kind, sequence, stamp, ssrc, counter, described)
        if counter >= 0 and with_level:
            return _WITH_BOTH(0x90, kind, sequence, stamp, ssrc, BEDE, 2, forwarder.counter_byte, counter, forwarder.level_byte, level)
        if counter >= 0:
            return _WITH_COUNTER(0x90, kind, sequence, stamp, ssrc, BEDE, 1, forwarder.counter_byte, counter)
        if with_level:
            return _WITH_LEVEL(0x90, kind, sequence, stamp, ssrc, BEDE, 1, forwarder.level_byte, level)
        return _PLAIN(0x80, kind, sequence, stamp, ssrc)

    @staticmethod
    def _described(forwarder: Forwarder, kind: int, sequence: int, stamp: int, ssrc: int, counter: int, described: bytes) -> bytes:
        """A header with a dependency descriptor; what a keyframe announces needs the two-byte form."""
        elements = [(forwarder.descriptor_id, described)]
        if counter >= 0:
            elements.append((forwarder.counter_byte >> 4, counter.to_bytes(2)))
        short = len(described) <= 16
        block = b"".join((bytes([name << 4 | len(data) - 1]) if short else bytes([name, len(data)])) + data for name, data in elements)
        block += bytes(-len(block) % 4)
        head = _PLAIN(0x90, kind, sequence, stamp, ssrc)
        return head + (BEDE if short else TWO_BYTE).to_bytes(2) + (len(block) >> 2).to_bytes(2) + block

    def _resent(self, stream: Stream, at: int, size: int, now: float, described: bytes) -> None:
        """A packet that came by RTX (RFC 4588 4): made what it was and forwarded as one that is late."""
        if size - at < 2 + 1:
            return
        data = self._in
        sequence = (data[at] << 8) | data[at + 1]
        if self._cached(stream, sequence) is not None:
            stream.missing.pop(sequence, None)
            return
        _, second, _, rtp, _ = _HEAD.unpack_from(data)
        original = stream.owner.original(second)
        if original is None:
            return
        payload = bytes(self._view[at + 2 : size])
        data[:12] = _PLAIN(0x80, original, sequence, rtp, stream.ssrc)
        data[12 : 12 + len(payload)] = payload
        self._packet(stream.endpoint, 12 + len(payload), now, described)

    def _other(self, first: int, size: int, endpoint: Endpoint | None, address: Address) -> None:
        """RFC 7983: what the first byte says a datagram is."""
        if first <= 3:
            if size <= 1500:
                self._stun(bytes(self._view[:size]), endpoint, address)
        elif endpoint is None:
            self.strangers += 1
        elif 20 <= first <= 63:
            self.owner.on_dtls(endpoint, bytes(self._view[:size]))

    def _stun(self, data: bytes, endpoint: Endpoint | None, address: Address) -> None:
        if endpoint is not None and endpoint.consent is not None and address == endpoint.address:
            answer = endpoint.consent.answer(data)
            if answer is not None:
                endpoint.heard = monotonic()
                self.send_to(address, answer)
                return
        self.owner.on_stun(data, address)

    # Switching.

    def attach(self, forwarder: Forwarder, stream: Stream) -> None:
        """Forward `stream` from its next keyframe on; for sound, from its next packet on."""
        self.cancel(forwarder)
        if forwarder.stream is not stream:
            forwarder.target = stream
            stream.waiting.append(forwarder)
            self._changed(stream)

    def cancel(self, forwarder: Forwarder) -> None:
        """Forget a switch that has not happened."""
        if forwarder.target is not None:
            forwarder.target.waiting.remove(forwarder)
            self._changed(forwarder.target)
            forwarder.target = None

    def detach(self, forwarder: Forwarder) -> None:
        """Nothing more is forwarded until it is attached again."""
        self.cancel(forwarder)
        if forwarder.stream is not None:
            forwarder.stream.forwarders.remove(forwarder)
            self._changed(forwarder.stream)
            self.remember(forwarder)
            forwarder.stream = None

    def _switch(self, stream: Stream, sequence: int, rtp: int, now: float, picture: Picture | None) -> None:
        waiting, stream.waiting = stream.waiting, []
        for forwarder in waiting:
            self._align(forwarder, stream, sequence, rtp, now, picture)
            forwarder.chain = None
            if forwarder.stream is not None:
                forwarder.stream.forwarders.remove(forwarder)
                self._changed(forwarder.stream)
            forwarder.stream, forwarder.target = stream, None
            stream.forwarders.append(forwarder)
            self.owner.on_switched(forwarder, stream)
        self._changed(stream)

    def _align(self, forwarder: Forwarder, stream: Stream, sequence: int, rtp: int, now: float, picture: Picture | None) -> None:
        """Offsets with which `stream` goes on where the subscriber's numbers stand."""
        if forwarder.started:
            self.remember(forwarder)
            # One ahead of what was sent last; the clock runs on by the time that passed since.
            passed = max(1, int((now - forwarder.last_time) * stream.clock))
            forwarder.sequence_offset = (forwarder.last_sequence + 1 - sequence) & 0xFFFF
            forwarder.rtp_offset = (forwarder.last_rtp + passed - rtp) & 0xFFFFFFFF
            if picture is not None and forwarder.last_picture >= 0:
                forwarder.picture_offset = (forwarder.last_picture + 1 - picture[4]) & 0x7FFF
                forwarder.tl0_offset = (forwarder.last_tl0 + 1 - picture[5]) & 0xFF
        forwarder.passing, forwarder.top, forwarder.frame = forwarder.temporal, forwarder.spatial, -1
        forwarder.started = True
        forwarder.switched = sequence

    def skip(self, forwarder: Forwarder, sequence: int) -> None:
        """`sequence` is left out: those after it move up by one."""
        if sequence != forwarder.switched:  # else nothing went since the last time
            self.remember(forwarder)
        forwarder.sequence_offset = (forwarder.sequence_offset - 1) & 0xFFFF
        forwarder.switched = (sequence + 1) & 0xFFFF

    def due(self, forwarder: Forwarder, stream: Stream, sequence: int, late: bool) -> Offsets | None:
        """The offsets of a packet that came now or late; None: it is none of this subscriber's."""
        if late and ((sequence - forwarder.switched) & 0xFFFF) > 0x8000:
            return self._earlier(forwarder, stream, sequence)
        return self._offsets(forwarder)

    def _earlier(self, forwarder: Forwarder, stream: Stream, sequence: int) -> Offsets | None:
        """The offsets that held when `sequence` of `stream` was due; None when it was not forwarded then."""
        for begin, of, offsets in reversed(forwarder.history):
            if of is stream and ((sequence + offsets[0] - begin) & 0xFFFF) < 0x8000:
                return offsets
        return None

    def remember(self, forwarder: Forwarder) -> None:
        """A stretch ends: what was sent with its offsets may be asked for again."""
        if forwarder.stream is not None:
            begin = (forwarder.switched + forwarder.sequence_offset) & 0xFFFF
            forwarder.history.append((begin, forwarder.stream, self._offsets(forwarder)))

    @staticmethod
    def _offsets(forwarder: Forwarder) -> Offsets:
        return forwarder.sequence_offset, forwarder.rtp_offset, forwarder.picture_offset, forwarder.tl0_offset, forwarder.top

    # Resending and sending.

    def _cached(self, stream: Stream, sequence: int) -> bytes | None:
        packet = stream.cache[sequence & stream.mask]
        if packet is None or ((packet[2] << 8) | packet[3]) != sequence:
            return None
        return packet

    def resend(self, forwarder: Forwarder, number: int, now: float) -> int:
        """Send again what went out as `number` (RFC 4585 NACK), by RTX where it is agreed. Bytes sent; 0 when it is no longer kept.

        Without RTX it is the same packet to the last bit: another header under the same number would be a second message with one
        nonce, by which whoever listens finds the key that authenticates the stream (RFC 7714 8.1, 9.1; RFC 3711 9.1).
        """
        stream, offsets = forwarder.stream, self._offsets(forwarder)
        begin = (forwarder.switched + offsets[0]) & 0xFFFF
        if stream is None or ((number - begin) & 0xFFFF) > 0x8000:
            stretch = next((s for s in reversed(forwarder.history) if ((number - s[0]) & 0xFFFF) < 0x8000), None)
            if stretch is None:
                return 0
            _, stream, offsets = stretch
        packet = self._cached(stream, (number - offsets[0]) & 0xFFFF)
        if packet is None:
            return 0
        _, second, _, rtp, level = _HEAD.unpack_from(packet)
        kept = memoryview(packet)[12:]
        payload = kept
        picture = self._picture(stream, second, kept)
        if picture is not None and (offsets[2] or offsets[3]):
            payload = _renumbered(kept, picture, offsets[2], offsets[3])
        described = b""
        if stream.layered == VP9 and second & 127 == stream.svc:
            layer = vp9.layer(kept)
            if layer is not None and layer[4] and layer[0] == offsets[4]:
                second |= 0x80
        elif stream.layered == AV1:
            described, spatial = stream.descriptors.get((number - offsets[0]) & stream.mask, (b"", -1))
            if described and described[0] & 0x40 and spatial == offsets[4]:
                second |= 0x80
        elif forwarder.red and forwarder.red == second & 127 and (found := red.primary(kept)) is not None:
            second, payload = second & 0x80 | found[0], kept[found[1] :]
        return self._emit(forwarder, second, number, (rtp + offsets[1]) & 0xFFFFFFFF, level, payload, now, described)

    def pad(self, forwarder: Forwarder, now: float) -> int:
        """A probe, which receivers drop after counting it: the newest packet once more by RTX (RFC 4588), or padding alone.

        Bytes sent; 0 where neither can be told from media.
        """
        if forwarder.rtx_ssrc and forwarder.started:
            sent = self.resend(forwarder, forwarder.last_sequence, now)
            if sent:
                return sent
        return self._padding(forwarder, now)

    def _padding(self, forwarder: Forwarder, now: float) -> int:
        """A packet of padding (RFC 3550 5.1): how a link is tried that carries no picture yet, or none any more."""
        to = forwarder.endpoint
        rtx = next((kind for kind in forwarder.rtx_payload_types if kind), 0)
        kind = rtx or next((kind for kind in forwarder.payload_types if kind), 0)
        if to.tx is None or not kind or not forwarder.counter_byte:
            return 0
        if rtx:
            ssrc, stamp = forwarder.rtx_ssrc, forwarder.last_rtp
            sequence = forwarder.rtx_sequence = (forwarder.rtx_sequence + 1) & 0xFFFF
        elif forwarder.stream is None:
            # Between two pictures the numbers of the media are free.
            ssrc, stamp = forwarder.ssrc, forwarder.last_rtp
            sequence = forwarder.last_sequence = (forwarder.last_sequence + 1) & 0xFFFF
            if not forwarder.started:
                forwarder.started, forwarder.last_time = True, now
        else:
            return 0
        counter = to.counter = (to.counter + 1) & 0xFFFF
        head = _WITH_COUNTER(0xB0, kind & 127, sequence, stamp, ssrc, BEDE, 1, forwarder.counter_byte, counter)
        to.sent(counter, now, len(head) + PADDING)
        return self._leave(to, to.way(ssrc), head, _PADDING)

    def _emit(
        self, forwarder: Forwarder, second: int, number: int, stamp: int, level: int, payload: memoryview, now: float, described: bytes
    ) -> int:
        to = forwarder.endpoint
        if to.tx is None:
            return 0
        kind = forwarder.payload_types[second]
        rtx = forwarder.rtx_payload_types[kind] if forwarder.rtx_payload_types else 0
        if not kind or len(payload) + len(described) > BUFFER - 60:
            return 0
        if not rtx:
            counter = forwarder.counters[number % REPEATED] if forwarder.counters is not None else -1
            if counter < 0:
                return 0
            head = self._head(forwarder, kind, number, stamp, forwarder.ssrc, level, described, counter)
            return self._leave(to, forwarder.way, head, payload)
        sequence = forwarder.rtx_sequence = (forwarder.rtx_sequence + 1) & 0xFFFF
        head = self._head(forwarder, rtx, sequence, stamp, forwarder.rtx_ssrc, 255, described)
        if forwarder.counter_byte:
            to.sent(to.counter, now, len(head) + 2 + len(payload))
        return self._leave(to, to.way(forwarder.rtx_ssrc), head, number.to_bytes(2) + payload)

    def _leave(self, to: Endpoint, way: Way, head: bytes, payload: bytes | memoryview) -> int:
        """An RTP packet goes, encrypted. Its bytes; 0 when it cannot be."""
        try:
            packet = way.seal(head, payload)
        except Refused:
            return 0
        end = len(head) + len(payload)
        to.sent_packets += 1
        to.sent_bytes += end
        self._datagram(to, memoryview(packet))
        return end

    def send_rtcp(self, endpoint: Endpoint, packet: bytes) -> None:
        """A compound RTCP packet, encrypted (RFC 3711 3.4)."""
        if endpoint.tx is None or len(packet) > BUFFER - 40:
            return
        self._out[: len(packet)] = packet
        self._length[0] = len(packet)
        if not lib.srtp_protect_rtcp(endpoint.tx, self._out_pointer, self._length):
            self._datagram(endpoint, self._out_view[: self._length[0]])

    def send(self, endpoint: Endpoint, datagram: bytes) -> None:
        """A datagram as it is (DTLS)."""
        self._datagram(endpoint, memoryview(datagram))

    def send_to(self, address: Address, datagram: bytes) -> None:
        """A datagram to an address that may belong to no one yet (STUN)."""
        if isinstance(address, tuple):
            try:
                self.sock.sendto(datagram, address)
            except OSError:
                self.unsent += 1
        else:
            address.write(memoryview(datagram))

    def _datagram(self, endpoint: Endpoint, datagram: memoryview) -> None:
        if endpoint.tcp is not None:
            endpoint.tcp.write(datagram)
        elif endpoint.address is not None:
            try:
                self.sock.sendto(datagram, endpoint.address)
            except OSError:
                self.unsent += 1
