"""What other clients send, replayed byte for byte: the Android FHIR SDK, blazectl, smart-fetch, HAPI, fhirpy, and pages in a browser."""

import base64
import http.client
import json
import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest

SYSTEM = "http://example.vn/habits"
HANOI = timezone(timedelta(hours=7))
JSON = {"Content-Type": "application/fhir+json"}


class Answer:
    def __init__(self, status: int, headers: http.client.HTTPMessage, content: bytes) -> None:
        self.status, self.headers, self.content = status, headers, content

    @property
    def body(self) -> Any:
        return json.loads(self.content)


class Wire:
    """Sends exactly the target and the headers it is given, and Host; nothing a library would add or put right."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.at, self.path = urlsplit(base).netloc, urlsplit(base).path

    def __call__(self, method: str, target: str = "", body: Any = None, **headers: str) -> Answer:
        """`target` is what follows the base: "" is the base itself, "/" with its slash."""
        connection = http.client.HTTPConnection(self.at, timeout=30)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.putrequest(method, self.path + target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if content is not None:
                if "Content_Type" not in headers:
                    connection.putheader("Content-Type", "application/fhir+json")
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            got = connection.getresponse()
            return Answer(got.status, got.headers, got.read())
        finally:
            connection.close()

    def follow(self, url: str) -> Answer:
        assert url.startswith(self.base)
        return self("GET", url.removeprefix(self.base))


@pytest.fixture
def wire(base: str) -> Wire:
    return Wire(base)


@pytest.fixture
def tag() -> str:
    return uuid.uuid4().hex[:12]


def patient(tag: str, id: str | None = None, **more: Any) -> dict[str, Any]:
    name = [{"use": "official", "family": "Lò", "given": ["Văn", "Ún"]}]
    return {"resourceType": "Patient", **({"id": id} if id else {}), "identifier": [{"system": SYSTEM, "value": tag}], "name": name, **more}


def bundle(*entries: dict[str, Any], type: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def patch_as_binary(operations: list[dict[str, Any]]) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


def matched(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.content
    return [e["resource"]["id"] for e in answer.body.get("entry", []) if e["search"]["mode"] == "match"]


# Android FHIR SDK


def test_android_no_accept_and_no_prefer_brings_the_resource_back(wire: Wire, tag: str) -> None:
    made = wire("PUT", f"/Patient/a-{tag}", patient(tag, f"a-{tag}"), Content_Type="application/fhir+json")
    assert (made.status, made.body["meta"]["versionId"]) == (201, "1")
    assert made.headers["Content-Type"].startswith("application/fhir+json")
    created = wire("POST", "/Patient", patient(tag))
    assert (created.status, created.body["name"][0]["family"]) == (201, "Lò")
    operations = [{"op": "replace", "path": "/name/0/family", "value": "Quàng"}]
    patched = wire("PATCH", f"/Patient/a-{tag}", operations, Content_Type="application/json-patch+json", If_Match='W/"1"')
    assert (patched.status, patched.body["name"][0]["family"], patched.headers["ETag"]) == (200, "Quàng", 'W/"2"')


def test_android_upload_of_a_bundle(wire: Wire, tag: str) -> None:
    """PUT, PATCH as Binary and DELETE in one transaction to `[base]/`, each entry's fullUrl the same as its url."""
    ids = [f"{n}-{tag}" for n in ("put", "patch", "delete")]
    for id in ids[1:]:
        assert wire("PUT", f"/Patient/{id}", patient(tag, id)).status == 201

    def entry(id: str, method: str, **more: Any) -> dict[str, Any]:
        if_match = {} if method == "PUT" else {"ifMatch": 'W/"1"'}
        return {"fullUrl": f"Patient/{id}", "request": {"method": method, "url": f"Patient/{id}", **if_match}, **more}

    upload = bundle(
        entry(ids[0], "PUT", resource=patient(tag, ids[0])),
        entry(ids[1], "PATCH", resource=patch_as_binary([{"op": "add", "path": "/active", "value": True}])),
        entry(ids[2], "DELETE"),
    )
    answer = wire("POST", "/", upload)
    assert answer.status == 200, answer.content
    assert answer.body["type"] == "transaction-response"
    assert [e["response"]["status"][:3] for e in answer.body["entry"]] == ["201", "200", "204"]
    assert [e["response"].get("etag") for e in answer.body["entry"]][:2] == ['W/"1"', 'W/"2"']
    # It stores versions and times from the answer.
    assert all("lastModified" in e["response"] for e in answer.body["entry"][:2])
    assert wire("GET", f"/Patient/{ids[1]}").body["active"] is True
    assert wire("GET", f"/Patient/{ids[2]}").status == 410


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_android_stale_if_match_in_a_transaction_changes_nothing(wire: Wire, tag: str, method: str) -> None:
    id, other = f"stale-{tag}", f"other-{tag}"
    wire("PUT", f"/Patient/{id}", patient(tag, id))
    wire("PUT", f"/Patient/{id}", patient(tag, id, active=True))
    stale: dict[str, Any] = {"fullUrl": f"Patient/{id}", "request": {"method": method, "url": f"Patient/{id}", "ifMatch": 'W/"1"'}}
    if method == "PUT":
        stale["resource"] = patient(tag, id)
    elif method == "PATCH":
        stale["resource"] = patch_as_binary([{"op": "remove", "path": "/active"}])
    beside = {"fullUrl": f"Patient/{other}", "resource": patient(tag, other), "request": {"method": "PUT", "url": f"Patient/{other}"}}
    answer = wire("POST", "/", bundle(beside, stale))
    assert (answer.status, answer.body["resourceType"]) == (412, "OperationOutcome")
    assert wire("GET", f"/Patient/{id}").body["meta"]["versionId"] == "2"
    assert wire("GET", f"/Patient/{other}").status == 404


def test_android_sync_gets_each_change_once(wire: Wire, tag: str) -> None:
    """`_lastUpdated=gt` the last one's meta.lastUpdated, in +07:00 with milliseconds; one worker leaves the plus sign bare."""
    for n in range(3):
        wire("PUT", f"/Patient/s{n}-{tag}", patient(tag, f"s{n}-{tag}"))
        time.sleep(0.003)
    page = wire("GET", f"/Patient?identifier={tag}&_sort=_lastUpdated")
    assert matched(page) == [f"s{n}-{tag}" for n in range(3)]
    shown = [datetime.fromisoformat(e["resource"]["meta"]["lastUpdated"]) for e in page.body["entry"]]
    for known, left in ((0, 2), (1, 1), (2, 0)):
        at = shown[known].astimezone(HANOI).isoformat(timespec="milliseconds")
        assert at.endswith("+07:00")
        for plus in ("+", "%2B"):
            asked = at.replace("+", plus)
            assert len(matched(wire("GET", f"/Patient?identifier={tag}&_sort=_lastUpdated&_lastUpdated=gt{asked}"))) == left
            counted = wire("GET", f"/Patient?identifier={tag}&_lastUpdated=gt{asked}&_summary=count")
            assert (counted.body["total"], "entry" in counted.body) == (left, False)


def test_android_pages_after_the_count(wire: Wire, tag: str) -> None:
    for n in range(7):
        wire("PUT", f"/Patient/p{n}-{tag}", patient(tag, f"p{n}-{tag}"))
    assert wire("GET", f"/Patient?identifier={SYSTEM}|{tag}&_summary=count").body["total"] == 7
    answer, seen = wire("GET", f"/Patient?identifier={SYSTEM}%7C{tag}&_sort=_lastUpdated&_count=3"), []
    while True:
        seen += matched(answer)
        onward = [link["url"] for link in answer.body["link"] if link["relation"] == "next"]
        if not onward:
            break
        answer = wire.follow(onward[0])
    assert seen == [f"p{n}-{tag}" for n in range(7)]


# blazectl


def test_blazectl_posts_to_the_base_without_slash(wire: Wire, tag: str) -> None:
    create = {"resource": patient(tag), "request": {"method": "POST", "url": "Patient"}}
    answer = wire("POST", "", bundle(create, create), Content_Type="application/fhir+json", Accept="application/fhir+json")
    assert [e["response"]["status"][:3] for e in answer.body["entry"]] == ["201", "201"]


def test_blazectl_downloads_by_the_link_header(wire: Wire, tag: str) -> None:
    for n in range(5):
        wire("PUT", f"/Patient/l{n}-{tag}", patient(tag, f"l{n}-{tag}"))
    seen, target = [], f"/Patient?identifier={tag}&_count=2"
    while target:
        answer = wire("GET", target, Accept="application/fhir+json")
        seen += matched(answer)
        links = dict(reversed(part.strip().split("; ")) for part in (answer.headers["Link"] or "").split(", ") if part)
        target = links.get('rel="next"', "").strip("<>").removeprefix(wire.base)
    assert sorted(seen) == [f"l{n}-{tag}" for n in range(5)]


def test_blazectl_searches_the_whole_system(wire: Wire, tag: str) -> None:
    wire("PUT", f"/Patient/w-{tag}", patient(tag, f"w-{tag}"))
    wire("PUT", f"/Organization/w-{tag}", {"resourceType": "Organization", "id": f"w-{tag}", "name": "Trạm y tế"})
    assert len(matched(wire("GET", f"?_id=w-{tag}"))) == 2
    assert len(matched(wire("GET", f"/?_id=w-{tag}"))) == 2
    form = f"_id=w-{tag}&_type=Patient".encode()
    assert matched(wire("POST", "/_search", form, Content_Type="application/x-www-form-urlencoded")) == [f"w-{tag}"]


# smart-fetch and bulk clients


def test_crawl_by_last_updated_while_others_write(wire: Wire, tag: str) -> None:
    for n in range(12):
        wire("PUT", f"/Patient/c{n:02}-{tag}", patient(tag, f"c{n:02}-{tag}"))
    answer, seen = wire("GET", f"/Patient?identifier={tag}&_lastUpdated=ge2020-01-01&_sort=_lastUpdated&_count=4"), []
    while True:
        seen += matched(answer)
        onward = [link["url"] for link in answer.body["link"] if link["relation"] == "next"]
        if not onward:
            break
        wire("PUT", f"/Patient/c00-{tag}", patient(tag, f"c00-{tag}", active=len(seen) % 8 == 0))
        answer = wire.follow(onward[0])
    assert sorted(seen) == [f"c{n:02}-{tag}" for n in range(12)]


def test_asynchronous_answer_is_polled(wire: Wire, tag: str) -> None:
    wire("PUT", f"/Patient/y-{tag}", patient(tag, f"y-{tag}"))
    started = wire("GET", f"/Patient?identifier={tag}", Prefer="respond-async", Accept="application/fhir+json")
    assert (started.status, "Content-Location" in started.headers) == (202, True)
    for _ in range(100):
        answer = wire.follow(started.headers["Content-Location"])
        if answer.status != 202:
            break
        assert float(answer.headers["Retry-After"]) >= 0
        assert answer.headers["X-Progress"]
        time.sleep(0.05)
    assert answer.status == 200
    assert f"y-{tag}" in answer.content.decode()


# HAPI and fhirpy, in the forms that their own tests do not reach


def test_hapi_strong_if_match(wire: Wire, tag: str) -> None:
    wire("PUT", f"/Patient/h-{tag}", patient(tag, f"h-{tag}"))
    assert wire("PUT", f"/Patient/h-{tag}", patient(tag, f"h-{tag}", active=True), If_Match='"1"').status == 200
    assert wire("PUT", f"/Patient/h-{tag}", patient(tag, f"h-{tag}", active=False), If_Match='"1"').status == 412


def test_fhirpy_version_without_quotes_and_total_method(wire: Wire, tag: str) -> None:
    wire("PUT", f"/Patient/f-{tag}", patient(tag, f"f-{tag}"), Content_Type="application/json")
    assert wire("GET", f"/Patient/f-{tag}", If_None_Match="1").status == 304
    assert wire("GET", f"/Patient/f-{tag}", If_None_Match="7").status == 200
    counted = wire("GET", f"/Patient?identifier={tag}&_count=0&_totalMethod=count", Prefer="handling=strict")
    assert counted.body["total"] == 1


def test_everything_since(wire: Wire, tag: str) -> None:
    wire("PUT", f"/Patient/e-{tag}", patient(tag, f"e-{tag}"))
    later = (datetime.now(HANOI) + timedelta(hours=1)).isoformat(timespec="milliseconds").replace("+", "%2B")
    assert "entry" not in wire("GET", f"/Patient/e-{tag}/$everything?_since={later}").body
    assert len(wire("GET", f"/Patient/e-{tag}/$everything?_since=2020-01-01T00:00:00%2B07:00").body["entry"]) == 1


# A page in a browser (Fetch standard)


def names(header: str | None) -> set[str]:
    return {part.strip().lower() for part in (header or "").split(",")}


def test_browser_preflight(wire: Wire) -> None:
    wanted = "authorization,content-type,if-match,if-none-exist,if-none-match,prefer,x-medplum"
    asked = {"Origin": "https://app.example.vn", "Access_Control_Request_Method": "PATCH", "Access_Control_Request_Headers": wanted}
    for target in ("/Patient/1", "/Patient", "/", "", "/metadata", "/$graphql"):
        answer = wire("OPTIONS", target, **asked)
        assert answer.status in (200, 204)
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://app.example.vn")
        assert names(answer.headers["Access-Control-Allow-Methods"]) >= {"get", "post", "put", "patch", "delete"}
        assert names(answer.headers["Access-Control-Allow-Headers"]) >= set(wanted.split(","))


def test_browser_reads_what_it_needs(wire: Wire, tag: str) -> None:
    page = {"Origin": "https://app.example.vn"}
    made = wire("POST", "/Patient", patient(tag), **page)
    assert names(made.headers["Access-Control-Expose-Headers"]) >= {"etag", "location", "last-modified", "content-location", "link"}
    assert made.headers["ETag"] == 'W/"1"'
    for answer in (wire("GET", "/Patient/none-of-them", **page), wire("POST", "/Patient", b"{", **page), wire("GET", "/Nothing", **page)):
        assert answer.status >= 400
        assert answer.headers["Access-Control-Allow-Origin"]
        assert answer.body["resourceType"] == "OperationOutcome"


def test_browser_asks_for_html_first(wire: Wire) -> None:
    answer = wire("GET", "/metadata", Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert answer.status == 200
