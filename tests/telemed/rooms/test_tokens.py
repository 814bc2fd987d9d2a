"""Join and resume tokens (RFC 7519, RFC 8725)."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from telemed.rooms.roles import DEFAULTS, Right, Role
from telemed.tokens import TokenError, Tokens

SECRET = "s" * 32
NOW = 1_800_000_000
CLAIMS: dict[str, Any] = {
    "iss": "health-hub", "aud": "telemed", "jti": "j" * 16, "iat": NOW, "nbf": NOW, "exp": NOW + 300,
    "room": "r1", "sub": "p1", "name": "Bình", "role": "nurse",
}  # fmt: skip


def tokens(at: float = NOW, secret: str = SECRET) -> Tokens:
    return Tokens(secret, now=lambda: at)


def signed(claims: dict[str, Any], secret: str = SECRET, alg: str = "HS256") -> str:
    return jwt.encode({"alg": alg}, claims, OctKey.import_key(secret), algorithms=[alg])


def code(token: str, at: float = NOW, room: str | None = None) -> str:
    with pytest.raises(TokenError) as caught:
        tokens(at).verify(token, room)
    return caught.value.code


def test_a_token_says_who_comes_and_what_they_may() -> None:
    token = tokens().issue(room="r1", participant="p1", name="Trần Bình", role="doctor", admitted=True)
    found = tokens().verify(token, "r1")
    assert (found.room, found.participant, found.name, found.role) == ("r1", "p1", "Trần Bình", Role.DOCTOR)
    assert (found.admitted, found.main) == (True, False)
    assert found.rights == frozenset(Right)
    assert (found.issued, found.expires) == (NOW, NOW + 300)


def test_rights_are_those_of_the_token_when_it_names_any() -> None:
    assert tokens().verify(tokens().issue(room="r", participant="p", name="n", role="doctor", rights=[])).rights == frozenset()
    assert tokens().verify(signed(CLAIMS)).rights == DEFAULTS[Role.NURSE]


def test_a_token_without_a_role_is_a_device() -> None:
    assert tokens().verify(signed({k: v for k, v in CLAIMS.items() if k != "role"})).role is Role.DEVICE


def test_a_token_opens_one_room() -> None:
    assert code(signed(CLAIMS), room="r2") == "token"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "elsewhere"}, {"aud": "telemed-resume"}, {"aud": ["telemed"]}, {"aud": None}, {"exp": None}, {"exp": "soon"},
        {"exp": True},
        {"exp": NOW + 601}, {"exp": 10**15}, {"exp": NOW + 0.5}, {"iat": None}, {"nbf": None}, {"nbf": NOW + 11}, {"iat": NOW + 11},
        {"jti": None}, {"jti": "short"}, {"jti": 5}, {"room": ""}, {"room": "a/b"}, {"room": "x" * 101}, {"room": 7}, {"sub": "a b"},
        {"sub": None},
        {"name": ""}, {"name": "n" * 101}, {"name": None}, {"role": "king"}, {"role": []}, {"rights": "admit"},
        {"rights": ["fly"]}, {"rights": [["admit"]]}, {"rights": {"admit": True}}, {"iat": -1},
    ],
)  # fmt: skip
def test_a_claim_that_is_wrong_or_missing_is_refused(change: dict[str, Any]) -> None:
    assert code(signed({k: v for k, v in {**CLAIMS, **change}.items() if v is not None})) == "token"


def test_times_have_ten_seconds_of_tolerance() -> None:
    token = signed(CLAIMS)
    assert tokens(NOW + 309).verify(token)
    assert code(token, NOW + 310) == "token-ended"
    assert tokens(NOW - 10).verify(token)
    assert code(token, NOW - 11) == "token"


def test_another_secret_or_algorithm_opens_nothing() -> None:
    assert code(signed(CLAIMS, "o" * 32)) == "token"
    assert code(signed(CLAIMS, "s" * 64, "HS512")) == "token"
    head, body, _ = signed(CLAIMS).split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    for forged in (f"{none}.{body}.", f"{head}.{body}.", f"{head}.{body}", "", ".", "..", "a.b.c", "é.é.é", "x" * 5000, "." * 4000):
        assert code(forged) == "token"


@given(st.text(max_size=200))
def test_anything_else_is_refused(text: str) -> None:
    assert code(text) == "token"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_refused(position: int, flip: int) -> None:
    token = signed(CLAIMS)
    body = base64.urlsafe_b64decode(token.split(".")[1] + "==")
    changed = bytearray(body)
    changed[position % len(body)] ^= flip
    part = base64.urlsafe_b64encode(changed).decode().rstrip("=")
    head, _, mac = token.split(".")
    assert code(f"{head}.{part}.{mac}") == "token"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 32"):
        Tokens("s" * 31)


@pytest.mark.parametrize(
    "change", [{"room": "a b"}, {"participant": ""}, {"name": ""}, {"role": "king"}, {"rights": ["fly"]}, {"seconds": 601}, {"seconds": 0}]
)
def test_nothing_is_issued_that_would_be_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        tokens().issue(**{"room": "r", "participant": "p", "name": "n", "role": "nurse", **change})


def test_a_resume_token_brings_everything_back() -> None:
    identity = tokens().verify(signed(CLAIMS))
    found = tokens().verify_resume(tokens().issue_resume(replace(identity, admitted=True), "s1", "digest", 3600))
    assert (found.session, found.client) == ("s1", "digest")
    assert found.identity == replace(identity, admitted=True, expires=NOW + 3600)


def test_the_two_kinds_do_not_stand_for_each_other() -> None:
    identity = tokens().verify(signed(CLAIMS))
    assert code(tokens().issue_resume(identity, "s1", "digest", 300)) == "token"
    with pytest.raises(TokenError):
        tokens().verify_resume(signed(CLAIMS))
    with pytest.raises(TokenError):
        tokens().verify_resume(signed({**CLAIMS, "aud": "telemed-resume"}))
