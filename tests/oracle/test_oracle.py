"""Searches through the HTTP door find what a plain scan of the documents finds, on both stores."""

from collections.abc import AsyncIterator
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from health_hub.app import create
from health_hub.fhir.json import dumps, loads
from health_hub.settings import Settings
from health_hub.store.store import Store
from tests.oracle import documents, real
from tests.oracle.queries import Generator
from tests.oracle.scan import CannotSay, Oracle

BASE = "http://hub.test/fhir"
QUERIES = 400


class Refused(Exception):
    """A search that the server did not answer."""


class Door:
    """The server as a client sees it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def transact(self, bundle: dict[str, Any]) -> None:
        headers = {"content-type": "application/fhir+json", "prefer": "return=minimal"}
        answer = await self.http.post(BASE, content=dumps(bundle), headers=headers)
        assert answer.status_code == 200, answer.text[:2000]

    async def put_all(self, resources: list[dict[str, Any]]) -> None:
        for at in range(0, len(resources), 100):
            part = resources[at : at + 100]
            entry = [{"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in part]
            await self.transact({"resourceType": "Bundle", "type": "transaction", "entry": entry})

    async def pages(self, path: str, count: int = 1000) -> AsyncIterator[dict[str, Any]]:
        url: str | None = f"{BASE}/{path}{'&' if '?' in path else '?'}_count={count}"
        while url:
            answer = await self.http.get(url, headers={"prefer": "handling=strict"})
            if answer.status_code != 200:
                raise Refused(f"{url}: {answer.status_code} {answer.text[:1000]}")
            page = loads(answer.content)
            yield page
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)

    async def entries(self, path: str, count: int = 1000) -> list[dict[str, Any]]:
        return [e for page in [p async for p in self.pages(path, count)] for e in page.get("entry", ())]

    async def matches(self, path: str, count: int = 1000) -> list[dict[str, Any]]:
        return [e["resource"] for e in await self.entries(path, count) if e["search"]["mode"] == "match"]


@pytest.fixture
async def door(store: Store) -> AsyncIterator[Door]:
    app: Any = create(Settings(db="", auth=False, base_url=BASE), store)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app, raise_app_exceptions=True), timeout=60) as http:
        yield Door(http)


async def scanned(door: Door, types: set[str]) -> Oracle:
    """What the server holds, read back."""
    return Oracle([r for t in sorted(types) for r in await door.matches(t)], BASE)


def path(kind: str, pairs: list[tuple[str, str]]) -> str:
    return f"{kind}?{urlencode(pairs, quote_via=quote, safe=':/$,')}"


async def compare(door: Door, oracle: Oracle, seed: int, queries: int) -> None:
    generator, wrong, found = Generator(oracle, seed), [], 0
    for _ in range(queries):
        kind, pairs = generator.query()
        try:
            want = oracle.search(kind, pairs)
        except CannotSay:
            continue
        try:
            got = [r["id"] for r in await door.matches(path(kind, pairs))]
        except Refused as e:
            # A chain to a type that the reference cannot have is a mistake to the server, and finds nothing to the scan.
            if want or not ("does not refer to" in str(e) or "is no search parameter of" in str(e)):
                wrong.append(str(e))
            continue
        found += bool(want)
        if sorted(got) != sorted(want):
            wrong.append(f"{path(kind, pairs)}\n      only found: {sorted(set(got) - want)[:5]}  only there: {sorted(want - set(got))[:5]}")
    assert not wrong, f"{len(wrong)} of {queries} differ:\n" + "\n".join(wrong[:40])
    assert found > queries // 3, "queries that find nothing say little"


async def test_odd_values(door: Door) -> None:
    made = documents.make(7)
    await door.put_all(made)
    oracle = await scanned(door, {r["resourceType"] for r in made})
    assert sum(map(len, oracle.by_type.values())) == len(made)
    await compare(door, oracle, 1, QUERIES)


async def test_synthea(door: Door) -> None:
    bundles, lines = real.bundles(), real.lines()
    for bundle in bundles:
        await door.transact(bundle)
    await door.put_all(lines)
    oracle = await scanned(door, {r["resourceType"] for r in lines} | {e["resource"]["resourceType"] for b in bundles for e in b["entry"]})
    assert sum(map(len, oracle.by_type.values())) == len(lines) + sum(len(b["entry"]) for b in bundles)
    await compare(door, oracle, 2, QUERIES)


async def test_filters_and_lists(door: Door) -> None:
    made = documents.make(17)
    await door.put_all(made)
    oracle = await scanned(door, {r["resourceType"] for r in made})
    generator, wrong = Generator(oracle, 3), []
    for n in range(120):
        kind = ("Patient", "Observation", "Encounter", "Condition")[n % 4]
        text, test = generator.filter(kind)
        want = {i for i, r in oracle.by_type[kind].items() if test(r)}
        got = {r["id"] for r in await door.matches(path(kind, [("_filter", text)]))}
        if got != want:
            wrong.append(f"{kind}?_filter={text}\n      only found: {sorted(got - want)[:5]}  only there: {sorted(want - got)[:5]}")
    assert not wrong, "\n".join(wrong)
    for pairs in ([("_list", "l0")], [("_list", "l1"), ("active", "true")], [("_text", "kidney")], [("_text", "đau")], [("_text", "dau")]):
        assert {r["id"] for r in await door.matches(path("Patient", pairs))} == oracle.search("Patient", pairs), pairs


SORTS = ("Observation date", "Observation value-date", "Patient birthdate", "Patient family", "Patient given", "Patient _lastUpdated",
         "Encounter date", "Condition onset-date", "RiskAssessment probability")  # fmt: skip
INCLUDES = ("Observation:subject", "Observation:patient", "Observation:encounter", "Encounter:participant", "Patient:general-practitioner",
            "Patient:link", "Group:member", "ServiceRequest:based-on")  # fmt: skip
REVINCLUDES = ("Patient Observation:patient", "Patient List:item", "Encounter Observation:encounter", "Organization Patient:organization",
               "Practitioner Encounter:practitioner")  # fmt: skip


async def test_order_and_pages(door: Door) -> None:
    made = documents.make(11)
    await door.put_all(made)
    oracle = await scanned(door, {r["resourceType"] for r in made})
    for text in SORTS:
        kind, code = text.split()
        for descending in (False, True):
            ids = [r["id"] for r in await door.matches(f"{kind}?_sort={'-' if descending else ''}{code}", count=7)]
            assert sorted(ids) == sorted(oracle.by_type[kind]), f"{text} in pages of 7 repeats or skips"
            keys = [oracle.sort_key(oracle.by_type[kind][i], code, descending=descending) for i in ids]
            there = [k for k in keys if k is not None]
            assert keys[: len(there)] == there, f"{text}: what has no value comes last"
            assert there == sorted(there, reverse=descending), text


async def test_conditions_with_an_order_in_pages(door: Door) -> None:
    made = documents.make(19, people=120, observations=900)
    await door.put_all(made)
    oracle = await scanned(door, {r["resourceType"] for r in made})
    generator, random, wrong = Generator(oracle, 5), Random(5), []
    orders = {
        "Observation": ("date", "-date", "-_lastUpdated", "value-quantity", "code,-date"),
        "Patient": ("birthdate", "-family", "name,birthdate"),
    }
    for n in range(60):
        kind = ("Observation", "Observation", "Patient")[n % 3]
        _, pairs = generator.query(kind)
        order = random.choice(orders[kind])
        search = path(kind, [*pairs, ("_sort", order)])
        try:
            want = oracle.search(kind, pairs)
            ids = [r["id"] for r in await door.matches(search, count=random.choice((7, 100)))]
        except (CannotSay, Refused):  # test_odd_values says which refusals are right
            continue
        if sorted(ids) != sorted(want):
            wrong.append(f"{search}: {len(ids)} found, {len(set(ids))} different, {len(want)} there")
        elif order in ("date", "-date", "birthdate"):
            keys = [oracle.sort_key(oracle.by_type[kind][i], order.lstrip("-"), descending=order[0] == "-") for i in ids]
            there = [k for k in keys if k is not None]
            if keys[: len(there)] != there or there != sorted(there, reverse=order[0] == "-"):
                wrong.append(f"{search}: not in order")
    assert not wrong, "\n".join(wrong)


async def included(door: Door, search: str) -> list[str]:
    entries = await door.entries(search)
    return sorted(f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries if e["search"]["mode"] == "include")


async def test_includes(door: Door) -> None:
    made = documents.make(13)
    await door.put_all(made)
    oracle = await scanned(door, {r["resourceType"] for r in made})
    for text in INCLUDES:
        kind, code = text.split(":")
        matched = oracle.by_type[kind]
        want = {x for r in matched.values() for x in oracle.include(r, code)} - {f"{kind}/{i}" for i in matched}
        assert await included(door, f"{kind}?_include={text}") == sorted(want), f"_include={text}"
    for text in REVINCLUDES:
        kind, source = text.split()
        want = {x for r in oracle.by_type[kind].values() for x in oracle.revinclude(r, *source.split(":"))}
        assert await included(door, f"{kind}?_revinclude={source}") == sorted(want), f"{kind}?_revinclude={source}"
