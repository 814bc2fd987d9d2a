"""Applications in browsers, from their own origin: the endpoints they ask, and none of the pages."""

from collections.abc import AsyncIterator

import httpx
import pytest

from health_hub.auth.routes.cors import PUBLIC, CrossOrigin
from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.auth.flow import Flow, flow

APP = "https://app.example.vn"
PREFLIGHT = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "dpop"}


@pytest.fixture
async def f(store: Store) -> AsyncIterator[Flow]:
    async with flow(store) as found:
        yield found


def browser(f: Flow, *origins: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(CrossOrigin(f.door.app, origins)), base_url=ISSUER)


async def test_the_token_endpoint_can_be_asked_and_read(f: Flow) -> None:
    async with browser(f, "*") as http:
        asked = await http.options("/auth/token", headers=PREFLIGHT)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")
        assert "DPoP" in asked.headers["access-control-allow-headers"]
        answer = await http.post("/auth/token", data={"grant_type": "x", "client_id": "x"}, headers={"Origin": APP})
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]
        assert "access-control-allow-credentials" not in answer.headers
        assert "access-control-allow-origin" not in (await http.post("/auth/token")).headers


async def test_only_named_origins_where_they_are_named(f: Flow) -> None:
    async with browser(f, APP) as http:
        for origin, allowed in ((APP, APP), ("https://evil.example", None), (APP + ".evil.example", None), ("null", None)):
            answer = await http.options("/auth/token", headers=PREFLIGHT | {"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert answer.headers["vary"] == "Origin"


async def test_pages_and_what_only_servers_ask_are_not_for_other_origins(f: Flow) -> None:
    async with browser(f, "*") as http:
        for path in ("/auth/authorize", "/auth/consent", "/auth/introspect", "/sign-in", "/auth/tokens", "/auth/token/"):
            for answer in (await http.options(path, headers=PREFLIGHT), await http.get(path, headers={"Origin": APP})):
                assert "access-control-allow-origin" not in answer.headers


async def test_discovery_is_for_every_origin_where_browsers_are_served_at_all(f: Flow) -> None:
    for path in sorted(PUBLIC):
        async with browser(f, APP) as http:
            for origin in (APP, "https://another.example"):
                answer = await http.get(path, headers={"Origin": origin})
                assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        async with browser(f) as http:
            assert "access-control-allow-origin" not in (await http.get(path, headers={"Origin": APP})).headers
