"""Bundles as tests write them, and how they are sent."""

import base64
import json
from typing import Any

import httpx

A = "urn:uuid:11111111-1111-4111-8111-111111111111"
B = "urn:uuid:22222222-2222-4222-8222-222222222222"
C = "urn:uuid:33333333-3333-4333-8333-333333333333"

Json = dict[str, Any]


def patient(**more: Any) -> Json:
    return {"resourceType": "Patient", "name": [{"family": "Nguyễn", "given": ["An"]}], **more}


def observation(subject: str | None = None, **more: Any) -> Json:
    out: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}
    return out | ({"subject": {"reference": subject}} if subject else {})


def identified(value: str, system: str = "http://example.org/mrn") -> Json:
    return {"identifier": [{"system": system, "value": value}]}


def entry(method: str, url: str, resource: Json | None = None, full_url: str | None = None, **request: str) -> Json:
    out: Json = {"fullUrl": full_url} if full_url else {}
    if resource is not None:
        out["resource"] = resource
    return out | {"request": {"method": method, "url": url, **request}}


def bundle(kind: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": kind} | ({"entry": list(entries)} if entries else {})


def json_patch(*operations: Json) -> Json:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


async def send(client: httpx.AsyncClient, kind: str, *entries: Json, **headers: str) -> httpx.Response:
    return await client.post("", json=bundle(kind, *entries), headers=headers)


async def done(client: httpx.AsyncClient, *entries: Json, **headers: str) -> list[Json]:
    """The entries of a transaction's response; it must succeed."""
    response = await send(client, "transaction", *entries, **headers)
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["resourceType"], body["type"]) == ("Bundle", "transaction-response")
    found: list[Json] = body.get("entry", [])
    assert len(found) == len(entries)
    return found


async def refused(client: httpx.AsyncClient, *entries: Json, status: int = 400) -> list[Json]:
    """The issues of a transaction that is refused, having left nothing behind."""
    before = await counted(client)
    response = await send(client, "transaction", *entries)
    assert response.status_code == status, response.text
    body = response.json()
    assert body["resourceType"] == "OperationOutcome"
    assert await counted(client) == before
    issues: list[Json] = body["issue"]
    return issues


async def counted(client: httpx.AsyncClient) -> int:
    """How many versions there are of anything."""
    versions: int = len((await client.get("_history", params={"_count": "1000"})).json().get("entry", []))
    return versions


def statuses(entries: list[Json]) -> list[str]:
    return [e["response"]["status"][:3] for e in entries]


def name_of(response_entry: Json) -> str:
    """`Type/id` of what an entry made."""
    location: str = response_entry["response"]["location"]
    return location.partition("/_history/")[0]


async def read(client: httpx.AsyncClient, name: str) -> Json:
    response = await client.get(name)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def expressions(issues: list[Json]) -> list[str]:
    return [e for i in issues for e in i.get("expression", [])]
