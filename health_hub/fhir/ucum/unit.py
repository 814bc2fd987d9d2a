"""Parses a UCUM code and reduces it to base units with exact fractions."""

import re
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache

from health_hub.fhir.ucum import table

# Longer codes, or numbers beyond what a float can hold, are no units but attacks.
LENGTH = 200
DEPTH = 20
_TOO_BIG = 1000  # bits

Dimensions = dict[str, int]
Reduced = tuple[Fraction, Dimensions]

# A unit symbol: anything but grammar, digits only inside brackets; 10* and 10^ are symbols too. Then an exponent.
_SYMBOL = re.compile(r"(10[*^]|(?:\[[!-Z\\^-~]*\]|[^\s0-9.+\-/(){}\[\]\x7f-\U0010ffff])+)([+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[0-9]{1,30}")
_ANNOTATION = re.compile(r"\{[!-z|~]*\}")


@cache
def _units() -> dict[str, tuple[bool, str, str]]:
    """code -> (takes prefixes, number, unit); an empty unit is a dimension of its own."""
    units = dict.fromkeys(table.BASE, (True, "1", ""))
    for text, metric in ((table.METRIC, True), (table.PLAIN, False)):
        for definition in re.split(r";\s+", text.strip()):
            code, _, meaning = definition.partition("=")
            number, _, unit = meaning.rpartition(" ")
            units[code] = (metric, number or "1", unit)
    for text, metric in ((table.ARBITRARY, False), (table.FUNCTION, False), (table.FUNCTION_METRIC, True)):
        units.update((code, (metric, "1", "")) for code in text.split())
    units["[iU]"] = (True, "1", "")
    return units


@cache
def _symbol(text: str) -> Reduced:
    """A unit symbol with or without a prefix. ValueError if UCUM has none."""
    units = _units()
    if text in units:
        _, number, unit = units[text]
        if not unit:
            return Fraction(1), {text: 1}
        factor, dimensions = _Parser(unit).whole()
        return Fraction(number) * factor, dimensions
    for length in (2, 1):
        prefix, rest = text[:length], text[length:]
        if prefix in table.PREFIXES and rest in units and units[rest][0]:
            factor, dimensions = _symbol(rest)
            return Fraction(table.PREFIXES[prefix]) * factor, dimensions
    raise ValueError(f"'{text}' is no UCUM unit")


class _Parser:
    """term = [/] component {(. | /) component}; component = unit[exponent][annotation] | integer | annotation | (term)."""

    __slots__ = ("at", "depth", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def whole(self) -> Reduced:
        result = self.term()
        if self.at != len(self.text):
            raise ValueError(f"'{self.text}' is no UCUM unit from character {self.at + 1} on")
        return result

    def term(self) -> Reduced:
        factor, dimensions = Fraction(1), dict[str, int]()
        sign = 1
        if self.text.startswith("/", self.at):
            self.at += 1
            sign = -1
        while True:
            f, d = self.component()
            factor = factor * f if sign > 0 else factor / f
            if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > _TOO_BIG:
                raise ValueError("a unit this big or small has no use")
            for name, power in d.items():
                dimensions[name] = dimensions.get(name, 0) + sign * power
            if self.text[self.at : self.at + 1] not in (".", "/"):
                return factor, dimensions
            sign = 1 if self.text[self.at] == "." else -1
            self.at += 1

    def component(self) -> Reduced:
        text = self.text
        if text.startswith("(", self.at):
            self.at += 1
            self.depth += 1
            if self.depth > DEPTH:
                raise ValueError("too many parentheses")
            result = self.term()
            if not text.startswith(")", self.at):
                raise ValueError("a parenthesis stays open")
            self.at += 1
            self.depth -= 1
            return result
        if m := _ANNOTATION.match(text, self.at):
            self.at = m.end()
            return Fraction(1), {}
        if m := _SYMBOL.match(text, self.at):
            self.at = m.end()
            factor, dimensions = _symbol(m[1])
            if m[2]:
                power = int(m[2])
                # Rough size first: no power of a thousand digits is computed only to be refused.
                if abs(power) * max(factor.numerator.bit_length(), factor.denominator.bit_length()) > 2 * _TOO_BIG:
                    raise ValueError("a unit this big or small has no use")
                factor, dimensions = factor**power, {n: p * power for n, p in dimensions.items()}
        elif m := _INTEGER.match(text, self.at):
            self.at = m.end()
            factor, dimensions = Fraction(int(m[0])), {}
            if not factor:
                raise ValueError("a factor of 0")
        else:
            raise ValueError(f"'{text}' has no unit at character {self.at + 1}")
        if m := _ANNOTATION.match(text, self.at):
            self.at = m.end()
        return factor, dimensions


def _name(dimensions: Dimensions) -> str:
    order = {unit: i for i, unit in enumerate(table.BASE)}
    parts = sorted(((n, p) for n, p in dimensions.items() if p), key=lambda d: (order.get(d[0], len(order)), d[0]))
    return ".".join(n if p == 1 else f"{n}{p}" for n, p in parts) or "1"


def _offset(code: str) -> tuple[Fraction, Fraction, str] | None:
    """Celsius and its like, alone or with a prefix."""
    for unit, (factor, offset) in table.OFFSET.items():
        prefix = code.removesuffix(unit)
        if code.endswith(unit) and (not prefix or (unit == "Cel" and prefix in table.PREFIXES)):
            return Fraction(factor) * Fraction(table.PREFIXES.get(prefix, "1")), Fraction(offset), "K"
    return None


@lru_cache(maxsize=4096)
def canonical(code: str) -> tuple[Fraction, Fraction, str] | None:
    """(factor, offset, canonical unit) of a UCUM code, None if it is none. The canonical unit is made of base units: `m-1.s-2.g`."""
    if not 0 < len(code) <= LENGTH:
        return None
    bare = _ANNOTATION.sub("", code) if code.endswith("}") else code
    if any(bare.endswith(unit) for unit in table.OFFSET) and (found := _offset(bare)):
        return found
    try:
        factor, dimensions = _Parser(code).whole()
    except ValueError:
        return None
    return factor, Fraction(0), _name(dimensions)


def valid(code: str) -> bool:
    return canonical(code) is not None


def convert(value: Decimal | Fraction | int, code: str, to: str) -> Fraction | None:
    """The value in another unit, exactly; None if one of the codes is no UCUM or they measure different things."""
    source, target = canonical(code), canonical(to)
    if source is None or target is None or source[2] != target[2]:
        return None
    return (Fraction(value) * source[0] + source[1] - target[1]) / target[0]
