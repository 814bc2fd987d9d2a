"""$validate answers 200 with an OperationOutcome whenever it could tell."""

from typing import Any

import httpx

from tests.rest.bundles import expressions, patient


async def outcome(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["resourceType"] == "OperationOutcome"
    issues: list[dict[str, Any]] = body["issue"]
    return issues


def parameters(**values: Any) -> dict[str, Any]:
    listed = [
        {"name": n, "resource": v} if n == "resource" else {"name": n, "valueUri" if n == "profile" else "valueCode": v}
        for n, v in values.items()
    ]
    return {"resourceType": "Parameters", "parameter": listed}


async def test_a_valid_resource(client: httpx.AsyncClient) -> None:
    assert [i["severity"] for i in await outcome(await client.post("Patient/$validate", json=patient()))] == ["information"]
    assert [i["severity"] for i in await outcome(await client.post("Patient/$validate", json=parameters(resource=patient())))] == [
        "information"
    ]
    assert (await client.get("Patient", params={"_summary": "count"})).json()["total"] == 0


async def test_every_problem_is_named(client: httpx.AsyncClient) -> None:
    issues = await outcome(
        await client.post("Patient/$validate", json=parameters(resource=patient(birthDate="x", nonsense=1), mode="create"))
    )
    assert "Patient.birthDate" in expressions(issues)
    assert len(issues) >= 2
    issues = await outcome(await client.post("Observation/$validate", json=patient()))
    assert issues[0]["severity"] == "error"


async def test_update_and_delete_of_one_resource(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    fine = await outcome(await client.post("Patient/a/$validate", json=parameters(resource=patient(id="a"), mode="update")))
    assert fine[0]["severity"] == "information"
    wrong = await outcome(await client.post("Patient/a/$validate", json=parameters(resource=patient(id="b"), mode="update")))
    assert expressions(wrong) == ["Patient.id"]
    assert (await outcome(await client.post("Patient/a/$validate", json=parameters(mode="delete"))))[0]["severity"] == "information"
    assert (await outcome(await client.post("Patient/never/$validate", json=parameters(mode="delete"))))[0]["severity"] == "error"
    stale = await client.post("Patient/a/$validate", json=parameters(mode="delete"), headers={"If-Match": 'W/"7"'})
    assert (await outcome(stale))[0]["code"] == "conflict"
    assert (await client.get("Patient/a")).status_code == 200


async def test_what_is_stored_can_be_validated(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    assert (await outcome(await client.get("Patient/a/$validate")))[0]["severity"] == "information"
    assert (await client.get("Patient/never/$validate")).status_code == 404


async def test_profiles(client: httpx.AsyncClient) -> None:
    base = "http://hl7.org/fhir/StructureDefinition/"
    assert (await client.post("Patient/$validate", json=parameters(resource=patient(), profile=base + "Patient"))).status_code == 200
    assert (await client.post("Patient/$validate", json=parameters(resource=patient(), profile=base + "Group"))).status_code == 400
    assert (await client.post("Patient/$validate", json=parameters(resource=patient(), profile="http://example.org/p"))).status_code == 422


async def test_what_validate_refuses(client: httpx.AsyncClient) -> None:
    assert (await client.post("Patient/$validate")).status_code == 400
    assert (await client.post("Patient/$validate", json=parameters(resource=patient(), mode="nonsense"))).status_code == 400
    assert (await client.post("Patient/$validate", json=parameters(resource=patient(), mode="update"))).status_code == 400
    assert (await client.post("Patient/$validate", content="{", headers={"Content-Type": "application/json"})).status_code == 400
