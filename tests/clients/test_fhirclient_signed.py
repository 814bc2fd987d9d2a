"""PyPI fhirclient (SMART): authorization code with PKCE, as a public and as a confidential application, standalone and launched."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.condition import Condition
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRPermissionDeniedException, FHIRUnauthorizedException

from health_hub import demo
from tests.clients.conftest import Signed
from tests.clients.person import Person

REDIRECT = "http://127.0.0.1:9/callback"
OWN, LOGIN = "bn-015", "benhnhan.demo"
CARED, OTHER = "bn-006", "bn-011"  # both in the care of the doctor's hospital
DOCTOR, HOSPITAL = "bacsi.demo", "Organization/bvdk-tinh"


def observations(patient: str, category: str | None = None) -> set[str]:
    """Ids of those in the demo records."""
    return {
        r["id"] for r in demo.records()
        if r["resourceType"] == "Observation" and r["subject"]["reference"] == f"Patient/{patient}"
        and (category is None or category in [c["code"] for concept in r["category"] for c in concept["coding"]])
    }  # fmt: skip


def issuer(signed: Signed) -> str:
    return signed.base.removesuffix("/fhir")


@pytest.fixture
def smart(signed: Signed) -> Iterator[Any]:
    """Makes clients."""
    made: list[FHIRClient] = []

    def client(**settings: str) -> FHIRClient:
        found = FHIRClient({"app_id": "demo-app", "api_base": signed.base, "redirect_uri": REDIRECT} | settings)
        made.append(found)
        assert not found.prepare(), "nothing is readable before somebody signed in"
        return found

    yield client
    for c in made:
        c.server.session.close()


def test_a_patient_signs_in(signed: Signed, smart: Any) -> None:
    client = smart(scope="openid fhirUser offline_access patient/Patient.rs patient/Observation.rs")
    with pytest.raises(FHIRUnauthorizedException):
        Patient.read(OWN, client.server)
    with Person(issuer(signed), LOGIN) as person:
        client.handle_callback(person.agree(client.authorize_url))
    assert client.ready
    assert client.launch_context["patient"] == OWN
    assert client.patient.id == OWN
    found = list(Observation.where({"_count": "20"}).perform_resources_iter(client.server))
    assert {o.id for o in found} == observations(OWN)
    assert [p.id for p in Patient.where({}).perform_resources_iter(client.server)] == [OWN]
    with pytest.raises(FHIRNotFoundException):
        Patient.read(CARED, client.server)
    with pytest.raises(FHIRPermissionDeniedException):
        list(Condition.where({}).perform_resources_iter(client.server))
    before = client.server.auth.access_token, client.server.auth.refresh_token
    assert client.reauthorize()
    assert client.server.auth.access_token != before[0]
    assert client.server.auth.refresh_token != before[1]
    assert client.patient_id == OWN
    assert Patient.read(OWN, client.server).id == OWN


def test_a_confidential_application_of_a_doctor_reads_the_patient_picked(signed: Signed, smart: Any) -> None:
    said = signed.command("client", "add", "Ứng dụng của khoa", "--grant", "authorization_code", "--auth-method", "client_secret_basic",
                          "--redirect-uri", REDIRECT, "--scope", "launch/patient patient/*.rs", "--json")  # fmt: skip
    given = json.loads(said)
    scope = "patient/Patient.rs patient/Observation.rs?category=vital-signs"
    client = smart(app_id=given["client_id"], app_secret=given["client_secret"], scope=scope)
    name = next(r["name"][0]["text"] for r in demo.records() if r["resourceType"] == "Patient" and r["id"] == CARED)
    with Person(issuer(signed), DOCTOR, facility=HOSPITAL, patient=CARED, search=name) as person:
        answer = person.agree(client.authorize_url)
    client.handle_callback(answer)
    assert set(client.launch_context["scope"].split()) == {"launch/patient", *scope.split()}
    assert client.patient.name[0].text == name
    found = {o.id for o in Observation.where({}).perform_resources_iter(client.server)}
    assert found == observations(CARED, "vital-signs")
    with pytest.raises(FHIRNotFoundException):
        Patient.read(OTHER, client.server)
    thief = smart(app_id=given["client_id"], app_secret="x" * 43, scope=scope)
    thief.server.auth.auth_state = parse_qs(urlsplit(answer).query)["state"][0]
    thief.server.auth.code_verifier = client.server.auth.code_verifier
    with pytest.raises(FHIRUnauthorizedException):
        thief.handle_callback(answer)


def test_launched_from_a_hospitals_system(signed: Signed, smart: Any) -> None:
    launch = json.loads(signed.command("launch", "--client", "demo-app", "--user", DOCTOR, "--patient", CARED, "--json"))["launch"]
    client = smart(scope="patient/Patient.read patient/Observation.read", launch_token=launch)
    with Person(issuer(signed), DOCTOR, facility=HOSPITAL) as person:
        client.handle_callback(person.agree(client.authorize_url))
    assert client.patient.id == CARED
    assert {o.id for o in Observation.where({}).perform_resources_iter(client.server)} == observations(CARED)


def test_the_scope_it_asks_for_when_told_none(signed: Signed, smart: Any) -> None:
    client = smart()
    with Person(issuer(signed), LOGIN) as person:
        client.handle_callback(person.agree(client.authorize_url))
    assert client.patient.id == OWN
