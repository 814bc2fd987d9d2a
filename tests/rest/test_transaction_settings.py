"""Transactions under other settings than the defaults."""

import httpx
import pytest

from health_hub.settings import Settings
from tests.rest.bundles import bundle, done, entry, identified, patient, refused, send, statuses


@pytest.fixture
def settings() -> Settings:
    return Settings(conditional_delete="multiple", conditional_delete_max=3, bundle_entries=5)


async def test_a_conditional_delete_may_delete_several(client: httpx.AsyncClient) -> None:
    for n in range(3):
        await client.put(f"Patient/p{n}", json=patient(id=f"p{n}", **identified("1")))
    found = await done(client, entry("DELETE", "Patient?identifier=1"), entry("POST", "Patient", patient()))
    assert statuses(found) == ["200", "201"]
    assert len(found[0]["response"]["outcome"]["issue"]) == 3
    assert [(await client.get(f"Patient/p{n}")).status_code for n in range(3)] == [410] * 3


async def test_but_not_without_end(client: httpx.AsyncClient) -> None:
    for n in range(4):
        await client.put(f"Patient/p{n}", json=patient(id=f"p{n}", **identified("1")))
    await refused(client, entry("DELETE", "Patient?identifier=1"), status=412)


async def test_entries_are_limited(client: httpx.AsyncClient) -> None:
    for kind in ("batch", "transaction"):
        assert (await send(client, kind, *[entry("POST", "Patient", patient())] * 6)).status_code == 413
        assert (await client.post("", json=bundle(kind, *[entry("POST", "Patient", patient())] * 5))).status_code == 200
