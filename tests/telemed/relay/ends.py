"""A relay in this process and ends of its peers that speak DTLS and data channels over real sockets, without ICE and media."""

import asyncio
import contextlib
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

from telemed.ports import Published, Source
from telemed.relay.dtls import Certificate, Dtls
from telemed.relay.peer import Peer
from telemed.relay.relay import Relay
from telemed.relay.sctp import DataChannels

CERTIFICATE = Certificate()
HEAD = ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\na=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 24 +
        f"\r\na=fingerprint:{CERTIFICATE.fingerprint}\r\na=setup:{{setup}}\r\n")  # fmt: skip
SOUND = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"


def loopback(count: int) -> list[socket.socket]:
    """UDP sockets, each at a port of its own, that do not block."""
    found = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for each in found:
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
    return found


_ENDS: "weakref.WeakSet[End]" = weakref.WeakSet()


class Hears:
    """A listener that passes data on to everybody else of its room, as telemed.rooms does."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.peer: Peer | None = None
        self.states: list[Any] = []

    def on_state(self, state: Any) -> None:
        self.states.append(state)

    def on_data(self, label: str, message: bytes | str) -> None:
        assert self.peer is not None
        room = self.relay.rooms.get(self.peer.room)
        for other in list(room.peers) if room is not None else []:
            if other is not self.peer:
                other.send_data(label, self.peer.participant, message)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class End:
    """One client: `heard` gets (label, sender, message) of the channels that the relay opened."""

    def __init__(self, relay: Relay, name: str, room: str = "r") -> None:
        self.relay, self.name = relay, name
        _ENDS.add(self)
        self.hears = Hears(relay)
        self.hears.peer = self.peer = relay.join(room, name, self.hears)
        (self.socket,) = loopback(1)
        self.dtls: Dtls | None = None
        self.channels: DataChannels | None = None
        self.heard: list[tuple[str, bytes | str]] = []
        self.lost: Callable[[bytes], bool] = lambda data: False  # of what comes to this end
        self.sent: list[bytes] = []

    def offer(self, lines: str = DATA, setup: str = "active") -> str:
        mids = " ".join(line[6:] for line in lines.splitlines() if line.startswith("a=mid:"))
        publish = {"0": Published(Source.MICROPHONE)} if "a=mid:0" in lines else {}
        return self.peer.negotiate(HEAD.format(mids=mids, setup=setup) + lines, publish, {})

    def connect(self) -> None:
        """DTLS from the client's side; the peer knows this address as if ICE had found it."""
        fingerprint = self.relay.certificate.fingerprint.split(" ", 1)
        self.dtls = Dtls(CERTIFICATE, [(fingerprint[0], fingerprint[1])], False, self._send)
        asyncio.get_running_loop().add_reader(self.socket, self._read)
        self.peer._know(self.socket.getsockname())
        self.peer._use(self.socket.getsockname())
        self.dtls.start()

    def open(self) -> DataChannels:
        """Data channels of this side."""
        assert self.dtls is not None
        self.channels = DataChannels(self.dtls.send, False, 5000, 262_144, lambda label, message: self.heard.append((label, message)))
        return self.channels

    async def ready(self, lines: str = DATA) -> None:
        """All of it."""
        self.offer(lines)
        self.connect()
        await until(lambda: self.dtls is not None and self.dtls.connected and self.peer.endpoint.rx is not None)
        channels = self.open()
        await until(lambda: channels._sctp.state == "connected")

    def _send(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        if self.socket.fileno() >= 0:
            with contextlib.suppress(BlockingIOError):
                self.socket.sendto(datagram, self.relay.address)

    def _read(self) -> None:
        for _ in range(64):
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            if self.dtls is None or self.lost(data):
                continue
            for datagram in self.dtls.receive(data):
                if self.channels is not None:
                    self.channels.receive(datagram)

    def close(self) -> None:
        if self.socket.fileno() < 0:
            return
        if self.channels is not None:
            self.channels.close()
        if self.dtls is not None:
            self.dtls.close()
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()


async def until(what: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """Started; what its loop complained of is an error."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    made = Relay(tcp=False)
    await made.start()
    try:
        yield made
    finally:
        for end in list(_ENDS):
            end.close()  # also of a test that failed
        _ENDS.clear()
        await made.close()
        await asyncio.sleep(0)
        assert not complaints, complaints

