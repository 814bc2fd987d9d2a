"""The text of a value as its key is made of it: extraction and search must say it the same way, so both say it here."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from health_hub.fhir import keys, ucum
from health_hub.fhir.index.model import NUMBER_MAX, NUMBER_MIN

UCUM = "http://unitsofmeasure.org"
CURRENCY = "urn:iso:std:iso:4217"
# Longer texts are not worth a place in the caches of keys.py, which count entries and not bytes.
_LONG = 120


def value(form: str, text: str) -> int:
    """keys.value, its cache kept for short texts."""
    return keys.value(form, text) if len(text) <= _LONG else keys.value.__wrapped__(form, text)


def fold(text: str) -> str:
    """keys.fold, its cache kept for short texts."""
    return keys.fold(text) if len(text) <= _LONG else keys.fold.__wrapped__(text)


def token(system: str | None, code: str | None, *, folded: bool) -> tuple[str, str]:
    """(form, text) of what a token search asks: `code`, `|code` (system ""), `system|` (code None or "") or `system|code`."""
    if not code:
        return "s", system or ""
    if folded:
        code = code.lower()
    if system is None:
        return "c", code
    return ("t", f"{system}|{code}") if system else ("n", code)


def of_type(system: str | None, code: str, number: str) -> tuple[str, str]:
    """(form, text) of an identifier of a type; `system` and `code` are those of the type."""
    return "o", f"{system or ''}|{code}|{number}"


def uri(text: str) -> tuple[str, str]:
    """(form, text) of a uri, url or canonical: `url|version` asks that version, `url` any."""
    return ("v", text) if "|" in text and not text.endswith("|") else ("u", text.rstrip("|"))


def reference(target: str) -> int:
    """The hash of a reference: `Type/id`, an absolute URL, a canonical with or without `|version`."""
    return keys.reference(target)


@lru_cache(maxsize=4096)
def unit(system: str, code: str) -> tuple[int, Fraction, Fraction]:
    """(hash of the canonical unit, factor, offset): canonical value = value * factor + offset.

    A unit that UCUM does not know stands for itself.
    """
    found = ucum.canonical(code) if system == UCUM else None
    if found is None:
        return keys.value("t", f"{system}|{code}"), Fraction(1), Fraction(0)
    factor, offset, name = found
    return keys.value("t", f"{UCUM}|{name}"), factor, offset


def in_canonical(number: Decimal | int, factor: Fraction, offset: Fraction) -> float:
    """number * factor + offset, rounded once; open ends stay open."""
    approximate = float(number)
    if not -1e150 < approximate < 1e150 or (number and -1e-150 < approximate < 1e-150):
        # Beyond what is measured, and 1e999999999 as a fraction would not fit into memory.
        return clamp(approximate * float(factor) + float(offset))
    top, bottom = number.as_integer_ratio()
    top, bottom = top * factor.numerator, bottom * factor.denominator
    if offset:
        top, bottom = top * offset.denominator + offset.numerator * bottom, bottom * offset.denominator
    try:
        return top / bottom
    except OverflowError:
        return NUMBER_MAX if top > 0 else NUMBER_MIN


def clamp(number: float) -> float:
    return max(NUMBER_MIN, min(NUMBER_MAX, number))


def composite(pairs: "list[tuple[str, str]]") -> str:
    """The text under form x of the exact parts of a composite, as (form, text) each; a reference is ("r", target)."""
    return "$".join(form + text for form, text in pairs)
