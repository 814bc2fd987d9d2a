"""Copies and comparison of JSON values, bounded, with number texts kept."""

from typing import Any

from fhir_profiles.number import Number, decimal
from health_hub.fhir.outcome import FhirError, Issue

# A patch may copy parts of a resource into itself again and again: values beyond this many are no resource.
MAX_VALUES = 1_000_000
MAX_DEPTH = 400


class Budget:
    """How many values a patch may still make."""

    __slots__ = ("left",)

    def __init__(self, values: int = MAX_VALUES) -> None:
        self.left = values

    def copied(self, value: Any, depth: int = 0) -> Any:
        """The value with its own dicts and lists."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise FhirError(422, Issue("too-costly", "the patch makes too large a resource"))
        if value.__class__ is dict:
            return {k: self.copied(v, depth + 1) for k, v in value.items()}
        if value.__class__ is list:
            return [self.copied(v, depth + 1) for v in value]
        return value


def without_empty(value: Any) -> Any:
    """The value without empty objects and arrays, which FHIR's JSON does not have: taking the last name away leaves `"name": []`."""
    if value.__class__ is dict:
        pairs = ((k, without_empty(v)) for k, v in value.items())
        return {k: v for k, v in pairs if v not in ({}, [])}
    if value.__class__ is list:
        return [v for v in map(without_empty, value) if v not in ({}, [])]
    return value


def equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: numbers by what they are worth, true is not 1 (RFC 6902, 4.6)."""
    if a.__class__ is dict or b.__class__ is dict:
        return a.__class__ is b.__class__ and a.keys() == b.keys() and all(equal(v, b[k]) for k, v in a.items())
    if a.__class__ is list or b.__class__ is list:
        return a.__class__ is b.__class__ and len(a) == len(b) and all(equal(v, w) for v, w in zip(a, b, strict=True))
    if a.__class__ is bool or b.__class__ is bool:
        return a is b
    if isinstance(a, int | Number) and isinstance(b, int | Number):
        return decimal(a) == decimal(b)
    return a.__class__ is b.__class__ and bool(a == b)
