"""What a hub asks of its relays about recordings and messages: which there are, and their content carried to a player.

The hub knows who may see what. A recording is given to fronts alone (telemed/record/routes.py); for messages the relays decide, by a
join token that the hub makes for who asks.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import h11
import msgspec
from starlette.types import Message, Receive, Scope, Send

from telemed.carry import Exchange, Unreached, carry, unreached
from telemed.directory.agent import FRONT
from telemed.directory.ports import Directory, Node
from telemed.sealed import pass_word

log = logging.getLogger(__name__)
CONNECT_SECONDS = 2.0
ASK_SECONDS = 5.0
ANSWER_BYTES = 16 << 20  # of a list
_PASSED = (b"range", b"if-range")


class NoAnswer(Exception):
    """No relay is alive, or one that is did not answer: what it has is not known."""


class Kept:
    """secret: shared with the relays. The directory is opened and closed by its owner."""

    def __init__(self, directory: Directory, secret: str) -> None:
        self._directory, self._word = directory, pass_word(secret).encode()

    async def recordings(self, room: str) -> tuple[list[dict[str, Any]], bool]:
        """Those that are whole, the newest first (telemed.record.kept.told), and whether every relay said which it has."""
        found, whole = await self._lists(f"/telemed/recordings/{quote(room, safe='')}", "recordings", "")
        once = {one["name"]: one for one in found}  # relays may share a folder
        return sorted(once.values(), key=lambda one: str(one["name"]), reverse=True), whole

    async def messages(self, token: str) -> tuple[list[dict[str, Any]], bool]:
        """Those that the holder of the join token may read, the newest first, and whether every relay said which it has."""
        found, whole = await self._lists("/telemed/messages", "messages", token)
        return sorted(found, key=lambda one: str(one["created"]), reverse=True), whole

    async def recording(self, room: str, name: str, file: str) -> "Content":
        """A track's content. Raises LookupError, NoAnswer."""
        at = "/".join(("/telemed/recordings", quote(room, safe=""), quote(name, safe="")))
        return Content(await self._holder(at, ""), f"{at}/{quote(file, safe='')}", self._head(""))

    async def message(self, id: str, token: str) -> "Content":
        """A message's content. Raises LookupError, NoAnswer."""
        at = f"/telemed/messages/{quote(id, safe='')}"
        return Content(await self._holder(f"{at}/here", token), at, self._head(token))

    # ---

    def _head(self, token: str) -> list[tuple[bytes, bytes]]:
        return [(FRONT, self._word), *([(b"authorization", b"Bearer " + token.encode())] if token else [])]

    async def _nodes(self) -> list[Node]:
        try:
            return await self._directory.nodes()
        except OSError as e:
            log.error("%s", e)
            raise NoAnswer(str(e)) from None

    async def _lists(self, path: str, name: str, token: str) -> tuple[list[dict[str, Any]], bool]:
        try:
            nodes = await self._nodes()
        except NoAnswer:
            return [], False
        answers = await asyncio.gather(*(self._ask(node, path, token) for node in nodes))
        # 404: it keeps none at all.
        found = [one for status, body in answers if status == 200 for one in msgspec.json.decode(body)[name]]
        return found, bool(nodes) and all(status in (200, 404) for status, _ in answers)

    async def _holder(self, path: str, token: str) -> Node:
        """Raises LookupError: none has it; NoAnswer: none of those that answered."""
        nodes = await self._nodes()
        answers = await asyncio.gather(*(self._ask(node, path, token) for node in nodes))
        for wanted in (204, 500):  # 500: it has one that cannot be read, and says so to who asks for it
            for node, (status, _) in zip(nodes, answers, strict=True):
                if status == wanted:
                    return node
        if not nodes or any(status != 404 for status, _ in answers):
            raise NoAnswer("no relay that answers has it")
        raise LookupError(path)

    async def _ask(self, node: Node, path: str, token: str) -> tuple[int, bytes]:
        """A GET that is answered here; (0, b"") where there is no answer."""
        status, body = 0, bytearray()

        async def take(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            body.extend(message.get("body", b""))
            if len(body) > ANSWER_BYTES:
                raise EOFError("a list without end")

        try:
            async with asyncio.timeout(ASK_SECONDS):
                exchange = await carry(node.address, _get(path, []), _nothing, self._head(token), CONNECT_SECONDS)
                try:
                    await exchange.to(take)
                finally:
                    exchange.close()
        except (Unreached, OSError, TimeoutError, h11.RemoteProtocolError, EOFError) as e:
            log.warning("relay %s does not say what it keeps: %r", node.id, e)
            return 0, b""
        return status, bytes(body)


class Content:
    """Something at a relay, for one answer."""

    def __init__(self, node: Node, path: str, head: list[tuple[bytes, bytes]]) -> None:
        self._node, self._path, self._head = node, path, head

    async def give(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answers with it, or with the part that the request asks for. False: the relay went away before it said anything."""
        headers = [(k, v) for k, v in scope["headers"] if k in _PASSED]
        try:
            exchange = await carry(self._node.address, _get(self._path, headers), _nothing, self._head, CONNECT_SECONDS)
        except Unreached as e:
            log.warning("relay %s cannot be reached: %s", self._node.id, e)
            return False
        watching = asyncio.create_task(_gone(receive, exchange))
        try:
            await exchange.to(send)
        except unreached():
            if watching.done():
                return True  # nobody is there to be told
            if not exchange.begun:
                return False
            raise
        finally:
            watching.cancel()
            exchange.close()
        return True


async def _gone(receive: Receive, exchange: Exchange) -> None:
    """A player that seeks or is closed goes away in the middle: nothing more is brought for it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.close()


def _get(path: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
