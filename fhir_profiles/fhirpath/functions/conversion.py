"""Conversions: toX() and convertsToX() (FHIRPath N1, 5.5)."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.node import Node
from fhir_profiles.fhirpath.quantity import CALENDAR, Quantity
from fhir_profiles.fhirpath.registry import Items, text, value, values
from fhir_profiles.fhirpath.temporal import Kind, Temporal, temporal

_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "0.0"))
_INTEGER = re.compile(r"[+-]?\d{1,10}")
_DECIMAL = re.compile(r"[+-]?\d{1,60}(\.\d{1,60})?")
_QUANTITY = re.compile(r"([+-]?\d{1,60}(?:\.\d{1,60})?)(?:\s*(?:'([^']+)'|([a-zA-Z]+)))?")


def to_boolean(x: Any) -> bool | None:
    if x.__class__ is bool:
        return x
    if x.__class__ in (int, Decimal):
        return True if x == 1 else False if x == 0 else None
    if x.__class__ is str:
        folded = x.lower()
        return True if folded in _TRUE else False if folded in _FALSE else None
    return None


def to_integer(x: Any) -> int | None:
    if x.__class__ is bool:
        return int(x)
    if x.__class__ is int:
        return x
    if x.__class__ is str and _INTEGER.fullmatch(x):
        n = int(x)
        return n if -(2**31) <= n < 2**31 else None
    return None


def to_decimal(x: Any) -> Decimal | None:
    if x.__class__ in (int, bool):
        return Decimal(x)
    if x.__class__ is Decimal:
        return x
    return Decimal(x) if x.__class__ is str and _DECIMAL.fullmatch(x) else None


def to_text(x: Any) -> str | None:
    if x.__class__ is bool:
        return "true" if x else "false"
    if x.__class__ is str:
        return x
    if x.__class__ is Decimal:
        return format(x, "f") if abs(x.adjusted()) < 60 else str(x)
    return str(x) if x.__class__ in (int, Temporal, Quantity) else None


def to_quantity(x: Any) -> Quantity | None:
    if x.__class__ is Quantity:
        return x
    if x.__class__ in (int, Decimal, bool):
        return Quantity(Decimal(x), "1")
    m = _QUANTITY.fullmatch(x) if x.__class__ is str else None
    if m is None:
        return None
    if m[3]:
        return Quantity(Decimal(m[1]), CALENDAR[m[3]], calendar=True) if m[3] in CALENDAR else None
    return Quantity(Decimal(m[1]), m[2] or "1")


def _to_temporal(kind: Kind) -> Callable[[Any], Temporal | None]:
    def convert(x: Any) -> Temporal | None:
        if x.__class__ is Temporal:
            if x.kind == kind:
                return x
            if kind == "DateTime" and x.kind == "Date":
                return Temporal(kind, x.parts)
            return Temporal(kind, x.parts[:3]) if kind == "Date" and x.kind == "DateTime" else None
        if x.__class__ is not str:
            return None
        # A string of a date-time converts to its date (N1 toDate()).
        found = temporal(x, "DateTime" if kind == "Date" else kind)
        return convert(found) if found is not None and kind == "Date" else found

    return convert


def _register(name: str, convert: Callable[[Any], Any]) -> None:
    @values(f"to{name}", 0, 1)
    def to(ctx: Context, items: Items, unit: Items | None = None) -> Items:
        x = value(items, f"to{name}()")
        found = None if x is None else convert(_plain(items[0], x))
        if found is not None and unit:
            # toQuantity(unit): only if it is that unit already or converts to it as a whole.
            return [found] if getattr(found, "unit", None) == text(unit, "toQuantity()") else []
        return [] if found is None else [found]

    @values(f"convertsTo{name}", 0, 1)
    def converts(ctx: Context, items: Items, unit: Items | None = None) -> Items:
        x = value(items, f"convertsTo{name}()")
        return [] if x is None else [convert(_plain(items[0], x)) is not None]


def _plain(item: Any, found: Any) -> Any:
    """A FHIR primitive by its value; elements that are no values convert to nothing."""
    return item.value if found.__class__ is Node and item.__class__ is Node and not isinstance(item.value, dict) else found


_register("Boolean", to_boolean)
_register("Integer", to_integer)
_register("Decimal", to_decimal)
_register("String", to_text)
_register("Quantity", to_quantity)
_register("Date", _to_temporal("Date"))
_register("DateTime", _to_temporal("DateTime"))
_register("Time", _to_temporal("Time"))
