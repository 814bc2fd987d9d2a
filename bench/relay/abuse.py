"""Who comes to a relay in a long run: people who behave and leave in every way, and those who send what they should not."""

import asyncio
import contextlib
import json
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx

from bench.relay import session
from bench.relay.sources import Publisher, Shape, Window
from bench.relay.transport import OUT, Transport
from bench.relay.watcher import Watcher
from telemed.client.signalling import Ended, Refused, Signalling
from telemed.relay.dtls import Certificate, Dtls
from telemed.tokens import Tokens
from telemed.wire import stun

PUBLISH: Final = {"0": {"source": "microphone"}, "1": {"source": "camera"}}
BURST: Final = 150  # datagrams of a flood at once
FAULTS: Final = (Refused, Ended, session.Refused, httpx.HTTPError, TimeoutError, ConnectionError, OSError, asyncio.CancelledError)


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


class Field:
    """The relay under test as clients find it, and what was done to it. `seed` chooses everything but keys."""

    def __init__(self, base: str, udp: tuple[str, int], secret: str, seed: int) -> None:
        self.base, self.udp, self.ws = base, udp, base.replace("http", "ws", 1) + "/ws"
        self.host, self.port = "127.0.0.1", int(base.rpartition(":")[2].partition("/")[0])
        self.tokens, self.foreign = Tokens(secret), Tokens(secrets.token_urlsafe(32))
        self.past = Tokens(secret, now=lambda: time.time() - 3600)
        self.random, self.certificate = random.Random(seed), Certificate()
        self.http = httpx.AsyncClient(timeout=20, trust_env=False)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._numbers = iter(range(1 << 40))

    def room(self) -> str:
        return f"soak{next(self._numbers)}"

    def token(self, room: str, who: str, role: str, tokens: Tokens | None = None) -> str:
        return (tokens or self.tokens).issue(room=room, participant=who, name=who, role=role, admitted=True)

    def expect(self, held: bool, otherwise: str) -> None:
        if not held:
            self.wrong.append(otherwise)

    def mutated(self, data: bytes) -> bytes:
        """A few bytes changed, cut off or added."""
        out = bytearray(data)
        for _ in range(self.random.randrange(1, 5)):
            at = self.random.randrange(len(out))
            what = self.random.randrange(3)
            if what == 0:
                out[at] = self.random.randrange(256)
            elif what == 1 and len(out) > 2:
                del out[at : at + self.random.randrange(1, 5)]
            else:
                out[at:at] = self.random.randbytes(self.random.randrange(1, 5))
            if not out:
                return b"\0"
        return bytes(out)


class Guest:
    """One person with a page: signalling by WebSocket, raw media."""

    def __init__(self, field: Field, room: str, who: str, role: str) -> None:
        self.field, self.room, self.who = field, room, who
        self.tracks: dict[str, dict[str, Any]] = {}
        self.watcher: Watcher | None = None
        self.publisher: Publisher | None = None
        self._speaking: asyncio.Task[None] | None = None
        self.signal = Signalling(field.ws, field.token(room, who, role), {}, self._heard, lambda up: None)

    @property
    def transport(self) -> Transport:
        end = self.publisher or self.watcher
        assert end is not None
        return end.transport

    def _heard(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        found = message["tracks"] if kind == "welcome" else [message["track"]] if kind in ("track-added", "track-changed") else []
        self.tracks |= {track["id"]: track for track in found}

    async def publish(self) -> None:
        """Sound and a picture, until it leaves."""
        rnd = random.Random(self.field.random.random())
        self.publisher = Publisher(self.field.certificate, rnd.randrange(1 << 20), [Shape(60, fps=10)], Window(), rnd)
        await self._offer(PUBLISH, {})
        self._speaking = asyncio.create_task(self._speak(self.publisher))

    async def watch(self) -> None:
        """Whatever is published once it is."""
        await until(lambda: len({t["kind"] for t in self.tracks.values()}) == 2, 10)
        wanted = {"0" if t["kind"] == "audio" else "1": id for id, t in self.tracks.items()}
        self.watcher = Watcher(self.field.certificate, set(), Window())
        await self._offer({}, wanted)

    async def _offer(self, publish: dict[str, Any], wanted: dict[str, str], again: bool = False) -> None:
        text = session.offer(self.transport, self.publisher.sources if self.publisher is not None else ())
        answer = await self.signal.ask({"type": "offer", "sdp": text, "publish": publish, "wanted": wanted})
        remote = session.read(answer["sdp"])
        if again:
            self.transport.restart(remote)
        else:
            self.transport.start(remote)
            await self.transport.connected

    async def restart(self) -> None:
        """ICE anew (RFC 8445 9)."""
        self.transport.ufrag, self.transport.password = secrets.token_hex(4), secrets.token_hex(12)
        await self._offer(PUBLISH if self.publisher is not None else {}, {}, again=True)

    async def mute(self) -> None:
        for id, track in list(self.tracks.items()):
            if track["participant"] == self.who:
                for muted in (True, False):
                    await self.signal.ask({"type": "mute", "track": id, "muted": muted})

    async def resume(self) -> None:
        """Lose the WebSocket and come back."""
        await self.signal.lose()
        await asyncio.sleep(0.1)
        await until(lambda: self.signal.up, 15)

    async def _speak(self, publisher: Publisher) -> None:
        loop, ticks = asyncio.get_running_loop(), 0
        due = loop.time()
        while True:
            publisher.frame(publisher.sources[0])
            if ticks % 5 == 0:
                publisher.frame(publisher.sources[1])
            if ticks % 50 == 0:
                publisher.report()
            ticks, due = ticks + 1, due + 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def end(self, politely: bool) -> None:
        """Leave, or vanish without a word."""
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.gather(self._speaking, return_exceptions=True)
        if not politely:
            await self.signal.lose()
        await self.signal.close(leave=politely)
        if self.publisher is not None or self.watcher is not None:
            (self.transport.close if politely else self.transport.vanish)()


@contextlib.asynccontextmanager
async def raw(field: Field) -> AsyncIterator[socket.socket]:
    """A WebSocket by hand, which reads nothing after the handshake."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(s, (field.host, field.port))
        await loop.sock_sendall(
            s, b"GET /telemed/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )  # fmt: skip
        await loop.sock_recv(s, 4096)
        yield s
    finally:
        s.close()


# What is done, again and again; each from start to end in some seconds.


async def consultation(field: Field) -> None:
    """Two people for a while; each does what people do, and goes in one of two ways."""
    room, rnd = field.room(), field.random
    people = [Guest(field, room, "doctor", "doctor"), Guest(field, room, "patient", "patient")]
    try:
        for one in people:
            await one.signal.ready()
        await people[0].publish()
        await people[1].watch()
        for _ in range(rnd.randrange(2, 6)):
            one = rnd.choice(people)
            what = rnd.choice([one.mute, one.resume, one.restart])
            await what()
            field.done[what.__name__] += 1
            await asyncio.sleep(rnd.uniform(0.1, 1.0))
        if rnd.random() < 0.5:
            await garbage(field, rnd.choice(people).transport)
        field.done["consultation"] += 1
    finally:
        for one in people:
            politely = rnd.random() < 0.5
            await one.end(politely)
            field.done["left" if politely else "vanished"] += 1


async def garbage(field: Field, transport: Transport) -> None:
    """From an address that is known: STUN, DTLS and SRTP that are broken, RTP and RTCP that are authentic and senseless."""
    rnd, remote, flight = field.random, transport.remote, []
    Dtls(field.certificate, [remote.fingerprint], False, flight.append).start()
    user = f"{remote.ufrag}:{transport.ufrag}".encode()
    request = stun.build(stun.REQUEST, secrets.token_bytes(12), [(stun.USERNAME, user)], remote.password.encode())
    for n in range(BURST):
        packet = bytearray(rnd.randbytes(rnd.randrange(16, 200)))
        packet[0] = 0x80 | packet[0] & 0x3F
        what = n % 5
        with contextlib.suppress(OSError):
            if what == 0:
                transport.sock.send(field.mutated(request))
            elif what == 1:
                transport.sock.send(field.mutated(flight[0]))
            elif what == 2:
                transport.sock.send(bytes(packet))
            elif what == 3:
                packet[1], packet[8:12] = rnd.randrange(128), (n % 20 + 1).to_bytes(4)
                OUT[: len(packet)] = packet
                transport.send_rtp(len(packet))
            else:
                del packet[len(packet) // 4 * 4 :]
                packet[1], packet[2:4] = rnd.randrange(192, 224), (len(packet) // 4 - 1).to_bytes(2)
                packet[4:8] = (n % 20 + 1).to_bytes(4)
                transport.send_rtcp(bytes(packet))
    field.done["garbage"] += BURST
    await asyncio.sleep(0.05)


async def device(field: Field) -> None:
    """WHIP: an offer, broken or not, that nothing follows, or a handshake that is abandoned."""
    room, rnd = field.room(), field.random
    publisher = Publisher(field.certificate, 1, [Shape(60)], Window(), random.Random(1))
    try:
        text = session.offer(publisher.transport, publisher.sources).encode()
        broken = rnd.random() < 0.6
        headers = {"Authorization": f"Bearer {field.token(room, 'd', 'device')}", "Content-Type": "application/sdp"}
        url = f"{field.base}/whip/{room}"
        answer = await field.http.post(url, content=field.mutated(text) if broken else text, headers=headers)
        field.expect(answer.status_code < 500 or answer.status_code == 503, f"an offer was answered {answer.status_code}")
        field.done["broken offer" if broken else "half-open"] += 1
        if answer.status_code == 201:
            with contextlib.suppress(session.Refused):
                publisher.transport.start(session.read(answer.text))
                await asyncio.sleep(rnd.uniform(0.0, 0.05))  # long enough for a check, seldom for a handshake
    finally:
        publisher.transport.vanish()


async def tokens(field: Field) -> None:
    """Foreign, expired and replayed ones."""
    room = field.room()
    for kind, issuer in (("foreign", field.foreign), ("expired", field.past)):
        headers = {"Authorization": f"Bearer {field.token(room, 'x', 'device', issuer)}", "Content-Type": "application/sdp"}
        answer = await field.http.post(f"{field.base}/whip/{room}", content="v=0\r\nm=audio 9 x 0\r\na=mid:0\r\n", headers=headers)
        field.expect(answer.status_code == 401, f"a {kind} token was answered {answer.status_code}")
        field.done[f"{kind} token"] += 1
    token = field.token(room, "x", "doctor")
    first = Signalling(field.ws, token, {}, lambda m: None, lambda up: None)
    again = None
    try:
        await first.ready()
        again = Signalling(field.ws, token, {}, lambda m: None, lambda up: None)
        try:
            await again.ready()
            field.expect(False, "a replayed token opened a room")
        except Refused as e:
            field.expect(e.code == "token-used", f"a replayed token was refused as {e.code}")
        field.done["replayed token"] += 1
    finally:
        for one in (first, again):
            if one is not None:
                await one.close()


async def strangers(field: Field) -> None:
    """Noise from addresses that nobody knows, by UDP and TCP."""
    rnd = field.random
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        for _ in range(BURST):
            data = bytearray(rnd.randbytes(rnd.randrange(1, 600)))
            data[0] = rnd.choice((0, 1, 20, 22, 64, 128, 144, 200))
            with contextlib.suppress(OSError):
                s.sendto(data, field.udp)
    field.done["stranger"] += BURST
    writers = []
    try:
        for _ in range(10):
            _, writer = await asyncio.open_connection(*field.udp)
            writers.append(writer)
            writer.write(rnd.randbytes(rnd.randrange(200)))
        field.done["silent TCP"] += 10
        await asyncio.sleep(rnd.uniform(0.1, 3))
    finally:
        for writer in writers:
            writer.transport.abort()


async def silence(field: Field) -> None:
    """WebSockets that never say hello."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(raw(field))
        field.done["silent WebSocket"] += 20
        await asyncio.sleep(field.random.uniform(0.1, 8))


async def deaf(field: Field) -> None:
    """One who says hello and reads nothing, in a room where much is written; and a watcher whose socket is never read."""
    room = field.room()
    people = [Guest(field, room, "doctor", "doctor"), Guest(field, room, "patient", "patient")]
    try:
        for one in people:
            await one.signal.ready()
        async with raw(field) as s:
            hello = json.dumps({"type": "hello", "version": 1, "client": "c" * 20, "token": field.token(room, "deaf", "nurse")}).encode()
            await asyncio.get_running_loop().sock_sendall(s, b"\x81\xfe" + len(hello).to_bytes(2) + bytes(4) + hello)
            await people[0].publish()
            await people[1].watch()
            people[1].transport.loop.remove_reader(people[1].transport.sock.fileno())
            for _ in range(60):
                await people[0].signal.tell({"type": "chat", "text": "x" * 4000})
                await asyncio.sleep(0.06)
        field.done["deaf"] += 2
    finally:
        for one in people:
            await one.end(False)


WAYS: Final[tuple[Callable[[Field], Awaitable[None]], ...]] = (consultation, consultation, consultation, device, device, tokens, strangers,
                                                               silence, deaf)  # fmt: skip


async def crowd(field: Field, until: float) -> None:
    """One thing after another until the time is over. What fails is counted by its name: a relay that is full or slow is no fault here."""
    while time.monotonic() < until:
        way = field.random.choice(WAYS)
        try:
            async with asyncio.timeout(60):
                await way(field)
        except FAULTS as e:
            field.done[f"{way.__name__} failed: {type(e).__name__} {str(e)[:60]}".strip()] += 1
            current = asyncio.current_task()
            if isinstance(e, asyncio.CancelledError) and current is not None and current.cancelling():
                raise
        await asyncio.sleep(field.random.uniform(0, 0.3))
