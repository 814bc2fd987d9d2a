"""transaction: order, atomicity, conditions, versions, answers (R4 http.html#transaction)."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.rest.bundles import (
    A,
    B,
    C,
    Json,
    bundle,
    counted,
    done,
    entry,
    expressions,
    identified,
    json_patch,
    name_of,
    observation,
    patient,
    read,
    refused,
    send,
    statuses,
)


async def test_an_empty_transaction_is_no_error(client: httpx.AsyncClient) -> None:
    assert await done(client) == []


async def test_entries_are_answered_in_request_order_with_location_etag_and_time(client: httpx.AsyncClient) -> None:
    await client.put("Patient/old", json=patient(id="old"))
    found = await done(
        client,
        entry("GET", "Patient/old"),
        entry("PUT", "Patient/old", patient(id="old", active=True)),
        entry("POST", "Patient", patient()),
        entry("PUT", "Patient/new", patient(id="new")),
        entry("DELETE", "Patient/never"),
    )
    assert statuses(found) == ["200", "200", "201", "201", "204"]
    response = found[2]["response"]
    assert response["status"] == "201 Created"
    assert response["location"].startswith("Patient/")
    assert response["location"].endswith("/_history/1")
    assert response["etag"] == 'W/"1"'
    stored = await read(client, name_of(found[2]))
    assert response["lastModified"] == stored["meta"]["lastUpdated"]
    assert found[1]["response"]["etag"] == 'W/"2"'
    assert found[3]["response"]["location"] == "Patient/new/_history/1"
    assert found[0]["resource"]["active"] is True  # reads see the state after the writes
    assert "resource" not in found[2]


async def test_post_ignores_the_id_it_is_given(client: httpx.AsyncClient) -> None:
    found = await done(client, entry("POST", "Patient", patient(id="mine")))
    assert name_of(found[0]) != "Patient/mine"
    assert (await client.get("Patient/mine")).status_code == 404


async def test_all_or_nothing(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    issues = await refused(
        client,
        entry("POST", "Patient", patient()),
        entry("DELETE", "Patient/a"),
        entry("PUT", "Patient/b", patient(id="b"), ifMatch='W/"7"'),
        status=412,
    )
    assert issues[0]["code"] == "conflict"
    assert expressions(issues) == ["Bundle.entry[2].request"]
    assert (await client.get("Patient/a")).status_code == 200


async def test_all_problems_of_all_entries_are_told_at_once(client: httpx.AsyncClient) -> None:
    issues = await refused(
        client,
        entry("POST", "Patient", patient(birthDate="1980-13")),
        entry("POST", "Patient", patient()),
        entry("POST", "Observation", {"resourceType": "Observation", "code": {"text": "x"}, "nonsense": 1}),
        entry("POST", "Observation", observation("urn:uuid:99999999-9999-4999-8999-999999999999")),
    )
    found = expressions(issues)
    assert "Bundle.entry[0].resource.birthDate" in found
    assert any(e.startswith("Bundle.entry[2].resource") and "nonsense" in e for e in found)
    assert any(e.startswith("Bundle.entry[2].resource") and "status" in e for e in found)
    assert "Bundle.entry[3].resource.subject.reference" in found
    assert not any("entry[1]" in e for e in found)


@pytest.mark.parametrize(
    ("raw", "expression"),
    [
        ({"resource": {"resourceType": "Patient"}}, "Bundle.entry[0].request"),
        ({"request": {"method": "POST"}, "resource": {"resourceType": "Patient"}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "SHOVE", "url": "Patient"}}, "Bundle.entry[0].request.method"),
        ({"request": {"url": "Patient"}}, "Bundle.entry[0].request.method"),
        ({"request": {"method": {}, "url": []}, "fullUrl": {}}, "Bundle.entry[0].request.method"),
        ({"request": {"method": "POST", "url": "Patient"}}, "Bundle.entry[0].resource"),
        (
            {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Observation"}},
            "Bundle.entry[0].resource.resourceType",
        ),
        ({"request": {"method": "POST", "url": "Patient/1"}, "resource": {"resourceType": "Patient"}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "PUT", "url": "Patient"}, "resource": {"resourceType": "Patient"}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "PUT", "url": "Patient/1"}, "resource": {"resourceType": "Patient"}}, "Bundle.entry[0].resource.id"),
        (
            {"request": {"method": "PUT", "url": "Patient/1"}, "resource": {"resourceType": "Patient", "id": "2"}},
            "Bundle.entry[0].resource.id",
        ),
        (
            {"request": {"method": "PUT", "url": "Patient/a_b"}, "resource": {"resourceType": "Patient", "id": "a_b"}},
            "Bundle.entry[0].request.url",
        ),
        ({"request": {"method": "DELETE", "url": "Patient"}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "DELETE", "url": "Patient/1"}, "resource": {"resourceType": "Patient"}}, "Bundle.entry[0].resource"),
        ({"request": {"method": "PATCH", "url": "Patient/1"}}, "Bundle.entry[0].resource"),
        ({"request": {"method": "GET", "url": "http://elsewhere.example/fhir/Patient/1"}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "POST", "url": "Nonsense"}, "resource": {"resourceType": "Nonsense"}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "GET", "url": 7}}, "Bundle.entry[0].request.url"),
        ({"request": {"method": "GET", "url": "Patient"}, "extra": 1}, "Bundle.entry[0].extra"),
        ({"request": {"method": "GET", "url": "Patient", "ifNever": "x"}}, "Bundle.entry[0].request.ifNever"),
        ({"request": {"method": "GET", "url": "Patient"}, "fullUrl": "http://x/Patient/1/_history/2"}, "Bundle.entry[0].fullUrl"),
        (7, "Bundle.entry[0]"),
    ],
)
async def test_an_entry_that_cannot_be_read_is_named(client: httpx.AsyncClient, raw: Any, expression: str) -> None:
    issues = await refused(client, raw, entry("POST", "Patient"))
    assert expression in expressions(issues)
    assert "Bundle.entry[1].resource" in expressions(issues)


async def test_the_base_of_urls_may_be_written_out(client: httpx.AsyncClient) -> None:
    found = await done(
        client,
        entry("PUT", "http://hub.test/fhir/Patient/a", patient(id="a")),
        entry("POST", "/Patient", patient()),
        entry("GET", "http://hub.test/fhir/Patient/a"),
    )
    assert statuses(found) == ["201", "201", "200"]


async def test_a_resource_stands_in_a_transaction_once(client: httpx.AsyncClient) -> None:
    issues = await refused(client, entry("PUT", "Patient/a", patient(id="a")), entry("DELETE", "Patient/a"))
    assert issues[0]["code"] == "duplicate"
    await client.put("Patient/b", json=patient(id="b", **identified("1")))
    issues = await refused(
        client, entry("PUT", "Patient/b", patient(id="b")), entry("DELETE", "Patient?identifier=http://example.org/mrn|1")
    )
    assert issues[0]["code"] == "duplicate"


async def test_a_full_url_stands_in_a_transaction_once(client: httpx.AsyncClient) -> None:
    issues = await refused(client, entry("POST", "Patient", patient(), A), entry("POST", "Patient", patient(), A))
    assert issues[0]["code"] == "duplicate"
    assert expressions(issues) == ["Bundle.entry[1].fullUrl"]


# --- versions


async def test_if_match_guards_put_patch_and_delete(client: httpx.AsyncClient) -> None:
    for n in ("a", "b", "c"):
        await client.put(f"Patient/{n}", json=patient(id=n))
    replace = json_patch({"op": "add", "path": "/active", "value": True})
    for stale in ('W/"2"', '"2"', "2", "nonsense"):
        await refused(client, entry("PUT", "Patient/a", patient(id="a", active=True), ifMatch=stale), status=412)
        await refused(client, entry("PATCH", "Patient/b", replace, ifMatch=stale), status=412)
        await refused(client, entry("DELETE", "Patient/c", ifMatch=stale), status=412)
    found = await done(
        client,
        entry("PUT", "Patient/a", patient(id="a", active=True), ifMatch='W/"1"'),
        entry("PATCH", "Patient/b", replace, ifMatch='W/"1"'),
        entry("DELETE", "Patient/c", ifMatch='W/"1"'),
    )
    assert statuses(found) == ["200", "200", "204"]
    assert [e["response"]["etag"] for e in found] == ['W/"2"'] * 3


async def test_put_may_insist_that_nothing_is_there(client: httpx.AsyncClient) -> None:
    found = await done(client, entry("PUT", "Patient/a", patient(id="a"), ifNoneMatch="*"))
    assert statuses(found) == ["201"]
    await refused(client, entry("PUT", "Patient/a", patient(id="a"), ifNoneMatch="*"), status=412)


async def test_deleting_what_is_not_there_is_no_error(client: httpx.AsyncClient) -> None:
    found = await done(client, entry("DELETE", "Patient/never"), entry("DELETE", "Patient?identifier=never"))
    assert statuses(found) == ["204", "204"]


# --- patches


async def test_patches_come_as_binary_or_parameters(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", **identified("1")))
    await client.put("Patient/b", json=patient(id="b", **identified("2")))
    operation = {
        "name": "operation",
        "part": [
            {"name": "type", "valueCode": "add"},
            {"name": "path", "valueString": "Patient"},
            {"name": "name", "valueString": "birthDate"},
            {"name": "value", "valueDate": "1930-01-01"},
        ],
    }
    found = await done(
        client,
        entry("PATCH", "Patient/a", json_patch({"op": "add", "path": "/active", "value": True})),
        entry("PATCH", "Patient?identifier=http://example.org/mrn|2", {"resourceType": "Parameters", "parameter": [operation]}),
        Prefer="return=representation",
    )
    assert statuses(found) == ["200", "200"]
    assert found[0]["resource"]["active"] is True
    assert found[1]["resource"]["birthDate"] == "1930-01-01"
    history = (await client.get("Patient/a/_history")).json()["entry"]
    assert [e["request"]["method"] for e in history] == ["PATCH", "PUT"]


async def test_a_patch_may_name_what_the_transaction_creates(client: httpx.AsyncClient) -> None:
    await client.put("Observation/o", json=observation(id="o"))
    found = await done(
        client,
        entry("POST", "Patient", patient(), A),
        entry("PATCH", "Observation/o", json_patch({"op": "add", "path": "/subject", "value": {"reference": A}})),
    )
    assert (await read(client, "Observation/o"))["subject"] == {"reference": name_of(found[0])}


async def test_a_patch_that_cannot_be_applied_stops_everything(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    other = entry("POST", "Patient", patient())
    issues = await refused(client, other, entry("PATCH", "Patient/never", json_patch()), status=404)
    assert "Bundle.entry[1]" in expressions(issues)[0]
    await client.delete("Patient/a")
    await refused(client, other, entry("PATCH", "Patient/a", json_patch()), status=410)
    await client.put("Patient/b", json=patient(id="b"))
    response = await send(
        client, "transaction", other, entry("PATCH", "Patient/b", json_patch({"op": "test", "path": "/active", "value": True}))
    )
    assert response.status_code in (400, 409, 422)
    issues = await refused(
        client, other, entry("PATCH", "Patient/b", json_patch({"op": "add", "path": "/birthDate", "value": "never"})), status=400
    )
    assert expressions(issues) == ["Bundle.entry[1].resource.birthDate"]


# --- conditions


async def test_conditional_create(client: httpx.AsyncClient) -> None:
    wanted = "identifier=http://example.org/mrn|1"
    first = await done(
        client, entry("POST", "Patient", patient(**identified("1")), A, ifNoneExist=wanted), entry("POST", "Observation", observation(A))
    )
    assert statuses(first) == ["201", "201"]
    second = await done(
        client,
        entry("POST", "Patient", patient(**identified("1")), B, ifNoneExist="Patient?" + wanted),
        entry("POST", "Observation", observation(B)),
    )
    assert statuses(second) == ["200", "201"]
    assert name_of(second[0]) == name_of(first[0])
    assert second[0]["response"]["etag"] == 'W/"1"'
    assert (await read(client, name_of(second[1])))["subject"]["reference"] == name_of(first[0])
    await client.post("Patient", json=patient(**identified("1")))
    issues = await refused(client, entry("POST", "Patient", patient(), ifNoneExist=wanted), status=412)
    assert issues[0]["code"] == "multiple-matches"


async def test_two_equal_conditional_creates_make_one_resource(client: httpx.AsyncClient) -> None:
    one = entry("POST", "Patient", patient(**identified("1")), A, ifNoneExist="identifier=1")
    found = await done(client, one, {**one, "fullUrl": B}, entry("POST", "Observation", observation(B)))
    assert statuses(found) == ["201", "200", "201"]
    assert name_of(found[0]) == name_of(found[1])
    assert (await read(client, name_of(found[2])))["subject"]["reference"] == name_of(found[0])
    different = {**one, "fullUrl": C, "resource": patient(active=True, **identified("1"))}
    assert (await refused(client, one, different))[0]["code"] == "duplicate"


async def test_conditional_create_of_what_is_deleted_in_the_same_transaction(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", **identified("1")))
    found = await done(
        client, entry("POST", "Patient", patient(**identified("1")), ifNoneExist="identifier=1"), entry("DELETE", "Patient/a")
    )
    assert statuses(found) == ["201", "204"]
    assert name_of(found[0]) != "Patient/a"


async def test_conditional_update(client: httpx.AsyncClient) -> None:
    url = "Patient?identifier=http://example.org/mrn|1"
    found = await done(client, entry("PUT", url, patient(**identified("1"))))
    assert statuses(found) == ["201"]
    name = name_of(found[0])
    found = await done(client, entry("PUT", url, patient(active=True, **identified("1")), A), entry("POST", "Observation", observation(A)))
    assert statuses(found) == ["200", "201"]
    assert name_of(found[0]) == name
    assert (await read(client, name))["active"] is True
    assert (await read(client, name_of(found[1])))["subject"]["reference"] == name
    issues = await refused(client, entry("PUT", url, patient(id="another", **identified("1"))))
    assert expressions(issues) == ["Bundle.entry[0].resource.id"]
    await refused(client, entry("PUT", url, patient(**identified("1")), ifMatch='W/"1"'), status=412)
    found = await done(client, entry("PUT", "Patient?identifier=2", patient(id="chosen", **identified("2"))))
    assert name_of(found[0]) == "Patient/chosen"
    await client.post("Patient", json=patient(**identified("1")))
    assert (await refused(client, entry("PUT", url, patient(**identified("1"))), status=412))[0]["code"] == "multiple-matches"


async def test_conditional_delete(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", **identified("1")))
    found = await done(client, entry("DELETE", "Patient?identifier=1"))
    assert statuses(found) == ["204"]
    assert (await client.get("Patient/a")).status_code == 410
    for _ in range(2):
        await client.post("Patient", json=patient(**identified("2")))
    assert (await refused(client, entry("DELETE", "Patient?identifier=2"), status=412))[0]["code"] == "multiple-matches"


async def test_a_condition_that_means_nothing_is_refused(client: httpx.AsyncClient) -> None:
    for request in (
        entry("POST", "Patient", patient(), ifNoneExist="nonsense=1"),
        entry("PUT", "Patient?nonsense=1", patient()),
        entry("DELETE", "Patient?birthdate=never"),
        entry("DELETE", "Patient?_sort=name"),
    ):
        issues = await refused(client, request)
        assert expressions(issues)[0].startswith("Bundle.entry[0].request.")


async def test_twenty_clients_with_one_identifier_make_one_resource(client: httpx.AsyncClient) -> None:
    one = entry("POST", "Patient", patient(**identified("1")), A, ifNoneExist="identifier=http://example.org/mrn|1")
    found = await asyncio.gather(*[done(client, one, entry("POST", "Observation", observation(A))) for _ in range(20)])
    assert len({name_of(entries[0]) for entries in found}) == 1
    assert sorted(statuses([entries[0] for entries in found])) == ["200"] * 19 + ["201"]
    assert (await client.get("Patient", params={"_summary": "count"})).json()["total"] == 1
    assert (await client.get("Observation", params={"subject": name_of(found[0][0]), "_summary": "count"})).json()["total"] == 20


# --- reads


async def test_reads_see_the_state_after_the_writes(client: httpx.AsyncClient) -> None:
    found = await done(
        client,
        entry("GET", "Patient?identifier=1"),
        entry("GET", "Patient/a/_history"),
        entry("HEAD", "Patient/a"),
        entry("PUT", "Patient/a", patient(id="a", **identified("1"))),
    )
    assert statuses(found) == ["200", "200", "200", "201"]
    assert [e["resource"]["id"] for e in found[0]["resource"]["entry"]] == ["a"]
    assert found[1]["resource"]["type"] == "history"
    assert "resource" not in found[2]
    assert found[2]["response"]["etag"] == 'W/"1"'


async def test_conditional_reads(client: httpx.AsyncClient) -> None:
    made = await client.put("Patient/a", json=patient(id="a"))
    updated = made.json()["meta"]["lastUpdated"]
    found = await done(
        client,
        entry("GET", "Patient/a", ifNoneMatch='W/"1"'),
        entry("GET", "Patient/a", ifNoneMatch='W/"2"'),
        entry("GET", "Patient/a", ifModifiedSince=updated),
        entry("GET", "Patient/a", ifModifiedSince="2020-01-01T00:00:00Z"),
    )
    assert statuses(found) == ["304", "200", "304", "200"]
    assert "resource" not in found[0]


async def test_a_read_that_must_fail_stops_the_writes(client: httpx.AsyncClient) -> None:
    write = entry("PUT", "Patient/a", patient(id="a"))
    issues = await refused(client, write, entry("GET", "Patient/never"), status=404)
    assert expressions(issues) == ["Bundle.entry[1].request.url"]
    await refused(client, write, entry("GET", "Patient?nonsense:exact=1&birthdate=never"), status=400)
    await client.put("Patient/b", json=patient(id="b"))
    await refused(client, write, entry("DELETE", "Patient/b"), entry("GET", "Patient/b"), status=410)
    await refused(client, entry("GET", "Patient/never"), status=404)


async def test_an_operation_that_changes_something_has_no_place_here(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
    issues = await refused(client, entry("POST", "Patient/a/$meta-add", meta))
    assert issues[0]["code"] == "not-supported"
    found = await done(client, entry("GET", "Patient/a/$meta"))
    assert found[0]["resource"]["resourceType"] == "Parameters"


# --- answers


async def test_prefer_decides_what_comes_back(client: httpx.AsyncClient) -> None:
    two = [entry("POST", "Patient", patient(), A), entry("PUT", "Patient/a", patient(id="a"))]
    found = await done(client, *two, Prefer="return=representation")
    assert found[0]["resource"]["id"] == name_of(found[0]).partition("/")[2]
    assert found[0]["fullUrl"] == f"http://hub.test/fhir/{name_of(found[0])}"
    assert found[1]["resource"]["meta"]["versionId"] == "1"
    found = await done(client, *two, Prefer="return=OperationOutcome")
    assert found[0]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    found = await done(client, *two, Prefer="return=minimal")
    assert set(found[0]) == {"response"}


async def test_numbers_keep_their_text(client: httpx.AsyncClient) -> None:
    sent = json.dumps(bundle("transaction", entry("PUT", "Observation/o", observation(id="o", valueQuantity={"value": "NUMBER"}))))
    response = await client.post(
        "", content=sent.replace('"NUMBER"', "1.500"), headers={"Content-Type": "application/json", "Prefer": "return=representation"}
    )
    assert '"value":1.500' in response.text
    assert '"value":1.500' in (await client.get("Observation/o")).text


async def test_xml_works_as_json_does(client: httpx.AsyncClient) -> None:
    xml = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/>'
        '<entry><resource><Patient><active value="true"/></Patient></resource>'
        '<request><method value="POST"/><url value="Patient"/></request></entry></Bundle>'
    )
    response = await client.post("", content=xml, headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"})
    assert response.status_code == 200, response.text
    assert '<status value="201 Created"/>' in response.text


@pytest.mark.parametrize("url", ["", "/"])
async def test_the_base_may_have_a_slash(client: httpx.AsyncClient, url: str) -> None:
    response = await client.post("http://hub.test/fhir" + url, json=bundle("transaction", entry("POST", "Patient", patient())))
    assert response.status_code == 200


# --- what is no transaction


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        ({"resourceType": "Patient"}, "resourceType"),
        ({"resourceType": "Bundle"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "transaction", "nonsense": 1}, "Bundle.nonsense"),
        ({"resourceType": "Bundle", "type": "collection"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": []}, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": {}}, "Bundle.entry"),
        ([], None),
        ("text", None),
    ],
)
async def test_what_cannot_be_processed_is_refused(client: httpx.AsyncClient, body: Any, expression: str | None) -> None:
    response = await client.post("", json=body)
    assert response.status_code == 400
    issues = response.json()["issue"]
    assert expression is None or expressions(issues) == [expression]


async def test_too_many_entries_are_refused(client: httpx.AsyncClient) -> None:
    response = await send(client, "transaction", *[entry("DELETE", "Patient/a")] * 10_001)
    assert response.status_code == 413
    assert await counted(client) == 0


async def test_android_sdk_bundles(client: httpx.AsyncClient) -> None:
    """fullUrl = url = Type/id, patches as Binary, ifMatch on everything."""
    first: list[Json] = [
        entry("PUT", "Patient/p1", patient(id="p1"), "Patient/p1"),
        entry("PUT", "Observation/o1", observation("Patient/p1", id="o1"), "Observation/o1"),
    ]
    response = await client.post("http://hub.test/fhir/", json=bundle("transaction", *first))
    assert statuses(response.json()["entry"]) == ["201", "201"]
    found = await done(
        client,
        entry(
            "PATCH", "Patient/p1", json_patch({"op": "replace", "path": "/name/0/family", "value": "Trần"}), "Patient/p1", ifMatch='W/"1"'
        ),
        entry("DELETE", "Observation/o1", None, "Observation/o1", ifMatch='W/"1"'),
    )
    assert statuses(found) == ["200", "204"]
    assert found[0]["response"]["location"] == "Patient/p1/_history/2"
    assert found[0]["response"]["etag"] == 'W/"2"'
    assert "lastModified" in found[1]["response"]
