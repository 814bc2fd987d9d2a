"""Input no database and no encoding takes: refused in OAuth's terms at every endpoint, never an error of the server."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from health_hub.auth.clients import JWT_BEARER
from health_hub.auth.device import Devices
from health_hub.auth.logout import plan
from health_hub.auth.model import Client
from health_hub.auth.routes import device, introspect, par, register, revoke
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door
from tests.auth.test_introspection import Kept

ENDPOINTS = ("/auth/introspect", "/auth/revoke", "/auth/par", "/auth/device_authorization")
JSON = {"Content-Type": "application/json"}
ODD = ("\0", "a\0b", "\ud800", "'; DROP TABLE record; --", "x" * 5000, "%00", "../..", "\u202e", "é", " ", "\r\nX: y", "null", "[]")


async def _anything(client: Client, params: object) -> None:
    pass


@pytest.fixture
async def hub(store: Store) -> AsyncIterator[Door]:
    d = await door(
        store, lambda a: introspect.router(a, Kept()), lambda a: revoke.router(a, Kept()), lambda a: par.router(a, _anything),
        lambda a: device.router(a, Devices(a)), register.router, registration="open",
    )  # fmt: skip
    yield d
    await d.authority.stop()


def _basic(id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{id}:{secret}".encode("utf-8", "surrogatepass")).decode()


async def test_odd_client_ids_and_secrets_are_clients_that_do_not_authenticate(hub: Door) -> None:
    client, _ = await hub.client()
    for path in ENDPOINTS:
        for n, odd in enumerate(ODD):
            for header in (_basic(odd, "x"), _basic(client.id, odd)):
                answer = await hub.ask("POST", path, data={"token": "x"}, headers={"Authorization": header}, address=f"198.51.100.{n}")
                assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), (path, odd)


async def test_odd_forms_are_refused(hub: Door) -> None:
    for path in ENDPOINTS:
        for n, odd in enumerate(ODD):
            body = b"&".join(k + b"=" + _quoted(odd) for k in (b"client_id", b"token", b"scope", b"request_uri", _quoted(odd)))
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await hub.ask("POST", path, content=body, headers=headers, address=f"198.51.100.{n}")
            assert 400 <= answer.status_code < 500, (path, odd)
            assert answer.json()["error"]


def _quoted(text: str) -> bytes:
    return "".join(f"%{b:02x}" for b in text.encode("utf-8", "surrogatepass")).encode()


async def test_odd_metadata_is_refused_or_kept_as_text(hub: Door) -> None:
    key = ECKey.generate_key("P-256").as_dict(private=False)
    good = {"redirect_uris": ["https://app.example.vn/cb"], "token_endpoint_auth_method": "none"}
    for n, odd in enumerate(ODD):
        cases: list[dict[str, Any]] = [
            {"client_name": odd}, {"scope": f"openid {odd}"}, {"logo_uri": odd}, {"jwks": {"keys": [key | {"kid": odd}]}},
            {"jwks": {"keys": [key | {"x-more": odd}]}}, {odd: odd}, {"contacts": [odd]}, {"jwks_uri": odd}, {"redirect_uris": [odd]},
            {"grant_types": [odd]}, {"jwks": {"keys": [key | {"x": odd}]}},
        ]  # fmt: skip
        for m, case in enumerate(cases):
            answer = await hub.ask("POST", "/auth/register", content=json.dumps(good | case), headers=JSON, address=f"198.51.{n}.{m}")
            assert answer.status_code in (201, 400), (odd, case)
    made = (await hub.ask("POST", "/auth/register", json=good | {"token_endpoint_auth_method": "client_secret_post"})).json()
    for odd in ODD:
        said = good | {"client_id": made["client_id"], "client_secret": odd}
        path = f"/auth/register/{made['client_id']}"
        answer = await hub.ask("PUT", path, content=json.dumps(said), headers=JSON, token=made["registration_access_token"])
        assert answer.status_code == 400


def _signed(said: dict[str, Any], key: ECKey) -> str:
    """With half surrogates escaped, as JSON can hold them."""
    return jws.serialize_compact({"alg": "ES384"}, json.dumps(said).encode(), key, algorithms=["ES384"])


async def test_odd_assertions_are_refused(hub: Door) -> None:
    key = ECKey.generate_key("P-384")
    client, _ = await hub.client(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key.as_dict(private=False)]})
    now = int(time.time())
    for n, odd in enumerate(ODD):
        for claims in ({"sub": odd, "iss": odd}, {"aud": odd}, {"exp": odd}):
            said = {"iss": client.id, "sub": client.id, "aud": ISSUER, "exp": now + 60, "jti": f"j{n}"} | claims
            data = {"token": "x", "client_assertion_type": JWT_BEARER, "client_assertion": _signed(said, key)}
            answer = await hub.ask("POST", "/auth/revoke", data=data, address=f"198.51.100.{n}")
            assert answer.status_code == 401, (odd, claims)
        said = {"iss": client.id, "sub": client.id, "aud": ISSUER, "exp": now + 60, "jti": odd}
        data = {"token": "x", "client_assertion_type": JWT_BEARER, "client_assertion": _signed(said, key)}
        answers = [await hub.ask("POST", "/auth/revoke", data=data, address=f"198.51.100.{n}") for _ in range(2)]
        # Any text of its length is a jti, and none of them is good twice.
        assert [a.status_code for a in answers] == [401 if len(odd) > 255 else 200, 401], odd


async def test_odd_logouts_lead_nowhere(hub: Door) -> None:
    for odd in ODD:
        planned = await plan(hub.authority, {"client_id": odd, "id_token_hint": odd, "post_logout_redirect_uri": odd, "state": odd}, None)
        assert planned.redirect is None
        planned = await plan(hub.authority, {"client_id": odd, "post_logout_redirect_uri": odd, "state": odd}, None)
        assert planned.redirect is None
