"""The forwarding step with its common case in C (step.c): the same objects, as views of C structures, and the rest from forward.py.

Built by `python -m telemed.relay.build` where a C compiler is; without it, or with TELEMED_STEP=python, forward.py does all.
"""

import ipaddress
import logging
import math
import socket
import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from cffi import FFI
from pylibsrtp import _binding

from telemed.relay import forward, trend, twcc
from telemed.relay import srtp as libsrtp
from telemed.relay.build import NotBuilt
from telemed.relay.estimator import Estimator
from telemed.relay.forward import BATCH, SETTLED, Address, Owner
from telemed.relay.layers import AV1
from telemed.relay.seal import Encrypt, Joint
from telemed.relay.srtp import Keys
from telemed.wire.errors import WireError

log = logging.getLogger(__name__)

PACE: Final = 0.002  # s, as forward.PACE: what handling costs less here leaves room for a longer one, which saves 6% with 100 rooms

ffi: Final[Any] = FFI()
ffi.cdef((Path(__file__).parent / "step.h").read_text())


_COUNTERS: Final = ffi.typeof("int[STEP_REPEATED]")  # a shorter array is refused: C writes to all of it


def load(path: Path) -> Any:
    """The library built from step.c. Raises NotBuilt when the system does not take it."""
    try:
        return ffi.dlopen(str(path))
    except OSError as e:
        raise NotBuilt(str(e)) from None


def _view(name: str) -> Any:
    """An attribute that lives in the C structure."""

    def read(self: Any) -> Any:
        return getattr(self.c, name)

    def write(self: Any, value: Any) -> None:
        setattr(self.c, name, value)

    return property(read, write)


def _ours(kind: str, pointer: Any) -> Any:
    """A pointer of pylibsrtp's cffi as one of this module's."""
    return ffi.cast(kind, int(libsrtp.ffi.cast("uintptr_t", pointer)))


def _theirs(name: str) -> Any:
    """A function of pylibsrtp's libsrtp."""
    return _ours("step_srtp", libsrtp.ffi.addressof(libsrtp.lib, name))


def packed(address: Address) -> bytes:
    """An address as recvfrom gives it, as a sockaddr of this platform; empty for what is none (a TCP connection)."""
    if not isinstance(address, tuple):
        return b""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    if ip.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", address[1]) + ip.packed + bytes(8)
    flow, scope = (address[2], address[3]) if len(address) > 3 else (0, 0)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", address[1], flow) + ip.packed + struct.pack("=I", scope)


def unpacked(data: bytes) -> Address:
    """The other way round, equal to what recvfrom gives."""
    (family,), (port, flow) = struct.unpack_from("=H", data), struct.unpack_from("!HI", data, 2)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, data[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, data[8:24]), port, flow, struct.unpack_from("=I", data, 24)[0]


def _openssl() -> Any:
    """What of OpenSSL pylibsrtp carries; None where its names are hidden."""
    crypto = FFI()
    crypto.cdef("".join(f"void {name}(void);" for name in _EVP))
    try:
        theirs = crypto.dlopen(_binding.__file__)
        names = [crypto.cast("uintptr_t", crypto.addressof(theirs, name)) for name in _EVP]
    except (OSError, AttributeError) as e:
        log.info("SRTP is libsrtp's: %s", e)
        return None
    found = ffi.new("step_crypto *")
    ffi.buffer(found)[:] = struct.pack(f"@{len(names)}P", *map(int, names))
    return found


_EVP: Final = (
    "EVP_CIPHER_CTX_new", "EVP_CIPHER_CTX_free", "EVP_aes_128_gcm", "EVP_aes_256_gcm", "EVP_EncryptInit_ex", "EVP_EncryptUpdate",
    "EVP_EncryptFinal_ex", "EVP_CIPHER_CTX_ctrl",
)  # in the order of step_crypto
_CRYPTO: Final = _openssl()


def seal(lib: Any, tx: Keys) -> Any:
    """What RTP is protected by with these keys (seal.c), which must live as long: the first argument of step_protect."""
    made = ffi.gc(lib.step_seal_new(_theirs("srtp_protect"), _ours("void *", tx.pointer)), lib.step_seal_free)
    if _CRYPTO is not None and (gcm := tx.gcm()) is not None:
        lib.step_seal_gcm(made, _CRYPTO, gcm[0], len(gcm[0]), gcm[1])
    return made


class Endpoint(forward.Endpoint):
    """One peer's transport; see forward.Endpoint."""

    __slots__ = ("_address", "_handle", "_history", "_history_of", "_lib", "_seal", "_tcp", "c", "link")

    counter, counter_id, level_id = _view("counter"), _view("counter_id"), _view("level_id")
    heard, bad, due = _view("heard"), _view("bad"), _view("due")
    received_packets, received_bytes = _view("received_packets"), _view("received_bytes")
    sent_packets, sent_bytes = _view("sent_packets"), _view("sent_bytes")

    def __init__(self, lib: Any, owner: Any) -> None:
        self._lib = lib
        self.c = ffi.gc(lib.step_endpoint_new(), lib.step_endpoint_free)
        self._handle = ffi.new_handle(self)
        self.c.handle = self._handle
        self._history: tuple[Any, ...] = ()
        super().__init__(owner)

    @property
    def address(self) -> Address:
        return self._address

    @address.setter
    def address(self, address: Address) -> None:
        self._address = address
        raw = packed(address)
        ffi.memmove(self.c.address, raw, len(raw))
        self.c.address_size = len(raw)

    @property
    def tcp(self) -> forward.Tcp | None:
        return self._tcp

    @tcp.setter
    def tcp(self, tcp: forward.Tcp | None) -> None:
        self._tcp = tcp
        self.c.by_tcp = tcp is not None

    def secure(self, rx: Keys, tx: Keys) -> None:
        super().secure(rx, tx)
        self.c.rx, self.c.tx = _ours("void *", rx.pointer), _ours("void *", tx.pointer)

    def _cipher(self, tx: Keys) -> tuple[Encrypt, bytes | None]:
        self._seal = self.c.seal = seal(self._lib, tx)  # one count of packets for what C sends and what is sent here
        return Joint(self._lib.step_protect, self._seal), None

    def named(self, user: str, password: bytes) -> None:
        raw, c = user.encode(), self.c
        fits = len(raw) <= len(c.user) and len(password) <= len(c.password)
        c.user_size = c.password_size = 0
        if fits:
            ffi.memmove(c.user, raw, len(raw))
            ffi.memmove(c.password, password, len(password))
            c.user_size, c.password_size = len(raw), len(password)

    def consents(self, request: bytes, password: bytes, address: Address, place: tuple[str, int]) -> None:
        """C answers by what it was told by `named`."""

    def add(self, stream: forward.Stream) -> None:
        assert isinstance(stream, Stream)
        self.drop(stream.ssrc)
        super().add(stream)
        stream.refresh()
        if not self._lib.step_stream_add(self.c, stream.c):
            log.warning("a peer sends more streams than the step holds")  # Python forwards the rest

    def drop(self, ssrc: int) -> None:
        stream = self.streams.get(ssrc)
        if stream is not None:
            self._lib.step_stream_drop(self.c, cast("Stream", stream).c)
        super().drop(ssrc)

    def noted(self) -> list[int]:
        """Arrivals noted here, as twcc.FeedbackBuilder.note takes them; each once."""
        count = self.c.noted_count
        self.c.noted_count = 0
        return list(ffi.unpack(self.c.noted, count)) if count else []

    def remember(self, history: twcc.SendHistory) -> None:
        super().remember(history)
        assert isinstance(history, History)
        times, last = ffi.from_buffer("double[]", history.times), ffi.from_buffer("double[]", history.last)
        sizes, sequences = ffi.from_buffer("int[]", history.sizes), ffi.from_buffer("uint16_t[]", history.sequences)
        self._history = (times, last, sizes, sequences)  # the arrays stay while these do
        c = self.c
        c.history_times, c.history_last, c.history_sizes, c.history_sequences = times, last, sizes, sequences
        c.history_mask = history.mask

    def follow(self, gather: twcc.Gather) -> None:
        history, trend = gather.history, gather.trend
        assert isinstance(history, History)
        assert isinstance(trend, Trend)
        self._history_of = history, trend
        self.link = ffi.new("step_link *")
        link = self.link
        link.history, link.trend, link.digest, link.newest, link.told = history.c, trend.c, history.read, -1.0, 1
        self.c.link = link

    def gathered(self) -> tuple[twcc.Digest, float] | None:
        link = self.link
        if link.told or not link.count:
            return None
        link.told, link.told_at = 1, link.heard
        return Gathered(link), link.heard

    def reported(self) -> list[tuple[bytes, float]]:
        c = self.c
        count, c.report_count = c.report_count, 0
        kept = super().reported()  # by TCP
        return kept + [(bytes(ffi.buffer(r.data, r.size)), r.at) for r in c.reports[0:count]] if count else kept

    def told_by(self, ssrc: int) -> None:
        self.link.ssrc = ssrc

    def report(self, feedback: twcc.FeedbackBuilder, ssrc: int) -> None:
        super().report(feedback, ssrc)
        assert isinstance(feedback, FeedbackBuilder)
        self.c.builder, self.c.report_ssrc = feedback.c, ssrc

    def watch(self, calm: bool, least: float) -> None:
        self.link.calm, self.link.base = calm, least


class Told(twcc.Digest):
    """What the feedback of a link told since it was last asked, in C; good until the next one is read."""

    __slots__ = ("c",)

    def __init__(self, link: Any) -> None:
        self.c = link.digest
        _figures(self, link)
        self.first = (link.first_sent, link.first_came) if self.c.count > self.c.lost else None
        self.before, self.gap = link.before, link.gap
        self.fed = bool(link.fed)

    @property
    def packets(self) -> list[twcc.Acknowledged]:  # type: ignore[override]
        """Of the last feedback."""
        return _packets(self.c)


class Gathered(twcc.Digest):
    """What several feedbacks told that were quiet; the trend has followed them."""

    __slots__ = ()

    def __init__(self, link: Any) -> None:
        self.packets = []
        _figures(self, link)
        self.first = link.first_sent, link.first_came
        self.before, self.gap, self.fed = link.before, 0.0, True


class Digest(twcc.Digest):
    """What one feedback tells, in C arrays; good until the next one is read."""

    __slots__ = ("c",)

    def __init__(self, c: Any) -> None:
        self.c, self.before, self.gap, self.fed = c, None, None, False
        _figures(self, c)
        self.first = (c.first_sent, c.first_came) if c.count > c.lost else None

    @property
    def packets(self) -> list[twcc.Acknowledged]:  # type: ignore[override]
        return _packets(self.c)


def _figures(digest: twcc.Digest, c: Any) -> None:
    """Those that step_digest and step_link have alike."""
    digest.count, digest.lost, digest.octets, digest.lost_octets = c.count, c.lost, c.octets, c.lost_octets
    digest.delay, digest.tail, digest.newest, digest.last_sent = c.delay, c.tail, c.newest, c.last_sent


def _packets(digest: Any) -> list[twcc.Acknowledged]:
    n = digest.count
    lists = ffi.unpack(digest.sent, n), ffi.unpack(digest.came, n), ffi.unpack(digest.size, n)
    return [(sent, None if came != came else came, size) for sent, came, size in zip(*lists, strict=True)]


class History(twcc.SendHistory):
    """When each packet left, in arrays that C writes (step.c, remember) and reads (feedback.c); see twcc.SendHistory."""

    __slots__ = ("_keep", "_lib", "_sizes", "_times", "c", "last", "read", "sequences")

    def __init__(self, lib: Any, digest: Any, size: int = twcc.SENT) -> None:
        super().__init__(1)  # the ring is not used
        self.mask = size - 1
        self._lib, self.read = lib, digest
        self._times = array("d", bytes(8 * size))
        self._sizes = array("i", bytes(4 * size))
        self.sequences = array("H", bytes(2 * size))
        self.last = array("d", [float("-inf")])
        base = array("d", [math.nan])
        self._keep = (
            ffi.from_buffer("double[]", self.times), ffi.from_buffer("double[]", base), ffi.from_buffer("int[]", self.sizes),
            ffi.from_buffer("uint16_t[]", self.sequences),
        )  # fmt: skip
        self.c = ffi.new("step_history *", (*self._keep, self.mask))

    @property
    def last_sent(self) -> float:
        return self.last[0]

    @property
    def times(self) -> "array[float]":
        return self._times

    @property
    def sizes(self) -> "array[int]":
        return self._sizes

    def sent(self, sequence: int, time: float, size: int) -> None:
        index = sequence & self.mask
        self.sequences[index], self.times[index], self.sizes[index] = sequence, time, size
        self.last[0] = time

    def apply(self, arrivals: Sequence[tuple[int, int | None]]) -> list[twcc.Acknowledged]:
        raise NotImplementedError("feedback is read by C, whole")

    def digest(self, body: bytes) -> Digest:
        if self._lib.step_feedback(ffi.from_buffer(body), len(body), self.c, self.read):
            raise WireError("RTCP: feedback cut off")
        return Digest(self.read)


class FeedbackBuilder(twcc.FeedbackBuilder):
    """What is told to a publisher; see twcc.FeedbackBuilder, which builds what is not plain sailing here too."""

    __slots__ = ("_endpoint", "_lib", "_out", "_seen", "c")

    def __init__(self, lib: Any, endpoint: Endpoint, out: Any) -> None:
        super().__init__()
        self._lib, self._endpoint, self._out = lib, endpoint, out
        self.c = ffi.new("step_builder *")
        self.c.highest = -1
        self._seen = 0  # of the ring of what C reported
        self.note = self._note

    def _note(self, entry: int) -> None:
        """Beside those that C notes, so that they are told in order."""
        c = self._endpoint.c
        if c.noted_count < self._lib.STEP_NOTED:
            c.noted[c.noted_count] = entry
            c.noted_count += 1
        else:
            self.pending.append(entry)

    def __len__(self) -> int:
        return len(self.pending) + int(self._endpoint.c.noted_count)

    def take(self, sender: int, media: int) -> list[bytes]:
        c = self.c
        if not self.pending:
            size = self._lib.step_build(c, self._endpoint.c, sender, media, self._out)
            if size >= 0:
                return [bytes(ffi.buffer(self._out, size))] if size else []
        new = range(max(self._seen, c.recent_at - 256), c.recent_at)
        self._reported.update((c.recent[n & 255], c.recent_us[n & 255]) for n in new)
        self._seen = c.recent_at
        self._highest, self._next, self._count = c.highest, c.next, c.count
        self.extend(self._endpoint.noted())
        packets = super().take(sender, media)
        c.highest, c.next, c.count = self._highest, self._next, self._count
        return packets


class Trend(trend.Trend):
    """Whether a queue grows on the way; see trend.Trend."""

    __slots__ = ("_lib", "c")

    def __init__(self, lib: Any) -> None:
        self._lib, self.c = lib, ffi.new("step_trend *")
        self.c.threshold = trend.THRESHOLD_START
        self.restart()

    @property
    def state(self) -> int:  # type: ignore[override]
        return int(self.c.state)

    @property
    def jitter(self) -> float:  # type: ignore[override]
        return float(self.c.jitter)

    def restart(self) -> None:
        self._lib.step_trend_restart(self.c)

    def follow(self, digest: twcc.Digest) -> int:
        if digest.fed:
            return int(self.c.state)
        return int(self._lib.step_trend_feed(self.c, digest.c)) if isinstance(digest, Digest | Told) else self.feed(digest.packets)

    def feed(self, packets: Iterable[twcc.Acknowledged]) -> int:
        c = ffi.new("step_digest *")
        for n, (sent, came, size) in enumerate(packets):
            c.sent[n], c.came[n], c.size[n], c.count = sent, math.nan if came is None else came, size, n + 1
        return int(self._lib.step_trend_feed(self.c, c))


class Cache:
    """The packets kept of a stream, as forward.py keeps them in a list."""

    __slots__ = ("_c", "_lib")

    def __init__(self, lib: Any, c: Any) -> None:
        self._lib, self._c = lib, c

    def __getitem__(self, slot: int) -> bytes | None:
        kept = self._c.cache[slot]
        return bytes(ffi.buffer(kept.data, kept.size)) if kept else None

    def __setitem__(self, slot: int, packet: bytes) -> None:
        data = ffi.from_buffer(packet)
        self._lib.step_keep(self._c, slot, data, data + 12, len(packet) - 12)


class Stream(forward.Stream):
    """One SSRC of a publisher; see forward.Stream."""

    __slots__ = ("_lib", "_recorder", "_rtx_of", "c")

    ssrc, clock, highest, cycles, packets, bytes = (_view(n) for n in ("ssrc", "clock", "highest", "cycles", "packets", "bytes"))
    jitter, transit, last_time, last_rtp = (_view(n) for n in ("jitter", "transit", "last_time", "last_rtp"))
    levels, level_sum, vp8, svc, red = (_view(n) for n in ("levels", "level_sum", "vp8", "svc", "red"))

    def __init__(self, lib: Any, endpoint: Endpoint, ssrc: int, clock: int, video: bool, owner: Any) -> None:
        self._lib = lib
        self._recorder: forward.Recorder | None = None
        self.c = ffi.gc(lib.step_stream_new(forward.VIDEO_RING if video else forward.AUDIO_RING), lib.step_stream_free)
        super().__init__(endpoint, ssrc, clock, video, owner)
        self.cache = Cache(lib, self.c)  # type: ignore[assignment]

    @property
    def layer_bytes(self) -> Any:
        return self.c.layer_bytes

    @layer_bytes.setter
    def layer_bytes(self, counts: list[int]) -> None:
        self.c.layer_bytes = counts

    @property
    def layered(self) -> int:
        return int(self.c.layered)

    @layered.setter
    def layered(self, how: int) -> None:
        self.c.layered = how
        self._slow()

    @property
    def rtx_of(self) -> "forward.Stream | None":
        return self._rtx_of

    @rtx_of.setter
    def rtx_of(self, stream: "forward.Stream | None") -> None:
        self._rtx_of = stream
        self._slow()

    @property
    def recorder(self) -> forward.Recorder | None:
        return self._recorder

    @recorder.setter
    def recorder(self, take: forward.Recorder | None) -> None:
        self._recorder = take
        self._slow()

    def _slow(self) -> None:
        self.c.slow = self._rtx_of is not None or self._recorder is not None or bool(self.waiting) or self.c.layered == AV1

    def refresh(self) -> None:
        """Who gets the stream may have changed."""
        targets = [cast("Forwarder", f).c for f in self.forwarders]
        self._lib.step_stream_to(self.c, ffi.new("step_forwarder *[]", targets), len(targets))
        self._slow()


class Forwarder(forward.Forwarder):
    """One track on its way to one subscriber; see forward.Forwarder."""

    __slots__ = ("_counters", "_payload_types", "c")

    ssrc, counter_byte, level_byte = _view("ssrc"), _view("counter_byte"), _view("level_byte")
    sequence_offset, rtp_offset = _view("sequence_offset"), _view("rtp_offset")
    last_sequence, last_rtp, last_time = _view("last_sequence"), _view("last_rtp"), _view("last_time")
    packets, octets = _view("packets"), _view("octets")
    picture_offset, tl0_offset, last_picture, last_tl0 = (_view(n) for n in ("picture_offset", "tl0_offset", "last_picture", "last_tl0"))
    temporal, passing, frame = _view("temporal"), _view("passing"), _view("frame")
    spatial, top, switched, red = _view("spatial"), _view("top"), _view("switched"), _view("red")

    def __init__(self, endpoint: Endpoint, ssrc: int, payload_types: bytes, owner: Any) -> None:
        self.c = ffi.new("step_forwarder *")
        self.c.endpoint = endpoint.c
        super().__init__(endpoint, ssrc, payload_types, owner)

    @property
    def counters(self) -> "array[int] | None":
        return self._counters

    @counters.setter
    def counters(self, counters: "array[int] | None") -> None:
        self._counters = counters  # the memory stays while this does
        self.c.counters = ffi.NULL if counters is None else ffi.from_buffer(_COUNTERS, counters)

    @property
    def payload_types(self) -> bytes:
        return self._payload_types

    @payload_types.setter
    def payload_types(self, table: bytes) -> None:
        self._payload_types = table
        ffi.memmove(self.c.payload_types, table, 256)


class Round(forward.Round):
    """Endpoints that are seen to together; feedback that is plain sailing is given in C (step_round)."""

    forwarding: "Forwarding"

    def __init__(self, forwarding: "Forwarding") -> None:
        super().__init__(forwarding)
        self._change()

    def add(self, endpoint: forward.Endpoint) -> None:
        super().add(endpoint)
        self._change()

    def discard(self, endpoint: forward.Endpoint) -> None:
        super().discard(endpoint)
        self._change()

    def _change(self) -> None:
        self._changed = True
        self._in_order: list[forward.Endpoint] = []  # nothing of who left is kept
        self._endpoints: Any = None

    def due(self, now: float) -> list[forward.Endpoint]:
        if self._changed:
            self._changed = False
            self._in_order = order = list(self.members)
            self._endpoints = ffi.new("step_endpoint *[]", [cast("Endpoint", e).c for e in order])
            self._turns = ffi.new("uint32_t[]", max(len(order), 1))
        step, turns, order = self.forwarding, self._turns, self._in_order
        found = step.lib.step_round(step.step, self._endpoints, len(order), now, turns) if step.step is not None else 0
        return [order[place] for place in ffi.unpack(turns, found)] if found else []


class Forwarding(forward.Forwarding):
    """The step on one UDP socket; see forward.Forwarding."""

    def __init__(self, sock: socket.socket, owner: Owner, lib: Any, reports: socket.socket | None = None) -> None:
        super().__init__(sock, owner, reports)
        self.lib = lib
        self.step = lib.step_new(
            sock.fileno(), -1 if reports is None else reports.fileno(), _theirs("srtp_unprotect"), _theirs("srtp_unprotect_rtcp"),
            _theirs("srtp_protect_rtcp"), PACE, BATCH,
        )
        self._digest = ffi.new("step_digest *")  # one for all: a feedback is done with before the next
        self._feedback = ffi.new("uint8_t[1500]")
        self._event, self._left = ffi.new("step_event *"), ffi.new("int *")

    def close(self) -> None:
        if self.step is not None:
            self.lib.step_free(self.step)
            self.step = None

    def not_sent(self) -> int:
        return super().not_sent() + (int(self.lib.step_unsent(self.step)) if self.step is not None else 0)

    def endpoint(self, owner: Any) -> Endpoint:
        return Endpoint(self.lib, owner)

    def stream(self, endpoint: forward.Endpoint, ssrc: int, clock: int, video: bool, owner: Any) -> Stream:
        return Stream(self.lib, cast("Endpoint", endpoint), ssrc, clock, video, owner)

    def forwarder(self, endpoint: forward.Endpoint, ssrc: int, payload_types: bytes, owner: Any) -> Forwarder:
        return Forwarder(cast("Endpoint", endpoint), ssrc, payload_types, owner)

    def estimator(self, now: float) -> Estimator:
        return Estimator(now, history=History(self.lib, self._digest), trend=Trend(self.lib))

    def round(self) -> Round:
        return Round(self)

    def builder(self, endpoint: forward.Endpoint) -> FeedbackBuilder:
        return FeedbackBuilder(self.lib, cast("Endpoint", endpoint), self._feedback)

    def send_rtcp(self, endpoint: forward.Endpoint, packet: bytes) -> None:
        if endpoint.tcp is not None or endpoint.address is None or self.step is None:
            super().send_rtcp(endpoint, packet)
        else:
            self.lib.step_send_rtcp(self.step, cast("Endpoint", endpoint).c, packet, len(packet))

    def know(self, address: Address, endpoint: forward.Endpoint) -> None:
        super().know(address, endpoint)
        if self.step is not None and (raw := packed(address)):
            self.lib.step_know(self.step, ffi.new("uint8_t[128]", raw), cast("Endpoint", endpoint).c)

    def forget(self, address: Address) -> None:
        # Out of the table first: what it points to may go with the last reference.
        if self.step is not None and (raw := packed(address)):
            self.lib.step_forget(self.step, ffi.new("uint8_t[128]", raw))
        super().forget(address)

    def _changed(self, stream: forward.Stream) -> None:
        cast("Stream", stream).refresh()

    def pump(self) -> None:
        self._pump(self.lib.step_pump, BATCH)

    def settle(self) -> None:
        if self.reports is not None and self.step is not None:
            self._pump(self.lib.step_settle, SETTLED)

    def waiter(self) -> Callable[[int, float], bool] | None:
        return self._wait

    def _wait(self, epoll: int, timeout: float) -> bool:
        """See `forward.Forwarding.waiter`."""
        lib, event = self.lib, self._event
        what = lib.step_wait(self.step, epoll, timeout, event)
        if what == lib.STEP_DONE:
            return False
        while what not in (lib.STEP_DONE, lib.STEP_READY):
            self._taken(what)
            if self.step is None:
                break
            what = lib.step_rest(self.step, event)
        return True

    def _pump(self, pump: Any, most: int) -> None:
        left, event = self._left, self._event
        left[0] = most
        while what := pump(self.step, left, event):
            self._taken(what)
            if self.step is None:
                return

    def _taken(self, what: int) -> None:
        try:
            self._take(what)
        except Exception:
            self.failed()  # datagrams that were taken together must not wait for the next one

    def _take(self, what: int) -> None:
        event, size = self._event, self._event.size
        endpoint: Endpoint | None = ffi.from_handle(event.endpoint) if event.endpoint else None
        if what == self.lib.STEP_RTCP:
            assert endpoint is not None
            self.owner.on_rtcp(endpoint, bytes(ffi.buffer(event.data, size)), event.now)
            return
        if what == self.lib.STEP_TOLD:
            assert endpoint is not None
            self.owner.on_told(endpoint, Told(endpoint.link), event.now)
            return
        ffi.memmove(self._in, event.data, size)
        if what == self.lib.STEP_PACKET:
            assert endpoint is not None
            self._packet(endpoint, size, event.now)
            self._flush()
        else:
            self._other(self._in[0], size, endpoint, unpacked(bytes(ffi.buffer(event.address, event.address_size))))
