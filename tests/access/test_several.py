"""A record about several persons, or about one and made by another: whose it is, and what each of them is told of the others."""

from typing import Any

import pytest

from health_hub.store.model import Change
from health_hub.store.reindex import check, rebuild
from tests.access.conftest import Hub, observation, owned, ref

BOTH = {"resourceType": "Appointment", "id": "both", "status": "booked", "description": "Tư vấn gia đình",
        "start": "2026-12-01T08:00:00+07:00", "end": "2026-12-01T09:00:00+07:00",
        "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">An va Chinhnguyen</div>"},
        "participant": [{"actor": ref("Patient/an") | {"display": "Ông An"}, "status": "accepted"},
                        {"actor": ref("Patient/chi") | {"display": "Chinhnguyen"}, "status": "declined"},
                        {"actor": ref("Practitioner/dung"), "status": "accepted"}]}  # fmt: skip


async def put(hub: Hub, *resources: dict[str, Any], owner: str = "Organization/a") -> None:
    await hub.store.commit([Change("update", r["resourceType"], r["id"], r) for r in resources], by=owned(owner))


async def test_a_booking_of_two_is_seen_by_each_without_the_other(hub: Hub) -> None:
    await put(hub, BOTH)
    for me, other, name in (("an", "chi", "Chinhnguyen"), ("chi", "an", "Ông An")):
        actor = hub.actor(me)
        read, found = await actor.get("Appointment/both"), await actor.get("Appointment?_id=both")
        history = await actor.get("Appointment/both/_history")
        version = await actor.get("Appointment/both/_history/1")
        everything = await actor.get(f"Patient/{me}/$everything")
        graph = await actor.get("Appointment/both/$graphql?query={participant{status,actor{reference,display}},text{div}}")
        for answer in (read, found, history, version, everything, graph):
            assert answer.status_code == 200, answer.text
            assert f"Patient/{me}" in answer.text
            assert f"Patient/{other}" not in answer.text
            assert name not in answer.text
            assert "Practitioner/dung" in answer.text
        body = read.json()
        assert body["description"] == "Tư vấn gia đình"
        assert [p["status"] for p in body["participant"]] == ["accepted", "declined", "accepted"]
        assert "masked" in str(body["participant"])
        assert [c["code"] for c in body["meta"]["security"]] == ["REDACTED"]
    clinician = (await hub.actor("dung").get("Appointment/both")).json()
    assert [p["actor"].get("reference") for p in clinician["participant"]] == ["Patient/an", "Patient/chi", "Practitioner/dung"]
    assert (await hub.actor("carer").get("Appointment/both")).status_code == 404


@pytest.mark.parametrize("asked", [
    "Appointment?actor=Patient/{0}", "Appointment?patient={0}", "Appointment?actor={0}", "Appointment?actor:Patient={0}",
    "Appointment?patient=http://hub.test/fhir/Patient/{0}", "Patient/{0}/Appointment", "Appointment?_content={1}", "Appointment?_text={1}",
    "Appointment?actor.name={1}", "Appointment?_filter=actor eq Patient/{0}", "Appointment?actor=Practitioner/dung,Patient/{0}",
    "Patient?_has:Appointment:patient:actor=Patient/{0}", "Appointment?_id=both&actor:not-in=x",
])  # fmt: skip
async def test_the_other_is_not_found_by_searching(hub: Hub, asked: str) -> None:
    await put(hub, BOTH, BOTH | {"id": "chis", "participant": BOTH["participant"][1:]})
    patient = hub.actor("an")
    for id, word in (("chi", "Chinhnguyen"), ("nobody", "Ghostname")):
        answer = await patient.get(asked.format(id, word))
        assert answer.status_code in (200, 400, 403, 404), answer.text
        assert not answer.json().get("entry"), answer.text
        assert answer.json().get("total", 0) == 0
    assert await patient.ids("Appointment?actor=Patient/an&_total=accurate") == {"Appointment/both"}
    assert await patient.ids("Appointment?actor=Practitioner/dung") == {"Appointment/both"}
    assert await patient.ids("Appointment?actor:missing=false") == {"Appointment/both"}


async def test_conditional_interactions_tell_no_more(hub: Hub) -> None:
    """One that names the other answers alike, whether they share a booking or not."""
    await put(hub, BOTH)
    patient, answers = hub.actor("an"), []
    own = {"resourceType": "Appointment", "status": "proposed", "start": "2026-12-03T08:00:00+07:00", "end": "2026-12-03T09:00:00+07:00",
           "participant": [{"actor": ref("Patient/an"), "status": "accepted"}]}  # fmt: skip
    for id in ("chi", "nobody"):
        answer = await patient("POST", "Appointment", own, If_None_Exist=f"actor=Patient/{id}")
        answers.append(answer.status_code)
    assert answers == [201, 201]
    entry = {"resource": own, "request": {"method": "POST", "url": "Appointment", "ifNoneExist": "actor=Patient/chi"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = await patient("POST", "", bundle)
    assert answer.json()["entry"][0]["response"]["status"].startswith("201"), answer.text


async def test_what_was_masked_is_not_written_back(hub: Hub) -> None:
    await hub.store.commit([Change("update", "Appointment", "both", BOTH)], by=owned("Patient/an", "Patient/an"))
    patient = hub.actor("an")
    body = (await patient.get("Appointment/both")).json()
    assert (await patient("PUT", "Appointment/both", body)).status_code == 403
    patch = [{"op": "test", "path": "/participant/1/actor/reference", "value": "Patient/chi"},
             {"op": "replace", "path": "/status", "value": "cancelled"}]  # fmt: skip
    for tried in (patch, patch[1:]):
        answer = await patient("PATCH", "Appointment/both", tried, Content_Type="application/json-patch+json")
        assert answer.status_code in (403, 422, 400), answer.text
        assert "chi" not in answer.text
    answer = await patient("PUT", "Appointment/both", BOTH)
    assert answer.status_code == 422, "nor does a patient name another"


def allergy(id: str, patient: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "AllergyIntolerance", "id": id, "patient": ref(f"Patient/{patient}"),
            "clinicalStatus": {"coding": [{"code": "active"}]}} | more  # fmt: skip


ABOUT_CHI: list[dict[str, Any]] = [
    observation("by-an", "chi", performer=[ref("Patient/an")]),
    observation("on-an", "chi", focus=[ref("Patient/an")]),
    allergy("asserted", "chi", asserter=ref("Patient/an"), recorder=ref("Patient/an")),
    {"resourceType": "QuestionnaireResponse", "id": "answered", "status": "completed", "subject": ref("Patient/chi"),
     "author": ref("Patient/an")},
    {"resourceType": "Coverage", "id": "paid", "status": "active", "beneficiary": ref("Patient/chi"), "payor": [ref("Patient/an")],
     "policyHolder": ref("Patient/an"), "subscriber": ref("Patient/an")},
    {"resourceType": "DocumentReference", "id": "written", "status": "current", "subject": ref("Patient/chi"),
     "author": [ref("Patient/an")], "content": [{"attachment": {"title": "x"}}]},
    {"resourceType": "List", "id": "list", "status": "current", "mode": "working", "subject": ref("Patient/chi"),
     "source": ref("Patient/an"), "entry": [{"item": ref("Observation/o-chi")}, {"item": ref("Patient/an")}]},
    {"resourceType": "CareTeam", "id": "team", "status": "proposed", "subject": ref("Patient/chi"),
     "participant": [{"member": ref("Patient/an")}]},
    {"resourceType": "Communication", "id": "sent-by", "status": "completed", "subject": ref("Patient/chi"), "sender": ref("Patient/an")},
    {"resourceType": "RelatedPerson", "id": "kin", "patient": ref("Patient/chi"), "name": [{"text": "Chị của An"}]},
]  # fmt: skip


@pytest.mark.parametrize("resource", ABOUT_CHI, ids=lambda r: f"{r['resourceType']}-{r['id']}")
async def test_a_part_in_anothers_record_opens_it_neither_to_the_patient_nor_to_who_treats_them(
    hub: Hub, resource: dict[str, Any]
) -> None:
    await put(hub, resource, owner="Organization/b")
    kind, name = resource["resourceType"], f"{resource['resourceType']}/{resource['id']}"
    for who in ("an", "dung", "his-a"):
        actor = hub.actor(who)
        assert (await actor.get(name)).status_code == 404, who
        assert name not in await actor.ids(kind)
        assert name not in (await actor.get(f"Patient/an/{kind}")).text
        assert (await actor.get(f"{name}/_history")).status_code == 404
    for who in ("chi", "giang"):
        actor = hub.actor(who)
        assert (await actor.get(name)).status_code == 200, who
        assert name in await actor.ids(kind)
    # Who informed about them is in their record; it is not about two.
    if "asserter" in resource:
        assert (await hub.actor("chi").get(name)).json()["asserter"] == ref("Patient/an")


async def test_a_message_is_read_by_whom_it_is_sent_to(hub: Hub) -> None:
    def message(id: str, **more: Any) -> dict[str, Any]:
        return {"resourceType": "Communication", "id": id, "status": "completed", "subject": ref("Patient/chi"),
                "payload": [{"contentString": "Kết quả tốt"}]} | more  # fmt: skip

    label = {"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}}
    await put(
        hub, message("to-an", recipient=[ref("Patient/an")]), message("to-carer", recipient=[ref("RelatedPerson/me-binh")]),
        message("labelled", recipient=[ref("Patient/an")], **label), owner="Organization/b",
    )  # fmt: skip
    patient, carer = hub.actor("an"), hub.actor("carer")
    assert await patient.ids("Communication") == {"Communication/to-an"}
    assert await carer.ids("Communication") == {"Communication/to-carer"}
    assert (await patient.get("Communication/labelled")).status_code == 404
    assert (await hub.actor("dung").get("Communication/to-an")).status_code == 404, "their clinicians do not read it with them"
    deny = {"resourceType": "Consent", "status": "active", "patient": ref("Patient/chi"), "dateTime": "2026-01-01",
            "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "x"}], "policyRule": {"text": "x"},
            "provision": {"type": "deny", "class": [{"code": "Communication"}]}}  # fmt: skip
    assert (await hub.actor("chi")("POST", "Consent", deny)).status_code == 201
    assert await patient.ids("Communication") == set()
    assert (await patient.get("Communication/to-an")).status_code == 404


async def test_a_group_and_a_list_of_nobody_open_nothing(hub: Hub) -> None:
    group = {"resourceType": "Group", "id": "g", "type": "person", "actual": True,
             "member": [{"entity": ref("Patient/an")}, {"entity": ref("Patient/chi")}]}  # fmt: skip
    ward = {"resourceType": "List", "id": "ward", "status": "current", "mode": "working",
            "entry": [{"item": ref("Patient/an")}, {"item": ref("Patient/chi")}]}  # fmt: skip
    account = {"resourceType": "Account", "id": "family", "status": "active", "subject": [ref("Patient/an"), ref("Patient/chi")]}
    await put(hub, group, ward, account)
    for who in ("an", "chi", "dung"):
        for name in ("Group/g", "List/ward"):
            assert (await hub.actor(who).get(name)).status_code in (403, 404), (who, name)
    seen = (await hub.actor("an").get("Account/family")).json()
    assert seen["subject"][0] == ref("Patient/an")
    assert "reference" not in seen["subject"][1]


async def test_one_of_two_who_denies_is_denied_for_both(hub: Hub) -> None:
    """What treats the other is no way around a Consent."""
    await put(hub, BOTH | {"participant": BOTH["participant"][:2]})
    clinician = hub.actor("dung")
    assert (await clinician.get("Appointment/both")).status_code == 200
    deny = {"resourceType": "Consent", "status": "active", "patient": ref("Patient/chi"), "dateTime": "2026-01-01",
            "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "x"}], "policyRule": {"text": "x"},
            "provision": {"type": "deny", "actor": [{"role": {"text": "x"}, "reference": ref("Practitioner/dung")}]}}  # fmt: skip
    assert (await hub.actor("chi")("POST", "Consent", deny)).status_code == 201
    assert (await clinician.get("Appointment/both")).status_code == 404
    assert "Appointment/both" not in await clinician.ids("Appointment")


async def test_it_is_so_also_after_the_index_was_made_anew(hub: Hub) -> None:
    await put(hub, BOTH, ABOUT_CHI[0])
    await rebuild(hub.store)
    assert [problem async for problem in check(hub.store)] == []
    patient = hub.actor("an")
    assert await patient.ids("Appointment") == {"Appointment/both"}
    assert await patient.ids("Appointment?actor=Patient/chi") == set()
    assert (await patient.get("Observation/by-an")).status_code == 404
