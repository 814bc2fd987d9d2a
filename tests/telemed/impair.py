"""A bad link, the same each time: a UDP proxy before the relay that loses, delays, reorders, throttles, cuts and rebinds.

The relay announces the proxy's address and the proxy passes on to the relay's real port, so that any client runs through it
without knowing. Every choice comes from `random.Random(seed)`: the n-th datagram of the n-th client meets the same fate in each run.
"""

import asyncio
import heapq
import random
import socket
from dataclasses import dataclass, field, replace
from typing import Any, Self

BUFFER = 65536
BATCH = 256  # datagrams before the event loop gets its turn


@dataclass(frozen=True, slots=True)
class Path:
    """One direction of a link; all zero is a perfect one."""

    loss: float = 0.0  # share of datagrams, 0 to 1
    burst: float = 1.0  # how many are lost in a row on average (Gilbert's model); 1: each by itself
    delay: float = 0.0  # ms
    jitter: float = 0.0  # ms more, evenly from 0 to this; order is kept
    reorder: float = 0.0  # share that is held back
    late: float = 20.0  # ms by which those are held back
    rate: float = 0.0  # bit/s on the wire (28 bytes of IP and UDP headers are counted), 0: no limit
    queue: float = 200.0  # ms of traffic that the bottleneck holds; what comes on top is dropped


@dataclass(slots=True)
class Counts:
    """What became of one direction's datagrams."""

    passed: int = 0
    bytes: int = 0
    lost: int = 0
    overflowed: int = 0  # the bottleneck's queue was full
    cut: int = 0
    queued_ms: float = 0.0  # longest wait in the bottleneck


class _Direction:
    """One client's way in one direction."""

    def __init__(self, path: Path, seed: str) -> None:
        self.path, self.counts = path, Counts()
        self._random = random.Random(seed)
        self._losing = False
        self._free = 0.0  # when the bottleneck has sent all that it holds
        self._last = 0.0

    def arrival(self, size: int, now: float) -> float | None:
        """When a datagram of `size` bytes that enters now comes out; None: never."""
        # Always the same number of draws, so that a change of settings does not shift the fate of what follows.
        lose, wobble, hold = self._random.random(), self._random.random(), self._random.random()
        path = self.path
        if path.burst <= 1 or path.loss >= 1:
            self._losing = lose < path.loss
        elif self._losing:
            self._losing = lose >= 1 / path.burst
        else:
            # The chance to begin a run, so that the share of all comes out as `loss`.
            self._losing = lose < path.loss / (path.burst * (1 - path.loss))
        if self._losing:
            self.counts.lost += 1
            return None
        at = now
        if path.rate:
            begin = max(now, self._free)
            if (begin - now) * 1000 > path.queue:
                self.counts.overflowed += 1
                return None
            self.counts.queued_ms = max(self.counts.queued_ms, (begin - now) * 1000)
            at = self._free = begin + (size + 28) * 8 / path.rate
        at += (path.delay + wobble * path.jitter) / 1000
        if hold < path.reorder:
            return at + path.late / 1000
        self._last = max(at, self._last)
        return self._last


@dataclass(slots=True, eq=False)
class Flow:
    """One client address: its socket towards the relay and its two directions.

    `user`: ICE fragments of its first STUN request, "relay's:client's".
    """

    client: tuple[str, int]
    socket: socket.socket
    up: _Direction
    down: _Direction
    user: str = ""
    cut_until: float = 0.0
    rebound: int = 0
    _own: bool = field(default=False)  # has settings of its own

    @property
    def fragment(self) -> str:
        """The client's ICE fragment, the `a=ice-ufrag` of its offer."""
        return self.user.partition(":")[2]


class Impairment:
    """`async with Impairment(("127.0.0.1", relay_port), seed=1) as link`; the relay announces `link.address`.

    `up` is from the clients to the relay. Everything may be changed while it runs. `target` may be set later, but before the first client.
    """

    def __init__(
        self, target: tuple[str, int] | None = None, *, seed: int = 1, up: Path | None = None, down: Path | None = None,
        host: str = "127.0.0.1", port: int = 0,
    ) -> None:
        self.target, self.seed = target, seed
        self.flows: list[Flow] = []  # in the order in which the clients came
        self.address = (host, port)
        self._up, self._down = up or Path(), down or Path()
        self._by_client: dict[tuple[str, int], Flow] = {}
        self._chosen: dict[str, tuple[Path | None, Path | None]] = {}
        self._cut_until = 0.0
        self._due: list[tuple[float, int, Flow, bytes, bool]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._front = self._socket(self.address)
        self.address = self._front.getsockname()[:2]
        self._loop.add_reader(self._front.fileno(), self._from_clients)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for flow in self.flows:
            self._drop(flow.socket)
        self._drop(self._front)
        self._due.clear()

    # Settings.

    @property
    def up(self) -> Path:
        """From the clients to the relay; setting it applies to every client without settings of its own."""
        return self._up

    @up.setter
    def up(self, path: Path) -> None:
        self._up = path
        for flow in self.flows:
            if not flow._own:
                flow.up.path = path

    @property
    def down(self) -> Path:
        """From the relay to the clients."""
        return self._down

    @down.setter
    def down(self, path: Path) -> None:
        self._down = path
        for flow in self.flows:
            if not flow._own:
                flow.down.path = path

    def both(self, **changes: float) -> None:
        """Change some values in both directions: `link.both(loss=0.2, delay=150)`."""
        self.up, self.down = replace(self._up, **changes), replace(self._down, **changes)

    def only(self, fragment: str, up: Path | None = None, down: Path | None = None) -> None:
        """Settings of one client alone, known by the `a=ice-ufrag` of its offer; also before it comes. None: perfect."""
        self._chosen[fragment] = (up, down)
        for flow in self.flows:
            self._choose(flow)

    def _choose(self, flow: Flow) -> None:
        chosen = self._chosen.get(flow.fragment)
        if chosen is not None:
            flow._own = True
            flow.up.path, flow.down.path = chosen[0] or Path(), chosen[1] or Path()

    # Events.

    def cut(self, seconds: float, flow: Flow | None = None) -> None:
        """Nothing passes for so long, of one client or of all; what is under way is lost too. 0 mends."""
        until = self._loop.time() + seconds
        if flow is None:
            self._cut_until = until
        else:
            flow.cut_until = until

    def rebind(self, flow: Flow | None = None) -> None:
        """The relay sees the client, or all, come from a new port, as after a NAT forgot them; what is sent to the old one is lost."""
        for each in self.flows if flow is None else [flow]:
            old, each.socket = each.socket, self._socket((self.address[0], 0))
            self._drop(old)
            each.rebound += 1
            self._loop.add_reader(each.socket.fileno(), self._from_relay, each)

    def counts(self) -> tuple[Counts, Counts]:
        """Sums over all clients: (up, down)."""
        sums = Counts(), Counts()
        for flow in self.flows:
            for total, direction in zip(sums, (flow.up, flow.down), strict=True):
                for name in ("passed", "bytes", "lost", "overflowed", "cut"):
                    setattr(total, name, getattr(total, name) + getattr(direction.counts, name))
                total.queued_ms = max(total.queued_ms, direction.counts.queued_ms)
        return sums

    # Datagrams.

    def _socket(self, address: tuple[str, int]) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        for option, forced in ((socket.SO_RCVBUF, 33), (socket.SO_SNDBUF, 32)):
            try:  # SO_RCVBUFFORCE and SO_SNDBUFFORCE of Linux: beyond net.core.rmem_max, for root
                made.setsockopt(socket.SOL_SOCKET, forced, 4 << 20)
            except OSError:
                made.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        made.bind(address)
        return made

    def _drop(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock.fileno())
        sock.close()

    def _from_clients(self) -> None:
        for _ in range(BATCH):
            try:
                data, client = self._front.recvfrom(BUFFER)
            except OSError:
                return
            flow = self._by_client.get(client)
            if flow is None:
                flow = self._meet(client)
            if not flow.user and data[:2] == b"\x00\x01":
                flow.user = _username(data)
                self._choose(flow)
            self._enter(flow, data, True)

    def _meet(self, client: tuple[str, int]) -> Flow:
        seed = f"{self.seed}/{len(self.flows)}"
        flow = Flow(client, self._socket((self.address[0], 0)), _Direction(self._up, seed + "/up"), _Direction(self._down, seed + "/down"))
        self.flows.append(flow)
        self._by_client[client] = flow
        self._loop.add_reader(flow.socket.fileno(), self._from_relay, flow)
        return flow

    def _from_relay(self, flow: Flow) -> None:
        for _ in range(BATCH):
            try:
                data, source = flow.socket.recvfrom(BUFFER)
            except OSError:
                return
            if source[:2] == self.target:
                self._enter(flow, data, False)

    def _enter(self, flow: Flow, data: bytes, up: bool) -> None:
        direction = flow.up if up else flow.down
        now = self._loop.time()
        at = direction.arrival(len(data), now)
        if at is None:
            return
        if at <= now:
            self._leave(flow, data, up, now)
            return
        self._number += 1
        heapq.heappush(self._due, (at, self._number, flow, data, up))
        if self._due[0][1] == self._number:
            self._wake(at)

    def _wake(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        now = self._loop.time()
        # What is due within the next half millisecond leaves now: timers are no finer.
        while self._due and self._due[0][0] <= now + 0.0005:
            _, _, flow, data, up = heapq.heappop(self._due)
            self._leave(flow, data, up, now)
        if self._due:
            self._wake(self._due[0][0])

    def _leave(self, flow: Flow, data: bytes, up: bool, now: float) -> None:
        counts: Any = (flow.up if up else flow.down).counts
        if now < self._cut_until or now < flow.cut_until:
            counts.cut += 1
            return
        counts.passed += 1
        counts.bytes += len(data)
        try:
            if up:
                assert self.target is not None, "target comes before the first client"
                flow.socket.sendto(data, self.target)
            else:
                self._front.sendto(data, flow.client)
        except OSError:  # the other end is gone, or the kernel's buffer is full: a datagram may get lost
            counts.lost += 1


def _username(request: bytes) -> str:
    """USERNAME (RFC 8489 14.3) of a binding request, "" when there is none."""
    at = 20
    while at + 4 <= len(request):
        kind, size = int.from_bytes(request[at : at + 2]), int.from_bytes(request[at + 2 : at + 4])
        if kind == 0x0006:
            return request[at + 4 : at + 4 + size].decode("utf-8", "replace")
        at += 4 + size + (-size % 4)
    return ""
