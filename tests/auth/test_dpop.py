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
