"""The migrations make what schema.py says, and carry a database with data along."""

import json
import sqlite3
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from fhir_profiles.tables import type_number
from health_hub.fhir.keys import reference
from health_hub.store import schema
from health_hub.store.reindex import check, rebuild
from health_hub.store.store import HEAD, Store
from health_hub.store.upgrade import upgrade
from tests.databases import Cluster

VERSIONS = Path(schema.__file__).parent / "migrations" / "versions"
# Written in SQL by the migrations and beyond what Alembic compares: expression indexes, and what only one database has.
OWN = {"string_key_v", "key", "resource_keys"}


def test_head_is_the_newest_migration() -> None:
    assert max(p.name[:4] for p in VERSIONS.glob("0*.py")) == HEAD


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection", "ignore:autogenerate skipping")
async def test_migrated_database_is_what_the_schema_says(database_url: str) -> None:
    def differences(connection) -> list[str]:  # type: ignore[no-untyped-def]
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        found = compare_metadata(context, schema.SQLModel.metadata)
        return [str(d) for d in found if not any(name in str(d) for name in OWN)]

    if database_url.startswith("sqlite"):
        engine = create_engine(database_url)
        with engine.connect() as c:
            assert differences(c) == []
        engine.dispose()
    else:
        server = create_async_engine("postgresql+asyncpg://" + database_url.split("://", 1)[1])
        async with server.connect() as connection:
            assert await connection.run_sync(differences) == []
        await server.dispose()


async def _written_by_the_first_release(url: str) -> None:
    """Twenty patients, five of them updated, one deleted, with the columns of that time."""
    resources, history = [], []
    for n in range(20):
        version = 2 if n < 5 or n == 9 else 1
        deleted = n == 9
        for v in range(1, version + 1):
            meta = f'{{"versionId":"{v}","lastUpdated":"2026-01-01T00:00:00.00{v}+07:00"}}'
            doc = f'{{"resourceType":"Patient","id":"p{n}","meta":{meta},"name":[{{"family":"Hoàng"}}]}}'.encode()
            gone = deleted and v == version
            row = [n + 1, type_number("Patient"), f"p{n}", v, 1767200400000 + v, gone, 3 if gone else 2, v, None if gone else doc]
            (resources if v == version else history).append([*row, reference(f"Patient/p{n}")] if v == version else row)
    resource = "INSERT INTO resource (rid, type, id, version, updated, deleted, method, seq, doc, self) VALUES "
    version = "INSERT INTO history (rid, type, id, version, updated, deleted, method, seq, doc) VALUES "
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as c:
            c.executemany(resource + f"({', '.join('?' * 10)})", resources)
            c.executemany(version + f"({', '.join('?' * 9)})", history)
        c.close()
        return
    connection = await asyncpg.connect(url)
    await connection.executemany(resource + f"({', '.join(f'${n}' for n in range(1, 11))})", resources)
    await connection.executemany(version + f"({', '.join(f'${n}' for n in range(1, 10))})", history)
    await connection.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_with_data_is_upgraded_on_the_next_start(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = await cluster.create("hub_old")
    await upgrade(url, "0001")
    await _written_by_the_first_release(url)
    new = await Store.open(url)
    assert await new.revision() == HEAD
    await rebuild(new)
    assert [p async for p in check(new)] == []
    page = await new.view().history(count=100)
    assert len(page.versions) == 26
    assert json.loads((await new.view().read("Patient", "p3")).doc or b"")["meta"]["versionId"] == "2"  # type: ignore[union-attr]
    await new.close()
