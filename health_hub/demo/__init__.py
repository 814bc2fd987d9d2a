"""Demo records of a province, made in code: the same every time, no real person among them, each tagged as test data."""

import time
from typing import Any

from health_hub.demo.care import care
from health_hub.demo.consult import appointment
from health_hub.demo.people import people
from health_hub.demo.province import facilities, staff
from health_hub.store.model import AlreadyDone, Change
from health_hub.store.store import Store

# A new number when the records change: a database that has the old ones then gets the new.
MARK = "demo 3"
# v3-ActReason HTEST is HL7's own label for made-up records.
TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data"}


def records() -> list[dict[str, Any]]:
    """Every demo resource, each before those that refer to it."""
    places = facilities()
    doctors = staff(places)
    patients = people(places, doctors)
    made = [*places.resources, *doctors.resources, *patients, *care(places, doctors, patients)]
    return [{"resourceType": r.pop("resourceType"), "id": r.pop("id"), "meta": {"tag": [dict(TAG)]}, **r} for r in made]


def _owned(resources: list[dict[str, Any]]) -> list[Change]:
    """Each of the facility that wrote it: where the encounter was, or that manages the patient. The directory is the province's."""
    of: dict[str, str] = {}
    changes = []
    for r in resources:
        name = f"{r['resourceType']}/{r['id']}"
        subject: dict[str, Any] = (
            r.get("subject") or r.get("patient") or next((p["actor"] for p in r.get("participant", ()) if "actor" in p), {})
        )
        place = r.get("serviceProvider") or (r.get("managingOrganization") if r["resourceType"] in ("Patient", "EpisodeOfCare") else None)
        visit = of.get((r.get("encounter") or {}).get("reference", ""))
        near = (place or {}).get("reference") or visit or of.get(subject.get("reference", ""))
        if near is not None:
            of[name] = near
        changes.append(Change("update", r["resourceType"], r["id"], r, owner=near))
    return changes


async def load(store: Store) -> int:
    """Commit them, all at once and only once a database; the number of resources, 0 when they were there."""
    if await store.marked([MARK]):
        return 0
    changes = _owned(records())
    try:
        await store.commit(changes, mark=MARK)
    except AlreadyDone:  # another worker was faster
        return 0
    return len(changes)


async def consultation(store: Store) -> str:
    """A video consultation that is open today, made anew at each start: `Appointment/1`."""
    made = appointment(int(time.time())) | {"meta": {"tag": [dict(TAG)]}}
    await store.commit([Change("update", "Appointment", made["id"], made, owner="Organization/bvdk-tinh")])
    return f"Appointment/{made['id']}"
