"""Elements of a resource as FHIRPath sees them: value, type, primitive extensions, place."""

from decimal import Decimal
from typing import Any

from fhir_profiles.fhirpath import types
from fhir_profiles.fhirpath.quantity import CALENDAR, Quantity
from fhir_profiles.fhirpath.temporal import Temporal, temporal
from fhir_profiles.number import Number

_QUANTITIES = frozenset(("Quantity", "Age", "Duration", "Distance", "Count", "SimpleQuantity", "MoneyQuantity"))
_INTEGERS = frozenset(("integer", "unsignedInt", "positiveInt"))
# FHIR primitive -> FHIRPath type it converts to without asking.
IMPLICIT = {
    "boolean": "Boolean", "integer": "Integer", "unsignedInt": "Integer", "positiveInt": "Integer", "decimal": "Decimal",
    "date": "Date", "dateTime": "DateTime", "instant": "DateTime", "time": "Time",
}  # fmt: skip
# JSON may say 1e999999999, with which no arithmetic ends: such a number is an element without a FHIRPath value.
MAX_EXPONENT = 400
UCUM = "http://unitsofmeasure.org"


class Node:
    """An element. `value` is its JSON (None if a primitive has extensions only); `ext` the `_name` object of a primitive.

    `parent`, `name`, `index` are its place: the JSON property of the parent, and the index if that is an array.
    """

    __slots__ = ("ext", "index", "name", "parent", "type", "value")

    def __init__(self, value: Any, type: str, ext: Any, parent: "Node | None", name: str, index: int) -> None:
        self.value = value
        self.type = type
        self.ext = ext
        self.parent = parent
        self.name = name
        self.index = index  # -1: not in an array

    @property
    def path(self) -> str:
        """`Patient.name[0].family`; a choice by its JSON name."""
        if self.parent is None:
            return self.name or self.type
        return f"{self.parent.path}.{self.name}" + (f"[{self.index}]" if self.index >= 0 else "")

    @property
    def keys(self) -> tuple[str | int, ...]:
        """The JSON way to the element from the root: property names and indexes."""
        if self.parent is None:
            return ()
        return (*self.parent.keys, self.name, self.index) if self.index >= 0 else (*self.parent.keys, self.name)

    def __repr__(self) -> str:
        return f"<{self.type} {self.path}>"


def root(value: Any, type_name: str | None = None, ext: Any = None) -> Node:
    """The start of a walk: a resource, or an element of a known type."""
    if isinstance(value, dict) and isinstance(value.get("resourceType"), str) and type_name in (None, "Resource", "DomainResource"):
        type_name = value["resourceType"]
    if type_name is None:
        raise ValueError("an element that is not a resource needs its type")
    return Node(value, type_name, ext, None, "", -1)


def children(node: Node, name: str, out: list[Any]) -> None:
    """Append the child elements called `name`."""
    value = node.value
    if value.__class__ is dict:
        for step in types.steps(node.type).get(name, ()):
            _take(node, value, step, out)
    elif node.ext.__class__ is dict and name in ("extension", "id"):
        for step in types.steps("Element")[name]:
            _take(node, node.ext, step, out)


def all_children(node: Node, out: list[Any]) -> None:
    """Append every child element, in the order of the definition."""
    value = node.value
    if value.__class__ is dict:
        for steps in types.steps(node.type).values():
            for step in steps:
                if step.json in value or "_" + step.json in value:
                    _take(node, value, step, out)
    elif node.ext.__class__ is dict:
        for steps in types.steps("Element").values():
            for step in steps:
                _take(node, node.ext, step, out)


def _take(node: Node, value: dict[str, Any], step: types.Step, out: list[Any]) -> None:
    json, type_name, primitive, is_open, _ = step
    found = value.get(json)
    ext = value.get("_" + json) if primitive else None
    if found.__class__ is list:
        if primitive:
            beside = ext if ext.__class__ is list else ()
            for i in range(max(len(found), len(beside))):
                x = found[i] if i < len(found) else None
                e = beside[i] if i < len(beside) else None
                if x is not None or e is not None:
                    out.append(Node(x, type_name, e, node, json, i))
        elif is_open:
            for i, x in enumerate(found):
                if x.__class__ is dict:
                    out.append(Node(x, _resource_type(x, type_name), None, node, json, i))
        else:
            for i, x in enumerate(found):
                if x is not None:
                    out.append(Node(x, type_name, None, node, json, i))
    elif found is not None:
        out.append(Node(found, _resource_type(found, type_name) if is_open else type_name, ext, node, json, -1))
    elif ext is not None:
        if ext.__class__ is list:
            for i, e in enumerate(ext):
                if e is not None:
                    out.append(Node(None, type_name, e, node, json, i))
        else:
            out.append(Node(None, type_name, ext, node, json, -1))


def _resource_type(value: Any, otherwise: str) -> str:
    name = value.get("resourceType") if value.__class__ is dict else None
    return name if isinstance(name, str) and types.is_a(name, "Resource") else otherwise


def system(item: Any) -> Any:
    """The FHIRPath value of an item: bool, int, Decimal, str, Temporal, Quantity; a Node that has none; None if it is empty."""
    if item.__class__ is not Node:
        return item
    value, type_name = item.value, item.type
    kind = value.__class__
    if kind is dict:
        return quantity(value, item) if type_name in _QUANTITIES else item
    if kind is str:
        wanted = IMPLICIT.get(type_name)
        if wanted in ("Date", "DateTime", "Time"):
            return temporal(value, wanted) or value  # type: ignore[arg-type]
        return value
    if kind is Number:
        number = value.as_decimal()
        return number if abs(number.adjusted()) < MAX_EXPONENT else item
    if kind is int and type_name not in _INTEGERS:
        return Decimal(value)
    if value is None:
        return item if item.ext is not None else None
    return value


def quantity(value: dict[str, Any], otherwise: Any) -> Any:
    """A FHIR Quantity as FHIRPath's, where it can be: a value without comparator, in UCUM or with no unit."""
    amount = value.get("value")
    if amount.__class__ not in (int, Number) or value.get("comparator"):
        return otherwise
    code, unit = value.get("code"), value.get("unit")
    number = amount.as_decimal() if isinstance(amount, Number) else Decimal(amount)
    if abs(number.adjusted()) >= MAX_EXPONENT:
        return otherwise
    if value.get("system") == UCUM and isinstance(code, str):
        # R4 fhirpath.html: a and mo are read as the calendar's year and month.
        word = {"a": "year", "mo": "month"}.get(code)
        return Quantity(number, word, calendar=True) if word else Quantity(number, code)
    if code is None and unit is None:
        return Quantity(number, "1")
    if value.get("system") is None and isinstance(unit, str) and unit in CALENDAR:
        return Quantity(number, CALENDAR[unit], calendar=True)
    return otherwise


def system_type(item: Any) -> str:
    """The name of a FHIRPath value's type: `Integer`; of a type description, its kind."""
    if item.__class__ is bool:
        return "Boolean"
    if item.__class__ is int:
        return "Integer"
    if item.__class__ is str:
        return "String"
    if isinstance(item, Decimal):
        return "Decimal"
    if isinstance(item, Temporal):
        return item.kind
    return "Quantity" if isinstance(item, Quantity) else type(item).__name__
