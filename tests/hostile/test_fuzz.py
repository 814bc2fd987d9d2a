"""Requests made up by Hypothesis, the same at every run: whatever comes, the answer is one of HTTP's and FHIR's, never a failure."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile import wire
from tests.hostile.server import Attacked

SEEDED = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.large_base_example],
)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]
SEGMENTS = [
    "Patient",
    "Observation",
    "Binary",
    "Basic",
    "an",
    "binh",
    "fuzz",
    "_history",
    "_search",
    "metadata",
    "$everything",
    "$meta",
    "$validate",
    "$lastn",
    "$graphql",
    "1",
    "2",
    "*",
    "..",
    "",
    "_job",
]
NAMES = [
    "name",
    "name:exact",
    "name:contains",
    "family",
    "identifier",
    "identifier:of-type",
    "birthdate",
    "birthdate:missing",
    "gender:not",
    "_id",
    "_lastUpdated",
    "_tag",
    "_profile",
    "_sort",
    "_count",
    "_include",
    "_revinclude",
    "_summary",
    "_elements",
    "_total",
    "_filter",
    "_has:Observation:subject:code",
    "_list",
    "_type",
    "_text",
    "_content",
    "_format",
    "_pretty",
    "_page",
    "_since",
    "_at",
    "code",
    "value-quantity",
    "code-value-quantity",
    "subject",
    "subject:Patient.name",
    "organization.name",
    "near",
    "query",
    "nonsense",
    "start",
    "max",
]
VALUES = [
    "an",
    "Nguyễn",
    "Patient/an",
    "2013",
    "gt2013-01",
    "-birthdate",
    "http://loinc.org|8867-4",
    "|",
    "8867-4$gt5",
    "5.4|http://unitsofmeasure.org|mg",
    "Observation:subject",
    "*",
    "count",
    "true",
    "json",
    "xml",
    "name eq an",
    "(",
    "-1",
    "0",
    "1000000000",
    "21|105|10|km",
    '{Patient(id:"an"){id}}',
    ",",
    "\\",
    "%",
    "_",
    "'",
    "\x00",
    "\ud7ff",
]
HEADERS = [
    "Accept",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-None-Exist",
    "Prefer",
    "Range",
    "Content-Encoding",
    "Accept-Encoding",
    "Origin",
    "X-Request-Id",
    "Idempotency-Key",
    "Expect",
]
HEADER_VALUES = [
    wire.JSON,
    wire.XML,
    "application/json-patch+json",
    "text/plain",
    "*/*",
    'W/"1"',
    "*",
    "return=minimal",
    "return=OperationOutcome",
    "handling=strict",
    "name=an",
    "bytes=0-1",
    "gzip",
    "a",
    "é",
    "Mon, 23 Nov 2026 10:00:00 GMT",
    "100-continue",
]
text = st.text(max_size=20)
one = st.sampled_from
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text | one(["Patient", "2013-02-30", "Patient/an", "final"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            one(
                [
                    "resourceType",
                    "id",
                    "meta",
                    "name",
                    "extension",
                    "contained",
                    "entry",
                    "resource",
                    "request",
                    "op",
                    "path",
                    "value",
                    "url",
                ]
            )
            | text,
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "fuzz",
        "active": True,
        "name": [{"family": "Fuzz", "given": ["a"]}],
        "contained": [{"resourceType": "Organization", "id": "o", "name": "x"}],
        "managingOrganization": {"reference": "#o"},
        "extension": [{"url": "http://x.vn", "valueDecimal": 1.5}],
    },
    {
        "resourceType": "Observation",
        "id": "fuzz",
        "status": "final",
        "code": {"coding": [{"system": "a", "code": "b"}]},
        "valueQuantity": {"value": 1, "code": "mg", "system": "http://unitsofmeasure.org"},
        "effectivePeriod": {"start": "2020", "end": "2021-01-01T00:00:00Z"},
        "component": [{"code": {"text": "c"}, "valueString": "x"}],
    },
    {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:05c2b6f8-9c2c-4a5e-8f5f-2d8a3c1f0a11",
                "resource": {"resourceType": "Basic", "code": {"text": "a"}},
                "request": {"method": "POST", "url": "Basic", "ifNoneExist": "identifier=a|b"},
            },
            {"request": {"method": "GET", "url": "Patient?name=an"}},
        ],
    },
    {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {
                "request": {"method": "PATCH", "url": "Patient/fuzz"},
                "resource": {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="},
            }
        ],
    },
    {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Patient.active"},
                    {"name": "value", "valueBoolean": False},
                ],
            }
        ],
    },
]


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in inner for p in [(*at, key), *_places(v, (*at, key))]]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A resource with up to three places changed, perhaps cut or with a byte changed."""
    resource = json.loads(json.dumps(draw(one(RESOURCES))))
    for _ in range(draw(st.integers(0, 3))):
        places = _places(resource)
        if not places:
            break
        *way, last = draw(one(places))
        parent = resource
        for step in way:
            parent = parent[step]
        if draw(st.booleans()):
            parent[last] = draw(JSON)
        else:
            del parent[last]
    data = json.dumps(resource, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 2)) :]
    return data


def judged(answer: wire.Answer, method: str) -> None:
    assert answer.status in (200, 201, 202, 204, 206, 304) or 400 <= answer.status < 500, (answer.status, answer.body[:500])
    if method == "HEAD" or answer.status in (204, 304):
        return
    if answer.status >= 400 and "xml" not in answer.headers.get("content-type", ""):
        found = answer.json()
        assert found.get("resourceType") == "OperationOutcome" or "errors" in found


def _text(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


queries = st.lists(st.tuples(one(NAMES) | text, one(VALUES) | text), max_size=4)


@SEEDED
@given(
    method=one(METHODS),
    segments=st.lists(one(SEGMENTS) | text, max_size=4),
    query=queries,
    headers=st.lists(st.tuples(one(HEADERS), one(HEADER_VALUES)), max_size=3),
    body=st.none() | damaged() | st.binary(max_size=50),
)
def test_requests(
    hub: Attacked, method: str, segments: list[str], query: list[tuple[str, str]], headers: list[tuple[str, str]], body: bytes | None
) -> None:
    path = "/".join(s if s in SEGMENTS else _text(s) for s in segments)
    if method == "DELETE" or (any(s in ("an", "binh") for s in segments) and method in ("PUT", "PATCH")):
        path = path.replace("an", "fuzz").replace("binh", "fuzz")  # these must be there at the end
    if query and method != "DELETE":
        path += "?" + "&".join(f"{_text(n)}={_text(v)}" for n, v in query)
    if body is None and method in ("POST", "PUT", "PATCH"):
        body = b""
    answer = wire.send(
        hub.port, wire.head(method, path, [*headers, *([("Content-Length", str(len(body)))] if body is not None else [])]), body or b""
    )
    if answer.status:
        judged(answer, method)


@SEEDED
@given(body=damaged(), path=one(["Patient", "Observation", "", "Patient/$validate"]))
def test_damaged_resources(either: Attacked, body: bytes, path: str) -> None:
    judged(either.post(path, body), "POST")


@SEEDED
@given(body=damaged())
def test_damaged_updates(either: Attacked, body: bytes) -> None:
    judged(either.call("PUT", "Patient/fuzz", body), "PUT")
    judged(either.call("PATCH", "Patient/fuzz", body), "PATCH")


@SEEDED
@given(type=one(["Patient", "Observation", "Location", ""]), query=queries)
def test_searches(either: Attacked, type: str, query: list[tuple[str, str]]) -> None:
    judged(either.get(f"{type}?" + "&".join(f"{_text(n)}={_text(v)}" for n, v in query)), "GET")
