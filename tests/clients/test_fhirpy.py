"""PyPI fhirpy: bodies as application/json, a bare version as If-None-Match, merges as patches, _totalMethod with every count."""

import uuid
from typing import Any

import pytest
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

SYSTEM = "http://example.vn/fhirpy"
LOINC = "http://loinc.org"


@pytest.fixture
def client(base: str) -> SyncFHIRClient:
    return SyncFHIRClient(base)


@pytest.fixture
def tag() -> str:
    """What only this test's resources have."""
    return uuid.uuid4().hex[:12]


def named(tag: str, **more: Any) -> dict[str, Any]:
    name = [{"family": "Nguyễn", "given": ["Văn", "Đức"], "text": "Nguyễn Văn Đức"}]
    return {"identifier": [{"system": SYSTEM, "value": tag}], "name": name, "gender": "male", "birthDate": "1975", **more}


def observation(subject: Any, day: int, **more: Any) -> dict[str, Any]:
    return {
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}]},
        "subject": subject,
        "effectiveDateTime": f"2026-02-{day:02}T07:30:00+07:00",
        "valueQuantity": {"value": 60 + day, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        **more,
    }


def test_capabilities(client: SyncFHIRClient) -> None:
    statement = client.execute("metadata", method="get")
    assert (statement.resourceType, statement.fhirVersion) == ("CapabilityStatement", "4.0.1")


def test_create_read_update_delete(client: SyncFHIRClient, tag: str) -> None:
    patient = client.resource("Patient", **named(tag))
    patient.save()
    assert patient["meta"]["versionId"] == "1"
    again = client.get("Patient", patient.id)
    assert again["name"][0]["text"] == "Nguyễn Văn Đức"
    patient.refresh()  # not modified: stays as it is
    assert patient["birthDate"] == "1975"
    patient["birthDate"] = "1975-08-20"
    patient.save()
    assert patient["meta"]["versionId"] == "2"
    assert client.execute(f"Patient/{patient.id}/_history/1", method="get")["birthDate"] == "1975"
    assert client.execute(f"Patient/{patient.id}/_history", method="get")["total"] == 2
    patient.delete()
    with pytest.raises(ResourceNotFound, match="deleted"):
        client.get("Patient", patient.id)
    with pytest.raises(ResourceNotFound):
        client.get("Patient", f"none-{tag}")


def test_refresh_of_a_changed_resource(client: SyncFHIRClient, tag: str) -> None:
    mine = client.resource("Patient", **named(tag)).save()
    client.patch("Patient", mine.id, gender="female")
    mine.refresh()
    assert (mine["gender"], mine["meta"]["versionId"]) == ("female", "2")


def test_patch_is_a_whole_merge(client: SyncFHIRClient, tag: str) -> None:
    patient = client.resource("Patient", **named(tag, active=True)).save()
    patient.patch(gender="female", active=None)
    assert patient["gender"] == "female"
    assert "active" not in patient
    assert patient["name"][0]["family"] == "Nguyễn"
    by_save = client.get("Patient", patient.id)
    by_save = client.resource("Patient", **by_save)
    by_save["birthDate"] = "1976"
    by_save["gender"] = "other"  # not among the fields that are saved
    by_save.save(fields=["birthDate"])
    assert (by_save["birthDate"], by_save["gender"]) == ("1976", "female")
    with pytest.raises(OperationOutcome) as refused:
        patient.patch(birthDate="hôm qua")
    assert refused.value.resource["issue"][0]["expression"] == ["Patient.birthDate"]
    assert client.get("Patient", patient.id)["meta"]["versionId"] == "3"


def test_conditional_patch(client: SyncFHIRClient, tag: str) -> None:
    client.resource("Patient", **named(tag)).save()
    found = client.resources("Patient").search(identifier=f"{SYSTEM}|{tag}")
    assert found.patch(gender="unknown")["gender"] == "unknown"
    with pytest.raises(ResourceNotFound):
        client.resources("Patient").search(identifier=f"{SYSTEM}|no-{tag}").patch(gender="unknown")


def test_get_or_create(client: SyncFHIRClient, tag: str) -> None:
    wanted = client.resources("Patient").search(identifier=f"{SYSTEM}|{tag}")
    made, created = wanted.get_or_create(client.resource("Patient", **named(tag)))
    again, created_again = wanted.get_or_create(client.resource("Patient", **named(tag)))
    assert (created, created_again) == (True, False)
    assert made.id == again.id
    client.resource("Patient", **named(tag)).save()
    with pytest.raises(MultipleResourcesFound):
        wanted.get_or_create(client.resource("Patient", **named(tag)))


def test_conditional_update_and_delete(client: SyncFHIRClient, tag: str) -> None:
    wanted = client.resources("Patient").search(identifier=f"{SYSTEM}|{tag}")
    made, created = wanted.update(client.resource("Patient", **named(tag)))
    changed, created_again = wanted.update(client.resource("Patient", **named(tag, active=True)))
    assert (created, created_again) == (True, False)
    assert changed.id == made.id
    assert changed["meta"]["versionId"] == "2"
    _, status = wanted.delete()
    assert status in (200, 204)
    assert wanted.count() == 0


def test_search(client: SyncFHIRClient, tag: str) -> None:
    organization = client.resource("Organization", name=f"Trạm y tế Bản Đôn {tag}").save()
    patient = client.resource("Patient", **named(tag, managingOrganization=organization.to_reference())).save()
    for day in range(1, 24):
        client.resource("Observation", **observation(patient.to_reference(), day)).save()
    mine = client.resources("Observation").search(subject=patient)

    assert mine.count() == 23
    pages = mine.sort("-date").limit(5).fetch_all()
    assert [o["effectiveDateTime"][8:10] for o in pages] == [f"{d:02}" for d in range(23, 0, -1)]
    assert mine.first()["resourceType"] == "Observation"
    assert mine.search(date__ge="2026-02-10", date__lt="2026-02-12").count() == 2
    assert mine.search(code=f"{LOINC}|8867-4", value_quantity__gt=80).count() == 3
    of_station = {"subject__Patient__organization__Organization__name": f"tram y te ban don {tag}"}
    assert client.resources("Observation").search(**of_station).count() == 23
    assert client.resources("Patient").has("Observation", "subject", code="8867-4").search(identifier=tag).count() == 1
    assert client.resources("Patient").search(name__exact="Nguyễn", identifier=tag).count() == 1
    for name in ("nguyen", "đức", "duc", "Đức"):
        assert client.resources("Patient").search(name=name, identifier=tag).get().id == patient.id
    bundle = mine.limit(2).include("Observation", "subject").include("Patient", "organization", iterate=True).fetch_raw()
    modes = [(e.resource.resource_type, e.search.mode) for e in bundle.entry]
    assert sorted(modes) == [("Observation", "match")] * 2 + [("Organization", "include"), ("Patient", "include")]
    back = client.resources("Patient").search(_id=patient.id).revinclude("Observation", "subject").fetch_raw()
    assert sum(e.resource.resource_type == "Observation" for e in back.entry) == 23
    small = client.resources("Patient").search(_id=patient.id).elements("name").get()
    assert "identifier" not in small
    with pytest.raises(OperationOutcome) as refused:
        client.resources("Patient").search(birthdate="hôm qua").fetch()
    assert "birthdate" in refused.value.resource["issue"][0]["diagnostics"]


def test_transaction(client: SyncFHIRClient, tag: str) -> None:
    urn = uuid.uuid4().urn
    patient = client.resource("Patient", **named(tag))
    bundle = client.resource(
        "Bundle",
        type="transaction",
        entry=[
            {"fullUrl": urn, "resource": patient.serialize(), "request": {"method": "POST", "url": "Patient"}},
            {
                "resource": {"resourceType": "Observation", **observation({"reference": urn}, 1)},
                "request": {"method": "POST", "url": "Observation"},
            },
        ],
    )
    answer = client.execute("", data=bundle.serialize())
    assert [e.response.status[:3] for e in answer.entry] == ["201", "201"]
    made = answer.entry[0].response.location.split("/")
    assert client.resources("Observation").search(subject=f"Patient/{made[made.index('Patient') + 1]}").count() == 1


def test_operations(client: SyncFHIRClient, tag: str) -> None:
    patient = client.resource("Patient", **named(tag)).save()
    client.resource("Observation", **observation(patient.to_reference(), 3)).save()
    everything = patient.execute("$everything", method="get")
    assert {e.resource.resourceType for e in everything.entry} == {"Patient", "Observation"}
    assert patient.is_valid()
    assert not client.resource("Patient", gender="nam").is_valid()


def test_refused_with_an_outcome(client: SyncFHIRClient, tag: str) -> None:
    with pytest.raises(OperationOutcome) as refused:
        client.resource("Patient", **named(tag, gender="nam")).save()
    assert ["Patient.gender"] in [issue.get("expression") for issue in refused.value.resource["issue"]]


async def test_asynchronous_client(base: str, tag: str) -> None:
    client = AsyncFHIRClient(base)
    patient = client.resource("Patient", **named(tag))
    await patient.save()
    for day in range(1, 8):
        await client.resource("Observation", **observation(patient.to_reference(), day)).save()
    days = [o["effectiveDateTime"][8:10] async for o in client.resources("Observation").search(subject=patient).sort("date").limit(3)]
    assert days == [f"{d:02}" for d in range(1, 8)]
    assert await client.resources("Observation").search(subject=patient).count() == 7
    await patient.refresh()
    await patient.patch(active=True)
    assert patient["active"] is True
    await patient.delete()
