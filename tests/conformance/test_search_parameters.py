"""SearchParameters posted at run time are served, on every worker, until they are deleted (R4 searchparameter.html)."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from health_hub.fhir import index
from health_hub.rest.app import FhirApp
from health_hub.settings import Settings
from health_hub.store import reindex
from health_hub.store.store import Store
from tests.conformance.asking import Asking, observation, patient

BHYT = "http://fhir.hub.vn/StructureDefinition/bhyt"


def parameter(id: str, type: str = "string", expression: str = "Patient.contact.name.family", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "id": id, "url": f"http://hub.vn/SearchParameter/{id}", "name": id, "status": "active",
        "description": id, "code": id, "base": ["Patient"], "type": type, "expression": expression,
    } | more  # fmt: skip


@pytest.fixture(autouse=True)
def forget_added() -> Any:
    before = {p.url for t in ("Patient", "Observation") for p in index.registry.params(t).values()}
    yield
    for t in ("Patient", "Observation"):
        for p in list(index.registry.params(t).values()):
            if p.url not in before:
                index.remove(p)


async def settled(ask: Asking, query: str, ids: str, seconds: float = 15.0) -> None:
    """Asks until the rebuild is through: while it runs, answers say that they may be incomplete."""
    found: object = None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = await ask.client.get(query, headers={"Prefer": "handling=strict"})
        if answer.status_code == 200:
            entries = answer.json().get("entry", ())
            told = [e for e in entries if e["search"]["mode"] == "outcome"]
            found = " ".join(sorted(e["resource"]["id"] for e in entries if e["search"]["mode"] == "match"))
            if found == ids and not told:
                return
        else:
            found = answer.text
        await asyncio.sleep(0.1)
    raise AssertionError(found)


@pytest.fixture
async def started(ask: Asking, store: Store) -> AsyncIterator[Asking]:
    store.parameters.start()
    return ask


async def test_found_after_the_rebuild_and_gone_after_the_delete(started: Asking, store: Store) -> None:
    ask = started
    await ask.put(patient("a", contact=[{"name": {"family": "Đặng"}}]), patient("b"))
    assert await ask.status("Patient?contact-family=dang", Prefer="handling=strict") == 400
    await ask.put(parameter("contact-family"))
    await settled(ask, "Patient?contact-family=dang", "a")
    await ask.put(patient("c", contact=[{"name": {"family": "Đặng"}}]))
    assert await ask.found("Patient?contact-family:exact=Đặng") == "a c"
    assert await ask.found("Patient?contact-family:missing=true") == "b"
    assert (await ask.ids("Patient?_sort=-contact-family"))[:2] in (["a", "c"], ["c", "a"])
    statement = (await ask.client.get("metadata")).json()
    served = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Patient")["searchParam"]
    assert "contact-family" in [p["name"] for p in served]
    assert [line async for line in reindex.check(store, lambda n: None)] == []
    await ask.client.delete("SearchParameter/contact-family")
    for _ in range(100):
        if await ask.status("Patient?contact-family=dang", Prefer="handling=strict") == 400:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("still served")
    for _ in range(100):
        if store.parameters.progress is None:
            break
        await asyncio.sleep(0.1)
    assert [line async for line in reindex.check(store, lambda n: None)] == []


async def test_of_every_type(started: Asking) -> None:
    ask = started
    await ask.put(
        patient("a", extension=[{"url": BHYT, "valueString": "GD4797"}], multipleBirthInteger=2, photo=[{"url": "http://p/1"}],
                contact=[{"organization": {"reference": "Organization/1"}, "period": {"start": "2020-01-01"}}]),
        patient("b"),
        observation("o", extension=[{"url": "http://dose",
                                    "valueQuantity": {"value": 5, "system": "http://unitsofmeasure.org", "code": "mg"}}]),
        parameter("bhyt", "token", f"Patient.extension.where(url = '{BHYT}').value"),
        parameter("born-as", "number", "Patient.multipleBirth as integer"),
        parameter("photo", "uri", "Patient.photo.url"),
        parameter("contact-organization", "reference", "Patient.contact.organization", target=["Organization"]),
        parameter("contact-since", "date", "Patient.contact.period"),
        parameter("dose", "quantity", "Observation.extension('http://dose').value as Quantity", base=["Observation"]),
    )  # fmt: skip
    await settled(ask, "Patient?bhyt=GD4797", "a")
    await settled(ask, "Patient?born-as=2", "a")
    await settled(ask, "Patient?born-as=gt2", "")
    await settled(ask, "Patient?photo=http://p/1", "a")
    await settled(ask, "Patient?contact-organization=Organization/1", "a")
    await settled(ask, "Patient?contact-since=ge2021", "a")
    await settled(ask, "Patient?contact-since=lt2019", "")
    await settled(ask, "Observation?dose=gt4||mg", "o")
    await settled(ask, "Observation?dose=0.005|http://unitsofmeasure.org|g", "o")


@pytest.mark.parametrize(
    "wrong",
    [
        {"expression": "Patient.name.("},
        {"expression": "Patient.nothing"},
        {"expression": ""},
        {"base": ["Nobody"]},
        {"code": "family"},
        {"code": "_id"},
        {"code": "a b"},
        {"type": "composite"},
        {"type": "special"},
        {"url": "http://hl7.org/fhir/SearchParameter/individual-family"},
        {"expression": "Patient.name.where(" * 200 + "true" + ")" * 200},
        {"expression": "Observation.code"},
    ],
)
async def test_a_wrong_one_is_refused(started: Asking, wrong: dict[str, Any]) -> None:
    made = parameter("wrong") | wrong
    if wrong.get("expression") == "":
        del made["expression"]
    answer = await started.client.put("SearchParameter/wrong", json=made)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["issue"][0]["diagnostics"]


async def test_two_with_one_code_are_refused(started: Asking) -> None:
    await started.put(parameter("first", code="same"))
    answer = await started.client.put("SearchParameter/second", json=parameter("second", code="same"))
    assert answer.status_code == 422, answer.text


async def test_a_retired_or_draft_one(started: Asking) -> None:
    await started.put(patient("a", contact=[{"name": {"family": "X"}}]), parameter("f"))
    await settled(started, "Patient?f=x", "a")
    await started.put(parameter("f", status="retired"))
    for _ in range(100):
        if await started.status("Patient?f=x", Prefer="handling=strict") == 400:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a retired parameter is still served")


async def test_changed_expressions_are_indexed_again(started: Asking) -> None:
    ask = started
    await ask.put(patient("a", contact=[{"name": {"family": "X", "given": ["Y"]}}]), parameter("f"))
    await settled(ask, "Patient?f=x", "a")
    await ask.put(parameter("f", expression="Patient.contact.name.given"))
    await settled(ask, "Patient?f=y", "a")
    await settled(ask, "Patient?f=x", "")


async def test_in_a_transaction_with_what_it_finds(started: Asking) -> None:
    entries = [
        {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}}
        for r in (patient("a", contact=[{"name": {"family": "X"}}]), parameter("f"))
    ]
    answer = await started.client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    await settled(started, "Patient?f=x", "a")


async def test_known_after_a_restart(started: Asking, store: Store, database_url: str) -> None:
    await started.put(patient("a", contact=[{"name": {"family": "X"}}]), parameter("f"))
    await settled(started, "Patient?f=x", "a")
    again = await Store.open(database_url)
    try:
        transport = httpx.ASGITransport(app=FhirApp(again, Settings()))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.test/fhir/") as client:
            assert (await client.get("Patient?f=x", headers={"Prefer": "handling=strict"})).json()["total"] == 1
    finally:
        await again.close()
