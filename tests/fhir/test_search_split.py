"""Query strings as bytes: percent codes, plus signs, wrong UTF-8, limits."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_hub.fhir.outcome import FhirError
from health_hub.fhir.search.split import split_query


@given(st.lists(st.tuples(st.text().filter(lambda t: "\0" not in t), st.text().filter(lambda t: "\0" not in t))))
def test_what_a_browser_encodes_is_decoded(pairs: list[tuple[str, str]]) -> None:
    assert split_query(urlencode(pairs).encode()) == pairs


@given(st.text(alphabet="ab=&+%41T:0123456789-"))
def test_it_agrees_with_the_standard_library(text: str) -> None:
    try:
        found = split_query(text.encode())
    except FhirError:
        return
    if "T" not in text:
        assert found == parse_qsl(text, keep_blank_values=True, errors="strict")


def test_a_bare_plus_in_a_date_is_an_offset() -> None:
    assert split_query(b"_lastUpdated=gt2026-11-01T00:00:00.000+07:00") == [("_lastUpdated", "gt2026-11-01T00:00:00.000+07:00")]
    assert split_query(b"date=ge2026-11-01T00%3A00%3A00+07%3A00,lt2027-01-01T00:00+07:00") == [
        ("date", "ge2026-11-01T00:00:00+07:00,lt2027-01-01T00:00+07:00")
    ]
    assert split_query(b"name=van+an&x=T10+07") == [("name", "van an"), ("x", "T10 07")]


def test_values_may_hold_equal_signs_and_be_empty() -> None:
    assert split_query(b"a=b=c&d&e=&&=f") == [("a", "b=c"), ("d", ""), ("e", ""), ("", "f")]
    assert split_query(b"") == []


@pytest.mark.parametrize(
    "raw",
    [
        b"a=%",
        b"a=%4",
        b"a=%zz",
        b"%=a",
        b"a=%FF",
        b"a=\xff",
        b"a=%C3%28",
        b"a=%00",
        b"a=%ED%A0%80",
        b"x" * (1 << 20 | 1),
        b"_include=*&" * 10_000,
    ],
)
def test_the_malformed_is_a_400(raw: bytes) -> None:
    with pytest.raises(FhirError) as raised:
        split_query(raw)
    assert raised.value.status == 400
