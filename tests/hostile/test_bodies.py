"""Bodies: malformed, deep, long, compressed, wrongly encoded (issue: bad input)."""

import gzip
import io
import json
import zlib
from urllib.parse import quote

import pytest

from tests.hostile import wire
from tests.hostile.server import Attacked
from tests.hostile.shapes import DATES, DEEP_JSON, HOSTILE_XML, IDS, INSTANTS, MALFORMED_JSON, patient, repeated, xml

LIMIT = 64 << 20
PLACES = [
    ("POST", "Patient"),
    ("PUT", "Patient/x"),
    ("PUT", "Patient?identifier=a|b"),
    ("POST", "Patient/$validate"),
    ("POST", ""),
    ("PATCH", "Patient/an"),
]


@pytest.mark.parametrize("name", sorted(MALFORMED_JSON))
def test_json_that_is_no_resource(hub: Attacked, name: str) -> None:
    hub.post("Patient", MALFORMED_JSON[name]).refused(400, 422)
    hub.call("PUT", "Patient/x", MALFORMED_JSON[name]).refused(400, 422)


@pytest.mark.parametrize("name", sorted(DEEP_JSON))
def test_deep_json(hub: Attacked, name: str) -> None:
    type = json.loads(DEEP_JSON[name].partition(b'"resourceType":')[2][:40].partition(b",")[0] or b'"Patient"')
    for method, path in [*PLACES, ("POST", type), ("POST", f"{type}/$validate")]:
        hub.call(method, path, DEEP_JSON[name]).refused(400, 404, 422)


@pytest.mark.parametrize("name", sorted(HOSTILE_XML))
def test_hostile_xml(hub: Attacked, name: str) -> None:
    for method, path in [("POST", "Patient"), ("PUT", "Patient/x"), ("POST", "")]:
        answer = hub.call(method, path, HOSTILE_XML[name], [("Content-Type", wire.XML), ("Accept", wire.JSON)])
        answer.refused(400, 422)
        assert b"root:" not in answer.body


def test_impossible_dates(hub: Attacked) -> None:
    for date in DATES:
        hub.post("Patient", patient(birthDate=date)).refused(400, 422)
        if date == date.strip():  # XML itself takes a newline in an attribute for a space
            hub.post("Patient", xml(f'<birthDate value="{date}"/>'), wire.XML).refused(400, 422)
    for date in INSTANTS:
        hub.post("Patient", patient(deceasedDateTime=date)).refused(400, 422)
        hub.post("Patient", patient(meta={"lastUpdated": date})).refused(400, 422)


def test_ids_that_are_no_ids(hub: Attacked) -> None:
    for id in IDS:
        path = "Patient/" + quote(id, safe="")
        for method, where in [
            ("GET", path),
            ("DELETE", path),
            ("GET", path + "/_history"),
            ("GET", path + "/_history/1"),
            ("GET", "Patient/an/_history/" + quote(id, safe="")),
            ("GET", path + "/$everything"),
            ("GET", path + "/Observation"),
        ]:
            answer = hub.call(method, where)
            answer.refused(400, 404)
        hub.call("PUT", path, patient(id=id)).refused(400, 404, 422)
        hub.call("PATCH", path, b'[{"op":"test","path":"/id","value":1}]', [("Content-Type", "application/json-patch+json")]).refused(
            400, 404
        )
        entry = {"request": {"method": "PUT", "url": f"Patient/{id}"}, "resource": {"resourceType": "Patient", "id": id}}
        hub.post("", json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()).refused(400, 404, 422)
    for path in (
        "Patient/..",
        "Patient/%2e%2e/%2e%2e/metadata",
        "Patient/an%00",
        "Patient/%ff",
        "Patient//an",
        "Patient/an/../binh",
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "Binary/..%2f..%2fetc%2fpasswd",
        "Patient/an;x=1",
        "Patient/%",
    ):
        hub.get(path).refused(400, 404)


def test_bodies_over_the_limit(hub: Attacked) -> None:
    announced = [("Content-Type", wire.JSON), ("Content-Length", str(LIMIT + 1))]
    begun = wire.send(hub.port, wire.head("POST", "Patient", announced), repeated(b" ", LIMIT + 1))
    begun.refused(413)
    # Told before the body is there.
    assert wire.send(hub.port, wire.head("POST", "Patient", announced)).refused(413)["issue"][0]["code"] == "too-long"
    for length in ("99999999999", "9" * 30):
        wire.send(hub.port, wire.head("POST", "Patient", [("Content-Type", wire.JSON), ("Content-Length", length)]), b"{}").refused(
            400, 413
        )
    chunked = [("Content-Type", wire.JSON), ("Transfer-Encoding", "chunked")]
    wire.send(hub.port, wire.head("POST", "Patient", chunked), wire.chunked(repeated(b" ", LIMIT + 1))).refused(413)
    for path in ("Patient/_search", "Patient/$validate", "", "$graphql"):
        wire.send(hub.port, wire.head("POST", path, chunked), wire.chunked(repeated(b" ", LIMIT + 1))).refused(413, 415)


@pytest.mark.parametrize("piece", [b" ", b"[", b"[],", b"{},", b"1,", b"1.0,", b'"a",', b'{"a":1},', b'"\\u0000', b"-"])
def test_bodies_at_the_limit(hub: Attacked, piece: bytes) -> None:
    begin, end = b'{"resourceType":"Patient","name":[', b"1]}"
    size = LIMIT - len(begin) - len(end)
    size -= size % len(piece)
    length = len(begin) + len(end) + size
    head = wire.head("POST", "Patient", [("Content-Type", wire.JSON), ("Content-Length", str(length))])
    wire.send(hub.port, head, begin, repeated(piece, size), end).refused(400, 413, 422)


@pytest.mark.parametrize("piece", ["<given/>", '<given value="a"/>', "<!--a-->", "<?a?>", " ", "&#32;", "<![CDATA[a]]>"])
def test_xml_bodies_at_the_limit(hub: Attacked, piece: str) -> None:
    begin, end = b'<Patient xmlns="http://hl7.org/fhir"><name>', b"</name><nonsense/></Patient>"
    size = LIMIT - len(begin) - len(end)
    size -= size % len(piece)
    length = len(begin) + len(end) + size
    head = wire.head("POST", "Patient", [("Content-Type", wire.XML), ("Accept", wire.JSON), ("Content-Length", str(length))])
    wire.send(hub.port, head, begin, repeated(piece.encode(), size), end).refused(400, 413, 422)


def _bomb(encoding: str, total: int, inner: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return b"".join([*map(packer.compress, repeated(inner, total)), packer.flush()])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bombs(hub: Attacked, encoding: str) -> None:
    headers = [("Content-Encoding", encoding), ("Content-Type", wire.JSON)]
    bomb = _bomb(encoding, 1 << 28, b" ")
    hub.call("POST", "Patient", bomb, headers).refused(413)
    hub.call("POST", "Binary", bomb, [("Content-Encoding", encoding), ("Content-Type", "application/fhir+json")]).refused(413)
    hub.call("POST", "Patient", _bomb(encoding, 64 << 20, b"[],"), headers).refused(400, 413, 422)
    hub.call("POST", "Patient", bomb[:5000], headers).refused(400, 413)
    hub.call("POST", "Patient", b"not compressed", headers).refused(400)
    hub.call("POST", "Patient", b"", headers).refused(400)


def test_other_encodings(hub: Attacked) -> None:
    twice = io.BytesIO(gzip.compress(gzip.compress(patient())))
    hub.call("POST", "Patient", twice.getvalue(), [("Content-Encoding", "gzip")]).refused(400)
    for encoding in ("br", "zstd", "compress", "gzip, gzip", "nonsense", "\xff"):
        hub.call("POST", "Patient", patient(), [("Content-Encoding", encoding.encode("latin-1"))]).refused(400, 415)


def test_content_types(hub: Attacked) -> None:
    for kind in (
        "text/plain",
        "application/pdf",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "image/png",
        "*/*",
        "json/fhir+application",
        "/",
        ";;;",
        "application/fhir+json; charset=utf-16",
        "application/fhir+json; charset=\x7f",
        "application/fhir+json;fhirVersion=5.0",
        "application/fhir+turtle",
        "application/fhir+json" + ";a=b" * 5000,
        "a" * 10_000,
        "text/xml; charset=utf-7",
    ):
        hub.call("POST", "Patient", b"x", [("Content-Type", kind)]).refused(400, 415)
        hub.call("PATCH", "Patient/an", b"x", [("Content-Type", kind)]).refused(400, 415)
        hub.call("POST", "Patient/_search", b"\xff=%ff", [("Content-Type", kind)]).refused(400, 415)
    for accept in ("image/png", "text/turtle", "nonsense", "application/fhir+json;q=0", ",;,;", "application/fhir+json;fhirVersion=9"):
        hub.get("Patient/an", [("Accept", accept)]).refused(406)
    assert hub.get("Patient/an", [("Accept", "a/b," * 20_000 + "*/*")]).status in (200, 406)
