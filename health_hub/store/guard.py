"""Whether a commit's changes may be made by who makes them, decided inside the transaction that makes them (model.Writer).

What the writer does not see is treated as if it did not exist: the same refusals, word for word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from health_hub.fhir import consent, index, keys, relations, shared
from health_hub.fhir.index.settings import local
from health_hub.fhir.masking import PLACEHOLDER, masks
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.store import judge
from health_hub.store.access import Facts, now, sees
from health_hub.store.condition import EVERYTHING
from health_hub.store.model import Relation, Writer
from health_hub.store.prepare import Prepared

GRANTED = -1  # `rid` of relationships that no resource makes: reindexing leaves them alone


@dataclass(slots=True)
class Guard:
    """What one transaction's decisions need: the resources to be changed, and the Patients that are written about."""

    current: dict[tuple[int, str], Facts] = field(default_factory=dict)
    patients: dict[int, Facts] = field(default_factory=dict)
    docs: dict[tuple[int, str], bytes | None] = field(default_factory=dict)  # of `current`
    named: dict[int, list[int]] = field(default_factory=dict)  # by self: the Patients that a change refers to
    ends: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # of some Patients: (party, until) of relationships now

    @staticmethod
    async def of(t: Any, units: Sequence[tuple[Writer, Sequence[Prepared]]]) -> "Guard":
        guard = Guard()
        if not units:
            return guard
        every = [p for _, prepared in units for p in prepared]
        wanted = sorted({(p.type, p.id) for p in every if p.change.id is not None})
        if wanted:
            there = await judge.by_id(t, wanted)
            guard.current = {name: facts for name, (_, facts) in there.items()}
            guard.docs = {name: row[7] for name, (row, _) in there.items()}
        guard.named = {p.self: found for p in every if (found := _patients(p))}
        persons = sorted({person for found in guard.named.values() for person in found})
        if persons:
            known = await judge.by_self(t, persons)
            guard.patients = {self: facts for self, (row, facts) in known.items() if not row[5]}
        lent = {
            person
            for by, prepared in units
            for p in prepared
            if p.rows is not None and p.change.type in relations.TYPES
            for person in p.rows.persons
            if person in guard.patients and not guard._whole(by, person)
        }
        if lent:
            guard.ends = await _ends(t, sorted(lent))
        return guard

    def hidden(self, by: Writer, p: Prepared) -> bool:
        """Whether something stands under the id that the writer does not see."""
        facts = self.current.get((p.type, p.id))
        return facts is not None and not sees(by.filter.on(p.type), facts, now())

    def allow(self, by: Writer, p: Prepared, *, alive: bool, taken: bool, own: frozenset[int]) -> None:
        """FhirError 403, 404 or 409 unless the change may be made to what is there, and about these Patients."""
        facts = self.current.get((p.type, p.id))
        change = p.change
        if alive:
            assert facts is not None
            may = by.delete if change.action == "delete" else by.update
            if not sees(may.on(p.type), facts, now()):
                verb = "deleted" if change.action == "delete" else "changed"
                raise FhirError(403, Issue("forbidden", f"{change.type}/{p.id}: this record may not be {verb} by you"))
            # By the elements that say so: the label alone could be taken off.
            back = b'"REDACTED"' in p.meta or PLACEHOLDER in p.tail
            again = change.action == "update" and (change.method == "PATCH" or back)
            doc, told = self.docs[p.type, p.id], by.filter.told
            if again and (masks(doc, by.filter.labels) or (told is not None and shared.alone(doc, told) is not None)):
                # What they were shown would be written back, and what was masked would be gone.
                why = f"{change.type}/{p.id}: it holds elements that are masked for you, who sees them may change it"
                raise FhirError(403, Issue("forbidden", why))
        elif (change.action == "update" or change.chosen) and not by.ids:
            # R4 http.html#upsert: ids are chosen by systems only. A hidden resource answers the same.
            raise FhirError(404, Issue("not-found", f"{change.type}/{p.id}: is not known"))
        elif taken and (facts is None or not sees(by.delete.on(p.type), facts, now())):
            raise FhirError(409, Issue("duplicate", f"{change.type}/{p.id}: the id cannot be used, choose another"))
        if p.rows is None:
            return
        for person in self.named.get(p.self, ()):
            if person in own or person == p.self:
                continue
            about = self.patients.get(person)
            if about is None or not sees(by.persons, about, now()):
                name = self._name(p, person)
                raise FhirError(422, Issue("not-found", f"{change.type}: {name} is not known", (change.type,)))

    @staticmethod
    def _name(p: Prepared, person: int) -> str:
        """The reference that names this Patient."""
        found = index.all_references(p.change.resource or {})
        return next((r for r in found if keys.reference(r) == person), "a Patient it names")

    def becomes(self, by: Writer, p: Prepared, owner: str | None, author: str | None, *, new: bool) -> None:
        """FhirError 403 unless the writer may make such a resource, or leave one behind that reads so."""
        if p.rows is None:
            return
        after = Facts(p.type, p.self, p.rows.keys, owner, author, p.rows.sensitive, p.rows.persons)
        for person in p.rows.persons:
            if (about := self.patients.get(person)) is not None:
                after.parties |= about.parties
        if not sees((by.create if new else by.update).on(p.type), after, now()) or self._own_making(by, p):
            what = "created" if new else "changed so"
            raise FhirError(403, Issue("forbidden", f"{p.change.type}: this record may not be {what} by you"))


    def _whole(self, by: Writer, person: int) -> bool:
        """Whether the Patient's record is the writer's without bound. One that this commit itself makes is."""
        facts = self.patients.get(person)
        return by.whole == EVERYTHING or facts is None or sees(by.whole, facts, now())

    def _own_making(self, by: Writer, p: Prepared) -> bool:
        """Whether it relates the writer to a Patient they treat by an emergency or a partial Consent only, or permits more there."""
        assert p.rows is not None
        if any(party in by.own and not self._whole(by, person) for party, person, _, _ in p.rows.relations):
            return True
        return any(not self._whole(by, c[0]) and consent.permits(consent.decode(c[4])) for c in p.rows.consents)

    def lent(self, by: Writer, p: Prepared) -> int | None:
        """Until when (ms) what it says of relationships counts; None: without bound. 0: not at all (prepare.lend)."""
        if p.rows is None or p.change.type not in relations.TYPES:
            return None
        bounds = [
            max((until for party, until in self.ends.get(person, ()) if party in by.lending), default=0)
            for person in p.rows.persons
            if not self._whole(by, person)
        ]
        return min(bounds, default=None)

    @staticmethod
    def vouched(by: Writer, p: Prepared, beside: Sequence[Prepared]) -> None:
        """FhirError 422 for a Consent that permits something in the patient's name without a Provenance of it committed `beside`.

        Its target is the Consent, one of its agents is the writer, another is the Patient, or somebody on behalf of the Patient.
        """
        if by.vouching is None or p.change.type != "Consent" or p.rows is None:
            return
        for patient, _, _, _, rules in p.rows.consents:
            if consent.permits(consent.decode(rules)) and not any(_vouches(other, p.self, patient, by.vouching) for other in beside):
                why = "a Consent that permits is the patient's own to write, or comes in one transaction with a Provenance: its target the"
                why += " Consent, its agents you (your facility) and the Patient, or somebody onBehalfOf the Patient"
                raise FhirError(422, Issue("business-rule", why, ("Consent.provision",)))

    def first(self, p: Prepared) -> bool:
        """Whether it makes a relationship of a party with a Patient where there was none."""
        if p.rows is None:
            return False
        known = {person: facts.parties for person, facts in self.patients.items()}
        return any(party not in known.get(person, ()) for party, person, _, _ in p.rows.relations)


def _vouches(p: Prepared, target: int, patient: int, writers: frozenset[int]) -> bool:
    said = p.change.resource
    if p.change.type != "Provenance" or said is None or target not in _named(said.get("target")):
        return False
    agents = [a for a in said.get("agent") or () if isinstance(a, dict)]
    writing = [a for a in agents if not writers.isdisjoint(_named([a.get("who")]))]
    return bool(writing) and any(patient in _named([a.get("who"), a.get("onBehalfOf")]) for a in agents if a not in writing)


def _named(references: Any) -> set[int]:
    texts = [r.get("reference") for r in references or () if isinstance(r, dict)]
    return {keys.reference(local(text)) for text in texts if isinstance(text, str)}


def _patients(p: Prepared) -> list[int]:
    """Those it is about, and those it refers to anywhere else: in `focus`, a contained resource, an extension."""
    if p.rows is None:
        return []
    if b"Patient/" not in p.tail:
        return list(p.rows.persons)
    found = index.all_references(p.change.resource or {})
    return sorted({*p.rows.persons, *(keys.reference(name) for name in found if name.startswith("Patient/"))})


async def _ends(t: Any, persons: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    sqlite = t.dialect == "sqlite"
    which = "person IN (SELECT value FROM json_each(?1)) AND since <= ?2 AND until > ?2"
    sql = which if sqlite else "person = ANY ($1::bigint[]) AND since <= $2 AND until > $2"
    out: dict[int, list[tuple[int, int]]] = {}
    for person, party, until in await t.fetch(
        f"SELECT person, party, until FROM relation WHERE {sql}", (str(list(persons)) if sqlite else list(persons), now())
    ):
        out.setdefault(person, []).append((party, until))
    return out


async def grant(t: Any, relations: Sequence[Relation]) -> None:
    """Writes relationships that no resource makes; those that have ended go."""
    m = "?" if t.dialect == "sqlite" else "$"
    await t.run([
        (f"DELETE FROM relation WHERE rid = {GRANTED} AND until <= {m}1", [(now(),)]),
        (
            f"INSERT INTO relation (party, person, since, until, rid) VALUES ({m}1, {m}2, {m}3, {m}4, {GRANTED})",
            [(r.party, r.person, r.since, r.until) for r in relations],
        ),
    ])
