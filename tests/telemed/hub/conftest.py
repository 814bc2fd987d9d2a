"""A directory of each kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.telemed.hub.cluster import Cluster, cluster


@pytest.fixture(params=["sqlite", "postgresql"])
async def c(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Relays and fronts that the test starts, over one directory."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/telemed.db"
    else:
        server = request.getfixturevalue("postgresql_template")
        url = await server.create("telemed", "template0")
    async with cluster(url) as made:
        yield made
