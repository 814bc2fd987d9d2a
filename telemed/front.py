"""The front: finds the relay of a room and carries WebSocket and HTTP to it. An ASGI application for paths below /telemed.

A room is known by the join or resume token of the first message or of the Authorization header, and by the path of WHIP and WHEP.
A message for later is made at its room's relay and stays there, also when the room moves: where several relays live they are asked for it.
A relay that cannot be reached is dead: its clients are closed with 1012, come back, and find their room on another one.
"""

import asyncio
import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import unquote

import h11
import msgspec
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from telemed.carry import Exchange, Unreached, carry, unreached
from telemed.directory.agent import FRONT, ROOM
from telemed.directory.ports import Directory, Node, NoRelay
from telemed.sealed import pass_word
from telemed.signal.connection import transport_of
from telemed.signal.texts import text
from telemed.tokens import TokenError, Tokens, bearer_of, valid_id

CONNECT_SECONDS = 2.0
PATIENCE = 5.0  # seconds that a relay that restarts is waited for
HELLO_SECONDS = 10.0
HELLO_BYTES = 256 << 10
FROM_RELAY_BYTES = 16 << 20  # a welcome holds the chat
ASK_SECONDS = 5.0  # that a relay has to say which messages it keeps
PENDING = 1_000  # connections without hello; the oldest makes room for a new one
CLOSE_SECONDS = 2.0
REMEMBERED = 10_000  # places of rooms, for when the directory cannot be reached
_BY_PATH = re.compile(r"/telemed/(?:whip|whep)/([^/]+)(?:/[^/]+)?")
_BY_TOKEN = re.compile(r"/telemed/messages(?:/[^/]+)?")

T = TypeVar("T")
log = logging.getLogger(__name__)


class Front:
    """One a hub process. secret: shared with the relays. open_rooms: a room opens by its name (the relays run in open mode)."""

    def __init__(self, directory: Directory, secret: str, tokens: Tokens, *, open_rooms: bool = False) -> None:
        self._directory, self._tokens, self._open = directory, tokens, open_rooms
        self._word = pass_word(secret)
        self._places: OrderedDict[str, Node] = OrderedDict()
        self._pending: dict[asyncio.Task[Any], None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def stop(self) -> None:
        """Ends every connection that is carried."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- where to

    async def _where(self, room: str | None, *, place: bool = True) -> Node:
        """Raises NoRelay."""
        try:
            if room is not None:
                node = await self._directory.place(room) if place else await self._directory.find(room)
                if node is not None:
                    self._places[room] = node
                    self._places.move_to_end(room)
                    while len(self._places) > REMEMBERED:
                        self._places.popitem(last=False)
                    return node
            nodes = await self._directory.nodes()
        except OSError as e:
            log.error("%s", e)
            if room is not None and (known := self._places.get(room)) is not None:
                return known
            raise NoRelay(str(e)) from None
        if not nodes:
            raise NoRelay("no relay is alive")
        return nodes[0]

    async def _reach(self, room: str | None, place: bool, attempt: Callable[[Node], Awaitable[T]]) -> T:
        """At the room's relay; one that cannot be reached is said to be lost, and the next asked, for PATIENCE.

        Raises NoRelay.
        """
        loop = asyncio.get_running_loop()
        until, wait = loop.time() + PATIENCE, 0.05
        while True:
            try:
                node = await self._where(room, place=place)
                try:
                    return await attempt(node)
                except Unreached as e:
                    log.warning("relay %s at %s cannot be reached: %s", node.id, node.address, e)
                    with contextlib.suppress(OSError):
                        await self._directory.lost(node)
            except NoRelay:
                if loop.time() >= until:
                    raise
            if loop.time() >= until:
                raise NoRelay("no relay answers")
            await asyncio.sleep(wait)
            wait = min(wait * 2, 0.5)

    def _room_of(self, token: object, resume: bool = False) -> str | None:
        """None for a token that opens nothing: any relay refuses it in the protocol's own words."""
        if not isinstance(token, str):
            return None
        try:
            return self._tokens.verify_resume(token).identity.room if resume else self._tokens.verify(token).room
        except TokenError:
            return None

    # --- WebSocket

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        await receive()
        if scope["path"] != "/telemed/ws":
            await send({"type": "websocket.close", "code": 1000})  # before accept: 403
            return
        while len(self._pending) >= PENDING:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel()
        self._pending[task] = None
        self._tasks.add(task)
        client = _Client(receive, send)
        try:
            await send({"type": "websocket.accept"})
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    hello = await client.hello()
            except TimeoutError:
                await client.refuse("silence", 4408)
                return
            self._pending.pop(task, None)
            if hello is not None:
                await self._carry(scope, client, hello)
        except asyncio.CancelledError:
            client.abort()  # the server stops, or the connection made room for others
        finally:
            self._pending.pop(task, None)
            self._tasks.discard(task)

    async def _carry(self, scope: Scope, client: "_Client", hello: str) -> None:
        room = self._room_in(hello)
        origin = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"origin"), None)
        try:
            relay = await self._reach(room, True, lambda node: self._connected(node, room, origin))
        except NoRelay:
            await client.refuse("full", 1013)
            return
        except InvalidStatus:
            await client.close(4403)
            return
        try:
            await client.carry(relay, hello)
        finally:
            relay.transport.abort()

    def _room_in(self, hello: str) -> str | None:
        try:
            message = msgspec.json.decode(hello)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return None
        if not isinstance(message, dict):
            return None
        resume = message.get("resume")
        if isinstance(resume, dict):
            return self._room_of(resume.get("token"), resume=True)
        if message.get("token") is None and self._open:
            room = message.get("room")
            return room if isinstance(room, str) and valid_id(room) else None
        return self._room_of(message.get("token"))

    async def _connected(self, node: Node, room: str | None, origin: str | None) -> ClientConnection:
        """Raises Unreached, and InvalidStatus where the relay does not let this page in."""
        headers = {FRONT.decode(): self._word, **({ROOM.decode(): room} if room else {})}
        try:
            return await connect(
                f"ws://{node.address}/telemed/ws", additional_headers=headers, origin=origin, open_timeout=CONNECT_SECONDS,  # type: ignore[arg-type]
                max_size=FROM_RELAY_BYTES, ping_interval=None, compression=None, proxy=None, close_timeout=CLOSE_SECONDS,
            )  # fmt: skip
        except InvalidStatus as e:
            if e.response.status_code < 500:
                raise
            raise Unreached(str(e)) from None
        except (OSError, TimeoutError, InvalidHandshake) as e:
            raise Unreached(repr(e)) from None

    # --- HTTP

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/telemed/health":
            await self._health(send)
            return
        by_path = _BY_PATH.fullmatch(path)
        if by_path is None and not _BY_TOKEN.fullmatch(path):
            await _plain(send, 404, "not found")
            return
        if by_path is None and scope["method"] != "OPTIONS" and await self._message(scope, receive, send):
            return
        headers = dict(scope["headers"])
        token = bearer_of(headers.get(b"authorization", b"").decode("latin-1"))
        room = self._room_of(token) or (self._room_of(token, resume=True) if by_path is None else None)
        # Whoever has no good token places nothing; but where the room is already their session may be.
        good = room is not None
        if by_path is not None:
            named = unquote(by_path[1])
            good = room == named or (self._open and not token)
            room = named if valid_id(named) else None
        more = [(FRONT, self._word.encode()), *([(ROOM, room.encode())] if room and good else [])]
        try:
            answer = await self._reach(room, good, lambda node: carry(node.address, scope, receive, more, CONNECT_SECONDS))
        except NoRelay:
            await _plain(send, 503, "no relay is alive", (b"retry-after", b"5"))
            return
        await self._answer(answer, send)

    async def _answer(self, answer: Exchange, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await answer.to(send)
        except unreached():
            if not answer.begun:
                await _plain(send, 502, "the relay went away")
                return
            raise
        finally:
            self._tasks.discard(task)
            answer.close()

    async def _message(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether it was answered: what concerns messages that are there, where any of several relays may have them."""
        try:
            nodes = await self._directory.nodes()
        except OSError:
            return False
        here: str = scope["path"].rstrip("/")
        one = here.count("/") == 3
        if len(nodes) < 2 or not (one or scope["method"] == "GET"):
            return False
        answers = await asyncio.gather(*(self._ask(node, scope, f"{here}/here" if one else here) for node in nodes))
        if one:
            node = next((node for node, (status, _) in zip(nodes, answers, strict=True) if status == 204), None)
            if node is None:
                return False  # any relay says in its own words why not
            try:
                await self._answer(await carry(node.address, scope, receive, [(FRONT, self._word.encode())], CONNECT_SECONDS), send)
            except Unreached:
                await _plain(send, 503, "the relay went away", (b"retry-after", b"5"))
            return True
        lists = [msgspec.json.decode(body)["messages"] for status, body in answers if status == 200]
        if not lists:
            return False
        found = sorted((m for part in lists for m in part), key=lambda m: str(m["created"]), reverse=True)
        await _json(send, 200, {"messages": found})
        return True

    async def _ask(self, node: Node, scope: Scope, path: str) -> tuple[int, bytes]:
        """A GET with the client's headers, answered here; (0, b"") where there is no answer."""
        asked = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        asked["headers"] = [(k, v) for k, v in scope["headers"] if k in (b"authorization", b"telemed-client")]
        status, body = 0, b""

        async def nothing() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def take(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        try:
            async with asyncio.timeout(ASK_SECONDS):
                exchange = await carry(node.address, asked, nothing, [(FRONT, self._word.encode())], CONNECT_SECONDS)
                try:
                    await exchange.to(take)
                finally:
                    exchange.close()
        except (Unreached, OSError, TimeoutError, h11.RemoteProtocolError, EOFError) as e:
            log.warning("relay %s does not say which messages it has: %r", node.id, e)
            return 0, b""
        return status, body

    async def _health(self, send: Send) -> None:
        try:
            alive = bool(await self._directory.nodes())
        except OSError:
            alive = False
        await _plain(send, 200 if alive else 503, "ok" if alive else "no relay is alive")


class _Client:
    """The browser's side of one carried WebSocket."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send

    async def hello(self) -> str | None:
        """The first message but pings; None when the connection has ended."""
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive":
                return None
            words = message.get("text")
            if words is None:
                await self.refuse("bad-message", 4400)
                return None
            if len(words) > HELLO_BYTES or (not words.isascii() and len(words.encode("utf-8", "surrogatepass")) > HELLO_BYTES):
                await self.refuse("too-long", 4413)
                return None
            if len(words) > 200 or '"ping"' not in words:
                return str(words)
            with contextlib.suppress(msgspec.DecodeError, UnicodeEncodeError):
                said = msgspec.json.decode(words)
                if isinstance(said, dict) and said.get("type") == "ping":
                    await self._say({"type": "pong", "re": said.get("id")})
                    continue
            return str(words)

    async def carry(self, relay: ClientConnection, hello: str) -> None:
        """Both ways until either ends; then the other too, with the same words."""
        out = asyncio.create_task(self._out(relay, hello))
        back = asyncio.create_task(self._back(relay))
        try:
            await asyncio.wait((out, back), return_when=asyncio.FIRST_COMPLETED)
            if not back.done():
                with contextlib.suppress(TimeoutError):  # the browser is gone; the relay hears so at once
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await relay.close(1001)
                return
            # What the relay had said may still be on its way; a browser that reads nothing is cut.
            rcvd = relay.protocol.close_rcvd
            await self.close(rcvd.code if rcvd is not None and rcvd.code not in (1005, 1006, 1015) else 1012, rcvd.reason if rcvd else "")
        finally:
            for task in (out, back):
                task.cancel()
            await asyncio.gather(out, back, return_exceptions=True)

    async def _out(self, relay: ClientConnection, hello: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await relay.send(hello)
            while True:
                message = await self._receive()
                if message["type"] != "websocket.receive":
                    return
                words = message.get("text")
                await relay.send(words if words is not None else message["bytes"])
        await relay.wait_closed()  # the browser is told by what comes back

    async def _back(self, relay: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for words in relay:
                await self._send({"type": "websocket.send", "text" if isinstance(words, str) else "bytes": words})

    async def refuse(self, code: str, close: int) -> None:
        """As a relay would."""
        await self._say({"type": "error", "code": code, "text": text(code), "fatal": True})
        await self.close(close)

    async def close(self, code: int, reason: str = "") -> None:
        """A browser that takes nothing does not keep us."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self.abort()
        except Exception as e:
            log.debug("close: %r", e)  # it was gone already

    def abort(self) -> None:
        """Cuts the line, where the server lets us."""
        transport = transport_of(self._send)
        if transport is not None:
            transport.abort()

    async def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):
            await self._send({"type": "websocket.send", "text": msgspec.json.encode(message).decode()})


async def _plain(send: Send, status: int, words: str, *headers: tuple[bytes, bytes]) -> None:
    await _json(send, status, {"status": words}, *headers)


async def _json(send: Send, status: int, content: object, *headers: tuple[bytes, bytes]) -> None:
    body = msgspec.json.encode(content)
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store"), *headers]
    start: Message = {"type": "http.response.start", "status": status, "headers": head}
    await send(start)
    await send({"type": "http.response.body", "body": body})
