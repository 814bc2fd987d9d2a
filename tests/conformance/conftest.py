"""A hub behind its HTTP door, and short words for what the tests ask of it."""

from collections.abc import Iterator

import httpx
import pytest

from health_hub.fhir import index
from health_hub.settings import Settings
from tests.conformance.asking import Asking
from tests.rest.conftest import BASE, app, client

__all__ = ["app", "client"]


@pytest.fixture
def settings() -> Iterator[Settings]:
    """The hub knows its own address, so that references written in full are local ones."""
    yield Settings(base_url=BASE)
    index.set_base("")


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Asking:
    return Asking(client)
