"""Who changes what is not theirs, makes their own relationship, promotes themselves or refers to a person they cannot see: all refused."""

import base64
import json
import time
from typing import Any

import pytest

from health_hub.auth.model import Account
from health_hub.store.model import Change
from health_hub.store.reindex import check, rebuild
from tests.access.conftest import HIV, Hub, encounter, observation, owned, ref, role

INLINE = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
JSON_PATCH = {"Content_Type": "application/json-patch+json"}
URN = "urn:uuid:0b1f0a0e-5cd1-4f0a-9d8e-111111111111"
MARK = [{"system": "http://x.vn/id", "value": "theirs"}]


async def doc(hub: Hub, name: str) -> Any:
    type, _, id = name.partition("/")
    found = await hub.store.view().read(type, id)
    return None if found is None or found.doc is None else json.loads(found.doc)


def bundle(kind: str, method: str, url: str, resource: Any = None, **request: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"request": {"method": method, "url": url} | request}
    if resource is not None:
        entry["resource"] = resource
    return {"resourceType": "Bundle", "type": kind, "entry": [entry]}


def meta(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": more}]}


async def tried(hub: Hub, name: str, id: str, patient: str) -> list[tuple[str, int]]:
    """Every way to change an Observation, with the status each is answered with; of a batch that of its entry."""
    actor = hub.actor(name)
    name = f"Observation/{id}"
    body = observation(id, patient, status="cancelled", identifier=MARK)
    patch = [{"op": "replace", "path": "/status", "value": "cancelled"}]
    fhirpath = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Observation.status"},
                    {"name": "value", "valueCode": "cancelled"},
                ],
            }
        ],
    }
    nameless = {k: v for k, v in body.items() if k != "id"}
    update = f'mutation($r:ObservationInput){{ObservationUpdate(id:"{id}",res:$r){{id}}}}'
    mutation = json.dumps({"query": update, "variables": {"r": body}})
    removal = json.dumps({"query": f'mutation{{ObservationDelete(id:"{id}")}}'})
    out: list[tuple[str, int]] = []
    for label, method, url, sent, headers in (
        ("put", "PUT", name, body, {}),
        ("put if-match", "PUT", name, body, {"If_Match": 'W/"1"'}),
        ("put if-none-match", "PUT", name, body, {"If_None_Match": "*"}),
        ("patch", "PATCH", name, patch, JSON_PATCH),
        ("merge patch", "PATCH", name, {"status": "cancelled"}, {"Content_Type": "application/merge-patch+json"}),
        ("fhirpath patch", "PATCH", name, fhirpath, {}),
        ("conditional patch", "PATCH", "Observation?identifier=theirs", patch, JSON_PATCH),
        ("conditional update", "PUT", "Observation?identifier=theirs", nameless, {}),
        ("conditional delete", "DELETE", "Observation?identifier=theirs", None, {}),
        ("delete", "DELETE", name, None, {}),
        ("meta-add", "POST", f"{name}/$meta-add", meta(security=[{"system": "x", "code": "HIV"}]), {}),
        ("meta-delete", "POST", f"{name}/$meta-delete", meta(tag=[{"system": "x", "code": "there"}]), {}),
        ("graphql", "POST", "$graphql", mutation, {"Content_Type": "application/json"}),
        ("graphql delete", "POST", "$graphql", removal, {"Content_Type": "application/json"}),
        ("transaction", "POST", "", bundle("transaction", "PUT", name, body), {}),
        ("transaction conditional", "POST", "", bundle("transaction", "PUT", "Observation?identifier=theirs", nameless), {}),
        ("transaction delete", "POST", "", bundle("transaction", "DELETE", name), {}),
        ("transaction patch", "POST", "", bundle("transaction", "PATCH", name, fhirpath), {}),
        ("batch", "POST", "", bundle("batch", "PUT", name, body), {}),
        ("batch delete", "POST", "", bundle("batch", "DELETE", name), {}),
        ("batch patch", "POST", "", bundle("batch", "PATCH", name, fhirpath), {}),
    ):
        answer = await actor(method, url, sent, **headers)  # type: ignore[arg-type]
        status = answer.status_code
        if label.startswith("batch") and status == 200:
            status = int(answer.json()["entry"][0]["response"]["status"][:3])
        out.append((label, status))
    return out


@pytest.mark.parametrize("name", ["his-a", "dung", "carer", "an", "province", "operator", "auditor", "admin"])
@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
async def test_nobody_changes_what_another_owns(hub: Hub, name: str, hidden: bool) -> None:
    id, patient = "o-theirs", "chi" if hidden else "binh"
    theirs = observation(id, patient, identifier=MARK, meta={"tag": [{"system": "x", "code": "there"}]})
    await hub.store.commit([Change("update", "Observation", id, theirs)], by=owned("Organization/b"))
    before = await doc(hub, f"Observation/{id}")
    statuses = await tried(hub, name, id, patient)
    assert await doc(hub, f"Observation/{id}") == before, statuses
    # A conditional interaction matches nothing that is hidden: it may go well, and make something of the asker's own.
    for label, status in statuses:
        fine = {200, 204} if "delete" in label else {201, 200} if "conditional" in label else set()
        assert status in {400, 403, 404, 409, 412, 422} | fine, (label, status)


async def test_a_binary_is_its_owners_by_content_and_as_a_resource(hub: Hub) -> None:
    his, other = hub.actor("his-b"), hub.actor("his-a")
    made = await his("POST", "Binary", b"secret", Content_Type="text/plain", X_Security_Context="Patient/binh")
    assert made.status_code == 201
    name = made.headers["Location"].split("/fhir/")[1].split("/_history")[0]
    assert (await other.get(name)).text == "secret", "binh is treated at both"
    resource = {"resourceType": "Binary", "id": name[7:], "contentType": "text/plain", "data": base64.b64encode(b"mine").decode()}
    assert (await other("PUT", name, b"mine", Content_Type="text/plain")).status_code == 403
    assert (await other("PUT", name, resource)).status_code == 403
    assert (await other("POST", "", bundle("transaction", "PUT", name, resource))).status_code == 403
    assert (await other("DELETE", name)).status_code == 403
    assert (await his.get(name)).text == "secret"
    # Without a context it is nobody's but the owner's; a context that is not seen is refused; a wrong one opens nothing.
    alone = await his("POST", "Binary", b"secret2", Content_Type="text/plain")
    alone_name = alone.headers["Location"].split("/fhir/")[1].split("/_history")[0]
    for reader in (other, hub.actor("an"), hub.actor("dung"), hub.actor("giang")):
        for headers in ({}, {"Range": "bytes=0-2"}, {"Accept": "application/fhir+json"}):
            assert (await reader("GET", alone_name, **headers)).status_code == 404
        assert (await reader.get(alone_name + "/_history/1")).status_code == 404
    assert (await other("POST", "Binary", b"x", Content_Type="text/plain", X_Security_Context="Patient/chi")).status_code == 422
    assert (await other("POST", "Binary", b"x", Content_Type="text/plain", X_Security_Context="Patient/chi/_history/1")).status_code == 422
    assert (await hub.actor("an")("POST", "Binary", b"x", Content_Type="text/plain", X_Security_Context="Patient/chi")).status_code == 422


async def test_a_deleted_id_is_not_taken_over(hub: Hub) -> None:
    for id, patient in (("o-binh-b", "binh"), ("o-chi", "chi")):
        assert (await hub.actor("his-b")("DELETE", f"Observation/{id}")).status_code == 204
        for name in ("his-a", "dung", "an"):
            answer = await hub.actor(name)("PUT", f"Observation/{id}", observation(id, "an", performer=[ref("Patient/an")]))
            assert answer.status_code in (403, 404, 409), (name, id, answer.text)
        tx = bundle("transaction", "PUT", f"Observation/{id}", observation(id, "an"))
        assert (await hub.actor("his-a")("POST", "", tx)).status_code in (403, 404, 409)
        back = await hub.actor("his-b")("PUT", f"Observation/{id}", observation(id, patient))
        assert back.status_code in (200, 201)
        rows = await hub.store.database.fetch(f"SELECT owner FROM resource WHERE id = '{id}'")
        assert [r[0] for r in rows] == ["Organization/b"]


async def test_nothing_in_a_body_or_an_update_changes_the_owner(hub: Hub) -> None:
    body = observation(
        "o-an", "an", meta={"source": "Organization/b", "security": [{"system": "x", "code": "R2"}]}, performer=[ref("Organization/b")]
    )
    assert (await hub.actor("his-a")("PUT", "Observation/o-an", body)).status_code == 200
    assert (await hub.actor("dung")("PUT", "Observation/o-an", body)).status_code == 200
    rows = await hub.store.database.fetch("SELECT owner, author FROM resource WHERE id = 'o-an'")
    assert [tuple(r) for r in rows] == [("Organization/a", None)]
    assert (await hub.actor("his-b").get("Observation/o-an")).status_code == 404


def makings(patient: str, party: str, organization: str) -> list[dict[str, Any]]:
    """Everything that could make a relationship between a party, or a facility, and a patient."""
    who, at, subject = ref(party), ref(organization), ref(f"Patient/{patient}")
    whole = {
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "x"}],
        "dateTime": "2026-01-01",
        "policyRule": {"text": "x"},
    }
    soon = {"start": "2026-11-27T08:00:00+07:00", "end": "2026-12-27T09:00:00+07:00"}
    code = {"coding": [{"system": "http://x.vn", "code": "x"}]}
    return [
        encounter("x", patient, organization),
        encounter("x", patient, organization, appointment=[ref("Appointment/any")]),
        encounter("x", patient, organization, participant=[{"individual": who}] if party.startswith("Prac") else []),
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": subject,
            "participant": [{"member": who}],
            "managingOrganization": [at],
        },
        {"resourceType": "EpisodeOfCare", "status": "active", "patient": subject, "managingOrganization": at},
        {"resourceType": "Task", "status": "requested", "intent": "order", "for": subject, "owner": who},
        {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": subject, "performer": [who, at]},
        {
            "resourceType": "Appointment",
            "status": "booked",
            "participant": [{"actor": subject, "status": "accepted"}, {"actor": who, "status": "accepted"}],
        }
        | soon,
        {"resourceType": "Consent", "status": "active", "patient": subject, "provision": {"type": "permit"}} | whole,
        {
            "resourceType": "Consent",
            "status": "active",
            "patient": subject,
            "provision": {"type": "permit", "actor": [{"role": code, "reference": at}]},
        }
        | whole,
    ]


def without_empty(resource: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in resource.items() if v != []}


@pytest.mark.parametrize("form", ["Patient/chi", "http://hub.test/fhir/Patient/chi", "Patient/chi/_history/1"])
async def test_nobody_relates_themselves_to_a_patient_they_do_not_see(hub: Hub, form: str) -> None:
    for name in ("dung", "his-a", "an", "carer", "operator"):
        actor = hub.actor(name)
        for resource in makings("chi", "Practitioner/dung", "Organization/a"):
            body = json.loads(json.dumps(without_empty(resource)).replace("Patient/chi", form))
            body.pop("id", None)
            answer = await actor("POST", body["resourceType"], body)
            assert answer.status_code in (403, 422, 400), (name, body, answer.status_code)
            answer = await actor("POST", "", bundle("transaction", "POST", body["resourceType"], body))
            assert answer.status_code in (403, 422, 400), (name, body, answer.status_code)
        assert (await actor.get("Observation/o-chi")).status_code in (403, 404)


async def test_an_emergency_does_not_stay_open_by_what_is_written_meanwhile(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = hub.actor("dung")
    opened = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "reason", "valueCoding": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}},
            {"name": "note", "valueString": "bất tỉnh tại trạm y tế"},
        ],
    }
    assert (await doctor("POST", "Patient/chi/$emergency-access", opened)).status_code == 200
    assert (await doctor("POST", "Observation", observation("x", "chi"))).status_code == 201
    for party in ("Practitioner/dung", "PractitionerRole/dung-a", "Organization/a"):
        for resource in makings("chi", party, "Organization/a"):
            body = without_empty(resource)
            body.pop("id", None)
            if body["resourceType"] == "CareTeam" and party == "PractitionerRole/dung-a":
                body["participant"] = [{"member": ref("Practitioner/dung")}]
            answer = await doctor("POST", body["resourceType"], body)
            # An Encounter of their own without an appointment makes no relationship: it may be written down.
            noted = body["resourceType"] == "Encounter" and "appointment" not in body
            assert answer.status_code in ({201, 400} if noted else {403, 400}), (body, answer.text)
    # To send the person on is what an emergency is for.
    on = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": ref("Patient/chi"),
        "performer": [ref("Organization/b")],
    }
    assert (await doctor("POST", "ServiceRequest", on)).status_code == 201
    assert (await hub.actor("his-a").get("Observation/o-chi")).status_code == 404
    assert (await doctor.get("Observation/o-chi")).status_code == 200
    later = time.time_ns() // 1_000_000 + 5 * 3_600_000
    for place in ("view", "guard", "judge", "access"):
        monkeypatch.setattr(f"health_hub.store.{place}.now", lambda: later)
    for url in ("Observation/o-chi", "Patient/chi"):
        assert (await doctor.get(url)).status_code == 404
    assert "Patient/chi" not in await doctor.ids("Patient")
    assert (await doctor("POST", "Observation", observation("x", "chi"))).status_code == 422


async def test_a_colleague_named_in_an_emergency_does_not_carry_it_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made of a right that ends ends with it, however many hands it goes through; also after the index is made anew."""
    for resource in ({"resourceType": "Practitioner", "id": "em"}, role("em-a", "Practitioner/em", "Organization/a")):
        await hub.store.commit([Change("update", resource["resourceType"], resource["id"], resource)], by=owned(None))
    account = Account("account-em", "em", "nurse", "em", "Practitioner/em")
    await hub.store.records.put("account", account.id, account.data())
    doctor = hub.actor("dung")
    nurse = hub.actor("giang", subject="account-em", fhir_user="Practitioner/em", organization="Organization/a")
    his, teams = hub.actor("his-a"), []

    async def name(by: Any, *members: str, **more: Any) -> int:
        team = {"resourceType": "CareTeam", "status": "active", "subject": ref("Patient/chi")}
        made = await by("POST", "CareTeam", team | {"participant": [{"member": ref(m)} for m in members]} | more)
        teams.append(made.json().get("id"))
        return int(made.status_code)

    async def see() -> list[bool]:
        return [(await actor.get("Observation/o-chi")).status_code == 200 for actor in (doctor, nurse, his)]

    opened = {"resourceType": "Parameters", "parameter": [
        {"name": "reason", "valueCoding": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}},
        {"name": "note", "valueString": "bất tỉnh tại trạm y tế"}]}  # fmt: skip
    assert (await doctor("POST", "Patient/chi/$emergency-access", opened)).status_code == 200
    assert await see() == [True, False, False]
    assert await name(doctor, "Practitioner/em") == 201
    assert await see() == [True, True, False]
    assert await name(nurse, "Practitioner/dung") == 201
    assert await name(nurse, "Practitioner/em") == 403
    assert await name(nurse, "Organization/a") == 403
    stated = {"resourceType": "Consent", "status": "active", "patient": ref("Patient/chi"),
              "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "x"}], "dateTime": "2026-01-01",
              "policyRule": {"text": "x"},
              "provision": {"type": "permit", "actor": [{"role": {"text": "x"}, "reference": ref("Practitioner/dung")}],
                            "class": [{"code": "Observation"}]}}  # fmt: skip
    assert (await nurse("POST", "Consent", stated)).status_code == 403
    written = (await nurse.get(f"CareTeam/{teams[1]}")).json()
    assert (await nurse("PUT", f"CareTeam/{teams[1]}", written | {"name": "x"})).status_code == 200
    assert [problem async for problem in check(hub.store)] == []
    later = time.time_ns() // 1_000_000 + 5 * 3_600_000
    for place in ("view", "guard", "judge", "access"):
        monkeypatch.setattr(f"health_hub.store.{place}.now", lambda: later)
    assert await see() == [False, False, False]
    await rebuild(hub.store)
    assert await see() == [False, False, False]
    assert [problem async for problem in check(hub.store)] == []
    for actor in (doctor, nurse):
        assert "Observation/o-chi" not in await actor.ids("Observation")
        assert await name(actor, "Practitioner/dung", "Practitioner/em") == 422


async def test_a_facility_let_in_for_a_part_makes_no_relationship_of_it(hub: Hub) -> None:
    """Nor for anybody else; one that the patient makes, by a booking, is a whole one, and then what the facility writes counts."""
    his, doctor, patient = hub.actor("his-a"), hub.actor("dung"), hub.actor("chi")
    whole = {"scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "x"}], "dateTime": "2026-01-01"}
    part = {"resourceType": "Consent", "status": "active", "patient": ref("Patient/chi"), "policyRule": {"text": "x"},
            "provision": {"type": "permit", "actor": [{"role": {"text": "x"}, "reference": ref("Organization/a")}],
                          "class": [{"code": "Patient"}, {"code": "Encounter"}]}} | whole  # fmt: skip
    assert (await patient("POST", "Consent", part)).status_code == 201
    assert (await his.get("Patient/chi")).status_code == 200
    assert (await his.get("Observation/o-chi")).status_code == 404
    made = []
    for party in ("Organization/a", "Practitioner/dung", "PractitionerRole/dung-a"):
        for resource in makings("chi", party, "Organization/a"):
            body = without_empty(resource)
            body.pop("id", None)
            answer = await his("POST", body["resourceType"], body)
            assert answer.status_code in ({403, 422} if body["resourceType"] == "Consent" else {201, 400}), (body, answer.text)
            if answer.status_code == 201:
                made.append(answer.json())
            for reader in (his, doctor):
                assert (await reader.get("Observation/o-chi")).status_code == 404, body
                assert "Observation/o-chi" not in await reader.ids("Observation"), body
    assert len(made) > 15
    assert [problem async for problem in check(hub.store)] == []
    soon = {"start": "2026-01-01T08:00:00+07:00", "end": "2036-12-27T09:00:00+07:00"}
    taking = [{"actor": ref(name), "status": "accepted"} for name in ("Patient/chi", "Location/a")]
    booking = {"resourceType": "Appointment", "status": "booked", "participant": taking} | soon
    place = {"resourceType": "Location", "id": "a", "managingOrganization": ref("Organization/a")}
    await hub.store.commit([Change("update", "Location", "a", place)], by=owned("Organization/a"))
    hub.gate.directory.forget()
    assert (await patient("POST", "Appointment", booking)).status_code == 201
    his = hub.actor("his-a")
    assert (await his.get("Observation/o-chi")).status_code == 200
    visit = next(r for r in made if r["resourceType"] == "Encounter")
    assert (await his("PUT", f"Encounter/{visit['id']}", visit)).status_code == 200
    hidden = await patient.ids("Appointment")
    for name in hidden:
        mine = (await patient.get(name)).json()
        await patient("PUT", name, mine | {"status": "cancelled"})
    assert (await his.get("Observation/o-chi")).status_code == 200, "the visit counts since it was written again"
    # What it registers itself it may treat at once, also in one transaction.
    urn = "urn:uuid:0b1f0a0e-5cd1-4f0a-9d8e-333333333333"
    person = {"resourceType": "Patient", "name": [{"family": "Em"}]}
    visit = {k: v for k, v in encounter("x", "x", "Organization/a").items() if k != "id"} | {"subject": ref(urn)}
    entries = [{"fullUrl": urn, "resource": person, "request": {"method": "POST", "url": "Patient"}},
               {"resource": visit, "request": {"method": "POST", "url": "Encounter"}}]  # fmt: skip
    answer = await his("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    born = answer.json()["entry"][0]["response"]["location"].split("/_history")[0].rpartition("Patient/")[2]
    assert (await doctor.get(f"Patient/{born}")).status_code == 200


async def test_roles_and_parts_of_a_facility_count_only_as_the_facility_or_the_province_wrote_them(hub: Hub) -> None:
    his = hub.actor("his-a")
    hub.gate.directory._known.clear()
    for resource in (
        {
            "resourceType": "PractitionerRole",
            "active": True,
            "practitioner": ref("Practitioner/dung"),
            "organization": ref("Organization/b"),
        },
        {"resourceType": "Organization", "name": "x", "partOf": ref("Organization/b")},
        {"resourceType": "HealthcareService", "providedBy": ref("Organization/b")},
        {"resourceType": "Location", "managingOrganization": ref("Organization/b")},
    ):
        made = await his("POST", str(resource["resourceType"]), resource)
        assert made.status_code in (201, 403), made.text
    hub.gate.directory._known.clear()
    account = await hub.store.records.get("account", "account-dung")
    assert account is not None
    assert await hub.gate.directory.facilities(Account.of(account.data)) == ("Organization/a",)
    assert set(await hub.gate.directory.parts("Organization/b")) == {"Organization/b", "PractitionerRole/giang-b"}
    # A token that names a facility where the account does not work opens nothing of it.
    elsewhere = hub.actor("dung", organization="Organization/b")
    assert (await elsewhere.get("Observation/o-chi")).status_code in (403, 404)
    # What B owns is not A's to bring under itself.
    b = {"resourceType": "Organization", "id": "b", "name": "B", "partOf": ref("Organization/a")}
    assert (await his("PUT", "Organization/b", b)).status_code == 403
    for name in ("dung", "an", "carer"):
        for type in ("PractitionerRole", "Organization", "HealthcareService", "Location", "Practitioner"):
            assert (await hub.actor(name)("POST", type, {"resourceType": type, "active": True})).status_code in (400, 403, 422), (
                name,
                type,
            )


async def test_a_patient_cannot_promote_themselves(hub: Hub) -> None:
    for name, me in (("an", "Patient/an"), ("carer", "RelatedPerson/me-binh")):
        actor = hub.actor(name)
        for resource in (
            {"resourceType": "Patient", "id": "an", "link": [{"other": ref("Patient/chi"), "type": "seealso"}]},
            {"resourceType": "Patient", "id": "binh", "link": [{"other": ref("Patient/chi"), "type": "seealso"}]},
            {"resourceType": "RelatedPerson", "id": "me-binh", "patient": ref("Patient/chi"), "active": True},
            {"resourceType": "Person", "id": "x", "link": [{"target": ref("Patient/chi")}, {"target": ref(me)}]},
            {"resourceType": "Group", "id": "x", "type": "person", "actual": True, "member": [{"entity": ref("Patient/chi")}]},
            {"resourceType": "PractitionerRole", "id": "x", "active": True, "organization": ref("Organization/b")},
            {"resourceType": "Practitioner", "id": "x"},
            {
                "resourceType": "Provenance",
                "id": "x",
                "target": [ref("Patient/chi")],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": ref(me)}],
            },
        ):
            type = str(resource["resourceType"])
            assert (await actor("PUT", f"{type}/{resource['id']}", resource)).status_code in (403, 404, 422), (name, resource)
            assert (await actor("POST", type, {k: v for k, v in resource.items() if k != "id"})).status_code in (403, 422), (name, resource)
        assert (await actor.get("Patient/chi")).status_code == 404


async def test_a_facility_that_links_or_relates_its_own_to_an_unseen_patient_is_refused(hub: Hub) -> None:
    his = hub.actor("his-a")
    assert (await his.get("Patient/chi")).status_code == 404
    for resource in (
        {"resourceType": "Patient", "id": "an", "link": [{"other": ref("Patient/chi"), "type": "seealso"}]},
        {"resourceType": "RelatedPerson", "id": "me-binh", "patient": ref("Patient/chi"), "active": True},
        {"resourceType": "Person", "id": "x1", "link": [{"target": ref("Patient/chi")}]},
        {"resourceType": "Group", "id": "x2", "type": "person", "actual": True, "member": [{"entity": ref("Patient/chi")}]},
    ):
        answer = await his("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 422, answer.text
        assert "Patient/chi is not known" in answer.text
    assert (await hub.actor("carer").get("Patient/chi")).status_code == 404
    assert (await hub.actor("an").get("Patient/chi")).status_code == 404


async def test_an_unseen_patient_cannot_be_referred_to_in_any_way(hub: Hub) -> None:
    """The same words for a hidden Patient and for one that nobody knows."""
    his = hub.actor("his-a")
    note = {"resourceType": "Observation", "id": "c", "status": "final", "code": {"text": "x"}}
    for form in ("Patient/%s", "http://hub.test/fhir/Patient/%s", "Patient/%s/_history/1"):
        places: list[dict[str, Any]] = [
            {"subject": ref(form)},
            {"focus": [ref(form)]},
            {"performer": [ref(form)]},
            {"extension": [{"url": "http://x.vn/e", "valueReference": ref(form)}]},
            {"hasMember": [ref("#c")], "contained": [note | {"subject": ref(form)}]},
            {"code": {"text": "x", "extension": [{"url": "http://x.vn/e", "valueReference": ref(form)}]}},
            {"note": [{"text": "x", "authorReference": ref(form)}]},
        ]
        for place in places:
            said = []
            for id in ("chi", "nobody"):
                body = json.loads(json.dumps(observation("x", "an") | place) % id) if "%s" in json.dumps(place) else place
                answer = await his("POST", "Observation", body)
                assert answer.status_code == 422, (place, answer.status_code, answer.text)
                said.append(answer.text.replace(id, "X"))
                in_transaction = await his("POST", "", bundle("transaction", "POST", "Observation", body))
                assert in_transaction.status_code == 422, place
            assert said[0] == said[1]
    # By a condition: what is hidden does not match.
    for number in ("019190000003", "000000000000"):
        by = observation("x", "an") | {"focus": [ref(f"Patient?identifier=http://fhir.hl7.org.vn/core/sid/cccd|{number}")]}
        answer = await his("POST", "", bundle("transaction", "POST", "Observation", by))
        assert answer.status_code == 400
        assert "matches no resource" in answer.text
    seen = observation("x", "an") | {"focus": [ref("Patient?identifier=http://fhir.hl7.org.vn/core/sid/cccd|019190000001")]}
    assert (await his("POST", "", bundle("transaction", "POST", "Observation", seen))).status_code == 200
    # By a urn that a transaction gives to a hidden record.
    entries = [
        {"fullUrl": URN, "resource": {"resourceType": "Patient", "id": "chi"}, "request": {"method": "PUT", "url": "Patient/chi"}},
        {"resource": observation("x", "an") | {"subject": ref(URN)}, "request": {"method": "POST", "url": "Observation"}},
    ]
    assert (await his("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})).status_code == 409
    # A logical reference names nobody here, and makes nothing.
    logical = observation("x", "an") | {
        "subject": {"identifier": {"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "019190000003"}}
    }
    assert (await his("POST", "Observation", logical)).status_code == 201
    assert len(await hub.actor("chi").ids("Observation")) == 1


async def test_a_conditional_create_sees_no_hidden_match(hub: Hub) -> None:
    person = {"resourceType": "Patient", "identifier": [{"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "019190000003"}]}
    answer = await hub.actor("his-a")("POST", "Patient", person, If_None_Exist="identifier=019190000003")
    assert answer.status_code == 201
    assert not answer.headers["Location"].endswith("Patient/chi/_history/1")
    again = await hub.actor("his-a")("POST", "Patient", person, If_None_Exist="identifier=019190000003")
    assert again.status_code == 200, "their own is found"


async def test_audit_events_are_written_by_the_hub_alone(hub: Hub) -> None:
    await hub.actor("dung").get("Observation/o-an")
    event = (await hub.actor("auditor").get("AuditEvent")).json()["entry"][0]["resource"]
    for name in ("an", "carer", "dung", "giang", "his-a", "province", "operator", "auditor", "admin"):
        actor = hub.actor(name)
        url = f"AuditEvent/{event['id']}"
        changed = event | {"outcome": "8"}
        for method, where, body in (
            ("POST", "AuditEvent", changed),
            ("PUT", url, changed),
            ("DELETE", url, None),
            ("PUT", "AuditEvent/new", changed | {"id": "new"}),
            ("POST", f"{url}/$meta-add", meta(tag=[{"code": "x"}])),
            ("DELETE", "AuditEvent?outcome=0", None),
            ("POST", "", bundle("transaction", "PUT", url, changed)),
            ("POST", "", bundle("transaction", "DELETE", url)),
        ):
            answer = await actor(method, where, body)
            assert answer.status_code in (200, 204, 400, 403, 404, 409, 412, 422), (name, method, where, answer.status_code)
        await actor("PATCH", url, [{"op": "replace", "path": "/outcome", "value": "8"}], **JSON_PATCH)
        await actor("POST", "", bundle("batch", "DELETE", url))
    found = await hub.store.view().read("AuditEvent", event["id"])
    assert found is not None
    assert (found.version, found.deleted) == (1, False)
    assert [p async for p in hub.store.trail.check()] == []


async def test_definitions_are_the_provinces(hub: Hub) -> None:
    parameter = {
        "resourceType": "SearchParameter",
        "url": "http://x.vn/p",
        "name": "x",
        "status": "active",
        "description": "x",
        "code": "x",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.name.family",
    }
    for name in ("an", "carer", "dung", "his-a", "operator", "auditor", "admin"):
        assert (await hub.actor(name)("POST", "SearchParameter", parameter)).status_code == 403, name
    assert (await hub.actor("province")("POST", "SearchParameter", parameter)).status_code == 201


async def test_a_label_is_neither_taken_off_nor_put_on_by_who_does_not_own_the_record(hub: Hub) -> None:
    doctor = hub.actor("dung")
    bare = observation("o-an-hiv", "an")
    assert (await doctor("PUT", "Observation/o-an-hiv", bare)).status_code == 404, "hidden by its label"
    off = meta(security=HIV["meta"]["security"])
    assert (await doctor("POST", "Observation/o-an-hiv/$meta-delete", off)).status_code == 404
    assert (await doctor("POST", "Observation/o-an-hiv/_history/1/$meta-delete", off)).status_code == 405
    for name in ("his-b", "an", "carer", "giang"):
        answer = await hub.actor(name)("POST", "Observation/o-binh/$meta-add", off)
        assert answer.status_code in (403, 404), name
    labelled = await doc(hub, "Observation/o-an-hiv")
    assert labelled["meta"]["security"] == HIV["meta"]["security"]
    # What was labelled once stays hidden in its old version.
    assert (await hub.actor("his-a")("PUT", "Observation/o-an-hiv", bare)).status_code == 200
    assert (await doctor.get("Observation/o-an-hiv")).status_code == 200
    assert (await doctor.get("Observation/o-an-hiv/_history/1")).status_code == 404
    assert (await doctor.get("Observation/o-an-hiv/_history")).json().get("total", 1) == 1


async def test_what_is_masked_is_not_lost_by_who_does_not_see_it_nor_open_in_old_versions(hub: Hub) -> None:
    his, doctor = hub.actor("his-a", labels=("HIV",)), hub.actor("dung")
    open_ = observation("o-an", "an", valueString="kín")
    assert (await his("PUT", "Observation/o-an", open_)).status_code == 200
    masked = open_ | {"_valueString": {"extension": [{"url": INLINE, "valueCoding": {"code": "HIV"}}]}}
    assert (await his("PUT", "Observation/o-an", masked)).status_code == 200
    shown = (await doctor.get("Observation/o-an")).json()
    assert "valueString" not in shown
    for url in ("Observation/o-an/_history/2", "Observation/o-an/_history", "Observation/_history", "_history"):
        assert "kín" not in (await doctor.get(url)).text, url
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    assert (await doctor("PATCH", "Observation/o-an", patch, **JSON_PATCH)).status_code == 403
    assert (await doctor("PUT", "Observation/o-an", shown)).status_code == 403
    assert (await doctor("POST", "Observation/o-an/$meta-add", meta(tag=[{"code": "x"}]))).status_code == 403
    assert (await doc(hub, "Observation/o-an"))["valueString"] == "kín"
    assert (await hub.actor("dung", labels=("HIV",))("PATCH", "Observation/o-an", patch, **JSON_PATCH)).status_code == 200
    assert (await doc(hub, "Observation/o-an"))["valueString"] == "kín"


async def test_graphql_writes_as_its_sender(hub: Hub) -> None:
    create = json.dumps(
        {"query": "mutation($r:ObservationInput){ObservationCreate(res:$r){id}}", "variables": {"r": observation("x", "chi")}}
    )
    for name in ("an", "dung", "his-a", "auditor", "admin"):
        answer = await hub.actor(name)("POST", "$graphql", create, Content_Type="application/json")
        assert answer.status_code in (400, 403, 422), (name, answer.text)
    assert len(await hub.actor("chi").ids("Observation")) == 1
