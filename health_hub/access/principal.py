"""Who stands behind a token: their facility, the parties they are, the persons whose record is theirs. Read from the record itself."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_profiles.tables import is_resource_type, search_params, type_number
from health_hub.auth.model import Account, Claims
from health_hub.fhir import dates, keys
from health_hub.fhir.consent import ANYONE
from health_hub.fhir.index.settings import local
from health_hub.fhir.json import loads
from health_hub.fhir.labels import bits_of
from health_hub.fhir.search.query import Query, ReferenceValue, Test
from health_hub.store.access import EVERY
from health_hub.store.condition import Owned
from health_hub.store.model import Filter, Grant
from health_hub.store.store import Store

FRESH = 2.0  # seconds that what was read of someone's roles is used again
KEPT = 5000
MANY = 2000  # parties that one facility is: its parts, services, places and roles
DEPTH = 6  # of an Organization's parts


@dataclass(frozen=True, slots=True)
class Principal:
    """`role` patient, carer, practitioner, nurse, operator, auditor, administrator or system.

    facility: `Organization/1` acted for; None of a system is the province. parties: keys.reference of all that a treatment
    relationship may name; elsewhere: of the facilities a clinician works for besides. persons: bare ids of the Patients whose
    record is theirs. me: `Practitioner/1`, `Patient/1` ... account: keys.reference of the account, the party of emergency access.
    """

    claims: Claims
    role: str
    facility: str | None = None
    parties: tuple[int, ...] = ()
    persons: tuple[str, ...] = ()
    me: str | None = None
    account: int = 0
    labels: int = 0
    elsewhere: tuple[int, ...] = ()


def account_party(account: str) -> int:
    """The party that emergency access is given to."""
    # No reference that somebody writes, into a Consent's actor for example, has the same hash.
    return keys.value("A", account)


class Directory:
    """Looks up roles, facilities and links, unfiltered: it is the hub itself that asks, and answers nobody with it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    async def _once(self, key: Any, ask: Any) -> Any:
        now = time.monotonic()
        kept = self._known.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        value = await ask()
        self._known[key] = (now + FRESH, value)
        self._known.move_to_end(key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return value

    async def _doc(self, reference: str) -> dict[str, Any] | None:
        """A living resource."""
        kind, _, id = reference.partition("/")
        found = await self._store.view().read(kind, id) if id and is_resource_type(kind) else None
        return loads(found.doc) if found is not None and found.doc is not None else None

    async def _referring(self, kind: str, param: str, target: str, owners: tuple[str | None, ...]) -> list[dict[str, Any]]:
        """Resources of a type that refer to the target, of those that these owners wrote."""
        of, _, id = target.partition("/")
        query = Query((kind,), (Test(search_params(kind)[param], None, (ReferenceValue(of, id),)),), count=1000)
        view, cursor = self._store.view(Filter((Grant(EVERY, Owned(owners)),))), None
        out: list[dict[str, Any]] = []
        while len(out) < MANY:
            page = await view.search(query, cursor)
            out += [loads(hit.stored.doc or b"{}") for hit in page.hits]
            cursor = page.cursor
            if cursor is None:
                break
        return out

    async def _roles(self, me: str) -> list[tuple[str, str]]:
        """(PractitionerRole/1, Organization/1) of a Practitioner's active roles that the facility itself or the province wrote."""
        out = []
        for role in await self._every_role(me):
            organization = _reference(role.get("organization"))
            if organization and role.get("active") is not False and _current(role.get("period")):
                written = await self._referring("PractitionerRole", "practitioner", me, (None, organization))
                if any(w["id"] == role["id"] for w in written):
                    out.append((f"PractitionerRole/{role['id']}", organization))
        return out

    async def _every_role(self, me: str) -> list[dict[str, Any]]:
        named = Test(search_params("PractitionerRole")["practitioner"], None, (ReferenceValue("Practitioner", me.partition("/")[2]),))
        query = Query(("PractitionerRole",), (named,), count=1000)
        out: list[dict[str, Any]] = []
        cursor = None
        while len(out) < MANY * 5:
            page = await self._store.view().search(query, cursor)
            out += [loads(hit.stored.doc or b"{}") for hit in page.hits]
            cursor = page.cursor
            if cursor is None:
                break
        return out

    async def roles(self, me: str, facility: str) -> tuple[str, ...]:
        """`PractitionerRole/1` of a Practitioner at a facility."""
        return tuple(role for role, of in await self._once(("roles", me), lambda: self._roles(me)) if of == facility)

    def forget(self) -> None:
        """What was read counts no longer."""
        self._known.clear()

    # --- facilities

    async def facilities(self, account: Account) -> tuple[str, ...]:
        """`Organization/1` of an account: named with it, or by active PractitionerRoles that the facility itself or the province wrote."""
        found = dict.fromkeys(account.organizations)
        me = account.fhir_user
        if me is not None and me.startswith("Practitioner/") and account.role in ("practitioner", "nurse", "operator"):
            found.update((organization, None) for _, organization in await self._once(("roles", me), lambda: self._roles(me)))
        return tuple(found)

    async def name(self, organization: str) -> str:
        found = await self._doc(organization)
        return str(found.get("name") or organization) if found is not None else organization

    async def parts(self, facility: str) -> tuple[str, ...]:
        """The facility and what is part of it: departments, services, places and roles, as far as it or the province wrote them."""
        return tuple(await self._once(("parts", facility), lambda: self._parts(facility)))

    async def _parts(self, facility: str) -> list[str]:
        found: dict[str, None] = {facility: None}
        edge = [facility]
        for _ in range(DEPTH):
            below = [
                f"Organization/{part['id']}"
                for organization in edge
                for part in await self._referring("Organization", "partof", organization, (None, *found))
            ]
            edge = [name for name in dict.fromkeys(below) if name not in found]
            found.update(dict.fromkeys(edge))
            if not edge or len(found) > MANY:
                break
        organizations = tuple(found)
        for kind in ("HealthcareService", "Location", "PractitionerRole"):
            for organization in organizations:
                for part in await self._referring(kind, "organization", organization, (None, *organizations)):
                    if part.get("active") is not False:
                        found[f"{kind}/{part['id']}"] = None
                if len(found) > MANY:
                    return list(found)
        return list(found)

    # --- persons

    async def _persons(self, me: str, bound: str | None) -> list[str]:
        """Bare ids of the Patients whose record belongs to a Patient (with those linked as the same person) or a RelatedPerson.

        bound: the Patient whose carer the account was made for. A facility can make its RelatedPerson name any Patient it sees.
        """
        found: dict[str, None] = {}
        if me.startswith("RelatedPerson/"):
            related = await self._doc(me)
            if related is None or related.get("active") is False or not _current(related.get("period")):
                return []
            me = _reference(related.get("patient")) or ""
            if me != bound:
                return []
        if not me.startswith("Patient/"):
            return []
        edge = [me]
        while edge and len(found) < 20:
            name = edge.pop()
            patient = await self._doc(name)
            if patient is None:
                continue
            found[str(patient["id"])] = None
            for other in _links(patient):
                if other[8:] not in found and await self._same(name, other):
                    edge.append(other)
        return list(found)

    async def _same(self, one: str, other: str) -> bool:
        """Whether a link between two Patients counts: both say it, or the province does; one facility alone cannot join records."""
        there = await self._doc(other)
        if there is None:
            return False
        found = await self._store.reads.judged(type_number("Patient"), one.partition("/")[2])
        return one in _links(there) or (found is not None and found[1].owner is None)

    # --- principals

    async def principal(self, claims: Claims) -> Principal:
        """Everything a request needs to know of who sends it."""
        key = ("principal", claims.subject, claims.client, claims.role, claims.organization, claims.fhir_user)
        parties, elsewhere, persons, facility = await self._once(key, lambda: self._who(claims))
        account, labels = account_party(claims.subject), bits_of(claims.labels)
        return Principal(claims, claims.role, facility, parties, persons, claims.fhir_user, account, labels, elsewhere)

    async def _who(self, claims: Claims) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...], str | None]:
        names: dict[str, None] = {}
        others: list[str] = []
        facility = claims.organization
        record = await self._store.records.get("account", claims.subject) if claims.role != "system" else None
        account = Account.of(record.data) if record is not None else None
        if claims.role in ("practitioner", "nurse", "operator") and facility is not None:
            every = await self.facilities(account) if account is not None else ()
            if facility not in every:
                facility = None  # they no longer work there
            elif claims.role != "operator":
                others = [part for other in every if other != facility for part in await self.parts(other)]
        if claims.role in ("practitioner", "nurse", "system") and facility is not None:
            names.update(dict.fromkeys(await self.parts(facility)))
            if claims.role != "system":
                # A colleague's role is the colleague's: appointments with it are not this person's.
                own = {role for role, of in await self._roles(claims.fhir_user or "Practitioner/") if of == facility}
                names = {n: None for n in names if not n.startswith("PractitionerRole/") or n in own}
        if claims.role in ("practitioner", "nurse") and facility is not None and claims.fhir_user:
            names[claims.fhir_user] = None
        parties = tuple(keys.reference(n) for n in names)
        elsewhere = tuple(keys.reference(n) for n in others)
        persons = tuple(await self._persons(claims.fhir_user, account.patient if account is not None else None)) if claims.fhir_user else ()
        return (*parties, ANYONE) if parties else (), elsewhere, persons, facility


def _links(patient: dict[str, Any]) -> list[str]:
    found = [_reference(link.get("other")) for link in patient.get("link") or () if isinstance(link, dict)]
    return [name for name in found if name is not None and name.startswith("Patient/")]


def _reference(value: Any) -> str | None:
    text = value.get("reference") if isinstance(value, dict) else None
    return local(text) if isinstance(text, str) else None


def _current(period: Any) -> bool:
    if not isinstance(period, dict):
        return True
    now = time.time_ns() // 1000
    try:
        starts = dates.span(period["start"])[0] <= now if "start" in period else True
        return starts and (dates.span(period["end"])[1] > now if "end" in period else True)
    except ValueError:
        return False


def person_keys(persons: Sequence[str]) -> tuple[int, ...]:
    """keys.reference of Patients by their bare ids."""
    return tuple(keys.reference(f"Patient/{p}") for p in persons)
