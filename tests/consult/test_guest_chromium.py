"""A guest's link in a real browser: from the fragment into the waiting room of a hub with a relay behind it."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.hub.cluster import Relay  # noqa: E402
from tests.telemed.page.conftest import MEDIA  # noqa: E402
from tests.telemed.rooms.world import SECRET  # noqa: E402
from tests.web.chromium import FLAGS, PRESENT, PROGRAM, WHY, DemoHub  # noqa: E402

pytestmark = [pytest.mark.skipif(not PRESENT, reason=WHY), pytest.mark.xdist_group("chromium")]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DemoHub, Relay]]:
    url = f"sqlite:///{tmp_path}/telemed.db"
    monkeypatch.setenv("HEALTH_HUB_RELAY_DIRECTORY", url)
    monkeypatch.setenv("HEALTH_HUB_RELAY_SECRET", SECRET)
    monkeypatch.setenv("HEALTH_HUB_RELAY", "0")
    server = DemoHub(f"sqlite:///{tmp_path}/hub.db", None, "--demo", auth=True)
    loop, ready, made = asyncio.new_event_loop(), threading.Event(), []

    async def serve() -> None:
        relay = Relay(url, "r", issuer=server.origin)
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


def test_a_guest_comes_into_the_waiting_room_by_the_link(hub: tuple[DemoHub, Relay], tmp_path: Path) -> None:
    server, relay = hub
    command = [sys.executable, "-m", "health_hub.cli", "invite", "Appointment/kham-tu-xa", "--name", "Lò Thị Mai"]
    environ = {**os.environ, "HEALTH_HUB_BASE_URL": f"{server.origin}/fhir"}
    made = subprocess.run([*command, "--db", f"sqlite:///{tmp_path}/hub.db"], env=environ, capture_output=True, text=True, check=True)
    link = made.stdout.strip()
    assert link.startswith(f"{server.origin}/consult/guest#invite=")
    complaints: list[str] = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=PROGRAM, args=[*FLAGS, *MEDIA], ignore_default_args=["--headless"])
        page = browser.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(link)
        page.wait_for_url("**/telemed/room")
        assert "token" not in page.url, "it leaves the address at once"
        page.click("#enter")
        page.locator("#waiting").wait_for(state="visible", timeout=20_000)
        page.goto(f"{server.origin}/consult/guest#invite=wrong")
        page.locator("#guest-ended").wait_for(state="visible")
        browser.close()
    assert [c for c in complaints if "404" not in c] == []
    room = relay.app.state.rooms.rooms["Appointment.kham-tu-xa"]
    assert [p.identity.name for p in room.participants.values()] == ["Lò Thị Mai"]
