"""Bundles that mean harm: too many, each other's, nobody's, or one inside the other."""

import json
from typing import Any

import pytest

from tests.hostile.server import Attacked

UUID = "urn:uuid:05c2b6f8-9c2c-4a5e-8f5f-2d8a3c1f0a11"


def bundle(*entries: Any, type: str = "transaction", **more: Any) -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": type, "entry": list(entries), **more}).encode()


def put(id: str, **more: Any) -> dict[str, Any]:
    resource = {"resourceType": "Basic", "id": id, "code": {"text": "vanishes"}, **more}
    return {"resource": resource, "request": {"method": "PUT", "url": f"Basic/{id}"}}


def post(full_url: str | None = None, **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": {"resourceType": "Basic", "code": {"text": "vanishes"}, **more},
        "request": {"method": "POST", "url": "Basic"},
    }
    return entry | ({"fullUrl": full_url} if full_url else {})


def asks(method: str, url: Any, **more: Any) -> dict[str, Any]:
    return {"request": {"method": method, "url": url, **more}}


BUNDLES: dict[str, bytes] = {
    "one entry too many": bundle(*[post()] * 10_001),
    "a hundred thousand empty entries": bundle(*[{}] * 100_000),
    "nulls for entries": bundle(*[None] * 1000),
    "numbers for entries": bundle(1, 2, 3),
    "an object for entries": json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": {}}).encode(),
    "no request": bundle({"resource": {"resourceType": "Basic", "code": {"text": "a"}}}),
    "an unknown method": bundle(asks("BREW", "Basic/1")),
    "no url": bundle(asks("GET", "")),
    "a number for a url": bundle(asks("GET", 1)),
    "the same resource twice": bundle(put("b1"), put("b1")),
    "the same resource a thousand times": bundle(*[put("b1")] * 1000),
    "put and delete": bundle(put("b1"), asks("DELETE", "Basic/b1")),
    "the same fullUrl twice": bundle(post(UUID), post(UUID)),
    "another id than the url": bundle({**put("b1"), "request": {"method": "PUT", "url": "Basic/b2"}}),
    "another type than the url": bundle({**put("b1"), "request": {"method": "PUT", "url": "Patient/b1"}}),
    "a reference to nobody": bundle(put("b1"), post(subject={"reference": UUID})),
    "a condition that nothing meets": bundle(post(subject={"reference": "Patient?identifier=nobody|x"})),
    "a condition that several meet": bundle(post(subject={"reference": "Patient?birthdate=gt1900"})),
    "a condition of ten thousand values": bundle(
        post(subject={"reference": "Patient?identifier=" + ",".join(f"a|{i}" for i in range(10_000))})
    ),
    "a condition of brackets": bundle(post(subject={"reference": "Patient?_filter=" + "(" * 5000})),
    "a condition of SQL": bundle(post(subject={"reference": "Patient?name=' OR 1=1 --"})),
    "a stale ifMatch": bundle(put("b1"), {**put("an"), "request": {"method": "PUT", "url": "Patient/an", "ifMatch": 'W/"99"'}}),
    "ifMatch of nonsense": bundle(put("b1"), asks("DELETE", "Patient/an", ifMatch="' OR 1=1")),
    "a bundle in itself": bundle({"resource": json.loads(bundle(asks("DELETE", "Patient/an"))), "request": {"method": "POST", "url": ""}}),
    "a bad resource among good ones": bundle(*[put(f"b{i}") for i in range(200)], put("bad", nonsense=1)),
    "a bad reference among good ones": bundle(*[put(f"b{i}") for i in range(200)], post(subject={"reference": UUID})),
    "history for a transaction": bundle(put("b1"), type="history"),
    "an unknown type": bundle(put("b1"), type="explosion"),
    "paths upward": bundle(put("b1"), asks("DELETE", "../Patient/an")),
    "elsewhere": bundle(put("b1"), asks("DELETE", "http://127.0.0.1:9/fhir/Patient/an")),
    "a patch that is none": bundle(
        put("b1"),
        {
            "resource": {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "AAAA"},
            "request": {"method": "PATCH", "url": "Patient/an"},
        },
    ),
    "a patch by expression": bundle(
        put("b1"),
        {
            "resource": {
                "resourceType": "Parameters",
                "parameter": [
                    {"name": "operation", "part": [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "(" * 5000}]}
                ],
            },
            "request": {"method": "PATCH", "url": "Patient/an"},
        },
    ),
}


@pytest.mark.parametrize("name", sorted(BUNDLES))
def test_nothing_of_a_bad_transaction_stays(either: Attacked, name: str) -> None:
    either.post("", BUNDLES[name]).refused(400, 404, 409, 412, 413, 422)
    assert either.get("Basic?_content=vanishes&_summary=count").json()["total"] == 0


def test_a_batch_tells_each_entry_what_is_wrong(either: Attacked) -> None:
    for name, body in BUNDLES.items():
        answer = either.post("", body.replace(b'"transaction"', b'"batch"', 1))
        if answer.status != 200:
            answer.refused(400, 413, 422)
            continue
        for entry in answer.json()["entry"]:
            assert entry["response"]["status"][0] in "24", (name, entry)
    made = either.get("Basic?_content=vanishes&_count=1000&_elements=id").json()
    assert made["entry"], "what is good in a batch was done, and is found"
    for entry in made["entry"]:
        either.call("DELETE", f"Basic/{entry['resource']['id']}")


def test_references_that_run_in_circles(either: Attacked) -> None:
    """Each of two hundred points at the next, the last at the first: fine, and soon done."""
    urls = [f"urn:uuid:05c2b6f8-9c2c-4a5e-8f5f-{i:012x}" for i in range(200)]
    ring = [
        {
            "fullUrl": url,
            "resource": {"resourceType": "Patient", "link": [{"other": {"reference": urls[i - 1]}, "type": "seealso"}]},
            "request": {"method": "POST", "url": "Patient"},
        }
        for i, url in enumerate(urls)
    ]
    answer = either.post("", bundle(*ring))
    assert answer.status == 200
    first = answer.json()["entry"][0]["response"]["location"].split("/_history")[0]
    for query in (
        f"_id={first.partition('/')[2]}&_include:iterate=Patient:link",
        f"_id={first.partition('/')[2]}&_revinclude:iterate=Patient:link",
        "link:Patient.link:Patient.link:Patient.link:Patient._id=x",
    ):
        assert either.get(f"Patient?{query}").status in (200, 400)
    assert either.get(f"{first}/$everything").status == 200
