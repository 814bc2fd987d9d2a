"""A relay's signalling on a real port, and a client that speaks the protocol."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from telemed.app import create
from telemed.settings import Settings
from telemed.tokens import Tokens
from tests.telemed.rooms.fake import FakeRelay

SECRET = "a secret of the tests, long enough for all"


@dataclass
class World:
    app: Starlette
    relay: FakeRelay
    settings: Settings
    port: int
    events: list[dict[str, Any]]
    hooks: list[tuple[str, str, list[str]]]
    tokens: Tokens = field(default_factory=lambda: Tokens(SECRET))

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, participant: str, role: str, room: str = "r1", **more: Any) -> str:
        return self.tokens.issue(room=room, participant=participant, name=f"Tên {participant}", role=role, **more)

    async def client(self) -> "Client":
        return Client(await connect(f"ws://127.0.0.1:{self.port}/telemed/ws", ping_interval=None, proxy=None))

    async def come(self, participant: str, role: str, **more: Any) -> "Client":
        """Hello with a fresh token; the welcome is in `client.welcome`."""
        client = await self.client()
        client.secret = f"client-secret-of-{participant}"
        client.welcome = await client.ask({"type": "hello", "token": self.token(participant, role, **more), "client": client.secret})
        return client

    def event_names(self) -> list[str]:
        return [event["event"] for event in self.events]


class Client:
    """`got`: everything that was received and not yet asked for."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.secret, self.seq = socket, "", 0
        self.welcome: dict[str, Any] = {}
        self.got: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        self.seq = message.get("seq", self.seq)
        self.got.append(message)
        return message

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends with an id, and waits for the reply."""
        id = next(self._ids)
        await self.send({**message, "id": id})
        while True:
            reply = await self._next()
            if reply.get("re") == id:
                self.got.remove(reply)
                return reply

    async def hear(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first message of that type with those fields, come or to come."""
        for message in self.got:
            if message["type"] == kind and all(message.get(k) == v for k, v in fields.items()):
                self.got.remove(message)
                return message
        while True:
            message = await self._next()
            if message["type"] == kind and all(message.get(k) == v for k, v in fields.items()):
                self.got.remove(message)
                return message

    async def code(self) -> int:
        """The close code; reads what comes before it."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._next()
        assert self.socket.close_code is not None
        return self.socket.close_code

    async def cut(self) -> None:
        """Loses the link without a word."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def close(self) -> None:
        await self.socket.close()


@contextlib.asynccontextmanager
async def world(relay: FakeRelay | None = None, send_buffer: int = 0, **given: Any) -> AsyncIterator[World]:
    """Runs signalling until the block ends. `send_buffer`: bytes that the kernel keeps for a slow reader; 0: its own choice."""
    settings = Settings(**{"secret": SECRET, **given})
    relay = relay or FakeRelay()
    events: list[dict[str, Any]] = []
    hooks: list[tuple[str, str, list[str]]] = []
    app = create(relay, settings, events.append, lambda room, state, consented: hooks.append((room, state, sorted(consented))))
    listening = socket.socket()
    if send_buffer:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        app, log_level="critical", lifespan="on", ws_max_size=settings.message_bytes * 4, timeout_graceful_shutdown=3, ws_ping_interval=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
    try:
        yield World(app, relay, settings, port, events, hooks)
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def until(condition: Any) -> None:
    """Waits up to 10 s."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
