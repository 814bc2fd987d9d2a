"""Prefixes on dates, numbers and quantities, and modifiers on strings, as tests on rows (R4 search.html#prefix).

The range of the parameter is [a, b], that of the stored value [low, high]. eq: [a, b] contains it, ne: does not; gt, lt:
something of it lies above b, below a; ge, le: that or eq; sa, eb: all of it does; ap: they overlap.
"""

from decimal import Decimal

from health_hub.fhir import keys
from health_hub.fhir.index import forms
from health_hub.fhir.outcome import bad_request
from health_hub.fhir.search.query import DateValue, NumberValue, QuantityValue, StringValue
from health_hub.store.condition import Atom, Tests


def dates(value: DateValue) -> Tests:
    """Stored `low` and `high` are inclusive, as those of the value."""
    return _dates(value.prefix, value.low, value.high)


def _dates(prefix: str, a: int, b: int) -> Tests:
    inside = (("low", ">=", a), ("low", "<=", b), ("high", "<=", b))
    match prefix:
        case "eq":
            return (inside,)
        case "ne":
            return ((("low", "<", a),), (("high", ">", b),))
        case "gt":
            return ((("high", ">", b),),)
        case "lt":
            return ((("low", "<", a),),)
        case "ge":  # what the two have in common is said in both, for the index
            return ((("high", ">=", a), ("high", ">", b)), (("high", ">=", a), *inside))
        case "le":
            return ((("low", "<=", b), ("low", "<", a)), (("low", "<=", b), *inside))
        case "sa":
            return ((("low", ">", b),),)
        case "eb":
            return ((("high", "<", a),),)
        case _:
            return ((("low", "<=", b), ("high", ">=", a)),)


def updated(value: DateValue) -> Tests:
    """As dates(), on the column of milliseconds: one stands for its thousand microseconds."""
    a, b = value.low, value.high
    first, last = -(-a // 1000), (b - 999) // 1000  # the milliseconds that lie wholly inside
    inside = (("updated", ">=", first), ("updated", "<=", last))
    above = (("updated", ">", last),)
    below = (("updated", "<", first),)
    match value.prefix:
        case "eq":
            return (inside,)
        case "ne":
            return (below, above)
        case "gt":
            return (above,)
        case "lt":
            return (below,)
        case "ge":
            return ((("updated", ">=", min(first, last + 1)),),)
        case "le":
            return ((("updated", "<=", max(last, first - 1)),),)
        case "sa":
            return ((("updated", ">", b // 1000),),)
        case "eb":
            return ((("updated", "<", a // 1000),),)
        case _:
            return ((("updated", ">=", a // 1000), ("updated", "<=", b // 1000)),)


def numbers(value: NumberValue) -> Tests:
    """gt, lt, ge, le, sa and eb take the number as exact (R4); eq and ne its written precision."""
    return _numbers(value.prefix, _double(value.value), _double(value.low), _double(value.high), "low", "high")


def _double(number: Decimal) -> float:
    return forms.clamp(float(number))


def _numbers(prefix: str, exact: float, a: float, b: float, low: str, high: str) -> Tests:
    """[a, b) of eq and ne, [a, b] of ap."""
    match prefix:
        case "eq":
            return (((low, ">=", a), (low, "<", b), (high, "<", b)),)
        case "ne":
            return (((low, "<", a),), ((high, ">=", b),))
        case "gt":
            return (((high, ">", exact),),)
        case "lt":
            return (((low, "<", exact),),)
        case "ge":
            return (((high, ">=", exact),),)
        case "le":
            return (((low, "<=", exact),),)
        case "sa":
            return (((low, ">", exact),),)
        case "eb":
            return (((high, "<", exact),),)
        case _:
            return (((low, "<=", b), (high, ">=", a)),)


def quantities(value: QuantityValue) -> Tests:
    """`5.4`: any unit. `5.4||mg`: mg as code or unit. `5.4|system|mg`: whatever is the same amount (UCUM)."""
    n = value.number
    if value.code is None:
        if value.system:
            raise bad_request("a quantity with a system needs a code: number|system|code", "value")
        return numbers(n)
    if not value.system:
        tests = numbers(n)
        h = keys.value("c", value.code)
        return tuple((*group, (column, "=", h)) for column in ("code", "unit") for group in tests)
    canon, factor, offset = forms.unit(value.system, value.code)
    exact, a, b = (forms.in_canonical(x, factor, offset) for x in (n.value, n.low, n.high))
    unit: Atom = ("canon", "=", canon)
    return tuple((unit, *group) for group in _numbers(n.prefix, exact, a, b, "clow", "chigh"))


_OPERATORS = {
    None: "prefix",
    "text": "prefix",
    "contains": "contains",
    "ends": "ends",
    "equals": "=",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
}


def strings(value: StringValue, modifier: str | None) -> Tests:
    """Folded text under `v`: starts with, or what `_filter` asks. (:exact is a key.)"""
    return ((("v", _OPERATORS[modifier], forms.fold(value.text)),),)


def below_url(url: str) -> Tests:
    """The URL itself and those that go on after it with a path segment; stored raw."""
    if url.endswith("/"):
        return ((("v", "prefix", url),),)
    return ((("v", "=", url),), (("v", "prefix", url + "/"),))


def above_url(url: str) -> list[str]:
    """Every URL whose path is a beginning of this one, with and without a closing slash."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return [url]
    parts = rest.rstrip("/").split("/")
    found = [scheme + mark + "/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return [form for u in found for form in (u, u + "/")]


def restricted(tests: Tests, *atoms: Atom) -> Tests:
    """Every group with these atoms as well."""
    return tuple((*group, *atoms) for group in tests)
