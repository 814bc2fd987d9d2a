"""Ordered values as ranges: dates, numbers and quantities of every FHIR type that has them. None for what has no range."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir_profiles.number import Number, decimal
from health_hub.fhir import dates
from health_hub.fhir.index import settings
from health_hub.fhir.index.forms import CURRENCY, clamp, in_canonical, unit, value
from health_hub.fhir.index.model import NUMBER_MAX, NUMBER_MIN
from health_hub.fhir.search.query import MICROSECOND_MAX, MICROSECOND_MIN

Span = tuple[int, int]
Interval = tuple[float, float]
# low, high, code, unit, canon, canonical low, canonical high
Measure = tuple[float, float, int, int, int, float, float]
# Points of a SampledData that are looked at.
POINTS = 100_000


def moment(x: Any) -> Span | None:
    try:
        return dates.span(x, settings.zone)
    except (ValueError, TypeError):
        return None


def period(x: Any) -> Span | None:
    start, end = x.get("start"), x.get("end")
    low = moment(start) if start else None
    high = moment(end) if end else None
    if low is None and high is None:
        return None
    return (low[0] if low else MICROSECOND_MIN), (high[1] if high else MICROSECOND_MAX)


def timing(x: Any) -> Span | None:
    """The outer limits only (R4 search.html#date)."""
    found = [s for s in map(moment, x.get("event") or ()) if s]
    repeat = x.get("repeat")
    if repeat and repeat.get("boundsPeriod"):
        bounds = period(repeat["boundsPeriod"])
        if bounds:
            found.append(bounds)
    return (min(s[0] for s in found), max(s[1] for s in found)) if found else None


def amount(x: Any) -> float:
    """A JSON number; TypeError for anything else."""
    if x.__class__ is int:
        return float(x) if -(10**300) < x < 10**300 else NUMBER_MAX if x > 0 else NUMBER_MIN
    if x.__class__ is Number or x.__class__ is Decimal:
        return clamp(float(x))
    raise TypeError("not a number")


def number(x: Any) -> Interval | None:
    at = amount(x)
    return at, at


def number_range(x: Any) -> Interval | None:
    low, high = (x.get("low") or {}).get("value"), (x.get("high") or {}).get("value")
    if low is None and high is None:
        return None
    return (NUMBER_MIN if low is None else amount(low)), (NUMBER_MAX if high is None else amount(high))


def _measure(low: Any, high: Any, system: str | None, code: str | None, name: str | None) -> Measure:
    """low, high: JSON numbers, or None for an open end."""
    a = NUMBER_MIN if low is None else amount(low)
    b = a if high is low and low is not None else NUMBER_MAX if high is None else amount(high)
    code_hash = value("c", code) if code else 0
    unit_hash = code_hash if name == code else value("c", name) if name else 0
    if not (system and code):
        return a, b, code_hash, unit_hash, 0, a, b
    canon, factor, offset = unit(system, code)
    if factor == 1 and not offset:
        return a, b, code_hash, unit_hash, canon, a, b
    ca = a if low is None else in_canonical(decimal(low), factor, offset)
    cb = ca if high is low and low is not None else b if high is None else in_canonical(decimal(high), factor, offset)
    return a, b, code_hash, unit_hash, canon, ca, cb


def quantity(x: Any) -> Measure | None:
    at = x.get("value")
    if at is None:
        return None
    low = high = at
    comparator = x.get("comparator")
    if comparator:
        if comparator[0] == "<":
            low = None
        elif comparator[0] == ">":
            high = None
    return _measure(low, high, x.get("system"), x.get("code"), x.get("unit"))


def quantity_range(x: Any) -> Measure | None:
    low, high = x.get("low") or {}, x.get("high") or {}
    a, b = low.get("value"), high.get("value")
    if a is None and b is None:
        return None
    of = low if low.get("code") or not high else high
    return _measure(a, b, of.get("system"), of.get("code"), of.get("unit"))


def money(x: Any) -> Measure | None:
    at, currency = x.get("value"), x.get("currency")
    return None if at is None else _measure(at, at, CURRENCY, currency, None)


def sampled(x: Any) -> Measure | None:
    """The bounds of the values (R4: "just search on the bounds of the values in sampled data")."""
    origin = x.get("origin") or {}
    zero = float(amount(origin.get("value") or 0))
    factor = float(amount(x["factor"])) if x.get("factor") is not None else 1.0
    limits = {"L": x.get("lowerLimit"), "U": x.get("upperLimit")}
    points = []
    for text in (x.get("data") or "").split(None, POINTS)[:POINTS]:
        if text in limits:
            if limits[text] is not None:
                points.append(amount(limits[text]))
        elif text != "E":
            try:
                points.append(clamp(zero + float(text) * factor))
            except ValueError:
                continue
    if not points:
        return None
    return _measure(_written(min(points)), _written(max(points)), origin.get("system"), origin.get("code"), origin.get("unit"))


def _written(at: float) -> Decimal:
    return Decimal(repr(at))


SPANS: dict[str, Callable[[Any], Span | None]] = {
    "date": moment, "dateTime": moment, "instant": moment, "Period": period, "Timing": timing,
}  # fmt: skip
INTERVALS: dict[str, Callable[[Any], Interval | None]] = {
    "decimal": number, "integer": number, "positiveInt": number, "unsignedInt": number, "Range": number_range,
}  # fmt: skip
MEASURES: dict[str, Callable[[Any], Measure | None]] = {
    "Quantity": quantity, "Age": quantity, "Count": quantity, "Distance": quantity, "Duration": quantity, "SimpleQuantity": quantity,
    "MoneyQuantity": quantity, "Money": money, "Range": quantity_range, "SampledData": sampled,
}  # fmt: skip
