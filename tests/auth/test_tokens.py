"""Access tokens: what is good is read, whatever else is refused; attacks on JWTs."""

import base64
import json
import time
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from health_hub.auth import jose, tokens
from health_hub.auth.authority import Authority
from health_hub.auth.model import AuthError, Claims
from health_hub.settings import Settings


def issue(authority: Authority, **more: Any) -> tuple[str, Claims]:
    return authority.tokens.issue(**{"subject": "a", "client": "c", "role": "nurse", "scope": "user/Patient.rs", **more})


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, body, signature = token.split(".")
    return *(json.loads(base64.urlsafe_b64decode(p + "==")) for p in (head, body)), signature


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def signed(authority: Authority, *, head: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
    """A token as ours but for what is named; None leaves a member out."""
    token, _ = issue(authority)
    old_head, old, _ = parts(token)
    new_head = {k: v for k, v in {**old_head, **(head or {})}.items() if v is not None}
    new = {k: v for k, v in {**old, **claims}.items() if v is not None}
    return jose.sign(new_head, new, key or authority.keys.signer().key)


def refused(authority: Authority, token: str) -> str:
    with pytest.raises(AuthError) as e:
        authority.tokens.verify(token)
    assert (e.value.error, e.value.status) == ("invalid_token", 401)
    return e.value.description


async def test_what_is_issued_is_read(authority: Authority) -> None:
    token, claims = issue(
        authority, fhir_user="Practitioner/1", name="Lan", organization="Organization/1", labels=("HIV",), patient="p", encounter="e",
        session="s", thumbprint="t",
    )
    head, body, _ = parts(token)
    assert (head["typ"], head["alg"], body["aud"]) == ("at+jwt", "ES256", "https://hub.example.vn/fhir")
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= body.keys()  # RFC 9068 2.2
    assert body["exp"] - body["iat"] == 300
    for _ in range(2):
        assert authority.tokens.verify(token) == claims


async def test_token_of_another_process_is_read(authority: Authority) -> None:
    token, claims = issue(authority)
    other = Authority(authority.store, authority.settings)
    await other.keys.load()
    assert other.tokens.verify(token) == claims


@pytest.mark.parametrize("claims", [
    {"iss": "https://evil.example"}, {"iss": "https://hub.example.vn/"}, {"iss": None}, {"aud": "https://evil.example/fhir"},
    {"aud": "https://hub.example.vn/fhir/"}, {"aud": ["https://hub.example.vn/fhir", "https://evil.example"]}, {"aud": None},
    {"exp": None}, {"exp": "2099"}, {"exp": True}, {"iat": 4102444800}, {"nbf": 4102444800}, {"iat": None}, {"sub": None},
    {"client_id": None}, {"jti": None}, {"scope": None}, {"role": None}, {"exp": 1},
])  # fmt: skip
async def test_claims_that_are_not_ours_are_refused(authority: Authority, claims: dict[str, Any]) -> None:
    refused(authority, signed(authority, **claims))


async def test_expired_token_is_refused_though_it_was_read_before(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    token, _ = issue(authority)
    authority.tokens.verify(token)
    late = time.time() + 300
    monkeypatch.setattr(tokens.time, "time", lambda: late)
    assert "expired" in refused(authority, token)


async def test_alg_none_is_refused(authority: Authority) -> None:
    head, body, signature = parts(issue(authority)[0])
    for alg in ("none", "None", "NONE", ""):
        refused(authority, f"{part({**head, 'alg': alg})}.{part(body)}.")
        refused(authority, f"{part({**head, 'alg': alg})}.{part(body)}.{signature}")


async def test_hmac_with_the_public_key_is_refused(authority: Authority) -> None:
    import hashlib
    import hmac

    for signer in (authority.keys.signer("RS256"), authority.keys.signer("ES256")):
        for secret in (signer.key.as_pem(private=False), json.dumps(signer.public).encode(), signer.key.as_der(private=False)):
            _, body, _ = parts(issue(authority)[0])
            text = f"{part({'alg': 'HS256', 'kid': signer.kid, 'typ': 'at+jwt'})}.{part(body)}"
            mac = base64.urlsafe_b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode().rstrip("=")
            assert refused(authority, f"{text}.{mac}") == "alg is not the key's"


async def test_key_of_another_algorithm_is_refused(authority: Authority) -> None:
    rsa = authority.keys.signer("RS256")
    refused(authority, signed(authority, head={"alg": "PS256", "kid": rsa.kid}, key=rsa.key))
    refused(authority, signed(authority, head={"alg": "RS256"}, key=rsa.key))


async def test_own_key_with_our_kid_is_refused(authority: Authority) -> None:
    refused(authority, signed(authority, key=ECKey.generate_key("P-256")))


@pytest.mark.parametrize("kid", [None, "", "../../dev/null", "' OR 1=1 --", "x" * 4000, "/etc/passwd"])
async def test_made_up_kid_is_refused(authority: Authority, kid: str | None) -> None:
    refused(authority, signed(authority, head={"kid": kid}))


@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c", "crit", "b64"])
async def test_header_that_brings_a_key_or_conditions_is_refused(authority: Authority, name: str) -> None:
    own = ECKey.generate_key("P-256")
    value: Any = {"jku": "https://evil.example/jwks", "x5u": "https://evil.example", "jwk": own.as_dict(private=False), "b64": False}
    head, body, signature = parts(issue(authority)[0])
    assert name in refused(authority, f"{part({**head, name: value.get(name, ['exp'])})}.{part(body)}.{signature}")


@pytest.mark.parametrize("typ", [None, "JWT", "dpop+jwt", "at+jwt; x", "at+jwt2"])
async def test_other_jwts_of_ours_are_no_access_tokens(authority: Authority, typ: Any) -> None:
    assert refused(authority, signed(authority, head={"typ": typ})) == "not an access token"


async def test_changed_token_is_refused(authority: Authority) -> None:
    head, body, signature = issue(authority)[0].split(".")
    changed = part({**json.loads(base64.urlsafe_b64decode(body + "==")), "role": "administrator"})
    for token in (f"{head}.{changed}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}.", f"{head}.{body}",
                  f"{head}.{body}.{signature}.x", "", "a.b.c", "\u00e9.a.b", "x" * 10_000, f"{head}.W10.{signature}"):  # fmt: skip
        refused(authority, token)


async def test_member_that_appears_twice_is_refused(authority: Authority) -> None:
    head, body, signature = issue(authority)[0].split(".")
    twice = base64.urlsafe_b64encode(base64.urlsafe_b64decode(head + "==")[:-1] + b',"alg":"ES256"}').decode().rstrip("=")
    assert "twice" in refused(authority, f"{twice}.{body}.{signature}")


async def test_revoked_token_is_refused_though_it_was_read_before(authority: Authority) -> None:
    token, _ = issue(authority, session="s")
    other, _ = issue(authority, session="t")
    authority.tokens.verify(token)
    await authority.revoked.add("session/s")
    assert "revoked" in refused(authority, token)
    authority.tokens.verify(other)


async def test_read_again_costs_less_than_ten_microseconds(authority: Authority) -> None:
    token, _ = issue(authority, fhir_user="Practitioner/1", organization="Organization/1", session="s")
    verify = authority.tokens.verify
    verify(token)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(200):
            verify(token)
        best = min(best, (time.perf_counter() - start) / 200)
    assert best < 10e-6


async def test_cache_is_bounded(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED", 3)
    for _ in range(6):
        authority.tokens.verify(issue(authority)[0])
    assert len(authority.tokens._seen) == 3


def test_private_and_weak_keys_are_not_taken_from_others() -> None:
    for jwk in (ECKey.generate_key("P-256").as_dict(private=True), OctKey.generate_key(256).as_dict(), {"kty": "RSA"}, {}, None, "x",
                {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}):  # fmt: skip
        with pytest.raises(jose.Malformed):
            jose.public(jwk)
    weak = {**RSAKey.generate_key(2048).as_dict(private=False), "n": "w" * 171}  # 1024 bits
    with pytest.raises(jose.Malformed):
        jose.public(weak)


async def test_short_key_setting_is_refused(authority: Authority) -> None:
    from health_hub.settings import SettingError

    with pytest.raises(SettingError):
        Authority(authority.store, Settings(key="short"))
