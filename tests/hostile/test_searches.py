"""Searches that mean harm: counts, lists, wildcards, SQL, nesting, forged page tokens."""

import base64
import json
import urllib.parse
from typing import Any
from urllib.parse import quote

import pytest

from tests.hostile import wire
from tests.hostile.server import Attacked
from tests.hostile.wire import q

SQL = [
    "'",
    "''",
    '"',
    "';--",
    "' OR '1'='1",
    "1; DROP TABLE resource; --",
    "x'); DELETE FROM resource; --",
    "$1",
    "?1",
    ":p",
    "%s",
    "%(x)s",
    "{0}",
    "\\'; SELECT pg_sleep(9); --",
    "' UNION SELECT doc FROM resource --",
    "/* x */",
    "0x27",
    "`",
    "CHAR(39)",
    "') OR EXISTS(SELECT 1 FROM resource)--",
    "*",
    "||pg_sleep(9)--",
    "\x1a",
    "ʼ",
]


def fine(answer: wire.Answer) -> dict[str, Any]:
    """A Bundle, or a refusal in the client's words."""
    if answer.status != 200:
        return answer.refused(400)
    found: dict[str, Any] = answer.json()
    assert found["resourceType"] == "Bundle"
    return found


def ids(answer: wire.Answer) -> set[str]:
    assert answer.status == 200, answer.body[:500]
    return {e["resource"]["id"] for e in answer.json().get("entry", []) if e["search"]["mode"] == "match"}


def matches(found: dict[str, Any]) -> int:
    return sum(e.get("search", {}).get("mode") == "match" for e in found.get("entry", []))


def test_sql_in_every_parameter(either: Attacked) -> None:
    """Of several types, by GET, POST and in a compartment: nothing is found by it and nothing is lost."""
    statement = either.get("metadata").json()
    offered = {r["type"]: [p["name"] for p in r.get("searchParam", [])] for r in statement["rest"][0]["resource"]}
    for type in ("Patient", "Observation", "Location", "ValueSet"):
        for number, name in enumerate(offered[type]):
            for value in (SQL[number % len(SQL)], SQL[(number * 7 + 3) % len(SQL)]):
                found = fine(either.get(f"{type}?{quote(name)}={quote(value)}"))
                assert not matches(found), (type, name, value)
    for value in SQL:
        text = quote(value)
        for path in (
            f"Patient?{text}={text}",
            f"Patient?name:{text}=a",
            f"Patient?_sort={text}",
            f"Patient?_sort=-{text},birthdate",
            f"Patient?_elements={text}",
            f"Patient?_include={text}",
            f"Patient?_include=Patient:{text}",
            f"Patient?_revinclude=Observation:subject:{text}",
            f"Patient?_summary={text}",
            f"Patient?_total={text}",
            f"Patient?_type={text}",
            f"?_type=Patient,{text}",
            f"Patient?_has:Observation:{text}:code=a",
            f"Patient?_list={text}",
            f"Patient?_filter=name eq {text}".replace(" ", "%20"),
            f"Patient?_filter={text}",
            f"Patient?organization.{text}=a",
            f"Patient/an/Observation?code={text}",
            f"Patient?_count={text}",
            f"Patient?_id={text}",
            f"Patient?_lastUpdated={text}",
            f"Patient?name={text}&_sort=name",
            f"Patient?_content={text}",
            f"Patient?_text={text}",
            f"Patient/_history?_since={text}",
            f"_history?_at={text}",
            f"Patient?identifier:of-type={text}|{text}|{text}",
            f"Patient?gender:in={text}",
            f"Location?near=1|1|{text}",
            f"Observation?value-quantity=1|{text}|{text}",
            f"Observation?code-value-quantity={text}${text}",
        ):
            found = fine(either.get(path))
            # A name that is none is ignored, as R4 wants, and the answer says so.
            told = any(e["search"]["mode"] == "outcome" for e in found.get("entry", []) if "search" in e)
            assert told or not matches(found) or "?_" in path, path
        either.post("Patient/_search", f"name={text}&{text}={text}".encode(), "application/x-www-form-urlencoded")
        if value == "*":
            continue  # means something in these headers
        assert either.call("GET", "Patient/an", None, [("If-None-Match", value), ("If-Modified-Since", value)]).status in (200, 400)
        either.call("PUT", "Patient/an", b'{"resourceType":"Patient","id":"an"}', [("If-Match", value)]).refused(400, 412)
        either.call("POST", "Patient", b'{"resourceType":"Patient"}', [("If-None-Exist", value)]).refused(400, 412)
        either.call("DELETE", f"Patient?{text}={text}").refused(400, 404, 412)
        either.get(f"Patient/{quote(value, safe='')}").refused(400, 404)
    assert ids(either.get("Patient")) >= {"an", "binh"}


def test_wildcards_and_patterns_match_themselves(either: Attacked) -> None:
    assert ids(either.get("Patient?given:contains=50%25")) == {"an"}
    assert ids(either.get("Patient?given:contains=An_5")) == {"an"}
    assert ids(either.get("Patient?given=b%C3%ACnh%5C%5C")) == {"binh"}
    assert ids(either.get("Patient?given:exact=B%C3%ACnh%5C%5C")) == {"binh"}
    assert ids(either.get("Patient?given:contains=%5C%5C")) == {"binh"}
    for pattern in ("%", "_", "V%n", "V_n", "%n", ".*", "^V", "[a-z]", "V*", "(V|B)", "Vă?", "\\", "\\%", "\\_", "%%", "V\\n"):
        for name in (
            "name",
            "given",
            "name:contains",
            "given:contains",
            "name:exact",
            "_text",
            "_content",
            "address-city",
            "identifier:text",
        ):
            found = fine(either.get("Patient?" + q(**{name: pattern})))
            literal = ":contains" in name and pattern in ("%", "_", "\\")
            assert not matches(found) or literal, (name, pattern)
    for nothing in ("%CC%81", "%CC%80%CC%81"):  # a mark without its letter folds to nothing, which begins every name
        for name in ("name", "name:contains", "name:text", "_text", "_content", "name:exact"):
            assert not matches(fine(either.get(f"Patient?{name}={nothing}"))), name
    assert not matches(fine(either.get("ValueSet?url:below=%25")))
    assert not matches(fine(either.get("ValueSet?url:above=%25")))


COUNTS = ["1000000000", "9" * 19, "9" * 5000, "-1", "-0", "1e3", "1.5", "0x10", "NaN", "", " ", "+5", "٣", "１０", "1,2", "null", "true"]


@pytest.mark.parametrize("count", COUNTS)
def test_counts(either: Attacked, count: str) -> None:
    for path in ("Patient", "", "Patient/an/*", "Patient/_history", "_history", "Patient/an/_history"):
        answer = either.get(f"{path}?_count={quote(count)}")
        assert len(fine(answer).get("entry", [])) <= 1001
    if count.startswith("-1"):
        either.get(f"Patient?_count={count}").refused(400)


MANY = {
    "ten thousand includes": "&".join(["_include=Patient:organization"] * 10_000),
    "ten thousand includes of every kind": "&".join(f"_include:iterate=Patient:x{i}" for i in range(10_000)),
    "includes of everything": "_include=*&_revinclude=*&_include:iterate=*&_revinclude:iterate=*",
    "ten thousand values": "name=" + ",".join(f"a{i}" for i in range(10_000)),
    "ten thousand codes": "identifier=" + ",".join(f"a|{i}" for i in range(10_000)),
    "ten thousand ids": "_id=" + ",".join(map(str, range(10_000))),
    "ten thousand dates": "birthdate=" + ",".join(["2013"] * 10_000),
    "a thousand values": "name=" + ",".join(f"a{i}" for i in range(1000)),
    "a thousand values of contains": "name:contains=" + ",".join(f"a{i}" for i in range(1000)),
    "ten thousand parameters": "&".join(f"name=a{i}" for i in range(10_000)),
    "ten thousand unknown ones": "&".join(f"x{i}=1" for i in range(10_000)),
    "ten thousand equal signs": "=" * 10_000,
    "ten thousand ampersands": "&" * 10_000,
    "a hundred conditions": "&".join(f"name=a{i}" for i in range(99)),
    "a chain of a thousand": ".".join(["general-practitioner:Organization"] + ["partof"] * 1000) + ".name=a",
    "a typed chain": ".".join(["link:Patient"] * 1000) + ".name=a",
    "a chain of ten": ".".join(["link:Patient"] * 9) + ".name=a",
    "_has a hundred deep": "_has:Observation:subject:" * 100 + "code=a",
    "_has of itself": "_has:Patient:link:" * 9 + "name=a",
    "ten thousand sorts": "_sort=" + ",".join(["name"] * 10_000),
    "ten thousand elements": "_elements=" + ",".join(["name"] * 10_000),
    "ten thousand types": "_type=" + ",".join(["Patient"] * 10_000),
    "a filter of brackets": "_filter=" + "(" * 10_000,
    "a filter of closed brackets": "_filter=" + "(" * 9000 + "name%20eq%20a" + ")" * 9000,
    "a filter of nots": "_filter=" + "not(" * 5000 + "name%20eq%20a" + ")" * 5000,
    "a filter of ors": "_filter=" + "%20or%20".join(["name%20eq%20a"] * 3000),
    "a filter of chains": "_filter=" + "link." * 5000 + "name%20eq%20a",
    "a filter of strings": "_filter=name%20eq%20%22" + "%5C%22" * 9000,
    "a filter of arrows": "_filter=" + "link[" * 2000 + "name%20eq%20a" + "]" * 2000,
    "an unended filter": "_filter=name%20eq%20%22a",
    "a filter of operators": "_filter=name%20eq%20eq%20eq",
    "a value of a megabyte": "name=" + "a" * 60_000,
    "spaces": "name=" + "%20" * 15_000,
    "backslashes": "name=" + "%5C" * 15_000,
    "bars": "identifier=" + "|" * 50_000,
    "marks": "name=" + "%CC%81" * 10_000,
    "decimals": "birthdate=" + "9" * 50_000,
    "a number of digits": "probability=" + "9" * 50_000,
}


@pytest.mark.parametrize("name", sorted(MANY))
def test_many(either: Attacked, name: str) -> None:
    for type in ("Patient", ""):
        answer = either.get(f"{type}?{MANY[name]}")
        if answer.status == 414:
            answer.refused(414)
        else:
            fine(answer)
    # The same where no URL limits it.
    answer = either.post("Patient/_search", MANY[name].encode(), "application/x-www-form-urlencoded")
    if name.startswith(
        (
            "ten thousand includes",
            "ten thousand values",
            "ten thousand codes",
            "ten thousand ids",
            "ten thousand dates",
            "ten thousand sorts",
        )
    ):
        answer.refused(400)
    fine(answer)


def test_forms(hub: Attacked) -> None:
    kind = "application/x-www-form-urlencoded"
    for body in (
        b"name=" + b"a" * (2 << 20),
        b"%",
        b"%zz=1",
        b"%ff=%fe",
        b"name=%00",
        b"\x00=\x00",
        b"\xff",
        b"&" * (2 << 20),
        b"a=1&" * (1 << 20),
        b"name=%ed%a0%80",
        b"name=%c0%af",
    ):
        fine(hub.post("Patient/_search", body, kind))


VALUES = [
    "%00",
    "a%00b",
    "%ED%A0%80",
    "%FF",
    "%C0%AF",
    "%F5%80%80%80",
    "%",
    "%2",
    "%zz",
    "%u0041",
    "%E2%80%AE",
    "%01",
    "%0d%0aSet-Cookie:x=1",
    "%EF%BF%BE",
    "%F0%9F%92%89" * 500,
]


def test_wrong_utf8_and_nul_in_the_query(either: Attacked) -> None:
    for value in VALUES:
        for name in (
            "name",
            "name:exact",
            "name:contains",
            "identifier",
            "_id",
            "birthdate",
            "organization",
            "_text",
            "_filter",
            "_sort",
            "_elements",
            "nonsense",
            "_page",
            "_has:Observation:subject:code",
            "_profile",
        ):
            answer = either.get(f"Patient?{name}={value}")
            fine(answer)
            assert "set-cookie" not in answer.headers
            if value in ("%ED%A0%80", "%FF", "%C0%AF"):
                answer.refused(400)
        fine(either.get(f"Patient?{value}=a"))
    for raw in ("\udcff", "\udced\udca0\udc80", "\udcc0\udcaf"):  # these bytes, as they are
        either.get(f"Patient?name={raw}").refused(400)


def test_impossible_values(either: Attacked) -> None:
    for type, name, values in [
        (
            "Patient",
            "birthdate",
            [
                "2013-02-30",
                "2013-13",
                "0000",
                "10000",
                "ap",
                "gt",
                "eq",
                "gtgt2013",
                "2013-01-14T25:00",
                "9999-12-31T23:59:60Z",
                "2013-01-01T00:00:00+99:00",
                "now()",
                "1e9",
            ],
        ),
        (
            "Observation",
            "value-quantity",
            ["x", "1e400", "-1e400", "NaN", "Infinity", "1|2|3|4", "0x1", "1e999999999", "9" * 4000, "1_000", "١", "5.4|||", "ap"],
        ),
        ("Location", "near", ["1", "1|2|-3|km", "91|0|1|km", "0|181|1|km", "a|b", "NaN|NaN", "1|1|1e400|km", "1|1|1|parsec", "|||"]),
        ("Patient", "active:missing", ["maybe", "1", "true,false", ""]),
        ("Patient", "_lastUpdated", ["yesterday", "2013-02-30", "gt"]),
        (
            "Patient",
            "organization",
            ["Patient/../1", "http://[", "Organization/", "/", "Organization/a/_history", "Organization/" + "a" * 65],
        ),
    ]:
        for value in values:
            fine(either.get(f"{type}?{name}={quote(value)}"))


def _pages(hub: Attacked, path: str) -> str:
    links = {link["relation"]: link["url"] for link in hub.get(path).json()["link"]}
    return str(links["next"].partition("_page=")[2].partition("&")[0])


def test_page_tokens(either: Attacked) -> None:
    good = urllib.parse.unquote(_pages(either, "Patient?_count=1"))
    other = urllib.parse.unquote(_pages(either, "Patient?_count=1&_sort=birthdate"))
    assert either.get(f"Patient?_count=1&_page={good}").status == 200
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    forged = [
        good[:-1],
        good[1:],
        good[: len(good) // 2],
        good + "A",
        "A" + good,
        good[::-1],
        other,
        "",
        "A",
        "=",
        "null",
        "[]",
        "A" * 60_000,
        "../../x",
        "'; DROP TABLE resource; --",
        "%00",
        "é",
        "💉",
        base64.urlsafe_b64encode(raw[:16] + b"[[1],[],null]").decode(),
        base64.urlsafe_b64encode(b"\x00" * 16 + raw[16:]).decode(),
        base64.urlsafe_b64encode(raw[:16] + b"[" * 10_000).decode(),
        base64.urlsafe_b64encode(bytes(raw[0:1] + bytes([raw[1] ^ 1]) + raw[2:])).decode(),
        *(good[:i] + ("A" if good[i] != "A" else "B") + good[i + 1 :] for i in range(0, len(good) - 2, 7)),
    ]
    for token in forged:
        if token:
            either.get(f"Patient?_count=1&_page={quote(token, safe='')}").refused(400)
    for path in (
        "Patient?_count=1&name=a",
        "Observation?_count=1",
        "?_count=1",
        "Patient?_count=1&_sort=birthdate",
        "Patient/an/*?_count=1",
        "Patient/_history?_count=1",
        "Patient?_count=2",
    ):
        either.get(f"{path}&_page={quote(good)}").refused(400)


def test_batches_of_hostile_searches(either: Attacked) -> None:
    urls = (
        [f"Patient?{MANY[name]}" for name in sorted(MANY)]
        + [f"Patient?name={quote(v)}" for v in SQL]
        + [
            "",
            "?",
            "//",
            "http://127.0.0.1:9/fhir/Patient",
            "Patient/../x",
            "\x00",
            "é",
            "Patient?" + "a" * 100_000,
            "$graphql",
            "_history?_count=-1",
            "Patient/an/$everything?_count=x",
            "metadata",
            "Patient/_search",
            "javascript:x",
            "file:///etc/passwd",
            "%ff",
            "Patient?name=%ff",
        ]
    )
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": url or "x"}} for url in urls]}
    answer = either.post("", json.dumps(bundle).encode())
    if answer.status == 200:
        said = answer.json()["entry"]
        assert len(said) == len(urls)
        assert {e["response"]["status"][:1] for e in said} <= {"2", "4"}, [e["response"]["status"] for e in said]
    else:
        answer.refused(400)
