"""Emergency access: a clinician opens a record without a relationship, for a reason, for some hours, and everybody concerned sees it."""

import time
from dataclasses import dataclass
from typing import Any

from fhir_profiles.tables import search_params
from health_hub.access import entry as entries
from health_hub.access.gate import EMERGENCY, Access
from health_hub.fhir import keys
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.search.query import Query, Test, TokenValue
from health_hub.store.model import Change, Relation, Stored
from health_hub.store.records import Conflict
from health_hub.store.store import Store

NOTE = 10, 1000  # characters of the reason in words
# Numbers that stand for a person everywhere; one that a facility gives does not.
EXACT = ("cccd", "bhyt", "bhxh")
WINDOW, MOST = 3600, 20  # seconds, and how many persons one account may open within them
SAME = 10  # Patients of one number: each facility that registered the person has its own


@dataclass(frozen=True, slots=True)
class Granted:
    """`until`: ms since 1970 UTC."""

    patients: list[Stored]
    until: int


def may(access: Access) -> None:
    """FhirError 403 for anyone who is no clinician at work."""
    if access.who.role not in ("practitioner", "nurse") or access.who.facility is None:
        raise FhirError(403, Issue("forbidden", "emergency access is for practitioners and nurses acting for a facility"))


async def by_id(store: Store, id: str) -> list[Stored]:
    """One or none."""
    found = await store.view().read("Patient", id)
    return [] if found is None or found.deleted else [found]


async def by_identifier(store: Store, identifier: dict[str, Any]) -> list[Stored]:
    """Every Patient with exactly this CCCD, BHYT or BHXH number, for it is one person's; it does not open search.

    None where more have it than facilities could have registered the person: then it is no person's number.
    """
    system, value = identifier.get("system"), identifier.get("value")
    if not isinstance(system, str) or not isinstance(value, str) or not 5 < len(value) < 30 or system.rpartition("/")[2] not in EXACT:
        raise bad_request("identifier is a whole CCCD, BHYT or BHXH number with its system", "value", "Parameters.parameter")
    query = Query(("Patient",), (Test(search_params("Patient")["identifier"], None, (TokenValue(system, value),)),), count=SAME + 1)
    ids = (await store.view().find([query], SAME + 1))[0]
    return [] if len(ids) > SAME else [patient for id in ids for patient in await by_id(store, id)]


async def grant(store: Store, access: Access, patients: list[Stored], reason: str, note: str, hours: float, name: str) -> Granted:
    """FhirError 404 when the person is not known, 429 when an account opens too many. name: what was asked for, for the trail."""
    may(access)
    if reason not in EMERGENCY:
        raise bad_request(f"reason is one of {', '.join(sorted(EMERGENCY))} of v3-ActReason", "value", "Parameters.parameter")
    note = note.strip()
    if not NOTE[0] <= len(note) <= NOTE[1]:
        raise bad_request(f"note says in {NOTE[0]} to {NOTE[1]} characters why the record is needed", "value", "Parameters.parameter")
    who = access.who
    await _within_bounds(store, who.claims.subject)
    if not patients:
        raise FhirError(404, Issue("not-found", f"{name[:100]} is not known"))
    now = time.time_ns() // 1_000_000
    until = now + int(hours * 3_600_000)
    access.shown = list(patients)
    said = entries.decode(access.entry("emergency", "E", 200, name))
    said.purpose, said.note, said.first = reason, note, True
    relations = [Relation(who.account, keys.reference(p.reference), now, until) for p in patients]
    notices = [Change("create", "Communication", None, _notice(store, access, p, note, now, until), method="POST") for p in patients]
    await store.commit(notices, relations=relations, trail=[entries.encode(said)])
    access.told = True
    return Granted(patients, until)


async def _within_bounds(store: Store, account: str) -> None:
    """Counted in the database: an account cannot go through numbers, whatever worker it asks."""
    now = int(time.time())
    for _ in range(10):
        record = await store.records.get("emergency-count", account)
        times = [t for t in (record.data["times"] if record else ()) if t > now - WINDOW]
        if len(times) >= MOST:
            raise FhirError(429, Issue("throttled", f"{MOST} records in an hour were opened by this account"), [("Retry-After", "600")])
        try:
            await store.records.put(
                "emergency-count", account, {"times": [*times, now]}, version=record.version if record else 0, expires=(now + WINDOW) * 1000
            )
            return
        except Conflict:
            continue
    raise FhirError(409, Issue("conflict", "others are using this account; try again"))


def _notice(store: Store, access: Access, patient: Stored, note: str, now: int, until: int) -> dict[str, Any]:
    """What the patient is told, in their record, in both languages."""
    who, ends = access.who, store.clock.text(until)
    name = who.claims.name or who.me or ""
    vi = f"Hồ sơ của bạn được mở trong trường hợp khẩn cấp bởi {name}, đến {ends}. Lý do: {note}"
    en = f"Your record was opened in an emergency by {name}, until {ends}. Reason: {note}"
    language = loads(patient.doc or b"{}").get("language")
    return {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "notification"}]}],
        "subject": {"reference": patient.reference},
        "recipient": [{"reference": patient.reference}],
        "sent": store.clock.text(now),
        "payload": [{"contentString": text} for text in ((en, vi) if language == "en" else (vi, en))],
    } | ({"sender": {"reference": who.me}} if who.me else {})



