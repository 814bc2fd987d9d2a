"""The application: the FHIR API by the shortest way, everything else through FastAPI.

FastAPI is loaded at the first request that needs it: it takes half a second, and a worker that starts again after a
crash answers clinics first.
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, cast

from health_hub.access.connect import Connected
from health_hub.access.gate import Gate
from health_hub.auth import discovery
from health_hub.auth.authority import Authority
from health_hub.rest import async_
from health_hub.rest.app import ROOT
from health_hub.rest.once import OnceApp
from health_hub.settings import Settings
from health_hub.store.store import Store

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

TELEMED = "/telemed/"
DOOR_SECONDS = 2.0  # after the start: clinics are answered first

log = logging.getLogger(__name__)


class _Door(Protocol):
    """health_hub.consult.door.Door, as far as it is used here."""

    kept: Any  # telemed.kept.Kept

    def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def _door_of() -> "Callable[[Settings, Store], _Door]":
    from health_hub.consult.door import Door

    return Door


def _settle_collector() -> None:
    """Python's cycle collector for a server of documents (docs/decisions/garbage-collector.md).

    A parsed Bundle is 100,000 dicts and lists without a cycle among them; with the default of 700, collections walk them over
    and over, for 30% of a transaction's CPU. What start-up made stays for ever and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class _Hub:
    """One process of the hub: its store, its FHIR API and, once asked for, its pages."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self._settings, self._given = settings, store
        self._store = store
        # A store that is given needs no opening; with a gate before it, serving begins with the server.
        self._fhir: OnceApp | None = OnceApp(store, settings) if store is not None and not settings.auth else None
        self._gate: Gate | None = None
        self._pages: Application | None = None
        self._loading = asyncio.Lock()
        self._door: _Door | None = None
        self._opening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before FastAPI and its middleware, which cost 60 us a request and know nothing of FHIR.
        if scope["type"] == "http":
            path: str = scope["path"]
            if self._fhir is not None and path.startswith(ROOT) and (len(path) == len(ROOT) or path[len(ROOT)] == "/"):
                await self._fhir(scope, receive, send)
                return
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        elif scope["type"] == "websocket" and not scope["path"].startswith(TELEMED):
            await receive()
            await send({"type": "websocket.close"})  # before it is accepted: 403
            return
        if scope["path"].startswith(TELEMED):
            await (self._door or await self._open_door())(scope, receive, send)
            return
        await (self._pages or await self._load())(scope, receive, send)

    async def _open_door(self) -> "_Door":
        """Consultations: loaded at the first request for one, and behind the first answers for the sake of what relays report."""
        async with self._loading:
            if self._door is None:
                if self._store is None:
                    raise RuntimeError("the store is not open")
                door = (await asyncio.to_thread(_door_of))(self._settings, self._store)
                door.start()
                self._door = door
        return self._door

    async def _open_later(self) -> None:
        await asyncio.sleep(DOOR_SECONDS)
        try:
            await self._open_door()
        except Exception:
            log.exception("consultations are not served")

    async def _load(self) -> Application:
        async with self._loading:
            if self._pages is None:
                self._pages = await asyncio.to_thread(self._import)
        return self._pages

    def _import(self) -> Application:
        from health_hub.consult import kept
        from health_hub.consult.routes import router
        from health_hub.web.pages import pages

        gate = self._gate
        if gate is None:
            return cast(Application, pages(self._ready))
        more = [lambda site: router(site, gate), lambda site: kept.router(site, gate, self._kept)]
        return cast(Application, pages(self._ready, gate.authority, more))

    async def _kept(self) -> Any:
        return (self._door or await self._open_door()).kept

    async def _ready(self) -> None:
        if self._store is None:
            raise RuntimeError("the store is not open")
        await self._store.ready()

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan protocol: open, serve, close."""
        await receive()
        try:
            if self._store is None:
                settings = self._settings
                self._store = await Store.open(settings.db, **settings.store())
            await self._begin(self._store)
            _settle_collector()
        except Exception as e:
            log.exception("the hub cannot start")
            await send({"type": "lifespan.startup.failed", "message": repr(e)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await async_.stop()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._door is not None:
            await self._door.stop()
            self._door = None
        if self._gate is not None:
            await self._gate.stop()
            await self._gate.authority.stop()
        if self._given is None:
            await self._store.close()
            self._fhir = self._store = None
        await send({"type": "lifespan.shutdown.complete"})


    async def _begin(self, store: Store) -> None:
        """What serves, and what works behind it."""
        if self._settings.auth:
            authority = Authority(store, self._settings)
            await authority.start()
            self._gate = Gate(authority)
            Connected(self._gate)
            self._gate.start()
        if self._fhir is None:
            self._fhir = OnceApp(store, self._settings, self._gate)
        if self._gate is not None:
            self._fhir.fhir.hub.security |= discovery.capability_security(self._gate.authority)
        store.parameters.start()
        if self._settings.relay or self._settings.relay_directory:
            self._opening = asyncio.create_task(self._open_later())


def create(settings: Settings | None = None, store: Store | None = None) -> Application:
    """For uvicorn's `factory=True`. A `store` given is used and left open, else one is opened when the server starts."""
    return _Hub(Settings.load() if settings is None else settings, store)
