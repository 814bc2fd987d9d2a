"""Consents clause by clause, relationships by what makes them and when they end, emergency access (authorization.md)."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from health_hub.auth.model import Account
from health_hub.store.model import Change
from tests.access.conftest import HIV, WHO, Actor, Hub, encounter, observation, owned, ref

PRIVACY = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
REASON, ACTION = "http://terminology.hl7.org/CodeSystem/v3-ActReason", "http://terminology.hl7.org/CodeSystem/consentaction"
DAY = 86_400_000
DENIED, SEEN = 404, 200


def day(offset: float) -> str:
    return datetime.fromtimestamp(time.time() + offset * 86_400, UTC).isoformat(timespec="seconds")


def actor(name: str) -> dict[str, Any]:
    return {"role": {"text": "x"}, "reference": ref(name)}


def consent(provision: dict[str, Any], patient: str = "binh", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": PRIVACY,
        "category": [{"text": "x"}],
        "dateTime": "2026-01-01",
        "patient": ref(f"Patient/{patient}"),
        "policyRule": {"text": "x"},
        "provision": provision,
    } | more


async def put(hub: Hub, *resources: dict[str, Any], owner: str | None = None) -> None:
    for n, r in enumerate(resources):
        id = r.get("id") or f"{r['resourceType'].lower()}-{n}"
        await hub.store.commit([Change("update", r["resourceType"], id, r | {"id": id})], by=owned(owner))


async def status(who: Actor, name: str = "Observation/o-binh") -> int:
    """By id; a search must say the same."""
    found = (await who.get(name)).status_code
    type, _, id = name.partition("/")
    assert await who.ids(f"{type}?_id={id}") == ({name} if found == SEEN else set())
    assert (await who.get(f"{type}?_id={id}&_summary=count")).json()["total"] == (found == SEEN)
    return found


CODE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
OTHER = {"coding": [{"system": "http://loinc.org", "code": "9999-9"}]}
GIANG, B = actor("Practitioner/giang"), actor("Organization/b")
# provision, what the nurse at B (who treats binh) then gets of his Observation; the rest of the Consent.
DENYING: list[tuple[str, dict[str, Any], int, dict[str, Any]]] = [
    ("everybody", {"type": "deny"}, DENIED, {}),
    ("the person", {"type": "deny", "actor": [GIANG]}, DENIED, {}),
    ("their facility", {"type": "deny", "actor": [B]}, DENIED, {}),
    ("their role there", {"type": "deny", "actor": [actor("PractitionerRole/giang-b")]}, DENIED, {}),
    ("another person", {"type": "deny", "actor": [actor("Practitioner/dung")]}, SEEN, {}),
    ("another facility", {"type": "deny", "actor": [actor("Organization/a")]}, SEEN, {}),
    ("one of several actors", {"type": "deny", "actor": [actor("Organization/a"), GIANG]}, DENIED, {}),
    ("absolute own reference", {"type": "deny", "actor": [actor("http://hub.test/fhir/Practitioner/giang")]}, DENIED, {}),
    ("a group is not understood", {"type": "deny", "actor": [actor("Group/g")]}, DENIED, {}),
    ("an actor without reference", {"type": "deny", "actor": [{"role": {"text": "x"}, "reference": {"display": "giang"}}]}, DENIED, {}),
    ("access", {"type": "deny", "action": [{"coding": [{"system": ACTION, "code": "access"}]}]}, DENIED, {}),
    ("use", {"type": "deny", "action": [{"coding": [{"system": ACTION, "code": "use"}]}]}, DENIED, {}),
    ("disclose", {"type": "deny", "action": [{"coding": [{"system": ACTION, "code": "disclose"}]}]}, DENIED, {}),
    ("collecting is no reading", {"type": "deny", "action": [{"coding": [{"system": ACTION, "code": "collect"}]}]}, SEEN, {}),
    ("for treatment", {"type": "deny", "purpose": [{"system": REASON, "code": "TREAT"}]}, DENIED, {}),
    ("for research", {"type": "deny", "purpose": [{"system": REASON, "code": "HRESCH"}]}, SEEN, {}),
    (
        "for research or treatment",
        {"type": "deny", "purpose": [{"system": REASON, "code": "HRESCH"}, {"system": REASON, "code": "TREAT"}]},
        DENIED,
        {},
    ),
    ("its class", {"type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]}, DENIED, {}),
    ("another class", {"type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Condition"}]}, SEEN, {}),
    ("a class that is none", {"type": "deny", "class": [{"system": "http://x.vn", "code": "Everything"}]}, DENIED, {}),
    ("its code", {"type": "deny", "code": [CODE]}, DENIED, {}),
    ("another code", {"type": "deny", "code": [OTHER]}, SEEN, {}),
    ("a code in words", {"type": "deny", "code": [{"text": "heart rate"}]}, DENIED, {}),
    ("a label it has not", {"type": "deny", "securityLabel": [{"code": "HIV"}]}, SEEN, {}),
    ("a label nobody knows", {"type": "deny", "securityLabel": [{"code": "SECRETISH"}]}, DENIED, {}),
    ("itself", {"type": "deny", "data": [{"meaning": "instance", "reference": ref("Observation/o-binh")}]}, DENIED, {}),
    ("another one", {"type": "deny", "data": [{"meaning": "instance", "reference": ref("Observation/o-binh-b")}]}, SEEN, {}),
    ("what depends on it", {"type": "deny", "data": [{"meaning": "related", "reference": ref("Observation/x")}]}, DENIED, {}),
    ("data of a time", {"type": "deny", "dataPeriod": {"start": "2020-01-01"}}, DENIED, {}),
    ("now", {"type": "deny", "period": {"start": day(-1), "end": day(1)}}, DENIED, {}),
    ("not any more", {"type": "deny", "period": {"start": day(-3), "end": day(-2)}}, SEEN, {}),
    ("not yet", {"type": "deny", "period": {"start": day(2)}}, SEEN, {}),
    ("deny within permit", {"type": "permit", "provision": [{"type": "deny", "actor": [GIANG]}]}, DENIED, {}),
    ("permit within deny", {"type": "deny", "provision": [{"type": "permit", "actor": [GIANG]}]}, SEEN, {}),
    (
        "permit of others within deny",
        {"type": "deny", "provision": [{"type": "permit", "actor": [actor("Practitioner/dung")]}]},
        DENIED,
        {},
    ),
    (
        "deny wins at one depth",
        {"type": "permit", "provision": [{"type": "permit", "actor": [GIANG]}, {"type": "deny", "actor": [B]}]},
        DENIED,
        {},
    ),
    (
        "three deep",
        {"type": "deny", "provision": [{"type": "permit", "actor": [B], "provision": [{"type": "deny", "code": [CODE]}]}]},
        DENIED,
        {},
    ),
    (
        "three deep, of other codes",
        {"type": "deny", "provision": [{"type": "permit", "actor": [B], "provision": [{"type": "deny", "code": [OTHER]}]}]},
        SEEN,
        {},
    ),
    (
        "an odd permit within deny is void",
        {"type": "deny", "provision": [{"type": "permit", "actor": [GIANG], "dataPeriod": {"start": "2020-01-01"}}]},
        DENIED,
        {},
    ),
    (
        "opt-out",
        {"provision": [{"type": "permit", "actor": [actor("Organization/a")]}]},
        DENIED,
        {"policyRule": {"coding": [{"code": "OPTOUT"}]}},
    ),
    ("opt-in but", {"provision": [{"type": "deny", "actor": [GIANG]}]}, DENIED, {"policyRule": {"coding": [{"code": "OPTIN"}]}}),
    ("inactive", {"type": "deny"}, SEEN, {"status": "inactive"}),
    ("entered in error", {"type": "deny"}, SEEN, {"status": "entered-in-error"}),
    ("a draft", {"type": "deny"}, SEEN, {"status": "draft"}),
    ("proposed", {"type": "deny"}, SEEN, {"status": "proposed"}),
    ("dated tomorrow", {"type": "deny"}, SEEN, {"dateTime": day(1)}),
    ("dated a minute ago", {"type": "deny"}, DENIED, {"dateTime": day(-0.001)}),
    ("undated", {"type": "deny"}, DENIED, {"dateTime": None}),
    ("about treatment, not privacy", {"type": "deny"}, SEEN, {"scope": {"coding": [{"code": "treatment"}]}}),
    ("of another patient", {"type": "deny"}, SEEN, {"patient": "chi"}),
]


@pytest.mark.parametrize("part", range(3))
async def test_a_denial_holds_as_its_clauses_say(hub: Hub, part: int) -> None:
    nurse = hub.actor("giang")
    for name, provision, expected, more in DENYING[part::3]:
        made = {k: v for k, v in consent(provision, **more).items() if v is not None}
        await put(hub, made | {"id": "c"}, owner="Patient/binh")
        assert await status(nurse) == expected, name
        await hub.store.commit([Change("delete", "Consent", "c")], by=owned("Patient/binh"))
        assert await status(nurse) == SEEN, f"{name}: deleted"


ONLY_OBSERVATION = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
# Chi is known at B only. What a practitioner of A then gets of (her Observation, her Encounter).
PERMITTING: list[tuple[str, dict[str, Any], tuple[int, int], dict[str, Any]]] = [
    ("everybody everything", {"type": "permit"}, (SEEN, SEEN), {}),
    ("the person", {"type": "permit", "actor": [actor("Practitioner/dung")]}, (SEEN, SEEN), {}),
    ("the facility", {"type": "permit", "actor": [actor("Organization/a")]}, (SEEN, SEEN), {}),
    ("the role", {"type": "permit", "actor": [actor("PractitionerRole/dung-a")]}, (SEEN, SEEN), {}),
    ("another", {"type": "permit", "actor": [actor("Practitioner/other")]}, (DENIED, DENIED), {}),
    ("a class", {"type": "permit", "class": ONLY_OBSERVATION}, (SEEN, DENIED), {}),
    ("a class to the person", {"type": "permit", "actor": [actor("Practitioner/dung")], "class": ONLY_OBSERVATION}, (SEEN, DENIED), {}),
    ("a code", {"type": "permit", "code": [CODE]}, (SEEN, DENIED), {}),
    ("another code", {"type": "permit", "code": [OTHER]}, (DENIED, DENIED), {}),
    ("one resource", {"type": "permit", "data": [{"meaning": "instance", "reference": ref("Observation/o-chi")}]}, (SEEN, DENIED), {}),
    ("all but a class", {"type": "permit", "provision": [{"type": "deny", "class": ONLY_OBSERVATION}]}, (DENIED, SEEN), {}),
    ("for research", {"type": "permit", "purpose": [{"system": REASON, "code": "HRESCH"}]}, (DENIED, DENIED), {}),
    ("for treatment", {"type": "permit", "purpose": [{"system": REASON, "code": "TREAT"}]}, (SEEN, SEEN), {}),
    ("to collect", {"type": "permit", "action": [{"coding": [{"code": "collect"}]}]}, (DENIED, DENIED), {}),
    ("now", {"type": "permit", "period": {"start": day(-1), "end": day(1)}}, (SEEN, SEEN), {}),
    ("past", {"type": "permit", "period": {"end": day(-1)}}, (DENIED, DENIED), {}),
    ("future", {"type": "permit", "period": {"start": day(1)}}, (DENIED, DENIED), {}),
    ("to a group", {"type": "permit", "actor": [actor("Group/g")]}, (DENIED, DENIED), {}),
    ("to a care team", {"type": "permit", "actor": [actor("CareTeam/g")]}, (DENIED, DENIED), {}),
    ("with what is not understood", {"type": "permit", "dataPeriod": {"start": "2000-01-01"}}, (DENIED, DENIED), {}),
    ("a class that is none", {"type": "permit", "class": [{"code": "All"}]}, (DENIED, DENIED), {}),
    ("a label", {"type": "permit", "securityLabel": [{"code": "HIV"}]}, (DENIED, DENIED), {}),
    ("an account, which no Consent can name", {"type": "permit", "actor": [actor("Account#account-dung")]}, (DENIED, DENIED), {}),
    ("dated tomorrow", {"type": "permit"}, (DENIED, DENIED), {"dateTime": day(1)}),
    ("a draft", {"type": "permit"}, (DENIED, DENIED), {"status": "draft"}),
    ("inactive", {"type": "permit"}, (DENIED, DENIED), {"status": "inactive"}),
    ("for research, not privacy", {"type": "permit"}, (DENIED, DENIED), {"scope": {"coding": [{"code": "research"}]}}),
    ("opt-in", {}, (SEEN, SEEN), {"policyRule": {"coding": [{"code": "OPTIN"}]}}),
]


@pytest.mark.parametrize("part", range(2))
async def test_a_permission_opens_what_its_clauses_say_and_no_more(hub: Hub, part: int) -> None:
    doctor = hub.actor("dung")
    await put(hub, observation("o-chi-hiv", "chi", **HIV), owner="Organization/b")
    for name, provision, expected, more in PERMITTING[part::2]:
        await put(hub, consent(provision, "chi", **more) | {"id": "c"}, owner="Patient/chi")
        assert (await status(doctor, "Observation/o-chi"), await status(doctor, "Encounter/e-chi")) == expected, name
        assert await status(doctor, "Observation/o-chi-hiv") == DENIED, f"{name}: a permission is no right to labels"
        await put(hub, consent(provision, "chi", status="inactive") | {"id": "c"}, owner="Patient/chi")
        assert await status(doctor, "Observation/o-chi") == DENIED, f"{name}: withdrawn"


async def test_labels_and_denials(hub: Hub) -> None:
    nurse = hub.actor("giang", labels=("HIV",))
    await put(hub, observation("o-binh-hiv", "binh", **HIV), owner="Organization/a")
    assert await status(nurse, "Observation/o-binh-hiv") == SEEN
    await put(hub, consent({"type": "deny", "securityLabel": [{"code": "HIV"}]}) | {"id": "c"})
    assert (await status(nurse, "Observation/o-binh-hiv"), await status(nurse)) == (DENIED, SEEN)


async def test_of_several_consents_one_that_denies_is_enough(hub: Hub) -> None:
    nurse = hub.actor("giang")
    await put(hub, consent({"type": "permit"}) | {"id": "c1"}, consent({"type": "deny", "code": [CODE]}) | {"id": "c2"})
    assert await status(nurse) == DENIED
    await put(hub, consent({"type": "permit"}, dateTime=day(-0.01)) | {"id": "c3"})
    assert await status(nurse) == DENIED, "a newer permission does not undo it"
    await put(hub, consent({"type": "deny", "code": [CODE]}, status="entered-in-error") | {"id": "c2"})
    assert await status(nurse) == SEEN


async def test_what_is_nested_beyond_understanding_denies(hub: Hub) -> None:
    nurse = hub.actor("giang")
    deep: dict[str, Any] = {"type": "permit"}
    for _ in range(12):
        deep = {"type": "permit", "provision": [deep]}
    await put(hub, consent(deep) | {"id": "c"})
    assert await status(nurse) == DENIED
    await put(hub, consent({"type": "permit", "provision": [{"type": "permit", "actor": [GIANG]}] * 300}) | {"id": "c"})
    assert await status(nurse) == DENIED


async def test_a_denial_reaches_every_version_and_the_facilitys_system_but_not_its_own(hub: Hub) -> None:
    await put(hub, consent({"type": "deny", "actor": [B]}) | {"id": "c"})
    his = hub.actor("his-b")
    assert await status(his) == DENIED
    assert await status(his, "Observation/o-binh-b") == SEEN, "a facility keeps what it owns"
    for url in ("Observation/o-binh/_history", "Observation/o-binh/_history/1"):
        assert (await his.get(url)).status_code == DENIED
    assert 'o-binh"' not in (await his.get("Observation/_history")).text


async def test_who_writes_and_withdraws_a_consent(hub: Hub) -> None:
    carer, nurse = hub.actor("carer"), hub.actor("giang")
    made = await carer("POST", "Consent", consent({"type": "deny", "actor": [GIANG]}))
    assert made.status_code == 201
    assert await status(nurse) == DENIED
    withdrawn = made.json() | {"status": "inactive"}
    url = f"Consent/{withdrawn['id']}"
    for name in ("giang", "his-b", "his-a", "dung", "chi", "province", "admin"):
        assert (await hub.actor(name)("PUT", url, withdrawn)).status_code in (403, 404, 409, 422), name
    assert await status(nurse) == DENIED
    assert (await carer("PUT", url, withdrawn)).status_code == 200
    assert await status(nurse) == SEEN
    # The patient's own, which restricts the carer, is not the carer's to withdraw; what a facility wrote is the patient's to.
    limits = consent({"type": "deny", "actor": [actor("RelatedPerson/me-binh")], "class": [{"code": "Condition"}]})
    await put(hub, limits | {"id": "limits"}, owner="Patient/binh")
    assert (await carer("PUT", "Consent/limits", limits | {"id": "limits", "status": "inactive"})).status_code in (403, 404)
    by_b = consent({"type": "permit", "actor": [actor("Organization/a")]}, "chi")
    await put(hub, by_b | {"id": "by-b"}, owner="Organization/b")
    assert await status(hub.actor("dung"), "Observation/o-chi") == SEEN
    assert (await hub.actor("chi")("PUT", "Consent/by-b", by_b | {"id": "by-b", "status": "inactive"})).status_code == 200
    assert await status(hub.actor("dung"), "Observation/o-chi") == DENIED


async def test_what_a_facility_permits_in_a_patients_name_has_a_provenance(hub: Hub) -> None:
    """Committed with it, of the facility or practitioner who writes and of the patient, or somebody on the patient's behalf."""
    permit = consent({"type": "permit", "actor": [actor("Organization/a")]}, "chi")
    nested = consent({"provision": [{"type": "deny", "provision": [{"type": "permit", "class": [{"code": "Observation"}]}]}]}, "chi")
    base = consent({"purpose": [{"code": "TREAT"}]}, "chi", policyRule={"coding": [{"code": "OPTIN"}]})
    facility, nurse, chi = ({"who": ref(n)} for n in ("Organization/b", "Practitioner/giang", "Patient/chi"))
    mother = {"who": {"display": "mẹ"}, "onBehalfOf": ref("Patient/chi")}
    urn = "urn:uuid:0b1f0a0e-5cd1-4f0a-9d8e-222222222222"

    def bundle(body: dict[str, Any], agents: list[dict[str, Any]], target: str = urn, kind: str = "transaction") -> dict[str, Any]:
        said = {"resourceType": "Provenance", "target": [ref(target)], "recorded": "2026-01-01T00:00:00Z", "agent": agents}
        entries = [(urn, body), (urn[:-1] + "3", said)]
        return {"resourceType": "Bundle", "type": kind, "entry": [
            {"fullUrl": name, "resource": r, "request": {"method": "POST", "url": r["resourceType"]}} for name, r in entries
        ]}  # fmt: skip

    doctor = hub.actor("dung")
    for name, me, other in (("his-b", facility, nurse), ("giang", nurse, facility)):
        writer = hub.actor(name)
        for body in (permit, nested, base):
            answer = await writer("POST", "Consent", body)
            assert answer.status_code == 422, (name, body, answer.text)
            assert "Provenance" in answer.text
        for agents in ([me], [chi], [mother], [me | {"onBehalfOf": ref("Patient/chi")}], [{"who": ref("Organization/a")}, chi],
                       [me, {"who": ref("Patient/binh")}]):  # fmt: skip
            assert (await writer("POST", "", bundle(permit, agents))).status_code == 422, agents
        assert (await writer("POST", "", bundle(permit, [me, chi], "Patient/chi"))).status_code == 422
        one_by_one = (await writer("POST", "", bundle(permit, [me, chi], kind="batch"))).json()["entry"]
        assert one_by_one[0]["response"]["status"].startswith(("422", "400"))
        draft = (await writer("POST", "Consent", permit | {"status": "draft"})).json()
        assert (await writer("PUT", f"Consent/{draft['id']}", draft | {"status": "active"})).status_code == 422
        patch = [{"op": "replace", "path": "/status", "value": "active"}]
        answer = await writer("PATCH", f"Consent/{draft['id']}", patch, Content_Type="application/json-patch+json")
        assert answer.status_code == 422
        assert await status(doctor, "Observation/o-chi") == DENIED
        assert (await writer("POST", "Consent", consent({"type": "deny", "class": [{"code": "Task"}]}, "chi"))).status_code == 201
        for agents in ([me, chi], [me, mother], [other, chi]):
            if name == "his-b" and agents[0] is nurse:
                continue  # a system is not its people
            made = await writer("POST", "", bundle(permit, agents))
            assert made.status_code == 200, made.text
            assert await status(doctor, "Observation/o-chi") == SEEN
            url = made.json()["entry"][0]["response"]["location"].split("/_history")[0]
            written = (await writer.get(url)).json()
            assert (await writer("PUT", url, written)).status_code == 422, "a new version is written anew"
            assert (await writer("PUT", url, written | {"status": "inactive"})).status_code == 200, "withdrawn without"
            assert await status(doctor, "Observation/o-chi") == DENIED
    # The patient's own needs none; what a facility has drafted the patient may put into force.
    assert (await hub.actor("chi")("PUT", f"Consent/{draft['id']}", draft | {"status": "active"})).status_code == 200
    assert await status(doctor, "Observation/o-chi") == SEEN


# --- relationships


def appointment(start: str, end: str | None, party: str = "Practitioner/dung", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": "r",
        "status": "booked",
        "start": start,
        **({"end": end} if end else {"end": start}),
        "participant": [{"actor": ref("Patient/chi"), "status": "accepted"}, {"actor": ref(party), "status": "accepted"}],
    } | more


CHI = ref("Patient/chi")
REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "r",
    "status": "active",
    "intent": "order",
    "subject": CHI,
    "performer": [ref("Organization/a")],
}
TASK = {"resourceType": "Task", "id": "r", "status": "requested", "intent": "order", "for": CHI, "owner": ref("Organization/a")}
TEAM = {"resourceType": "CareTeam", "id": "r", "status": "active", "subject": CHI, "participant": [{"member": ref("Practitioner/dung")}]}
EPISODE = {"resourceType": "EpisodeOfCare", "id": "r", "status": "active", "patient": CHI, "managingOrganization": ref("Organization/a")}
# What B (or the person) has written about chi; whether dung at A then sees her.
RELATING: list[tuple[str, dict[str, Any], bool]] = [
    ("in progress", encounter("r", "chi", "Organization/a"), True),
    ("in progress since years", encounter("r", "chi", "Organization/a", period={"start": "2019-01-01"}), True),
    ("planned", encounter("r", "chi", "Organization/a", status="planned"), False),
    ("cancelled", encounter("r", "chi", "Organization/a", status="cancelled"), False),
    ("entered in error", encounter("r", "chi", "Organization/a", status="entered-in-error"), False),
    ("starts in the future", encounter("r", "chi", "Organization/a", period={"start": day(3)}), False),
    ("ended 89 days ago", encounter("r", "chi", "Organization/a", status="finished", period={"start": day(-92), "end": day(-89)}), True),
    ("ended 91 days ago", encounter("r", "chi", "Organization/a", status="finished", period={"start": day(-92), "end": day(-91)}), False),
    (
        "ended without an end, begun long ago",
        encounter("r", "chi", "Organization/a", status="finished", period={"start": day(-200)}),
        False,
    ),
    ("as a participant", encounter("r", "chi", "Organization/b", participant=[{"individual": ref("Practitioner/dung")}]), True),
    ("as another participant", encounter("r", "chi", "Organization/b", participant=[{"individual": ref("Practitioner/giang")}]), False),
    ("appointment in 6 days", appointment(day(6), day(6.1)), True),
    ("appointment in 8 days", appointment(day(8), day(8.1)), False),
    ("appointment under way", appointment(day(-0.1), day(0.1)), True),
    ("appointment over", appointment(day(-0.2), day(-0.1)), False),
    ("appointment cancelled", appointment(day(1), day(1.1), status="cancelled"), False),
    ("no-show", appointment(day(1), day(1.1), status="noshow"), False),
    ("appointment at the facility", appointment(day(1), day(1.1), "PractitionerRole/dung-a"), True),
    ("a colleague's appointment", appointment(day(1), day(1.1), "Practitioner/giang"), False),
    ("referral", REQUEST, True),
    ("referral completed", REQUEST | {"status": "completed"}, False),
    ("referral revoked", REQUEST | {"status": "revoked"}, False),
    ("referral drafted", REQUEST | {"status": "draft"}, False),
    ("referral to another", REQUEST | {"performer": [ref("Organization/b")]}, False),
    ("requested by, not of", REQUEST | {"performer": [ref("Organization/b")], "requester": ref("Organization/a")}, False),
    ("task", TASK, True),
    ("task done", TASK | {"status": "completed"}, False),
    ("task rejected", TASK | {"status": "rejected"}, False),
    ("task of another", TASK | {"owner": ref("Organization/b"), "requester": ref("Organization/a")}, False),
    ("team", TEAM, True),
    ("team inactive", TEAM | {"status": "inactive"}, False),
    ("team proposed", TEAM | {"status": "proposed"}, False),
    ("team of last year", TEAM | {"period": {"end": day(-1)}}, False),
    ("team managed", TEAM | {"participant": [], "managingOrganization": [ref("Organization/a")]}, True),
    ("episode", EPISODE, True),
    ("episode finished", EPISODE | {"status": "finished"}, False),
    ("episode over", EPISODE | {"period": {"start": day(-9), "end": day(-1)}}, False),
    ("episode's manager", EPISODE | {"managingOrganization": ref("Organization/b"), "careManager": ref("Practitioner/dung")}, True),
]


@pytest.mark.parametrize("part", range(3))
async def test_a_relationship_is_made_by_each_kind_and_ends_with_it(hub: Hub, part: int) -> None:
    doctor = hub.actor("dung")
    for name, resource, related in RELATING[part::3]:
        body = {k: v for k, v in resource.items() if v != []}
        await put(hub, body | {"id": "r"}, owner="Organization/b")
        assert await status(doctor, "Observation/o-chi") == (SEEN if related else DENIED), name
        await hub.store.commit([Change("delete", resource["resourceType"], "r")], by=owned("Organization/b"))
        assert await status(doctor, "Observation/o-chi") == DENIED, f"{name}: deleted"


async def test_a_relationship_ends_with_time_without_anybody_writing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = hub.actor("dung")
    now = time.time_ns() // 1_000_000
    await put(
        hub, encounter("r", "chi", "Organization/a", status="finished", period={"start": day(-1), "end": day(0)}), owner="Organization/b"
    )
    for days, expected in ((0, SEEN), (89, SEEN), (91, DENIED)):
        later(monkeypatch, now + days * DAY)
        assert await status(doctor, "Observation/o-chi") == expected, days


def later(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """The record's clock, in ms; tokens keep theirs."""
    for place in ("view", "guard", "judge", "access"):
        monkeypatch.setattr(f"health_hub.store.{place}.now", lambda: moment)


# --- emergency


def opening(note: str = "bất tỉnh, không người thân", reason: str = "ETREAT", **identifier: str) -> dict[str, Any]:
    parameter: list[dict[str, Any]] = [
        {"name": "reason", "valueCoding": {"system": REASON, "code": reason}},
        {"name": "note", "valueString": note},
    ]
    if identifier:
        parameter.append({"name": "identifier", "valueIdentifier": identifier})
    return {"resourceType": "Parameters", "parameter": parameter}


CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"


async def test_an_emergency_ends_after_its_hours_and_is_one_accounts(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(hub, observation("o-chi-hiv", "chi", **HIV), owner="Organization/b")
    await put(hub, consent({"type": "deny"}, "chi") | {"id": "c"}, owner="Patient/chi")
    colleague = Account("account-linh", "linh", "practitioner", "linh", "Practitioner/dung", ("Organization/a",))
    await hub.store.records.put("account", colleague.id, colleague.data())
    doctor, now = hub.actor("dung"), time.time_ns() // 1_000_000
    assert (await doctor("POST", "Patient/chi/$emergency-access", opening())).status_code == 200
    monkeypatch.setitem(WHO, "linh", WHO["dung"])
    for name in ("Patient/chi", "Observation/o-chi", "Observation/o-chi-hiv"):
        assert await status(doctor, name) == SEEN, name
        for other in ("linh", "his-a"):
            assert await status(hub.actor(other), name) == DENIED, (other, name)
    later(monkeypatch, now + 3 * 3_600_000)
    assert await status(doctor, "Observation/o-chi-hiv") == SEEN
    later(monkeypatch, now + 4 * 3_600_000 + 60_000)
    for name in ("Patient/chi", "Observation/o-chi", "Observation/o-chi-hiv"):
        assert await status(doctor, name) == DENIED, name


async def test_an_emergency_opens_one_record_and_no_search(hub: Hub) -> None:
    doctor = hub.actor("dung")
    for number in ("01919000000", "019190000009", "0191900000", "%", "019190000003,019190000001", "0", ""):
        answer = await doctor("POST", "Patient/$emergency-access", opening(system=CCCD, value=number or " "))
        assert answer.status_code in (400, 404, 422), number
    for system in ("http://x.vn/mrn", "", "cccd/"):
        answer = await doctor("POST", "Patient/$emergency-access", opening(system=system or "x:y", value="019190000003"))
        assert answer.status_code in (400, 404, 422), system
    assert await status(doctor, "Patient/chi") == DENIED
    unknown = (await doctor("POST", "Patient/$emergency-access", opening(system=CCCD, value="019190000009"))).json()
    assert "chi" not in str(unknown).lower().split()
    assert (await doctor("POST", "Patient/$emergency-access", opening(system=CCCD, value="019190000003"))).status_code == 200
    assert await doctor.ids("Patient") == {"Patient/an", "Patient/binh", "Patient/chi"}


async def test_an_emergency_asks_for_a_reason_and_a_role(hub: Hub) -> None:
    url = "Patient/chi/$emergency-access"
    assert (await hub.actor("dung")("POST", url, opening(reason="HRESCH"))).status_code == 400
    assert (await hub.actor("dung")("POST", url, opening(note="ngắn"))).status_code == 400
    assert (await hub.actor("dung")("POST", url, opening(note=" " * 30))).status_code in (400, 422)
    assert (await hub.actor("dung")("GET", url)).status_code == 405
    for name in ("an", "carer", "his-a", "province", "operator", "auditor", "admin"):
        assert (await hub.actor(name)("POST", url, opening())).status_code == 403, name
    assert (await hub.actor("dung", organization=None)("POST", url, opening())).status_code == 403
    assert await status(hub.actor("dung"), "Patient/chi") == DENIED
    for kind in ("batch", "transaction"):
        entry = {"request": {"method": "POST", "url": url}, "resource": opening(note="ngắn")}
        await hub.actor("dung")("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
    assert await status(hub.actor("dung"), "Patient/chi") == DENIED


async def test_an_account_does_not_go_through_numbers(hub: Hub) -> None:
    doctor = hub.actor("dung")
    statuses = [
        (await doctor("POST", "Patient/$emergency-access", opening(system=CCCD, value=f"0191900{n:05}"))).status_code for n in range(10, 35)
    ]
    assert statuses == [404] * 20 + [429] * 5
    assert (await doctor("POST", "Patient/chi/$emergency-access", opening())).status_code == 429
    assert (await hub.actor("giang")("POST", "Patient/an/$emergency-access", opening())).status_code == 200, (
        "another account is not stopped by it"
    )
