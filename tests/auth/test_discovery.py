"""Discovery: three documents that agree, and nothing in them that is not there."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc.jwk import ECKey

from health_hub.app import create
from health_hub.auth import discovery, jose
from health_hub.auth.authority import Authority
from health_hub.settings import Settings
from health_hub.store.store import Store

ISSUER = "http://hub.test"
BASE = f"{ISSUER}/fhir"


@asynccontextmanager
async def hub(store: Store, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The whole application, living as long as it is asked."""
    app = create(Settings(base_url=BASE, **settings), store)
    messages = [{"type": "lifespan.startup"}]
    ready, done = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, str]:
        if messages:
            return messages.pop()
        await done.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: dict[str, str]) -> None:
        ready.set()

    life = asyncio.create_task(app({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]
    await ready.wait()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ISSUER) as c:
            yield c
    finally:
        done.set()
        await life


@pytest.fixture
async def http(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with hub(store) as c:
        yield c


def dpop_proof(key: ECKey, method: str, url: str, token: str | None = None) -> str:
    said: dict[str, Any] = {"htm": method, "htu": url, "iat": int(time.time()), "jti": secrets.token_hex(8)}
    if token is not None:
        said["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
    return jose.sign({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.as_dict(private=False)}, said, key)


async def test_the_documents_agree(http: httpx.AsyncClient) -> None:
    smart = (await http.get("/.well-known/smart-configuration")).json()
    assert (await http.get("/fhir/.well-known/smart-configuration")).json() == smart
    oauth = (await http.get("/.well-known/oauth-authorization-server")).json()
    openid = (await http.get("/.well-known/openid-configuration")).json()
    for document in (oauth, openid):
        assert all(document[name] == value for name, value in smart.items() if name != "capabilities")
    assert smart["issuer"] == "http://hub.test"
    security = (await http.get("/fhir/metadata")).json()["rest"][0]["security"]
    uris = {e["url"]: e["valueUri"] for e in security["extension"][0]["extension"]}
    assert uris["authorize"] == smart["authorization_endpoint"]
    assert uris["token"] == smart["token_endpoint"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"


async def test_every_address_that_is_named_answers(http: httpx.AsyncClient) -> None:
    openid = (await http.get("/.well-known/openid-configuration")).json()
    named = {k: v for k, v in openid.items() if k.endswith(("_endpoint", "_uri")) and isinstance(v, str)}
    assert len(named) >= 10
    for name, url in named.items():
        path = urlsplit(url).path
        statuses = {(await http.get(path)).status_code, (await http.post(path)).status_code}
        assert statuses - {404, 405}, f"{name}: {statuses}"
        assert 500 not in statuses, name


async def test_registration_is_named_where_it_is_open(store: Store) -> None:
    closed = Authority(store, Settings(base_url=BASE, registration="closed"))
    assert "registration_endpoint" not in discovery.smart(closed)
    assert "registration_endpoint" in discovery.smart(Authority(store, Settings(base_url=BASE)))


async def test_keys_are_public(http: httpx.AsyncClient) -> None:
    answer = await http.get("/auth/jwks")
    keys = answer.json()["keys"]
    assert {k["alg"] for k in keys} == {"ES256", "RS256"}
    assert not any({"d", "p", "q", "k"} & k.keys() for k in keys)


async def test_the_documents_are_valid_metadata(store: Store) -> None:
    """As Authlib reads RFC 8414 and OpenID Connect Discovery."""
    authority = Authority(store, Settings(base_url="https://hub.example.vn/fhir"))
    AuthorizationServerMetadata(discovery.oauth(authority)).validate()
    OpenIDProviderMetadata(discovery.openid(authority)).validate()


async def test_discovery_below_the_api_is_for_every_origin(store: Store) -> None:
    async with hub(store, cors_origins=("https://app.example.vn",)) as http:
        for path in ("/fhir/.well-known/smart-configuration", "/fhir/metadata", "/.well-known/openid-configuration", "/auth/jwks"):
            answer = await http.get(path, headers={"Origin": "https://another.example"})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*"), path
        other = await http.get("/fhir/Patient", headers={"Origin": "https://another.example"})
        assert (other.status_code, other.headers.get("access-control-allow-origin")) == (401, None)


async def test_proofs_are_described_alike_everywhere(http: httpx.AsyncClient) -> None:
    named = (await http.get("/.well-known/openid-configuration")).json()["dpop_signing_alg_values_supported"]
    challenge = (await http.get("/fhir/Patient")).headers["www-authenticate"]
    assert f'DPoP algs="{" ".join(named)}"' in challenge
    allowed = (await http.options("/fhir/Patient", headers={"Origin": "https://app.example.vn"})).headers["access-control-allow-headers"]
    assert "DPoP" in allowed.split(", ")


async def test_a_proof_without_the_nonce_is_told_which(store: Store) -> None:
    """RFC 9449 9: the challenge, and the nonce to try again with, from the API as from the token endpoint."""
    async with hub(store, dpop_nonce=True) as http:
        key = ECKey.generate_key("P-256")
        token = {"grant_type": "client_credentials"}
        client = await http.post("/auth/token", data=token, headers={"DPoP": dpop_proof(key, "POST", f"{ISSUER}/auth/token")})
        assert client.status_code == 401, "who the client is comes first"
        authority = Authority(store, Settings(base_url=BASE))
        await authority.start()
        bound, _ = authority.tokens.issue(subject="x", client="x", role="system", scope="system/*.rs", thumbprint=key.thumbprint())
        await authority.stop()
        answer = await http.get(
            "/fhir/Patient", headers={"Authorization": f"DPoP {bound}", "DPoP": dpop_proof(key, "GET", f"{BASE}/Patient", bound)}
        )
        challenge = answer.headers["www-authenticate"]
        assert answer.status_code == 401
        assert challenge.startswith("DPoP ")
        assert 'error="use_dpop_nonce"' in challenge
        assert "Bearer" not in challenge
        assert authority.nonces.good(answer.headers["dpop-nonce"])
