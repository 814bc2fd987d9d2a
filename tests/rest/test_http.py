"""What holds for every request: formats, sizes, methods, errors, CORS (R4 http.html)."""

import gzip
import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from health_hub.app import create
from health_hub.rest import negotiate
from health_hub.rest.app import FhirApp
from health_hub.rest.route import Route
from health_hub.settings import Settings
from health_hub.store.store import Store

PATIENT: dict[str, Any] = {"resourceType": "Patient", "active": True}


@pytest.fixture
async def url(client: httpx.AsyncClient) -> str:
    return str((await client.post("Patient", json=PATIENT)).headers["location"].partition("/_history")[0])


@pytest.mark.parametrize(("accept", "format"), [
    ("", "json"), ("*/*", "json"), ("application/fhir+json", "json"), ("application/json", "json"), ("text/json", "json"),
    ("application/fhir+xml", "xml"), ("application/xml", "xml"), ("text/xml;charset=UTF-8", "xml"), ("APPLICATION/FHIR+XML", "xml"),
    ("application/fhir+xml;q=0.5, application/fhir+json;q=0.6", "json"), ("application/fhir+json;q=0.1, application/fhir+xml", "xml"),
    ("application/fhir+json;q=0, */*", "xml"), ("application/fhir+json; fhirVersion=4.0", "json"), ("application/*", "json"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"), ("image/png, */*;q=0.1", "json"),
    ("text/turtle", None), ("image/png", None), ("application/fhir+json;fhirVersion=5.0", None), ("application/fhir+json;q=0", None),
])  # fmt: skip
def test_accept(accept: str, format: str | None) -> None:
    assert negotiate.accepted(accept) == format


@pytest.mark.parametrize(("format", "kind"), [
    ("json", "json"), ("xml", "xml"), ("application/fhir+xml", "xml"), ("text/xml", "xml"), ("application/json", "json"),
])  # fmt: skip
async def test_format_goes_before_accept(client: httpx.AsyncClient, url: str, format: str, kind: str) -> None:
    for accept in ("application/fhir+xml", "application/fhir+json", "image/png"):
        response = await client.get(url, params={"_format": format}, headers={"Accept": accept})
        assert response.headers["content-type"] == f"application/fhir+{kind};charset=utf-8"
    assert (await client.get(f"{url}?_format=application/fhir+xml")).headers["content-type"].startswith("application/fhir+xml")


async def test_what_cannot_be_answered_is_not_begun(client: httpx.AsyncClient) -> None:
    for response in (await client.put("Patient/x", json=PATIENT | {"id": "x"}, headers={"Accept": "image/png"}),
                     await client.put("Patient/x?_format=ttl", json=PATIENT | {"id": "x"})):  # fmt: skip
        assert response.status_code == 406
        assert response.json()["resourceType"] == "OperationOutcome"
    assert (await client.get("Patient/x")).status_code == 404


async def test_xml_both_ways(client: httpx.AsyncClient) -> None:
    xml = b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>'
    made = await client.post("Patient", content=xml, headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"})
    assert made.status_code == 201
    assert ET.fromstring(made.text).tag == "{http://hl7.org/fhir}Patient"
    missing = await client.get("Patient/none", headers={"Accept": "application/xml"})
    assert ET.fromstring(missing.text).tag == "{http://hl7.org/fhir}OperationOutcome"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/fhir+json; charset=utf-16",
                                  "application/fhir+json;fhirVersion=3.0"])  # fmt: skip
async def test_other_content_types_are_415(client: httpx.AsyncClient, kind: str) -> None:
    response = await client.post("Patient", content=json.dumps(PATIENT), headers={"Content-Type": kind})
    assert (response.status_code, response.json()["resourceType"]) == (415, "OperationOutcome")


@pytest.mark.parametrize("kind", ["application/json", "text/json", "application/fhir+json; charset=UTF-8", "application/json+fhir"])
async def test_the_names_of_json(client: httpx.AsyncClient, kind: str) -> None:
    assert (await client.post("Patient", content=json.dumps(PATIENT), headers={"Content-Type": kind})).status_code == 201


@pytest.mark.parametrize("body", [
    b"", b"{", b"null", b"1", b"[]", b'{"resourceType":"Patient","active":true,"active":false}', b'{"resourceType":"Patient"}x',
    b"\xff\xfe{}", b"[" * 10_000, b'{"a":' * 10_000, b'{"resourceType":"Patient","active":NaN}', b'{"resourceType":"Patient\x00"}',
    b'{"resourceType":"Patient","id":"a","active":"yes"}', b'{"resourceType":["Patient"]}', b'{"resourceType":"\\ud800"}',
])  # fmt: skip
async def test_bodies_that_are_no_resource(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("Patient", content=body, headers={"Content-Type": "application/fhir+json"})
    assert response.status_code == 400, response.text
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_compressed_bodies_within_their_limit(store: Store) -> None:
    transport = httpx.ASGITransport(app=FhirApp(store, Settings(max_body=10_000)))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test/fhir/") as client:
        async def post(content: bytes, encoding: str = "gzip") -> httpx.Response:
            return await client.post("Patient", content=content, headers={"Content-Type": "application/json", "Content-Encoding": encoding})

        good = gzip.compress(json.dumps(PATIENT).encode())
        assert (await post(good)).status_code == 201
        assert (await post(gzip.compress(b" " * 100_000_000))).status_code == 413
        assert (await post(b" " * 10_001, "identity")).status_code == 413
        assert (await post(good[:-10])).status_code == 400
        assert (await post(b"plain")).status_code == 400
        assert (await post(good, "br")).status_code == 415

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 1000

        assert (await client.post("Patient", content=endless(), headers={"Content-Type": "application/json"})).status_code == 413


@pytest.mark.parametrize(("method", "path", "status", "allow"), [
    ("PUT", "Patient/_history", 405, "GET, HEAD"), ("DELETE", "", 405, "GET, HEAD, POST"),
    ("POST", "Patient/1", 405, "GET, HEAD, PUT, PATCH, DELETE"),
    ("POST", "metadata", 405, "GET, HEAD"), ("GET", "_search", 405, "POST"), ("BREW", "Patient/1", 405, "GET, HEAD, PUT, PATCH, DELETE"),
    ("GET", "Nonsense", 404, None), ("GET", "Nonsense/1", 404, None), ("GET", "patient/1", 404, None), ("GET", "Patient/1/2/3", 404, None),
    ("GET", "Patient//1", 404, None), ("GET", "Parameters/1", 404, None), ("GET", "Patient/1/$nonsense", 404, None),
    ("GET", "$no", 404, None),
    ("GET", "Patient/1/_history/x", 404, None), ("GET", "Patient/1/_history/1/2", 404, None), ("GET", "DomainResource", 404, None),
])  # fmt: skip
async def test_paths_and_methods(client: httpx.AsyncClient, method: str, path: str, status: int, allow: str | None) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (status, allow)
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_a_slash_at_the_end_means_nothing(client: httpx.AsyncClient, url: str) -> None:
    assert (await client.get(url + "/")).status_code == 200
    assert (await client.get("Patient/")).status_code == 200
    assert (await client.get("http://hub.test/fhir?_type=Patient")).status_code == 200
    assert (await client.get("http://hub.test/fhir/?_type=Patient")).status_code == 200


async def test_a_url_over_64_kib_is_414(app: FhirApp) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/fhir/Patient", "raw_path": b"/fhir/Patient",
             "query_string": b"name=" + b"x" * (1 << 20),
             "headers": [(b"host", b"hub.test")], "scheme": "http", "client": ("127.0.0.1", 1)}  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 414
    assert json.loads(sent[1]["body"])["issue"][0]["code"] == "too-long"


async def test_pretty_keeps_numbers(client: httpx.AsyncClient) -> None:
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}'
    made = await client.post("Observation", content=body, headers={"Content-Type": "application/json"})
    text = (await client.get(made.headers["location"], params={"_pretty": "true"})).text
    assert '\n    "value": 1.00\n' in text


async def test_answers_are_compressed_when_asked_and_worth_it(client: httpx.AsyncClient) -> None:
    long = await client.post("Patient", json=PATIENT | {"name": [{"text": "Nguyễn Văn An " * 1000}]})
    url = long.headers["location"]
    response = await client.get(url, headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.json() == long.json()
    assert "content-encoding" not in (await client.get(url, headers={"Accept-Encoding": "identity"})).headers


async def test_what_nobody_expected_is_500_without_internals(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch,
                                                             caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("health_hub.rest.route._READ", Route(broken))
    monkeypatch.setitem(__import__("health_hub.rest.route").rest.route._INSTANCE, "GET", Route(broken))
    with caplog.at_level(logging.ERROR):
        response = await client.get("Patient/1")
    assert (response.status_code, response.json()["issue"][0]["code"]) == (500, "exception")
    assert "hunter2" not in response.text
    number = response.json()["issue"][0]["diagnostics"].rpartition(" ")[2]
    assert number in caplog.text
    assert "hunter2" in caplog.text


async def test_browsers_of_other_origins(client: httpx.AsyncClient, url: str, store: Store) -> None:
    asked = await client.options(url, headers={"Origin": "https://app.vn", "Access-Control-Request-Method": "PUT"})
    assert asked.status_code == 204
    assert "PUT" in asked.headers["access-control-allow-methods"]
    for name in ("If-Match", "If-None-Exist", "Prefer", "Authorization", "Content-Type"):
        assert name in asked.headers["access-control-allow-headers"]
    for response in (await client.get(url, headers={"Origin": "https://app.vn"}), await client.get("Patient/none", headers={"Origin": "https://app.vn"})):
        assert response.headers["access-control-allow-origin"] == "*"
        for name in ("ETag", "Location", "Link", "Content-Location"):
            assert name in response.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in response.headers
    assert "access-control-allow-origin" not in (await client.get(url)).headers
    some = FhirApp(store, Settings(cors_origins=("https://ours.vn",)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=some), base_url="http://hub.test") as other:
        assert "access-control-allow-origin" not in (await other.get(url, headers={"Origin": "https://app.vn"})).headers
        ours = (await other.get(url, headers={"Origin": "https://ours.vn"})).headers
        assert (ours["access-control-allow-origin"], ours["access-control-allow-credentials"]) == ("https://ours.vn", "true")


async def test_the_base_of_links_can_be_set(store: Store) -> None:
    app = FhirApp(store, Settings(base_url="https://hub.vn/fhir/"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://inside:8080") as client:
        assert (await client.post("/fhir/Patient", json=PATIENT)).headers["location"].startswith("https://hub.vn/fhir/Patient/")


async def test_request_ids_come_back(client: httpx.AsyncClient) -> None:
    assert (await client.get("Patient/1", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"


async def test_the_application(store: Store) -> None:
    transport = httpx.ASGITransport(app=create(Settings(auth=False), store))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        page = await client.get("/")
        assert 'lang="vi"' in page.text
        assert 'lang="en"' in page.text
        assert (await client.get("/health/live")).json() == {"status": "ok"}
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/fhir/Patient/1")).json()["resourceType"] == "OperationOutcome"
        assert (await client.get("/fhirs")).status_code == 404
