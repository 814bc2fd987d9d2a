"""Arithmetic functions (FHIRPath N1, 5.7), precision and boundaries."""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException
from decimal import Context as Precision
from typing import Any

from fhir_profiles.fhirpath import quantity as quantities
from fhir_profiles.fhirpath import temporal
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.quantity import Quantity
from fhir_profiles.fhirpath.registry import Items, integer, value, values
from fhir_profiles.fhirpath.temporal import Temporal

# N1 asks for 28 digits and 8 places at least; FHIR decimals may have more than that before rounding.
PRECISION = Precision(prec=34)
# Beyond this many digits a whole number is no longer written out.
MAX_DIGITS = 60


def number(items: Items, what: str) -> Any:
    """The one item as int, Decimal or Quantity; None if there is none."""
    found = value(items, what)
    if found is None or found.__class__ in (int, Decimal, Quantity):
        return found
    raise execution(f"{what} takes a number")


def plain(items: Items, what: str) -> Any:
    """The one item as int or Decimal; None if there is none."""
    found = number(items, what)
    if found.__class__ is Quantity:
        raise execution(f"{what} takes a number without a unit")
    return found


def whole(x: Decimal) -> Items:
    """An integral decimal as an Integer; as a Decimal where it is beyond Integer; empty if it is beyond sense."""
    if not x.is_finite() or x.adjusted() > MAX_DIGITS:
        return []
    n = int(x)
    return [n if -(2**31) <= n < 2**31 else Decimal(n)]


def _rounded(name: str, mode: str) -> None:
    @values(name)
    def run(ctx: Context, items: Items) -> Items:
        x = number(items, f"{name}()")
        if x is None or x.__class__ is int:
            return [] if x is None else [x]
        if x.__class__ is Quantity:
            return [Quantity(d if isinstance(d, Decimal) else Decimal(d), x.unit, calendar=x.calendar) for d in _to(x.value, mode)]
        return _to(x, mode)


def _to(x: Decimal, mode: str) -> Items:
    return whole(x.to_integral_value(mode)) if x.adjusted() <= MAX_DIGITS else []


_rounded("ceiling", ROUND_CEILING)
_rounded("floor", ROUND_FLOOR)
_rounded("truncate", ROUND_DOWN)


@values("abs")
def abs_(ctx: Context, items: Items) -> Items:
    x = number(items, "abs()")
    if x is None:
        return []
    return [Quantity(abs(x.value), x.unit, calendar=x.calendar) if x.__class__ is Quantity else abs(x)]


@values("round", 0, 1)
def round_(ctx: Context, items: Items, places: Items | None = None) -> Items:
    x = number(items, "round()")
    n = integer(places, "round()") if places is not None else 0
    if x is None:
        return []
    if n is None or n < 0:
        raise execution("round() takes a number of places from 0")
    if x.__class__ is int:
        return [x]
    amount: Decimal = x.value if x.__class__ is Quantity else x
    if n > MAX_DIGITS or amount.adjusted() > MAX_DIGITS:
        return [x]
    done = amount.quantize(Decimal(1).scaleb(-n), ROUND_HALF_UP, Precision(prec=2 * MAX_DIGITS + 2))
    return [Quantity(done, x.unit, calendar=x.calendar) if x.__class__ is Quantity else done]


def _real(name: str, function: Callable[[Decimal], Decimal]) -> None:
    @values(name)
    def run(ctx: Context, items: Items) -> Items:
        x = plain(items, f"{name}()")
        if x is None:
            return []
        return result(lambda: function(Decimal(x)))


def result(calculation: Callable[[], Decimal]) -> Items:
    """One decimal, or empty where the calculation has no finite real answer."""
    try:
        done = calculation()
    except (DecimalException, ZeroDivisionError, OverflowError):
        return []
    return [done] if done.is_finite() else []


_real("exp", PRECISION.exp)
_real("ln", PRECISION.ln)
_real("sqrt", PRECISION.sqrt)


@values("log", 1)
def log(ctx: Context, items: Items, base: Items) -> Items:
    x, b = plain(items, "log()"), plain(base, "log()")
    if x is None or b is None:
        return []
    return result(lambda: PRECISION.divide(PRECISION.ln(Decimal(x)), PRECISION.ln(Decimal(b))).quantize(Decimal("1e-16")).normalize())


@values("power", 1)
def power(ctx: Context, items: Items, exponent: Items) -> Items:
    x, e = plain(items, "power()"), plain(exponent, "power()")
    if x is None or e is None:
        return []
    ctx.spend(100)
    if x.__class__ is int and e.__class__ is int and e >= 0:
        done = result(lambda: PRECISION.power(Decimal(x), Decimal(e)))
        return whole(done[0]) if done else []
    return result(lambda: PRECISION.power(Decimal(x), Decimal(e)))


@values("precision")
def precision(ctx: Context, items: Items) -> Items:
    x = value(items, "precision()")
    if x.__class__ is Temporal:
        return [temporal.precision(x)]
    if x.__class__ in (int, Decimal):
        # 1.58700 has five.
        exponent = Decimal(x).as_tuple().exponent
        return [max(0, -exponent) if isinstance(exponent, int) else 0]
    return []


# Decimal places a boundary has when none are asked for, and the most there are (N1 STU).
_PLACES = 8
_MOST_PLACES = 31


def _boundary(name: str, high: bool) -> None:
    @values(name, 0, 1)
    def run(ctx: Context, items: Items, digits: Items | None = None) -> Items:
        x = value(items, f"{name}()")
        n = integer(digits, f"{name}()") if digits is not None else None
        if x.__class__ is Temporal:
            found = temporal.boundary(x, n, high=high)
            return [] if found is None else [found]
        if x.__class__ is Quantity:
            return [Quantity(d, x.unit, calendar=x.calendar) for d in _edge(x.value, n, high)]
        return _edge(Decimal(x), n, high) if x.__class__ in (int, Decimal) else []


def _edge(x: Decimal, places: int | None, high: bool) -> list[Decimal]:
    places = _PLACES if places is None else places
    exponent = x.as_tuple().exponent
    if not 0 <= places < _MOST_PLACES or not isinstance(exponent, int) or not exponent > -MAX_DIGITS or x.adjusted() > MAX_DIGITS:
        return []
    context = Precision(prec=2 * MAX_DIGITS + 4)
    half = context.divide(Decimal(1).scaleb(min(exponent, 0)), Decimal(2))
    edge = context.add(x, half) if high else context.subtract(x, half)
    return [edge.quantize(Decimal(1).scaleb(-places), ROUND_CEILING if high else ROUND_FLOOR, context)]


_boundary("lowBoundary", high=False)
_boundary("highBoundary", high=True)


@values("comparable", 1)
def comparable(ctx: Context, items: Items, other: Items) -> Items:
    x, y = value(items, "comparable()"), value(other, "comparable()")
    if x is None or y is None:
        return []
    return [x.__class__ is Quantity and y.__class__ is Quantity and quantities.comparable(x, y)]
