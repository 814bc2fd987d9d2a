"""A private PostgreSQL for the run and fresh databases for every test, on both kinds."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from health_hub.store.store import Store

T = TypeVar("T")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True) if Path("/usr/lib/postgresql").exists() else []


def _binary(name: str) -> str | None:
    for folder in BINARIES:
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name)


class Cluster:
    """PostgreSQL in a temporary folder on a free port; `initdb` refuses root, so root runs it as `nobody`."""

    def __init__(self, *, fsync: bool = False) -> None:
        self.fsync = fsync
        self.folder = tempfile.mkdtemp(prefix="hub-pg-", dir="/tmp")
        self.user = {"user": "nobody"} if os.getuid() == 0 else {}
        if self.user:
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        initdb = _binary("initdb")
        assert initdb
        self._run(initdb, "-D", f"{self.folder}/data", "-U", "hub", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **self.user)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c max_connections=200 -c autovacuum=off"
        options += f" -c fsync={'on' if self.fsync else 'off'}"
        self._run(_binary("pg_ctl") or "", "-D", f"{self.folder}/data", "-w", "-s", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        subprocess.run(
            [_binary("pg_ctl") or "", "-D", f"{self.folder}/data", "-s", "-m", mode, "stop"], check=False, cwd="/tmp", **self.user
        )

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/{name}"

    async def create(self, name: str, template: str = "template0") -> str:
        admin = await asyncpg.connect(self.url())
        try:
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            await admin.close()
        return self.url(name)


class Fresh:
    """A migrated database that is emptied instead of made anew, which takes a sixth of the time; made anew where its schema was changed."""

    NAME, TEMPLATE = "hub_test", "template_hub"
    PAGES = 4  # a table with more is truncated: what is deleted stays in it and in its indexes
    SCHEMA = (
        "SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (SELECT format('%s %s %s %s', c.relname, a.attname, a.atttypid, a.attnotnull) AS x "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 "
        "UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
        "UNION ALL SELECT tgname FROM pg_trigger UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace) y"
    )
    TABLES = "SELECT tablename, pg_relation_size(format('public.%I', tablename)) / 8192 FROM pg_tables WHERE schemaname = 'public'"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._schema = ""
        self._rows: dict[str, list[Any]] = {}
        self._sequences: list[Any] = []

    async def url(self) -> str:
        if self._schema:
            connection = await asyncpg.connect(self._cluster.url(self.NAME))
            try:
                if await self._emptied(connection):
                    return self._cluster.url(self.NAME)
            except asyncpg.PostgresError:
                pass
            finally:
                await connection.close()
        url = await self._cluster.create(self.NAME, self.TEMPLATE)
        await self._learn(url)
        return url

    async def _learn(self, url: str) -> None:
        if self._schema:
            return
        connection = await asyncpg.connect(url)
        try:
            self._rows = {table: await connection.fetch(f'SELECT * FROM "{table}"') for table, _ in await connection.fetch(self.TABLES)}
            self._sequences = await connection.fetch(
                "SELECT sequencename, coalesce(last_value, start_value), last_value IS NOT NULL FROM pg_sequences "
                "WHERE schemaname = 'public'"
            )
            self._schema = await connection.fetchval(self.SCHEMA)
        finally:
            await connection.close()

    async def _emptied(self, connection: Any) -> bool:
        """False when it cannot be what it was."""
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if await connection.fetchval(self.SCHEMA) != self._schema:
            return False
        async with connection.transaction():
            for table, pages in await connection.fetch(self.TABLES):
                if pages:
                    await connection.execute(f'{"TRUNCATE" if pages > self.PAGES else "DELETE FROM"} "{table}"')
                if rows := self._rows[table]:
                    marks = ", ".join(f"${n + 1}" for n in range(len(rows[0])))
                    await connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
            await connection.executemany("SELECT setval(format('public.%I', $1::text)::regclass, $2, $3)", self._sequences)
        return True


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if not _binary("initdb"):
        pytest.skip("postgresql is not installed")
    c = Cluster()
    yield c
    c.remove()


def _now(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end in a thread: a session's fixture may be asked for inside a test's event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _migrated(url: str) -> str:
    await (await Store.open(url)).close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "hub.db"
    _now(_migrated(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgresql_template(cluster: Cluster) -> Cluster:
    _now(_migrated(_now(cluster.create(Fresh.TEMPLATE))))
    return cluster


@pytest.fixture(scope="session")
def postgresql_fresh(postgresql_template: Cluster) -> Fresh:
    return Fresh(postgresql_template)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A fresh, migrated database; every test that uses it runs on both kinds."""
    if request.param == "sqlite":
        path = tmp_path / "hub.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        yield await request.getfixturevalue("postgresql_fresh").url()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    s = await Store.open(database_url)
    yield s
    await s.close()
