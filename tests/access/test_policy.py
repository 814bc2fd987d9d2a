"""Who may see and do what, through the HTTP door (docs/security.md)."""

import pytest

from tests.access.conftest import Hub, encounter, observation, ref

SEES = {
    "an": {"Observation/o-an", "Observation/o-an-hiv"},
    "chi": {"Observation/o-chi"},
    "carer": {"Observation/o-binh", "Observation/o-binh-b"},
    "dung": {"Observation/o-an", "Observation/o-binh", "Observation/o-binh-b"},
    "giang": {"Observation/o-chi", "Observation/o-binh", "Observation/o-binh-b"},
    "his-a": {"Observation/o-an", "Observation/o-an-hiv", "Observation/o-binh", "Observation/o-binh-b"},
    "his-b": {"Observation/o-chi", "Observation/o-binh", "Observation/o-binh-b"},
}
EVERY = {"Observation/o-an", "Observation/o-an-hiv", "Observation/o-binh", "Observation/o-binh-b", "Observation/o-chi"}


@pytest.mark.parametrize("name", SEES)
async def test_everyone_sees_by_id_and_by_search_what_their_role_and_relationships_say(hub: Hub, name: str) -> None:
    actor = hub.actor(name)
    assert await actor.ids("Observation") == SEES[name]
    for reference in EVERY:
        assert (await actor.get(reference)).status_code == (200 if reference in SEES[name] else 404), reference
    total = (await actor.get("Observation?_summary=count")).json()["total"]
    assert total == len(SEES[name])


async def test_what_is_hidden_answers_like_what_does_not_exist(hub: Hub) -> None:
    for name in ("an", "dung", "his-b"):
        actor = hub.actor(name)
        hidden = await actor.get("Observation/o-chi" if name != "his-b" else "Observation/o-an")
        unknown = await actor.get("Observation/xxxxx")
        assert hidden.status_code == unknown.status_code == 404
        assert hidden.json()["issue"][0]["code"] == unknown.json()["issue"][0]["code"]


@pytest.mark.parametrize("name", ["operator", "admin", "auditor"])
async def test_no_clinical_record_for_those_who_need_none(hub: Hub, name: str) -> None:
    actor = hub.actor(name)
    assert (await actor.get("Patient")).status_code == 403
    assert (await actor.get("Patient/an")).status_code == 403
    whole = await actor.ids("?_count=100")
    assert not {r for r in whole if r.startswith(("Patient/", "Observation/", "Encounter/"))}


async def test_a_request_without_a_token_is_told_how_to_sign_in(hub: Hub) -> None:
    answer = await hub.http.get("Patient")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await hub.http.get("metadata")).status_code == 200
    assert (await hub.http.get("Patient", headers={"Authorization": "Bearer x.y.z"})).status_code == 401


async def test_a_facility_registers_a_person_and_writes_about_them(hub: Hub) -> None:
    his = hub.actor("his-b")
    patient = (await his("POST", "Patient", {"resourceType": "Patient", "name": [{"family": "Mới"}]})).json()
    assert (await his("POST", "Observation", observation("", patient["id"]) | {"id": "x"})).status_code == 201
    assert (await his("POST", "Encounter", encounter("x", patient["id"], "Organization/b"))).status_code == 201
    assert f"Patient/{patient['id']}" in await hub.actor("giang").ids("Patient")
    assert f"Patient/{patient['id']}" not in await hub.actor("dung").ids("Patient")


async def test_nothing_is_written_about_a_patient_who_is_not_seen(hub: Hub) -> None:
    his = hub.actor("his-a")
    for patient in ("chi", "nobody"):
        answer = await his("POST", "Observation", observation("x", patient))
        assert answer.status_code == 422
        assert answer.json()["issue"][0]["diagnostics"] == f"Observation: Patient/{patient} is not known"
        assert (await his("POST", "Encounter", encounter("x", patient, "Organization/a"))).status_code == 422


async def test_a_facility_changes_only_what_it_owns(hub: Hub) -> None:
    his = hub.actor("his-a")
    theirs = observation("o-binh-b", "binh", status="amended")
    assert (await his("PUT", "Observation/o-binh-b", theirs)).status_code == 403
    assert (await his("DELETE", "Observation/o-binh-b")).status_code == 403
    assert (await his("PATCH", "Observation/o-binh-b", [{"op": "replace", "path": "/status", "value": "amended"}],
                      Content_Type="application/json-patch+json")).status_code == 403  # fmt: skip
    assert (await his("PUT", "Observation/o-chi", observation("o-chi", "an"))).status_code == 409
    bundle = {"resourceType": "Bundle", "type": "transaction",
              "entry": [{"resource": theirs, "request": {"method": "PUT", "url": "Observation/o-binh-b"}}]}  # fmt: skip
    assert (await his("POST", "", bundle)).status_code == 403
    mine = observation("o-binh", "binh", status="amended")
    assert (await his("PUT", "Observation/o-binh", mine)).status_code == 200


async def test_ids_are_no_oracle_for_persons(hub: Hub) -> None:
    doctor = hub.actor("dung")
    answers = [await doctor("PUT", f"Observation/{id}", observation(id, "an")) for id in ("o-chi", "unknown")]
    assert [a.status_code for a in answers] == [404, 404]
    said = [a.json()["issue"][0]["diagnostics"].replace(id, "X") for a, id in zip(answers, ("o-chi", "unknown"), strict=True)]
    assert said[0] == said[1]
    assert [(await doctor("DELETE", f"Observation/{id}")).status_code for id in ("o-chi", "unknown")] == [204, 204]
    assert (await hub.actor("chi").get("Observation/o-chi")).status_code == 200


async def test_a_practitioner_writes_for_their_patients_in_the_facilitys_name(hub: Hub) -> None:
    doctor = hub.actor("dung")
    made = await doctor("POST", "Observation", observation("x", "an"))
    assert made.status_code == 201
    assert (await doctor("POST", "Patient", {"resourceType": "Patient"})).status_code == 403
    assert (await hub.actor("his-a").get(f"Observation/{made.json()['id']}")).status_code == 200
    other = await doctor("POST", "Condition", {"resourceType": "Condition", "subject": ref("Patient/chi"), "code": {"text": "x"}})
    assert other.status_code == 422


async def test_a_patient_writes_of_themselves_only(hub: Hub) -> None:
    an = hub.actor("an")
    own = observation("x", "an", performer=[ref("Patient/an")])
    assert (await an("POST", "Observation", own)).status_code == 201
    assert (await an("POST", "Observation", observation("x", "an"))).status_code == 403
    assert (await an("POST", "Observation", observation("x", "chi", performer=[ref("Patient/an")]))).status_code == 422
    assert (await an("PUT", "Observation/o-an", own | {"id": "o-an"})).status_code == 403
    assert (await an("POST", "Condition", {"resourceType": "Condition", "subject": ref("Patient/an")})).status_code == 403


async def test_scopes_cut_what_a_role_may(hub: Hub) -> None:
    app = hub.actor("an", scope="patient/Observation.rs?category=vital-signs patient/Patient.r", patient="an")
    assert await app.ids("Observation") == {"Observation/o-an", "Observation/o-an-hiv"}
    assert (await app.get("Patient/an")).status_code == 200
    assert (await app.get("Patient")).status_code == 403
    assert (await app.get("Encounter")).status_code == 403
    assert (await app("POST", "Observation", observation("x", "an", performer=[ref("Patient/an")]))).status_code == 403
    lab = hub.actor("an", scope="patient/Observation.rs?category=laboratory", patient="an")
    assert await lab.ids("Observation") == set()
    assert (await lab.get("Observation/o-an")).status_code == 404
    context = hub.actor("dung", scope="patient/*.rs", patient="an")
    assert await context.ids("Observation") == {"Observation/o-an"}
    assert (await hub.actor("an", scope="patient/*.rs").get("Observation")).status_code == 403


CONSENT = {
    "resourceType": "Consent",
    "status": "active",
    "category": [{"text": "x"}],
    "patient": ref("Patient/binh"),
    "dateTime": "2026-01-01",
    "scope": {"coding": [{"code": "patient-privacy"}]},
    "policyRule": {"coding": [{"code": "OPTIN"}]},
}


async def test_a_consent_denies_at_once_and_is_withdrawn_at_once(hub: Hub) -> None:
    carer, nurse, his = hub.actor("carer"), hub.actor("giang"), hub.actor("his-b")
    deny = {"type": "deny", "actor": [{"role": {"text": "x"}, "reference": ref("Organization/b")}],
            "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]}  # fmt: skip
    neither = {"policyRule": {"coding": [{"code": "x"}]}, "provision": {"provision": [deny]}}
    made = (await carer("POST", "Consent", CONSENT | neither)).json()
    assert await nurse.ids("Observation") == {"Observation/o-chi"}
    assert (await nurse.get("Observation/o-binh")).status_code == 404
    assert (await nurse.get("Patient/binh")).status_code == 200
    assert "Observation/o-binh-b" in await his.ids("Observation"), "what a facility owns stays its own"
    assert "Observation/o-binh" not in await his.ids("Observation")
    assert (await hub.actor("dung").get("Observation/o-binh")).status_code == 200
    assert (await carer("PUT", f"Consent/{made['id']}", made | {"status": "inactive"})).status_code == 200
    assert (await nurse.get("Observation/o-binh")).status_code == 200


async def test_a_consent_permits_a_facility_that_has_no_relationship(hub: Hub) -> None:
    doctor = hub.actor("dung")
    permit = {"type": "permit", "actor": [{"role": {"text": "x"}, "reference": ref("Organization/a")}]}
    rule = {"policyRule": {"coding": [{"code": "OPTOUT"}]}, "provision": {"provision": [permit]}}
    consent = CONSENT | {"patient": ref("Patient/chi")} | rule
    assert (await doctor.get("Observation/o-chi")).status_code == 404
    assert (await hub.actor("chi")("POST", "Consent", consent)).status_code == 201
    assert (await doctor.get("Observation/o-chi")).status_code == 200
    assert "Observation/o-chi" in await doctor.ids("Observation")
    assert (await hub.actor("giang").get("Observation/o-chi")).status_code == 404, "OPTOUT: all others are denied"


async def test_emergency_access_opens_one_record_and_everybody_sees_it(hub: Hub) -> None:
    doctor = hub.actor("dung")
    number = {"resourceType": "Parameters", "parameter": [
        {"name": "identifier", "valueIdentifier": {"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "019190000003"}},
        {"name": "reason", "valueCoding": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "ETREAT"}},
        {"name": "note", "valueString": "bệnh nhân bất tỉnh tại trạm"}]}  # fmt: skip
    answer = await doctor("POST", "Patient/$emergency-access", number)
    assert answer.status_code == 200, answer.text
    assert (await doctor.get("Patient/chi")).status_code == 200
    assert (await doctor.get("Observation/o-chi")).status_code == 200
    assert (await hub.actor("giang").get("Patient/an")).status_code == 404
    told = (await hub.actor("chi").get("Communication")).json()["entry"][0]["resource"]["payload"]
    assert "bất tỉnh" in told[0]["contentString"]
    events = (await hub.actor("auditor").get("AuditEvent?subtype=110127")).json()["entry"]
    assert events[0]["resource"]["purposeOfEvent"][0]["coding"][0]["code"] == "ETREAT"
    for name, status in (("an", 403), ("his-a", 403), ("admin", 403)):
        assert (await hub.actor(name)("POST", "Patient/$emergency-access", number)).status_code == status
    number["parameter"][2]["valueString"] = "ngắn"
    assert (await doctor("POST", "Patient/$emergency-access", number)).status_code == 400


async def test_emergency_access_by_number_opens_what_every_facility_has_of_the_person(hub: Hub) -> None:
    twice = (await hub.actor("his-a").get("Patient/an")).json()
    number = {"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "019190000003"}
    again = {k: v for k, v in twice.items() if k not in ("id", "meta", "link")} | {"identifier": [number]}
    made = await hub.actor("his-a")("POST", "Patient", again)
    assert made.status_code == 201, made.text
    asked = {"resourceType": "Parameters", "parameter": [
        {"name": "identifier", "valueIdentifier": number},
        {"name": "reason", "valueCode": "ETREAT"}, {"name": "note", "valueString": "bệnh nhân bất tỉnh tại trạm"}]}  # fmt: skip
    answer = await hub.actor("dung")("POST", "Patient/$emergency-access", asked)
    assert answer.status_code == 200, answer.text
    opened = {p["valueReference"]["reference"] for p in answer.json()["parameter"] if p["name"] == "patient"}
    assert opened == {"Patient/chi", f"Patient/{made.json()['id']}"}
    for name in opened:
        assert (await hub.actor("dung").get(name)).status_code == 200
    events = [e["resource"] for e in (await hub.actor("auditor").get("AuditEvent?subtype=110127")).json()["entry"]]
    assert opened <= {e["what"].get("reference", "").partition("/_history")[0] for event in events for e in event["entity"] if "what" in e}
    assert (await hub.actor("chi").get("Communication")).json()["entry"], "each is told in their own record"


async def test_every_access_is_in_the_trail_and_its_patient_reads_it(hub: Hub) -> None:
    await hub.actor("dung").get("Observation/o-an")
    await hub.actor("dung").get("Observation/o-chi")
    await hub.actor("dung").get("Observation?code=8867-4")
    await hub.actor("his-a")("PUT", "Observation/o-an", observation("o-an", "an", status="amended"))
    events = [e["resource"] for e in (await hub.actor("an").get("AuditEvent?_sort=date")).json()["entry"]]
    assert [(e["subtype"][0]["code"], e["outcome"]) for e in events] == [("read", "0"), ("search-type", "0"), ("update", "0")]
    assert events[0]["agent"][1]["who"] == {"identifier": {"value": "account-dung"}, "reference": "Practitioner/dung", "display": "dung"}
    refused = [e["resource"] for e in (await hub.actor("auditor").get("AuditEvent?outcome=4")).json()["entry"]]
    assert len(refused) == 1
    assert not any(e["entity"][0]["what"].get("reference") == "Patient/an" for e in refused if "what" in e["entity"][0])
    assert [p async for p in hub.store.trail.check()] == []


async def test_links_between_patients_count_where_both_say_so_or_the_province_does(hub: Hub) -> None:
    an, his_a, his_b = hub.actor("an"), hub.actor("his-a"), hub.actor("his-b")
    mine = (await his_a.get("Patient/an")).json() | {"link": [{"other": ref("Patient/binh"), "type": "seealso"}]}
    assert (await his_a("PUT", "Patient/an", mine)).status_code == 200
    hub.gate.directory.forget()
    assert await an.ids("Patient") == {"Patient/an"}, "one side alone joins no records"
    theirs = (await his_a.get("Patient/binh")).json() | {"link": [{"other": ref("Patient/an"), "type": "seealso"}]}
    assert (await his_a("PUT", "Patient/binh", theirs)).status_code == 200
    hub.gate.directory.forget()
    assert await hub.actor("an").ids("Patient") == {"Patient/an", "Patient/binh"}
    assert (await his_b.get("Patient/an")).status_code == 404
