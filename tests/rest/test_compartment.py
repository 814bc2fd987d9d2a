"""search within a compartment (R4 http.html#vsearch, compartmentdefinition.html)."""

from typing import Any

import httpx
import pytest


@pytest.fixture
async def records(client: httpx.AsyncClient) -> dict[str, str]:
    for id in ("a", "b"):
        await client.put(f"Patient/{id}", json={"resourceType": "Patient", "id": id})
        for n in range(2):
            observation: dict[str, Any] = {"resourceType": "Observation", "id": f"{id}{n}", "status": "final", "code": {"text": "x"},
                                           "subject": {"reference": f"Patient/{id}"}}  # fmt: skip
            assert (await client.put(f"Observation/{id}{n}", json=observation)).status_code == 201
    await client.put("Condition/c", json={"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/a"}})
    return {"a": "Patient/a", "b": "Patient/b"}


async def found(client: httpx.AsyncClient, path: str, **query: str) -> list[str]:
    response = await client.get(path, params=query)
    assert response.status_code == 200, response.text
    return sorted(f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in response.json().get("entry", ()))


async def test_one_type_of_a_compartment(client: httpx.AsyncClient, records: dict[str, str]) -> None:
    assert await found(client, "Patient/a/Observation") == ["Observation/a0", "Observation/a1"]
    assert await found(client, "Patient/a/Observation", _id="a1,b1") == ["Observation/a1"]
    assert await found(client, "Patient/none/Observation") == []
    form = await client.post("Patient/a/Observation/_search", data={"_id": "a0"})
    assert [e["resource"]["id"] for e in form.json()["entry"]] == ["a0"]


async def test_all_of_a_compartment(client: httpx.AsyncClient, records: dict[str, str]) -> None:
    assert await found(client, "Patient/a/*") == ["Condition/c", "Observation/a0", "Observation/a1", "Patient/a"]


async def test_pages_of_a_compartment(client: httpx.AsyncClient, records: dict[str, str]) -> None:
    first = (await client.get("Patient/a/Observation", params={"_count": "1"})).json()
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    assert url.startswith("http://hub.test/fhir/Patient/a/Observation?")
    second = (await client.get(url)).json()
    assert {e["resource"]["id"] for e in first["entry"] + second["entry"]} == {"a0", "a1"}
    assert (await client.get(url.replace("Patient/a/", "Patient/b/"))).status_code == 400


async def test_what_is_no_compartment(client: httpx.AsyncClient) -> None:
    assert (await client.get("Organization/a/Observation")).status_code == 400
    assert (await client.get("Patient/a/Medication")).status_code == 400
    assert (await client.get("Patient/a/Nonsense")).status_code == 404
