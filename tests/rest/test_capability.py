"""metadata says what is really served (R4 capabilitystatement.html)."""

import contextlib

import httpx
import pytest

from health_hub.fhir.outcome import FhirError
from health_hub.fhir.validate import check
from health_hub.rest import table
from health_hub.rest.request import Request
from health_hub.rest.route import route

# How each interaction looks on the wire.
_WIRE = {
    "read": ("GET", "Patient/1"), "vread": ("GET", "Patient/1/_history/1"), "update": ("PUT", "Patient/1"), "patch": ("PATCH", "Patient/1"),
    "delete": ("DELETE", "Patient/1"), "history-instance": ("GET", "Patient/1/_history"), "history-type": ("GET", "Patient/_history"),
    "create": ("POST", "Patient"), "search-type": ("GET", "Patient"), "transaction": ("POST", ""), "batch": ("POST", ""),
    "search-system": ("GET", ""), "history-system": ("GET", "_history"),
}  # fmt: skip


async def test_the_statement_is_valid_and_whole(client: httpx.AsyncClient) -> None:
    response = await client.get("metadata")
    statement = response.json()
    check(statement)
    assert (statement["fhirVersion"], statement["kind"], statement["status"]) == ("4.0.1", "instance", "active")
    (rest,) = statement["rest"]
    resources = {r["type"]: r for r in rest["resource"]}
    assert len(resources) == 145
    patient = resources["Patient"]
    assert {p["name"] for p in patient["searchParam"]} >= {"name", "birthdate", "_id", "_lastUpdated", "general-practitioner"}
    assert {p["name"] for p in resources["Observation"]["searchParam"]} >= {"patient", "subject", "code-value-quantity"}
    assert "Patient:general-practitioner" in patient["searchInclude"]
    assert "Observation:subject" in patient["searchRevInclude"]
    assert "http://hl7.org/fhir/CompartmentDefinition/patient" in rest["compartment"]


async def test_every_interaction_it_names_is_routed(client: httpx.AsyncClient) -> None:
    (rest,) = (await client.get("metadata")).json()["rest"]
    named = {i["code"] for i in rest["interaction"]} | {i["code"] for r in rest["resource"] for i in r["interaction"]}
    assert named == _WIRE.keys()
    for method, url in _WIRE.values():
        assert route(Request.make(method, url, base="http://x/fhir"))
    for resource in rest["resource"]:
        for operation in resource.get("operation", ()):
            reached = 0
            for path in (f"{resource['type']}/${operation['name']}", f"{resource['type']}/1/${operation['name']}"):
                with contextlib.suppress(FhirError):  # 404: not on this level
                    reached += bool(route(Request.make("POST", path, base="http://x/fhir")))
            assert reached, operation
    assert {o["name"] for o in rest.get("operation", ())} == {n for level, _, n in table.OPERATIONS if level == "system"}


async def test_in_xml_and_by_mode(client: httpx.AsyncClient) -> None:
    assert (await client.get("metadata", params={"_format": "xml"})).text.startswith(("<CapabilityStatement", "<?xml"))
    terminology = (await client.get("metadata", params={"mode": "terminology"})).json()
    assert terminology["resourceType"] == "TerminologyCapabilities"
    check(terminology)
    assert (await client.get("metadata", params={"mode": "x"})).status_code == 400


@pytest.mark.parametrize("path", ["metadata/", "metadata?_pretty=true"])
async def test_metadata_elsewhere_written(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200
