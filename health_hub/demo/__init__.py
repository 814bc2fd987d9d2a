"""Demo records of a province, made in code: the same every time, no real person among them, each tagged as test data."""

from typing import Any

from health_hub.demo.care import care
from health_hub.demo.people import people
from health_hub.demo.province import facilities, staff
from health_hub.store.model import AlreadyDone, Change
from health_hub.store.store import Store

# A new number when the records change: a database that has the old ones then gets the new.
MARK = "demo 2"
# v3-ActReason HTEST is HL7's own label for made-up records.
TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data"}


def records() -> list[dict[str, Any]]:
    """Every demo resource, each before those that refer to it."""
    places = facilities()
    doctors = staff(places)
    patients = people(places, doctors)
    made = [*places.resources, *doctors.resources, *patients, *care(places, doctors, patients)]
    return [{"resourceType": r.pop("resourceType"), "id": r.pop("id"), "meta": {"tag": [dict(TAG)]}, **r} for r in made]


async def load(store: Store) -> int:
    """Commit them, all at once and only once a database; the number of resources, 0 when they were there."""
    if await store.marked([MARK]):
        return 0
    changes = [Change("update", r["resourceType"], r["id"], r) for r in records()]
    try:
        await store.commit(changes, mark=MARK)
    except AlreadyDone:  # another worker was faster
        return 0
    return len(changes)
