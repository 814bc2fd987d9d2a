"""Edges of the rules: what follows from a right that has ended, from two rights together, from what stands beside the record."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from health_hub.auth.accounts import Accounts
from health_hub.auth.model import Account
from health_hub.store.model import Change
from tests.access.conftest import HIV, Hub, observation, owned, ref, role
from tests.access.test_consents import actor, consent, opening, put

INLINE = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
REDACTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "REDACTED"}
JSON_PATCH = {"Content_Type": "application/json-patch+json"}


def provenance(id: str, patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "id": id,
        "target": [ref(f"Patient/{patient}")],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"display": "phòng khám ngoại trú"}}],
    } | more


async def test_labels_hold_for_provenance_as_for_the_record(hub: Hub) -> None:
    await put(hub, provenance("p-open", "binh"), provenance("p-hiv", "binh", **HIV), owner="Organization/a")
    await put(hub, provenance("p-tboo", "an", meta={"security": [{"code": "TBOO"}]}), owner="Organization/a")
    for name in ("carer", "dung", "giang", "province"):
        reader = hub.actor(name)
        assert "Provenance/p-hiv" not in await reader.ids("Provenance"), name
        assert (await reader.get("Provenance/p-hiv")).status_code == 404, name
        assert (await reader.get("Provenance/p-open")).status_code == 200, name
    assert (await hub.actor("an").get("Provenance/p-tboo")).status_code == 404
    assert (await hub.actor("province", labels=("HIV",)).get("Provenance/p-hiv")).status_code == 200
    assert (await hub.actor("auditor").get("Provenance/p-hiv")).status_code == 200


async def test_a_carer_who_is_denied_does_not_follow_the_patient_through_the_trail(hub: Hub) -> None:
    await put(hub, provenance("p", "binh"), owner="Organization/a")
    assert (await hub.actor("giang").get("Observation/o-binh")).status_code == 200
    carer = hub.actor("carer")
    assert len(await carer.ids("AuditEvent?patient=Patient/binh")) >= 1
    await put(hub, consent({"type": "deny", "actor": [actor("RelatedPerson/me-binh")]}) | {"id": "c"}, owner="Patient/binh")
    assert await carer.ids("AuditEvent") == set()
    assert await carer.ids("Provenance") == set()
    assert (await carer.get("Provenance/p")).status_code == 404


async def test_who_is_no_carer_any_more_reads_nothing_of_the_patient(hub: Hub) -> None:
    carer = hub.actor("carer")
    made = (await carer("POST", "Consent", consent({"type": "permit", "actor": [actor("Organization/b")]}))).json()
    name = f"Consent/{made['id']}"
    assert (await carer.get(name)).status_code == 200
    ended = {"resourceType": "RelatedPerson", "id": "me-binh", "patient": ref("Patient/binh"), "active": False}
    await put(hub, ended, owner="Organization/a")
    hub.gate.directory._known.clear()
    after = hub.actor("carer")
    assert (await after.get("Patient/binh")).status_code in (403, 404)
    assert (await after.get(name)).status_code in (403, 404)
    assert (await after("PUT", name, made | {"status": "inactive"})).status_code in (403, 404)


async def test_a_carer_account_is_for_the_patient_it_was_made_for(hub: Hub) -> None:
    """The facility that owns the RelatedPerson can make it name any Patient it sees; the account does not follow."""
    his, accounts = hub.actor("his-a"), Accounts(hub.store)
    account = await accounts.add("me.binh", "carer", fhir_user="RelatedPerson/me-binh")
    assert account.patient == "Patient/binh"

    async def sees() -> list[bool]:
        hub.gate.directory.forget()
        carer = hub.actor("carer", subject=account.id)
        return [(await carer.get(f"Patient/{p}")).status_code == 200 for p in ("an", "binh")]

    related = {"resourceType": "RelatedPerson", "id": "me-binh", "patient": ref("Patient/binh"), "active": True}
    other = related | {"patient": ref("Patient/an")}
    assert await sees() == [False, True]
    assert (await his("PUT", "RelatedPerson/me-binh", other)).status_code == 200
    assert await sees() == [False, False]
    assert (await his("DELETE", "RelatedPerson/me-binh")).status_code in (200, 204)
    assert await sees() == [False, False]
    assert (await his("PUT", "RelatedPerson/me-binh", other)).status_code == 201
    assert await sees() == [False, False]
    assert (await his("PUT", "RelatedPerson/me-binh", related)).status_code == 200
    assert await sees() == [False, True]
    # Whose carer somebody is is said anew by who runs the accounts, not by the facility.
    assert (await his("PUT", "RelatedPerson/me-binh", other)).status_code == 200
    await accounts.change(account.id, name="Mẹ")
    assert await sees() == [False, False]
    assert (await accounts.bind(account.id)).patient == "Patient/an"
    assert await sees() == [True, False]


async def test_an_emergency_is_over_for_who_does_not_work_there_any_more(hub: Hub) -> None:
    assert (await hub.actor("dung")("POST", "Patient/chi/$emergency-access", opening())).status_code == 200
    assert (await hub.actor("dung").get("Observation/o-chi")).status_code == 200
    await put(hub, role("dung-a", "Practitioner/dung", "Organization/a") | {"active": False}, owner=None)
    hub.gate.directory._known.clear()
    for url in ("Observation/o-chi", "Patient/chi", "Observation/o-an"):
        assert (await hub.actor("dung").get(url)).status_code in (403, 404), url


async def test_an_emergency_does_not_stay_open_at_the_clinicians_other_facility(hub: Hub) -> None:
    await put(hub, {"resourceType": "Organization", "id": "c", "name": "C"}, role("dung-c", "Practitioner/dung", "Organization/c"))
    hub.gate.directory._known.clear()
    doctor = hub.actor("dung")
    assert (await doctor("POST", "Patient/chi/$emergency-access", opening())).status_code == 200
    team = {"resourceType": "CareTeam", "status": "active", "subject": ref("Patient/chi")}
    for party in ("PractitionerRole/dung-c", "Practitioner/dung", "PractitionerRole/dung-a"):
        answer = await doctor("POST", "CareTeam", team | {"participant": [{"member": ref(party)}]})
        assert answer.status_code == 403, (party, answer.text)


async def test_what_is_masked_is_not_lost_by_taking_the_mark_of_masking_off(hub: Hub) -> None:
    labelled = {"extension": [{"url": INLINE, "valueCoding": {"code": "HIV"}}]}
    masked = observation("o-an", "an", valueString="kín", _valueString=labelled)
    assert (await hub.actor("his-a", labels=("HIV",))("PUT", "Observation/o-an", masked)).status_code == 200
    doctor = hub.actor("dung")
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [REDACTED]}}]}
    await doctor("POST", "Observation/o-an/$meta-delete", body)
    shown = (await doctor.get("Observation/o-an")).json()
    assert "valueString" not in shown
    shown["meta"].pop("security", None)
    await doctor("PUT", "Observation/o-an", shown)
    found = await hub.store.view().read("Observation", "o-an")
    assert found is not None
    assert json.loads(found.doc or b"{}").get("valueString") == "kín"


@pytest.mark.parametrize("scope", ["system/Observation.u", "system/Observation.c", "system/Observation.cud", "system/Observation.d"])
async def test_a_right_to_write_is_no_right_to_read(hub: Hub, scope: str) -> None:
    writer = hub.actor("his-a", scope=scope)
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
    for method, url, sent, headers in (
        ("PATCH", "Observation/o-an", [], JSON_PATCH),
        ("PATCH", "Observation/o-an", [{"op": "test", "path": "/status", "value": "final"}], JSON_PATCH),
        ("PATCH", "Observation?_id=o-an", [], JSON_PATCH),
        ("POST", "Observation/o-an/$meta-add", body, {}),
        ("DELETE", "Observation?_id=o-an", None, {}),
        ("PUT", "Observation?_id=o-an", observation("o-an", "an"), {}),
        ("POST", "Observation", observation("x", "an"), {"If_None_Exist": "_id=o-an"}),
        ("GET", "Observation/o-an/$validate", None, {}),
        ("GET", "$graphql?query=" + quote('{Observation(id:"o-an"){status}}'), None, {}),
    ):
        answer = await writer(method, url, sent, **headers)  # type: ignore[arg-type]
        assert answer.status_code == 403 or "8867-4" not in answer.text, (method, url, answer.status_code, answer.text)
        assert '"final"' not in answer.text
    for kind in ("batch", "transaction"):
        for request, resource in (
            ({"method": "PATCH", "url": "Observation/o-an"}, {"resourceType": "Parameters"}),
            ({"method": "GET", "url": "Observation/o-an"}, None),
            ({"method": "POST", "url": "Observation", "ifNoneExist": "_id=o-an"}, observation("x", "an")),
        ):
            entry = {"request": request} | ({"resource": resource} if resource else {})
            answer = await writer("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
            assert "8867-4" not in answer.text, (kind, request, answer.text)


async def test_a_reference_of_ones_own_opens_nothing_behind_it(hub: Hub) -> None:
    """A facility may refer to what it does not see, other than Patients; searching through that finds what it sees."""
    mark = [{"system": "http://x.vn/id", "value": "verborgen"}]
    await put(hub, observation("o-chi", "chi", identifier=mark), owner="Organization/b")
    his = hub.actor("his-a")
    listing = {"resourceType": "List", "id": "l", "status": "current", "mode": "working", "subject": ref("Patient/an"),
               "entry": [{"item": ref("Observation/o-chi")}, {"item": ref("Observation/unknown")}]}  # fmt: skip
    assert (await his("PUT", "List/l", listing)).status_code == 201
    member = observation("o-m", "an", hasMember=[ref("Observation/o-chi")], derivedFrom=[ref("Observation/o-chi")])
    assert (await his("PUT", "Observation/o-m", member)).status_code == 201
    for url in (
        "List?item:Observation.identifier=verborgen", "List?item:Observation.status=final", "List?item.identifier=verborgen",
        "Observation?has-member.identifier=verborgen", "Observation?derived-from:Observation.code=8867-4", "Observation?_list=l",
        "List?_filter=" + quote("item.identifier eq verborgen"), "Observation?_has:Observation:has-member:_id=o-m",
        "Observation?has-member:identifier=verborgen", "Observation?has-member:Observation.patient=Patient/chi",
        "Observation?_list=l&_total=estimate&_count=0", "Observation?has-member.subject:Patient.identifier=019190000003",
        "Patient?_has:Observation:subject:has-member.identifier=verborgen",
    ):  # fmt: skip
        answer = await his.get(url + "&_total=accurate" if "_total" not in url else url)
        assert answer.status_code in (200, 400), url
        if answer.status_code == 200:
            assert answer.json().get("total") == 0, (url, answer.text)
    deep = '{List(id:"l"){entry{item{resource(optional:true){...on Observation{status}}}}}}'
    for url in ("List/l?_include=List:item", "List?_id=l&_include=List:item", "List?_include:iterate=*", "Observation?_id=o-m&_include=*",
                "Patient/an/$everything", "$graphql?query=" + quote(deep)):  # fmt: skip
        assert "verborgen" not in (await his.get(url)).text, url


async def test_totals_of_any_kind_count_what_is_seen(hub: Hub) -> None:
    kinds = ("_total=estimate", "_total=accurate", "_summary=count", "_total=estimate&_count=1", "_total=accurate&_sort=-_lastUpdated")
    for name, number in (("an", 2), ("dung", 3), ("his-b", 3), ("carer", 2)):
        who = hub.actor(name)
        for asked in kinds:
            assert (await who.get(f"Observation?{asked}")).json()["total"] == number, (name, asked)


async def test_an_asynchronous_answer_is_for_the_rights_it_was_asked_with(hub: Hub) -> None:
    wide = hub.actor("an", scope="user/*.rs")
    job = (await wide("GET", "Observation", Prefer="respond-async")).headers["Content-Location"].split("/fhir/")[1]
    for _ in range(200):
        if (await wide.get(job)).status_code == 200:
            break
        await asyncio.sleep(0.02)
    assert "o-an" in (await wide.get(job)).text
    narrow = hub.actor("an", scope="patient/Patient.r", patient="an")
    for method in ("GET", "DELETE"):
        assert (await narrow(method, job)).status_code == 404
    assert (await hub.actor("an", scope="user/*.rs").get(job)).status_code == 200, "a new token with the same rights"


async def test_two_accounts_of_one_client_do_not_share_what_their_author_names(hub: Hub) -> None:
    """Who has no resource of their own in the record is noted as the client: that gives nobody a right."""
    theirs = Change("update", "Observation", "o-own", observation("o-own", "chi"))
    await hub.store.commit([theirs], by=owned("Organization/b", "Client/app"))
    for name in ("operator", "his-a", "an", "dung"):
        assert (await hub.actor(name).get("Observation/o-own")).status_code in (403, 404)
    account = await hub.store.records.get("account", "account-operator")
    assert account is not None
    assert await hub.gate.directory.facilities(Account.of(account.data)) == ("Organization/a",)


def entry(method: str, url: str, resource: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"request": {"method": method, "url": url}} | ({"resource": resource} if resource is not None else {})


async def told(hub: Hub) -> dict[str, set[str]]:
    """The patients of each AuditEvent that names any, by its id."""
    events = [e["resource"] for e in (await hub.actor("auditor").get("AuditEvent?_count=500")).json().get("entry", ())]
    names = {e["id"]: {n["what"]["reference"] for n in e.get("entity", ()) if "reference" in n.get("what", {})} for e in events}
    found = {id: {n for n in listed if n.startswith("Patient/")} for id, listed in names.items()}
    return {id: patients for id, patients in found.items() if patients}


async def news(hub: Hub, before: dict[str, set[str]]) -> list[set[str]]:
    return sorted((patients for id, patients in (await told(hub)).items() if id not in before), key=sorted)


READS = [
    entry("GET", "Patient/an"),
    entry("GET", "Observation?patient=an"),
    entry("GET", "Observation/o-an/_history"),
    entry("GET", "Patient/an/$everything"),
    entry("POST", "Patient/an/$everything", {"resourceType": "Parameters"}),
    entry("POST", "Observation/o-an/$validate", {"resourceType": "Parameters"}),
    entry("POST", "Observation/o-an/$meta", {"resourceType": "Parameters"}),
]
TAG = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
WRITES = [
    entry("POST", "Observation", observation("x", "binh")),
    entry("PUT", "Observation?_id=o-binh", observation("o-binh", "binh")),
    entry("POST", "Observation/o-binh/$meta-add", TAG),
    entry("DELETE", "Observation/o-binh"),
]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("order", [1, -1], ids=["read first", "written first"])
async def test_what_a_bundle_reads_is_told_also_when_it_writes(hub: Hub, kind: str, order: int) -> None:
    doctor, answered = hub.actor("dung"), 0
    for read, write in zip(READS, WRITES * 2, strict=False):
        before = await told(hub)
        answer = await doctor("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [read, write][::order]})
        if answer.status_code != 200:  # a transaction takes no operations that write
            continue
        found = answer.json()["entry"][::order][0]
        assert found["response"]["status"][:3] == "200", answer.text
        answered += 1
        assert {n for names in await news(hub, before) for n in names} >= {"Patient/an"}, (read, write)
    assert answered >= 4


async def test_what_a_conditional_create_shows_in_a_batch_is_told(hub: Hub) -> None:
    """An entry that answers with what is there already, beside one that writes about somebody else."""
    existing = entry("POST", "Observation", observation("x", "an"))
    existing["request"]["ifNoneExist"] = "_id=o-an"
    entries = [existing, entry("POST", "Observation", observation("x", "binh"))]
    for kind in ("batch", "transaction"):
        for order in (1, -1):
            before = await told(hub)
            bundle = {"resourceType": "Bundle", "type": kind, "entry": entries[::order]}
            answer = await hub.actor("dung")("POST", "", bundle, Prefer="return=representation")
            assert answer.status_code == 200, answer.text
            assert "o-an" in answer.text
            assert {n for names in await news(hub, before) for n in names} == {"Patient/an", "Patient/binh"}, (kind, order)
