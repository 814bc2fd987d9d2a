"""What a resource says about who cares for whom: treatment relationships (docs/security.md, "Who may see what").

A relationship joins a party (facility, practitioner, role, service or place) and a Patient for a time. The store keeps those
of every current resource beside it and takes them away with it, so that what is asked of them is always the state of now.
"""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any

from health_hub.fhir import dates, keys
from health_hub.fhir.index.settings import local

ALWAYS = (-(2**62), 2**62)
DAY = 86_400_000  # ms
_after_encounter = 90 * DAY
_before_appointment = 7 * DAY
_LENT = keys.value("L", "lent")
TYPES = frozenset(("Encounter", "Appointment", "ServiceRequest", "Task", "CareTeam", "EpisodeOfCare"))
PARTIES = ("Organization/", "Practitioner/", "PractitionerRole/", "HealthcareService/", "Location/", "CareTeam/")


def lent(party: int) -> int:
    """The party under whose name a relationship stands that is lent: it lets see, and makes no further ones that last longer."""
    return party ^ _LENT


def set_durations(after_encounter_days: int, before_appointment_days: int) -> None:
    """How long a visit that is over, or one to come, is a relationship; a database has to be reindexed when it changes."""
    global _after_encounter, _before_appointment
    _after_encounter, _before_appointment = after_encounter_days * DAY, before_appointment_days * DAY


def durations() -> str:
    """For the fingerprint of what is derived from resources."""
    return f"{_after_encounter // DAY} {_before_appointment // DAY}"


def relations(
    resource: dict[str, Any], persons: Iterable[int], owner: str | None, author: str | None, now: int, zone: tzinfo
) -> list[tuple[int, int, int, int]]:
    """(party, person, since, until) in ms since 1970, parties and persons as `keys.reference`.

    owner: the facility the resource belongs to, a party of its Encounters and Appointments. author: who made it; a practitioner's own
    Encounter makes no relationship unless it is for an appointment.
    """
    found = _parties(resource, owner, author, now, zone)
    if found is None:
        return []
    parties, since, until = found
    hashed = {keys.reference(p) for p in map(local, parties) if p.startswith(PARTIES)}
    return [(party, person, since, until) for party in sorted(hashed) for person in persons]


def _parties(
    r: dict[str, Any], owner: str | None, author: str | None, now: int, zone: tzinfo
) -> tuple[list[str], int, int] | None:
    status = r.get("status")
    own = [owner] if owner else []
    match r.get("resourceType"):
        case "Encounter":
            if author is not None and author.startswith(("Practitioner/", "PractitionerRole/")) and not r.get("appointment"):
                return None
            since, until = _period(r.get("period"), zone)
            if status in ("arrived", "triaged", "in-progress", "onleave"):
                end = ALWAYS[1]
            elif status == "finished":
                end = (until if until < ALWAYS[1] else since if since > ALWAYS[0] else now) + _after_encounter
            else:
                return None
            return [*_refs([r.get("serviceProvider")]), *own, *_refs(p.get("individual") for p in _list(r, "participant"))], since, end
        case "Appointment":
            if status not in ("proposed", "pending", "booked", "arrived", "fulfilled", "checked-in", "waitlist"):
                return None
            start, last = _instant(r.get("start"), zone), _instant(r.get("end"), zone)
            if start is None:
                return None
            actors = _refs(p.get("actor") for p in _list(r, "participant") if p.get("status") != "declined")
            return [*actors, *own], start - _before_appointment, max(last if last is not None else start + DAY, start)
        case "ServiceRequest":
            return (_refs(_list(r, "performer")), *ALWAYS) if status == "active" else None
        case "Task":
            if status not in ("requested", "received", "accepted", "in-progress", "ready", "on-hold"):
                return None
            return (_refs([r.get("owner")]), *ALWAYS)
        case "CareTeam":
            if status not in (None, "active"):
                return None
            members = _refs(p.get("member") for p in _list(r, "participant"))
            return ([*members, *_refs(_list(r, "managingOrganization"))], *_period(r.get("period"), zone))
        case "EpisodeOfCare":
            if status not in ("active", "onhold"):
                return None
            return (_refs([r.get("managingOrganization"), r.get("careManager"), *_list(r, "team")]), *_period(r.get("period"), zone))
    return None


def _list(resource: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = resource.get(name)
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _refs(values: Iterable[Any]) -> list[str]:
    return [v["reference"] for v in values if isinstance(v, dict) and isinstance(v.get("reference"), str)]


def _instant(text: Any, zone: tzinfo) -> int | None:
    try:
        return dates.span(text, zone)[0] // 1000 if isinstance(text, str) else None
    except ValueError:
        return None


def _period(period: Any, zone: tzinfo) -> tuple[int, int]:
    low, high = ALWAYS
    if isinstance(period, dict):
        start = _instant(period.get("start"), zone)
        low = low if start is None else start
        try:
            high = dates.span(period["end"], zone)[1] // 1000 if isinstance(period.get("end"), str) else high
        except ValueError:
            pass
    return low, high
