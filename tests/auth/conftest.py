"""An authorization server on each kind of database."""

from collections.abc import AsyncIterator

import pytest

from health_hub.auth.authority import Authority
from health_hub.settings import Settings
from health_hub.store.store import Store

ISSUER = "https://hub.example.vn"


@pytest.fixture
async def authority(store: Store) -> AsyncIterator[Authority]:
    a = Authority(store, Settings(base_url=f"{ISSUER}/fhir"))
    await a.start()
    yield a
    await a.stop()
