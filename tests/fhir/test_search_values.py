"""Values of every parameter type, as R4 search.html#ptypes writes them."""

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_hub.fhir.search.escape import escape, split, unescape
from health_hub.fhir.search.query import (
    CompositeValue,
    DateValue,
    NearValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from health_hub.fhir.search.query import (
    Test as Asked,
)
from tests.fhir.search_asks import BASE, NOW, ZONE, one, refused


def value(types: str, query: str) -> Value:
    node = one(types, query)
    assert isinstance(node, Asked)
    (only,) = node.values
    return only


@given(st.text())
def test_escaping_is_undone(text: str) -> None:
    assert unescape(escape(text)) == text


@given(st.lists(st.text(), min_size=1, max_size=6), st.sampled_from(",$|"))
def test_escaped_parts_survive_joining(parts: list[str], separator: str) -> None:
    assert [unescape(p) for p in split(separator.join(map(escape, parts)), separator)] == parts


@pytest.mark.parametrize("text", ["a\\x", "a\\", "\\n", "\\\\\\"])
def test_a_stray_backslash_is_illegal(text: str) -> None:
    assert "backslash" in refused("Patient", f"name={text}")[0]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("5.4", "5.35", "5.45"),
        ("5.40e-3", "0.005395", "0.005405"),
        ("1.00e2", "99.5", "100.5"),
        ("-2.0", "-2.05", "-1.95"),
        ("0", "-0.5", "0.5"),
        ("ap100", "90", "110"),
        ("ap-100", "-110", "-90"),
        ("ap0", "-0.5", "0.5"),
    ],
)
def test_a_number_is_as_wide_as_it_was_written(text: str, low: str, high: str) -> None:
    found = value("RiskAssessment", f"probability={text}")
    assert isinstance(found, NumberValue)
    assert (found.low, found.high) == (Decimal(low), Decimal(high))


@given(st.integers(-(10**18), 10**18), st.integers(-17, 0), st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]))
def test_half_a_digit_around_any_number(digits: int, exponent: int, prefix: str) -> None:
    number = Decimal(digits).scaleb(exponent)
    found = value("RiskAssessment", f"probability={prefix}{number:f}")
    assert isinstance(found, NumberValue)
    assert found.prefix == (prefix or "eq")
    assert found.value == number
    assert found.high - found.low == Decimal(1).scaleb(exponent)
    assert found.low + found.high == 2 * number


@pytest.mark.parametrize(
    "text", ["", "x", "1,", "--1", "+1", "1e", "1e99999", "1e301", "1e-301", ".5", "5.", "NaN", "Infinity", "xx5", "١", "9" * 41, "1_0"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert "probability" in refused("RiskAssessment", f"probability={text}")[0]


def _micro(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=ZONE).timestamp()) * 1_000_000  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2013", (2013, 1, 1), (2014, 1, 1)),
        ("2013-02", (2013, 2, 1), (2013, 3, 1)),
        ("2013-01-14", (2013, 1, 14), (2013, 1, 15)),
        ("2013-01-14T10:00", (2013, 1, 14, 10), (2013, 1, 14, 10, 1)),
        ("2013-01-14T10:00:00%2B07:00", (2013, 1, 14, 10), (2013, 1, 14, 10, 0, 1)),
        ("2013-01-14T10:00:00+07:00", (2013, 1, 14, 10), (2013, 1, 14, 10, 0, 1)),
        ("2013-01-14T03:00:00Z", (2013, 1, 14, 10), (2013, 1, 14, 10, 0, 1)),
    ],
)
def test_a_date_is_all_the_time_it_names(text: str, low: tuple[int, ...], high: tuple[int, ...]) -> None:
    assert value("Patient", f"birthdate=gt{text}") == DateValue("gt", _micro(*low), _micro(*high) - 1)


def test_about_a_date_is_a_tenth_of_the_gap_to_today() -> None:
    plain, about = value("Patient", "birthdate=2000-01-01"), value("Patient", "birthdate=ap2000-01-01")
    assert isinstance(plain, DateValue)
    assert isinstance(about, DateValue)
    today = NOW - NOW % 86_400_000_000
    assert plain.low - about.low == about.high - plain.high == (today - plain.high) // 10


@pytest.mark.parametrize(
    "text",
    ["2013-13", "2013-02-30", "13-01-01", "2013-1-1", "now", "2013-01-01T25:00:00Z", "0000", "2013-01-01T10", "eqeq2013", "2" * 1000],
)
def test_an_impossible_date_is_refused(text: str) -> None:
    assert "birthdate" in refused("Patient", f"birthdate={text}")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", TokenValue(None, "a")),
        ("s|a", TokenValue("s", "a")),
        ("|a", TokenValue("", "a")),
        ("s|", TokenValue("s", None)),
        (r"s\|t|a\,b", TokenValue("s|t", "a,b")),
        (r"a\|b", TokenValue(None, "a|b")),
        (r"\$", TokenValue(None, "$")),
    ],
)
def test_token_forms(text: str, expected: TokenValue) -> None:
    assert value("Patient", f"identifier={text}") == expected


def test_a_token_has_two_parts() -> None:
    assert refused("Patient", "identifier=a|b|c")
    assert refused("Patient", "identifier=|")


def test_of_type_has_three_parts() -> None:
    assert value("Patient", "identifier:of-type=s|MR|12") == TokenValue("s", "MR", "12")
    for text in ("s|MR", "s||12", "MR", "a|b|c|d"):
        assert refused("Patient", f"identifier:of-type={text}")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("subject=Patient/1", ReferenceValue("Patient", "1")),
        ("subject=Patient/1/_history/3", ReferenceValue("Patient", "1")),
        (f"subject={BASE}/Patient/1", ReferenceValue("Patient", "1")),
        ("subject=1", ReferenceValue(None, "1")),
        ("subject:Patient=1", ReferenceValue("Patient", "1")),
        ("subject:Patient=Patient/1", ReferenceValue("Patient", "1")),
        ("patient=1", ReferenceValue("Patient", "1")),
        ("subject=http://other.example/fhir/Patient/1", ReferenceValue(None, None, "http://other.example/fhir/Patient/1")),
        (
            "subject=urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
            ReferenceValue(None, None, "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
        ),
        ("subject:identifier=s|v", TokenValue("s", "v")),
    ],
)
def test_reference_forms(query: str, expected: Value) -> None:
    assert value("Observation", query) == expected


def test_a_canonical_may_name_a_version() -> None:
    found = value("CarePlan", "instantiates-canonical=http://a.example/PlanDefinition/x|2.0")
    assert found == ReferenceValue(None, None, "http://a.example/PlanDefinition/x", "2.0")


@pytest.mark.parametrize(
    "query",
    [
        "subject=Patient/a b",
        "subject=Nonsense/1",
        "subject=/x",
        "subject=%23p1",
        "subject:Patient=Group/1",
        "subject:Patient=http://o/Patient/1",
        "subject:Encounter=1",
        "subject=" + "x" * 65,
    ],
)
def test_what_is_no_reference_is_refused(query: str) -> None:
    assert "subject" in refused("Observation", query)[0]


@pytest.mark.parametrize(
    ("text", "system", "code"),
    [
        ("5.4", None, None),
        ("5.4|http://unitsofmeasure.org|mg", "http://unitsofmeasure.org", "mg"),
        ("5.4||mg", "", "mg"),
        ("5.4|s|", "s", None),
        ("5.4||", None, None),
    ],
)
def test_quantity_forms(text: str, system: str | None, code: str | None) -> None:
    found = value("Observation", f"value-quantity=le{text}")
    assert isinstance(found, QuantityValue)
    assert (found.system, found.code, found.number.prefix, found.number.value) == (system, code, "le", Decimal("5.4"))


def test_a_quantity_has_one_or_three_parts() -> None:
    for text in ("5.4|mg", "|s|mg", "5.4|a|b|c", "5.4 mg"):
        assert refused("Observation", f"value-quantity={text}")


def test_composite_parts_are_read_by_their_own_type() -> None:
    found = value("Observation", r"code-value-quantity=http://loinc.org|8480-6$gt140||mm\$Hg")
    assert isinstance(found, CompositeValue)
    code, quantity = found.parts
    assert code == TokenValue("http://loinc.org", "8480-6")
    assert isinstance(quantity, QuantityValue)
    assert (quantity.code, quantity.number.prefix) == ("mm$Hg", "gt")
    for text in ("a", "a$", "$5", "a$5$6", "a$x"):
        assert refused("Observation", f"code-value-quantity={text}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.77|106.7", NearValue(10.77, 106.7, 10.0)),
        ("10.77|106.7|5", NearValue(10.77, 106.7, 5.0)),
        ("-10|-180|500|m", NearValue(-10.0, -180.0, 0.5)),
        ("10|106|1|[mi_i]", NearValue(10.0, 106.0, 1.609344)),
    ],
)
def test_near(text: str, expected: NearValue) -> None:
    assert value("Location", f"near={text}") == expected


@pytest.mark.parametrize("text", ["10", "91|0", "0|181", "a|b", "1|1|-5", "1|1|1e999", "1|1|1|parsec", "1|1|1|km|x"])
def test_what_is_nowhere_is_refused(text: str) -> None:
    assert "near" in refused("Location", f"near={text}")[0]


def test_strings_keep_their_text_for_the_store_to_fold() -> None:
    assert value("Patient", "name=Nguy%E1%BB%85n%20%C4%90%C3%B4ng") == StringValue("Nguyễn Đông")
    assert value("Patient", "name=100%25_a*") == StringValue("100%_a*")
    assert refused("Patient", "name=%CC%81")  # a lone tone mark would be the prefix of everything


def test_uris_and_value_sets_keep_their_bar() -> None:
    assert value("ValueSet", "url=http://a/vs|1") == UriValue("http://a/vs|1")
    assert value("ValueSet", "url:below=http://a/") == UriValue("http://a/")
    assert value("Condition", "code:in=http://a/vs|1") == UriValue("http://a/vs|1")
    assert refused("ValueSet", "url:above=urn:oid:1.2")


def test_ids_are_ids() -> None:
    assert value("Patient", "_id=a-1.B") == TokenValue(None, "a-1.B")
    for text in ("a b", "s|a", "x" * 65, "a'--", "%C3%A9"):
        assert refused("Patient", f"_id={text}")


def test_lists() -> None:
    assert value("Patient", "_list=42") == value("Patient", "_list=List/42") == ReferenceValue("List", "42")
    assert refused("AllergyIntolerance", "_list=$current-allergies")
