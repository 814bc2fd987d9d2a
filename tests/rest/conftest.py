"""The API as a client sees it: requests through the HTTP door of a hub on either database."""

from collections.abc import AsyncIterator

import httpx
import pytest

from health_hub.rest.app import FhirApp
from health_hub.settings import Settings
from health_hub.store.store import Store

BASE = "http://hub.test/fhir"


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
async def app(store: Store, settings: Settings) -> FhirApp:
    return FhirApp(store, settings)


@pytest.fixture
async def client(app: FhirApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE + "/") as c:
        yield c
