"""Primitive values in JSON (R4 datatypes.html): a check takes any JSON value and gives None or what is wrong with it.

What is wrong comes with its issue type; `structure` means the wrong JSON type.
"""

import binascii
import re
from collections.abc import Callable
from typing import Any

from fhir_profiles.number import Number
from fhir_profiles.validator.problems import Check, Wrong, shown
from fhir_profiles.validator.xhtml import check as xhtml

_MAX_STRING = 1024 * 1024  # datatypes.html#string: SHALL NOT exceed
# Numbers beyond these cannot be compared or indexed anywhere; no measurement has them.
_MAX_DECIMAL = 10**300
_MAX_DECIMAL_TEXT = 128

# The official expressions mean ASCII by \s and \d, so these say so.
_control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]").search
_no_space = re.compile(r"[^\x00-\x20]+").fullmatch
_code = re.compile(r"[^\x00-\x20]+([\t\n\r ][^\x00-\x20]+)*").fullmatch
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_oid = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+").fullmatch
_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_DAY = r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_partial = re.compile(r"(?!0000)[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?").fullmatch
_day = re.compile(_DAY).fullmatch
_instant = re.compile(f"{_DAY}T{_TIME}{_ZONE}").fullmatch
_time = re.compile(_TIME).fullmatch
_spaces = re.compile(r"[ \t\r\n]+").sub


def json_type(value: Any) -> str:
    """What JSON calls the type of a value."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "a boolean"
    names = {str: "a string", int: "a number", Number: "a number", dict: "an object", list: "an array"}
    return names.get(type(value), type(value).__name__)


def _not_a(name: str, value: Any, wanted: str = "a string") -> Wrong:
    return "structure", f"{name} is {wanted} in JSON, not {json_type(value)}"


def _real_day(text: str) -> bool:
    """Whether the day is in its month, for text that starts YYYY-MM-DD."""
    day = text[8:10]
    if day <= "28":
        return True
    month = text[5:7]
    if month == "02":
        year = int(text[:4])
        return day == "29" and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= "30" or (day == "31" and month not in ("04", "06", "09", "11"))


def string(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("string", value)
    if value.isprintable() and value and len(value) <= _MAX_STRING:  # isprintable: ten times as fast as any pattern
        return None
    if not value:
        return "value", "a string is never empty"
    if len(value) > _MAX_STRING:
        return "value", "a string has at most 1,048,576 characters"
    found = _control(value)
    return ("value", f"the character U+{ord(found[0]):04X} cannot stand in a string") if found else None


def _pattern(name: str, match: Callable[[str], Any], wanted: str) -> Check:
    def check(value: Any) -> Wrong | None:
        if type(value) is not str:
            return _not_a(name, value)
        return None if match(value) else ("value", f"{shown(value)} is not {wanted}")

    return check


def code(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("code", value)
    if (value.isascii() and value.isalnum()) or _code(value):
        return None
    return "value", f"{shown(value)} is not a code: no space at its ends, single ones inside, not empty"


def uri(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("uri", value)
    return None if _no_space(value) else ("value", f"{shown(value)} is not a URI: it is not empty and has no spaces")


def date(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("date", value)
    if (_day(value) and _real_day(value)) or _partial(value):
        return None
    return "value", f"{shown(value)} is not a date: YYYY, YYYY-MM or YYYY-MM-DD, and a day that exists"


def date_time(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("dateTime", value)
    if ((_instant(value) or _day(value)) and _real_day(value)) or _partial(value):
        return None
    return "value", f"{shown(value)} is not a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz, and a day that exists"


def instant(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("instant", value)
    if _instant(value) and _real_day(value):
        return None
    return "value", f"{shown(value)} is not an instant: YYYY-MM-DDThh:mm:ss.sss+zz:zz, and a day that exists"


def boolean(value: Any) -> Wrong | None:
    return None if value is True or value is False else _not_a("boolean", value, "true or false")


def _integer(name: str, low: int) -> Check:
    def check(value: Any) -> Wrong | None:
        if type(value) is not int:
            return (
                _not_a(name, value, "a number without a point")
                if type(value) is not Number
                else ("value", f"{shown(value)} is not an integer")
            )
        return None if low <= value <= 2147483647 else ("value", f"{shown(value)} is out of range for {name}: {low} to 2147483647")

    return check


def decimal(value: Any) -> Wrong | None:
    if type(value) is int:
        return None if -_MAX_DECIMAL < value < _MAX_DECIMAL else ("value", "a decimal of this size cannot be kept")
    if type(value) is not Number:
        return _not_a("decimal", value, "a number")
    text = bytes(value)
    if len(text) > _MAX_DECIMAL_TEXT:
        return "value", f"a decimal has at most {_MAX_DECIMAL_TEXT} characters"
    if b"e" in text or b"E" in text:
        exponent = text.lower().partition(b"e")[2].lstrip(b"+-").lstrip(b"0")
        if len(exponent) > 3 or int(exponent or 0) > 300:
            return "value", f"the exponent of {shown(value)} is out of range: -300 to 300"
    return None


def base64_binary(value: Any) -> Wrong | None:
    if type(value) is not str:
        return _not_a("base64Binary", value)
    try:
        if binascii.a2b_base64(_spaces("", value), strict_mode=True):
            return None
    except ValueError:
        pass
    return "value", f"{shown(value)} is not base64"


CHECKS: dict[str, Check] = {
    "string": string,
    "markdown": string,
    "code": code,
    "id": _pattern("id", _id, "an id: 1 to 64 of A-Z a-z 0-9 - ."),
    "uri": uri,
    "url": uri,
    "canonical": uri,
    "oid": _pattern("oid", _oid, "an OID as a URI: urn:oid:1.2.3"),
    "uuid": _pattern("uuid", _uuid, "a UUID as a URI: urn:uuid: and lower case digits"),
    "boolean": boolean,
    "integer": _integer("integer", -2147483648),
    "unsignedInt": _integer("unsignedInt", 0),
    "positiveInt": _integer("positiveInt", 1),
    "decimal": decimal,
    "date": date,
    "dateTime": date_time,
    "instant": instant,
    "time": _pattern("time", _time, "a time: hh:mm:ss"),
    "base64Binary": base64_binary,
    "xhtml": xhtml,
}
