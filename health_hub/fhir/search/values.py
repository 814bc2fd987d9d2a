"""One search value as text to its typed form, by parameter type and modifier (R4 search.html#ptypes).

`reader(param, modifier, ...)` gives a function `(text, context) -> Value`; it raises ValueError with the reason, to which the
caller adds the parameter's name. Dates written without an offset lie in `context.zone`.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Context as Arithmetic
from decimal import Decimal
from typing import cast

from fhir_profiles import tables
from fhir_profiles.tables import SearchParam
from health_hub.fhir import dates, keys
from health_hub.fhir.search.escape import split, unescape
from health_hub.fhir.search.query import (
    CompositeValue,
    DateValue,
    NearValue,
    NumberValue,
    Prefix,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)

MAX_LENGTH = 4096  # characters of one value
MAX_EXPONENT = 300  # numbers are indexed as doubles

DAY = 86_400_000_000
PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))
NEAR_KM = 10.0  # R4 leaves "near" without a distance to the server
KILOMETRES = {
    "km": 1.0,
    "m": 0.001,
    "": 1.0,
    "[mi_i]": 1.609344,
    "[mi_us]": 1.609347219,
    "[nmi_i]": 1.852,
    "[ft_i]": 0.0003048,
    "[yd_i]": 0.0009144,
}
TYPES = frozenset(tables.RESOURCE_TYPES)

_arithmetic = Arithmetic(prec=400)
_TENTH = Decimal("0.1")
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,4})?")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LOCAL = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s]+")


@dataclass(frozen=True, slots=True)
class Context:
    """What values are read against: the zone of dates without offset, the own base URL, and today (start, UTC) for `ap`."""

    zone: tzinfo
    base: str = ""
    today: int = 0


Reader = Callable[[str, Context], Value]


def reader(param: SearchParam, modifier: str | None, component: Callable[[str], SearchParam | None]) -> Reader:
    """The reader for a parameter under a modifier (already known to be allowed). `component` finds a definition by URL."""
    if modifier in ("in", "not-in"):
        return read_uri
    if modifier == "of-type":
        return read_of_type
    if modifier == "identifier":
        return read_token
    if modifier == "text":
        return read_string
    if param.code == "_id":
        return read_id
    if param.code == "_list":
        return read_list
    if param.code == "near" and param.type == "special":
        return read_near
    if param.type == "reference":
        return _reference_reader(param, modifier if modifier in TYPES else None)
    if param.type == "uri" and modifier in ("above", "below"):
        return read_url
    if param.type == "composite":
        return _composite_reader(param, component)
    try:
        return _READERS[param.type]
    except KeyError:
        raise ValueError(f"parameters of type {param.type} cannot be searched here") from None


def read_string(text: str, context: Context) -> StringValue:
    literal = unescape(text)
    if not keys.fold(literal).strip():
        raise ValueError("nothing is left of the text once accents and spaces are dropped")
    return StringValue(literal)


def read_uri(text: str, context: Context) -> UriValue:
    return UriValue(unescape(text))


def read_url(text: str, context: Context) -> UriValue:
    if text[:4].lower() == "urn:":
        raise ValueError("above and below need a URL with a path, not a urn")
    return UriValue(unescape(text))


def read_token(text: str, context: Context) -> TokenValue:
    if "\\" in text:
        parts = [unescape(p) for p in split(text, "|")]
        if len(parts) == 1:
            return TokenValue(None, parts[0])
    elif "|" in text:
        parts = text.split("|")
    else:
        return TokenValue(None, text)
    if len(parts) > 2:
        raise ValueError("a token is code, |code, system|code or system|; a | inside a part is written \\|")
    system, code = parts
    if not code:
        if not system:
            raise ValueError("neither a system nor a code stands beside the |")
        return TokenValue(system, None)
    return TokenValue(system, code)


def read_of_type(text: str, context: Context) -> TokenValue:
    parts = [unescape(p) for p in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise ValueError("of-type needs system|code|value, all three")
    return TokenValue(*parts)


def read_id(text: str, context: Context) -> TokenValue:
    if not _ID.fullmatch(text):
        raise ValueError("an id is 1 to 64 letters, digits, - and .")
    return TokenValue(None, text)


def read_list(text: str, context: Context) -> ReferenceValue:
    if text.startswith("$"):
        raise ValueError("functional lists such as $current-allergies are not kept here, name a List by its id")
    identity = text.removeprefix("List/")
    if not _ID.fullmatch(identity):
        raise ValueError("a List is named by its id")
    return ReferenceValue("List", identity)


def read_date(text: str, context: Context) -> DateValue:
    prefix, rest = _prefix(text)
    if " " in rest:  # a form decoded the + of an offset
        rest = rest.replace(" ", "+")
    if len(rest) > 64:
        raise ValueError("that is too long for a date")
    low, high = dates.span(rest, context.zone)
    if prefix == "ap":
        gap = max(context.today - high, low - context.today, 0) // 10
        return DateValue(prefix, low - gap, high + gap)
    return DateValue(prefix, low, high)


def read_number(text: str, context: Context) -> NumberValue:
    prefix, rest = _prefix(text)
    if not _NUMBER.fullmatch(rest):
        raise ValueError(f"{rest[:60]!r} is no number")
    value = Decimal(rest)
    exponent = cast(int, value.as_tuple().exponent)
    if exponent < -MAX_EXPONENT or value.adjusted() > MAX_EXPONENT:
        raise ValueError("the number is too large or too fine")
    # Half a unit of the last digit written: 100 is [99.5, 100.5), 5.40 is [5.395, 5.405).
    margin = Decimal((0, (5,), exponent - 1))
    if prefix == "ap":
        margin = max(margin, _arithmetic.multiply(abs(value), _TENTH))
    return NumberValue(prefix, value, _arithmetic.subtract(value, margin), _arithmetic.add(value, margin))


def read_quantity(text: str, context: Context) -> QuantityValue:
    parts = [unescape(p) for p in split(text, "|")]
    if len(parts) == 1:
        return QuantityValue(read_number(parts[0], context), None, None)
    if len(parts) != 3:
        raise ValueError("a quantity is number, number|system|code or number||code")
    number, system, code = parts
    return QuantityValue(read_number(number, context), system if system or code else None, code or None)


def read_near(text: str, context: Context) -> NearValue:
    parts = text.split("|")
    if not 2 <= len(parts) <= 4:
        raise ValueError("near is latitude|longitude|distance|units")
    latitude, longitude = _degrees(parts[0], 90), _degrees(parts[1], 180)
    distance = parts[2] if len(parts) > 2 else ""
    units = parts[3] if len(parts) > 3 else ""
    if units not in KILOMETRES:
        raise ValueError("the units of near are one of km, m, [mi_i], [mi_us], [nmi_i], [ft_i], [yd_i]")
    if not distance:
        return NearValue(latitude, longitude, NEAR_KM)
    if not _NUMBER.fullmatch(distance) or distance.startswith("-"):
        raise ValueError("the distance of near is a number that is not negative")
    km = float(distance) * KILOMETRES[units]
    if not math.isfinite(km):
        raise ValueError("the distance of near is too large")
    return NearValue(latitude, longitude, km)


def read_compartment(text: str, context: Context) -> ReferenceValue:
    found = _LOCAL.fullmatch(text)
    if not found:
        raise ValueError("a compartment is Type/id")
    return ReferenceValue(found[1], found[2])


def _degrees(text: str, limit: int) -> float:
    if not _NUMBER.fullmatch(text) or abs(float(text)) > limit:
        raise ValueError(f"{text[:40]!r} is not within -{limit} to {limit} degrees")
    return float(text)


def _prefix(text: str) -> tuple[Prefix, str]:
    head = text[:2]
    if head in PREFIXES:
        return cast(Prefix, head), text[2:]
    if head.isalpha():
        raise ValueError(f"{head!r} is no prefix; there are eq, ne, gt, lt, ge, le, sa, eb and ap")
    return "eq", text


def targets_alone(param: SearchParam) -> tuple[str, ...]:
    """What a parameter may refer to; () for anything. R4 lists Group for `patient` too, and its expression then leaves it out."""
    return ("Patient",) if param.code == "patient" and "Patient" in param.targets else param.targets


def _reference_reader(param: SearchParam, of_type: str | None) -> Reader:
    """`subject:Patient=1` fixes the type, and so does a parameter with one target type."""
    targets = targets_alone(param)
    only = of_type or (targets[0] if len(targets) == 1 else None)

    def read(text: str, context: Context) -> ReferenceValue:
        found = _LOCAL.fullmatch(text)
        if found is None and context.base and text.startswith(context.base):
            found = _LOCAL.fullmatch(text[len(context.base) :].lstrip("/"))
        if found is not None:
            type_, id_ = found[1], found[2]
            if type_ not in TYPES:
                raise ValueError(f"{type_} is no resource type")
            if of_type and type_ != of_type:
                raise ValueError(f"{type_}/{id_} contradicts :{of_type}")
            return ReferenceValue(type_, id_)
        if _ID.fullmatch(text):
            return ReferenceValue(only, text)
        parts = [unescape(p) for p in split(text, "|")]
        if len(parts) > 2 or not _ABSOLUTE.fullmatch(parts[0]):
            raise ValueError("a reference is an id, Type/id, an absolute URL or url|version")
        if of_type:
            raise ValueError(f":{of_type} goes with an id of this server, not with another server's URL")
        return ReferenceValue(None, None, parts[0], parts[1] if len(parts) == 2 and parts[1] else None)

    return read


def _composite_reader(param: SearchParam, component: Callable[[str], SearchParam | None]) -> Reader:
    readers: list[Reader] = []
    for url, _ in param.components:
        part = component(url)
        if part is None or part.type == "composite":
            raise ValueError(f"its component {url} is not known here")
        readers.append(reader(part, None, component))

    def read(text: str, context: Context) -> CompositeValue:
        parts = split(text, "$")
        if len(parts) != len(readers) or not all(parts):
            raise ValueError(f"a value has {len(readers)} parts joined by $; a $ inside a part is written \\$")
        return CompositeValue(tuple(read(part, context) for read, part in zip(readers, parts, strict=True)))

    return read


_READERS: dict[str, Reader] = {
    "string": read_string,
    "token": read_token,
    "date": read_date,
    "number": read_number,
    "quantity": read_quantity,
    "uri": read_uri,
}
