"""Methods, headers and targets that are wrong, many, long, or made to be read two ways."""

import socket
from collections.abc import Callable

import pytest

from tests.hostile import wire
from tests.hostile.server import Attacked
from tests.hostile.shapes import patient

PATIENT = b'{"resourceType":"Patient","id":"an"}'


def test_a_url_of_a_megabyte(hub: Attacked) -> None:
    for path in (
        "Patient?name=" + "a" * (1 << 20),
        "a" * (1 << 20),
        "Patient/" + "a" * (1 << 20),
        "/" * (1 << 20),
        "Patient?" + "&" * (1 << 20),
        "Patient?name=" + "a" * 70_000,
        "Patient/" * 9000,
        "Patient?name=" + "%41" * 25_000,
        "?" * 100_000,
    ):
        hub.get(path).refused(404, 414)
    hub.get("Patient?name=" + "a" * 65_400).refused(400, 414)


def test_ten_thousand_headers(hub: Attacked) -> None:
    for headers in (
        [(f"X-{i}", "a" * 50) for i in range(10_000)],
        [("X-A", "a" * (1 << 20))],
        [("Accept", "a/b" * 100)] * 2000,
        [("X" * (1 << 20), "a")],
    ):
        hub.get("Patient/an", headers).refused(400, 406, 431)
    # Short ones fit: they are read, and mean nothing.
    assert hub.get("Patient/an", [(f"X-{i}", "") for i in range(10_000)]).status in (200, 431)
    assert hub.get("Patient/an", [("Cookie", "a=b")] * 5000).status in (200, 431)


def test_unknown_methods(hub: Attacked) -> None:
    for method in ("TRACE", "PROPFIND", "LINK", "MKCOL", "M-SEARCH", "PURGE", "REPORT"):
        hub.call(method, "Patient/an").refused(400, 405)
        hub.call(method, "Patient/an", PATIENT).refused(400, 405)
    for method in ("BREW", "get", "G" * 10_000, "GET\x00", "", "CONNECT", "' OR 1=1", "PRI", "X" * 100_000):
        assert hub.call(method, "Patient/an").status in (0, 400, 405)
    for method, path in [
        ("POST", "Patient/an"),
        ("PUT", "metadata"),
        ("DELETE", ""),
        ("PATCH", "_history"),
        ("POST", "Patient/an/_history/1"),
        ("DELETE", "Patient/an/_history/1"),
        ("PUT", "Patient/_search"),
        ("DELETE", "Patient"),
    ]:
        hub.call(method, path, PATIENT).refused(400, 405, 412)


HEADS: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": b"GET /fhir/Patient/an HTTP/9.9\r\nHost: a\r\n\r\n",
    "a long version": b"GET /fhir/Patient/an HTTP/1.1" + b"1" * 10_000 + b"\r\n\r\n",
    "a NUL in the target": b"GET /fhir/Patient/a\x00n HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in a header": b"GET /fhir/Patient/an HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "a space in a name": b"GET /fhir/Patient/an HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n",
    "no colon": b"GET /fhir/Patient/an HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "a space before the colon": b"GET /fhir/Patient/an HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    "a space in the target": b"GET /fhir/Patient?name=a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a length below nothing": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a length in words": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
    "a length with a plus": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}",
    "two lengths": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "two lengths in one": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 3\r\n\r\n{}x",
    "a length of 2^64": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n{}",
    "a chunk in words": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of 2^64": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\n{}\r\n0\r\n\r\n",
    "a chunk below nothing": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than said": b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_what_is_not_http(hub: Attacked, name: str) -> None:
    answer = wire.send(hub.port, HEADS[name], timeout=20)
    if answer.status:
        answer.refused(400, 405, 505)


def _smuggled(te: bytes, before: bytes = b"") -> bytes:
    inner = b"DELETE /fhir/Patient/binh HTTP/1.1\r\nHost: a\r\nX: "
    body = b"0\r\n\r\n" + inner
    return (
        b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Type: application/fhir+json\r\n"
        + before
        + b"Content-Length: %d\r\n" % len(body)
        + te
        + b"\r\n"
        + body
        + b"GET /fhir/metadata HTTP/1.1\r\nHost: a\r\n\r\n"
    )


@pytest.mark.parametrize(
    "te",
    [
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        b"Transfer-Encoding:\tchunked\r\n",
        b"Transfer-Encoding: identity, chunked\r\n",
        b"X: a\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding\r\n : chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b" Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b'Transfer-Encoding: "chunked"\r\n',
        b"Transfer_Encoding: chunked\r\n",
        b"TRANSFER-ENCODING: CHUNKED\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
    ],
)
def test_requests_within_requests(hub: Attacked, te: bytes) -> None:
    """A body that another reader of the same bytes would take for a request deletes nothing: the connection ends, or the body is a body."""
    with wire.connect(hub.port, 10) as s:
        s.sendall(_smuggled(te))
        s.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := _some(s):
            heard += piece
    assert heard == b"" or heard[9:10] == b"4", heard[:300]
    assert hub.get("Patient/binh").status == 200


def _some(s: socket.socket) -> bytes:
    try:
        return s.recv(1 << 20)
    except ConnectionError:
        return b""


def test_requests_in_a_row(hub: Attacked) -> None:
    """Pipelined: each is answered, in order; and a thousand cost no more than a thousand."""
    with wire.connect(hub.port) as s:
        s.sendall(
            wire.head("GET", "Patient/an") * 500
            + wire.head("GET", "Patient/none")
            + wire.head("GET", "Patient/an", [("Connection", "close")])
        )
        heard = b""
        while piece := _some(s):
            heard += piece
    assert heard.count(b"HTTP/1.1 200 ") == 501
    assert heard.count(b"HTTP/1.1 404 ") == 1


def test_hostile_hosts(hub: Attacked) -> None:
    """What a client says it calls us goes into links: never as it is."""
    for host in ("evil.vn/x?", 'a"b', "a\\b", "a b", "<script>", "a@b", "'", "é", "a" * 5000, "a\tb", ""):
        answer = wire.send(hub.port, wire.head("GET", "Patient?name=a", host=host))
        assert answer.status in (200, 400)
        if answer.status == 200:
            assert answer.json()["link"][0]["url"].startswith("http://localhost/fhir/Patient")
    wire.send(hub.port, wire.head("GET", "Patient?_count=1&_page=x", host=None)).refused(400)
    for name in ("X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override"):
        answer = hub.get("Patient?name=a", [(name, "evil.vn")])
        assert b"evil" not in answer.body
        assert answer.status == 200


VALIDATORS = [
    "",
    '"',
    '"77',
    "W/",
    "W/W/1",
    "1 2",
    '"a","b"',
    "*,*",
    "-1",
    "0",
    "9" * 5000,
    "1e1",
    "' OR 1=1",
    "é",
    'W/"%00"',
    "１",
    "1.0",
    "null",
    "\x01",
    'W/"' + "a" * 10_000 + '"',
]
DATES = [
    "",
    "yesterday",
    "0",
    "Mon, 31 Feb 2026 99:99:99 GMT",
    "Mon, 01 Jan 99999 00:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 -9999",
    "9" * 5000,
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "2026-11-24",
    "é",
    "' OR 1=1",
    "(" * 5000,
    "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
]
PREFERS = [
    "",
    "return",
    "return=",
    "return=nonsense",
    "handling=nonsense",
    "=;=,=",
    "return=minimal;;;,,," * 1000,
    '"',
    "respond-async=x;wait=-1",
    "é",
    "\x01",
    "return=" + "a" * 50_000,
    "handling=strict, handling=lenient",
]


def test_validators(hub: Attacked) -> None:
    for value in VALIDATORS:
        for method, body in [("PUT", PATIENT), ("DELETE", None), ("PATCH", b"[]")]:
            kind = [("Content-Type", "application/json-patch+json")] if method == "PATCH" else []
            answer = hub.call(method, "Patient/an", body, [("If-Match", value), *kind])
            answer.refused(400, 409, 412)
        assert hub.get("Patient/an", [("If-None-Match", value)]).status in (200, 304, 400)
        assert hub.call("PUT", "Patient/an", b"{", [("If-None-Match", value)]).status in (400, 412)
    for date in DATES:
        for name in ("If-Modified-Since", "If-Unmodified-Since", "If-Range"):
            assert hub.get("Patient/an", [(name, date)]).status in (200, 304, 400), (name, date)
    for value in PREFERS:
        if "async" not in value:
            assert hub.call(
                "PUT", "Basic/prefer", b'{"resourceType":"Basic","id":"prefer","code":{"text":"a"}}', [("Prefer", value)]
            ).status in (200, 201, 400), value
        assert hub.get("Patient?_count=1&nonsense=1", [("Prefer", value)]).status in (200, 202, 400), value


def test_conditions_in_headers(hub: Attacked) -> None:
    for value in (
        "",
        "?",
        "Patient",
        "nonsense=1",
        "name=%ff",
        "name=%00",
        "&&&",
        "identifier=",
        "name=" + "a" * 50_000,
        "_filter=" + "(" * 5000,
        "_has:" * 500 + "a=b",
        "é=1",
        "name:exact:exact=1",
        "identifier=" + ",".join(f"a|{i}" for i in range(5000)),
        "_count=1",
        "_id=a&_id=b&" * 500,
    ):
        hub.call("POST", "Patient", patient(), [("If-None-Exist", value)]).refused(400, 431)
        if value.isascii() and " " not in value:
            hub.call("DELETE", f"Patient?{value}").refused(400, 412, 414)
            hub.call("PATCH", f"Patient?{value}", b"[]", [("Content-Type", "application/json-patch+json")]).refused(400, 404, 412, 414)
    for key in ("", "a" * 5000, "é", "\x01", "' OR 1=1 --", "a\tb"):
        assert hub.call("POST", "Basic", b'{"resourceType":"Basic","code":{"text":"a"}}', [("Idempotency-Key", key)]).status in (201, 400)


def test_ranges(either: Attacked) -> None:
    content = bytes(range(256)) * 100
    made = either.post("Binary", content, "application/octet-stream")
    assert made.status == 201
    path = made.headers["location"].partition("/fhir/")[2].partition("/_history")[0]
    for value in (
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=1-2,3-4",
        "bytes=" + "0-0," * 5000 + "0-0",
        "octets=1-2",
        "bytes=-1-2",
        "bytes= 1-2",
        "bytes=1-2-3",
        "bytes=٠-٣",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-" + "9" * 5000,
        "bytes=-" + "9" * 5000,
        "bytes=25600-",
        "bytes=-0",
        "bytes=99999999999999999999-",
        "bytes=0x1-0x2",
    ):
        answer = either.get(path, [("Range", value)])
        if answer.status == 416:
            answer.refused(416)
        else:
            assert answer.status in (200, 206), (value, answer.status)
            assert content.find(answer.body) >= 0
    for kind in ("text/html", "image/svg+xml", "text/html\x01", "a\x7fb", "é", "a" * 10_000, "application/xhtml+xml; x=\x80"):
        answer = either.post("Binary", b"<script>alert(1)</script>", kind)
        if answer.status == 201:
            served = either.get(answer.headers["location"].partition("/fhir/")[2])
            assert "sandbox" in served.headers.get("content-security-policy", "")
            assert served.headers["x-content-type-options"] == "nosniff"
        else:
            answer.refused(400, 415, 422)
    for context in ("x" * 10_000, "javascript:x", "\xff", "a b", "Patient/an\tx"):
        assert either.call("POST", "Binary", b"x", [("Content-Type", "text/plain"), ("X-Security-Context", context)]).status in (
            201,
            400,
            422,
        )


@pytest.mark.parametrize("make", [str.upper, str.title, lambda t: t + "/", lambda t: "/" + t, lambda t: t.replace("/", "//")])
def test_paths_that_look_alike(hub: Attacked, make: Callable[[str], str]) -> None:
    assert hub.get(make("patient/an")).status in (200, 404)
