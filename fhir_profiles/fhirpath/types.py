"""What FHIRPath needs to know of R4's types: the steps from one to the next, and type names in expressions."""

from functools import lru_cache
from typing import NamedTuple

from fhir_profiles import tables
from fhir_profiles.fhirpath.errors import semantic

SYSTEM = frozenset(("Boolean", "Integer", "Decimal", "String", "Date", "DateTime", "Time", "Quantity", "Any"))
_NAMES = frozenset(n for n in tables.type_names() if "." not in n)
PRIMITIVE = frozenset(n for n in _NAMES if n[0].islower())
# R4 calls these abstract too; expressions test for them.
_ABSTRACT = frozenset(("Element", "BackboneElement", "Resource", "DomainResource"))


class Step(NamedTuple):
    """One JSON property an element name leads to. `open`: the type stands in the value's `resourceType`; `many`: an array."""

    json: str
    type: str
    primitive: bool
    open: bool
    many: bool


@lru_cache(maxsize=2048)
def steps(type_name: str) -> dict[str, tuple[Step, ...]]:
    """Element name -> its JSON properties (several for a choice), in the order of the definition."""
    try:
        elements = tables.type_(type_name).elements.values()
    except KeyError:
        raise semantic(f"{type_name} is not a type of FHIR R4") from None
    found: dict[str, list[Step]] = {}
    for e in elements:
        kind = tables.type_(e.type).kind
        is_open = e.type in ("Resource", "DomainResource")
        found.setdefault(e.path_name, []).append(Step(e.name, e.type, kind == "primitive", is_open, e.array))
    return {name: tuple(s) for name, s in found.items()}


@lru_cache(maxsize=4096)
def is_a(type_name: str, ancestor: str) -> bool:
    """Whether a FHIR type is another or specialises it."""
    if type_name == ancestor:
        return True
    try:
        return tables.is_a(type_name, ancestor)
    except KeyError:
        return False


class TypeName(NamedTuple):
    """A type as an expression names it. `system` and `fhir` say where it may be found."""

    name: str
    system: bool
    fhir: bool


@lru_cache(maxsize=1024)
def type_name(text: str) -> TypeName:
    """A type specifier; FHIRPathError `semantic` if there is no such type."""
    space, _, name = text.rpartition(".")
    if space not in ("", "FHIR", "System"):
        raise semantic(f"{space} is not a namespace of types; FHIR and System are")
    system = space != "FHIR" and name in SYSTEM
    # `System.Patient` names nothing, and nothing is of it (no error: the official suite asks so).
    fhir = space != "System" and (name in _NAMES or name in _ABSTRACT)
    if not (system or fhir or space == "System"):
        raise semantic(f"{text} is not a type of FHIR R4 or FHIRPath")
    return TypeName(name, system, fhir)


def base(name: str) -> str:
    """The type a type specialises; `Any` for the two roots."""
    return tables.type_(name).base or "Any"
