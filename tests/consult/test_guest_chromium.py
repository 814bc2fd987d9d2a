"""A guest's link in a real browser: from the fragment into the waiting room of a hub with a relay behind it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.consult.served import hub_with_relay  # noqa: E402
from tests.telemed.hub.cluster import Relay  # noqa: E402
from tests.telemed.page.conftest import MEDIA  # noqa: E402
from tests.web.chromium import FLAGS, PRESENT, PROGRAM, WHY, DemoHub  # noqa: E402

pytestmark = [pytest.mark.skipif(not PRESENT, reason=WHY), pytest.mark.xdist_group("chromium")]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DemoHub, Relay]]:
    with hub_with_relay(tmp_path, monkeypatch) as made:
        yield made


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
