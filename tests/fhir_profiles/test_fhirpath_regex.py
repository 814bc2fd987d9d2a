"""Regular expressions: the same answers by either way, and no pattern takes long."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_profiles.fhirpath.errors import FHIRPathError
from fhir_profiles.fhirpath.nfa import automaton
from fhir_profiles.fhirpath.regex import _parsed, matcher, replacer

atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "^", "$", r"\b", "ab"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda p: f"({'|'.join(p)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{0,2}", "{2}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(patterns, st.text("ab1 \n", max_size=8))
def test_the_automaton_agrees_with_python(pattern: str, text: str) -> None:
    compiled, tree = _parsed(pattern, "")
    assert automaton(tree, False, False)(text) == (compiled.search(text) is not None)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "(a?){40}a{40}$", "(.*)*x", "^(a*)*(b*)*$", "(.*.*.*.*)!!", "([a-z]+)*-"])
def test_patterns_that_backtrack_without_end_answer_at_once(pattern: str) -> None:
    start = time.process_time()
    assert matcher(pattern)("a" * 50 + "!") is False
    assert time.process_time() - start < 30


def test_long_texts_with_polynomial_patterns_end() -> None:
    start = time.process_time()
    assert matcher(".*a.*b.*c.*d")("a" * 20_000) is False
    with pytest.raises(FHIRPathError) as refused:
        matcher("(a{0,200}b?){20}c")("a" * 20_000)
    assert refused.value.kind == "limit"
    assert time.process_time() - start < 30


def test_replacement_does_not_run_what_may_not_end() -> None:
    with pytest.raises(FHIRPathError) as refused:
        replacer("(a+)+$")("a" * 50 + "!", "x")
    assert refused.value.kind == "limit"


@pytest.mark.parametrize("pattern", ["(", "[", "*", "a{2,1}", "(?P<x", "\\"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(FHIRPathError) as refused:
        matcher(pattern)("a")
    assert refused.value.kind == "execution"


def test_official_patterns_match() -> None:
    name = matcher("[A-Z]([A-Za-z0-9_]){0,254}")
    assert name("Patient")
    assert not name("123")
    path = matcher(r"^[A-Za-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*(\[x])?)*$")
    assert path("Observation.component.value[x]")
    assert not path("Observation..value")


def test_flags_hold_on_both_ways() -> None:
    slow = "a" * 50 + "!"
    assert matcher("A", "i")("a")
    assert not matcher("A")("a")
    assert matcher("(?i)^(A+)+!$")(slow)
    assert not matcher("^(A+)+!$")(slow)
    assert matcher("^(b+)+$", "m")("a" * 50 + "!\nbb")
    with pytest.raises(FHIRPathError):
        matcher("((?i:A)+)+$")(slow)
    with pytest.raises(FHIRPathError):
        matcher("a", "x")("a")
