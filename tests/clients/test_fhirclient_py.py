"""PyPI fhirclient (SMART): models that refuse what R4 does not know, searches as structures, pages by next links."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.capabilitystatement import CapabilityStatement
from fhirclient.models.fhirreference import FHIRReference
from fhirclient.models.observation import Observation
from fhirclient.models.operationoutcome import OperationOutcome
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException

SYSTEM = "http://example.vn/fhirclient"


@pytest.fixture
def smart(base: str) -> Iterator[FHIRClient]:
    client = FHIRClient({"app_id": "tests", "api_base": base})
    yield client
    client.server.session.close()


@pytest.fixture
def tag() -> str:
    return uuid.uuid4().hex[:12]


def patient(tag: str, **more: Any) -> Patient:
    return Patient({
        "identifier": [{"system": SYSTEM, "value": tag}],
        "name": [{"family": "Trần", "given": ["Thị", "Ngọc Ánh"], "text": "Trần Thị Ngọc Ánh"}],
        "birthDate": "1990-11",
        "_gender": {"extension": [{"url": "http://example.vn/why", "valueString": "chưa hỏi"}]},
        **more,
    })


def observation(subject: str, minute: int) -> Observation:
    return Observation({
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": f"2026-01-05T08:{minute:02}:00+07:00",
        "valueQuantity": {"value": 36.5, "unit": "Cel", "system": "http://unitsofmeasure.org", "code": "Cel"},
    })


def test_prepare_reads_the_capabilities(smart: FHIRClient) -> None:
    assert smart.prepare()
    assert smart.ready
    statement = smart.server.capabilityStatement
    assert isinstance(statement, CapabilityStatement)
    assert statement.fhirVersion == "4.0.1"
    assert {r.type for r in statement.rest[0].resource} >= {"Patient", "Observation", "Binary"}


def test_create_read_update_delete(smart: FHIRClient, tag: str) -> None:
    made = Patient(patient(tag).create(smart.server))
    read = Patient.read(made.id, smart.server)
    assert smart.human_name(read.name[0]) == "Thị Ngọc Ánh Trần"
    assert read.as_json()["birthDate"] == "1990-11"
    read.active = True
    changed = Patient(read.update(smart.server))
    assert (changed.meta.versionId, changed.active) == ("2", True)
    first = Patient.read_from(f"Patient/{made.id}/_history/1", smart.server)
    assert first.active is None
    history = Bundle.read_from(f"Patient/{made.id}/_history", smart.server)
    assert [e.request.method for e in history.entry] == ["PUT", "POST"]
    read.delete(smart.server)
    with pytest.raises(requests.HTTPError, match="410"):
        Patient.read(made.id, smart.server)
    with pytest.raises(FHIRNotFoundException):
        Patient.read(f"none-{tag}", smart.server)


def test_patient_of_the_client(base: str, smart: FHIRClient, tag: str) -> None:
    made = patient(tag).create(smart.server)
    client = FHIRClient({"app_id": "tests", "api_base": base, "patient_id": made["id"]})
    client.prepare()
    assert client.patient.name[0].text == "Trần Thị Ngọc Ánh"
    client.server.session.close()


def test_search_by_structure(smart: FHIRClient, tag: str) -> None:
    made = patient(tag).create(smart.server)
    for minute in range(23):
        observation(f"Patient/{made['id']}", minute).create(smart.server)
    mine = Observation.where({"subject": f"Patient/{made['id']}", "_count": "5", "_sort": "-date"})
    pages = list(mine.perform_iter(smart.server))
    assert len(pages) == 5
    minutes = [o.effectiveDateTime.isostring[14:16] for page in pages for o in observations(page)]
    assert minutes == [f"{m:02}" for m in range(22, -1, -1)]
    assert len(list(mine.perform_resources_iter(smart.server))) == 23

    chained = Observation.where({"subject": {"$type": "Patient", "identifier": f"{SYSTEM}|{tag}"}, "_summary": "count"})
    assert next(chained.perform_iter(smart.server)).total == 23
    either = Patient.where({"identifier": {"$or": [f"{SYSTEM}|{tag}", f"{SYSTEM}|no-{tag}"]}})
    assert [p.id for p in either.perform_resources_iter(smart.server)] == [made["id"]]
    exact = Patient.where({"family": {"$exact": "Trần"}, "identifier": tag})
    assert [p.id for p in exact.perform_resources_iter(smart.server)] == [made["id"]]
    for name in ("tran", "TRẦN", "ngoc anh"):
        assert [p.id for p in Patient.where({"name": name, "identifier": tag}).perform_resources_iter(smart.server)] == [made["id"]]
    missing = Patient.where({"gender": {"$missing": "true"}, "identifier": tag})
    assert [p.id for p in missing.perform_resources_iter(smart.server)] == [made["id"]]
    bundle = next(Observation.where({"subject": f"Patient/{made['id']}", "_count": "3"}).include("subject").perform_iter(smart.server))
    assert [e.search.mode for e in bundle.entry] == ["match"] * 3 + ["include"]
    reverse = Patient.where({"_id": made["id"]}).include("subject", Observation, reverse=True)
    assert len(list(reverse.perform_resources_iter(smart.server))) == 24


def observations(page: Bundle) -> Iterator[Observation]:
    return (e.resource for e in page.entry if isinstance(e.resource, Observation))


def test_references_are_resolved(smart: FHIRClient, tag: str) -> None:
    made = patient(tag).create(smart.server)
    seen = Observation.read(observation(f"Patient/{made['id']}", 1).create(smart.server)["id"], smart.server)
    assert isinstance(seen.subject, FHIRReference)
    assert seen.subject.resolved(Patient).name[0].family == "Trần"


def test_transaction(smart: FHIRClient, tag: str) -> None:
    urn = uuid.uuid4().urn
    entries = [
        {"fullUrl": urn, "resource": patient(tag).as_json(), "request": {"method": "POST", "url": "Patient"}},
        {"resource": observation(urn, 7).as_json(), "request": {"method": "POST", "url": "Observation"}},
    ]
    answer = Bundle(Bundle({"type": "transaction", "entry": entries}).create(smart.server))
    assert answer.type == "transaction-response"
    assert [e.response.etag for e in answer.entry] == ['W/"1"', 'W/"1"']


def test_refused_with_an_outcome(smart: FHIRClient) -> None:
    with pytest.raises(requests.HTTPError) as refused:
        smart.server.post_json("Patient", {"resourceType": "Patient", "gender": "nữ"})
    outcome = OperationOutcome(refused.value.response.json())
    assert ["Patient.gender"] in [issue.expression for issue in outcome.issue]
