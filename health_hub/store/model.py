"""What goes through the two doors of the store: changes in, stored versions and hits out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from health_hub.fhir.outcome import Issue
from health_hub.fhir.search.query import Query


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


class AlreadyDone(Exception):
    """The mark given with the changes is in the database: this work was committed before."""


class ExpectationChanged(Exception):
    """Someone changed what a conditional interaction matched; resolve again and retry."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a View shows. `keys_any`: None shows all, else rows that carry at least one of these keys."""

    keys_any: tuple[int, ...] | None = None

    @staticmethod
    def everything() -> "Filter":
        return Filter()


@dataclass(frozen=True, slots=True)
class Hit:
    stored: Stored
    mode: Literal["match", "include"] = "match"
    distance_km: float | None = None


@dataclass(slots=True)
class SearchPage:
    """`cursor` None: the last page. `total` only when asked for or known for free. `issues`: what the client should know."""

    hits: Sequence[Hit] = field(default_factory=list)
    cursor: Any | None = None
    total: int | None = None
    issues: tuple[Issue, ...] = ()


@dataclass(slots=True)
class HistoryPage:
    """Newest first. `cursor` None: the last page."""

    versions: Sequence[Stored] = field(default_factory=list)
    cursor: Any | None = None
    total: int | None = None
