"""What a search asks of other resources: chains, `_has`, includes, lists, codes, places; and that the filter holds for all."""

from typing import Any

import pytest

from health_hub.fhir import keys
from health_hub.fhir.outcome import FhirError
from health_hub.store.access import EVERY
from health_hub.store.condition import Persons
from health_hub.store.model import Filter, Grant
from health_hub.store.search import include as include_module
from health_hub.store.search import resolve, terms
from health_hub.store.store import Store
from tests.store.searching import found, included, observation, patient, put, query


def _ref(target: str) -> dict[str, Any]:
    return {"reference": target}


@pytest.fixture(params=[True, False], ids=["few", "many"])
def hops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few other resources become keys; many stay a condition on them."""
    if not request.param:
        monkeypatch.setattr(resolve, "CHAINED", 0)
        monkeypatch.setattr(resolve, "REFERRING", 0)


async def _clinic(store: Store) -> None:
    await put(
        store,
        {"resourceType": "Organization", "id": "o1", "name": "Bệnh viện Điện Biên"},
        {"resourceType": "Organization", "id": "o2", "name": "Trạm y tế", "partOf": _ref("Organization/o1")},
        patient("p1", name=[{"family": "Lò"}], managingOrganization=_ref("Organization/o2")),
        patient("p2", name=[{"family": "Vàng"}], managingOrganization=_ref("Organization/o1")),
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "subject": _ref("Patient/p1")},
        observation("b1", subject=_ref("Patient/p1"), encounter=_ref("Encounter/e1")),
        observation("b2", subject=_ref("Patient/p2"), derivedFrom=[_ref("Observation/b1")]),
        observation("b3", subject=_ref("Patient/p2"), status="amended"),
    )


async def test_chains(store: Store, hops: None) -> None:
    await _clinic(store)
    assert await found(store, "Observation?subject:Patient.name=lo") == ["b1"]
    assert await found(store, "Observation?patient.organization.name=benh") == ["b2", "b3"]
    assert await found(store, "Observation?patient.organization.partof.name=benh") == ["b1"]
    assert await found(store, "Observation?encounter.patient._id=p1") == ["b1"]
    assert await found(store, "Observation?_filter=not(patient.name sw lo)") == ["b2", "b3"]
    assert await found(store, "Observation?subject.name=nobody") == []


async def test_has(store: Store, hops: None) -> None:
    await _clinic(store)
    assert await found(store, "Patient?_has:Observation:patient:status=amended") == ["p2"]
    assert await found(store, "Patient?_has:Observation:subject:code=8867-4") == ["p1", "p2"]
    assert await found(store, "Organization?_has:Patient:organization:_has:Observation:patient:status=amended") == ["o1"]
    assert await found(store, "Observation?_has:Observation:derived-from:status=final") == ["b1"]
    assert await found(store, "Patient?_has:Encounter:patient:status=planned") == []


async def test_nothing_leaks_through_the_filter(store: Store, hops: None) -> None:
    """Only p2 and what belongs to it may be seen: no match, chain, total, include or list tells of more."""
    await _clinic(store)
    await put(
        store,
        {
            "resourceType": "List",
            "id": "l",
            "status": "current",
            "mode": "working",
            "entry": [{"item": _ref("Patient/p1")}, {"item": _ref("Patient/p2")}],
        },
    )
    mine = keys.reference("Patient/p2")
    only = Filter((Grant(EVERY, Persons((mine,))),))
    view = store.view(only)
    for sort in ("", "&_sort=-date", "&_sort=_lastUpdated", "&_sort=status", "&_sort=_id"):
        assert sorted(await found(store, f"Observation?_count=1{sort}", only)) == ["b2", "b3"]
    assert await view.count(query("Observation?code=8867-4")) == 2
    assert await view.count(query("Observation")) == 2
    assert await view.count(query("")) == 3
    assert await found(store, "Observation?_filter=not(status eq amended)", only) == ["b2"]
    assert await found(store, "Observation?status:not=amended", only) == ["b2"]
    assert await found(store, "Observation?_has:Observation:derived-from:status=final", only) == []
    assert await found(store, "Observation?patient.organization.name=benh", only) == []  # the organization is not visible
    assert await found(store, "Patient?name=lo", only) == []
    assert await found(store, "Patient?_list=l", only) == []
    assert await included(store, "Observation?_include=*&_include:iterate=*", only) == {"Patient/p2"}
    assert await included(store, "Patient?_revinclude=Observation:patient&_revinclude=Encounter:patient", only) == {
        "Observation/b2",
        "Observation/b3",
    }
    assert await view.find([query("Patient?name=lo"), query("Observation?code=8867-4")], 5) == [[], ["b2", "b3"]]
    assert await found(store, "Observation", Filter(())) == []


async def test_includes(store: Store) -> None:
    await _clinic(store)
    assert await included(store, "Observation?_id=b1&_include=Observation:subject") == {"Patient/p1"}
    assert await included(store, "Observation?_id=b1&_include=Observation:subject:Group") == set()
    assert await included(store, "Observation?_id=b1&_include=Observation:*") == {"Patient/p1", "Encounter/e1"}
    assert await included(store, "Observation?_id=b1&_include=Observation:patient&_include:iterate=Patient:organization") == {
        "Patient/p1",
        "Organization/o2",
    }
    chain = "Observation?_id=b1&_include=Observation:patient&_include:iterate=Patient:organization&_include:iterate=Organization:partof"
    assert await included(store, chain) == {"Patient/p1", "Organization/o2", "Organization/o1"}
    assert await included(store, "Observation?_id=b1&_include=Patient:organization") == set()
    assert await included(store, "Organization?_id=o1&_revinclude=Patient:organization&_revinclude:iterate=Observation:patient") == {
        "Patient/p2",
        "Observation/b2",
        "Observation/b3",
    }
    assert await included(store, "Patient?_id=p1&_revinclude=*") == {"Encounter/e1", "Observation/b1"}
    both = await store.view().search(query("Observation?_include=Observation:derived-from"))
    assert [h.stored.id for h in both.hits] == ["b1", "b2", "b3"], "what matches is not included again"


async def test_includes_by_canonical(store: Store) -> None:
    await put(
        store,
        {"resourceType": "Questionnaire", "id": "q1", "status": "active", "url": "http://x.test/q", "version": "1"},
        {"resourceType": "Questionnaire", "id": "q2", "status": "active", "url": "http://x.test/q", "version": "2"},
        {"resourceType": "QuestionnaireResponse", "id": "r1", "status": "completed", "questionnaire": "http://x.test/q|1"},
    )
    assert await included(store, "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire") == {"Questionnaire/q1"}


async def test_included_resources_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(include_module, "INCLUDED", 3)
    await put(store, patient("p"), *[observation(f"o{i}", subject=_ref("Patient/p")) for i in range(6)])
    page = await store.view().search(query("Patient?_revinclude=Observation:subject"))
    assert len(page.hits) == 4
    assert page.issues[0].code == "too-costly"


async def test_lists(store: Store) -> None:
    entries = [{"item": _ref("Patient/a")}, {"item": _ref("Patient/b"), "deleted": True}, {"item": _ref("Observation/x")}]
    await put(
        store,
        patient("a"),
        patient("b"),
        patient("c"),
        {"resourceType": "List", "id": "l1", "status": "current", "mode": "working", "entry": entries},
    )
    assert await found(store, "Patient?_list=l1") == ["a"]
    assert await found(store, "Patient?_list=nothing") == []


async def test_code_hierarchies_and_value_sets(store: Store) -> None:
    system = "http://x.test/cs"
    concepts = [{"code": "root", "concept": [{"code": "a", "concept": [{"code": "a1"}]}, {"code": "b"}]}, {"code": "other"}]
    await put(
        store,
        {"resourceType": "CodeSystem", "id": "cs", "url": system, "status": "active", "content": "complete", "concept": concepts},
        {
            "resourceType": "ValueSet",
            "id": "vs",
            "url": "http://x.test/vs",
            "status": "active",
            "compose": {
                "include": [
                    {"system": system, "filter": [{"property": "concept", "op": "is-a", "value": "a"}]},
                    {"system": "http://loinc.org"},
                ],
                "exclude": [{"system": system, "concept": [{"code": "a"}]}],
            },
        },
        {
            "resourceType": "ValueSet",
            "id": "all",
            "url": "http://x.test/all",
            "status": "active",
            "compose": {"include": [{"valueSet": ["http://x.test/vs"]}, {"system": system, "concept": [{"code": "b"}]}]},
        },
        *[observation(c, code={"coding": [{"system": system, "code": c}]}) for c in ("root", "a", "a1", "b", "other")],
        observation("loinc"),
    )
    assert await found(store, f"Observation?code:below={system}|a") == ["a", "a1"]
    assert await found(store, f"Observation?code:above={system}|a1") == ["root", "a", "a1"]
    assert await found(store, "Observation?code:in=http://x.test/vs") == ["a1", "loinc"]
    assert await found(store, "Observation?code:in=ValueSet/all") == ["a1", "b", "loinc"]
    assert await found(store, "Observation?code:not-in=http://x.test/all") == ["root", "a", "other"]
    assert await found(store, "Observation?status:in=http://hl7.org/fhir/ValueSet/observation-status&_count=1") == [
        "root",
        "a",
        "a1",
        "b",
        "other",
        "loinc",
    ]
    with pytest.raises(FhirError, match="not known"):
        await found(store, "Observation?code:in=http://x.test/unknown")
    with pytest.raises(FhirError, match=r"system\|code"):
        await found(store, "Observation?code:below=a")


async def test_too_large_value_sets_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "CODES", 2)
    with pytest.raises(FhirError, match="more than 2 codes") as refusal:
        await found(store, "Observation?status:in=http://hl7.org/fhir/ValueSet/observation-status")
    assert refusal.value.status == 403


async def test_places_below_and_above(store: Store) -> None:
    places = [
        {"resourceType": "Location", "id": i, **({"partOf": _ref(f"Location/{up}")} if up else {})}
        for i, up in (("house", None), ("ward", "house"), ("bed", "ward"), ("other", None))
    ]
    rooms = [
        {
            "resourceType": "Encounter",
            "id": f"e-{i}",
            "status": "finished",
            "class": {"code": "IMP"},
            "location": [{"location": _ref(f"Location/{i}")}],
        }
        for i in ("house", "ward", "bed", "other")
    ]
    await put(store, *places, *rooms)
    assert await found(store, "Encounter?location:below=Location/ward") == ["e-ward", "e-bed"]
    assert await found(store, "Encounter?location:above=Location/ward") == ["e-house", "e-ward"]


async def test_near(store: Store) -> None:
    at = {"dienbien": (21.386, 103.017), "hanoi": (21.028, 105.854), "edge": (0.0, 179.99), "nowhere": None}
    await put(
        store,
        *[
            {"resourceType": "Location", "id": i, **({"position": {"latitude": p[0], "longitude": p[1]}} if p else {})}
            for i, p in at.items()
        ],
    )
    assert await found(store, "Location?near=21.4|103|5|km") == ["dienbien"]
    assert sorted(await found(store, "Location?near=21.2|104.5|300|km")) == ["dienbien", "hanoi"]
    assert await found(store, "Location?near=0|-179.99|5|km") == ["edge"]
    page = await store.view().search(query("Location?near=21.386|103.017|5|km"))
    assert page.hits[0].distance_km == pytest.approx(0, abs=0.01)


async def test_words(store: Store) -> None:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Đau thận trái</div>'}
    await put(store, patient("a", text=text), patient("b", name=[{"text": "Thận trọng"}]))
    assert await found(store, "Patient?_text=than") == ["a"]
    assert await found(store, "Patient?_text=than dau") == ["a"]
    assert await found(store, "Patient?_text=than xyz") == []
    assert sorted(await found(store, "Patient?_content=than")) == ["a", "b"]


async def test_find_answers_many_at_once(store: Store) -> None:
    mrn = "http://x.test/mrn"
    await put(store, *[patient(f"p{i}", identifier=[{"system": mrn, "value": str(i % 3)}], birthDate="1980-01-01") for i in range(6)])
    asked = [
        f"Patient?identifier={mrn}|0",
        f"Patient?identifier={mrn}|9",
        f"Patient?identifier={mrn}|1&birthdate=1980",
        f"Patient?identifier={mrn}|2&identifier=2",
        "Patient?_id=p5",
    ]
    assert await store.view().find([query(q) for q in asked], 1) == [["p0"], [], ["p1"], ["p2"], ["p5"]]
    assert await store.view().find([query(asked[0])], 5) == [["p0", "p3"]]


async def test_every_type_at_once(store: Store) -> None:
    await _clinic(store)
    assert set(await found(store, "?_id=p1,b1,o1")) == {"p1", "b1", "o1"}
    assert len(await found(store, "?_count=3")) == 8
    assert len(await found(store, "?_sort=-_lastUpdated&_count=3")) == 8
    assert set(await found(store, "?_type=Patient,Observation&_lastUpdated=gt2000-01-01&_count=2")) == {"p1", "p2", "b1", "b2", "b3"}


async def test_contained_resources_are_not_searched(store: Store) -> None:
    with pytest.raises(FhirError, match="_contained"):
        await found(store, "Patient?_contained=true")
