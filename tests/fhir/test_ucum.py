"""UCUM: grammar and exact conversion."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_hub.fhir.ucum import canonical, convert, table, valid
from health_hub.fhir.ucum.unit import _units


@pytest.mark.parametrize(
    ("value", "code", "to", "result"),
    [
        ("1", "mg", "g", "0.001"),
        ("5.4", "mmol/L", "umol/mL", "5.4"),
        ("120", "mm[Hg]", "kPa", "15.99864"),
        ("37", "Cel", "K", "310.15"),
        ("98.6", "[degF]", "Cel", "37"),
        ("-40", "Cel", "[degF]", "-40"),
        ("80", "[degRe]", "Cel", "100"),
        ("4.5", "10*3/uL", "10*9/L", "4.5"),
        ("4.5", "10^3/uL", "/nL", "4.5"),
        ("1", "[lb_av]", "kg", "0.45359237"),
        ("72", "[in_i]", "cm", "182.88"),
        ("1", "U", "umol/min", "1"),
        ("1", "kat", "U", "60000000"),
        ("50", "%", "1", "0.5"),
        ("1", "mL/min/{1.73_m2}", "L/h", "0.06"),
        ("3", "{RBC}/uL", "/mm3", "3"),
        ("2", "mg/(kg.d)", "ug/g/d", "2"),
        ("1", "m[IU]/mL", "[iU]/L", "1"),
        ("1", "wk", "h", "168"),
        ("1", "a", "d", "365.25"),
        ("3", "g/(8.h)", "g/h", "0.375"),
        ("1", "dB", "B", "0.1"),
        ("1", "KiBy", "bit", "8192"),
        ("100", "/100{WBC}", "1", "1"),
    ],
)
def test_known_conversions_are_exact(value: str, code: str, to: str, result: str) -> None:
    assert convert(Decimal(value), code, to) == Fraction(result)


def test_canonical_names_do_not_depend_on_how_the_unit_was_written() -> None:
    names = {canonical(code)[2] for code in ("N/m2", "Pa", "kg.m-1.s-2", "/m.kg/s2", "(kg/m)/(s.s)", "mm[Hg]", "cm[H2O]")}  # type: ignore[index]
    assert names == {"m-1.s-2.g"}


def test_what_measures_different_things_does_not_convert() -> None:
    assert convert(1, "mg", "mL") is None
    assert convert(1, "[iU]", "mg") is None
    assert convert(1, "[pH]", "mol/L") is None
    assert convert(1, "nothing", "mg") is None


@pytest.mark.parametrize(
    "code",
    ["", " ", "m g", "mg ", "(mg", "mg)", "m/", ".m", "m..s", "{a}{b}", "{a b}", "{é}", "{", "m2-1", "+5", "5-", "0", "µg", "Kg", "m\n",
     "10*999", "[lb_av", "k[in_i]", "Cel/min", "m{", "m" * 201, "(" * 100 + "m" + ")" * 100, "10*99.10*99.10*99.10*99.10*99", "m(s)"],
)  # fmt: skip
def test_what_is_no_unit_is_none(code: str) -> None:
    assert canonical(code) is None
    assert not valid(code)


def test_every_unit_of_the_table_reduces_to_base_units() -> None:
    dimensions = {*table.BASE, "[iU]", *table.ARBITRARY.split(), *table.FUNCTION.split(), *table.FUNCTION_METRIC.split(), "1"}
    for code in _units():
        found = canonical(code)
        assert found is not None, code
        assert {part.rstrip("-0123456789") or "1" for part in found[2].split(".")} <= dimensions or found[2] in dimensions, code


@given(st.text(alphabet="mgLs/.*10-2({})[]%Celkd' "))
def test_any_text_ends_in_bounded_time(code: str) -> None:
    found = canonical(code)
    assert found is None or (found[0] > 0 and found[2])
