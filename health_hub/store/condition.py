"""What a row must meet, of a Query (search/values.py) or an access filter (access.py), independent of the database (search/sql.py)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from health_hub.fhir.consent import Decision, Viewer
from health_hub.fhir.search.query import NearValue

Table = Literal["date_key", "number_key", "quantity_key", "string_key"]
# (column, operator, value); operators: = < <= > >=, for text also prefix, contains, ends; for flags also `without` (a bit).
Atom = tuple[str, str, Any]
# Any of these groups, each of which is an AND of atoms. `((),)` is met by every row, `()` by none.
Tests = tuple[tuple[Atom, ...], ...]


@dataclass(frozen=True, slots=True)
class Keys:
    """Carries at least one of these keys."""

    any: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """Has a row in `table` under one of `ps` that meets `tests`."""

    table: Table
    ps: tuple[int, ...]
    tests: Tests


@dataclass(frozen=True, slots=True)
class Element:
    """Has, under each of the `parts`, a row that meets its tests, all of one element of a composite (the same ordinal)."""

    parts: tuple[Ordered, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """A position at most `km` from one of the places."""

    ps: tuple[int, ...]
    places: tuple[NearValue, ...]


@dataclass(frozen=True, slots=True)
class Ids:
    """The logical id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """Column `updated`, in milliseconds."""

    tests: Tests


@dataclass(frozen=True, slots=True)
class Selves:
    """Is one of these resources (`keys.reference("Type/id")`)."""

    selves: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OfType:
    """Is of one of these types."""

    types: tuple[int, ...]


# What an access filter asks (store/access.py)


@dataclass(frozen=True, slots=True)
class Owned:
    """Belongs to one of these facilities; None is the province."""

    by: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Was made by this author."""

    by: str


@dataclass(frozen=True, slots=True)
class Persons:
    """Is about one of these Patients (`keys.reference`)."""

    any: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Among:
    """Is about no Patients but these."""

    all: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Has none of these sensitive labels (bits of labels.BITS)."""

    bits: int


@dataclass(frozen=True, slots=True)
class Related:
    """Is about a Patient with whom one of these parties has a treatment relationship now."""

    parties: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """The Consents of a Patient it is about decide so for this viewer, now."""

    viewer: Viewer
    decision: Decision
    parties: tuple[int, ...] = ()  # who asks; a denial matters only where they have a relationship


@dataclass(frozen=True, slots=True)
class Consented:
    """Is about a Patient with a Consent in force that may deny something."""


@dataclass(frozen=True, slots=True)
class Source:
    """Resources of `types` that meet `condition`; the access filter is added where SQL is made of it."""

    types: tuple[int, ...]
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class RefersTo:
    """Refers by one of `ps` to a resource of `target`; for more targets than fit into Keys."""

    ps: tuple[int, ...]
    target: Source


@dataclass(frozen=True, slots=True)
class ReferredBy:
    """A resource of `other` refers to it by one of `ps`; for more of them than fit into Selves."""

    ps: tuple[int, ...]
    other: Source


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Any_:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not_:
    part: "Condition"


Condition = (
    Keys | Ordered | Element | Near | Ids | Updated | Selves | OfType | RefersTo | ReferredBy | All | Any_ | Not_
    | Owned | Written | Persons | Among | Unlabelled | Related | Decided | Consented
)  # fmt: skip
EVERYTHING = All(())
NOTHING = Any_(())


def all_(parts: Iterable[Condition]) -> Condition:
    """AND, flattened."""
    flat: list[Condition] = []
    for part in parts:
        if type(part) is All:
            flat += part.parts
        elif part == NOTHING:
            return NOTHING
        else:
            flat.append(part)
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def any_(parts: Iterable[Condition]) -> Condition:
    """OR, flattened; key sets and rows of one parameter become one."""
    flat: list[Condition] = []
    keys: dict[int, None] = {}
    rows: dict[tuple[Table, tuple[int, ...]], dict[tuple[Atom, ...], None]] = {}
    for part in parts:
        for one in part.parts if type(part) is Any_ else (part,):
            if type(one) is Keys:
                keys.update(dict.fromkeys(one.any))
            elif type(one) is Ordered:
                rows.setdefault((one.table, one.ps), {}).update(dict.fromkeys(one.tests))
            elif one == EVERYTHING:
                return EVERYTHING
            else:
                flat.append(one)
    # The same question under several parameters is one question.
    merged: dict[tuple[Table, Tests], list[int]] = {}
    for (table, ps), tests in rows.items():
        merged.setdefault((table, tuple(tests)), []).extend(ps)
    flat += [Ordered(table, tuple(dict.fromkeys(ps)), tests) for (table, tests), ps in merged.items()]
    if keys:
        flat.insert(0, Keys(tuple(keys)))
    return flat[0] if len(flat) == 1 else Any_(tuple(flat))


def not_(part: Condition) -> Condition:
    if part == EVERYTHING:
        return NOTHING
    if part == NOTHING:
        return EVERYTHING
    return part.part if type(part) is Not_ else Not_(part)


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    return condition.parts if type(condition) is All else (condition,)
