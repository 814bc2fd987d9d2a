"""A hub in a process of its own on each kind of database for all of these tests, and the tools of the other languages."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bench.processes import Hub
from health_hub.demo.accounts import CLIENTS
from tests.clients import install
from tests.clients.records import HOSPITAL, LABORATORY
from tests.databases import _now as now

Run = Callable[..., str]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that share a hub stay on one worker."""
    for item in items:
        if isinstance(item, pytest.Function) and Path(__file__).parent in item.path.parents:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            kind = "signed-" + params["signed"] if "signed" in params else params.get("base", "")
            item.add_marker(pytest.mark.xdist_group(f"clients-{kind}"))


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's address, of a hub that began empty."""
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path_factory.mktemp('clients')}/hub.db"
    else:
        database = now(request.getfixturevalue("cluster").create("clients"))
    hub = Hub(database, None)
    yield f"http://127.0.0.1:{hub.port}/fhir"
    hub.stop()
    hub.log.close()


@dataclass(frozen=True)
class Signed:
    """A hub with access control and the demo records; `command` runs the program against its database."""

    base: str
    database: str

    def command(self, *words: str) -> str:
        environ = os.environ | {"HEALTH_HUB_BASE_URL": self.base}
        program = [sys.executable, "-m", "health_hub.cli", *words, "--db", self.database]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    """For clients that sign in."""
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path_factory.mktemp('signed')}/hub.db"
    else:
        database = now(request.getfixturevalue("cluster").create("signed"))
    hub = Hub(database, None, "--demo", auth=True)
    found = Signed(f"http://127.0.0.1:{hub.port}/fhir", database)
    _add_laboratory(found)
    yield found
    hub.stop()
    hub.log.close()


def _add_laboratory(signed: Signed) -> None:
    """By the hospital's own system."""
    his = next(c for c in CLIENTS if c.client.organization == f"Organization/{HOSPITAL}")
    asked = {"grant_type": "client_credentials", "scope": "system/Observation.cu"}
    issuer = signed.base.removesuffix("/fhir")
    token = httpx.post(f"{issuer}/auth/token", data=asked, auth=(his.client.id, his.secret)).json()["access_token"]
    for resource in LABORATORY:
        url = f"{signed.base}/Observation/{resource['id']}"
        said = httpx.put(url, json=resource, headers={"authorization": f"Bearer {token}", "content-type": "application/fhir+json"})
        assert said.status_code == 201, said.text


def _or_skip(fetch: Callable[[], Path]) -> Path:
    try:
        return fetch()
    except install.Missing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def node() -> Run:
    """Runs a script of node/ with the locked packages."""
    folder = _or_skip(install.node)

    def run(script: str, *arguments: str) -> str:
        # Modules are looked for beside the script and above it.
        with tempfile.TemporaryDirectory(dir=folder) as here:
            for file in (install.HERE / "node").glob("*.mjs"):
                shutil.copy(file, here)
            return _run("node", f"{here}/{script}", *arguments)

    return run


@pytest.fixture(scope="session")
def java() -> Run:
    """Compiles and runs a program of java/ with the jars of its pom.xml."""
    folder = _or_skip(install.java)

    def run(program: str, *arguments: str) -> str:
        quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")
        return _run("java", *quick, "-ea", "-cp", f"{folder}/lib/*", str(install.HERE / "java" / program), *arguments)

    return run


@pytest.fixture(scope="session")
def smart_fetch() -> Run:
    """Runs smart-fetch."""
    folder = _or_skip(install.smart_fetch)

    def run(*arguments: str) -> str:
        program = "import sys; from smart_fetch.cli.main import main_cli; sys.exit(main_cli())"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"PYTHONPATH": str(folder / "lib")}
        words = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False, env=environ)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    return run


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout
