"""`_filter`: grammar, operators by type, brackets (R4 search_filter.html)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_profiles import tables
from health_hub.fhir.search.filter import Compare, Expression, Logic, Step, read_filter
from health_hub.fhir.search.query import And, Chain, DateValue, Node, Not, Or, ReferenceValue, StringValue, TokenValue, UriValue
from health_hub.fhir.search.query import Test as Asked
from tests.fhir.search_asks import ask, one, refused

PATIENT = tables.search_params("Patient")
OBSERVATION = tables.search_params("Observation")


def filtered(types: str, text: str) -> Node:
    from urllib.parse import quote

    return one(types, f"_filter={quote(text)}")


def reasons(types: str, text: str) -> str:
    from urllib.parse import quote

    (reason,) = refused(types, f"_filter={quote(text)}", strict=False)
    assert "_filter" in reason
    return reason


def test_the_examples_of_the_page() -> None:
    assert filtered("Patient", 'name co "pet"') == Asked(PATIENT["name"], "contains", (StringValue("pet"),))
    both = filtered("Patient", 'given eq "peter" and birthdate ge 2014-10-10')
    assert isinstance(both, And)
    assert both.parts[0] == Asked(PATIENT["given"], "equals", (StringValue("peter"),))
    assert filtered("Observation", "code eq http://loinc.org|1234-5") == Asked(
        OBSERVATION["code"], None, (TokenValue("http://loinc.org", "1234-5"),)
    )
    chained = filtered("Observation", 'subject.name co "pet"')
    assert isinstance(chained, Chain)


def test_words_are_read_from_left_to_right() -> None:
    male, old, active = (filtered("Patient", t) for t in ("gender eq male", "birthdate lt 1950", "active eq true"))
    assert filtered("Patient", "gender eq male or birthdate lt 1950 and active eq true") == And((Or((male, old)), active))
    assert filtered("Patient", "gender eq male or (birthdate lt 1950 and active eq true)") == Or((male, And((old, active))))
    assert filtered("Patient", "not (gender eq male) and not(active eq true)") == And((Not(male), Not(active)))
    assert filtered("Patient", " ( ( gender eq male ) ) ") == male


def test_operators_of_strings() -> None:
    for operator, modifier in {
        "eq": "equals",
        "co": "contains",
        "sw": None,
        "ew": "ends",
        "gt": "gt",
        "ge": "ge",
        "lt": "lt",
        "le": "le",
    }.items():
        assert filtered("Patient", f"family {operator} Le") == Asked(PATIENT["family"], modifier, (StringValue("Le"),))
    assert filtered("Patient", "family ne Le") == And(
        (Asked(PATIENT["family"], "missing", (), False), Not(Asked(PATIENT["family"], "equals", (StringValue("Le"),))))
    )


def test_operators_of_tokens() -> None:
    code = OBSERVATION["code"]
    assert filtered("Observation", "code in http://a/vs") == Asked(code, "in", (UriValue("http://a/vs"),))
    assert filtered("Observation", "code ni http://a/vs") == Asked(code, "not-in", (UriValue("http://a/vs"),))
    assert filtered("Observation", "code ss snomed|1") == Asked(code, "below", (TokenValue("http://snomed.info/sct", "1"),))
    assert filtered("Observation", "code sb loinc|1") == Asked(code, "above", (TokenValue("http://loinc.org", "1"),))
    assert filtered("Observation", "code eq loinc") == Asked(code, None, (TokenValue(None, "loinc"),))


def test_operators_of_dates_and_quantities() -> None:
    assert filtered("Patient", "birthdate sa 2000") == one("Patient", "birthdate=sa2000")
    overlap = filtered("Encounter", "date po 2000")
    plain = one("Encounter", "date=2000")
    assert isinstance(overlap, Asked)
    assert isinstance(plain, Asked)
    (asked,), (year,) = overlap.values, plain.values
    assert isinstance(asked, DateValue)
    assert isinstance(year, DateValue)
    assert (asked.prefix, asked.low, asked.high) == ("ap", year.low, year.high)
    contains = filtered("Encounter", "date co 2000")
    assert contains == And(
        (
            Asked(overlap.param, None, (DateValue("ap", year.low, year.low),)),
            Asked(overlap.param, None, (DateValue("ap", year.high, year.high),)),
        )
    )
    assert filtered("Observation", "value-quantity gt 5.4|ucum|mg") == one(
        "Observation", "value-quantity=gt5.4|http://unitsofmeasure.org|mg"
    )


def test_references_and_presence() -> None:
    assert filtered("Observation", "subject re Patient/4") == Asked(OBSERVATION["subject"], None, (ReferenceValue("Patient", "4"),))
    assert filtered("Patient", "gender pr true") == Asked(PATIENT["gender"], "missing", (), False)
    assert filtered("Patient", "gender pr false") == Asked(PATIENT["gender"], "missing", (), True)


def test_brackets_and_the_rest_hold_of_one_resource() -> None:
    node = filtered("Observation", 'subject[name co "a" or gender eq male].birthdate ge 2000')
    assert isinstance(node, Chain)
    assert node.types == ("Patient",)
    assert isinstance(node.where, And)
    assert isinstance(node.where.parts[0], Or)
    deeper = filtered("Observation", "subject:Patient.organization[active eq true].name sw B")
    assert isinstance(deeper, Chain)
    assert isinstance(deeper.where, Chain)
    assert isinstance(filtered("Provenance", "target[_id eq 1]._lastUpdated ge 2000"), Chain)


def test_reverse_chains_in_a_filter() -> None:
    assert filtered("Patient", "_has:Observation:patient:code eq loinc|1") == one(
        "Patient", "_has:Observation:patient:code=http://loinc.org|1"
    )


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "name co",
        "name co ",
        "name xx a",
        "nameco a",
        "(name co a",
        "name co a)",
        "name co a and",
        "and name co a",
        "name co a name co b",
        "name co a AND name co b",
        "not name co a",
        "not ()",
        "()",
        "  ",
        "name[given eq a] co b",
        "link[nope eq a].name eq b",
        "subject[.x",
        'name co "a',
        'name co "\\x"',
        'name co "\\ud800"',
        'name co ""',
        "gender eq a]",
        "nope eq a",
        "organization.nope eq a",
        "gender.name eq a",
        "gender co male",
        "gender gt male",
        "organization ss a",
        "birthdate sw 2000",
        "birthdate eq x",
        "birthdate eq gt2000",
        "name:exact eq a",
        "_id pr true",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    if text.strip():
        reasons("Patient", text)
    else:
        assert ask("Patient", "_filter=%20", strict=False).ignored


def test_a_place_is_named() -> None:
    assert "character 15" in reasons("Patient", "name co a and ) name co b")


def test_hostile_filters_end_soon() -> None:
    assert "nested" in reasons("Patient", "(" * 5000 + "name co a" + ")" * 5000)
    assert "nested" in reasons("Patient", "link[" * 60 + "name co a" + "].name co a" * 60)
    assert "tests" in reasons("Patient", " or ".join(["active eq true"] * 600))
    assert "longer" in reasons("Patient", "name co " + "a" * 20_000)
    assert "too many types" in reasons("Provenance", "target[_id eq 1]." * 5 + "_id eq 1")


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_\-]{0,8}", fullmatch=True).filter(lambda n: n not in ("not", "and", "or"))
compares = st.builds(
    lambda path, operator, text: Compare(tuple(Step(n, None) for n in path), operator, text),
    st.lists(names, min_size=1, max_size=3),
    st.sampled_from(["eq", "ne", "co", "gt"]),
    st.text(),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    compares,
    lambda inner: st.one_of(
        st.builds(lambda p: Logic("not", (p,)), inner),
        st.builds(lambda w, p: Logic(w, tuple(p)), st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)


def write(expression: Expression) -> str:
    import json

    if isinstance(expression, Compare):
        return f"{'.'.join(s.name for s in expression.path)} {expression.operator} {json.dumps(expression.text)}"
    if expression.word == "not":
        return f"not ({write(expression.parts[0])})"
    return f" {expression.word} ".join(f"({write(p)})" for p in expression.parts)


def flat(expression: Expression) -> Expression:
    """`(a and b) and c` is the same as `a and b and c`."""
    if isinstance(expression, Compare):
        return expression
    parts = [flat(p) for p in expression.parts]
    first = parts[0]
    if expression.word != "not" and isinstance(first, Logic) and first.word == expression.word:
        parts = [*first.parts, *parts[1:]]
    return Logic(expression.word, tuple(parts))


@given(expressions)
def test_a_filter_that_was_written_is_read_back(expression: Expression) -> None:
    try:
        write_text = write(expression)
        write_text.encode()
    except UnicodeEncodeError:
        return
    assert read_filter(write_text) == flat(expression)
