"""The WebSocket side of docs/telemed-protocol.md: hello, requests and their replies, resume by itself after a lost connection."""

import asyncio
import itertools
import json
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

log = logging.getLogger(__name__)

WAITS: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 5.0)  # seconds before each attempt to come back; the last one goes on
FINAL: Final = frozenset((1000, 4400, 4401, 4403, 4409, 4410, 4413))
FULL: Final = frozenset((1013, 4503))
MAX_MESSAGE: Final = 4 << 20
HELLO_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 20.0
PROBE_SECONDS: Final = 3.0

Message = dict[str, Any]
Token = str | None | Callable[[], Awaitable[str]]


class Refused(Exception):
    """The relay answered `error`: `code` as in the protocol's table."""

    def __init__(self, message: Message) -> None:
        text = message.get("text") or {}
        super().__init__(f"{message.get('code')}: {text.get('en', '')} {message.get('detail', '')}".strip())
        self.code: str = message.get("code", "")


class Ended(Exception):
    """The session is over and does not come back: `code` is the close code, `reason` the type or code of the message before it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the session has ended: {reason or 'closed'} ({code})")
        self.code, self.reason = code, reason


class Signalling:
    """One session over as many WebSockets as it takes.

    `on_message` gets every message in order, `on_link` whether there is a connection; both are called on the event loop and must not block.
    """

    def __init__(
        self, url: str, token: Token, hello: Message, on_message: Callable[[Message], None], on_link: Callable[[bool], None]
    ) -> None:
        self.url, self._token, self._hello = url, token, hello
        self._on_message, self._on_link = on_message, on_link
        self.client = secrets.token_hex(16)
        self.resume = ""
        self.seq = 0
        self.up = False
        self.ended: Ended | None = None
        self._ws: ClientConnection | None = None
        self._numbers = itertools.count(1)
        self._pending: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self._ping_seconds = 15.0
        self._reason = ""
        self._hurry = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def ready(self) -> None:
        """Until the first `welcome`. Raises Refused, Ended, or OSError when nobody answers at the address."""
        await asyncio.shield(self._first)

    async def ask(self, message: Message, seconds: float = ANSWER_SECONDS) -> Message:
        """Send with an id and wait for the reply, over a new connection if need be.

        Raises Refused, Ended, TimeoutError, ConnectionError (the session began anew).
        """
        if self.ended is not None:
            raise self.ended
        number = next(self._numbers)
        message = {**message, "id": number}
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[number] = (message, future)
        try:
            await self._send(message)
            return await asyncio.wait_for(future, seconds)
        finally:
            self._pending.pop(number, None)

    async def tell(self, message: Message) -> None:
        """Send what is not answered; lost when there is no connection."""
        await self._send(message)

    async def probe(self, seconds: float = PROBE_SECONDS) -> None:
        """Ask for a sign of life now; without one the connection is given up and made anew."""
        ws = self._ws
        if ws is None:
            self._hurry.set()
            return
        try:
            await self.ask({"type": "ping"}, seconds)
        except TimeoutError:
            if self._ws is ws:
                ws.transport.abort()
        except (Refused, Ended, ConnectionError):
            pass

    async def lose(self) -> None:
        """Cut the connection without a word, as a lost link does; for tests."""
        if self._ws is not None:
            self._ws.transport.abort()
        await asyncio.sleep(0)

    async def begin_anew(self) -> None:
        """Come back knowing nothing: the relay answers with `welcome`."""
        self.seq = 0
        await self.lose()

    async def close(self, leave: bool = True) -> None:
        """Leave for good, or only vanish."""
        if leave:
            await self._send({"type": "leave"})
        self._task.cancel()
        if self._ws is not None:
            ws, self._ws = self._ws, None
            await ws.close()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end(Ended(1000, "left"))

    # The connection.

    async def _send(self, message: Message) -> None:
        if self._ws is not None:
            try:
                await self._ws.send(json.dumps(message, ensure_ascii=False))
            except ConnectionClosed:
                pass  # what waits for a reply is sent again

    async def _run(self) -> None:
        attempt, full = 0, 5.0
        while True:
            code = 1006
            try:
                async with connect(
                    self.url, max_size=MAX_MESSAGE, ping_interval=None, open_timeout=HELLO_SECONDS, close_timeout=1, proxy=None
                ) as ws:
                    code = await self._talk(ws)
                    attempt = 0 if self.up else attempt
            except (OSError, InvalidHandshake, TimeoutError) as e:
                log.info("no connection to %s: %s", self.url, e)
                if not self._first.done() and not self.resume:
                    self._first.set_exception(e)
                    self._end(Ended(1006, str(e)))
                    return
            self._set_up(False)
            if code in FINAL and not await self._renew(code):
                self._end(Ended(code, self._reason))
                return
            wait = WAITS[min(attempt, len(WAITS) - 1)]
            if code in FULL:
                wait, full = full, min(full * 2, 60.0)
            elif code == 4429:
                wait = 10.0
            attempt += 1
            self._hurry.clear()
            try:
                await asyncio.wait_for(self._hurry.wait(), wait * random.uniform(0.8, 1.2))  # noqa: S311  spreads clients out, no secret
            except TimeoutError:
                pass

    async def _renew(self, code: int) -> bool:
        """Whether there is another way in than a resume token that is not taken: a new join token, or none in open mode."""
        if code != 4401 or isinstance(self._token, str) or self._reason not in ("token-ended", "token"):
            return False
        if not self.resume:
            return False  # the token was new
        self.resume = ""
        return True

    async def _talk(self, ws: ClientConnection) -> int:
        """One connection until it closes; its close code."""
        self._reason = ""
        hello: Message = {"type": "hello", "id": 0, "version": 1, "client": self.client, **self._hello}
        if self.resume:
            hello["resume"] = {"token": self.resume, "seq": self.seq}
        else:
            token = await self._token() if callable(self._token) else self._token
            if token:
                hello["token"] = token
        await ws.send(json.dumps(hello, ensure_ascii=False))
        pinging: asyncio.Task[None] | None = None
        self._ws = ws
        try:
            first = True
            while True:
                raw = await asyncio.wait_for(ws.recv(), HELLO_SECONDS) if first else await ws.recv()
                self._take(json.loads(raw))
                if first:
                    first = False
                    if self.up:
                        pinging = asyncio.create_task(self._pings(ws))
                        for message, _ in list(self._pending.values()):
                            await self._send(message)
        except ConnectionClosed as e:
            return e.rcvd.code if e.rcvd is not None else 1006
        except TimeoutError:
            return 1006
        finally:
            self._ws = None
            if pinging is not None:
                pinging.cancel()

    async def _pings(self, ws: ClientConnection) -> None:
        missed = 0
        while missed < 2:
            await asyncio.sleep(self._ping_seconds)
            try:
                await self.ask({"type": "ping"}, self._ping_seconds)
                missed = 0
            except TimeoutError:
                missed += 1
            except (Refused, Ended, ConnectionError):
                return
        ws.transport.abort()

    def _take(self, message: Message) -> None:
        kind = message.get("type", "")
        if kind == "resumed":
            self.resume = message.get("resume") or self.resume
            self._set_up(True)
        elif kind == "welcome":
            # Numbers start anew, and replies of before never come.
            self.seq = message.get("seq", 0)
            for _, future in list(self._pending.values()):
                if not future.done():
                    future.set_exception(ConnectionError("the session began anew"))
            self._pending.clear()
            self._ping_seconds = message.get("ping_seconds", self._ping_seconds)
            self._set_up(True)
        elif "seq" in message:
            if message["seq"] <= self.seq:
                return
            self.seq = message["seq"]
        if kind in ("welcome", "admitted", "token"):
            self.resume = message.get("resume") or self.resume
        if kind in ("refused", "removed", "replaced", "ended"):
            self._reason = kind
        if kind == "error" and message.get("fatal"):
            self._reason = message.get("code", "error")
            if not self._first.done():
                self._first.set_exception(Refused(message))
        waiting = self._pending.get(message.get("re", -1))
        if waiting is not None and not waiting[1].done():
            if kind == "error":
                waiting[1].set_exception(Refused(message))
            else:
                waiting[1].set_result(message)
        self._on_message(message)
        if kind == "welcome" and not self._first.done():
            self._first.set_result(None)

    def _set_up(self, up: bool) -> None:
        if up != self.up:
            self.up = up
            self._on_link(up)

    def _end(self, ended: Ended) -> None:
        if self.ended is None:
            self.ended = ended
            if not self._first.done():
                self._first.set_exception(ended)
            if self._first.done() and not self._first.cancelled():
                self._first.exception()  # seen, whether or not anyone waits
            for _, future in list(self._pending.values()):
                if not future.done():
                    future.set_exception(ended)
            self._set_up(False)
            self._on_message({"type": "over", "code": ended.code, "reason": ended.reason})
