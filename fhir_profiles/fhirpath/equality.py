"""When two items are equal (=), equivalent (~) or in order (<), and sets of items."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fhir_profiles.fhirpath import quantity as quantities
from fhir_profiles.fhirpath import temporal
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.node import Node, quantity, system
from fhir_profiles.fhirpath.quantity import Quantity
from fhir_profiles.fhirpath.temporal import Temporal
from fhir_profiles.number import Number

_SPACE = re.compile(r"\s+")


def equal(ctx: Context, left: list[Any], right: list[Any]) -> bool | None:
    """FHIRPath `=` of two collections; None is empty."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    ctx.spend(len(left))
    answer: bool | None = True
    for a, b in zip(left, right, strict=True):
        same = equal_items(ctx, a, b)
        if same is False:
            return False
        if same is None:
            answer = None
    return answer


def equal_items(ctx: Context, a: Any, b: Any) -> bool | None:
    """FHIRPath `=` of two items; None where precision or units do not let it be said."""
    x, y = system(a), system(b)
    kind, other = x.__class__, y.__class__
    if kind is not other and (valueless(x) or valueless(y)):
        return None
    if kind is str or other is str:
        return kind is other and bool(x == y)
    if kind is bool or other is bool:
        return kind is other and x == y
    if kind in (int, Decimal):
        return bool(x == y) if other in (int, Decimal) else _number_quantity(x, y)
    if kind is Temporal:
        if other is not Temporal:
            return False
        if (x.kind == "Time") != (y.kind == "Time"):
            return False
        order = temporal.compare(x, y)
        return None if order is None else order == 0
    if kind is Quantity:
        if other in (int, Decimal):
            return _number_quantity(y, x)
        if other is not Quantity:
            return False
        order = quantities.compare(x, y)
        return None if order is None else order == 0
    if kind is Node and other is Node:
        return _same_json(ctx, x.value, y.value) and _same_json(ctx, x.ext, y.ext)
    return bool(x == y)


def valueless(item: Any) -> bool:
    """A primitive that has extensions only: where its value is asked for, it is empty."""
    return item.__class__ is Node and item.value is None


def _number_quantity(number: Any, other: Any) -> bool | None:
    if other.__class__ is not Quantity:
        return False
    order = quantities.compare(Quantity(Decimal(number), "1"), other)
    return None if order is None else order == 0


def _same_json(ctx: Context, a: Any, b: Any) -> bool:
    ctx.spend(1)
    kind = a.__class__
    if kind is dict:
        return b.__class__ is dict and a.keys() == b.keys() and all(_same_json(ctx, v, b[k]) for k, v in a.items())
    if kind is list:
        return b.__class__ is list and len(a) == len(b) and all(_same_json(ctx, v, w) for v, w in zip(a, b, strict=True))
    if kind is bool or b.__class__ is bool:
        return a is b
    if kind is Number:
        a = a.as_decimal()
    if b.__class__ is Number:
        b = b.as_decimal()
    return bool(a == b)


def equivalent(ctx: Context, left: list[Any], right: list[Any]) -> bool:
    """FHIRPath `~` of two collections: same items in any order."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for a in left:
        for i, b in enumerate(rest):
            if equivalent_items(ctx, a, b):
                del rest[i]
                break
        else:
            return False
    return True


def equivalent_items(ctx: Context, a: Any, b: Any) -> bool:
    ctx.spend(1)
    x, y = system(a), system(b)
    kind, other = x.__class__, y.__class__
    if kind is str and other is str:
        return _folded(x) == _folded(y)
    if kind is bool or other is bool:
        return kind is other and bool(x == y)
    if kind in (int, Decimal) and other in (int, Decimal):
        return _numbers_equivalent(Decimal(x), Decimal(y))
    if kind is Temporal and other is Temporal:
        return temporal.compare(x, y) == 0
    if kind is Quantity and other is Quantity:
        return _quantities_equivalent(x, y)
    if kind is Node and other is Node:
        return x.type == y.type and _equivalent_json(ctx, x.value, y.value)
    return bool(x == y)


def _folded(text: str) -> str:
    return _SPACE.sub(" ", text.strip()).casefold()


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _numbers_equivalent(x: Decimal, y: Decimal) -> bool:
    """Equal when rounded to the places of the one with fewer."""
    places = min(_places(x), _places(y))
    if places > 20 or abs(x) > 10**20 or abs(y) > 10**20:
        return x == y
    return round(x, places) == round(y, places)


# Equivalence lets calendar words stand for UCUM's mean years and months.
_MEAN = {"year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}


def _quantities_equivalent(x: Quantity, y: Quantity) -> bool:
    if x.calendar != y.calendar:
        x, y = (Quantity(q.value, _MEAN[q.unit]) if q.calendar else q for q in (x, y))
    if x.unit == y.unit:
        return _numbers_equivalent(x.value, y.value)
    a, b = quantities.canonical(x), quantities.canonical(y)
    if a is None or b is None or a[1] != b[1]:
        return False
    # The less precise one decides: 4 'g' ~ 4040 'mg'.
    step = max(_unit_size(q) / 10 ** min(_places(q.value), 30) for q in (x, y))
    return round(a[0] / step) == round(b[0] / step) if step else a[0] == b[0]


def _unit_size(q: Quantity) -> Fraction:
    one, none = (quantities.canonical(Quantity(Decimal(n), q.unit, calendar=q.calendar)) for n in (1, 0))
    return abs(one[0] - none[0]) if one and none else Fraction(0)


def _equivalent_json(ctx: Context, a: Any, b: Any) -> bool:
    ctx.spend(1)
    if a.__class__ is dict:
        # ids are no part of what an element says.
        left, right = a.keys() - {"id"}, (b.keys() - {"id"} if b.__class__ is dict else set())
        return b.__class__ is dict and left == right and all(_equivalent_json(ctx, a[k], b[k]) for k in left)
    if a.__class__ is list:
        if b.__class__ is not list or len(a) != len(b):
            return False
        rest = list(b)
        for v in a:
            at = next((i for i, w in enumerate(rest) if _equivalent_json(ctx, v, w)), None)
            if at is None:
                return False
            del rest[at]
        return True
    if a.__class__ is str and b.__class__ is str:
        return _folded(a) == _folded(b)
    return _same_json(ctx, a, b)


def order(ctx: Context, left: list[Any], right: list[Any], op: str) -> int | None:
    """-1, 0, 1 for FHIRPath's `<` family; None is empty. An error if the items cannot be ordered at all."""
    if not left or not right:
        return None
    if len(left) > 1 or len(right) > 1:
        raise execution(f"{op} compares one item with one item")
    x, y = system(left[0]), system(right[0])
    if x.__class__ is Node and y.__class__ is Node and x.type == y.type == "Quantity" and x.value.__class__ is y.value.__class__ is dict:
        return _plain_quantities(x.value, y.value)
    kind, other = x.__class__, y.__class__
    if kind is str and other is str:
        return int(x > y) - int(x < y)
    if kind in (int, Decimal) and other in (int, Decimal):
        return int(x > y) - int(x < y)
    if kind is Temporal and other is Temporal:
        if (x.kind == "Time") != (y.kind == "Time"):
            raise execution(f"a {x.kind} and a {y.kind} have no order")
        return temporal.compare(x, y)
    if kind is Quantity or other is Quantity:
        if kind in (int, Decimal):
            x = Quantity(Decimal(x), "1")
        if other in (int, Decimal):
            y = Quantity(Decimal(y), "1")
        if x.__class__ is Quantity and y.__class__ is Quantity:
            return quantities.compare(x, y)
        if Node in (kind, other):
            return None
    if x is None or y is None or (Node in (kind, other) and (getattr(x, "value", x) is None or getattr(y, "value", y) is None)):
        return None
    raise execution(f"{op} cannot order {describe(left[0])} and {describe(right[0])}")


def _plain_quantities(a: dict[str, Any], b: dict[str, Any]) -> int | None:
    """Quantities in units that are not UCUM's: ordered if the units are the same (rng-2)."""
    if a.get("comparator") or b.get("comparator") or any(a.get(k) != b.get(k) for k in ("system", "code")):
        return None
    if "code" not in a and a.get("unit") != b.get("unit"):
        return None
    x, y = (quantity({"value": q.get("value")}, None) for q in (a, b))
    return None if x is None or y is None else int(x.value > y.value) - int(x.value < y.value)


def describe(item: Any) -> str:
    from fhir_profiles.fhirpath.node import system_type

    return f"a {item.type}" if item.__class__ is Node else f"a {system_type(item)}"


class Distinct:
    """Items seen so far, for union, distinct, intersect: hashed where equality allows it."""

    __slots__ = ("ctx", "others", "seen")

    def __init__(self, ctx: Context, items: list[Any] | None = None) -> None:
        self.ctx = ctx
        self.seen: set[Any] = set()
        self.others: list[Any] = []
        for item in items or ():
            self.add(item)

    def add(self, item: Any) -> bool:
        """Whether the item is new."""
        key, exact = _key(self.ctx, system(item))
        if exact:
            if key in self.seen:
                return False
            self.seen.add(key)
            return True
        if item in self:
            return False
        self.others.append(item)
        return True

    def __contains__(self, item: Any) -> bool:
        key, exact = _key(self.ctx, system(item))
        if exact:
            return key in self.seen
        self.ctx.spend(len(self.others))
        return any(equal_items(self.ctx, item, x) for x in self.others)


def _key(ctx: Context, value: Any) -> tuple[Any, bool]:
    """A hashable that equals another's where the items are equal; False for dates and quantities, which need comparing."""
    kind = value.__class__
    if kind is str:
        return value, True
    if kind in (int, Decimal):
        return (int, value), True  # 1 and 1.0 are equal and hash alike
    if kind is bool:
        return (bool, value), True
    if kind is Node:
        return (dict, _frozen(ctx, value.value), _frozen(ctx, value.ext)), True
    return None, kind not in (Temporal, Quantity)


def _frozen(ctx: Context, value: Any) -> Any:
    ctx.spend(1)
    kind = value.__class__
    if kind is dict:
        return frozenset((k, _frozen(ctx, v)) for k, v in value.items())
    if kind is list:
        return tuple(_frozen(ctx, v) for v in value)
    if kind is bool:
        return (bool, value)
    return value.as_decimal() if kind is Number else value
