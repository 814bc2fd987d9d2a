"""How each type lies in XML: its elements by name, in order, and what kind of content each has."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from fhir_profiles import tables

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
# Deep enough for real resources, shallow enough for recursion; JSON has the same limit.
MAX_DEPTH = 200

Kind = Literal["primitive", "complex", "resource", "xhtml", "attribute"]
# Primitives whose JSON form is a string in which spaces at the ends may mean something.
SPACED = frozenset(("string", "markdown", "base64Binary"))
JSON_INTEGERS = frozenset(("integer", "unsignedInt", "positiveInt"))


@dataclass(frozen=True, slots=True)
class Child:
    """One element inside a type. `extra`: its `_name` property in JSON, with id and extensions of a primitive."""

    name: str
    order: int
    kind: Kind
    type: str
    array: bool
    extra: bool = False


@cache
def children(type_name: str) -> dict[str, Child]:
    """What a type contains, by JSON name, `_name` of primitives included. KeyError if there is no such type."""
    definition = tables.type_(type_name)
    found: dict[str, Child] = {}
    for order, element in enumerate(definition.elements.values()):
        name = element.name
        if definition.kind != "resource" and (name == "id" or (type_name == "Extension" and name == "url")):
            found[name] = Child(name, order, "attribute", element.type, False)
            continue
        kind: Kind
        if element.type == "xhtml":
            kind = "xhtml"
        elif element.type == "Resource":
            kind = "resource"
        else:
            kind = "primitive" if tables.type_(element.type).kind == "primitive" else "complex"
        found[name] = Child(name, order, kind, element.type, element.array)
        if kind == "primitive":
            found["_" + name] = Child(name, order, kind, element.type, element.array, extra=True)
    return found


@cache
def tags(type_name: str) -> dict[str, Child]:
    """The same by the name that expat gives: namespace, space, local name. Attributes and `_name` are not among them."""
    found: dict[str, Child] = {}
    for child in children(type_name).values():
        if child.kind != "attribute" and not child.extra:
            found[f"{XHTML if child.kind == 'xhtml' else FHIR} {child.name}"] = child
    return found
