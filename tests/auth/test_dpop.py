"""DPoP proofs: what RFC 9449 4.3 asks, point by point, and the tricks against it."""

import base64
import hashlib
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from health_hub.auth import dpop
from health_hub.auth.authority import Authority
from health_hub.auth.model import AuthError
from health_hub.auth.nonces import SECONDS, Nonces
from health_hub.settings import Settings
from health_hub.store.store import Store

URL = "https://hub.example.vn/fhir/Patient/1"
KEY = ECKey.generate_key("P-256")


def proof(key: Any = KEY, *, head: dict[str, Any] | None = None, **said: Any) -> str:
    claims = {
        "jti": hashlib.sha256(str(time.perf_counter_ns()).encode()).hexdigest(),
        "htm": "GET",
        "htu": URL,
        "iat": int(time.time()),
    } | said
    top = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)} | (head or {})
    return jwt.encode(
        {k: v for k, v in top.items() if v is not None}, {k: v for k, v in claims.items() if v is not None}, key, default_type=None
    )


@pytest.fixture
async def authority(store: Store) -> Authority:
    return Authority(store, Settings(base_url="https://hub.example.vn/fhir"))


def ath(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


async def test_a_proof_gives_the_thumbprint_of_its_key(authority: Authority) -> None:
    assert await dpop.check(authority, proof(), "GET", URL) == KEY.thumbprint()
    assert await dpop.check(authority, proof(ath=ath("token")), "GET", URL, access_token="token") == KEY.thumbprint()


@pytest.mark.parametrize("htu", [URL + "?a=b", URL + "#x", "HTTPS://HUB.example.vn:443/fhir/Patient/1"])
async def test_the_address_is_compared_normalised_without_query(authority: Authority, htu: str) -> None:
    assert await dpop.check(authority, proof(htu=htu), "GET", URL)


@pytest.mark.parametrize(
    "said",
    [
        {"htm": "POST"},
        {"htm": None},
        {"htu": "https://hub.example.vn/fhir/Patient/2"},
        {"htu": "http://hub.example.vn/fhir/Patient/1"},
        {"htu": "https://evil.vn/fhir/Patient/1"},
        {"htu": None},
        {"htu": 5},
        {"htu": "https://[x"},
        {"iat": int(time.time()) - 3600},
        {"iat": int(time.time()) + 3600},
        {"iat": None},
        {"iat": "now"},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 1000},
        {"jti": 5},
    ],
)
async def test_a_proof_of_something_else_is_refused(authority: Authority, said: dict[str, Any]) -> None:
    with pytest.raises(AuthError) as refused:
        await dpop.check(authority, proof(**said), "GET", URL)
    assert (refused.value.error, refused.value.status) == ("invalid_dpop_proof", 400)


@pytest.mark.parametrize(
    "head",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"jwk": None},
        {"jku": "https://evil.vn/keys"},
        {"kid": "x", "x5u": "https://evil.vn"},
        {"jwk": KEY.as_dict(private=True)},
        {"jwk": ECKey.generate_key("P-256").as_dict(private=False)},
        {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
    ],
)
async def test_a_header_that_points_elsewhere_or_tells_secrets_is_refused(authority: Authority, head: dict[str, Any]) -> None:
    with pytest.raises(AuthError):
        await dpop.check(authority, proof(head=head), "GET", URL)


async def test_symmetric_and_absent_signatures_are_refused(authority: Authority) -> None:
    secret = OctKey.import_key("s" * 32)
    signed = jwt.encode(
        {"typ": "dpop+jwt", "alg": "HS256", "jwk": KEY.as_dict(private=False)}, {"htm": "GET", "htu": URL}, secret, default_type=None
    )
    parts = proof().split(".")
    none = base64.urlsafe_b64encode(b'{"typ":"dpop+jwt","alg":"none"}').rstrip(b"=").decode()
    for bad in (signed, f"{none}.{parts[1]}.", f"{none}.{parts[1]}.{parts[2]}", f"{parts[0]}.{parts[1]}.AAAA", "", "a.b.c", "x" * 10_000):
        with pytest.raises(AuthError):
            await dpop.check(authority, bad, "GET", URL)


async def test_a_proof_is_good_once_on_every_worker(authority: Authority, store: Store) -> None:
    once = proof()
    await dpop.check(authority, once, "GET", URL)
    other = Authority(store, Settings(base_url="https://hub.example.vn/fhir"))
    for one in (authority, other):
        with pytest.raises(AuthError, match="sent before"):
            await dpop.check(one, once, "GET", URL)


async def test_a_proof_is_for_the_token_it_comes_with(authority: Authority) -> None:
    for given in (None, ath("another"), 5):
        with pytest.raises(AuthError) as refused:
            await dpop.check(authority, proof(ath=given), "GET", URL, access_token="token")
        assert refused.value.status == 401


async def test_a_nonce_that_is_asked_for_is_ours_and_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Authority(store, Settings(base_url="https://hub.example.vn/fhir", dpop_nonce=True))
    now = time.time()
    monkeypatch.setattr("health_hub.auth.nonces.time.time", lambda: now - SECONDS - 5)
    old = strict.nonces.new()
    monkeypatch.undo()
    foreign = Nonces(b"another secret of another hub, long").new()
    for given in (None, "", "guess", 5, old, foreign, foreign[:11] + old[11:], "\u1ea1" * 32, strict.nonces.new() + "A"):
        for token, status in ((None, 400), ("token", 401)):
            more = {} if token is None else {"ath": ath(token)}
            with pytest.raises(AuthError) as refused:
                await dpop.check(strict, proof(nonce=given, **more), "GET", URL, access_token=token)
            assert (refused.value.error, refused.value.status) == ("use_dpop_nonce", status)
            fresh = dict(refused.value.headers)["DPoP-Nonce"]
            assert await dpop.check(strict, proof(nonce=fresh, **more), "GET", URL, access_token=token) == KEY.thumbprint()


async def test_a_nonce_of_one_worker_is_good_at_the_others(store: Store) -> None:
    one, other = (Authority(store, Settings(base_url="https://hub.example.vn/fhir", dpop_nonce=True)) for _ in range(2))
    assert await dpop.check(other, proof(nonce=one.nonces.new()), "GET", URL)


async def test_a_nonce_that_nobody_asked_for_must_be_ours_too(authority: Authority) -> None:
    assert await dpop.check(authority, proof(nonce=authority.nonces.new()), "GET", URL)
    with pytest.raises(AuthError, match="use_dpop_nonce"):
        await dpop.check(authority, proof(nonce="of another server"), "GET", URL)


async def test_a_proof_refused_for_its_nonce_is_not_spent(store: Store) -> None:
    """The client tries again with the same jti and the nonce it was given (RFC 9449 8)."""
    strict = Authority(store, Settings(base_url="https://hub.example.vn/fhir", dpop_nonce=True))
    with pytest.raises(AuthError) as refused:
        await dpop.check(strict, proof(jti="same"), "GET", URL)
    nonce = dict(refused.value.headers)["DPoP-Nonce"]
    assert await dpop.check(strict, proof(jti="same", nonce=nonce), "GET", URL)
    with pytest.raises(AuthError, match="sent before"):
        await dpop.check(strict, proof(jti="same", nonce=strict.nonces.new()), "GET", URL)
