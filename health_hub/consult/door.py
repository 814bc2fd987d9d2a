"""Everything below /telemed as one ASGI application of the hub: the room's page, and what is carried to a relay."""

import asyncio

from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from health_hub.consult import relays
from health_hub.consult.record import Recorder
from health_hub.settings import Settings
from health_hub.store.store import Store
from telemed import page
from telemed.directory.choose import directory
from telemed.front import Front
from telemed.kept import Kept

PAGES = ("/telemed/room", "/telemed/page/")
AGAIN = 2.0  # seconds until a directory that could not be opened is tried again


class Door:
    """One a hub process. `start()` when the server starts, `stop()` when it ends."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._directory = directory(relays.directory_url(settings))
        tokens = relays.tokens(settings, store.secret)
        self._front = Front(self._directory, relays.secret(settings, store.secret), tokens, open_rooms=not settings.auth)
        self.kept = Kept(self._directory, relays.secret(settings, store.secret))
        self._pages = Router(routes=page.routes("/telemed"))
        self._recorder = Recorder(store, self._directory)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._directory.open()
                break
            except OSError:  # said by whoever asks it
                await asyncio.sleep(AGAIN)
        await self._recorder.run()

    async def stop(self) -> None:
        await self._front.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._directory.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PAGES):
            await self._pages(scope, receive, send)
        else:
            await self._front(scope, receive, send)
