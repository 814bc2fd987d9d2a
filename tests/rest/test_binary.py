"""Binary: content as it is, in ranges, and as a resource (R4 binary.html)."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from health_hub.rest.app import FhirApp
from health_hub.settings import Settings
from health_hub.store.store import Store

CONTENT = bytes(range(256)) * 3000  # three pieces of the store
PDF = {"Content-Type": "application/pdf"}


@pytest.fixture
async def url(client: httpx.AsyncClient) -> str:
    made = await client.post("Binary", content=CONTENT, headers=PDF)
    assert made.status_code == 201
    return str(made.headers["location"].partition("/_history")[0])


async def test_content_comes_back_as_it_was_sent(client: httpx.AsyncClient, url: str) -> None:
    for accept in ("*/*", "application/pdf", "image/png, application/*;q=0.5"):
        read = await client.get(url, headers={"Accept": accept})
        assert (read.status_code, read.headers["content-type"], read.headers["etag"]) == (200, "application/pdf", 'W/"1"')
        assert read.content == CONTENT
        assert read.headers["content-length"] == str(len(CONTENT))
        assert read.headers["x-content-type-options"] == "nosniff"
    head = await client.head(url)
    assert (head.headers["content-length"], head.content) == (str(len(CONTENT)), b"")
    assert (await client.get(url, headers={"If-None-Match": 'W/"1"'})).status_code == 304


async def test_the_resource_when_fhir_is_asked_for(client: httpx.AsyncClient, url: str) -> None:
    for get in (client.get(url, headers={"Accept": "application/fhir+json"}), client.get(url, params={"_format": "json"}),
                client.get(url, headers={"Accept": "application/json"})):  # fmt: skip
        body = (await get).json()
        assert (body["resourceType"], body["contentType"]) == ("Binary", "application/pdf")
        assert base64.b64decode(body["data"]) == CONTENT
    assert (await client.get(url, headers={"Accept": "image/png"})).status_code == 406


async def test_a_large_resource_is_encoded_on_the_way(store: Store) -> None:
    transport = httpx.ASGITransport(app=FhirApp(store, Settings(max_body=1000)))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test/fhir/") as client:
        made = await client.post("Binary", content=CONTENT, headers=PDF)
        read = await client.get(made.headers["location"], headers={"Accept": "application/fhir+json"})
        assert base64.b64decode(read.json()["data"]) == CONTENT
        assert read.headers["content-length"] == str(len(read.content))
        assert (await client.get(made.headers["location"], headers={"Accept": "application/fhir+xml"})).status_code == 406


@pytest.mark.parametrize(("asked", "start", "stop"), [
    ("bytes=0-9", 0, 10), ("bytes=262140-262150", 262140, 262151), ("bytes=767990-", 767990, 768000), ("bytes=-5", 767995, 768000),
    ("bytes=5-9999999", 5, 768000), ("bytes=-9999999", 0, 768000),
])  # fmt: skip
async def test_ranges(client: httpx.AsyncClient, url: str, asked: str, start: int, stop: int) -> None:
    part = await client.get(url, headers={"Range": asked})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert part.content == CONTENT[start:stop]


async def test_ranges_that_cannot_be(client: httpx.AsyncClient, url: str) -> None:
    beyond = await client.get(url, headers={"Range": "bytes=768000-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */768000")
    for whole in ("bytes=5-1", "lines=1-2", "bytes=a-b", "bytes=0-1,3-4", "bytes=-"):
        assert (await client.get(url, headers={"Range": whole})).status_code == 200
    stale = await client.get(url, headers={"Range": "bytes=0-1", "If-Range": "Thu, 01 Jan 1970 00:00:00 GMT"})
    assert stale.status_code == 200


async def test_a_resource_posted_is_served_as_content(client: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode("chào".encode()).decode()}
    for kind in ("application/fhir+json", "application/json"):
        made = await client.post("Binary", content=json.dumps(body), headers={"Content-Type": kind})
        assert made.status_code == 201
        read = await client.get(made.headers["location"])
        assert (read.text, read.headers["content-type"]) == ("chào", "text/plain")
        as_json = (await client.get(made.headers["location"], headers={"Accept": "application/fhir+json"})).json()
        assert {k: v for k, v in as_json.items() if k not in ("id", "meta")} == body


async def test_json_that_is_no_binary_is_content(client: httpx.AsyncClient) -> None:
    for content in (b'{"a": 1.0}', b"not json at all"):
        made = await client.post("Binary", content=content, headers={"Content-Type": "application/json"})
        assert made.status_code == 201
        assert (await client.get(made.headers["location"])).content == content


async def test_update_keeps_versions_apart_and_a_patch_keeps_the_content(client: httpx.AsyncClient, url: str) -> None:
    second = await client.put(url, content=b"second", headers={"Content-Type": "text/plain", "X-Security-Context": "Patient/1"})
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')
    assert (await client.get(f"{url}/_history/1")).content == CONTENT
    read = await client.get(url)
    assert (read.content, read.headers["x-security-context"]) == (b"second", "Patient/1")
    patched = await client.patch(url, json={"language": "vi"})
    assert (patched.status_code, (await client.get(url)).content) == (200, b"second")
    stale = await client.put(url, content=b"third", headers={"Content-Type": "text/plain", "If-Match": 'W/"1"'})
    assert stale.status_code == 412


async def test_content_within_its_limit(store: Store) -> None:
    transport = httpx.ASGITransport(app=FhirApp(store, Settings(max_binary=1000)))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test/fhir/") as client:
        assert (await client.post("Binary", content=b"x" * 1000, headers=PDF)).status_code == 201
        assert (await client.post("Binary", content=b"x" * 1001, headers=PDF)).status_code == 413
        assert (await client.post("Binary", content=endless(), headers=PDF)).status_code == 413
