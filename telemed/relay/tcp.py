"""TCP candidates (RFC 6544), passive: datagrams framed by two bytes of length (RFC 4571) for networks that block UDP."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from telemed.relay.relay import Relay

MAX_CONNECTIONS: Final = 2000
STRANGER_SECONDS: Final = 10.0  # until a connection has shown a valid STUN request
BACKLOG: Final = 256 << 10  # bytes a slow receiver may owe before packets for it are dropped


class TcpConnection(asyncio.Protocol):
    """One connection; to the forwarding step it is an address."""

    def __init__(self, owner: "TcpCandidates") -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.remote: tuple[str, int] = ("0.0.0.0", 0)  # noqa: S104 - a value, nothing listens on it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        name = transport.get_extra_info("peername")
        self.remote = (name[0], name[1]) if name else self.remote
        if not self._owner.room_for_one():
            transport.abort()
            return
        self._owner.connections[self] = None
        self._timer = asyncio.get_running_loop().call_later(STRANGER_SECONDS, self._expired)

    def _expired(self) -> None:
        if self not in self._owner.relay.forwarding.endpoints:
            self.close()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while at + 2 <= len(buffer):
            size = (buffer[at] << 8) | buffer[at + 1]
            if at + 2 + size > len(buffer):
                break
            self._owner.relay.forwarding.take(bytes(buffer[at + 2 : at + 2 + size]), self)
            at += 2 + size
        del buffer[:at]

    def write(self, datagram: memoryview) -> None:
        """A datagram to the other end, dropped when it does not read."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.get_write_buffer_size() < BACKLOG:
            transport.write(len(datagram).to_bytes(2) + datagram)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connections.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        endpoint = self._owner.relay.forwarding.endpoints.get(self)
        if endpoint is not None:
            endpoint.owner.lose(self)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it now, whatever the other end has not read."""
        if self._transport is not None:
            self._transport.abort()


class TcpCandidates:
    """The listening side, on the port that UDP has too."""

    def __init__(self, relay: "Relay") -> None:
        self.relay = relay
        self.connections: dict[TcpConnection, None] = {}  # in the order in which they came
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.get_running_loop().create_server(lambda: TcpConnection(self), host, port, backlog=256)

    def room_for_one(self) -> bool:
        """Whether one more may come; the oldest that nobody has authenticated makes room, so that silent ones keep no one out."""
        if len(self.connections) < MAX_CONNECTIONS:
            return True
        known = self.relay.forwarding.endpoints
        oldest = next((c for c in self.connections if c not in known), None)
        if oldest is None:
            return False
        del self.connections[oldest]
        oldest.abort()
        return True

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        await asyncio.sleep(0)
