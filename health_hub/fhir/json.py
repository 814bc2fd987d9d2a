"""Lossless JSON (R4 json.html): numbers keep their text, order is kept, duplicate keys are refused."""

from typing import Any

import jiter
import msgspec

from fhir_profiles.number import Number
from health_hub.fhir.outcome import FhirError, Issue

Json = dict[str, Any]


def _raw(value: Any) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(bytes(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_raw)


def loads(data: bytes) -> Any:
    """Any JSON value from UTF-8 bytes; nesting is limited to 200 levels. FhirError 400 names line and column."""
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    try:
        return jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys", float_mode="lossless-float")
    except ValueError as e:
        raise FhirError(400, Issue("structure", f"the body is not JSON as FHIR wants it: {e}")) from None


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON, numbers in the text they came with."""
    return _encoder.encode(value)


def pretty(data: bytes) -> bytes:
    """The same JSON indented, numbers untouched."""
    return msgspec.json.format(data, indent=2)
