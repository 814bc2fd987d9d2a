import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from health_hub.auth import par
from health_hub.auth.model import AuthError, Client
from health_hub.auth.routes import par as route
from health_hub.store.store import Store
from tests.auth.door import Door, door

PATH = "/auth/par"
ASKED = {"response_type": "code", "redirect_uri": "https://app.example.vn/cb", "scope": "openid", "state": "s", "code_challenge": "c" * 43,
         "code_challenge_method": "S256"}  # fmt: skip


class Pushing:
    def __init__(self, d: Door, client: Client, secret: str) -> None:
        self.door, self.client, self.secret = d, client, secret
        self.authority = d.authority

    async def push(self, auth: tuple[str, str] | None = None, **more: str) -> httpx.Response:
        async with self.door.from_() as client:
            return await client.post(PATH, data=ASKED | more, auth=auth or (self.client.id, self.secret))

    async def pull(self, request_uri: str, client: Client | None = None) -> dict[str, str] | None:
        return await self.authority.par_request(request_uri, client or self.client)


@pytest.fixture
async def pushing(store: Store) -> AsyncIterator[Pushing]:
    async def validate(client: Client, params: Mapping[str, str]) -> None:
        if params.get("redirect_uri") not in client.redirect_uris:
            raise AuthError("invalid_request", "redirect_uri is not registered")

    d = await door(store, lambda a: route.router(a, validate))
    client, secret = await d.client()
    yield Pushing(d, client, secret)
    await d.authority.stop()


async def test_a_pushed_request_is_had_once_and_without_the_clients_proof(pushing: Pushing) -> None:
    answer = await pushing.push()
    assert answer.status_code == 201
    assert answer.json()["expires_in"] == 90
    assert answer.headers["cache-control"] == "no-store"
    uri = answer.json()["request_uri"]
    assert uri.startswith("urn:ietf:params:oauth:request_uri:")
    kept = json.dumps([[r.id, r.data] for r in await pushing.authority.store.records.page("par")])
    assert uri.removeprefix(par.PREFIX) not in kept
    assert await pushing.pull(uri) == ASKED | {"client_id": pushing.client.id}
    assert await pushing.pull(uri) is None


async def test_the_secret_of_the_form_is_not_kept(pushing: Pushing) -> None:
    client, secret = await pushing.door.client(token_endpoint_auth_method="client_secret_post")
    answer = await pushing.door.ask("POST", PATH, data=ASKED | {"client_id": client.id, "client_secret": secret})
    assert answer.status_code == 201
    assert secret not in json.dumps([r.data for r in await pushing.authority.store.records.page("par")])


async def test_of_many_who_use_a_request_uri_at_once_one_has_it(pushing: Pushing) -> None:
    uri = (await pushing.push()).json()["request_uri"]
    had = await asyncio.gather(*(pushing.pull(uri) for _ in range(8)))
    assert sum(h is not None for h in had) == 1


async def test_another_client_neither_has_it_nor_uses_it_up(pushing: Pushing) -> None:
    other, _ = await pushing.door.client()
    uri = (await pushing.push()).json()["request_uri"]
    assert await pushing.pull(uri, other) is None
    assert await pushing.pull(uri) is not None


async def test_it_ends_after_its_time(pushing: Pushing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(par, "SECONDS", 1)
    uri = (await pushing.push()).json()["request_uri"]
    await asyncio.sleep(1.05)
    assert await pushing.pull(uri) is None


@pytest.mark.parametrize("uri", ["", "x", "urn:ietf:params:oauth:request_uri:", "urn:ietf:params:oauth:request_uri:guess",
                                 "https://evil.example/request.jwt", "urn:ietf:params:oauth:request_uri:" + "x" * 500])  # fmt: skip
async def test_a_made_up_request_uri_is_nothing(pushing: Pushing, uri: str) -> None:
    assert await pushing.pull(uri) is None


async def test_a_pushed_request_points_to_no_other(pushing: Pushing) -> None:
    answer = await pushing.push(request_uri="urn:ietf:params:oauth:request_uri:x")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await pushing.push(request="e30.e30.")).json()["error"] == "request_not_supported"


async def test_only_its_client_pushes_a_request(pushing: Pushing) -> None:
    assert (await pushing.push((pushing.client.id, "wrong"))).status_code == 401
    other, _ = await pushing.door.client()
    assert (await pushing.push(client_id=other.id)).json()["error"] == "invalid_request"
    assert (await pushing.door.ask("POST", PATH, data=ASKED | {"client_id": pushing.client.id})).json()["error"] == "invalid_client"
    assert (await pushing.door.ask("GET", PATH)).status_code == 405


async def test_what_could_not_be_authorized_is_refused_when_it_is_pushed(pushing: Pushing) -> None:
    answer = await pushing.push(redirect_uri="https://evil.example/")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    client, secret = await pushing.door.client(grant_types=("client_credentials",))
    assert (await pushing.push((client.id, secret))).json()["error"] == "unauthorized_client"
    assert not await pushing.authority.store.records.page("par")
