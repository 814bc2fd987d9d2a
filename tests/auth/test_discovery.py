"""Discovery: three documents that agree, and nothing in them that is not there."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata

from health_hub.app import create
from health_hub.auth import discovery
from health_hub.auth.authority import Authority
from health_hub.settings import Settings
from health_hub.store.store import Store

BASE = "http://hub.test/fhir"


@pytest.fixture
async def http(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    app = create(Settings(base_url=BASE), store)
    messages = [{"type": "lifespan.startup"}]
    import asyncio

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
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub.test") as c:
        yield c
    done.set()
    await life


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
