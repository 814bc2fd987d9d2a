"""read, vread, create, update, delete, patch by id (R4 http.html)."""

import asyncio
import json
from typing import Any

import httpx
import pytest

PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Nguyễn", "given": ["An"]}], "birthDate": "1980-02"}
OBSERVATION = (
    '{"resourceType":"Observation","status":"final","code":{"text":"x"},'
    '"valueQuantity":{"value":1.00,"unit":"kg","extension":[{"url":"http://a.b/c","valueDecimal":1e2}]}}'
)


async def create(client: httpx.AsyncClient, resource: dict[str, Any] = PATIENT, **headers: str) -> dict[str, Any]:
    response = await client.post(resource["resourceType"], json=resource, headers=headers)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def code_of(response: httpx.Response) -> str:
    body = response.json()
    assert body["resourceType"] == "OperationOutcome"
    code: str = body["issue"][0]["code"]
    return code


async def test_create_answers_with_location_version_and_resource(client: httpx.AsyncClient) -> None:
    response = await client.post("Patient", json=PATIENT | {"id": "chosen"})
    assert response.status_code == 201
    made = response.json()
    assert made["id"] != "chosen"
    assert response.headers["location"] == f"http://hub.test/fhir/Patient/{made['id']}/_history/1"
    assert response.headers["etag"] == 'W/"1"'
    assert "last-modified" in response.headers
    assert response.headers["content-type"] == "application/fhir+json;charset=utf-8"
    assert made["meta"]["versionId"] == "1"
    assert {k: v for k, v in made.items() if k not in ("id", "meta")} == PATIENT


async def test_what_is_read_is_what_was_sent_to_the_last_zero(client: httpx.AsyncClient) -> None:
    made = (await client.post("Observation", content=OBSERVATION, headers={"Content-Type": "application/fhir+json"})).json()
    text = (await client.get(f"Observation/{made['id']}")).text
    assert '"value":1.00' in text
    assert '"valueDecimal":1e2' in text


@pytest.mark.parametrize(("prefer", "kind"), [
    ("return=minimal", None), ("return=representation", "Patient"), ("return=OperationOutcome", "OperationOutcome"),
    ("return=presentation", "Patient"), ("", "Patient"),
])  # fmt: skip
async def test_prefer_return(client: httpx.AsyncClient, prefer: str, kind: str | None) -> None:
    response = await client.post("Patient", json=PATIENT, headers={"Prefer": prefer})
    assert response.status_code == 201
    assert (response.json()["resourceType"] if response.content else None) == kind
    assert "location" in response.headers


async def test_read_of_nothing_is_404_and_of_a_deleted_one_410(client: httpx.AsyncClient) -> None:
    made = await create(client)
    assert (await client.get("Patient/none")).status_code == 404
    gone = await client.delete(f"Patient/{made['id']}")
    assert (gone.status_code, gone.content, gone.headers["etag"]) == (204, b"", 'W/"2"')
    read = await client.get(f"Patient/{made['id']}")
    assert (read.status_code, code_of(read)) == (410, "deleted")
    assert (await client.delete(f"Patient/{made['id']}")).status_code == 204
    assert (await client.delete("Patient/never-there")).status_code == 204
    assert (await client.get(f"Patient/{made['id']}/_history/1")).status_code == 200
    assert (await client.get(f"Patient/{made['id']}/_history/2")).status_code == 410
    again = await client.put(f"Patient/{made['id']}", json=made)
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"3"')


@pytest.mark.parametrize("id", ["%00", "a b", "a" * 65, "x%00y", "%ff", "a'--", "😀", "1%2F2"])
async def test_ids_that_are_none(client: httpx.AsyncClient, id: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        response = await client.request(method, f"Patient/{id}", json=PATIENT)
        assert 400 <= response.status_code < 500
        assert response.json()["resourceType"] == "OperationOutcome"


async def test_head_has_the_headers_of_get_and_no_body(client: httpx.AsyncClient) -> None:
    made = await create(client)
    get, head = await client.get(f"Patient/{made['id']}"), await client.head(f"Patient/{made['id']}")
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize("tag", ['W/"1"', '"1"', "1", 'W/"7", W/"1"', "*"])
async def test_if_none_match_of_the_current_version_is_304(client: httpx.AsyncClient, tag: str) -> None:
    made = await create(client)
    response = await client.get(f"Patient/{made['id']}", headers={"If-None-Match": tag})
    assert (response.status_code, response.content) == (304, b"")
    assert (await client.get(f"Patient/{made['id']}", headers={"If-None-Match": 'W/"2"'})).status_code == 200


async def test_if_modified_since(client: httpx.AsyncClient) -> None:
    made = await client.post("Patient", json=PATIENT)
    url, at = made.headers["location"].partition("/_history")[0], made.headers["last-modified"]
    assert (await client.get(url, headers={"If-Modified-Since": at})).status_code == 304
    assert (await client.get(url, headers={"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"})).status_code == 200
    assert (await client.get(url, headers={"If-Modified-Since": "yesterday"})).status_code == 200
    assert (await client.get(url, headers={"If-Modified-Since": at, "If-None-Match": 'W/"9"'})).status_code == 200


async def test_delete_with_an_outcome(client: httpx.AsyncClient) -> None:
    made = await create(client)
    response = await client.delete(f"Patient/{made['id']}", headers={"Prefer": "return=OperationOutcome"})
    assert (response.status_code, response.json()["resourceType"]) == (200, "OperationOutcome")


async def test_update_as_create_then_update(client: httpx.AsyncClient) -> None:
    first = await client.put("Patient/a.b-1", json=PATIENT | {"id": "a.b-1"})
    assert (first.status_code, first.headers["location"]) == (201, "http://hub.test/fhir/Patient/a.b-1/_history/1")
    second = await client.put("Patient/a.b-1", json=PATIENT | {"id": "a.b-1", "active": True})
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')
    assert "location" not in second.headers
    assert (await client.get("Patient/a.b-1/_history/1")).json() == first.json()


@pytest.mark.parametrize(("body", "status"), [
    ({"resourceType": "Patient"}, 400), ({"resourceType": "Patient", "id": "b"}, 400), ({"resourceType": "Observation", "id": "a"}, 400),
    ({"id": "a"}, 400), ([], 400), ("x", 400), ({"resourceType": "Patient", "id": "a", "nonsense": 1}, 400),
])  # fmt: skip
async def test_update_with_a_body_that_does_not_fit(client: httpx.AsyncClient, body: Any, status: int) -> None:
    response = await client.put("Patient/a", json=body)
    assert (response.status_code, response.json()["resourceType"]) == (status, "OperationOutcome")


@pytest.mark.parametrize("stale", ['W/"1"', '"1"', "1", 'W/"99"', "abc", 'W/"0"'])
async def test_update_with_a_stale_if_match_is_412(client: httpx.AsyncClient, stale: str) -> None:
    made = await create(client)
    url = f"Patient/{made['id']}"
    assert (await client.put(url, json=made, headers={"If-Match": 'W/"1"'})).status_code == 200
    for response in (
        await client.put(url, json=made, headers={"If-Match": stale}),
        await client.delete(url, headers={"If-Match": stale}),
        await client.patch(url, json={"active": True}, headers={"If-Match": stale}),
    ):
        assert (response.status_code, code_of(response)) == (412, "conflict")


async def test_if_none_match_star_creates_and_never_replaces(client: httpx.AsyncClient) -> None:
    body = PATIENT | {"id": "only-once"}
    assert (await client.put("Patient/only-once", json=body, headers={"If-None-Match": "*"})).status_code == 201
    assert (await client.put("Patient/only-once", json=body, headers={"If-None-Match": "*"})).status_code == 412


async def test_many_writers_with_if_match_lose_nothing(client: httpx.AsyncClient) -> None:
    made = await create(client, {"resourceType": "Basic", "code": {"text": "0"}})
    url = f"Basic/{made['id']}"

    async def add_one() -> None:
        while True:
            read = await client.get(url)
            body = read.json()
            body["code"]["text"] = str(int(body["code"]["text"]) + 1)
            written = await client.put(url, json=body, headers={"If-Match": read.headers["etag"]})
            if written.status_code == 200:
                return
            assert written.status_code == 412

    await asyncio.gather(*[add_one() for _ in range(8)])
    assert (await client.get(url)).json()["code"]["text"] == "8"


async def test_patch_by_content_type(client: httpx.AsyncClient) -> None:
    made = await create(client)
    url = f"Patient/{made['id']}"
    by_pointer = await client.patch(url, content=json.dumps([{"op": "add", "path": "/active", "value": True}]),
                                    headers={"Content-Type": "application/json-patch+json"})  # fmt: skip
    assert (by_pointer.status_code, by_pointer.json()["active"]) == (200, True)
    merged = await client.patch(url, json={"active": None, "gender": "female"})  # as fhirpy does
    assert merged.status_code == 200
    assert "active" not in merged.json()
    assert merged.json()["gender"] == "female"
    wrong = await client.patch(url, content=b"<diff/>", headers={"Content-Type": "application/xml-patch+xml"})
    assert wrong.status_code == 415
    assert "application/json-patch+json" in wrong.headers["accept-patch"]
    other_id = await client.patch(url, json={"id": "other"})
    assert other_id.status_code == 422
    assert (await client.patch("Patient/none", json={})).status_code == 404


async def test_patches_without_if_match_take_their_turns(client: httpx.AsyncClient) -> None:
    made = await create(client, {"resourceType": "Patient"})
    url = f"Patient/{made['id']}"
    fields: list[dict[str, Any]] = [{"gender": "male"}, {"active": True}, {"birthDate": "1990"}, {"language": "vi"},
                                    {"deceasedBoolean": False}]  # fmt: skip
    answers = await asyncio.gather(*[client.patch(url, json=f) for f in fields])
    assert [a.status_code for a in answers] == [200] * 5
    final = (await client.get(url)).json()
    assert all(final[k] == v for f in fields for k, v in f.items())
    assert final["meta"]["versionId"] == "6"


async def test_read_in_parts(client: httpx.AsyncClient) -> None:
    made = await create(client, PATIENT | {"gender": "male", "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a</div>'},
                                           "contact": [{"name": {"family": "Lê"}}]})  # fmt: skip
    url = f"Patient/{made['id']}"
    elements = (await client.get(url, params={"_elements": "gender"})).json()
    assert elements.keys() == {"resourceType", "id", "meta", "gender"}
    assert elements["meta"]["tag"][-1]["code"] == "SUBSETTED"
    summary = (await client.get(url, params={"_summary": "true"})).json()
    assert "name" in summary
    assert "contact" not in summary
    assert "text" not in summary
    assert (await client.get(url, params={"_summary": "text"})).json().keys() == {"resourceType", "id", "meta", "text"}
    assert "text" not in (await client.get(url, params={"_summary": "data"})).json()
    assert (await client.get(url, params={"_summary": "false"})).json() == made
    assert (await client.get(url, params={"_summary": "some"})).status_code == 400
