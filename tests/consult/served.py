"""A demo hub as a process of its own, with a relay behind it that carries no media."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.telemed.hub.cluster import Relay
from tests.telemed.rooms.world import SECRET
from tests.web.chromium import DemoHub


@contextmanager
def hub_with_relay(folder: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Iterator[tuple[DemoHub, Relay]]:
    """given: settings of the relay."""
    url = f"sqlite:///{folder}/telemed.db"
    monkeypatch.setenv("HEALTH_HUB_RELAY_DIRECTORY", url)
    monkeypatch.setenv("HEALTH_HUB_RELAY_SECRET", SECRET)
    monkeypatch.setenv("HEALTH_HUB_RELAY", "0")
    server = DemoHub(f"sqlite:///{folder}/hub.db", None, "--demo", auth=True)
    loop, ready, made = asyncio.new_event_loop(), threading.Event(), []

    async def serve() -> None:
        relay = Relay(url, "r", issuer=server.origin, **given)
        await relay.start()
        made.append(relay)
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield server, made[0]
    finally:
        asyncio.run_coroutine_threadsafe(made[0].stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
        server.stop()
        server.log.close()
