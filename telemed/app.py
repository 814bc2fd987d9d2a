"""The ASGI application of signalling: `create(relay, settings)`."""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from telemed import page
from telemed.metrics import Metrics
from telemed.pieces.rooms import Messages
from telemed.ports import MediaRelay
from telemed.record import routes as recordings
from telemed.record.index import Index
from telemed.record.kept import Kept, told
from telemed.record.recording import Limits
from telemed.record.rooms import Recorder
from telemed.rooms.participant import stamp
from telemed.rooms.recording import Hook
from telemed.rooms.registry import Rooms
from telemed.rooms.roles import Role
from telemed.rooms.room import Sink
from telemed.settings import Settings
from telemed.signal.connection import transport_of
from telemed.signal.server import Server
from telemed.statefile import StateFile
from telemed.tokens import Tokens
from telemed.whip import Http

log = logging.getLogger(__name__)
TICK = 0.5  # seconds
SAVE = 1.0  # seconds between two snapshots at least
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Transport:
    """Notes the server's transport of a WebSocket (signal.connection.transport_of).

    And sends small messages at once: asyncio does so only for sockets made with an explicit protocol number, which uvicorn's are not
    when they are handed to it or it runs several workers; 40 ms a message otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            transport = transport_of(send)
            if transport is not None:
                scope["telemed.transport"] = transport
                with contextlib.suppress(OSError, AttributeError, TypeError):
                    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._app(scope, receive, send)


def create(
    relay: MediaRelay,
    settings: Settings,
    sink: Sink = lambda event: None,
    hook: Hook | None = None,
    started: Callable[[Starlette], None] | None = None,
) -> Starlette:
    """The application; run it in one process, since its rooms live in memory.

    `sink` hears events (docs/telemed-protocol.md, Events), `hook` starts and stops the writing of recordings; without it that is
    done by telemed.record where the settings name a place for them, and refused where they do not.
    `app.state` has `rooms`, `tokens`, `server`, `http` and `metrics`.
    """
    metrics = Metrics()
    rooms: Rooms

    def tell(event: dict[str, Any]) -> None:
        try:
            sink(event)
        except Exception:
            log.exception("the sink failed on %s", event["event"])

    def failed(room: str, reason: str) -> None:
        if (found := rooms.get(room)) is not None:
            found.recording.failed(reason)

    def recorded(room: str, name: str, index: Index) -> None:
        tracks = sum(1 for track in index["tracks"] if track.get("file"))
        done = {"recording": name, "seconds": told(name, index)["seconds"], "tracks": tracks, "reason": index["why"]}
        tell({"event": "recorded", "room": room, "time": stamp(time.time()), **done})

    def deleted(room: str, name: str) -> None:
        tell({"event": "recording-deleted", "room": room, "time": stamp(time.time()), "recording": name})

    def device(room: str, participant: str) -> bool:
        found = rooms.get(room)
        who = found.participants.get(participant) if found is not None else None
        return who is not None and who.admitted and who.role is Role.DEVICE

    recorder: Recorder | None = None
    if hook is None and settings.recordings:
        limits = Limits(bytes=settings.recording_bytes, seconds=settings.recording_seconds, free=settings.disk_free)
        root, key = Path(settings.recordings), settings.record_key.encode()
        recorder = Recorder(relay, root, key, failed, recorded, limits, settings.recordings_days, deleted, device)
        hook = recorder.hook
    rooms = Rooms(relay, settings, sink, hook)
    tokens = Tokens(settings.secret or secrets.token_urlsafe(32), settings.issuer)
    server = Server(rooms, tokens, settings, metrics)
    http = Http(rooms, tokens, settings, metrics)
    messages = Messages(settings, tokens, rooms, tell) if settings.messages else None
    file = StateFile(settings.state, settings.secret) if settings.state and settings.secret else None
    stopping = False

    async def save() -> None:
        if file is None or not rooms.changed():
            return
        state = rooms.snapshot()
        try:
            await asyncio.to_thread(file.save, state)
        except OSError:
            log.exception("rooms cannot be saved")
            rooms.dirty = True

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        saved = loop.time()
        while True:
            await asyncio.sleep(TICK)
            try:
                server.tick()
                rooms.tick()
            except Exception:
                log.exception("tick")
            if loop.time() - saved >= SAVE:
                await save()
                saved = loop.time()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        nonlocal stopping
        if file is not None and (state := await asyncio.to_thread(file.load)) is not None:
            rooms.restore(state)
        if recorder is not None:
            await recorder.open()
        if messages is not None:
            messages.start()
        ticking = asyncio.create_task(tick())
        if started is not None:
            started(app)
        try:
            yield
        finally:
            stopping = True
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            server.restart()
            await save()
            if recorder is not None:
                await recorder.close()
            if messages is not None:
                await messages.stop()

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    async def prometheus(request: Request) -> Response:
        states, people = rooms.counts()
        ready, pending = server.connections
        gauges: list[tuple[str, dict[str, str], float]] = [("telemed_rooms", {"state": state}, n) for state, n in states.items()]
        gauges += [("telemed_participants", {"role": role, "via": via}, n) for (role, via), n in people.items()]
        gauges += [("telemed_connections", {"hello": "yes"}, ready), ("telemed_connections", {"hello": "no"}, pending)]
        if recorder is not None:
            gauges.append(("telemed_recordings", {}, recorder.running))
        gauges += [("telemed_relay", {"what": what}, value) for what, value in relay.load().items()]
        gauges.append(("telemed_relay", {"what": "tasks"}, len(asyncio.all_tasks())))
        return PlainTextResponse(metrics.text(gauges), media_type="text/plain; version=0.0.4")

    routes: list[Any] = [
        WebSocketRoute("/telemed/ws", server.endpoint),
        Route("/telemed/health", health),
        Route("/telemed/metrics", prometheus),
    ]
    for way in ("whip", "whep"):
        routes.append(Route(f"/telemed/{way}/{{room}}", http.endpoint, methods=METHODS))
        routes.append(Route(f"/telemed/{way}/{{room}}/{{session}}", http.resource, methods=METHODS))
    if messages is not None:
        routes += messages.routes()
    if settings.recordings and settings.secret:
        routes += recordings.routes(Kept(Path(settings.recordings), settings.record_key.encode()), settings.secret)
    if settings.open:
        # For trying without a hub, which else serves the page: /telemed/room#room=NAME&name=...&role=...
        routes += page.routes("/telemed")
    app = Starlette(routes=routes, middleware=[Middleware(_Transport)], lifespan=lifespan)
    app.state.rooms, app.state.tokens, app.state.server, app.state.http, app.state.metrics = rooms, tokens, server, http, metrics
    return app
