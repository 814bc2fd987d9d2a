"""One server for all tests of this folder; after each of them it still works, and at the end it is held to account."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hostile import wire
from tests.hostile.server import CPU_SECONDS, GAP_SECONDS, Attacked

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("hostile"))


def _attacked(database: str) -> Iterator[Attacked]:
    server = Attacked(database)
    yield server
    assert not server.finish()


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    yield from _attacked(f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'hub.db'}")


class Trickle(threading.Thread):
    """The head of a request that never ends, a letter a second; `took`: seconds until the server gave it up."""

    PATIENCE = 50.0

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.took = self.PATIENCE

    def run(self) -> None:
        with wire.connect(self._port) as s:
            s.settimeout(1)
            s.sendall(b"GET /fhir/Patient/an HTTP/1.1\r\nHost: a\r\nX-A: ")
            began = time.monotonic()
            while time.monotonic() - began < self.PATIENCE:
                try:
                    s.sendall(b"a")
                    if s.recv(10) == b"":
                        break
                except TimeoutError:
                    pass
                except OSError:
                    break
            self.took = time.monotonic() - began


@pytest.fixture(scope="session", autouse=True)
def trickle(on_sqlite: Attacked) -> Trickle:
    """Begun with the first test of this folder: half a minute goes by while others run."""
    thread = Trickle(on_sqlite.port)
    thread.start()
    return thread


@pytest.fixture(scope="session")
def on_postgresql(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    cluster = request.getfixturevalue("postgresql_template")
    with ThreadPoolExecutor(1) as thread:
        url = thread.submit(asyncio.run, cluster.create("hub_hostile", "template_hub")).result()
    yield from _attacked(url)


def _watched(server: Attacked) -> Iterator[Attacked]:
    server.longest = 0.0
    began = server.cpu()
    yield server
    assert server.hub.process.poll() is None, "the server is gone"
    assert server.answered(), "the second client is not answered any more"
    assert server.longest < GAP_SECONDS, f"the second client waited {server.longest:.1f} s"
    spent = server.cpu() - began
    assert spent < CPU_SECONDS, f"the server worked {spent:.1f} s on this"


@pytest.fixture
def hub(on_sqlite: Attacked) -> Iterator[Attacked]:
    """On SQLite."""
    yield from _watched(on_sqlite)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    """On either database: for what reaches SQL."""
    yield from _watched(request.getfixturevalue(f"on_{request.param}"))
