"""A relay in this process with one call on it, whose every packet of sound must arrive whatever else is done to the relay."""

import asyncio
import contextlib
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from bench.relay import session
from bench.relay.sources import Publisher, Shape, Window
from bench.relay.transport import Transport
from bench.relay.watcher import Watcher
from telemed.ports import LayerChoice, PeerState, Published, Quality, Source, TrackInfo
from telemed.relay.build import Form
from telemed.relay.dtls import Certificate
from telemed.relay.peer import Peer
from telemed.relay.relay import Relay
from telemed.wire import stun
from tests.telemed.relay.forms import have

PUBLISH: Mapping[str, Published] = {"0": Published(Source.MICROPHONE), "1": Published(Source.CAMERA)}
DEAF = 60.0  # seconds that a busy machine may take for what is waited for


class Ear:
    """Signalling's side of a peer (ports.Listener); `states` is what it heard."""

    def __init__(self) -> None:
        self.states: list[PeerState] = []

    def on_state(self, state: PeerState) -> None:
        self.states.append(state)

    def on_track(self, track: TrackInfo) -> None: ...
    def on_track_gone(self, track_id: str) -> None: ...
    def on_layer(self, choice: LayerChoice) -> None: ...
    def on_quality(self, quality: Quality) -> None: ...
    def on_data(self, label: str, message: bytes | str) -> None: ...


async def until(condition: Callable[[], Any], meanwhile: Callable[[], Any] = lambda: None) -> None:
    """Until it holds; what is broken ends as TimeoutError."""
    async with asyncio.timeout(DEAF):
        while not condition():
            meanwhile()
            await asyncio.sleep(0.005)


def check(remote: session.Remote, *more: tuple[int, bytes], theirs: str = "x") -> bytes:
    """A binding request that the relay takes for its peer's own."""
    attributes = [(stun.USERNAME, f"{remote.ufrag}:{theirs}".encode()), (stun.ICE_CONTROLLING, bytes(8)), *more]
    return stun.build(stun.REQUEST, secrets.token_bytes(12), attributes, remote.password.encode())


def stranger() -> socket.socket:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    s.bind(("127.0.0.1", 0))
    return s


def silent() -> Transport:
    """One whose description can be offered, and who never sends."""
    return Transport(Certificate(), lambda data, size: None, lambda data: None)


class Honest:
    """One who speaks in room `honest` and one who hears: `speak` sends a packet, `whole` is the end of it."""

    def __init__(self, relay: Relay) -> None:
        self.relay, self.window, self.certificate = relay, Window(), Certificate()
        self.publisher = Publisher(self.certificate, 1, [Shape(100)], self.window, random.Random(1))
        self.sound = self.publisher.sources[0]
        self.watcher = Watcher(self.certificate, {self.sound.id}, self.window)

    async def begin(self) -> None:
        """Connected, and the first packets heard."""
        for name, end, sources, publish in (("a", self.publisher, self.publisher.sources, PUBLISH), ("b", self.watcher, (), {})):
            peer = self.relay.join("honest", name, Ear())
            wanted = dict(zip("0", [track.id for track in self.relay.tracks("honest")], strict=False))
            end.transport.start(session.read(peer.negotiate(session.offer(end.transport, sources), publish, wanted)))
            await end.transport.connected
            if end is self.publisher:
                await until(lambda: self.relay.tracks("honest"), self.speak)
        await until(lambda: self.watcher.packets, self.speak)
        self.window.begin, self.window.end = time.monotonic_ns(), 1 << 63

    def speak(self) -> None:
        """One packet of sound; and what both ends say by RTCP when it is due."""
        self.publisher.frame(self.sound)
        self.watcher.tick(time.monotonic())

    async def whole(self) -> None:
        """Every packet since `begin` arrived, as it was sent."""
        self.speak()
        sent = self.sound.sent
        await until(lambda: len(self.watcher.got[self.sound.id].seen) >= sent, lambda: self.watcher.tick(time.monotonic()))
        assert sent > 10
        assert (self.watcher.corrupt, self.watcher.strays) == (0, 0)

    def end(self) -> None:
        for end in (self.publisher, self.watcher):
            end.transport.close()


@contextlib.asynccontextmanager
async def call(form: Form, max_peers: int = 1000) -> AsyncIterator[Honest]:
    """A relay and the call on it; `honest.relay` is the relay. Nothing may be left of either at the end."""
    before = asyncio.all_tasks()
    relay = Relay(max_peers=max_peers, step=have(form))
    await relay.start()
    honest = Honest(relay)
    try:
        await honest.begin()
        yield honest
        await honest.whole()
        assert asyncio.all_tasks() == before
    finally:
        honest.end()
        await relay.close()
        await asyncio.sleep(0)
    assert (len(relay.peers), len(relay.rooms), len(relay.fragments), len(relay.connecting)) == (0, 0, 0, 0)
    assert not relay.forwarding.endpoints
    assert not any(relay._rounds)


def offered(relay: Relay, name: str, transport: Transport, publish: bool = True) -> tuple[Peer, session.Remote]:
    """A peer of room `abuse` that was answered, and where its client is to go."""
    peer = relay.join("abuse", name, Ear())
    sources = Publisher(transport.certificate, 2, [Shape(100)], Window(), random.Random(name)) if publish else None
    text = session.offer(transport, sources.sources if sources is not None else ())
    if sources is not None:
        sources.transport.close()
    return peer, session.read(peer.negotiate(text, PUBLISH if publish else {}, {}))
