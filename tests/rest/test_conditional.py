"""Conditional create, update, patch and delete with none, one and several matches (R4 http.html#ccreate, #cond-update)."""

import asyncio
from typing import Any

import httpx
import pytest

from health_hub.rest.app import FhirApp
from health_hub.settings import Settings

CCCD = "http://example.vn/cccd"


def patient(value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": CCCD, "value": value}], **more}


def where(value: str) -> dict[str, str]:
    return {"identifier": f"{CCCD}|{value}"}


async def test_conditional_create(client: httpx.AsyncClient) -> None:
    header = {"If-None-Exist": f"identifier={CCCD}|1"}
    first = await client.post("Patient", json=patient("1"), headers=header)
    assert first.status_code == 201
    again = await client.post("Patient", json=patient("1"), headers=header)
    assert (again.status_code, again.headers["location"]) == (200, first.headers["location"])
    assert again.json() == first.json()
    await client.post("Patient", json=patient("1"))
    several = await client.post("Patient", json=patient("1"), headers=header)
    assert (several.status_code, several.json()["issue"][0]["code"]) == (412, "multiple-matches")


async def test_conditional_create_by_the_url(client: httpx.AsyncClient) -> None:
    answers = [await client.post("Patient", params=where("1"), json=patient("1")) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 200]
    assert (await client.post("Patient", params={"colour": "blue"}, json=patient("1"))).status_code == 400
    assert (await client.post("Patient", params={"_format": "json"}, json=patient("1"))).status_code == 201


async def test_conditional_create_by_many_at_once_makes_one(client: httpx.AsyncClient) -> None:
    header = {"If-None-Exist": f"identifier={CCCD}|2"}
    answers = await asyncio.gather(*[client.post("Patient", json=patient("2"), headers=header) for _ in range(20)])
    assert sorted(a.status_code for a in answers) == [200] * 19 + [201]
    assert len({a.headers["location"] for a in answers}) == 1


@pytest.mark.parametrize("header", ["", "nonsense=1", "_count=1", "identifier", "birthdate=2013-13-01"])
async def test_a_condition_that_says_nothing_certain_is_refused(client: httpx.AsyncClient, header: str) -> None:
    response = await client.post("Patient", json=patient("3"), headers={"If-None-Exist": header})
    assert (response.status_code, response.json()["resourceType"]) == (400, "OperationOutcome")


async def test_conditional_update(client: httpx.AsyncClient) -> None:
    none = await client.put("Patient", params=where("4"), json=patient("4"))
    assert none.status_code == 201
    id = none.json()["id"]
    one = await client.put("Patient", params=where("4"), json=patient("4", active=True))
    assert (one.status_code, one.json()["id"], one.json()["active"]) == (200, id, True)
    same = await client.put("Patient", params=where("4"), json=patient("4", id=id))
    assert same.status_code == 200
    other = await client.put("Patient", params=where("4"), json=patient("4", id="other"))
    assert other.status_code == 400
    stale = await client.put("Patient", params=where("4"), json=patient("4"), headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    await client.post("Patient", json=patient("4"))
    assert (await client.put("Patient", params=where("4"), json=patient("4"))).status_code == 412
    assert (await client.put("Patient", json=patient("4"))).status_code == 400


async def test_conditional_update_without_match_takes_the_id_of_the_body(client: httpx.AsyncClient) -> None:
    made = await client.put("Patient", params=where("5"), json=patient("5", id="five"))
    assert (made.status_code, made.json()["id"]) == (201, "five")
    taken = await client.put("Patient", params=where("6"), json=patient("6", id="five"))
    assert taken.status_code == 409


async def test_conditional_patch(client: httpx.AsyncClient) -> None:
    body = {"active": True}
    assert (await client.patch("Patient", params=where("7"), json=body)).status_code == 404
    await client.post("Patient", json=patient("7"))
    one = await client.patch("Patient", params=where("7"), json=body)
    assert (one.status_code, one.json()["active"]) == (200, True)
    await client.post("Patient", json=patient("7"))
    assert (await client.patch("Patient", params=where("7"), json=body)).status_code == 412


async def test_conditional_delete(client: httpx.AsyncClient) -> None:
    assert (await client.delete("Patient", params=where("8"))).status_code == 204
    made = (await client.post("Patient", json=patient("8"))).json()
    assert (await client.delete("Patient", params=where("8"))).status_code == 204
    assert (await client.get(f"Patient/{made['id']}")).status_code == 410
    await client.post("Patient", json=patient("9"))
    await client.post("Patient", json=patient("9"))
    assert (await client.delete("Patient", params=where("9"))).status_code == 412
    assert (await client.delete("Patient")).status_code == 400


async def test_conditional_delete_of_several_where_it_is_allowed(app: FhirApp) -> None:
    app = FhirApp(app.hub.store, Settings(conditional_delete="multiple"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test/fhir/") as client:
        made = [(await client.post("Patient", json=patient("10"))).json()["id"] for _ in range(3)]
        assert (await client.delete("Patient", params=where("10"))).status_code == 204
        assert {(await client.get(f"Patient/{id}")).status_code for id in made} == {410}
