"""batch: every entry its own outcome (R4 http.html#brules)."""

import base64
from typing import Any

import httpx

from tests.rest.bundles import A, B, bundle, entry, expressions, identified, json_patch, name_of, observation, patient, send, statuses


async def batch(client: httpx.AsyncClient, *entries: Any, **headers: str) -> list[dict[str, Any]]:
    response = await send(client, "batch", *entries, **headers)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["type"] == "batch-response"
    found: list[dict[str, Any]] = body.get("entry", [])
    assert len(found) == len(entries)
    return found


async def test_an_empty_batch(client: httpx.AsyncClient) -> None:
    assert await batch(client) == []


async def test_each_entry_succeeds_or_fails_for_itself(client: httpx.AsyncClient) -> None:
    found = await batch(
        client,
        entry("POST", "Patient", patient()),
        entry("POST", "Patient", patient(birthDate="never")),
        entry("GET", "Patient/never"),
        entry("PUT", "Patient/a", patient(id="a")),
        entry("PUT", "Patient/b", patient(id="other")),
        {"request": {"method": "SHOVE", "url": "Patient"}},
        entry("DELETE", "Patient/never"),
        entry("GET", "metadata"),
    )
    assert statuses(found) == ["201", "400", "404", "201", "400", "400", "204", "200"]
    assert found[0]["response"]["etag"] == 'W/"1"'
    assert name_of(found[0]).startswith("Patient/")
    assert "lastModified" in found[0]["response"]
    for n in (1, 2, 4, 5):
        assert found[n]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert expressions(found[1]["response"]["outcome"]["issue"]) == ["Patient.birthDate"]
    assert found[7]["resource"]["resourceType"] == "CapabilityStatement"


async def test_reads_come_after_writes_as_in_a_transaction(client: httpx.AsyncClient) -> None:
    found = await batch(client, entry("GET", "Patient/a"), entry("PUT", "Patient/a", patient(id="a")))
    assert statuses(found) == ["200", "201"]
    assert found[0]["resource"]["id"] == "a"
    assert found[0]["fullUrl"] == "http://hub.test/fhir/Patient/a"


async def test_conditions_and_versions_hold_in_each_entry(client: httpx.AsyncClient) -> None:
    one = entry("POST", "Patient", patient(**identified("1")), ifNoneExist="identifier=http://example.org/mrn|1")
    found = await batch(client, one, one)
    assert sorted(statuses(found)) == ["200", "201"]
    await client.put("Patient/a", json=patient(id="a"))
    add = json_patch({"op": "add", "path": "/active", "value": True})
    found = await batch(
        client,
        entry("PUT", "Patient/a", patient(id="a"), ifMatch='W/"7"'),
        entry("PATCH", "Patient/a", add, ifMatch='W/"1"'),
        entry("GET", "Patient/a", ifNoneMatch='W/"2"'),
        entry("GET", "Patient?identifier=1"),
        entry("PUT", "Patient?identifier=1", patient(active=True, **identified("1"))),
    )
    assert statuses(found) == ["412", "200", "304", "200", "200"]
    assert found[3]["resource"]["total"] == 1 if "total" in found[3]["resource"] else len(found[3]["resource"]["entry"]) == 1


async def test_prefer_holds_for_every_entry(client: httpx.AsyncClient) -> None:
    found = await batch(client, entry("POST", "Patient", patient()), Prefer="return=representation")
    assert found[0]["resource"]["resourceType"] == "Patient"
    found = await batch(client, entry("POST", "Patient", patient()))
    assert "resource" not in found[0]
    found = await batch(client, entry("POST", "Patient", patient()), Prefer="return=OperationOutcome")
    assert found[0]["response"]["outcome"]["resourceType"] == "OperationOutcome"


async def test_entries_cannot_name_one_another(client: httpx.AsyncClient) -> None:
    found = await batch(client, entry("POST", "Patient", patient(), A), entry("POST", "Observation", observation(A), B))
    assert statuses(found) == ["201", "400"]
    assert expressions(found[1]["response"]["outcome"]["issue"]) == ["Bundle.entry[1].resource.subject.reference"]


async def test_operations_searches_and_history(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    found = await batch(
        client,
        entry("GET", "Patient/a/$meta"),
        entry("GET", "Patient/a/_history"),
        entry("GET", "Patient/a/_history/1"),
        entry("POST", "Patient/_search?_id=a"),
        entry("GET", "Patient/a/$nonsense"),
        entry("GET", ""),
    )
    assert statuses(found)[:5] == ["200", "200", "200", "200", "404"]


async def test_what_is_no_fhir_comes_as_binary(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    await client.put("Binary/b", content=b"\x00\x01", headers={"Content-Type": "image/png"})
    found = await batch(
        client, entry("GET", "Patient/a/$graphql?query={id}"), entry("GET", "Binary/b"), entry("GET", "Patient/never/$graphql?query={id}")
    )
    assert statuses(found) == ["200", "200", "404"]
    assert base64.b64decode(found[0]["resource"]["data"]) == b'{"data":{"id":"a"}}'
    assert found[0]["resource"]["contentType"] == "application/json"
    assert (found[1]["resource"]["contentType"], found[1]["resource"]["data"]) == ("image/png", "AAE=")


async def test_a_batch_within_a_batch_is_refused(client: httpx.AsyncClient) -> None:
    found = await batch(client, {"request": {"method": "POST", "url": ""}, "resource": bundle("batch")})
    assert statuses(found) == ["400"]


async def test_a_large_batch_keeps_its_order(client: httpx.AsyncClient) -> None:
    found = await batch(client, *[entry("PUT", f"Patient/p{n}", patient(id=f"p{n}")) for n in range(300)])
    assert [name_of(e) for e in found] == [f"Patient/p{n}" for n in range(300)]


async def test_entries_for_one_resource_are_done_in_order(client: httpx.AsyncClient) -> None:
    found = await batch(client, *[entry("PUT", "Patient/a", patient(id="a", birthDate=f"19{n:02}")) for n in range(20)])
    assert [e["response"]["etag"] for e in found] == [f'W/"{n}"' for n in range(1, 21)]
    assert (await client.get("Patient/a")).json()["birthDate"] == "1919"
