"""Prefer: respond-async (R4 async.html)."""

import asyncio
from typing import Any

import httpx
import pytest

from health_hub.rest import async_, search
from health_hub.rest.app import FhirApp
from health_hub.settings import Settings
from health_hub.store.store import Store

ASYNC = {"Prefer": "respond-async"}


async def finished(client: httpx.AsyncClient, url: str) -> httpx.Response:
    for _ in range(100):
        response = await client.get(url)
        if response.status_code != 202:
            return response
        assert "x-progress" in response.headers
        assert response.headers["retry-after"].isdigit()
        await asyncio.sleep(0.05)
    raise AssertionError("never finished")


async def test_a_search_answered_later(client: httpx.AsyncClient, store: Store) -> None:
    await client.post("Patient", json={"resourceType": "Patient", "active": True})
    taken = await client.get("Patient", headers=ASYNC)
    assert taken.status_code == 202
    url = taken.headers["content-location"]
    done = await finished(client, url)
    assert (done.status_code, done.json()["type"]) == (200, "batch-response")
    (entry,) = done.json()["entry"]
    assert entry["response"]["status"] == "200 OK"
    assert entry["resource"]["type"] == "searchset"
    assert len(entry["resource"]["entry"]) == 1
    # Another worker knows as much.
    other = httpx.AsyncClient(transport=httpx.ASGITransport(app=FhirApp(store, Settings())), base_url="http://hub.test")
    async with other:
        assert (await other.get(url)).json() == done.json()
    assert (await client.delete(url)).status_code == 202
    assert (await client.get(url)).status_code == 404


async def test_what_cuts_the_answer_does_not_cut_the_202(client: httpx.AsyncClient) -> None:
    for cut in ("_summary=count", "_summary=true", "_elements=name"):
        assert (await client.get(f"Patient?{cut}", headers=ASYNC)).status_code == 202


async def test_a_failure_is_told_in_the_result(client: httpx.AsyncClient) -> None:
    taken = await client.get("Patient?birthdate=never", headers=ASYNC)
    (entry,) = (await finished(client, taken.headers["content-location"])).json()["entry"]
    assert entry["response"]["status"] == "400 Bad Request"
    assert entry["response"]["outcome"]["resourceType"] == "OperationOutcome"


async def test_cancelling_stops_the_work(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    began, stopped = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> Any:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    monkeypatch.setattr(search, "_search", slow)
    url = (await client.get("Patient", headers=ASYNC)).headers["content-location"]
    await began.wait()
    assert (await client.get(url)).status_code == 202
    assert (await client.delete(url)).status_code == 202
    await asyncio.wait_for(stopped.wait(), 5)
    assert (await client.get(url)).status_code == 404


async def test_a_job_whose_process_died(client: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await store.jobs.create(async_.KIND, {})
    assert (await client.get(f"_job/{id}")).status_code == 202
    monkeypatch.setattr(async_, "_DEAD", -1.0)
    assert (await client.get(f"_job/{id}")).status_code == 500


async def test_single_reads_and_writes_are_answered_at_once(client: httpx.AsyncClient) -> None:
    made = await client.post("Patient", json={"resourceType": "Patient"}, headers=ASYNC)
    assert made.status_code == 201
    assert (await client.get(made.headers["location"], headers=ASYNC)).status_code == 200
    assert (await client.get("_job/unknown")).status_code == 404


async def test_a_batch_answered_later(client: httpx.AsyncClient) -> None:
    entries = [{"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
               {"request": {"method": "GET", "url": "Patient/none"}}]  # fmt: skip
    taken = await client.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}, headers=ASYNC)
    assert taken.status_code == 202
    (entry,) = (await finished(client, taken.headers["content-location"])).json()["entry"]
    assert [e["response"]["status"][:3] for e in entry["resource"]["entry"]] == ["201", "404"]
