"""One participant in a room, as the consult page is one: signalling, media, chat and data, and coming back by itself."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Self

from aiortc import MediaStreamTrack

from telemed.client.media import Media, Received, Receiving, Sending
from telemed.client.signalling import Ended, Message, Refused, Signalling, Token
from telemed.ports import Limit

log = logging.getLogger(__name__)

REBUILD_SECONDS: Final = 1.0  # between two attempts to build media again


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened: `type` and `message` as in docs/telemed-protocol.md.

    Of the client's own: `link` (`up`), `media` (`state`: connecting, connected, interrupted, lost), `over` (`code`, `reason`; the last
    one), and `data` for what comes over data channels too (`from`, `label`, `data`: str or bytes).
    """

    type: str
    message: Message


class Client:
    """`async with Client("ws://host/telemed/ws", token) as c`. `token`: a join token, or a coroutine function that gets one.

    Parameters for open mode (`--no-auth`): room, participant, name, role.

    `you`, `room`, `participants` (id -> record), `waiting`, `tracks` (id -> record) and `messages` (chat) are kept as the relay tells them.
    """

    def __init__(
        self, url: str, token: Token = None, *, room: str | None = None, participant: str | None = None, name: str | None = None,
        role: str | None = None, agent: str = "telemed.client",
    ) -> None:
        self.url, self._token = url, token
        given = {"room": room, "participant": participant, "name": name, "role": role, "agent": agent}
        self._hello = {k: v for k, v in given.items() if v is not None}
        self.you: Message = {}
        self.room: Message = {}
        self.participants: dict[str, Message] = {}
        self.waiting: dict[str, Message] = {}
        self.tracks: dict[str, Message] = {}
        self.messages: list[Message] = []
        self.layers: dict[str, Message] = {}  # track id -> the newest `layer`
        self.quality: dict[str, Message] = {}  # participant id -> the newest `quality`
        self._queues: list[asyncio.Queue[Event | None]] = []
        self._changed = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._astray: list[Receiving] = []  # subscriptions whose track has not come back yet
        self._following: list[asyncio.Task[None]] = []
        self._closed = False

    async def __aenter__(self) -> Self:
        self._media = Media(self._offer, self._on_media, self._on_channel)
        self.signalling = Signalling(self.url, self._token, self._hello, self._on_message, self._on_link)
        try:
            await self.signalling.ready()
        except BaseException:
            await self.close(leave=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, leave: bool = True) -> None:
        """Leave the room; `leave=False` vanishes without a word."""
        self._closed = True
        tasks = [t for t in (self._rebuilding, self._probing, *self._following) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._media.close()
        await self.signalling.close(leave and self.signalling.up)

    # What happens.

    async def events(self) -> AsyncIterator[Event]:
        """Everything from now on, until the session is over."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.remove(queue)

    async def until(self, type_: str, seconds: float = 10.0, **fields: Any) -> Event:
        """The next event of a type whose message has these fields. Raises TimeoutError, Ended."""
        async with asyncio.timeout(seconds):
            async for event in self.events():
                if event.type == type_ and all(event.message.get(k) == v for k, v in fields.items()):
                    return event
        raise self.signalling.ended or Ended(1006, "")

    async def admitted(self, seconds: float | None = None) -> None:
        """Until the doctor lets this participant in. Raises TimeoutError, Ended (refused)."""
        await self._until(lambda: self.you.get("state") == "admitted", seconds)

    async def connected(self, seconds: float = 20.0) -> None:
        """Until media flows. Raises TimeoutError, Ended."""
        await self._until(lambda: self._media.state == "connected", seconds)

    async def track(self, kind: str, participant: str | None = None, seconds: float = 10.0) -> str:
        """The id of somebody else's track of a kind, waiting until there is one."""

        def found() -> str | None:
            return next(
                (
                    i for i, t in self.tracks.items()
                    if t["kind"] == kind and t["participant"] != self.you.get("id") and participant in (None, t["participant"])
                ),
                None,
            )

        await self._until(lambda: found() is not None, seconds)
        return found() or ""

    async def _until(self, true: Any, seconds: float | None) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                if self.signalling.ended is not None:
                    raise self.signalling.ended
                self._changed.clear()
                await self._changed.wait()

    # Media.

    async def publish(self, track: MediaStreamTrack, source: str = "", name: str = "") -> None:
        """Send a track. `source`: microphone, camera, screen, screen-audio, device; by its kind when not named. Raises Refused, Ended."""
        sending = Sending(track, source or {"audio": "microphone"}.get(track.kind, "camera"), name)
        try:
            await self._media.change(lambda: self._media.sending.append(sending))
        except Refused:
            self._media.withdraw(sending)
            raise

    async def unpublish(self, track: MediaStreamTrack) -> None:
        """Send it no longer. Raises KeyError when it was not published, Refused, Ended."""
        sending = next((s for s in self._media.sending if s.track is track), None)
        if sending is None:
            raise KeyError(track)
        self._media.withdraw(sending)
        await self._media.change()

    async def subscribe(self, track_id: str) -> Received:
        """Receive a track of somebody else. Raises Refused, Ended, KeyError when there is no such track."""
        kind = self.tracks[track_id]["kind"]
        received, whose = Received(kind, track_id), _whose(self.tracks[track_id])
        free = next((r for r in self._media.receiving if r.track is None and r.kind == kind and r.transceiver is not None), None)
        if free is not None and free.transceiver is not None:
            free.track, free.whose = received, whose
            await self.signalling.ask({"type": "bind", "mid": free.transceiver.mid, "track": track_id})
            received.switch(free.transceiver.receiver.track)
        else:
            await self._media.change(lambda: self._media.receiving.append(Receiving(kind, received, whose)))
        return received

    async def unsubscribe(self, track_id: str) -> None:
        """Receive it no longer; its m-line is free for another."""
        mid = self._media.mid(track_id)
        self._free(track_id)
        if mid is not None:
            await self.signalling.ask({"type": "bind", "mid": mid, "track": None})

    def _free(self, track_id: str) -> None:
        for receiving in self._media.receiving:
            if receiving.track is not None and receiving.track.track_id == track_id:
                receiving.track.stop()
                receiving.track = None

    async def channel(self, label: str) -> None:
        """Open a data channel for `send`."""
        self._media.channel(label)
        await self._media.change()

    def send(self, label: str, message: bytes | str) -> None:
        """Over a data channel that is open. Raises KeyError when it was not opened."""
        self._media.channels[label].send(message)

    async def stats(self) -> dict[str, Any]:
        """aiortc's getStats."""
        return await self._media.stats()

    # Requests; each raises Refused, Ended or TimeoutError.

    async def ask(self, type_: str, **fields: Any) -> Message:
        """Any request of the protocol; its reply."""
        return await self.signalling.ask({"type": type_, **fields})

    async def chat(self, text: str) -> None:
        await self.ask("chat", text=text)

    async def data(self, label: str, data: Any) -> None:
        """Something small to everybody, over signalling."""
        await self.ask("data", label=label, data=data)

    async def admit(self, participant: str) -> None:
        await self.ask("admit", participant=participant)

    async def refuse(self, participant: str) -> None:
        await self.ask("refuse", participant=participant)

    async def remove(self, participant: str) -> None:
        await self.ask("remove", participant=participant)

    async def mute(self, track_id: str, muted: bool = True) -> None:
        await self.ask("mute", track=track_id, muted=muted)

    async def limited(self, track_id: str, by: Limit) -> None:
        """What holds one's own track back."""
        await self.ask("limited", track=track_id, by=by)

    async def prefer(self, track_id: str, layer: str | None = None, paused: bool = False, priority: int = 5) -> None:
        await self.ask("prefer", track=track_id, layer=layer, paused=paused, priority=priority)

    async def hand(self, up: bool = True) -> None:
        await self.ask("hand", up=up)

    async def record(self, on: bool = True) -> None:
        await self.ask("record", on=on)

    async def consent(self, given: bool = True) -> None:
        await self.ask("consent", given=given)

    async def end(self) -> None:
        await self.ask("end")

    # What signalling and media tell.

    async def _offer(self, sdp: str, publish: dict[str, dict[str, str]], wanted: dict[str, str | None]) -> str:
        answer = await self.signalling.ask({"type": "offer", "sdp": sdp, "publish": publish, "wanted": wanted})
        return str(answer["sdp"])

    def _on_message(self, message: Message) -> None:
        kind = message.get("type", "")
        if kind in ("welcome", "admitted"):
            self._everything(message)
        if kind in ("welcome", "admitted", "resumed", "ice-servers"):
            self._media.ice_servers = message.get("ice_servers", [])
        if kind in ("joined", "changed") and message["participant"]["id"] != self.you.get("id"):
            self.participants[message["participant"]["id"]] = message["participant"]
        elif kind == "left":
            self.participants.pop(message["participant"], None)
        elif kind == "waiting":
            self.waiting[message["participant"]["id"]] = message["participant"]
        elif kind == "waiting-left":
            self.waiting.pop(message["participant"], None)
        elif kind == "room":
            self.room = message["room"]
        elif kind == "recording":
            self.room["recording"] = message["recording"]
        elif kind in ("track-added", "track-changed"):
            self.tracks[message["track"]["id"]] = message["track"]
            self._follow(message["track"])
        elif kind == "track-removed":
            self.tracks.pop(message["track"], None)
            self._free(message["track"])
        elif kind == "chat":
            self.messages.append(message["message"])
        elif kind == "layer":
            self.layers[message["track"]] = message
        elif kind == "quality":
            self.quality[message["participant"]] = message
        dead = message.get("media") == "new" or self._media.state in ("closed", "failed")
        if kind in ("welcome", "resumed") and self._media.wanted and dead:
            self._rebuild()
        self._emit(Event(kind, message))
        if kind == "over":
            for queue in self._queues:
                queue.put_nowait(None)

    def _everything(self, message: Message) -> None:
        self.you, self.room = message["you"], message["room"]
        self.participants = {p["id"]: p for p in message["participants"]}
        self.waiting = {p["id"]: p for p in message["waiting"]}
        self.tracks = {t["id"]: t for t in message["tracks"]}
        self.messages = list(message["chat"])
        for receiving in self._media.receiving:
            if receiving.track is not None and receiving.track.track_id not in self.tracks:
                receiving.track.switch(None)
                self._astray.append(receiving)
                for track in self.tracks.values():
                    self._follow(track)

    def _follow(self, track: Message) -> None:
        """After a restart of the relay what was subscribed to has a new id, once its publisher is back."""
        for receiving in self._astray:
            if receiving.whose == _whose(track) and receiving.track is not None:
                self._astray.remove(receiving)
                receiving.track.track_id = track["id"]
                self._following.append(asyncio.create_task(self._bind_again(receiving)))
                return

    async def _bind_again(self, receiving: Receiving) -> None:
        try:
            # Before this one's own media is built again there is no m-line to bind.
            while self._rebuilding is not None and not self._rebuilding.done():
                await asyncio.shield(self._rebuilding)
            await self._media.settled()
            if receiving.transceiver is not None and receiving.transceiver.mid and receiving.track is not None:
                await self.signalling.ask({"type": "bind", "mid": receiving.transceiver.mid, "track": receiving.track.track_id})
                receiving.track.switch(receiving.transceiver.receiver.track)
        except (Refused, Ended, TimeoutError, ConnectionError) as e:
            log.info("a track is not followed: %s", e)  # the next offer names it

    def _emit(self, event: Event) -> None:
        self._changed.set()
        for queue in self._queues:
            queue.put_nowait(event)

    def _on_link(self, up: bool) -> None:
        self._emit(Event("link", {"type": "link", "up": up}))

    def _on_media(self, state: str) -> None:
        self._emit(Event("media", {"type": "media", "state": state}))
        if state == "interrupted" and (self._probing is None or self._probing.done()):
            self._probing = asyncio.create_task(self.signalling.probe())
        if state in ("lost", "closed"):
            self._rebuild()

    def _on_channel(self, label: str, protocol: str, message: bytes | str) -> None:
        self._emit(Event("data", {"type": "data", "from": protocol, "label": label, "data": message}))

    def _rebuild(self) -> None:
        if not self._closed and (self._rebuilding is None or self._rebuilding.done()):
            self._rebuilding = asyncio.create_task(self._build_again())

    async def _build_again(self) -> None:
        while self._media.wanted and self.signalling.ended is None:
            try:
                await self._media.change(anew=True)
                return
            except Refused as e:
                log.info("media is not built again: %s", e)
                if e.code in ("sdp", "closed"):
                    # The relay still holds the connection of before: begin as one who knows nothing.
                    await self.signalling.begin_anew()
            except (TimeoutError, ConnectionError) as e:
                log.info("media is not built again yet: %s", e)
            except Ended:
                return
            await asyncio.sleep(REBUILD_SECONDS)


def _whose(track: Message) -> tuple[str, ...]:
    """What stays the same of a track when its id does not."""
    return (track["participant"], track["kind"], track.get("source", ""), track.get("name", ""))
