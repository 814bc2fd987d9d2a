"""Quantities: a number with a UCUM code or a calendar word (FHIRPath N1, "Quantity")."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

# Calendar words; a quantity keeps the singular.
CALENDAR = {f"{word}{s}": word for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond") for s in ("", "s")}
# UCUM codes that mean a definite time. `a` and `mo` are mean years and months: no calendar word equals them.
_DEFINITE = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
_SECONDS = {
    "week": Fraction(604800),
    "day": Fraction(86400),
    "hour": Fraction(3600),
    "minute": Fraction(60),
    "second": Fraction(1),
    "millisecond": Fraction(1, 1000),
}

# code -> (factor, offset, canonical unit) so that canonical value = value * factor + offset; None for no UCUM code.
Canonical = Callable[[str], tuple[Fraction, Fraction, str] | None]


def _same_code_only(code: str) -> tuple[Fraction, Fraction, str] | None:
    word = _DEFINITE.get(code)
    return (_SECONDS[word], Fraction(0), "s") if word else (Fraction(1), Fraction(0), code)


_canonical: Canonical = _same_code_only


def set_ucum(canonical: Canonical) -> None:
    """UCUM lives above this package: until it is given, only equal codes and times compare."""
    global _canonical
    _canonical = canonical


class Quantity:
    """`unit` is a UCUM code, or a calendar word in the singular when `calendar`."""

    __slots__ = ("calendar", "unit", "value")

    def __init__(self, value: Decimal, unit: str, *, calendar: bool = False) -> None:
        self.value = value
        self.unit = unit
        self.calendar = calendar

    def __str__(self) -> str:
        if self.calendar:
            return f"{self.value} {self.unit}{'' if self.value == 1 else 's'}"
        return f"{self.value} '{self.unit}'"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and compare(self, other) == 0

    def __hash__(self) -> int:
        found = canonical(self)
        return hash(found) if found else hash((self.value, self.unit))

    def time_unit(self) -> str | None:
        """The calendar word this counts in, if a date may move by it."""
        return self.unit if self.calendar else CALENDAR.get(self.unit) or _DEFINITE.get(self.unit)


def canonical(q: Quantity) -> tuple[Fraction, str] | None:
    """Value and unit in which quantities of one kind compare; None for no UCUM code."""
    if q.calendar:
        if q.unit in ("year", "month"):
            return Fraction(q.value) * (12 if q.unit == "year" else 1), "{month}"
        return Fraction(q.value) * _SECONDS[q.unit], "s"
    # exp() and power() reach 1e999999, whose exact fraction is of no use and long in the making.
    found = _canonical(q.unit) if q.value.is_finite() and abs(q.value.adjusted()) < 400 else None
    if found is None:
        return None
    factor, offset, unit = found
    return Fraction(q.value) * Fraction(factor) + Fraction(offset), unit


def compare(a: Quantity, b: Quantity) -> int | None:
    """-1, 0 or 1; None if they measure different things."""
    if a.unit == b.unit and a.calendar == b.calendar:
        return (a.value > b.value) - (a.value < b.value)
    x, y = canonical(a), canonical(b)
    if x is None or y is None or x[1] != y[1]:
        return None
    return (x[0] > y[0]) - (x[0] < y[0])


def comparable(a: Quantity, b: Quantity) -> bool:
    x, y = canonical(a), canonical(b)
    return x is not None and y is not None and x[1] == y[1]


def combined(a: Quantity, b: Quantity, *, divide: bool) -> Quantity | None:
    """The product or quotient with its unit; None when dividing by zero or when a unit is a calendar one and not a definite time."""
    if divide and b.value == 0:
        return None
    value = a.value / b.value if divide else a.value * b.value
    left, right = _code(a), _code(b)
    if left is None or right is None:
        return None
    if divide:
        unit = left if right == "1" else "1" if left == right else f"{_group(left)}/{_group(right)}"
    else:
        unit = left if right == "1" else right if left == "1" else f"{_group(left)}.{_group(right)}"
    return Quantity(value, unit)


def _group(code: str) -> str:
    return f"({code})" if "/" in code or "." in code else code


def _code(q: Quantity) -> str | None:
    if not q.calendar:
        return q.unit
    return next((code for code, word in _DEFINITE.items() if word == q.unit), None)
