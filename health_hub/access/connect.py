"""What the authorization server and the pages ask of the record: facilities, patients to pick, who read a record, the trail."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_profiles.tables import search_params
from health_hub.access.balp import DICOM, EMERGENCY, INTERACTIONS, OWN, REST
from health_hub.access.entry import Entry
from health_hub.access.gate import Gate
from health_hub.access.policy import Rights
from health_hub.auth import scopes
from health_hub.auth.audit import AuthEvent
from health_hub.auth.authority import Facility, Person
from health_hub.auth.model import Account, Claims
from health_hub.fhir.json import dumps, loads
from health_hub.fhir.search.query import Query, ReferenceValue, Sort, StringValue, Test, TokenValue

PICKED = 50  # patients that one search of the picker answers
ACCESSES = 50  # on one page of the list of accesses
PLAYED = "consult-play"  # a recording or message of a video consultation
# Subtypes of AuditEvents.
ACCESS = (*(TokenValue(REST, code) for code in sorted(INTERACTIONS)), TokenValue(DICOM, EMERGENCY), TokenValue(OWN, PLAYED))
_READ = scopes.parse("user/Patient.rs user/AuditEvent.rs")


@dataclass(frozen=True, slots=True)
class Seen:
    """One access to a record, for the person it is about. at: ISO 8601 with zone. what: resource types or the interaction."""

    at: str
    who: str
    facility: str
    facility_name: str
    interaction: str
    what: tuple[str, ...]
    why: str
    emergency: bool
    refused: bool


@dataclass(frozen=True, slots=True)
class AccessPage:
    """Newest first. `after`: what to ask the next page with; None on the last."""

    accesses: Sequence[Seen]
    after: str | None


class Connected:
    """`gate.authority` with its questions answered; made once when the hub starts."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        authority = gate.authority
        authority.patients = self.patients
        authority.may_see = self.may_see
        authority.facilities = self.facilities
        authority.access_list = self.access_list
        authority.audit = self.audit
        authority.restriction_ok = gate.policy.restriction_ok

    async def _rights(self, account: Account, organization: str | None) -> Rights:
        """What the person sees without any application between."""
        now = int(time.time())
        scope = "user/Patient.rs user/AuditEvent.rs"
        claims = Claims(
            "", account.id, "", account.role, scope, now, now + 60, account.fhir_user, account.name, organization, account.labels
        )
        return self._gate.policy.rights(await self._gate.directory.principal(claims), _READ)

    async def facilities(self, account: Account) -> Sequence[Facility]:
        directory = self._gate.directory
        return [Facility(f, await directory.name(f)) for f in await directory.facilities(account)]

    async def patients(self, account: Account, organization: str | None, text: str) -> Sequence[Person]:
        """Patients the person may see whose name begins with the text, or who have exactly this number."""
        view = self._gate.store.view((await self._rights(account, organization)).search)
        known, text = search_params("Patient"), text.strip()[:100]
        where: tuple[Test, ...] = ()
        if text and sum(c.isdigit() for c in text) >= 6:
            where = (Test(known["identifier"], None, (TokenValue(None, text),)),)
        elif text:
            where = tuple(Test(known["name"], None, (StringValue(word),)) for word in text.split()[:6])
        page = await view.search(Query(("Patient",), where, count=PICKED))
        return [_person(loads(hit.stored.doc or b"{}")) for hit in page.hits if hit.mode == "match"]

    async def may_see(self, account: Account, organization: str | None, patient: str) -> bool:
        found = await self._gate.store.view((await self._rights(account, organization)).read).read("Patient", patient)
        return found is not None and not found.deleted

    async def access_list(self, account: Account, patient: str, after: str | None) -> AccessPage:
        """Who saw or changed the record of a patient; the account's own patients only."""
        gate = self._gate
        rights = await self._rights(account, None)
        await gate.scribe.now()
        known = search_params("AuditEvent")
        # Signing in and letting applications in is in the trail too; it is no access to the record.
        where = Test(known["patient"], None, (ReferenceValue("Patient", patient),)), Test(known["subtype"], None, ACCESS)
        query = Query(("AuditEvent",), where, sort=(Sort(known["date"], True),), count=ACCESSES)
        cursor = loads(after.encode()) if after else None
        page = await gate.store.view(rights.search).search(query, cursor)
        events = [loads(hit.stored.doc or b"{}") for hit in page.hits if hit.mode == "match"]
        names = {f: await gate.directory.name(f) for f in {_facility(e) for e in events} if f}
        accesses = [_seen(event, names) for event in events]

        return AccessPage(accesses, dumps(page.cursor).decode() if page.cursor is not None else None)

    async def audit(self, event: AuthEvent) -> None:
        """What happened in signing in, into the trail."""
        account = await self._gate.store.records.get("account", event.account) if event.account else None
        said = Account.of(account.data) if account is not None else None
        await self._gate.note(
            Entry(
                time.time_ns() // 1_000_000, event.kind, "E", 200 if event.success else 401, account=event.account or "",
                name=said.name if said else "", role=said.role if said else "", me=(said.fhir_user or "") if said else "",
                client=event.client or "", address=event.address, note=event.detail[:500],
            )
        )


def _person(patient: dict[str, Any]) -> Person:
    return Person(str(patient["id"]), _name(patient), str(patient.get("birthDate") or ""), str(patient.get("gender") or ""))


def _name(patient: dict[str, Any]) -> str:
    """As written: `text`, or family and given in the Vietnamese order."""
    names = patient.get("name")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], dict) else {}
    given = name.get("given")
    return str(name.get("text") or " ".join([str(name.get("family") or ""), *map(str, given if isinstance(given, list) else ())]).strip())


def _facility(event: dict[str, Any]) -> str:
    """The Organization that somebody acted for."""
    named = [str(a.get("who", {}).get("reference", "")) for a in _list(event, "agent") if a.get("requestor") is False]
    return next((n for n in named if n.startswith("Organization/")), "")


def _seen(event: dict[str, Any], names: dict[str, str]) -> Seen:
    agents = [a for a in _list(event, "agent") if a.get("requestor")]
    who = agents[-1].get("who", {}) if agents else {}
    facility = _facility(event)
    subtypes = [s.get("code") for s in _list(event, "subtype")]
    named = [str(e.get("what", {}).get("reference", "")).partition("/")[0] for e in _list(event, "entity")]
    purposes = [c.get("code") for p in _list(event, "purposeOfEvent") for c in p.get("coding", ())]
    return Seen(
        at=str(event.get("recorded", "")),
        who=str(who.get("display") or who.get("reference") or who.get("identifier", {}).get("value") or ""),
        facility=facility,
        facility_name=names.get(facility, ""),
        interaction=next((str(s) for s in subtypes if s in INTERACTIONS), str(subtypes[0]) if subtypes else ""),
        what=tuple(dict.fromkeys(n for n in named if n and n != "Patient")),
        why=str(event.get("outcomeDesc") or (purposes[0] if purposes else "")),
        emergency=EMERGENCY in subtypes,
        refused=event.get("outcome") != "0",
    )


def _list(resource: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = resource.get(name)
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
