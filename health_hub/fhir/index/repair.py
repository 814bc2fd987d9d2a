"""A resource without what has not the shape its definition says: extraction of content that was never validated starts from it."""

from typing import Any

from fhir_profiles import tables
from fhir_profiles.number import Number

_NUMBERS = frozenset(("integer", "positiveInt", "unsignedInt", "decimal"))


def repaired(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The well-shaped part of a value of a type; unknown elements are left out too."""
    out: dict[str, Any] = {}
    elements = tables.type_(name).elements
    for key, x in value.items():
        if key == "resourceType":
            out[key] = x
            continue
        element = elements.get(key)
        if element is None:
            continue
        if element.array:
            items = [_one(i, element.type) for i in x] if isinstance(x, list) else []
            if any(i is not None for i in items):
                # Primitives may have null among them; a backbone element keeps its number, in case an index counts.
                kind = tables.type_(element.type).kind
                out[key] = items if kind == "primitive" else [i or {} for i in items if i is not None or kind == "backbone"]
        elif (one := _one(x, element.type)) is not None:
            out[key] = one
    return out


def _one(x: Any, name: str) -> Any:
    if name == "Resource":
        inner = x.get("resourceType") if isinstance(x, dict) else None
        return repaired(x, inner) if isinstance(inner, str) and tables.is_resource_type(inner) else None
    if tables.type_(name).kind != "primitive":
        return repaired(x, name) if isinstance(x, dict) else None
    if name == "boolean":
        return x if isinstance(x, bool) else None
    if name in _NUMBERS:
        return x if isinstance(x, int | Number) and not isinstance(x, bool) else None
    # An empty text is no value, and what is no Unicode text has no hash that search could ask for.
    return x if isinstance(x, str) and x and not any("\ud800" <= c <= "\udfff" for c in x) else None
