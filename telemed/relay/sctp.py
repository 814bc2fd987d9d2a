"""Data channels of one peer (RFC 8831, RFC 8832) over datagrams that DTLS carries; SCTP itself is aiortc's, with bounds around it."""

import logging
from collections.abc import Callable, Coroutine
from struct import pack, unpack_from
from typing import Any, Final

log = logging.getLogger(__name__)

PORT: Final = 5000  # ours, in the answer's a=sctp-port
MAX_CHANNELS: Final = 32
MAX_MESSAGE: Final = 256 << 10  # ours, in the answer's a=max-message-size
MAX_BUFFERED: Final = 4 << 20
WINDOW: Final = 512 << 10  # bytes that the peer may have on the way to us (RFC 9260 6.2); more than the largest message
STALL_SECONDS: Final = 10.0  # without an acknowledgement while more than STALL_BYTES wait
STALL_BYTES: Final = 64 << 10
CHUNK: Final = 1_200  # the least that may be on the way
FIRST_TRIP: Final = 0.1  # seconds that a round trip is taken for while none is measured
SMALL: Final = 1_024  # messages up to this go before those of other channels: vital signs do not wait for a picture
MAX_NAME: Final = 256  # bytes of a label or protocol
# What one association may keep in aiortc. A browser stays far below: it fills a window of 1 MiB with chunks of 1.1 KB.
_MAX_DATAGRAM: Final = 4_096
_MAX_CHUNKS: Final = 2_048  # waiting for the rest of their message
_MAX_MISORDERED: Final = 1_024
_MAX_STREAMS: Final = 4 * MAX_CHANNELS
_MAX_GAPS: Final = 4_096  # TSNs that one SACK may name
_OVERHEAD: Final = 256  # bytes that a waiting message costs beside its own
_SLACK: Final = 65_536  # beyond the window that we advertise
_DCEP: Final = 50
_DATA, _SACK = 0, 3
_PARAMETERS: Final = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}  # chunks with parameters -> bytes before them


class DataChannels:
    """One SCTP association. To be made on the event loop when DTLS is connected; both sides begin (RFC 8841 9.3).

    `send` takes datagrams for DTLS and must not raise; `on_message` gets (label, message) of any channel, on the loop, and must not raise.
    `role_server`: whether we are the DTLS server, which decides odd or even stream ids. `remote_max_message` as in the peer's
    a=max-message-size, 0: no limit. Channels are ordered and reliable.
    """

    def __init__(
        self, send: Callable[[bytes], None], role_server: bool, remote_port: int, remote_max_message: int,
        on_message: Callable[[str, bytes | str], None], max_buffered: int = MAX_BUFFERED,
    ) -> None:  # fmt: skip
        # Here and not above: aiortc's package imports PyAV (1.16), half a second and 25 MB that who only reads this module does not pay.
        from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

        self._on_message = on_message
        self._max_buffered = max_buffered
        self._max_message = min(remote_max_message or MAX_MESSAGE, MAX_MESSAGE)
        self._opened: dict[tuple[str, str], Any] = {}  # (label, protocol) -> channel, the longest unused first
        self._leaving: set[Any] = set()  # channels that still send what waits in them
        self._held = 0
        self._most = 0  # bytes that we may have on the way, 0: as congestion control has it
        self._acked = self._moved_at = 0.0
        self._stalled = False
        transport: Any = _Transport(send, "server" if role_server else "client")
        self._sctp: Any = RTCSctpTransport(transport, PORT)
        self._sctp._advertised_rwnd = WINDOW
        self._sctp.on("datachannel", self._announced)
        _run(self._sctp.start(RTCSctpCapabilities(maxMessageSize=self._max_message), remote_port))

    @property
    def closed(self) -> bool:
        """Whether the association ended, by `close`, by the peer, or because nothing was answered or bounds were broken."""
        return bool(self._sctp.state == "closed")

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent, with what keeping them costs."""
        waiting: int = sum(channel.bufferedAmount for channel in (*self._opened.values(), *self._leaving))
        return waiting + _OVERHEAD * len(self._sctp._data_channel_queue)

    def receive(self, datagram: bytes) -> None:
        """A datagram out of DTLS. Never raises: what breaks the bounds or aiortc ends the association."""
        if self.closed or not _plausible(datagram):
            return
        sctp = self._sctp
        try:
            _run(sctp._handle_data(datagram))
        except Exception as error:  # asserts and unpacking on what a peer sends
            log.info("data channels end: %s: %s", type(error).__name__, error)
            self.close()
            return
        self._narrow()
        chunks = sum(len(stream.reassembly) for stream in sctp._inbound_streams.values())
        if (
            sctp._advertised_rwnd + self._held < -_SLACK
            or chunks > _MAX_CHUNKS
            or len(sctp._sack_misordered) > _MAX_MISORDERED
            or len(sctp._inbound_streams) > _MAX_STREAMS
            or len(sctp._data_channels) > _MAX_STREAMS
        ):
            log.info("data channels end: the peer keeps more open than it may")
            self.close()

    def send(self, label: str, sender: str, message: bytes | str) -> bool:
        """Send on the channel with this label and protocol `sender`, opened now if there is none. False: not taken.

        That is when the association has ended, the message or the names are too long, every channel that there may be is busy, the peer
        acknowledges nothing, or too much waits; in the last case the channel is closed and what waits in it is dropped.
        """
        size = len(message.encode()) if isinstance(message, str) else len(message)
        if self.closed or size > self._max_message or (self._stalled and size > SMALL):
            return False
        key = (label, sender)
        channel = self._opened.pop(key, None)
        if channel is not None:
            self._opened[key] = channel  # the last used
        if self.buffered + size + _OVERHEAD > self._max_buffered:
            if channel is not None:
                self._drop(key)
            return False
        if channel is None:
            channel = self._open(label, sender)
            if channel is None:
                return False
        first = size <= SMALL and not channel.bufferedAmount
        # Not channel.send(): that waits for the peer's ACK, which RFC 8832 6 does not ask of an ordered channel.
        self._sctp._data_channel_send(channel, message)
        if first:
            self._sctp._data_channel_queue.rotate(1 if channel.id is not None else 2)  # behind its own opening, if that still waits
        return True

    def hold(self, octets: int) -> None:
        """Let the peer have so many bytes fewer on the way than WINDOW, from now on."""
        sctp, octets = self._sctp, min(octets, WINDOW)
        before = sctp._advertised_rwnd
        sctp._advertised_rwnd += self._held - octets
        self._held = octets
        if before < WINDOW // 2 and sctp._advertised_rwnd > before and sctp.state == "connected":
            _run(sctp._send_sack())  # it may be waiting for this

    def pace(self, rate: float) -> None:
        """Send at most about so many bytes a second from now on; 0: what congestion control allows, which fills every queue on the way."""
        self._most = max(CHUNK, int(rate * (self._sctp._srtt or FIRST_TRIP))) if rate else 0
        self._narrow()

    def _narrow(self) -> None:
        if self._most and self._sctp._cwnd > self._most:
            self._sctp._cwnd = self._most

    def forget(self, sender: str) -> None:
        """End the channels with protocol `sender`, after what waits in them."""
        for key in [key for key in self._opened if key[1] == sender]:
            self._leave(key)

    def tick(self, now: float) -> None:
        """Now and then: `now` in seconds of any steady clock. What a peer does not take for STALL_SECONDS is dropped."""
        acked = self._sctp._last_sacked_tsn
        if acked != self._acked or self.buffered <= STALL_BYTES:
            self._stalled = self._stalled and acked == self._acked
            self._acked, self._moved_at = acked, now
        elif now - self._moved_at > STALL_SECONDS:
            self._stalled = True
            for key in [key for key, channel in self._opened.items() if channel.bufferedAmount]:
                self._drop(key)

    def close(self) -> None:
        """End the association (ABORT) and all channels."""
        if not self.closed:
            _run(self._sctp.stop())
        self._opened.clear()
        self._leaving.clear()
        self._sctp._data_channel_queue.clear()

    def _open(self, label: str, sender: str) -> Any:
        from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters

        name, protocol = label.encode(), sender.encode()
        if len(name) > MAX_NAME or len(protocol) > MAX_NAME or len(self._sctp._data_channels) >= _MAX_STREAMS // 2:
            return None
        unnumbered = sum(channel.id is None for channel in self._opened.values())
        if self._live() + unnumbered >= MAX_CHANNELS:
            idle = next((key for key, channel in self._opened.items() if not channel.bufferedAmount and channel.id is not None), None)
            if idle is None:
                return None
            self._leave(idle)
        channel: Any = RTCDataChannel(self._sctp, RTCDataChannelParameters(label=label, protocol=sender), False)
        # aiortc's own message says lengths in characters (1.16), which RFC 8832 5.1 wants in bytes: "phòng khám" would arrive cut.
        opening = pack("!BBHLHH", 3, 0, 0, 0, len(name), len(protocol)) + name + protocol
        self._sctp._data_channel_queue.append((channel, _DCEP, opening))
        key = (label, sender)
        self._opened[key] = channel
        channel.on("message", lambda message: self._received(channel, message))
        channel.on("close", lambda: self._closed(key, channel))
        return channel

    def _live(self) -> int:
        """Channels of both sides that have a number and are not being closed."""
        return sum(channel.readyState in ("connecting", "open") for channel in self._sctp._data_channels.values())

    def _announced(self, channel: Any) -> None:
        """The peer opened a channel."""
        if (
            self._live() > MAX_CHANNELS
            or len(channel.label.encode()) > MAX_NAME
            or len(channel.protocol.encode()) > MAX_NAME
        ):
            channel.close()
            return
        channel.on("message", lambda message: self._received(channel, message))

    def _received(self, channel: Any, message: bytes | str) -> None:
        if len(message) > MAX_MESSAGE or (isinstance(message, str) and len(message.encode()) > MAX_MESSAGE):
            channel.close()
            return
        self._on_message(channel.label, message)

    def _closed(self, key: tuple[str, str], channel: Any) -> None:
        if self._opened.get(key) is channel:
            del self._opened[key]

    def _leave(self, key: tuple[str, str]) -> None:
        channel = self._opened.pop(key)
        self._leaving.add(channel)
        channel.on("close", lambda: self._leaving.discard(channel))
        channel.close()

    def _drop(self, key: tuple[str, str]) -> None:
        """Close a channel at once: aiortc would first send what waits in it."""
        channel = self._opened.pop(key)
        queue = self._sctp._data_channel_queue
        kept = [item for item in queue if item[0] is not channel]
        queue.clear()
        queue.extend(kept)
        channel.close()


def prepare() -> None:
    """Load what an association needs, which takes half a second the first time."""
    import aiortc.rtcdatachannel
    import aiortc.rtcsctptransport  # noqa: F401


class _Transport:
    """What aiortc's SCTP asks of a DTLS transport."""

    state = "connected"

    def __init__(self, send: Callable[[bytes], None], role: str) -> None:
        self._send = send
        self._role = role

    def _register_data_receiver(self, receiver: object) -> None:
        """Datagrams come by `DataChannels.receive`."""

    def _unregister_data_receiver(self, receiver: object) -> None:
        """Likewise."""

    async def _send_data(self, data: bytes) -> None:
        self._send(data)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """To its end, here and now: nothing in aiortc's SCTP waits but for `_send_data`, and ours does not. A task a datagram is spared."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("aiortc's SCTP waits: another version?")


def _plausible(datagram: bytes) -> bool:
    """Whether aiortc can read this at a bounded cost.

    It walks parameters by a length that may be 0, without end, and goes through each TSN that a SACK's gaps name: 300 gaps of 65,535.
    """
    size = len(datagram)
    if not 16 <= size <= _MAX_DATAGRAM:
        return False
    at = 12
    while at <= size - 4:
        kind, _, length = unpack_from("!BBH", datagram, at)
        end = at + length
        if length < 4 or end > size:
            return False
        if kind == _DATA and length < 17:  # RFC 9260 6.2: no user data is an error
            return False
        if kind == _SACK and not _few_gaps(datagram, at, end):
            return False
        if kind in _PARAMETERS:
            inner = at + 4 + _PARAMETERS[kind]
            while inner <= end - 4:
                (step,) = unpack_from("!H", datagram, inner + 2)
                if step < 4:
                    return False
                inner += step + -step % 4
        at = end + -length % 4
    return True


def _few_gaps(datagram: bytes, at: int, end: int) -> bool:
    if end < at + 16:
        return False
    number, duplicates = unpack_from("!HH", datagram, at + 12)
    if at + 16 + 4 * (number + duplicates) > end:
        return False
    named = 0
    for index in range(number):
        first, last = unpack_from("!HH", datagram, at + 16 + 4 * index)
        if last < first:
            return False
        named += last - first + 1
    return named <= _MAX_GAPS
