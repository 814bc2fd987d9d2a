"""$everything, $lastn, $meta*, $graphql, $validate, Binary and asynchronous requests, by their definitions in R4."""

import asyncio
import json
from typing import Any

import httpx

from tests.conformance.asking import Asking, observation, patient


def ids(bundle: Any) -> set[str]:
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle.get("entry", ())}


async def test_everything_brings_what_the_record_refers_to(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(
        {"resourceType": "Organization", "id": "bv", "name": "x"},
        {"resourceType": "Practitioner", "id": "dr"},
        {"resourceType": "Medication", "id": "med"},
        patient("1", managingOrganization={"reference": "Organization/bv"}),
        patient("2"),
        observation("o", subject={"reference": "Patient/1"}, performer=[{"reference": "Practitioner/dr"}], effectiveDateTime="2024-01-01"),
        observation("other", subject={"reference": "Patient/2"}),
        {
            "resourceType": "MedicationRequest",
            "id": "m",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/1"},
            "medicationReference": {"reference": "Medication/med"},
        },
    )
    bundle = (await client.get("Patient/1/$everything")).json()
    assert bundle["type"] == "searchset"
    assert ids(bundle) == {"Patient/1", "Observation/o", "MedicationRequest/m", "Medication/med", "Organization/bv", "Practitioner/dr"}
    found = ids((await client.get("Patient/1/$everything?start=2025-01-01")).json())
    assert "Observation/o" not in found
    assert "Patient/1" in found
    assert ids((await client.get("Patient/1/$everything?_type=Observation")).json()) == {"Observation/o"}
    assert await ask.status("Patient/none/$everything") == 404
    everybody = await client.get("Patient/$everything")
    assert everybody.status_code in (200, 404)


async def test_lastn_by_code_and_max(ask: Asking, client: httpx.AsyncClient) -> None:
    for n in range(4):
        await ask.put(observation(f"a{n}", subject={"reference": "Patient/1"}, effectiveDateTime=f"2024-01-0{n + 1}"))
    code = {"coding": [{"system": "http://loinc.org", "code": "other"}]}
    await ask.put(patient("1"), observation("b", subject={"reference": "Patient/1"}, effectiveDateTime="2000", code=code))
    assert ids((await client.get("Observation/$lastn?patient=Patient/1&code=8867-4,other")).json()) == {"Observation/a3", "Observation/b"}
    assert ids((await client.get("Observation/$lastn?subject=Patient/1&max=2&code=8867-4")).json()) == {"Observation/a3", "Observation/a2"}


async def test_meta_makes_no_change_of_content(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", meta={"tag": [{"system": "http://t", "code": "a"}]}, active=True))
    add = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"system": "http://t", "code": "b"}]}}]}
    answer = await client.post("Patient/1/$meta-add", json=add)
    assert answer.status_code == 200, answer.text
    assert {t["code"] for t in answer.json()["parameter"][0]["valueMeta"]["tag"]} == {"a", "b"}
    assert await ask.found("Patient?_tag=http://t|b") == "1"
    assert (await client.post("Patient/1/$meta-delete", json=add)).status_code == 200
    assert await ask.found("Patient?_tag=http://t|b") == ""
    assert (await client.get("Patient/1")).json()["active"] is True
    assert (await client.get("Patient/1/$meta")).json()["resourceType"] == "Parameters"


async def test_graphql_of_a_reference_and_a_list(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", name=[{"family": "Đặng"}]), observation("o", subject={"reference": "Patient/1"}))
    query = '{ Observation(id: "o") { id subject { resource { ... on Patient { name { family } } } } } PatientList(name: "dang") { id } }'
    answer = (await client.post("$graphql", json={"query": query})).json()
    assert answer["data"]["Observation"]["subject"]["resource"]["name"] == [{"family": "Đặng"}]
    assert answer["data"]["PatientList"] == [{"id": "1"}]
    one = (await client.get("Observation/o/$graphql", params={"query": "{ id status }"})).json()
    assert one["data"] == {"id": "o", "status": "final"}


async def test_validate_modes(client: httpx.AsyncClient) -> None:
    wrong = await client.post("Patient/$validate", json={"resourceType": "Patient", "gender": "x", "birthDate": "1999-02-30"})
    assert wrong.status_code == 200
    assert {e for i in wrong.json()["issue"] for e in i.get("expression", ())} >= {"Patient.gender", "Patient.birthDate"}
    right = await client.post("Patient/$validate", json={"resourceType": "Patient"})
    assert all(i["severity"] in ("information", "warning") for i in right.json()["issue"])


async def test_binary_by_accept(client: httpx.AsyncClient) -> None:
    made = await client.post(
        "Binary", content=b"%PDF \x00\xff", headers={"Content-Type": "application/pdf", "X-Security-Context": "Patient/1"}
    )
    assert made.status_code == 201, made.text
    where = made.headers["location"].split("/_history")[0]
    raw = await client.get(where, headers={"Accept": "application/pdf"})
    assert (raw.content, raw.headers["content-type"]) == (b"%PDF \x00\xff", "application/pdf")
    assert (await client.get(where)).content == b"%PDF \x00\xff"
    as_fhir = (await client.get(where, headers={"Accept": "application/fhir+json"})).json()
    assert as_fhir["contentType"] == "application/pdf"
    assert as_fhir["data"] == "JVBERiAA/w=="
    # R4 binary.html#security-context: the header and the element are one.
    assert as_fhir.get("securityContext", {}).get("reference") == "Patient/1"
    assert raw.headers.get("x-security-context", "").endswith("Patient/1")
    xml = await client.get(where, headers={"Accept": "application/fhir+xml"})
    assert b"JVBERiAA/w==" in xml.content
    part = await client.get(where, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"PDF", "bytes 1-3/7")
    bundle = (await client.get("Binary?_id=" + where.rsplit("/", 1)[1])).json()
    assert bundle["entry"][0]["resource"]["resourceType"] == "Binary"


async def test_asynchronous_search(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    kicked = await client.get("Patient?_id=1", headers={"Prefer": "respond-async"})
    assert kicked.status_code == 202
    where = kicked.headers["content-location"]
    for _ in range(100):
        answer = await client.get(where)
        if answer.status_code != 202:
            break
        assert answer.headers.get("x-progress") or answer.headers.get("retry-after")
        await asyncio.sleep(0.02)
    assert answer.status_code == 200
    assert json.dumps(answer.json()).count('"id": "1"') >= 1
    assert (await client.delete(where)).status_code in (202, 204)
    assert (await client.get(where)).status_code == 404


async def test_operations_take_get_post_and_forms(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"), observation("o", subject={"reference": "Patient/1"}))
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Observation"}]}
    for answer in (
        await client.get("Patient/1/$everything?_type=Observation"),
        await client.post("Patient/1/$everything", json=parameters),
        await client.post("Patient/1/$everything", data={"_type": "Observation"}),
        await client.post("Patient/1/$everything?_type=Observation"),
    ):
        assert answer.status_code == 200, answer.text
        assert ids(answer.json()) == {"Observation/o"}
    assert await ask.status("Patient/1/$nothing") in (400, 404)
    assert (await client.get("Patient/1/$meta-add")).status_code == 405


async def test_fhirpath_patch_in_both_formats(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", birthDate="1990", name=[{"family": "A"}]))
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Patient.birthDate"},
                    {"name": "value", "valueDate": "1930-01-01"},
                ],
            }
        ],
    }
    answer = await client.patch("Patient/1", json=parameters, headers={"Content-Type": "application/fhir+json"})
    assert answer.json()["birthDate"] == "1930-01-01"
    xml = """<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>
      <part><name value="type"/><valueCode value="delete"/></part>
      <part><name value="path"/><valueString value="Patient.birthDate"/></part></parameter></Parameters>"""
    answer = await client.patch("Patient/1", content=xml, headers={"Content-Type": "application/fhir+xml"})
    assert "birthDate" not in answer.json()
