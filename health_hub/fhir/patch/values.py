"""The value of a FHIRPath Patch operation as JSON of the element it is for: its type checked, anonymous types built from parts."""

from typing import Any, NamedTuple

from fhir_profiles import tables
from health_hub.fhir.patch.tree import Budget

_VALUES = {e.name: e.type for e in tables.type_("Parameters.parameter").elements.values() if e.path_name == "value"}
_CHOICES = frozenset(_VALUES) | frozenset(f"_{name}" for name in _VALUES)
# Primitives that Parameters cannot carry, by one it can.
_STANDS_FOR = {"xhtml": ("string", "markdown")}


class Given(NamedTuple):
    """What is written: `name` and its `_name` twin."""

    json: Any
    ext: Any


def _choice(part: dict[str, Any]) -> str | None:
    """The name of the part's value[x], `valueString` for `_valueString` alone."""
    names = {k.removeprefix("_") for k in part if k in _CHOICES}
    if len(names) > 1:
        raise ValueError(f"a part has one value, not {', '.join(sorted(names))}")
    return names.pop() if names else None


def fits(given: str, wanted: str) -> bool:
    """Whether a value of a type may stand where the definition wants another.

    One may specialise the other: `string` for a `code` and `uri` for a `canonical` are what clients have to send when they know no
    more; the format is validated with the whole resource.
    """
    return tables.is_a(given, wanted) or tables.is_a(wanted, given) or given in _STANDS_FOR.get(wanted, ())


def element_of(type_name: str, name: str, part: dict[str, Any]) -> tables.Element | None:
    """The element that `name` means on a type; of a choice (`value`, `value[x]` or `valueQuantity`) the one of the value's type."""
    elements = tables.type_(type_name).elements
    path_name = name.removesuffix("[x]")
    if path_name in elements and not (elements[path_name].choice and _choice(part) is None):
        return elements[path_name]
    choices = tables.type_(type_name).choices.get(path_name)
    if choices is None:
        return None
    value = _choice(part)
    given = _VALUES[value] if value else None
    if given in choices:
        return elements[choices[given]]
    return elements[next(iter(choices.values()))] if len(choices) == 1 else None


def fitting(part: dict[str, Any], element: tables.Element, budget: Budget, depth: int = 0) -> Given:
    """The part's value for an element; ValueError says why it does not fit."""
    if depth > 50:
        raise ValueError("parts are nested too deep")
    value, parts = _choice(part), part.get("part")
    if [value is not None, parts is not None, "resource" in part].count(True) != 1:
        raise ValueError("the value is one value[x], one resource or a list of parts")
    if "resource" in part:
        if element.type not in ("Resource", "DomainResource"):
            raise ValueError(f"{element.path_name} is {_article(element.type)}, not a resource")
        return Given(budget.copied(part["resource"]), None)
    if value is not None:
        if not fits(_VALUES[value], element.type):
            raise ValueError(f"{element.path_name} is {_article(element.type)}, not {_article(_VALUES[value])}")
        return Given(budget.copied(part.get(value)), budget.copied(part.get("_" + value)))
    definition = tables.type_(element.type)
    if definition.kind not in ("complex", "backbone"):
        raise ValueError(f"{element.path_name} is {_article(element.type)}: it has a value, not parts")
    if not isinstance(parts, list) or not parts:
        raise ValueError("the value has no parts")
    return Given(_built(definition.name, parts, budget, depth), None)


def _built(type_name: str, parts: list[Any], budget: Budget, depth: int) -> dict[str, Any]:
    """An element from parts named after its children."""
    out: dict[str, Any] = {}
    for part in parts:
        name = part.get("name") if isinstance(part, dict) else None
        child = element_of(type_name, name, part) if isinstance(name, str) else None
        if child is None:
            raise ValueError(f"{type_name} has no element {str(name)[:60]!r} of this type")
        given = fitting(part, child, budget, depth + 1)
        if not child.array:
            if child.name in out or "_" + child.name in out:
                raise ValueError(f"{type_name}.{child.path_name} may be there once")
            out.update({k: v for k, v in ((child.name, given.json), ("_" + child.name, given.ext)) if v is not None})
            continue
        values = out.setdefault(child.name, [])
        values.append(given.json)
        if given.ext is not None or "_" + child.name in out:
            beside = out.setdefault("_" + child.name, [])
            beside += [None] * (len(values) - 1 - len(beside)) + [given.ext]
    return out


def _article(type_name: str) -> str:
    return f"{'an' if type_name[:1].lower() in 'aeiou' else 'a'} {type_name}"
