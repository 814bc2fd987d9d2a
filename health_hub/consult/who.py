"""Who may join a consultation, and as what: the people named in an Encounter (class VR) or an Appointment, as the asking person may see it.

What somebody may not see, what does not exist and what does not name them are the same refusal.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from health_hub.access.gate import Access, Gate
from health_hub.access.principal import Principal
from health_hub.fhir import dates
from health_hub.fhir.index.settings import local
from health_hub.fhir.json import loads
from health_hub.settings import Settings
from health_hub.store.model import Stored
from telemed.rooms.roles import Role
from telemed.tokens import NAME_CHARS

KINDS = ("Appointment", "Encounter")
OPEN = {
    "Appointment": frozenset(("pending", "booked", "arrived", "checked-in")),
    "Encounter": frozenset(("planned", "arrived", "triaged", "in-progress", "onleave")),
}
MICRO = 1_000_000
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}").fullmatch
_TYPES = {"TRANS": Role.INTERPRETER, "translator": Role.INTERPRETER, "CON": Role.SPECIALIST, "SPRF": Role.SPECIALIST}
HOSTS = frozenset((Role.DOCTOR, Role.SPECIALIST))  # who may invite guests


class NotHere(LookupError):
    """No such consultation for this person."""


class Closed(Exception):
    """Named in it, and it is not open. `why`: early or over; opens: seconds since 1970 UTC, of early."""

    def __init__(self, why: str, opens: int = 0) -> None:
        super().__init__(why)
        self.why, self.opens = why, opens


@dataclass(frozen=True, slots=True)
class Consultation:
    """An Encounter or Appointment as a place to meet."""

    kind: str
    id: str
    resource: dict[str, Any]

    @property
    def room(self) -> str:
        """Its name for the relay."""
        return f"{self.kind}.{self.id}"

    @property
    def path(self) -> str:
        return f"/consult/{self.kind}/{self.id}"

    def check_open(self, settings: Settings, now: float | None = None) -> None:
        """Raises Closed."""
        if self.resource.get("status") not in OPEN[self.kind]:
            raise Closed("over")
        at = int((time.time() if now is None else now) * MICRO)
        if self.kind == "Encounter":
            ends = span((self.resource.get("period") or {}).get("end"))
            if ends is not None and ends[1] < at:
                raise Closed("over")
            return
        starts, ends = span(self.resource.get("start")), span(self.resource.get("end"))
        if starts is not None and (opens := starts[0] - settings.consult_minutes_before * 60 * MICRO) > at:
            raise Closed("early", opens // MICRO)
        last = ends or starts
        if last is not None and last[1] + settings.consult_hours_after * 3600 * MICRO < at:
            raise Closed("over")

    def named(self) -> Iterator[tuple[str, frozenset[str]]]:
        """(`Type/id`, codes of the participation) of people, roles, places and services in it."""
        if self.kind == "Encounter":
            yield _reference(self.resource.get("subject")), frozenset()
        for participant in _list(self.resource.get("participant")):
            who = participant.get("individual" if self.kind == "Encounter" else "actor")
            if participant.get("status") != "declined" and _current(participant.get("period")):
                codes = {str(c.get("code")) for t in _list(participant.get("type")) for c in _list(t.get("coding"))}
                yield _reference(who), frozenset(codes)

    def displays(self) -> Iterator[tuple[str, str]]:
        """(participant of the relay, display) of those whose reference has one."""
        parts = [p.get("individual" if self.kind == "Encounter" else "actor") for p in _list(self.resource.get("participant"))]
        for who in (self.resource.get("subject"), *parts):
            if isinstance(who, dict) and isinstance(who.get("display"), str) and (name := _reference(who)):
                yield name.replace("/", "."), who["display"]

    def patients(self) -> list[str]:
        """Bare ids of the Patients in it."""
        return list(dict.fromkeys(name.partition("/")[2] for name, _ in self.named() if name.startswith("Patient/")))

    def places(self) -> set[str]:
        """`Organization/1`, `Location/1` ... where it takes place."""
        found = {_reference(self.resource.get("serviceProvider"))}
        found |= {_reference(place.get("location")) for place in _list(self.resource.get("location"))}
        found |= {name for name, _ in self.named() if name.startswith(("Location/", "HealthcareService/", "PractitionerRole/"))}
        return found - {""}


@dataclass(frozen=True, slots=True)
class Seat:
    """As what somebody joins. participant: their name for the relay, the same each time."""

    consultation: Consultation
    participant: str
    name: str
    role: Role


def consultation(stored: Stored | None) -> Consultation | None:
    """None for what is no place to meet: absent, deleted, or an Encounter that is not virtual."""
    if stored is None or stored.deleted or stored.doc is None:
        return None
    resource = loads(stored.doc)
    if stored.type == "Encounter" and (resource.get("class") or {}).get("code") != "VR":
        return None
    return Consultation(stored.type, stored.id, resource)


async def seat(gate: Gate, access: Access, kind: str, id: str, *, closed: bool = False) -> Seat:
    """Where the person sits. closed: in one that is over, too.

    Raises NotHere, and Closed for who is named in one that is not open.
    """
    if kind not in KINDS or not _ID(id):
        raise NotHere
    found = consultation(await access.view(gate.store, "r").read(kind, id))
    sits = await seated(gate, access.who, found) if found is not None else None
    if found is None or sits is None:
        raise NotHere
    if not closed:
        found.check_open(gate.authority.settings)
    return sits


async def seated(gate: Gate, who: Principal, found: Consultation) -> Seat | None:
    """Where they sit in a consultation that they see, whether it is open or not; None: they are not in it."""
    named = await _as(gate, who, found)
    if named is None:
        return None
    reference, role = named
    return Seat(found, reference.replace("/", "."), (who.claims.name or reference)[:NAME_CHARS], role)


async def _as(gate: Gate, who: Principal, found: Consultation) -> tuple[str, Role] | None:
    """(who they are in it, as what); None: not in it."""
    named = dict(found.named())
    match who.role:
        case "patient":
            # Linked records of one person are one participant, whichever of them is named.
            return next(((f"Patient/{p}", Role.PATIENT) for p in who.persons if f"Patient/{p}" in named), None)
        case "carer" if who.me and (who.me in named or any(f"Patient/{p}" in named for p in who.persons)):
            return who.me, Role.CARER
        case "practitioner" | "nurse" if who.me and who.facility:
            own = [who.me, *await gate.directory.roles(who.me, who.facility)]
            codes = [named[name] for name in own if name in named]
            if codes:
                special = next((_TYPES[code] for code in sorted(codes[0]) if code in _TYPES), None)
                return who.me, special or (Role.DOCTOR if who.role == "practitioner" else Role.NURSE)
            if who.role == "nurse" and found.places() & set(await gate.directory.parts(who.facility)):
                return who.me, Role.NURSE  # of the station where it takes place
    return None


def _reference(value: Any) -> str:
    said = value.get("reference") if isinstance(value, dict) else None
    return local(said) if isinstance(said, str) else ""


def _list(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def span(text: Any) -> tuple[int, int] | None:
    """First and last microsecond of a date; None for what is none."""
    try:
        return dates.span(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _current(period: Any) -> bool:
    if not isinstance(period, dict):
        return True
    now, starts, ends = time.time_ns() // 1000, span(period.get("start")), span(period.get("end"))
    return (starts is None or starts[0] <= now) and (ends is None or ends[1] > now)
