"""Lossless JSON (R4 json.html): numbers keep their text, order is kept, duplicate keys are refused."""

import json
import re
from typing import Any

import jiter
import msgspec

from fhir_profiles.number import Number, number
from health_hub.fhir.outcome import FhirError, Issue

Json = dict[str, Any]

# 64 MiB of FHIR as people write it hold 1.7 to 3.4 million values; 64 MiB of `[],` would hold 21 million, 1.5 GB of memory and 12 s.
MAX_VALUES = 4_000_000
_COUNTED_FROM = 2 * MAX_VALUES  # bytes: a shorter body cannot hold so many

_MINUS_ZERO = re.compile(rb": ?-0[\s,}]")


def _raw(value: Any) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(bytes(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_raw)


def loads(data: bytes) -> Any:
    """Any JSON value from UTF-8 bytes; nesting is limited to 200 levels. FhirError 400 names line and column."""
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    if len(data) > _COUNTED_FROM and data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise FhirError(413, Issue("too-costly", f"the body holds more than {MAX_VALUES} values"))
    try:
        found = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys", float_mode="lossless-float")
    except ValueError as e:
        raise FhirError(400, Issue("structure", f"the body is not JSON as FHIR wants it: {e}")) from None
    if (b":-0" in data or b": -0" in data) and _MINUS_ZERO.search(data):
        # The one number whose text an int does not keep. What is read a second time is known to be in order.
        return json.loads(data, parse_float=lambda t: Number(t.encode()), parse_int=number)
    return found


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON, numbers in the text they came with."""
    return _encoder.encode(value)


def pretty(data: bytes) -> bytes:
    """The same JSON indented, numbers untouched."""
    return msgspec.json.format(data, indent=2)
