"""A Principal and the scopes of their token as a Filter for reading and a Writer for writing (docs/security.md; authorization.md's table).

What a role may see is said once, as conditions on rows; a scope cuts that down to types, interactions, the patient in context and
its own search restrictions. Nothing here looks at a request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from fhir_profiles.tables import RESOURCE_TYPES, type_number
from health_hub.access import types
from health_hub.access.principal import Principal, person_keys
from health_hub.auth.scopes import Scope
from health_hub.fhir import keys
from health_hub.fhir.consent import ANYONE, Viewer
from health_hub.fhir.index.registry import by_url, params
from health_hub.fhir.labels import BITS, EVERY
from health_hub.fhir.relations import lent
from health_hub.fhir.search.parse import parse
from health_hub.fhir.search.query import Test
from health_hub.fhir.search.split import split_query
from health_hub.store.condition import (
    EVERYTHING,
    NOTHING,
    All,
    Any_,
    Condition,
    Decided,
    Keys,
    Not_,
    Owned,
    Persons,
    Related,
    Unlabelled,
    Written,
    all_,
    any_,
    not_,
)
from health_hub.store.model import Filter, Grant, Writer
from health_hub.store.search.values import test

CLINICIANS = ("practitioner", "nurse")
# What a patient sees of their own record without any right of their own: all but what a clinician wants to tell them in person.
OWN_HIDDEN = BITS["TBOO"]


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token may do. read: `r` (read, vread, history, operations), search: `s`."""

    read: Filter
    search: Filter
    writer: Writer


# --- what a role sees, whatever the scopes


def reads(who: Principal) -> dict[str, Condition]:
    """By resource type; what is not in it is not seen."""
    out: dict[str, Condition] = {}

    def put(names: frozenset[str], condition: Condition) -> None:
        out.update(dict.fromkeys(names, condition))

    match who.role:
        case "patient" | "carer":
            put(types.DIRECTORY | types.DEFINITIONS, EVERYTHING)
            # What they wrote themselves too, as long as there is anybody whose record is theirs.
            put(types.CLINICAL, any_((_own(who), Written(who.me))) if who.me and who.persons else NOTHING)
            for name in types.MESSAGES:
                out[name] = any_((out[name], _addressed(who, name)))
            # Whom a carer is denied to see they do not follow through the visits that the trail tells of either.
            put(types.TRAIL, _own(who))
        case "practitioner" | "nurse":
            put(types.DIRECTORY | types.DEFINITIONS, EVERYTHING)
            # An emergency is met at work: it is over for who does not work there any more.
            opened = Related((who.account,)) if who.facility else NOTHING
            put(types.CLINICAL | {"Provenance"}, any_((_treated(who), opened, *_written(who))))
        case "system" if who.facility is None:
            put(frozenset(RESOURCE_TYPES) - {"AuditEvent"}, Any_((Owned((None,)), Unlabelled(EVERY & ~who.labels))))
        case "system":
            put(types.DIRECTORY | types.DEFINITIONS, EVERYTHING)
            put(types.CLINICAL | {"Provenance"}, any_((Owned((who.facility,)), _treated(who))))
            put(types.OTHER, Owned((who.facility,)))
        case "operator":
            put(types.DIRECTORY | types.DEFINITIONS, EVERYTHING)
            put(frozenset(("Device",)), Owned((who.facility,)) if who.facility else NOTHING)
        case "auditor":
            put(types.TRAIL, EVERYTHING)
    return out


def _viewer(who: Principal) -> Viewer:
    actors = {*who.parties, *((keys.reference(who.me),) if who.me else ())}
    return Viewer(frozenset(actors), frozenset(("TREAT",) if who.role in (*CLINICIANS, "system") else ("PATRQT", "FAMRQT")))


def _own(who: Principal) -> Condition:
    persons = Persons(person_keys(who.persons))
    if who.role == "patient":
        return all_((persons, Unlabelled(OWN_HIDDEN & ~who.labels))) if who.persons else NOTHING
    allowed = (persons, Unlabelled(EVERY & ~who.labels), not_(Decided(_viewer(who), "deny")))
    return all_(allowed) if who.persons else NOTHING


def _addressed(who: Principal, name: str) -> Condition:
    """Messages to them, about whomever, as that person's Consents and labels allow."""
    if not who.me or not who.persons:
        return NOTHING
    mine = dict.fromkeys((who.me, *(f"Patient/{p}" for p in who.persons)) if who.role == "patient" else (who.me,))
    sent = Keys(tuple(keys.parameter(name, "recipient") ^ keys.reference(m) for m in mine))
    return all_((sent, Unlabelled(EVERY & ~who.labels), not_(Decided(_viewer(who), "deny"))))


def _written(who: Principal) -> tuple[Condition, ...]:
    return (All((Written(who.me), Owned((who.facility,)))),) if who.me and who.facility else ()


def _treated(who: Principal) -> Condition:
    """Patients with whom the facility, or the person, has a treatment relationship, as Consents and labels allow."""
    if not who.parties:
        return NOTHING
    viewer = _viewer(who)
    parties = (*who.parties, *map(lent, who.parties))
    reached = Any_((Related(parties), Decided(viewer, "permit")))
    return All((reached, Not_(Decided(viewer, "deny", parties)), Unlabelled(EVERY & ~who.labels)))


# --- what a role writes


def _writes(who: Principal) -> tuple[dict[str, Condition], dict[str, Condition], dict[str, Condition]]:
    """(create, update, delete) by resource type."""
    match who.role:
        case "patient" | "carer" if who.me and who.persons:
            about = Persons(person_keys(who.persons))
            create: dict[str, Condition] = dict.fromkeys(types.PATIENT_WRITES, about)
            create["Binary"] = Any_((about, Written(who.me)))
            # Self-reported: they say themselves that they measured it.
            performed = Keys((keys.parameter("Observation", "performer") ^ keys.reference(who.me),))
            create["Observation"] = All((about, performed))
            update: dict[str, Condition] = {t: All((c, Written(who.me))) for t, c in create.items()}
            if who.role == "patient":
                update["Consent"] = about  # withdrawn by the patient, whoever wrote it; a carer withdraws their own
            return create, update, {}
        case "practitioner" | "nurse" if who.facility:
            own: Condition = Owned((who.facility,))
            every = dict.fromkeys(types.CLINICIAN_WRITES, own)
            return every, every, dict.fromkeys(types.CLINICIAN_WRITES, own)
        case "operator" if who.facility:
            every = dict.fromkeys(types.OPERATOR_WRITES, Owned((who.facility,)))
            return every, every, every
        case "system" if who.facility is None:
            every = dict.fromkeys(types.PROVINCE_WRITES, Owned((None,)))
            return every, every, every
        case "system":
            every = dict.fromkeys(types.SYSTEM_WRITES, Owned((who.facility,)))
            return every, every, every
    return {}, {}, {}


def _may_write_about(who: Principal) -> Condition:
    """The Patients that what they write may be about."""
    match who.role:
        case "patient" | "carer":
            return Persons(person_keys(who.persons)) if who.persons else NOTHING
        case "practitioner" | "nurse":
            return any_((_treated(who), Related((who.account,))))
        case "system" if who.facility is None:
            return EVERYTHING
        case "system":
            return any_((Owned((who.facility,)), _treated(who)))
    return NOTHING


def _whole(who: Principal) -> Condition:
    """The Patients whose record is theirs, or their facility's, by more than an emergency or a Consent to a part of it."""
    match who.role:
        case "practitioner" | "nurse":
            return Related(who.parties) if who.parties else NOTHING
        case "system" if who.facility is not None:
            return any_((Owned((who.facility,)), Related(who.parties)))
    return EVERYTHING


# --- scopes


@dataclass(slots=True)
class Policy:
    """Makes Rights; one a process. zone and base are those that searches are read with."""

    zone: ZoneInfo
    base: str
    _restrictions: dict[tuple[str, str], Condition] = field(default_factory=dict)

    def rights(self, who: Principal, scopes: Sequence[Scope]) -> Rights:
        seen = reads(who)
        create, update, delete = _writes(who)
        read = self._filter(who, scopes, seen, lambda s: s.r)
        search = self._filter(who, scopes, seen, lambda s: s.s)
        may_create = self._filter(who, scopes, create, lambda s: s.c)
        may_update = self._filter(who, scopes, update, lambda s: s.u)
        may_delete = self._filter(who, scopes, delete, lambda s: s.d)
        # A writer needs no right to read: what stands under an id is judged by what their role sees of it.
        whole = Filter(tuple(_grants({type_number(t): c for t, c in seen.items()})), read.labels, read.told)
        about = _may_write_about(who)
        if who.claims.patient is not None and all(s.context == "patient" for s in scopes):
            about = all_((about, Persons(person_keys((who.claims.patient,)))))
        owner = who.facility if who.role in ("system", *CLINICIANS, "operator") else who.me
        author = who.me or f"Client/{who.claims.client}"
        ids = who.role == "system"
        # Nobody makes their own relationship: what an emergency opened for hours would else stay open by a CareTeam.
        # Neither where they are nor where else they could sign in; nor does one they make for others outlast it.
        own = frozenset((*who.parties, *who.elsewhere)) if who.role in CLINICIANS else frozenset()
        lending = frozenset((who.account, *map(lent, who.parties)))
        # What a facility or somebody at work permits in a patient's name, a Provenance says they did in the patient's presence.
        works = who.facility is not None and (who.role == "system" or who.role in CLINICIANS)
        vouching = frozenset(who.parties) - {ANYONE} if works else None
        writer = Writer(whole, may_create, may_update, may_delete, about, owner, author, ids, own, _whole(who), lending, vouching)
        return Rights(read, search, writer)

    def _filter(self, who: Principal, scopes: Sequence[Scope], seen: dict[str, Condition], wanted: Callable[[Scope], bool]) -> Filter:
        by_type: dict[int, list[Condition]] = {}
        for scope in scopes:
            if not wanted(scope) or not _fits(scope, who):
                continue
            names = seen.keys() if scope.type == "*" else (scope.type,)
            for name in names:
                condition = seen.get(name, NOTHING)
                if condition == NOTHING:
                    continue
                if scope.context == "patient":
                    condition = all_((condition, self._in_context(name, who)))
                if scope.query:
                    condition = all_((condition, self.restriction(name, scope.query)))
                by_type.setdefault(type_number(name), []).append(condition)
        shown = EVERY & ~OWN_HIDDEN if who.role == "patient" else who.labels
        told = frozenset(person_keys(who.persons)) if who.role in ("patient", "carer") else None
        return Filter(tuple(_grants({t: any_(c) for t, c in by_type.items()})), shown, told)

    def _in_context(self, name: str, who: Principal) -> Condition:
        """patient/ scopes are for the patient in context; what is about nobody (a Practitioner, a ValueSet) comes along."""
        if name in types.DIRECTORY or name in types.DEFINITIONS:
            return EVERYTHING
        return Persons(person_keys((who.claims.patient,))) if who.claims.patient is not None else NOTHING

    def restriction(self, name: str, query: str) -> Condition:
        """`category=vital-signs` as a condition on keys. ValueError unless it is made of exact keys of this type."""
        found = self._restrictions.get((name, query))
        if found is None:
            asked = parse(
                (name,), split_query(query.encode()), strict=True, zone=self.zone, base=self.base, lookup=params, by_url=by_url
            )
            parts = []
            for node in asked.where:
                if type(node) is not Test or node.modifier not in (None, "not"):
                    raise ValueError(f"{query}: only exact parameters restrict a scope")
                parts.append(test(node, (name,)))
            found = all_(parts)
            if not parts or not _exact(found):
                raise ValueError(f"{query}: only parameters of codes, references and uris restrict a scope")
            if len(self._restrictions) > 10_000:
                self._restrictions.clear()
            self._restrictions[name, query] = found
        return found

    def restriction_ok(self, name: str, query: str) -> bool:
        """For the authorization server, which must not grant what could not be enforced."""
        from health_hub.fhir.outcome import FhirError

        try:
            for kind in (name,) if name != "*" else ():
                self.restriction(kind, query)
        except (FhirError, ValueError):
            return False
        return name != "*"


def _exact(condition: Condition) -> bool:
    match condition:
        case Keys():
            return True
        case All(parts=parts) | Any_(parts=parts):
            return all(map(_exact, parts))
        case Not_(part=part):
            return _exact(part)
    return False


def _fits(scope: Scope, who: Principal) -> bool:
    """system/ scopes are of systems, user/ and patient/ ones of persons."""
    return (scope.context == "system") == (who.role == "system")


def _grants(by_type: dict[int, Condition]) -> list[Grant]:
    """Types with the same condition stand together."""
    together: dict[Condition, set[int]] = {}
    for number, condition in by_type.items():
        if condition != NOTHING:
            together.setdefault(condition, set()).add(number)
    return [Grant(frozenset(numbers), condition) for condition, numbers in together.items()]
