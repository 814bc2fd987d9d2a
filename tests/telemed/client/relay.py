"""A scripted relay: speaks the first lines of docs/telemed-protocol.md and then does what a test says."""

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]
ME = {"id": "me", "name": "Me", "role": "nurse", "rights": ["chat"], "state": "admitted", "via": "ws", "hand": False, "link": "up"}
ROOM = {"id": "room", "state": "admitted", "watchers": 0, "recording": {"state": "off"}}


class ScriptedRelay:
    """`answer(relay, message)` is called for every message after hello; what it returns is sent as the reply."""

    def __init__(self, answer: Callable[["ScriptedRelay", Message], Message | None] = lambda relay, message: {"type": "ok"}) -> None:
        self.answer = answer
        self.hellos: list[Message] = []
        self.got: list[Message] = []
        self.kept: list[Message] = []
        self.refuse: tuple[Message, int] | None = None
        self.forget = False  # answer a resume with welcome
        self.admitted = True
        self.seq = 0
        self.tracks: list[Message] = []
        self._ws: ServerConnection | None = None
        self._server: Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.down()

    async def up(self) -> None:
        port = int(self.url.rsplit(":", 1)[1].partition("/")[0]) if self.url else 0
        self._server = await serve(self._serve, "127.0.0.1", port)
        self.url = f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/telemed/ws"

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def say(self, message: Message, kept: bool = True) -> None:
        """To the client, or kept for its return."""
        if kept:
            self.seq += 1
            message = {**message, "seq": self.seq}
            self.kept.append(message)
        if self._ws is not None:
            try:
                await self._ws.send(json.dumps(message))
            except ConnectionClosed:
                pass

    async def close(self, code: int) -> None:
        if self._ws is not None:
            await self._ws.close(code)

    def cut(self) -> None:
        """The link is lost without a word."""
        if self._ws is not None:
            self._ws.transport.abort()
            self._ws = None

    async def _serve(self, ws: ServerConnection) -> None:
        try:
            hello = json.loads(await ws.recv())
            self.hellos.append(hello)
            if self.refuse is not None:
                await ws.send(json.dumps({"type": "error", "fatal": True, "re": 0, **self.refuse[0]}))
                await ws.close(self.refuse[1])
                return
            self._ws = ws
            resume = hello.get("resume")
            if resume and not self.forget:
                missed = [m for m in self.kept if m["seq"] > resume["seq"]]
                resumed = {"type": "resumed", "re": 0, "seq": self.seq, "missed": len(missed), "media": "kept", "resume": "again"}
                await self.say(resumed, False)
                for message in missed:
                    await ws.send(json.dumps(message))
            else:
                if resume:
                    self.seq = 0
                    self.kept.clear()
                me = {**ME, "state": "admitted" if self.admitted else "waiting"}
                await self.say({
                    "type": "welcome", "re": 0, "version": 1, "you": me, "room": ROOM,
                    "participants": [], "waiting": [], "tracks": self.tracks, "chat": [], "ice_servers": [], "resume": "resume-1",
                    "media": "new", "restored": bool(resume), "ping_seconds": 15,
                })  # fmt: skip
            async for raw in ws:
                message = json.loads(raw)
                self.got.append(message)
                reply = self.answer(self, message)
                if reply is not None and message.get("id") is not None:
                    await self.say({**reply, "re": message["id"]})
        except ConnectionClosed:
            pass
