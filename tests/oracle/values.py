"""What a search parameter's element is worth in each of R4's search types (R4 search.html#ptypes)."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from fhir_profiles import tables
from fhir_profiles.number import Number

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
UCUM = "http://unitsofmeasure.org"
INFINITY = Decimal("Infinity")
FOREVER = 10**30  # beyond any date, either side
_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]+)?(?:#.*)?")
# Units of the test data: factor to the canonical one. An independent table, small enough to check by eye.
UNITS: dict[str, tuple[str, Decimal]] = {
    "kg": ("g", Decimal(1000)), "g": ("g", Decimal(1)), "mg": ("g", Decimal("0.001")), "ug": ("g", Decimal("0.000001")),
    "m": ("m", Decimal(1)), "cm": ("m", Decimal("0.01")), "mm": ("m", Decimal("0.001")), "km": ("m", Decimal(1000)),
    "L": ("L", Decimal(1)), "mL": ("L", Decimal("0.001")), "dL": ("L", Decimal("0.1")),
    "s": ("s", Decimal(1)), "min": ("s", Decimal(60)), "h": ("s", Decimal(3600)), "d": ("s", Decimal(86400)),
    "mg/dL": ("g/L", Decimal("0.01")), "g/L": ("g/L", Decimal(1)), "g/dL": ("g/L", Decimal(10)), "mg/L": ("g/L", Decimal("0.001")),
    "mmol/L": ("mol/L", Decimal("0.001")), "mol/L": ("mol/L", Decimal(1)), "umol/L": ("mol/L", Decimal("0.000001")),
}  # fmt: skip


def decimal(value: Any) -> Decimal:
    return value.as_decimal() if isinstance(value, Number) else Decimal(value)


# ---- strings


def fold(text: str) -> str:
    """No case, no marks, đ as d."""
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFC", text).casefold())
    text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Mc", "Me") or not unicodedata.combining(c))
    return text.replace("đ", "d").replace("Đ", "d")


def strings(node: Any) -> list[str]:
    value, kind = node.value, node.type
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict):
        return []
    parts: list[str] = []
    names = {"HumanName": ("family", "given", "prefix", "suffix", "text"),
             "Address": ("line", "city", "district", "state", "country", "postalCode", "text")}.get(kind, ())
    for name in names:
        found = value.get(name)
        parts += [x for x in (found if isinstance(found, list) else [found]) if isinstance(x, str)]
    return parts


# ---- tokens


# A code from a value set that cannot be listed, such as all media types: it has a system, and the scan does not know which.
UNKNOWN = frozenset(("?",))


@dataclass(frozen=True)
class Token:
    """`systems` empty: none. `exact`: compared with case."""

    systems: frozenset[str]
    code: str | None
    exact: bool = False


def tokens(node: Any) -> list[Token]:
    value, kind = node.value, node.type
    if value is None:
        return []
    if kind == "CodeableConcept":
        return [t for c in value.get("coding", ()) for t in _coding(c)]
    if kind == "Coding":
        return _coding(value)
    if kind == "Identifier":
        return [Token(_systems(value.get("system")), value.get("value"), True)]
    if kind == "ContactPoint":
        return [Token(_systems(value.get("use"), value.get("system")), value.get("value"))] if value.get("value") else []
    if kind in ("boolean", "System.Boolean"):
        return [Token(_systems("http://terminology.hl7.org/CodeSystem/special-values"), "true" if value else "false")]
    if kind == "code":
        return [Token(_code_systems(node), value)]
    return [Token(frozenset(), str(value), True)] if isinstance(value, str) else []


def _coding(value: dict[str, Any]) -> list[Token]:
    return [Token(_systems(value.get("system")), value.get("code"))]


def _systems(*texts: str | None) -> frozenset[str]:
    return frozenset(t for t in texts if t)


def _code_systems(node: Any) -> frozenset[str]:
    """The systems that the required binding of a code element gives this code."""
    if node.parent is None:
        return frozenset()
    element = tables.type_(node.parent.type).elements.get(node.name)
    if element is None or not element.binding:
        return frozenset()
    listed = tables.value_set_codes(element.binding)
    return UNKNOWN if listed is None else frozenset(s for s, c in listed if c == node.value)


def token_texts(node: Any) -> list[str]:
    """What `:text` searches."""
    value, kind = node.value, node.type
    if not isinstance(value, dict):
        return []
    if kind == "CodeableConcept":
        return [x for x in (value.get("text"), *(c.get("display") for c in value.get("coding", ()))) if x]
    if kind == "Coding":
        return [value["display"]] if value.get("display") else []
    if kind == "Identifier":
        return [x for x in (value.get("type", {}).get("text"),) if x]
    return []


# ---- references


@dataclass(frozen=True)
class Target:
    """`type` and `id` of a resource here, or `url`; neither: something else that is there (contained, by identifier)."""

    type: str | None = None
    id: str | None = None
    url: str | None = None
    version: str | None = None
    identifier: Any = None


def target(node: Any, base: str) -> Target:
    value = node.value
    if isinstance(value, dict) and "resourceType" in value:
        return Target(value["resourceType"], value.get("id"))
    if isinstance(value, dict):
        identifier = value.get("identifier")
        token = Token(_systems(identifier.get("system")), identifier.get("value"), True) if isinstance(identifier, dict) else None
        text = value.get("reference")
        return _located(text, base, token) if text else Target(type=value.get("type"), identifier=token)
    if node.type in ("canonical", "uri", "url"):
        local = _LOCAL.fullmatch(value.removeprefix(base + "/"))
        if local and local[1] in tables.RESOURCE_TYPES:
            return Target(local[1], local[2])
        url, _, version = value.partition("|")
        return Target(url=url, version=version or None)
    return Target()


def _located(text: str, base: str, token: Any) -> Target:
    local = _LOCAL.fullmatch(text.removeprefix(base + "/"))
    if local and local[1] in tables.RESOURCE_TYPES:
        return Target(local[1], local[2], identifier=token)
    return Target(identifier=token) if text.startswith("#") else Target(url=text, identifier=token)


# ---- dates


@cache
def span(text: str) -> tuple[int, int]:
    """First and last microsecond."""
    m = re.fullmatch(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", text)
    if not m:
        raise ValueError(text)
    year, month, day = int(m[1]), int(m[2] or 1), int(m[3] or 1)
    if m[4] is None:
        first = date(year, month, day)
        last = first if m[3] else (date(year + month // 12, month % 12 + 1, 1) if m[2] else date(year + 1, 1, 1)) - timedelta(days=1)
        after = last + timedelta(days=1)
        return _midnight(first), _midnight(after) - 1
    second, fraction = m[6] or "00", m[7] or ""
    zone = (m[8] or "").replace("Z", "+00:00")
    at = datetime.fromisoformat(f"{m[1]}-{m[2]}-{m[3]}T{m[4]}:{m[5]}:{second}{zone}")
    low = _micro(at if at.tzinfo else at.replace(tzinfo=ZONE)) + int((fraction + "000000")[:6] or 0)
    width = 60_000_000 if m[6] is None else 10 ** max(0, 6 - len(fraction))
    return low, low + width - 1


def _midnight(day: date) -> int:
    return _micro(datetime(day.year, day.month, day.day, tzinfo=ZONE))


def _micro(at: datetime) -> int:
    return (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def dates(node: Any) -> list[tuple[int, int]]:
    value, kind = node.value, node.type
    if isinstance(value, str) and kind in ("date", "dateTime", "instant"):
        return [span(value)]
    if kind == "Period" and isinstance(value, dict) and ("start" in value or "end" in value):
        return [_period(value)]
    if kind == "Timing":
        found = [span(e) for e in value.get("event", ()) if e]
        bounds = value.get("repeat", {}).get("boundsPeriod")
        if bounds:
            found.append(_period(bounds))
        return [(min(f[0] for f in found), max(f[1] for f in found))] if found else []
    return []


def _period(value: dict[str, Any]) -> tuple[int, int]:
    return span(value["start"])[0] if "start" in value else -FOREVER, span(value["end"])[1] if "end" in value else FOREVER


# ---- numbers and quantities


def numbers(node: Any) -> list[tuple[Decimal, Decimal]]:
    value = node.value
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | Number | Decimal):
        return [(decimal(value), decimal(value))]
    if node.type == "Range":
        return [(_end(value.get("low"), -INFINITY), _end(value.get("high"), INFINITY))]
    return []


def _end(quantity: Any, otherwise: Decimal) -> Decimal:
    return decimal(quantity["value"]) if quantity and "value" in quantity else otherwise


@dataclass(frozen=True)
class Amount:
    low: Decimal
    high: Decimal
    system: str | None
    code: str | None
    unit: str | None


def amounts(node: Any) -> list[Amount]:
    value, kind = node.value, node.type
    if not isinstance(value, dict):
        return []
    if kind == "Money":
        v = decimal(value["value"]) if "value" in value else None
        return [Amount(v, v, "urn:iso:std:iso:4217", value.get("currency"), None)] if v is not None else []
    if kind == "Range":
        of = value.get("low") or value.get("high") or {}
        low, high = _end(value.get("low"), -INFINITY), _end(value.get("high"), INFINITY)
        return [Amount(low, high, of.get("system"), of.get("code"), of.get("unit"))]
    if kind == "SampledData":
        data = (value.get("data") or "").split()
        points = [Decimal(p) for p in data if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?\d+)?", p, re.IGNORECASE)]
        origin, factor = value.get("origin", {}), decimal(value.get("factor", 1))
        zero = decimal(origin.get("value", 0))
        ends = sorted(p * factor + zero for p in points)
        return [Amount(ends[0], ends[-1], origin.get("system"), origin.get("code"), origin.get("unit"))] if ends else []
    if "value" not in value:
        return []
    v = decimal(value["value"])
    open_end = {"<": (-INFINITY, v), "<=": (-INFINITY, v), ">": (v, INFINITY), ">=": (v, INFINITY)}
    low, high = open_end.get(value.get("comparator", ""), (v, v))
    return [Amount(low, high, value.get("system"), value.get("code"), value.get("unit"))]


def in_unit(amount: Amount, system: str, code: str) -> tuple[Decimal, Decimal] | None:
    """The amount in another unit; None where they do not compare."""
    if amount.system != system or amount.code is None:
        return None
    if amount.code == code:
        return amount.low, amount.high
    if system != UCUM or amount.code not in UNITS or code not in UNITS or UNITS[amount.code][0] != UNITS[code][0]:
        return None
    factor = UNITS[amount.code][1] / UNITS[code][1]
    return amount.low * factor, amount.high * factor


def has_value(node: Any) -> bool:
    """An element with extensions only has no value (R4 search.html#missing)."""
    return node.value is not None and node.value != {}
