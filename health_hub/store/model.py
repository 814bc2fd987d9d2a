"""What goes through the two doors of the store: changes in, stored versions and hits out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from health_hub.fhir import shared
from health_hub.fhir.labels import EVERY
from health_hub.fhir.outcome import Issue
from health_hub.fhir.search.query import Query
from health_hub.store.condition import EVERYTHING, All, Among, Any_, Condition, Decided, Not_, Persons, Related, all_, any_, not_


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource. `doc` is its JSON as served, None when `deleted`. `updated`: ms since 1970 UTC."""

    rid: int
    type: str
    id: str
    version: int
    updated: int
    deleted: bool
    method: str  # POST, PUT, PATCH or DELETE
    doc: bytes | None

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(slots=True)
class Change:
    """One resource to create, update or delete; the hub sets `id`, `meta.versionId` and `meta.lastUpdated`.

    create: `id` None asks for a random one; a given id must be free.
    update: creates when absent if `may_create`, else FhirError 404.
    delete: of what is absent or deleted is no error; the Result says version 0.
    `if_version`: the current version must be this one (412 otherwise); 0 means it must not exist.
    """

    action: Literal["create", "update", "delete"]
    type: str
    id: str | None = None
    resource: dict[str, Any] | None = None
    if_version: int | None = None
    may_create: bool = True
    method: str = "PUT"
    blob: int | None = None  # staged content of a Binary
    chosen: bool = False  # create: the id is the sender's choice (that of an update always is)
    owner: str | None = None  # of what is created by nobody in particular (a load, demo records); a Writer has its own


@dataclass(frozen=True, slots=True)
class Expect:
    """A conditional interaction's match, checked again under a lock when committing: still exactly these ids."""

    query: Query
    ids: tuple[str, ...]
    filter: "Filter | None" = None  # what the asker may see; None: everything


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a Change; in the order of the changes."""

    stored: Stored
    created: bool
    first: bool = False  # it makes a facility's first treatment relationship with the patient


# Records of the audit trail (JSON), or what makes them of the results of a commit, within its transaction.
Recorded = Sequence[bytes] | Callable[[list[Result]], Sequence[bytes]]


class AlreadyDone(Exception):
    """The mark given with the changes is in the database: this work was committed before."""


class ExpectationChanged(Exception):
    """Someone changed what a conditional interaction matched; resolve again and retry."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Rows of these types (numbers) that meet a condition."""

    types: frozenset[int]
    where: Condition


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """What a View shows. `grants`: None shows all, else what any of them is for.

    labels: bits of the sensitive labels whose elements are shown; others are masked (fhir/masking.py). told: the only Patients that
    AuditEvents (fhir/audit.py), and records of several (fhir/shared.py), name. Compared by identity: who makes one keeps it.
    """

    grants: tuple[Grant, ...] | None = None
    labels: int = EVERY
    told: frozenset[int] | None = None  # keys.reference
    _known: dict[int, Condition] = field(default_factory=dict, repr=False)
    _needs: dict[int, bool] = field(default_factory=dict, repr=False)
    _narrow: list["Filter"] = field(default_factory=list, repr=False)

    @staticmethod
    def everything() -> "Filter":
        return _EVERYTHING

    def on(self, type: int) -> Condition:
        """What a row of one type must meet."""
        found = self._known.get(type)
        if found is None:
            found = EVERYTHING if self.grants is None else any_([g.where for g in self.grants if type in g.types])
            self._known[type] = found
        return found

    def asked(self, query: Query) -> "Filter":
        """The filter that a search is made within: one that tries for others finds no records that are about them too."""
        if self.told is None or self.grants is None or not shared.asks_of_others(query, self.told):
            return self
        if not self._narrow:
            told = tuple(sorted(self.told))
            safe = any_((Among(told), not_(Persons(told))))
            grants = tuple(Grant(grant.types, all_((grant.where, safe))) for grant in self.grants)
            self._narrow.append(Filter(grants, self.labels, self.told))
        return self._narrow[0]

    def asks_elsewhere(self, type: int) -> bool:
        """Whether relationships or Consents decide on rows of a type."""
        found = self._needs.get(type)
        if found is None:
            found = self._needs[type] = bool(Filter((Grant(frozenset((type,)), self.on(type)),)).elsewhere())
        return found

    def elsewhere(self) -> tuple[Condition, ...]:
        """The conditions in it that ask other rows: relationships and Consents."""
        found: dict[Condition, None] = {}
        stack = [g.where for g in self.grants or ()]
        while stack:
            match stack.pop():
                case All(parts=parts) | Any_(parts=parts):
                    stack += parts
                case Not_(part=part):
                    stack.append(part)
                case Related() | Decided() as asks:
                    found[asks] = None
        return tuple(found)


_EVERYTHING = Filter()


@dataclass(frozen=True, slots=True, eq=False)
class Writer:
    """Who commits, where not everybody may write everything.

    filter: what they see; what they do not see does not exist for them. create, update, delete: what they may do, by what the
    row says before (update, delete) and after it (create, update). persons: the Patients they may write about, as a condition
    on a Patient's row. owner, author: what is noted of what they create. ids: they may choose ids. whole: the Patients, by
    their rows, whose record is theirs without bound; of others what they write makes relationships that last no longer than those of
    `lending` do, and none for a party of `own`. vouching: who (keys.reference) a
    Provenance must name beside the Patient for a Consent of theirs that permits; None: it needs none.
    """

    filter: Filter
    create: Filter
    update: Filter
    delete: Filter
    persons: Condition
    owner: str | None = None
    author: str | None = None
    ids: bool = False
    own: frozenset[int] = frozenset()
    whole: Condition = EVERYTHING
    lending: frozenset[int] = frozenset()
    vouching: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A treatment relationship that is granted and made by no resource: emergency access. `keys.reference`s, ms."""

    party: int
    person: int
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Hit:
    stored: Stored
    mode: Literal["match", "include"] = "match"
    distance_km: float | None = None


@dataclass(slots=True)
class SearchPage:
    """`cursor` None: the last page. `total` only when asked for or known for free. `issues`: what the client should know.

    until: ms; where everything from some time on was asked for, all that carries a time up to this one was looked through.
    """

    hits: Sequence[Hit] = field(default_factory=list)
    cursor: Any | None = None
    total: int | None = None
    issues: tuple[Issue, ...] = ()
    until: int | None = None


@dataclass(slots=True)
class HistoryPage:
    """Newest first. `cursor` None: the last page. until: as of a SearchPage."""

    versions: Sequence[Stored] = field(default_factory=list)
    cursor: Any | None = None
    total: int | None = None
    until: int | None = None
