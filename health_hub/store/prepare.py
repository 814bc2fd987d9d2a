"""What of a change can be worked out before the database is asked: its id, its bytes, its search keys."""

import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir_profiles.tables import type_number
from health_hub.fhir import consent, index, keys, relations
from health_hub.fhir.index.definition import definition
from health_hub.fhir.json import dumps
from health_hub.fhir.masking import MARK, redacted
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.store.access import owner_key, person_key
from health_hub.store.model import Change

METHODS = {"POST": 1, "PUT": 2, "DELETE": 3, "PATCH": 4}
METHOD_NAMES = {n: m for m, n in METHODS.items()}
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")


def new_id() -> str:
    """A random id: nothing about the record or its neighbours can be guessed from it."""
    return secrets.token_hex(12)


class Clock:
    """Milliseconds since 1970 that never run backwards, and `lastUpdated` texts in the hub's zone."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._last = 0
        self._second = -1
        self._head = self._tail = ""

    def now(self) -> int:
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last

    def tick(self, after: int = 0) -> int:
        """The time of a commit: later than that of every commit before it in this process, and than `after`.

        A client that asks `_lastUpdated=gt` the newest it has seen would else miss what came in the same millisecond.
        """
        self._last = max(self._last + 1, after + 1, time.time_ns() // 1_000_000)
        return self._last

    def text(self, ms: int) -> str:
        second, rest = divmod(ms, 1000)
        if second != self._second:
            self._head, _, zone = datetime.fromtimestamp(second, self._zone).isoformat(timespec="milliseconds").partition(".000")
            self._second, self._tail = second, zone
        return f"{self._head}.{rest:03d}{self._tail}"


@dataclass(slots=True)
class Prepared:
    """A change with its id settled; `meta` and `tail` are the JSON behind what the hub sets itself."""

    change: Change
    type: int
    id: str
    self: int
    meta: bytes
    tail: bytes
    rows: index.Rows | None

    def lend(self, until: int | None) -> None:
        """What it says of relationships counts until then only."""
        if self.rows is not None:
            lend(self.rows, until)

    def belongs(self, owner: str | None, author: str | None, now: int) -> None:
        """Adds to the rows what follows from whose the resource is: its owner's key, relationships, a Consent's rules."""
        if self.rows is None or self.change.resource is None:
            return
        belonging(self.change.type, self.change.resource, self.rows, owner, author, now)

    def document(self, version: int, updated: str) -> bytes:
        return b'{"resourceType":"%b","id":"%b","meta":{"versionId":"%d","lastUpdated":"%b"%b}%b}' % (
            self.change.type.encode(),
            self.id.encode(),
            version,
            updated.encode(),
            self.meta,
            self.tail,
        )


def _inner(members: dict[str, object]) -> bytes:
    """`,"a":1,"b":2` of an object, or nothing."""
    return b"," + dumps(members)[1:-1] if members else b""


def prepare(change: Change) -> Prepared:
    """FhirError 400 for an id that is none (R4 datatypes.html#id)."""
    id = change.id
    if id is None:
        id = new_id()
    elif not _id.match(id):
        raise FhirError(400, Issue("value", f"'{id[:70]}' is no id: 1 to 64 letters, digits, '-' and '.'", (f"{change.type}.id",)))
    number, self = type_number(change.type), keys.reference(f"{change.type}/{id}")
    resource = change.resource
    if resource is None:
        return Prepared(change, number, id, self, b"", b"", None)
    if change.type == "SearchParameter":
        active = definition(resource)
        if active is not None:
            index.vet(active)
    meta = resource.get("meta") or {}
    rest = {k: v for k, v in meta.items() if k not in ("versionId", "lastUpdated", "_versionId", "_lastUpdated")}
    body = {k: v for k, v in resource.items() if k not in ("resourceType", "id", "meta")}
    if resource.get("id") != id:
        resource = {**resource, "id": id}
    tail = _inner(body)
    return Prepared(change, number, id, self, _inner(rest), tail, rows_of(resource, tail))


def rows_of(resource: dict[str, Any], doc: bytes) -> index.Rows:
    """Extraction; elements with a sensitive label of their own are not searchable."""
    return index.extract(redacted(resource, 0) if MARK in doc else resource)


def lend(rows: index.Rows, until: int | None) -> None:
    """Relationships made by who has the record until then themselves; 0: by who has no whole right to it, which makes none."""
    if until is not None:
        found = [(relations.lent(party), person, since, min(end, until)) for party, person, since, end in rows.relations]
        rows.relations = [r for r in found if until and r[2] < r[3]]


def belonging(type: str, resource: dict[str, Any], rows: index.Rows, owner: str | None, author: str | None, now: int) -> None:
    """What access derives from a resource and whose it is, into its rows."""
    rows.keys = sorted({*rows.keys, owner_key(type, owner), *(person_key(type, p) for p in rows.persons)})
    if type in relations.TYPES:
        rows.relations = relations.relations(resource, rows.persons, owner, author, now, index.zone())
    elif type == "Consent":
        found = consent.compiled(resource, index.zone())
        if found is not None:
            rows.relations = [(actor, found.patient, max(since, found.since), until) for actor, since, until in found.grants]
            rows.consents = [(found.patient, found.since, found.until, found.kind, found.rules)]
