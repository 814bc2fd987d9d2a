"""Decimals that keep the text they were written in (FHIR R4 datatypes, decimal: precision is significant)."""

from decimal import Decimal

import jiter

# A JSON number with a fraction or an exponent; `bytes(n)` is its text as sent. JSON integers are plain `int`.
Number = jiter.LosslessFloat


def decimal(value: "int | Number | Decimal") -> Decimal:
    """The exact value of a JSON number."""
    return value.as_decimal() if isinstance(value, Number) else Decimal(value)


def number(text: str) -> "int | Number":
    """A JSON number from its text: `1` is an int, `1.00`, `1e3` and `-0` keep their text."""
    return int(text) if text.lstrip("-").isdigit() and text != "-0" else Number(text.encode())
