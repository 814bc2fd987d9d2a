"""Patient/$everything and Encounter/$everything."""

import asyncio
from typing import Any

import httpx

from tests.rest.bundles import Json, done, entry, observation, patient

ORGANIZATION: Json = {"resourceType": "Organization", "name": "x"}


def resources() -> list[Json]:
    encounter: Json = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
        "participant": [{"individual": {"reference": "Practitioner/d"}}],
        "location": [{"location": {"reference": "Location/l"}}],
    }
    document = {
        "resourceType": "DocumentReference",
        "id": "dr",
        "status": "current",
        "subject": {"reference": "Patient/p"},
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/b"}}],
    }
    return [
        patient(
            id="p", managingOrganization={"reference": "Organization/o"}, link=[{"other": {"reference": "Patient/q"}, "type": "seealso"}]
        ),
        patient(id="q"),
        ORGANIZATION | {"id": "o", "partOf": {"reference": "Organization/above"}},
        ORGANIZATION | {"id": "above"},
        ORGANIZATION | {"id": "unrelated"},
        {"resourceType": "Practitioner", "id": "d"},
        {"resourceType": "Location", "id": "l"},
        encounter | {"id": "e1", "period": {"start": "2020-01-01", "end": "2020-01-02"}},
        encounter | {"id": "e2", "period": {"start": "2021-01-01"}},
        observation("Patient/p", id="o1", effectiveDateTime="2020-01-01", encounter={"reference": "Encounter/e1"}),
        observation("Patient/p", id="o2", effectiveDateTime="2021-06-01", hasMember=[{"reference": "Observation/other"}]),
        observation("Patient/p", id="o3"),
        observation("Patient/q", id="other"),
        {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "eA=="},
        document,
    ]


ALL = {
    "Patient/p", "Organization/o", "Organization/above", "Practitioner/d", "Location/l", "Encounter/e1", "Encounter/e2", "Observation/o1",
    "Observation/o2", "Observation/o3", "Binary/b", "DocumentReference/dr",
}  # fmt: skip


async def store(client: httpx.AsyncClient) -> None:
    await done(client, *[entry("PUT", f"{r['resourceType']}/{r['id']}", r) for r in resources()])


def names(body: Json) -> list[str]:
    return [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in body.get("entry", [])]


async def everything(client: httpx.AsyncClient, url: str) -> Json:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    assert body["type"] == "searchset"
    return body


async def test_the_record_with_what_supports_it(client: httpx.AsyncClient) -> None:
    await store(client)
    body = await everything(client, "Patient/p/$everything")
    found = names(body)
    assert sorted(found) == sorted(ALL)
    assert found[0] == "Patient/p"
    modes = {names({"entry": [e]})[0]: e["search"]["mode"] for e in body["entry"]}
    assert modes["Observation/o1"] == "match"
    assert modes["Practitioner/d"] == "include"
    assert body["total"] == 7
    assert body["entry"][0]["fullUrl"] == "http://hub.test/fhir/Patient/p"


async def test_pages_neither_repeat_nor_skip(client: httpx.AsyncClient) -> None:
    await store(client)
    found: list[str] = []
    body = await everything(client, "Patient/p/$everything?_count=2")
    pages = 1
    while True:
        found += names(body)
        assert sum(e["search"]["mode"] == "match" for e in body["entry"]) <= 2
        onward = [link["url"] for link in body["link"] if link["relation"] == "next"]
        if not onward:
            break
        body, pages = await everything(client, onward[0]), pages + 1
    assert sorted(found) == sorted(ALL)
    assert pages >= 3


async def test_a_page_link_cannot_be_made_up_or_moved(client: httpx.AsyncClient) -> None:
    await store(client)
    body = await everything(client, "Patient/p/$everything?_count=2")
    onward = next(link["url"] for link in body["link"] if link["relation"] == "next")
    assert (await client.get(onward.replace("Patient/p/", "Patient/q/"))).status_code == 400
    assert (await client.get(onward.replace("_page=", "_page=x"))).status_code == 400


async def test_types(client: httpx.AsyncClient) -> None:
    await store(client)
    assert sorted(names(await everything(client, "Patient/p/$everything?_type=Observation,Encounter"))) == [
        "Encounter/e1", "Encounter/e2", "Observation/o1", "Observation/o2", "Observation/o3",
    ]  # fmt: skip
    assert names(await everything(client, "Patient/p/$everything?_type=Practitioner&_type=Device")) == ["Practitioner/d"]
    assert (await client.get("Patient/p/$everything?_type=Nonsense")).status_code == 400


async def test_care_dates(client: httpx.AsyncClient) -> None:
    await store(client)
    found = names(await everything(client, "Patient/p/$everything?start=2021-01-01"))
    assert {"Patient/p", "Encounter/e2", "Observation/o2", "Observation/o3"} <= set(found)
    assert not {"Encounter/e1", "Observation/o1"} & set(found)
    found = names(await everything(client, "Patient/p/$everything?start=2020-01-01&end=2020-12-31"))
    assert {"Encounter/e1", "Observation/o1"} <= set(found)
    assert not {"Encounter/e2", "Observation/o2"} & set(found)
    assert (await client.get("Patient/p/$everything?start=2021&end=2020")).status_code == 400
    assert (await client.get("Patient/p/$everything?start=never")).status_code == 400


async def test_since(client: httpx.AsyncClient) -> None:
    await store(client)
    await asyncio.sleep(0.01)
    later = (await client.put("Observation/o1", json=observation("Patient/p", id="o1"))).json()["meta"]["lastUpdated"]
    await client.put("Practitioner/d", json={"resourceType": "Practitioner", "id": "d", "active": True})
    found = names(await everything(client, f"Patient/p/$everything?_since={later.replace('+', '%2B')}"))
    # A practitioner that changed is told although nothing that refers to it did.
    assert sorted(found) == ["Observation/o1", "Practitioner/d"]


async def test_everything_of_an_encounter(client: httpx.AsyncClient) -> None:
    await store(client)
    found = names(await everything(client, "Encounter/e1/$everything"))
    assert found[0] == "Encounter/e1"
    assert {"Encounter/e1", "Observation/o1", "Patient/p", "Practitioner/d", "Location/l"} <= set(found)
    assert not {"Encounter/e2", "Observation/o2"} & set(found)
    assert (await client.get("Encounter/e1/$everything?start=2020")).status_code == 400


async def test_post_takes_parameters(client: httpx.AsyncClient) -> None:
    await store(client)
    given: list[dict[str, Any]] = [{"name": "_type", "valueCode": "Observation"}, {"name": "start", "valueDate": "2021"}]
    response = await client.post("Patient/p/$everything", json={"resourceType": "Parameters", "parameter": given})
    assert sorted(names(response.json())) == ["Observation/o2", "Observation/o3"]


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("Patient/never/$everything")).status_code == 404
    await client.put("Patient/gone", json=patient(id="gone"))
    await client.delete("Patient/gone")
    assert (await client.get("Patient/gone/$everything")).status_code == 410
    assert (await client.get("Patient/p/$everything?nonsense=1")).status_code == 400
    assert (await client.get("Observation/o1/$everything")).status_code == 404
