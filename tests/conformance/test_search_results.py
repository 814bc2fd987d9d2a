"""Chains, _has, includes, sorting, paging, summaries and the other result parameters (R4 search.html)."""

import json
from typing import Any

import httpx
import pytest

from tests.conformance.asking import Asking, observation, patient


@pytest.fixture
async def ward(ask: Asking) -> Asking:
    await ask.put(
        {"resourceType": "Organization", "id": "bv", "name": "Bệnh viện Huế", "partOf": {"reference": "Organization/so"}},
        {"resourceType": "Organization", "id": "so", "name": "Sở Y tế"},
        {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Trần"}]},
        patient(
            "p1",
            name=[{"family": "Nguyễn"}],
            birthDate="1980-01-01",
            managingOrganization={"reference": "Organization/bv"},
            generalPractitioner=[{"reference": "Practitioner/dr"}],
            gender="male",
        ),
        patient(
            "p2",
            name=[{"family": "Lê"}],
            birthDate="1970-05-05",
            gender="female",
            link=[{"other": {"reference": "Patient/p1"}, "type": "seealso"}],
        ),
        patient("p3", name=[{"family": "Nguyễn"}], birthDate="1990-05-05"),
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1"}},
        observation(
            "o1",
            subject={"reference": "Patient/p1"},
            encounter={"reference": "Encounter/e1"},
            effectiveDateTime="2024-01-01",
            performer=[{"reference": "Practitioner/dr"}],
        ),
        observation("o2", subject={"reference": "Patient/p2"}, effectiveDateTime="2024-02-01", hasMember=[{"reference": "Observation/o1"}]),
        observation("o3", subject={"reference": "Patient/p2"}, effectiveDateTime="2023-02-01", code={"text": "other"}),
    )
    return ask


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("Observation?subject:Patient.family=nguyen", "o1"),
        ("Observation?subject.name=le", "o2 o3"),
        ("Observation?patient.organization.name=benh", "o1"),
        ("Observation?patient.organization.partof.name=so", "o1"),
        ("Observation?patient.general-practitioner.family=tran", "o1"),
        ("Observation?patient.birthdate=lt1975&patient.gender=female", "o2 o3"),
        ("Observation?encounter.patient.family=nguyen", "o1"),
        ("Patient?_has:Observation:patient:code=8867-4", "p1 p2"),
        ("Patient?_has:Observation:patient:code:text=other", "p2"),
        ("Patient?_has:Observation:patient:_has:Observation:has-member:date=2024-02-01", "p1"),
        ("Patient?_has:Observation:subject:encounter.status=finished", "p1"),
        ("Practitioner?_has:Patient:general-practitioner:family=nguyen", "dr"),
        ("Practitioner?_has:Patient:general-practitioner:_has:Encounter:patient:status=finished", "dr"),
        ("Patient?_has:Observation:patient:code=8867-4&_has:Observation:patient:date=2023", "p2"),
        ("Patient?link.family=nguyen", "p2"),
        ("Patient?family=nguyen&birthdate=ge1985", "p3"),
        ("Patient?_id=p1,p2", "p1 p2"),
        ("Observation?subject=Patient/p1,Patient/p2&date=2024-02", "o2"),
        ("Observation?_filter=code eq 8867-4 and date ge 2024-01-15", "o2"),
        ("Patient?_filter=family sw ngu and not (birthdate gt 1985)", "p1"),
        ("Patient?_filter=gender eq female or birthdate eq 1990-05-05", "p2 p3"),
        ('Patient?_filter=family eq "Nguyễn"', "p1 p3"),
        ("Patient?_filter=family co guy", "p1 p3"),
        ("Patient?_filter=gender pr false", "p3"),
        ("Patient?_filter=gender ne female", "p1"),  # search_filter.html: an item in the set has an unequal value
    ],
)
async def test_matches(ward: Asking, query: str, ids: str) -> None:
    assert await ward.found(query) == ids


async def test_system_search(ward: Asking) -> None:
    assert await ward.found("?_type=Patient,Practitioner&_lastUpdated=gt2020") == "dr p1 p2 p3"
    assert await ward.found("?_type=Patient,Practitioner&family=tran") == "dr"
    assert await ward.found("?_id=p1") == "p1"
    # R4 http.html#vsearch: a parameter that is not one of every type listed is an error.
    assert await ward.status("?_type=Patient,Observation&birthdate=2000") == 400
    assert await ward.status("?_type=Patient,Nonsense") == 400


async def test_includes(ward: Asking) -> None:
    assert await ward.included("Observation?_id=o1&_include=Observation:patient") == {"Patient/p1"}
    assert await ward.included("Observation?_id=o1&_include=Observation:subject:Patient") == {"Patient/p1"}
    assert await ward.included("Observation?_id=o1&_include=Observation:subject:Group") == set()
    assert await ward.included("Observation?_id=o1&_include=*") == {"Patient/p1", "Encounter/e1", "Practitioner/dr"}
    assert await ward.included("Observation?_id=o1&_include=Observation:*") == {"Patient/p1", "Encounter/e1", "Practitioner/dr"}
    assert await ward.included("Observation?_id=o1&_include=Observation:patient&_include=Patient:organization") == {"Patient/p1"}
    found = await ward.included(
        "Observation?_id=o1&_include=Observation:patient&_include:iterate=Patient:organization&_include:iterate=Organization:partof"
    )
    assert found == {"Patient/p1", "Organization/bv", "Organization/so"}
    assert await ward.included("Patient?_id=p1&_revinclude=Observation:patient") == {"Observation/o1"}
    assert await ward.included("Patient?_id=p1&_revinclude=Observation:subject&_revinclude=Encounter:subject") == {
        "Observation/o1",
        "Encounter/e1",
    }
    assert await ward.included("Patient?_id=p1&_revinclude=Encounter:patient&_revinclude:iterate=Observation:encounter") == {
        "Encounter/e1", "Observation/o1"}  # fmt: skip
    # A match is not included again.
    assert await ward.included("Patient?_id=p1,p2&_include=Patient:link") == set()
    bundle = await ward.bundle("Observation?_include=Observation:patient&_count=2")
    assert sum(e["search"]["mode"] == "match" for e in bundle["entry"]) == 2
    assert len({e["fullUrl"] for e in bundle["entry"]}) == len(bundle["entry"])


async def test_include_of_versioned_references_gives_that_version_or_the_current(ask: Asking) -> None:
    await ask.put(patient("1"), patient("1", active=True), observation("a", subject={"reference": "Patient/1/_history/1"}))
    bundle = await ask.bundle("Observation?_include=Observation:subject")
    included = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "include"]
    assert [r["id"] for r in included] == ["1"]


async def test_sorting(ward: Asking) -> None:
    assert await ward.ids("Patient?_sort=birthdate") == ["p2", "p1", "p3"]
    assert await ward.ids("Patient?_sort=-birthdate") == ["p3", "p1", "p2"]
    assert await ward.ids("Patient?_sort=family,-birthdate") == ["p2", "p3", "p1"]
    assert await ward.ids("Patient?_sort=-family,birthdate&_count=1") == ["p1", "p3", "p2"]
    assert (await ward.ids("Patient?_sort=gender"))[:2] == ["p2", "p1"]
    assert await ward.ids("Patient?_sort=-_id&_count=2") == ["p3", "p2", "p1"]
    assert await ward.ids("Observation?_sort=-date&_count=1") == ["o2", "o1", "o3"]
    assert await ward.ids("Patient?_sort=_lastUpdated") == ["p1", "p2", "p3"]
    assert await ward.ids("Patient?_sort=-_lastUpdated&_count=2") == ["p3", "p2", "p1"]
    assert await ward.status("Patient?_sort=nonsense", Prefer="handling=strict") == 400


async def test_totals_and_counts(ward: Asking) -> None:
    for query in ("Patient?_total=accurate&_count=1", "Patient?_summary=count", "Patient?_count=0"):
        bundle = await ward.bundle(query)
        assert bundle["total"] == 3, query
    assert "entry" not in await ward.bundle("Patient?_summary=count")
    assert "total" not in await ward.bundle("Patient?_total=none&_count=1")


async def test_summary_and_elements_of_what_is_found(ward: Asking) -> None:
    bundle = await ward.bundle("Observation?_elements=status&_id=o1&_include=Observation:patient")
    found = {e["search"]["mode"]: e["resource"] for e in bundle["entry"]}
    assert set(found["match"]) == {"resourceType", "id", "meta", "status", "code"}
    bundle = await ward.bundle("Patient?_summary=text&_id=p1")
    assert set(bundle["entry"][0]["resource"]) == {"resourceType", "id", "meta"}


async def test_post_and_get_are_one(ward: Asking, client: httpx.AsyncClient) -> None:
    answer = await client.post("Patient/_search?birthdate=ge1985", data={"family": "Nguyễn"})
    assert [e["resource"]["id"] for e in answer.json()["entry"]] == ["p3"]
    answer = await client.post("_search", data={"_type": "Patient", "_id": "p1"})
    assert answer.json()["total"] == 1
    answer = await client.post("Patient/p1/Observation/_search", data={"code": "8867-4"})
    assert [e["resource"]["id"] for e in answer.json()["entry"]] == ["o1"]
    pages = await client.post("Patient/_search", data={"_count": "1", "_sort": "birthdate"})
    onward = next(link["url"] for link in pages.json()["link"] if link["relation"] == "next")
    assert [e["resource"]["id"] for e in (await client.get(onward)).json()["entry"]] == ["p1"]
    # R4 http.html#paging: a client may turn the next link into a POST.
    path, _, query = onward.partition("?")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = await client.post(path + "/_search", content=query, headers=form)
    assert [e["resource"]["id"] for e in posted.json()["entry"]] == ["p1"]


async def test_the_self_link_says_what_was_understood(ward: Asking, client: httpx.AsyncClient) -> None:
    bundle = (await client.get("Patient?family=nguyen&colour=blue&_count=5000")).json()
    own = next(link["url"] for link in bundle["link"] if link["relation"] == "self")
    assert "family=nguyen" in own
    assert "colour" not in own
    assert await ward.status("Patient?colour=blue", Prefer="handling=strict") == 400
    checked = await client.post("Bundle/$validate", json=bundle)
    assert all(i["severity"] != "error" for i in checked.json()["issue"]), checked.text


async def test_compartments(ward: Asking) -> None:
    assert await ward.found("Patient/p1/*") == "e1 o1 p1 p2"
    assert await ward.found("Patient/p2/Observation?code=8867-4") == "o2"
    assert await ward.found("Encounter/e1/Observation") == "o1"
    assert await ward.found("Practitioner/dr/Patient") == "p1"
    assert await ward.found("Practitioner/dr/Observation") == "o1"


async def test_text_and_content(ask: Asking) -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Đau <b>ngực</b> dữ dội</p></div>'
    await ask.put(
        patient("t", text={"status": "generated", "div": div}),
        patient("c", name=[{"text": "Ngực"}], address=[{"city": "Huế"}]),
    )
    assert await ask.found("Patient?_text=ngực") == "t"
    assert await ask.found("Patient?_text=dau nguc") == "t"
    assert await ask.found("Patient?_content=nguc") == "c t"
    assert await ask.found("Patient?_content=hue") == "c"


async def test_contained_resources_are_searched_when_asked(ask: Asking) -> None:
    await ask.put(
        {"resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order", "subject": {"reference": "Patient/1"},
         "medicationReference": {"reference": "#med"},
         "contained": [{"resourceType": "Medication", "id": "med", "code": {"coding": [{"system": "http://atc", "code": "N02BE01"}]}}]},
    )  # fmt: skip
    assert await ask.found("Medication?code=N02BE01") == ""
    status = await ask.status("Medication?code=N02BE01&_contained=true", Prefer="handling=strict")
    assert status == 400 or await ask.found("Medication?code=N02BE01&_contained=true") == "m"
    assert await ask.found("MedicationRequest?medication.code=N02BE01") in ("", "m")


async def test_codes_below_and_above_and_in_stored_terminology(ask: Asking) -> None:
    system = "http://sytehue.vn/khoa"
    concept = [{"code": "noi", "concept": [{"code": "tim", "concept": [{"code": "nhip"}]}, {"code": "phoi"}]}, {"code": "ngoai"}]
    await ask.put(
        {"resourceType": "CodeSystem", "id": "k", "url": system, "status": "active", "content": "complete", "concept": concept},
        {"resourceType": "ValueSet", "id": "v", "url": "http://sytehue.vn/vs", "status": "active",
         "compose": {"include": [{"system": system, "filter": [{"property": "concept", "op": "is-a", "value": "tim"}]}]}},
        *(observation(c, category=[{"coding": [{"system": system, "code": c}]}]) for c in ("noi", "tim", "nhip", "phoi", "ngoai")),
        observation("both", category=[{"coding": [{"system": system, "code": "ngoai"}, {"system": system, "code": "nhip"}]}]),
        observation("none"),
    )  # fmt: skip
    assert await ask.found(f"Observation?category:below={system}|noi") == "both nhip noi phoi tim"
    assert await ask.found(f"Observation?category:above={system}|tim") == "noi tim"
    assert await ask.found("Observation?category:in=http://sytehue.vn/vs") == "both nhip tim"
    assert await ask.found("Observation?category:in=ValueSet/v") == "both nhip tim"
    assert await ask.found("Observation?category:not-in=http://sytehue.vn/vs") == "ngoai noi none phoi"
    assert await ask.status("Observation?category:in=http://unknown.vn/vs") in (400, 404)
    assert await ask.found("Observation?subject.gender:in=http://hl7.org/fhir/ValueSet/administrative-gender") == ""


async def test_list(ask: Asking) -> None:
    entry = [{"item": {"reference": "Patient/2"}}, {"item": {"reference": "Patient/1"}, "deleted": True}]
    await ask.put(patient("1"), patient("2"), {"resourceType": "List", "id": "l", "status": "current", "mode": "changes", "entry": entry})
    assert await ask.found("Patient?_list=l") == "2"
    assert await ask.found("Patient?_list=none") == ""


async def test_what_is_stored_is_what_was_sent(ask: Asking, client: httpx.AsyncClient) -> None:
    sent = (
        '{"resourceType":"Observation","id":"l","contained":[{"resourceType":"Patient","id":"p","birthDate":"1980"}],'
        '"extension":[{"url":"http://x","valueDecimal":1.00}],"status":"final","_status":{"extension":[{"url":"http://y","valueString":"ü\\u0301"}]},'
        '"code":{"coding":[{"code":"a","_code":{"id":"c1"}}]},"subject":{"reference":"#p"},"effectiveDateTime":"2020-01",'
        '"valueQuantity":{"value":1.50E+2},"referenceRange":[{"low":{"value":-0.0}},{"high":{"value":100000000000000000000.000000001}}],'
        '"_issued":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]},'
        '"component":[{"code":{"text":"x"},"valueSampledData":{"origin":{"value":0},"period":10.0,"dimensions":1,"data":"1 2 E"}}]}'
    )
    header = {"Content-Type": "application/fhir+json"}
    assert (await client.put("Observation/l", content=sent.encode(), headers=header)).status_code == 201

    def plain(text: str) -> Any:
        read = json.loads(text, parse_float=lambda t: ("number", t), parse_int=lambda t: ("number", t))
        read.pop("meta", None)
        return read

    assert plain((await client.get("Observation/l")).text) == plain(sent)
    xml = await client.get("Observation/l?_format=xml")
    back = await client.put("Observation/l", content=xml.content, headers={"Content-Type": "application/fhir+xml"})
    assert back.status_code == 200, back.text
    assert plain((await client.get("Observation/l")).text) == plain(sent)


async def test_a_named_query_that_is_not_known_is_refused(ask: Asking) -> None:
    assert await ask.status("Patient?_query=current-high-risk&ward=1A", Prefer="handling=lenient") == 400
