"""SMART scopes held against each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_hub.auth import scopes
from health_hub.auth.model import AuthError
from health_hub.auth.scopes import Scope, covers, grant, meet, narrow, one, parse, spoken, within


def every(type: str, query: str) -> bool:
    return type != "*"


@pytest.mark.parametrize(("text", "v2"), [
    ("patient/Observation.read", "patient/Observation.rs"), ("user/*.write", "user/*.cud"), ("system/*.*", "system/*.cruds"),
    ("patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs",) * 2,
    ("user/Patient.cruds", "user/Patient.cruds"), ("patient/*.s", "patient/*.s"),
])  # fmt: skip
def test_a_scope_is_read_and_written(text: str, v2: str) -> None:
    assert str(one(text)) == v2


@pytest.mark.parametrize("text", [
    "patient/Observation.sr", "patient/Observation.", "patient/Observation", "patient/observation.rs", "patient/Unheard.rs",
    "patient/*.rs?",
    "patient/Observation.rr", "patient/Observation.crudsx", "Patient/Observation.rs", "practitioner/Observation.rs", "openid", "",
    "patient/Observation.rs?a=\"b", "patient/Observation.rs?" + "x" * 200, "patient/Observation.rs\n", "patient/Observation.Read",
])  # fmt: skip
def test_what_is_no_scope_is_none(text: str) -> None:
    assert one(text) is None


def test_unknown_scopes_are_dropped() -> None:
    assert [str(s) for s in parse("openid patient/Observation.rs email patient/X.rs")] == ["patient/Observation.rs"]
    assert grant("openid email patient/Observation.rs", "openid email patient/*.rs", every) == "openid patient/Observation.rs"


@pytest.mark.parametrize(("outer", "inner", "does"), [
    ("user/*.cruds", "user/Patient.r?name=an", True), ("user/Patient.rs", "user/*.rs", False), ("user/*.r", "user/Patient.rs", False),
    ("patient/*.rs", "user/*.rs", False), ("patient/Observation.rs?category=a", "patient/Observation.rs", False),
    ("patient/Observation.rs?category=a", "patient/Observation.rs?status=final&category=a", True),
    ("patient/Observation.rs?category=a", "patient/Observation.rs?category=ab", False),
])  # fmt: skip
def test_containment(outer: str, inner: str, does: bool) -> None:
    a, b = one(outer), one(inner)
    assert a
    assert b
    assert covers(a, b) is does
    assert within(inner, outer) is does


def test_several_scopes_allow_together_what_none_does_alone() -> None:
    assert within("patient/Observation.cruds", "patient/*.rs patient/Observation.cud")
    assert not within("patient/Condition.cruds", "patient/*.rs patient/Observation.cud")


@pytest.mark.parametrize(("asked", "allowed", "got"), [
    ("user/Patient.cruds", "user/*.rs", "user/Patient.rs"),
    ("user/*.rs", "user/Patient.r user/Observation.s", "user/Patient.r user/Observation.s"),
    ("patient/*.read", "patient/*.rs", "patient/*.rs"), ("patient/Observation.rs", "patient/Condition.rs", ""),
    ("patient/Observation.rs", "patient/Observation.rs?category=a", "patient/Observation.rs?category=a"),
    ("patient/Observation.rs?status=final", "patient/Observation.rs?category=a", "patient/Observation.rs?status=final&category=a"),
    ("patient/*.rs?category=a", "patient/*.rs", ""), ("", "openid patient/*.rs", "openid patient/*.rs"), ("offline_access", "openid", ""),
    ("system/*.rs", "system/*.rs", ""), ("patient/Observation.rs", "patient/*.rs patient/Observation.rs", "patient/Observation.rs"),
])  # fmt: skip
def test_what_is_granted_is_what_was_asked_and_may_be_had(asked: str, allowed: str, got: str) -> None:
    assert grant(asked, allowed, every) == got


def test_a_restriction_that_cannot_be_enforced_is_never_granted_without_it() -> None:
    assert grant("patient/Observation.rs?note=x patient/Condition.rs", "patient/*.rs", lambda t, q: False) == "patient/Condition.rs"


def test_system_scopes_are_for_systems_and_the_others_for_persons() -> None:
    assert grant("openid system/*.rs user/*.rs", "openid system/*.rs user/*.rs", every, scopes.SYSTEMS) == "system/*.rs"


def test_limits() -> None:
    with pytest.raises(AuthError, match="invalid_scope"):
        grant("patient/Observation.rs " * 2000, "patient/*.rs", every)
    with pytest.raises(AuthError, match="invalid_scope"):
        grant(" ".join(f"patient/Observation.rs?category={n}" for n in range(101)), "patient/*.rs", every)
    with pytest.raises(AuthError, match="invalid_scope"):
        grant(" ".join(f"patient/Observation.rs?category={n:0>50}" for n in range(90)), "patient/*.rs", every)


@pytest.mark.parametrize("more", ["patient/*.cruds", "user/Patient.r", "offline_access", "unheard-of", "patient/Observation.write"])
def test_a_refresh_only_narrows(more: str) -> None:
    with pytest.raises(AuthError, match="invalid_scope"):
        narrow(f"patient/Observation.rs {more}", "openid patient/*.rs")
    assert narrow("patient/Observation.read", "openid patient/*.rs") == "patient/Observation.rs"


def test_who_asked_in_v1_is_answered_in_v1() -> None:
    asked = "launch/patient patient/*.read patient/Observation.write"
    granted = grant(asked, "launch/patient patient/*.cruds", every)
    assert granted == "launch/patient patient/*.rs patient/Observation.cud"
    assert spoken(granted, asked) == asked
    assert spoken("patient/*.r", "patient/*.read") == "patient/*.r"
    assert spoken("patient/*.rs", "patient/*.rs") == "patient/*.rs"


some = st.builds(
    Scope, st.sampled_from(["patient", "user"]), st.sampled_from(["*", "Patient", "Observation"]), *[st.booleans()] * 5,
    st.sampled_from(["", "category=a", "status=b", "category=a&status=b"]),
)  # fmt: skip


@given(some, some)
def test_what_two_scopes_meet_in_is_within_both(a: Scope, b: Scope) -> None:
    met = meet(a, b)
    if met is not None:
        assert covers(a, met)
        assert covers(b, met)
        assert one(str(met)) == met
