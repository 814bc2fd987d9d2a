"""Operators: arithmetic, comparison, logic, membership, union (FHIRPath N1, chapter 6)."""

from decimal import Decimal, DecimalException
from typing import Any

from fhir_profiles.fhirpath import quantity as quantities
from fhir_profiles.fhirpath import temporal
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.equality import Distinct, describe, equal, equivalent, order, valueless
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.functions.math import PRECISION, whole
from fhir_profiles.fhirpath.functions.strings import bounded
from fhir_profiles.fhirpath.node import Node
from fhir_profiles.fhirpath.quantity import Quantity
from fhir_profiles.fhirpath.registry import Eval, Items, text, truth, value
from fhir_profiles.fhirpath.temporal import Temporal

_NUMBERS = (int, Decimal)


def binary(op: str, left: Eval, right: Eval) -> Eval:
    """The closure of an operator over two compiled operands."""
    if op in _LOGIC:
        return _LOGIC[op](left, right)
    if op in ("<", "<=", ">", ">="):
        return _ordering(op, left, right)
    function = _FUNCTIONS[op]
    return lambda ctx: function(ctx, left(ctx), right(ctx))


def _and(left: Eval, right: Eval) -> Eval:
    def run(ctx: Context) -> Items:
        a = truth(left(ctx), "and")
        if a is False:
            return [False]
        b = truth(right(ctx), "and")
        return [False] if b is False else [] if a is None or b is None else [True]

    return run


def _or(left: Eval, right: Eval) -> Eval:
    def run(ctx: Context) -> Items:
        a = truth(left(ctx), "or")
        if a:
            return [True]
        b = truth(right(ctx), "or")
        return [True] if b else [] if a is None or b is None else [False]

    return run


def _xor(left: Eval, right: Eval) -> Eval:
    def run(ctx: Context) -> Items:
        a, b = truth(left(ctx), "xor"), truth(right(ctx), "xor")
        return [] if a is None or b is None else [a != b]

    return run


def _implies(left: Eval, right: Eval) -> Eval:
    def run(ctx: Context) -> Items:
        a = truth(left(ctx), "implies")
        if a is False:
            return [True]
        b = truth(right(ctx), "implies")
        return [True] if b else [] if a is None or b is None else [False]

    return run


_LOGIC = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}


def _ordering(op: str, left: Eval, right: Eval) -> Eval:
    holds = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (1, 0)}[op]

    def run(ctx: Context) -> Items:
        found = order(ctx, left(ctx), right(ctx), op)
        return [] if found is None else [found in holds]

    return run


def _equal(ctx: Context, a: Items, b: Items) -> Items:
    found = equal(ctx, a, b)
    return [] if found is None else [found]


def _not_equal(ctx: Context, a: Items, b: Items) -> Items:
    found = equal(ctx, a, b)
    return [] if found is None else [not found]


def _equivalent(ctx: Context, a: Items, b: Items) -> Items:
    return [equivalent(ctx, a, b)]


def _not_equivalent(ctx: Context, a: Items, b: Items) -> Items:
    return [not equivalent(ctx, a, b)]


def _in(ctx: Context, a: Items, b: Items) -> Items:
    if not a:
        return []
    if len(a) > 1:
        raise execution("in takes one item on its left")
    if valueless(a[0]):
        return []
    return [_member(ctx, a[0], b)]


def _contains(ctx: Context, a: Items, b: Items) -> Items:
    if not b:
        return []
    if len(b) > 1:
        raise execution("contains takes one item on its right")
    return [_member(ctx, b[0], a)]


def _member(ctx: Context, item: Any, items: Items) -> bool:
    ctx.spend(len(items))
    return item in Distinct(ctx, items)


def alternatives(parts: list[Eval]) -> Eval:
    """`a | b | c`: each item once."""

    def run(ctx: Context) -> Items:
        found: Items = []
        for part in parts:
            found += part(ctx)
        if len(found) < 2:
            return found
        ctx.spend(len(found))
        seen = Distinct(ctx)
        return [item for item in found if seen.add(item)]

    return run


def _operands(a: Items, b: Items, op: str) -> tuple[Any, Any] | None:
    x, y = value(a, op), value(b, op)
    if x is None or y is None or (x.__class__ is Node and x.value is None) or (y.__class__ is Node and y.value is None):
        return None
    return x, y


def _wrong(op: str, a: Items, b: Items) -> Exception:
    return execution(f"{op} does not take {describe(a[0])} and {describe(b[0])}")


def _calculated(op: str, x: Any, y: Any) -> Items:
    """Two numbers; empty where there is no result or an Integer's is out of range."""
    try:
        if x.__class__ is int and y.__class__ is int:
            n = x + y if op == "+" else x - y if op == "-" else x * y
            return [n] if -(2**31) <= n < 2**31 else []
        x, y = Decimal(x), Decimal(y)
        done = PRECISION.add(x, y) if op == "+" else PRECISION.subtract(x, y) if op == "-" else PRECISION.multiply(x, y)
    except DecimalException:
        return []
    return [done] if done.is_finite() else []


def _plus(ctx: Context, a: Items, b: Items) -> Items:
    pair = _operands(a, b, "+")
    if pair is None:
        return []
    x, y = pair
    if x.__class__ is str and y.__class__ is str:
        return [bounded(ctx, x + y)]
    if x.__class__ in _NUMBERS and y.__class__ in _NUMBERS:
        return _calculated("+", x, y)
    if x.__class__ is Temporal and y.__class__ is Quantity:
        return _moved(x, y, 1)
    if x.__class__ is Quantity and y.__class__ is Quantity:
        return _sum(x, y, 1)
    raise _wrong("+", a, b)


def _minus(ctx: Context, a: Items, b: Items) -> Items:
    pair = _operands(a, b, "-")
    if pair is None:
        return []
    x, y = pair
    if x.__class__ in _NUMBERS and y.__class__ in _NUMBERS:
        return _calculated("-", x, y)
    if x.__class__ is Temporal and y.__class__ is Quantity:
        return _moved(x, y, -1)
    if x.__class__ is Quantity and y.__class__ is Quantity:
        return _sum(x, y, -1)
    raise _wrong("-", a, b)


def _moved(x: Temporal, q: Quantity, sign: int) -> Items:
    unit = q.time_unit()
    if unit is None:
        raise execution(f"a date cannot move by {q}")
    if not q.value.is_finite() or abs(q.value) > 10**12:
        return []
    amount, micro = int(q.value), 0
    if unit in ("second", "millisecond"):
        # Only of seconds does the fraction count (N1, "Date/Time Arithmetic").
        total = int(q.value * (1_000_000 if unit == "second" else 1000))
        amount, micro = int(total / 1_000_000), total - int(total / 1_000_000) * 1_000_000
        unit = "second"
    found = temporal.add(x, sign * amount, unit, sign * micro)
    return [] if found is None else [found]


def _sum(x: Quantity, y: Quantity, sign: int) -> Items:
    if x.unit == y.unit and x.calendar == y.calendar:
        return [Quantity(PRECISION.add(x.value, sign * y.value), x.unit, calendar=x.calendar)]
    a, b = quantities.canonical(x), quantities.canonical(y)
    one = quantities.canonical(Quantity(Decimal(1), x.unit, calendar=x.calendar))
    if a is None or b is None or one is None or a[1] != b[1] or not one[0]:
        return []
    total = (a[0] + sign * b[0]) / one[0]
    return [Quantity(PRECISION.divide(Decimal(total.numerator), Decimal(total.denominator)), x.unit, calendar=x.calendar)]


def _times(ctx: Context, a: Items, b: Items) -> Items:
    pair = _operands(a, b, "*")
    if pair is None:
        return []
    x, y = pair
    if x.__class__ in _NUMBERS and y.__class__ in _NUMBERS:
        return _calculated("*", x, y)
    return _scaled(x, y, divide=False) or _nothing("*", a, b, x, y)


def _divided(ctx: Context, a: Items, b: Items) -> Items:
    pair = _operands(a, b, "/")
    if pair is None:
        return []
    x, y = pair
    if x.__class__ in _NUMBERS and y.__class__ in _NUMBERS:
        try:
            done = PRECISION.divide(Decimal(x), Decimal(y))
        except DecimalException:
            return []
        return [done] if done.is_finite() else []
    return _scaled(x, y, divide=True) or _nothing("/", a, b, x, y)


def _scaled(x: Any, y: Any, *, divide: bool) -> Items:
    """Quantities multiplied or divided, one of them may be a number."""
    if x.__class__ in _NUMBERS:
        x = Quantity(Decimal(x), "1")
    if y.__class__ in _NUMBERS:
        y = Quantity(Decimal(y), "1")
    if x.__class__ is not Quantity or y.__class__ is not Quantity:
        return []
    try:
        if x.calendar and y.unit == "1":
            return [Quantity(x.value / y.value if divide else x.value * y.value, x.unit, calendar=True)]
        found = quantities.combined(x, y, divide=divide)
    except DecimalException:
        return []
    return [] if found is None else [found]


def _nothing(op: str, a: Items, b: Items, x: Any, y: Any) -> Items:
    kinds = (int, Decimal, Quantity)
    if x.__class__ in kinds and y.__class__ in kinds:
        return []
    raise _wrong(op, a, b)


def _whole_division(op: str) -> Any:
    def run(ctx: Context, a: Items, b: Items) -> Items:
        pair = _operands(a, b, op)
        if pair is None:
            return []
        x, y = pair
        if x.__class__ not in _NUMBERS or y.__class__ not in _NUMBERS:
            raise _wrong(op, a, b)
        if y == 0:
            return []
        try:
            quotient = PRECISION.divide_int(Decimal(x), Decimal(y))
            if op == "div":
                return whole(quotient)
            rest = PRECISION.subtract(Decimal(x), PRECISION.multiply(quotient, Decimal(y)))
        except DecimalException:
            return []
        return [int(rest)] if x.__class__ is int and y.__class__ is int else [rest]

    return run


def _joined(ctx: Context, a: Items, b: Items) -> Items:
    return [bounded(ctx, (text(a, "&") or "") + (text(b, "&") or ""))]


def sign(operand: Eval, mark: str) -> Eval:
    """Unary plus and minus."""

    def run(ctx: Context) -> Items:
        items = operand(ctx)
        x = value(items, mark)
        if x is None:
            return []
        if x.__class__ is Quantity:
            return [x if mark == "+" else Quantity(-x.value, x.unit, calendar=x.calendar)]
        if x.__class__ not in _NUMBERS:
            raise execution(f"{mark} does not take {describe(items[0])}")
        return [x if mark == "+" else -x]

    return run


_FUNCTIONS: dict[str, Any] = {
    "=": _equal, "!=": _not_equal, "~": _equivalent, "!~": _not_equivalent, "in": _in, "contains": _contains,
    "+": _plus, "-": _minus, "*": _times, "/": _divided, "div": _whole_division("div"), "mod": _whole_division("mod"), "&": _joined,
}  # fmt: skip
