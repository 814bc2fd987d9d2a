"""The R4 definitions as plain data: types, search parameters, compartments, operations, value sets (r4/*.json, made by build.py).

Everything is read when first asked for; a Type is built when first asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

_R4 = Path(__file__).parent / "r4"
Kind = Literal["resource", "complex", "backbone", "primitive"]


@cache
def _table(name: str) -> Any:
    return msgspec.json.decode((_R4 / f"{name}.json").read_bytes())


@dataclass(frozen=True, slots=True)
class Invariant:
    """A constraint in FHIRPath; `human` is the standard's own short wording."""

    key: str
    severity: Literal["error", "warning"]
    expression: str
    human: str


@dataclass(frozen=True, slots=True)
class Element:
    """One JSON property of a type. A choice element `value[x]` is one Element for each of its types.

    name: as in JSON, `valueQuantity`; path_name: as in FHIRPath, `value`. max None: no limit (a JSON array; also `array`).
    type: a primitive, a complex type, a backbone type by path, `Resource` or, for Narrative.div, `xhtml`.
    targets: the resource types a Reference or canonical may point to; () is any.
    binding: url of the REQUIRED value set. invariants: those of this element beyond its type's own.
    min: of a choice holds for all its types together.
    """

    name: str
    path_name: str
    type: str
    min: int
    max: int | None
    choice: bool
    modifier: bool
    summary: bool
    binding: str | None
    targets: tuple[str, ...]
    invariants: tuple[Invariant, ...]

    @property
    def array(self) -> bool:
        """Whether JSON has an array here."""
        return self.max != 1


@dataclass(frozen=True, slots=True)
class Type:
    """A data type, a resource type or a backbone type (`Observation.component`).

    elements: by JSON name, those of the base first, in the order of the definition. choices: `value` -> {`Quantity`: `valueQuantity`}.
    invariants: of every instance; those of a base type are included.
    """

    name: str
    kind: Kind
    base: str | None
    abstract: bool
    elements: dict[str, Element]
    choices: dict[str, dict[str, str]]
    invariants: tuple[Invariant, ...]


@dataclass(frozen=True, slots=True)
class SearchParam:
    """A SearchParameter. `expression` "" where it cannot be said in FHIRPath (_text, _content, _list, Patient?age, ...).

    components of a composite: (url of the definition, expression relative to this one's). target types: () for any or none.
    """

    url: str
    code: str
    base: tuple[str, ...]
    type: Literal["number", "date", "string", "token", "reference", "composite", "quantity", "uri", "special"]
    expression: str = ""
    targets: tuple[str, ...] = ()
    components: tuple[tuple[str, str], ...] = ()
    multiple_or: bool = True
    multiple_and: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """An OperationDefinition. parameters: (name, in|out, min, max, type)."""

    url: str
    code: str
    resources: tuple[str, ...]
    system: bool
    type: bool
    instance: bool
    affects_state: bool
    parameters: tuple[tuple[str, str, int, str, str], ...]


# The 146 concrete resource types by name. The order is for ever: the database keeps `type_number`.
RESOURCE_TYPES: tuple[str, ...] = tuple(_table("resources"))
_NUMBERS = {name: i for i, name in enumerate(RESOURCE_TYPES, 1)}


def type_number(name: str) -> int:
    """The number of a resource type in the database, from 1. KeyError if there is no such type."""
    return _NUMBERS[name]


def type_name(number: int) -> str:
    """The resource type of a number."""
    if not 1 <= number <= len(RESOURCE_TYPES):
        raise KeyError(number)
    return RESOURCE_TYPES[number - 1]


def is_resource_type(name: object) -> bool:
    return isinstance(name, str) and name in _NUMBERS


@cache
def _invariant(key: str) -> Invariant:
    return Invariant(*_table("invariants")[key])


def type_names() -> tuple[str, ...]:
    """Every type that `type_` knows, resource, complex, backbone and primitive ones."""
    return tuple(_table("types"))


def _elements(row: list[Any]) -> Iterator[tuple[Element, str]]:
    name, low, high, flags, types, binding, keys = row
    choice = name.endswith("[x]")
    path_name = name.removesuffix("[x]")
    invariants = tuple(map(_invariant, keys))
    for t in types:
        of, *targets = [t] if isinstance(t, str) else t
        json_name = path_name + of[0].upper() + of[1:] if choice else path_name
        # A required binding of a choice holds for the types that carry codes.
        bound = binding if binding and of in _CODED else None
        yield (
            Element(json_name, path_name, of, low, high or None, choice, "m" in flags, "s" in flags, bound, tuple(targets), invariants),
            path_name if choice else "",
        )


_CODED = frozenset(("code", "Coding", "CodeableConcept", "Quantity", "Age", "Duration", "string", "uri", "Count", "Distance", "Money"))


@cache
def type_(name: str) -> Type:
    """The definition of a type. KeyError if R4 has none of this name."""
    kind, base, keys, rows = _table("types")[name]
    abstract = kind.endswith("*")
    elements: dict[str, Element] = {}
    choices: dict[str, dict[str, str]] = {}
    invariants = [_invariant(k) for k in keys]
    if base:
        parent = type_(base)
        elements.update(parent.elements)
        choices.update(parent.choices)
        own = {i.key for i in invariants}
        invariants = [i for i in parent.invariants if i.key not in own] + invariants
    for row in rows:
        for element, choice in _elements(row):
            elements[element.name] = element
            if choice:
                choices.setdefault(choice, {})[element.type] = element.name
    return Type(name, cast(Kind, kind.rstrip("*")), base or None, abstract, elements, choices, tuple(invariants))


def is_a(name: str, ancestor: str) -> bool:
    """Whether a type is another or specialises it: `Age` is a `Quantity`, `id` is a `string`, `Patient` is a `DomainResource`."""
    at: str | None = name
    while at and at != ancestor:
        at = _table("types")[at][1]
    return at == ancestor


@cache
def _search() -> tuple[dict[str, SearchParam], dict[str, dict[str, SearchParam]]]:
    by_url: dict[str, SearchParam] = {}
    by_base: dict[str, dict[str, SearchParam]] = {}
    for url, code, base, type__, expression, targets, components, flags in _table("search"):
        param = SearchParam(
            url,
            code,
            tuple(base),
            type__,
            expression,
            tuple(targets),
            tuple((d, e) for d, e in components),
            "o" not in flags,
            "a" not in flags,
        )
        by_url[url] = param
        for b in base:
            by_base.setdefault(b, {})[code] = param
    return by_url, by_base


@cache
def search_params(resource_type: str) -> dict[str, SearchParam]:
    """Search parameters of a type by code, those of Resource and DomainResource included. `Resource`: those of every type."""
    by_base = _search()[1]
    found: dict[str, SearchParam] = {}
    at: str | None = resource_type
    lineage = []
    while at:
        lineage.append(at)
        at = type_(at).base
    for name in reversed(lineage):
        found.update(by_base.get(name, {}))
    return found


def search_param_by_url(url: str) -> SearchParam | None:
    return _search()[0].get(url)


@cache
def compartment(name: str) -> dict[str, tuple[str, ...]]:
    """Of a compartment (Patient, Encounter, Practitioner, RelatedPerson, Device): member type -> its search parameters' codes.

    A type with no such parameter is not in the dict. The code `{def}` is the compartment's own resource.
    """
    return {t: tuple(params) for t, params in _table("compartments")[name].items()}


def compartments() -> tuple[str, ...]:
    return tuple(sorted(_table("compartments")))


@cache
def operations() -> tuple[Operation, ...]:
    """The operations that R4 defines."""
    return tuple(
        Operation(url, code, tuple(res), "s" in where, "t" in where, "i" in where, affects, tuple(tuple(p) for p in params))
        for url, code, res, where, affects, params in _table("operations")
    )


# codesystems.json: system -> rows `code` or [code, display, places of its parents in these rows...]
@lru_cache(maxsize=256)
def code_displays(system: str) -> dict[str, str] | None:
    """code -> display, of a code system that the package holds completely; else None."""
    rows = _table("codesystems").get(system)
    if rows is None:
        return None
    return {(r if isinstance(r, str) else r[0]): (r if isinstance(r, str) else r[1]) for r in rows}


def display(system: str, code: str) -> str | None:
    """The display of a code, if the package has one."""
    return (code_displays(system) or {}).get(code) or None


@lru_cache(maxsize=256)
def code_children(system: str) -> dict[str, tuple[str, ...]]:
    """code -> the codes right below it; only codes that have some. {} for a system that is flat or not in the package."""
    rows = _table("codesystems").get(system, ())
    found: dict[str, list[str]] = {}
    for row in rows:
        if not isinstance(row, str):
            for place in row[2:]:
                parent = rows[place]
                found.setdefault(parent if isinstance(parent, str) else parent[0], []).append(row[0])
    return {parent: tuple(children) for parent, children in found.items()}


# valuesets.json: url -> null or {system: codes, or 0 for every code of the system}
@lru_cache(maxsize=512)
def value_set_systems(url: str) -> dict[str, frozenset[str]] | None:
    """system -> codes of a value set that can be listed from the package; None for others (all of UCUM, BCP 13, SNOMED CT filters)."""
    parts = _table("valuesets").get(url.partition("|")[0])
    if parts is None:
        return None
    return {s: frozenset(codes or code_displays(s) or ()) for s, codes in parts.items()}


@lru_cache(maxsize=512)
def value_set_codes(url: str) -> frozenset[tuple[str, str]] | None:
    """(system, code) pairs of a value set; None where value_set_systems says None."""
    systems = value_set_systems(url)
    return None if systems is None else frozenset((s, c) for s, codes in systems.items() for c in codes)


def is_value_set(url: str) -> bool:
    """Whether the package knows the value set, listed or not."""
    return url.partition("|")[0] in _table("valuesets")
