"""Several relays that carry nothing, and fronts before them, on real ports."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from websockets.asyncio.client import connect

from telemed.app import create
from telemed.directory.agent import Agent
from telemed.directory.choose import directory
from telemed.directory.ports import Directory
from telemed.front import Front
from telemed.settings import Settings
from telemed.tokens import Tokens
from tests.telemed.rooms.fake import FakeRelay
from tests.telemed.rooms.world import SECRET, Client


class Served:
    """An ASGI application on a port of its own."""

    def __init__(self, app: Any, port: int = 0, lifespan: str = "on") -> None:
        import socket

        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port: int = self.socket.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="critical", lifespan=lifespan, timeout_graceful_shutdown=2, ws_ping_interval=None, ws="websockets-sansio",
            interface="asgi3",
        )  # type: ignore[arg-type]
        self.server = uvicorn.Server(config)

    async def start(self) -> "Served":
        self.task = asyncio.create_task(self.server.serve(sockets=[self.socket]))
        while not self.server.started:
            await asyncio.sleep(0.01)
            if self.task.done():
                self.task.result()
        return self

    async def stop(self) -> None:
        if not self.task.done():
            self.server.should_exit = True
            await self.task
        self.socket.close()


class Relay(Served):
    """One relay process, as far as the directory knows."""

    def __init__(self, url: str, node: str, port: int = 0, **given: Any) -> None:
        self.settings = Settings(**{"secret": SECRET, **given})
        self.media = FakeRelay()
        self.directory = directory(url)
        super().__init__(self._application, port)
        self.agent = Agent(self.directory, self.settings, node=node, address=f"127.0.0.1:{self.port}")
        self.app = create(self.media, self.settings, self.agent.sink)
        self._asgi = self.agent.attach(self.app, self.media)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await self._asgi(scope, receive, send)

    @property
    def rooms(self) -> set[str]:
        return set(self.app.state.rooms.rooms)

    async def kill(self) -> None:
        """As kill -9 does: no word to anybody, and every line cut."""
        assert self.agent._task is not None
        self.agent._task.cancel()
        self.agent._directory = Dead()  # type: ignore[assignment]
        for server in self.server.servers:
            server.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await self.directory.close()
        await self.stop()


class Dead:
    """The directory, for one who is dead."""

    def __getattr__(self, name: str) -> Any:
        async def nothing(*args: Any) -> Any:
            return None

        return nothing


@dataclass
class Cluster:
    url: str
    relays: list[Relay] = field(default_factory=list)
    fronts: list[Served] = field(default_factory=list)
    directories: list[Directory] = field(default_factory=list)
    tokens: Tokens = field(default_factory=lambda: Tokens(SECRET))

    async def relay(self, node: str, port: int = 0, **given: Any) -> Relay:
        relay = Relay(self.url, node, port, **given)
        await relay.start()
        self.relays.append(relay)
        return relay

    async def front(self, **given: Any) -> Served:
        found = directory(self.url)
        await found.open()
        self.directories.append(found)
        front = Front(found, SECRET, self.tokens, **given)
        served = await Served(front, lifespan="off").start()
        self.fronts.append(served)
        return served

    async def client(self, port: int | None = None) -> Client:
        port = port or self.fronts[0].port
        return Client(await connect(f"ws://127.0.0.1:{port}/telemed/ws", ping_interval=None, proxy=None))

    def token(self, participant: str, role: str, room: str = "r1", **more: Any) -> str:
        return self.tokens.issue(room=room, participant=participant, name=f"Tên {participant}", role=role, **more)

    async def come(self, participant: str, role: str, room: str = "r1", port: int | None = None) -> Client:
        client = await self.client(port)
        client.secret = f"client-secret-of-{participant}"
        client.welcome = await client.ask({"type": "hello", "token": self.token(participant, role, room), "client": client.secret})
        assert client.welcome["type"] == "welcome", json.dumps(client.welcome)
        return client

    async def again(self, client: Client, resume: str, seq: int = 0) -> Client:
        new = await self.client()
        new.secret = client.secret
        new.welcome = await new.ask({"type": "hello", "resume": {"token": resume, "seq": seq}, "client": client.secret})
        return new

    def of(self, room: str) -> Relay:
        return next(r for r in self.relays if room in r.rooms)


@contextlib.asynccontextmanager
async def cluster(url: str) -> AsyncIterator[Cluster]:
    made = Cluster(url)
    try:
        yield made
    finally:
        for front in made.fronts:
            await front.stop()
        for relay in made.relays:
            await relay.stop()
        for found in made.directories:
            await found.close()
