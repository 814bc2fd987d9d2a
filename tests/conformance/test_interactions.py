"""read, vread, update, patch, delete, create and their conditional forms (R4 http.html)."""

import httpx
import pytest

from tests.conformance.asking import Asking, observation, patient

CCCD = "http://cccd.vn"


def with_identifier(value: str, id: str | None = None) -> dict[str, object]:
    made: dict[str, object] = {"resourceType": "Patient", "identifier": [{"system": CCCD, "value": value}]}
    return made | ({"id": id} if id else {})


async def test_a_version_has_one_name(ask: Asking) -> None:
    await ask.put(patient("1"))
    assert await ask.status("Patient/1/_history/1") == 200
    for other in ("01", "0", "2", "1.0", "+1", "-1", "a"):
        assert await ask.status(f"Patient/1/_history/{other}") == 404, other


async def test_if_match_of_several_versions_never_writes_over_another(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    for _ in range(2):
        answer = await client.put("Patient/1", json=patient("1"), headers={"If-Match": 'W/"7", W/"1"'})
        assert answer.status_code in (200, 412), answer.text
    assert answer.status_code == 412


async def test_if_match_of_what_is_not_there_is_412(client: httpx.AsyncClient) -> None:
    for tag in ('W/"1"', "*"):
        answer = await client.put("Patient/new", json=patient("new"), headers={"If-Match": tag})
        assert answer.status_code in (404, 412), (tag, answer.text)
    assert (await client.delete("Patient/new", headers={"If-Match": 'W/"1"'})).status_code == 412


async def test_if_match_on_delete(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"), patient("1", active=True))
    assert (await client.delete("Patient/1", headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await client.delete("Patient/1", headers={"If-Match": 'W/"2"'})).status_code == 204
    assert await ask.status("Patient/1/_history/3") == 410
    assert await ask.status("Patient/1/_history/2") == 200


async def test_a_deleted_resource_comes_back_as_the_next_version(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    await client.delete("Patient/1")
    again = await client.put("Patient/1", json=patient("1"))
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"3"')
    history = (await client.get("Patient/1/_history")).json()
    assert [e["request"]["method"] for e in history["entry"]] == ["PUT", "DELETE", "PUT"]
    assert "resource" not in history["entry"][1]


async def test_deleting_twice_makes_no_version(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    for _ in range(2):
        assert (await client.delete("Patient/1")).status_code == 204
    assert (await client.get("Patient/1/_history")).json()["total"] == 2


async def test_version_and_time_sent_along_are_ignored(client: httpx.AsyncClient) -> None:
    meta = {"versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [{"code": "kept"}]}
    made = (await client.post("Patient", json={"resourceType": "Patient", "meta": meta})).json()
    assert made["meta"]["versionId"] == "1"
    assert made["meta"]["lastUpdated"] > "2020"
    assert made["meta"]["tag"] == [{"code": "kept"}]


async def test_prefer_minimal_keeps_the_headers(client: httpx.AsyncClient) -> None:
    answer = await client.post("Patient", json={"resourceType": "Patient"}, headers={"Prefer": "return=minimal"})
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"]
    assert answer.headers["location"].endswith("/_history/1")


async def test_a_generic_media_type_is_answered_with_itself(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    for asked in ("application/json", "text/json", "application/xml", "text/xml", "application/fhir+xml"):
        answer = await client.get("Patient/1", headers={"Accept": asked})
        assert answer.headers["content-type"].partition(";")[0] == asked


async def test_two_versions_of_fhir_in_one_request(client: httpx.AsyncClient) -> None:
    assert (await client.get("metadata", headers={"Accept": "application/fhir+json; fhirVersion=3.0"})).status_code == 406
    headers = {"Content-Type": "application/fhir+json; fhirVersion=3.0"}
    assert (await client.post("Patient", content=b'{"resourceType":"Patient"}', headers=headers)).status_code == 415


async def test_format_wins_over_accept(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    for format, kind in (
        ("xml", "xml"),
        ("text/xml", "xml"),
        ("application/fhir%2Bjson", "json"),
        ("application/fhir+xml", "xml"),
        ("json", "json"),
    ):
        answer = await client.get(
            f"Patient/1?_format={format}", headers={"Accept": "application/fhir+" + ("json" if kind == "xml" else "xml")}
        )
        assert kind in answer.headers["content-type"], format
    assert await ask.status("Patient/1?_format=ttl") == 406
    # Not acceptable by its header, but the format is given.
    assert (await client.get("Patient/1?_format=json", headers={"Accept": "text/turtle"})).status_code == 200


async def test_head_everywhere(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    for url in ("Patient/1", "Patient/1/_history/1", "Patient?_id=1", "Patient/1/_history", "_history", "metadata", "?_type=Patient",
                "Patient/1/$everything", "Patient/1/*", "Patient/none"):  # fmt: skip
        head, get = await client.head(url), await client.get(url)
        assert (head.status_code, head.content) == (get.status_code, b""), url
        assert head.headers["content-type"] == get.headers["content-type"], url


async def test_summary_and_elements_on_read(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(
        patient(
            "1",
            text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
            active=True,
            contact=[{"name": {"family": "A"}}],
            gender="male",
            maritalStatus={"text": "x"},
        )
    )
    summary = (await client.get("Patient/1?_summary=true")).json()
    assert "contact" not in summary
    assert "text" not in summary
    assert summary["gender"] == "male"
    text = (await client.get("Patient/1?_summary=text")).json()
    assert set(text) == {"resourceType", "id", "meta", "text"}
    data = (await client.get("Patient/1?_summary=data")).json()
    assert "text" not in data
    assert "contact" in data
    elements = (await client.get("Patient/1?_elements=gender,maritalStatus")).json()
    assert set(elements) == {"resourceType", "id", "meta", "gender", "maritalStatus", "active"}  # modifiers stay
    for part in (summary, text, data, elements):
        assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "tag" not in (await client.get("Patient/1?_summary=false")).json()["meta"]
    assert await ask.status("Patient/1/_history/1?_elements=gender") == 200


async def test_what_was_subsetted_is_not_stored_back(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", gender="male", active=True))
    part = (await client.get("Patient/1?_elements=gender")).json()
    assert (await client.put("Patient/1", json=part)).status_code in (400, 422)


async def test_conditional_update_by_an_id_that_is_new(client: httpx.AsyncClient) -> None:
    url = f"Patient?identifier={CCCD}|1"
    made = await client.put(url, json=with_identifier("1", "mine"))
    assert (made.status_code, made.json()["id"]) == (201, "mine")
    assert (await client.put(url, json=with_identifier("1", "other"))).status_code == 400
    assert (await client.put(url, json=with_identifier("1", "mine"))).status_code == 200


async def test_conditional_update_brings_a_deleted_id_back(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("mine"))
    await client.delete("Patient/mine")
    made = await client.put(f"Patient?identifier={CCCD}|1", json=with_identifier("1", "mine"))
    assert (made.status_code, made.json()["meta"]["versionId"]) == (201, "3"), made.text


async def test_conditional_update_with_two_matches_is_412(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(with_identifier("1", "a"), with_identifier("1", "b"))
    for answer in (
        await client.put(f"Patient?identifier={CCCD}|1", json=with_identifier("1")),
        await client.patch(f"Patient?identifier={CCCD}|1", json=[], headers={"Content-Type": "application/json-patch+json"}),
        await client.delete(f"Patient?identifier={CCCD}|1"),
        await client.post("Patient", json=with_identifier("1"), headers={"If-None-Exist": f"identifier={CCCD}|1"}),
    ):
        assert answer.status_code == 412
        assert answer.json()["issue"][0]["code"] == "multiple-matches"


async def test_conditional_forms_with_chains_and_accents(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", name=[{"family": "Đặng"}]), observation("a", subject={"reference": "Patient/1"}))
    found = await client.post("Observation", json=observation("x"), headers={"If-None-Exist": "subject.family=%C4%90%E1%BA%B7ng"})
    assert (found.status_code, found.json()["id"]) == (200, "a")
    gone = await client.delete("Observation", params={"subject:Patient.family": "dang"})
    assert gone.status_code == 204
    assert await ask.status("Observation/a") == 410


async def test_conditional_read_by_time(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    stamp = (await client.get("Patient/1")).headers["last-modified"]
    assert (await client.get("Patient/1", headers={"If-Modified-Since": stamp})).status_code == 304
    other = await client.get("Patient/1", headers={"If-Modified-Since": stamp, "If-None-Match": 'W/"9"'})
    assert other.status_code == 200
    assert (await client.get("Patient/1", headers={"If-None-Match": 'W/"9", W/"1"'})).status_code == 304


async def test_the_statement_has_an_etag(client: httpx.AsyncClient) -> None:
    first = await client.get("metadata")
    assert first.headers["etag"]
    assert (await client.get("metadata", headers={"If-None-Match": first.headers["etag"]})).status_code == 304
    assert (await client.get("metadata?mode=terminology")).json()["resourceType"] in ("TerminologyCapabilities", "CapabilityStatement")


async def test_capabilities_in_parts(client: httpx.AsyncClient) -> None:
    part = (await client.get("metadata?_elements=fhirVersion,status")).json()
    assert part["fhirVersion"] == "4.0.1"
    assert "rest" not in part


async def test_a_client_s_request_number_comes_back(client: httpx.AsyncClient) -> None:
    answer = await client.get("metadata", headers={"X-Request-Id": "abc-1"})
    assert "abc-1" in (answer.headers.get("x-request-id"), answer.headers.get("x-correlation-id"))


async def test_trailing_slashes(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    for url in ("Patient/1/", "Patient/", "Patient/1/_history/", "Patient/1/_history/1/", "metadata/"):
        assert await ask.status(url) == 200, url
    assert (await client.post("Patient/", json={"resourceType": "Patient"})).status_code == 201
    assert (await client.post("Patient/_search/", data={"_id": "1"})).json()["total"] == 1


async def test_methods_that_are_not_there(client: httpx.AsyncClient) -> None:
    for method, url, allowed in (("POST", "Patient/1", "PUT"), ("PUT", "Patient/1/_history/1", "GET"), ("DELETE", "metadata", "GET"),
                                 ("GET", "Patient/_search", "POST")):  # fmt: skip
        answer = await client.request(method, url)
        assert answer.status_code == 405, url
        assert allowed in answer.headers["allow"], url
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_content_that_is_no_fhir_is_415(client: httpx.AsyncClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream"):
        answer = await client.post("Patient", content=b'{"resourceType":"Patient"}', headers={"Content-Type": content_type})
        assert answer.status_code == 415, content_type
    answer = await client.patch("Patient/1", content=b"<diff/>", headers={"Content-Type": "application/xml-patch+xml"})
    assert answer.status_code in (404, 415)


@pytest.mark.parametrize(
    "body", ['{"resourceType":"Patient","id":"2"}', '{"resourceType":"Patient"}', '{"resourceType":"Observation","id":"1"}']
)
async def test_an_update_whose_body_names_another_is_400(client: httpx.AsyncClient, body: str) -> None:
    answer = await client.put("Patient/1", content=body, headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code == 400


async def test_an_update_without_change_is_an_update(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    again = await client.put("Patient/1", json=patient("1"))
    assert again.status_code == 200
    assert again.headers["etag"] == 'W/"' + again.json()["meta"]["versionId"] + '"'


async def test_patch_keeps_to_the_rules_of_update(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", gender="male"))
    header = {"Content-Type": "application/json-patch+json"}
    bad = await client.patch("Patient/1", json=[{"op": "replace", "path": "/gender", "value": "man"}], headers=header)
    assert bad.status_code in (400, 422)
    test = await client.patch("Patient/1", json=[{"op": "test", "path": "/gender", "value": "female"}], headers=header)
    assert test.status_code in (409, 412, 422)
    same = [{"op": "replace", "path": "/meta/versionId", "value": "9"}, {"op": "add", "path": "/active", "value": True}]
    done = await client.patch("Patient/1", json=same, headers=header)
    assert (done.status_code, done.json()["meta"]["versionId"]) == (200, "2")
    assert (await client.patch("Patient/1", json=same, headers=header | {"If-Match": 'W/"1"'})).status_code == 412


async def test_delete_with_criteria_that_match_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.delete(f"Patient?identifier={CCCD}|none")).status_code in (200, 204)
    assert (await client.delete("Patient")).status_code in (400, 405, 412)
    assert (await client.delete("Patient?unknown=1")).status_code == 400
