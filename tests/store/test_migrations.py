"""The migrations make what schema.py says, and carry a database with data along."""

import json
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from health_hub.store import schema
from health_hub.store.model import Change
from health_hub.store.reindex import check
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


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_with_data_is_upgraded_on_the_next_start(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = await cluster.create("hub_old")
    await upgrade(url, "0001")
    monkeypatch.setattr("health_hub.store.store.HEAD", "0001")
    old = await Store.open(url)
    patients = [Change("update", "Patient", f"p{n}", {"resourceType": "Patient", "name": [{"family": "Hoàng"}]}) for n in range(20)]
    await old.commit(patients)
    await old.commit(patients[:5])
    await old.commit([Change("delete", "Patient", "p9")])
    await old.close()
    monkeypatch.undo()
    new = await Store.open(url)
    assert await new.revision() == HEAD
    assert [p async for p in check(new)] == []
    page = await new.view().history(count=100)
    assert len(page.versions) == 26
    assert json.loads((await new.view().read("Patient", "p3")).doc or b"")["meta"]["versionId"] == "2"  # type: ignore[union-attr]
    await new.close()
