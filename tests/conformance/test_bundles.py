"""batch and transaction as http.html#transaction and bundle.html tell them."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.conformance.asking import Asking, observation, patient

Bundle = dict[str, Any]


def bundle(*entries: dict[str, Any], type: str = "transaction") -> Bundle:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def entry(method: str, url: str, resource: Any = None, full: str | None = None, **request: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full:
        made["fullUrl"] = full
    return made


UUID = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"
OTHER = "urn:uuid:aaefabf0-4be2-4561-91ce-51548425acb9"


async def test_links_are_replaced_everywhere_but_in_canonicals(client: httpx.AsyncClient) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{UUID}">x</a><img src="{UUID}" alt="" /> {UUID}</div>'
    answers = {
        "resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": UUID, "text": {"status": "generated", "div": div},
        "subject": {"reference": f"{UUID}"}, "extension": [{"url": "http://x", "valueUri": UUID}, {"url": "http://y", "valueUrl": UUID},
                                                            {"url": "http://z", "valueString": UUID}],
    }  # fmt: skip
    answer = await client.post(
        "", json=bundle(entry("POST", "Patient", {"resourceType": "Patient"}, UUID), entry("POST", "QuestionnaireResponse", answers))
    )
    assert answer.status_code == 200, answer.text
    locations = [e["response"]["location"] for e in answer.json()["entry"]]
    name = "Patient/" + locations[0].split("Patient/")[1].split("/")[0]
    stored = (await client.get(locations[1])).json()
    assert stored["subject"]["reference"] == name
    assert stored["questionnaire"] == UUID
    assert stored["extension"][0]["valueUri"] == name
    assert stored["extension"][1]["valueUrl"] == name
    assert stored["extension"][2]["valueString"] == UUID
    assert f'href="{name}"' in stored["text"]["div"]
    assert f'src="{name}"' in stored["text"]["div"]
    assert stored["text"]["div"].count(UUID) == 1


async def test_version_specific_references_stay_so(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    answer = await client.post("", json=bundle(
        entry("PUT", "Patient/1", patient("1", active=True), "http://hub.test/fhir/Patient/1"),
        entry("PUT", "Observation/a", observation("a", subject={"reference": "Patient/1/_history/77"})),
        entry("POST", "Patient", {"resourceType": "Patient"}, UUID),
        entry("PUT", "Observation/b", observation("b", subject={"reference": f"{UUID}/_history/1"})),
    ))  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert (await client.get("Observation/a")).json()["subject"]["reference"] == "Patient/1/_history/2"
    assert (await client.get("Observation/b")).json()["subject"]["reference"].endswith("/_history/1")


@pytest.mark.parametrize("order", range(4))
async def test_the_order_of_entries_does_not_matter(ask: Asking, client: httpx.AsyncClient, order: int) -> None:
    await ask.put(patient("old", identifier=[{"system": "http://i", "value": "1"}]), patient("there"))
    entries = [
        entry("GET", "Patient?identifier=http://i|1"),
        entry("PUT", "Patient/there", patient("there", gender="male")),
        entry("POST", "Patient", {"resourceType": "Patient", "identifier": [{"system": "http://i", "value": "1"}]}, UUID),
        entry("DELETE", "Patient/old"),
    ]
    entries = entries[order:] + entries[:order]
    answer = await client.post("", json=bundle(*entries))
    assert answer.status_code == 200, answer.text
    for asked, told in zip(entries, answer.json()["entry"], strict=True):
        want = {"GET": "200", "PUT": "200", "POST": "201", "DELETE": "204"}[asked["request"]["method"]]
        assert told["response"]["status"].startswith(want)
        if want == "200" and asked["request"]["method"] == "GET":
            assert [e["resource"]["id"] != "old" for e in told["resource"]["entry"]] == [True]


async def test_identities_that_overlap_fail(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1", identifier=[{"system": "http://i", "value": "1"}]))
    for other in (
        entry("DELETE", "Patient/1"),
        entry("DELETE", "Patient?identifier=http://i|1"),
        entry("PUT", "Patient?identifier=http://i|1", {"resourceType": "Patient"}),
        entry("PUT", "Patient/1", patient("1")),
    ):
        answer = await client.post("", json=bundle(entry("PUT", "Patient/1", patient("1", active=True)), other))
        assert answer.status_code in (400, 409, 412, 422), other
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert (await client.get("Patient/1")).headers["etag"] == 'W/"1"'


async def test_conditional_references_with_none_or_two_matches_fail(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(*(patient(n, identifier=[{"system": "http://i", "value": "2"}]) for n in "ab"))
    for value in ("1", "2"):
        made = observation("x", subject={"reference": f"Patient?identifier=http://i|{value}"})
        answer = await client.post(
            "", json=bundle(entry("POST", "Observation", made), entry("POST", "Patient", {"resourceType": "Patient"}))
        )
        assert answer.status_code in (400, 404, 412, 422)
    assert (await client.get("Patient?_summary=count")).json()["total"] == 2


async def test_conditional_entries_by_full_url_resolve_to_what_matched(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("known", identifier=[{"system": "http://i", "value": "1"}]))
    ident = [{"system": "http://i", "value": "1"}]
    answer = await client.post("", json=bundle(
        entry("POST", "Patient", {"resourceType": "Patient", "identifier": ident}, UUID, ifNoneExist="identifier=http://i|1"),
        entry("PUT", "Observation?identifier=http://o|9", {**observation("x"), "identifier": [{"system": "http://o", "value": "9"}],
                                                            "subject": {"reference": UUID}} | {"id": "mine"}, OTHER),
        entry("PUT", "Observation/p", observation("p", derivedFrom=[{"reference": OTHER}])),
    ))  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == ["200", "201", "201"]
    assert (await client.get("Observation/p")).json()["derivedFrom"][0]["reference"] == "Observation/mine"
    assert (await client.get("Observation/mine")).json()["subject"]["reference"] == "Patient/known"


async def test_a_response_has_status_location_etag_and_time(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "", json=bundle(entry("POST", "Patient", {"resourceType": "Patient"}), entry("PUT", "Patient/n", patient("n")))
    )
    assert answer.json()["type"] == "transaction-response"
    for told in answer.json()["entry"]:
        assert told["response"]["status"].startswith("201")
        assert told["response"]["etag"] == 'W/"1"'
        assert "/_history/1" in told["response"]["location"]
        assert told["response"]["lastModified"]
    checked = await client.post("Bundle/$validate", json=answer.json())
    assert all(i["severity"] != "error" for i in checked.json()["issue"]), checked.text


async def test_prefer_in_a_transaction(client: httpx.AsyncClient) -> None:
    for prefer, has in (("return=minimal", False), ("return=representation", True), ("return=OperationOutcome", False)):
        answer = await client.post("", json=bundle(entry("POST", "Patient", {"resourceType": "Patient"})), headers={"Prefer": prefer})
        assert ("resource" in answer.json()["entry"][0]) == has, prefer


async def test_a_batch_tells_each_outcome(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"), patient("gone"))
    await client.delete("Patient/gone")
    json_patch = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2FjdGl2ZSIsInZhbHVlIjp0cnVlfV0=",
    }
    entries = [
        entry("GET", "Patient/1"),
        entry("GET", "Patient/none"),
        entry("GET", "Patient/gone"),
        entry("PUT", "Patient/2", patient("3")),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "x"}),
        entry("GET", "Patient?_id=1&_summary=count"),
        entry("HEAD", "Patient/1"),
        entry("GET", "Patient/1", ifNoneMatch='W/"1"'),
        entry("PATCH", "Patient/1", json_patch),
        entry("DELETE", "Patient/none"),
        entry("GET", "Patient/1/_history"),
        entry("GET", "metadata"),
        entry("GET", "Patient/1/$everything"),
    ]
    answer = await client.post("", json=bundle(*entries, type="batch"))
    told = [e["response"]["status"][:3] for e in answer.json()["entry"]]
    assert told == ["200", "404", "410", "400", "422", "200", "200", "304", "200", "204", "200", "200", "200"] or told[7] == "200"
    assert answer.json()["type"] == "batch-response"
    for one in answer.json()["entry"]:
        if one["response"]["status"][0] == "4":
            assert one["response"]["outcome"]["resourceType"] == "OperationOutcome"


async def test_a_history_can_be_sent_to_another_hub(ask: Asking, client: httpx.AsyncClient) -> None:
    """R4: servers SHOULD accept a history Bundle; refusing it says so."""
    await ask.put(patient("1"), patient("1", active=True))
    history = (await client.get("_history")).json()
    answer = await client.post("", json=history)
    assert answer.status_code in (200, 400, 422)
    assert answer.json()["resourceType"] in ("Bundle", "OperationOutcome")


async def test_fifty_writers_with_if_match_lose_nothing(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put({"resourceType": "Basic", "id": "n", "code": {"text": "0"}})
    versions: list[str] = []

    async def writer() -> None:
        while True:
            now = await client.get("Basic/n")
            text = str(int(now.json()["code"]["text"]) + 1)
            done = await client.put(
                "Basic/n", json={"resourceType": "Basic", "id": "n", "code": {"text": text}}, headers={"If-Match": now.headers["etag"]}
            )
            if done.status_code == 200:
                versions.append(done.json()["meta"]["versionId"])
                return
            assert done.status_code in (409, 412)

    await asyncio.gather(*[writer() for _ in range(50)])
    assert sorted(map(int, versions)) == list(range(2, 52))
    assert (await client.get("Basic/n")).json()["code"]["text"] == "50"


async def test_transactions_that_write_the_same_two_resources_in_turn(client: httpx.AsyncClient) -> None:
    """No deadlock, nothing half done."""

    async def send(n: int) -> int:
        a, b = entry("PUT", "Basic/a", {"resourceType": "Basic", "id": "a", "code": {"text": str(n)}}), entry(
            "PUT", "Basic/b", {"resourceType": "Basic", "id": "b", "code": {"text": str(n)}})  # fmt: skip
        answer = await client.post("", json=bundle(*((a, b) if n % 2 else (b, a))))
        return answer.status_code

    codes = await asyncio.gather(*[send(n) for n in range(30)])
    assert set(codes) <= {200, 409}
    assert codes.count(200) > 0
    a, b = (await client.get("Basic/a")).json(), (await client.get("Basic/b")).json()
    assert a["code"] == b["code"]
    assert a["meta"]["versionId"] == b["meta"]["versionId"] == str(codes.count(200))


async def test_a_transaction_over_the_edges_is_refused_whole(client: httpx.AsyncClient) -> None:
    for made in (
        {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": {"resourceType": "Patient"}}]},
        bundle(entry("PUT", "Patient", {"resourceType": "Patient"})),
        bundle(entry("POST", "Patient")),
        bundle(entry("FETCH", "Patient/1")),
        bundle(entry("POST", "Patient", {"resourceType": "Observation"})),
        bundle(entry("POST", "Patient", {"resourceType": "Patient"}, UUID), entry("POST", "Patient", {"resourceType": "Patient"}, UUID)),
        bundle(entry("POST", "Observation", observation("x", subject={"reference": UUID}))),
    ):
        answer = await client.post("", json=made)
        assert answer.status_code in (400, 422), made
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert answer.json()["issue"][0].get("expression"), answer.text
    assert (await client.get("?_summary=count")).json()["total"] == 0
