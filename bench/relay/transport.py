"""One raw peer's transport: a UDP socket, ICE checks, DTLS, SRTP in place. No encoder, no decoder, no task a packet."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from telemed.relay.dtls import Certificate, Dtls, DtlsError
from telemed.relay.srtp import ffi, lib
from telemed.wire import stun
from telemed.wire.errors import WireError

BATCH: Final = 64
CHECK_SECONDS: Final = 0.05  # between checks until the first is answered
CONNECT_SECONDS: Final = 15.0

# One buffer each way for all transports: they share a thread.
_in = bytearray(2048)
VIEW: Final = memoryview(_in)
_in_pointer = ffi.from_buffer(_in)
OUT: Final = bytearray(2048)
OUT_VIEW: Final = memoryview(OUT)
_out_pointer = ffi.from_buffer(OUT)
_length = ffi.new("int *")


@dataclass(frozen=True, slots=True)
class Remote:
    """The other end, as its description tells."""

    ufrag: str
    password: str
    fingerprint: tuple[str, str]
    address: tuple[str, int]
    active: bool = False  # it begins the DTLS handshake


class Transport:
    """`on_rtp(buffer, size, now)` gets decrypted packets in a buffer that is used again, `on_rtcp(bytes)` compounds."""

    def __init__(self, certificate: Certificate, on_rtp: Callable[[bytearray, int], None], on_rtcp: Callable[[bytes], None]) -> None:
        self.certificate, self._on_rtp, self._on_rtcp = certificate, on_rtp, on_rtcp
        self.loop = asyncio.get_running_loop()
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.sock.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.sock.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.sock.getsockname()
        self.connected: asyncio.Future[None] = self.loop.create_future()
        self.check_seconds = 2.5
        self.answered = 0.0  # when the relay answered a check last
        self.unsent = 0
        self.bad = 0
        self.lose: Callable[[], bool] | None = None  # whether the next RTP packet is dropped, before anything looks at it
        self._dtls: Dtls | None = None
        self._rx: Any = None
        self._tx: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def start(self, remote: Remote) -> None:
        """Begin checks; `connected` is done when media may flow."""
        self.remote = remote
        self._began = self.loop.time()
        self.sock.connect(remote.address)
        self._dtls = Dtls(self.certificate, [remote.fingerprint], remote.active, self._send)
        self.loop.add_reader(self.sock.fileno(), self._readable)
        self._check()

    def close(self) -> None:
        """Say goodbye and free the socket."""
        if self._dtls is not None:
            self._dtls.close()
        self.vanish()

    def vanish(self) -> None:
        """Free the socket without a word."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        self.loop.remove_reader(self.sock.fileno())
        self.sock.close()
        self._tx = None
        if not self.connected.done():
            self.connected.cancel()

    def restart(self, remote: Remote) -> None:
        """Go on with the names of an ICE restart (RFC 8445 9); ours were changed before the offer."""
        self.remote = remote

    def send_rtp(self, size: int) -> None:
        """Encrypt and send the `size` bytes that stand in OUT."""
        if self._tx is None:
            return
        _length[0] = size
        if not lib.srtp_protect(self._tx, _out_pointer, _length):
            try:
                self.sock.send(OUT_VIEW[: _length[0]])
            except OSError:
                self.unsent += 1

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send a compound."""
        if self._tx is None:
            return
        OUT[: len(packet)] = packet
        _length[0] = len(packet)
        if not lib.srtp_protect_rtcp(self._tx, _out_pointer, _length):
            self._send(bytes(OUT_VIEW[: _length[0]]))

    # What is not media.

    def _send(self, datagram: bytes) -> None:
        try:
            self.sock.send(datagram)
        except OSError:
            self.unsent += 1

    def _check(self) -> None:
        """A binding request that nominates (RFC 8445 7.2.2): first to connect, later as consent (RFC 7675)."""
        user = f"{self.remote.ufrag}:{self.ufrag}".encode()
        attributes = [
            (stun.USERNAME, user), (stun.PRIORITY, (110 << 24 | 65535 << 8 | 255).to_bytes(4)),
            (stun.ICE_CONTROLLING, bytes(8)), (stun.USE_CANDIDATE, b""),
        ]  # fmt: skip
        self._send(stun.build(stun.REQUEST, secrets.token_bytes(12), attributes, self.remote.password.encode()))
        if self._rx is None and self.loop.time() - self._began > CONNECT_SECONDS:
            self._fail(TimeoutError("no connection"))
            return
        self._timer = self.loop.call_later(self.check_seconds if self.answered else CHECK_SECONDS, self._check)

    def _fail(self, error: Exception) -> None:
        if not self.connected.done():
            self.connected.set_exception(error)

    def _readable(self) -> None:
        receive = self.sock.recv_into
        for _ in range(BATCH):
            try:
                size = receive(_in)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            first = _in[0]
            if 128 <= first <= 191 and size >= 12:
                if self._rx is None:
                    continue
                _length[0] = size
                if 192 <= _in[1] <= 223:
                    if lib.srtp_unprotect_rtcp(self._rx, _in_pointer, _length):
                        self.bad += 1
                    else:
                        self._on_rtcp(bytes(VIEW[: _length[0]]))
                elif self.lose is not None and self.lose():
                    continue
                elif lib.srtp_unprotect(self._rx, _in_pointer, _length):
                    self.bad += 1
                else:
                    self._on_rtp(_in, _length[0])
            elif first <= 3:
                self._stun(bytes(VIEW[:size]))
            elif 20 <= first <= 63:
                self._handshake(bytes(VIEW[:size]))

    def _stun(self, data: bytes) -> None:
        try:
            message = stun.parse(data)
        except WireError:
            return
        if message.kind == stun.REQUEST:
            if message.authentic(self.password.encode()):
                host, port = self.remote.address
                self._send(stun.success(message, host, port, self.password.encode()))
            return
        if message.kind == stun.SUCCESS:
            first, self.answered = not self.answered, self.loop.time()
            if first and self._dtls is not None and not self.remote.active:
                self._dtls.start()
                self._again()

    def _handshake(self, data: bytes) -> None:
        dtls = self._dtls
        assert dtls is not None
        try:
            if dtls.receive(data) is None:
                self._tx = None
                return
        except DtlsError as e:
            self._fail(e)
            return
        if self._rx is None and dtls.connected and dtls.rx is not None and dtls.tx is not None:
            self._rx, self._tx = dtls.rx.pointer, dtls.tx.pointer
            if not self.connected.done():
                self.connected.set_result(None)
        elif not dtls.connected:
            self._again()

    def _again(self) -> None:
        """A flight that is not answered is sent again."""
        if self._retry is not None:
            self._retry.cancel()
        wait = self._dtls.timeout() if self._dtls is not None else None
        if wait is not None:
            self._retry = self.loop.call_later(max(wait, 0.001), self._expired)

    def _expired(self) -> None:
        if self._dtls is None or self._dtls.connected:
            return
        try:
            self._dtls.expired()
        except DtlsError as e:
            self._fail(e)
            return
        self._again()
