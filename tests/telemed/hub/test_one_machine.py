"""A relay beside the server: what it is told, and that it is started again and ends with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from health_hub.commands.beside import Beside
from health_hub.commands.relay import arguments, environment, free_port
from health_hub.consult import relays
from health_hub.settings import SettingError, Settings

KEY = "k" * 40


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_beside_is_started_again_and_ends_with_us(tmp_path: Path) -> None:
    program = "import sys; sys.stdin.read()"
    beside = Beside([sys.executable, "-c", program], os.environ, "relay")
    beside.start()
    until(lambda: beside.pid is not None)
    first = beside.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: beside.pid not in (None, first))
    second = beside.pid
    assert second is not None
    beside.stop()
    assert not alive(second)
    assert beside.pid is None


def test_one_that_ends_at_once_is_not_started_in_a_tight_loop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    beside = Beside([sys.executable, "-c", "print('x')"], os.environ, "relay")
    beside.start()
    time.sleep(1.5)
    beside.stop()
    assert 1 <= capfd.readouterr().out.count("x") <= 4


def test_what_a_relay_is_told() -> None:
    settings = Settings(key=KEY, db="sqlite:///var/health-hub.db", base_url="https://hub.example.vn/fhir", relay_host="203.0.113.7")
    told = environment(settings, {}, 8955)
    assert told["TELEMED_SECRET"] == relays.secret(settings)
    assert told["TELEMED_ISSUER"] == "https://hub.example.vn"
    assert told["TELEMED_DIRECTORY"] == "sqlite:///var/health-hub.telemed.db"
    assert told["TELEMED_ADDRESS"] == "127.0.0.1:8955"
    assert environment(settings, {"TELEMED_NODE": "r7"}, 1)["TELEMED_NODE"] == "r7"
    words = arguments(settings, 8955)
    assert words[:4] == ["--host", "127.0.0.1", "--port", "8955"]
    assert words[words.index("--announce") + 1] == "203.0.113.7"
    assert words[words.index("--udp-host") + 1] == "0.0.0.0"
    assert "--no-auth" not in words
    inside = Settings(auth=False, relay_secret=KEY)
    assert arguments(inside, 1)[5] == "127.0.0.1"
    assert arguments(inside, 1)[-1] == "--no-auth"
    assert environment(inside, {}, 1)["TELEMED_OPEN"] == "1"
    shared = Settings(key=KEY, db="postgresql://hub@db/hub", relay_bind="10.0.0.5")
    assert environment(shared, {}, 8955)["TELEMED_DIRECTORY"] == "postgresql://hub@db/hub"
    assert environment(shared, {}, 8955)["TELEMED_ADDRESS"] == "10.0.0.5:8955"


def test_a_relay_needs_the_secret_of_its_hub() -> None:
    with pytest.raises(SettingError, match="HEALTH_HUB_KEY"):
        relays.secret(Settings())
    with pytest.raises(SettingError, match="32"):
        relays.secret(Settings(relay_secret="short"))
    assert relays.secret(Settings(key=KEY)) != KEY
    assert len(relays.secret(Settings(), b"kept in the database")) >= 32


def test_serve_has_a_relay_beside_it_that_comes_back_and_ends_with_it(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    environ = {**os.environ, "HEALTH_HUB_RELAY": "1", "HEALTH_HUB_RELAY_UDP_PORT": str(free_port("127.0.0.1"))}
    command = [sys.executable, "-m", "health_hub.cli", "serve", "--port", str(port), "--db", f"sqlite:///{tmp_path}/hub.db"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stderr=log, stdout=log)

    def children() -> set[int]:
        return {int(p) for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()} | {
            int(c) for t in Path(f"/proc/{process.pid}/task").iterdir() for c in (t / "children").read_text().split()
        }

    def healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/telemed/health").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        until(healthy, 40)
        relay = next(iter(children()))
        os.kill(relay, signal.SIGKILL)
        until(lambda: children() and children() != {relay}, 40)
        until(healthy, 40)
        assert httpx.get(f"http://127.0.0.1:{port}/telemed/room").status_code == 200
        # Messages for later are taken without any setting, beside the database; who has no token is refused.
        assert httpx.get(f"http://127.0.0.1:{port}/telemed/messages").json()["code"] == "token"
        assert list(tmp_path.glob("hub.messages-*/lock"))
        relay = next(iter(children()))
    finally:
        process.kill()
        process.wait()
    until(lambda: not alive(relay))
