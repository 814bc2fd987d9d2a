"""Access filters: what Python decides of a row by id and what SQL finds are the same, on made-up records, relations and Consents."""

import random
from typing import Any

import pytest

from fhir_profiles.tables import type_number
from health_hub.fhir import keys, labels
from health_hub.fhir.consent import Viewer
from health_hub.store.access import EVERY
from health_hub.store.condition import All, Among, Any_, Condition, Decided, Not_, Owned, Persons, Related, Unlabelled, Written
from health_hub.store.model import Change, Filter, Grant, Writer
from health_hub.store.reindex import check, rebuild
from health_hub.store.store import Store
from tests.store.searching import query

FACILITIES = ("Organization/a", "Organization/b", "Organization/c")
PEOPLE = [f"p{n}" for n in range(12)]
HIV = labels.BITS["HIV"]


def writer(owner: str | None, author: str | None = None) -> Writer:
    everything = Filter.everything()
    return Writer(everything, everything, everything, everything, All(()), owner, author, ids=True)


def ref(text: str) -> dict[str, str]:
    return {"reference": text}


def encounter(rng: random.Random, n: int) -> dict[str, Any]:
    status = rng.choice(("in-progress", "finished", "finished", "cancelled", "planned"))
    year = rng.choice(("2020", "2026"))
    return {"resourceType": "Encounter", "id": f"e{n}", "status": status, "class": {"code": "AMB"},
            "subject": ref(f"Patient/{rng.choice(PEOPLE)}"),
            "period": {"start": f"{year}-11-20T08:00:00+07:00", "end": f"{year}-11-20T09:00:00+07:00"},
            "serviceProvider": ref(rng.choice(FACILITIES))}  # fmt: skip


def observation(rng: random.Random, n: int) -> dict[str, Any]:
    out: dict[str, Any] = {"resourceType": "Observation", "id": f"o{n}", "status": "final",
                           "code": {"coding": [{"system": "http://loinc.org", "code": rng.choice(("8867-4", "2339-0"))}]}}  # fmt: skip
    if rng.random() < 0.9:
        out["subject"] = ref(f"Patient/{rng.choice(PEOPLE)}")
    if rng.random() < 0.3:
        code = rng.choice(("HIV", "PSY", "X"))
        out["meta"] = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}]}
    return out


def provision(rng: random.Random, depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {"type": rng.choice(("permit", "deny"))}
    if rng.random() < 0.5:
        out["actor"] = [{"role": {"text": "x"}, "reference": ref(f)} for f in rng.sample(FACILITIES, rng.choice((1, 2)))]
    if rng.random() < 0.4:
        out["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": rng.choice(("Observation", "Encounter", "Nothing"))}]
    if rng.random() < 0.3:
        out["code"] = [{"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}]
    if rng.random() < 0.3:
        out["securityLabel"] = [{"code": rng.choice(("HIV", "PSY"))}]
    if rng.random() < 0.2:
        out["purpose"] = [{"code": rng.choice(("TREAT", "HRESCH"))}]
    if rng.random() < 0.2:
        out["period"] = {"start": "2020-01-01", "end": rng.choice(("2021-01-01", "2099-01-01"))}
    if rng.random() < 0.1:
        out["data"] = [{"meaning": rng.choice(("instance", "related")), "reference": ref(f"Observation/o{rng.randrange(40)}")}]
    if depth and rng.random() < 0.5:
        out["provision"] = [provision(rng, depth - 1) for _ in range(rng.choice((1, 2)))]
    return out


def appointment(rng: random.Random, n: int) -> dict[str, Any]:
    """About up to three."""
    people = [{"actor": ref(f"Patient/{p}"), "status": "accepted"} for p in rng.sample(PEOPLE[:5], rng.choice((1, 2, 3)))]
    return {"resourceType": "Appointment", "id": f"a{n}", "status": "proposed", "participant": people}


def a_consent(rng: random.Random, n: int) -> dict[str, Any]:
    return {"resourceType": "Consent", "id": f"c{n}", "status": rng.choice(("active", "active", "active", "inactive")),
            "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
            "category": [{"text": "x"}], "patient": ref(f"Patient/{rng.choice(PEOPLE)}"),
            "dateTime": rng.choice(("2025-01-01", "2098-01-01")),
            "policyRule": {"coding": [{"code": rng.choice(("OPTIN", "OPTOUT", "x"))}]}, "provision": provision(rng, 2)}  # fmt: skip


def conditions() -> list[Condition]:
    a = keys.reference("Organization/a")
    viewer = Viewer(frozenset((a,)), frozenset(("TREAT",)))
    related = Related((a, keys.reference("*")))
    own = Owned(("Organization/a",))
    denied = Decided(viewer, "deny", related.parties)
    everyone = Decided(viewer, "deny")
    permitted = Decided(viewer, "permit")  # of a part; a permission of everything is a relationship, so it is asked beside
    unlabelled = Unlabelled(HIV)
    people = Persons(tuple(keys.reference(f"Patient/{p}") for p in PEOPLE[:3]))
    return [
        own, Owned((None, "Organization/b")), people, related, unlabelled, everyone, Any_((related, permitted)), Written("Practitioner/x"),
        All((related, Not_(denied), unlabelled)), Any_((own, All((Any_((related, permitted)), Not_(everyone), unlabelled)))),
        All((people, Not_(everyone))), Any_((Not_(related), denied)),
        Among(people.any), All((people, Among(people.any))), Any_((own, All((related, Any_((Among(people.any), Not_(people))))))),
    ]  # fmt: skip


async def made_up(store: Store, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    resources: list[dict[str, Any]] = [{"resourceType": "Patient", "id": p} for p in PEOPLE]
    resources += [encounter(rng, n) for n in range(15)] + [observation(rng, n) for n in range(40)]
    resources += [appointment(rng, n) for n in range(10)] + [a_consent(rng, n) for n in range(10)]
    for r in resources:
        by = writer(rng.choice((*FACILITIES, None)), rng.choice((None, "Practitioner/x")))
        await store.commit([Change("update", r["resourceType"], r["id"], r)], by=by)
    return [(r["resourceType"], r["id"]) for r in resources]


@pytest.mark.parametrize("seed", range(4))
async def test_python_and_sql_decide_alike(store: Store, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = await made_up(store, seed)
    for condition in conditions():
        filter = Filter((Grant(EVERY, condition),))
        view = store.view(filter)
        read = {name for name, found in zip(names, await view.read_many(names), strict=True) if found is not None}
        for near in (500, 0):
            monkeypatch.setattr("health_hub.store.access.NEAR", near)
            whole = {(h.stored.type, h.stored.id) for h in (await view.search(query("?_count=200"))).hits}
            assert whole == read, condition
            for kind in ("Patient", "Encounter", "Observation", "Appointment", "Consent"):
                page = await view.search(query(f"{kind}?_count=200"))
                assert {(h.stored.type, h.stored.id) for h in page.hits} == {n for n in read if n[0] == kind}, (kind, condition)
                assert await view.count(query(kind)) == len(page.hits)
        assert {(s.type, s.id) async for s in view.scan()} == read, condition
        assert {(s.type, s.id) for s in (await view.history(count=500)).versions} == read, condition
        assert {s.id for s in (await view.history("Observation", count=500)).versions} == {i for t, i in read if t == "Observation"}


async def test_types_of_a_grant_hold_in_searches_of_every_type(store: Store) -> None:
    await made_up(store, 9)
    patients, observations = frozenset((type_number("Patient"),)), frozenset((type_number("Observation"),))
    filter = Filter((Grant(patients, All(())), Grant(observations, Unlabelled(HIV))))
    found = {h.stored.type for h in (await store.view(filter).search(query("?_count=200"))).hits}
    assert found == {"Patient", "Observation"}
    assert await store.view(filter).search(query("Encounter")) is not None
    assert await store.view(filter).count(query("Encounter")) == 0


async def test_whose_a_resource_is_stays_with_it_and_is_checked(store: Store) -> None:
    await made_up(store, 3)
    assert [p async for p in check(store)] == []
    every = "SELECT owner, author, party, person FROM resource r LEFT JOIN relation g ON g.rid = r.rid ORDER BY 1, 2, 3, 4"
    before = await store.database.fetch(every)
    await rebuild(store)
    assert [p async for p in check(store)] == []
    after = await store.database.fetch(every)
    assert [tuple(r) for r in before] == [tuple(r) for r in after]


async def test_an_old_version_about_someone_else_is_not_seen(store: Store) -> None:
    people = [{"resourceType": "Patient", "id": p} for p in ("p1", "p2")]
    await store.commit([Change("update", "Patient", p["id"], p) for p in people])
    body = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
    await store.commit([Change("update", "Observation", "o", {**body, "subject": ref("Patient/p1")})])
    hiv = {"meta": {"security": [{"code": "HIV"}]}}
    await store.commit([Change("update", "Observation", "o", {**body, **hiv, "subject": ref("Patient/p2")})])
    await store.commit([Change("update", "Observation", "o", {**body, "subject": ref("Patient/p2")})])
    mine = All((Persons((keys.reference("Patient/p2"),)), Unlabelled(HIV)))
    view = store.view(Filter((Grant(EVERY, mine),)))
    assert [await view.vread("Observation", "o", v) is not None for v in (1, 2, 3)] == [False, False, True]
    assert [v.version for v in (await view.history("Observation", "o")).versions] == [3]
    assert [v.version for v in (await view.history("Observation")).versions] == [3]


async def test_an_element_with_a_label_is_neither_returned_nor_searchable(store: Store) -> None:
    inline = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
    label = [{"url": inline, "valueCoding": {"code": "HIV"}}]
    patient = {"resourceType": "Patient", "id": "p", "text": {"status": "generated", "div": "<div>kín</div>"}, "birthDate": "1990-01-01",
               "_birthDate": {"extension": label}, "name": [{"family": "Kín", "extension": label}, {"family": "Mở"}]}  # fmt: skip
    await store.commit([Change("update", "Patient", "p", patient)])
    view = store.view(Filter((Grant(EVERY, All(())),), labels=0))
    found = await view.read("Patient", "p")
    assert found is not None
    for doc in (found.doc, (await view.search(query("Patient"))).hits[0].stored.doc, (await view.history("Patient", "p")).versions[0].doc):
        assert doc is not None
        text = doc.decode()
        assert "1990" not in text
        assert "Kín" not in text
        assert "kín" not in text
        assert "Mở" in text
        assert "masked" in text
        assert "REDACTED" in text
    whole = await store.view(Filter((Grant(EVERY, All(())),), labels=HIV)).read("Patient", "p")
    assert whole is not None
    assert b"1990" in (whole.doc or b"")
    for asked in ("Patient?name=kin", "Patient?birthdate=1990-01-01"):
        assert await store.view().count(query(asked)) == 0
    assert await store.view().count(query("Patient?name=mo")) == 1
