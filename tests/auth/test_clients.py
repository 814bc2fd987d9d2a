"""Client authentication: one method, the registered one; assertions once and for us."""

import base64
import inspect
import time
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from health_hub.auth import clients, jose
from health_hub.auth.authority import Authority
from health_hub.auth.model import AuthError, AuthMethod, Client

TOKEN_ENDPOINT = "https://hub.example.vn/auth/token"
AUDIENCES = (TOKEN_ENDPOINT, "https://hub.example.vn")
KEYS = {"ES384": ECKey.generate_key("P-384"), "RS384": RSAKey.generate_key(2048)}


async def made(authority: Authority, method: AuthMethod, **more: Any) -> tuple[Client, str]:
    return await authority.clients.create(Client("", "App", ("client_credentials",), method, **more))


def jwks(alg: str) -> dict[str, Any]:
    return {"keys": [{**KEYS[alg].as_dict(private=False), "kid": "k", "alg": alg}]}


def assertion(client: Client, alg: str = "ES384", *, head: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> dict[str, str]:
    said = {"iss": client.id, "sub": client.id, "aud": TOKEN_ENDPOINT, "exp": int(time.time()) + 200, "jti": "1", **claims}
    text = jose.sign({"alg": alg, "kid": "k", **(head or {})}, {k: v for k, v in said.items() if v is not None}, key or KEYS[alg])
    return {"client_assertion_type": clients.JWT_BEARER, "client_assertion": text}


def basic(id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{id}:{secret}".encode()).decode()


async def refused(authority: Authority, authorization: str | None, form: dict[str, str]) -> AuthError:
    with pytest.raises(AuthError) as e:
        await authority.clients.authenticate(authorization, form, audiences=AUDIENCES)
    return e.value


async def test_secret_is_kept_as_a_hash_and_works_by_its_method_only(authority: Authority) -> None:
    client, secret = await made(authority, "client_secret_basic")
    record = await authority.store.records.get("client", client.id)
    assert record
    assert secret not in str(record.data)
    assert await authority.clients.authenticate(basic(client.id, secret), {}, audiences=AUDIENCES) == client
    e = await refused(authority, basic(client.id, secret + "x"), {})
    assert (e.error, e.status, dict(e.headers)["WWW-Authenticate"]) == ("invalid_client", 401, 'Basic realm="token"')
    await refused(authority, None, {"client_id": client.id, "client_secret": secret})
    await refused(authority, None, {"client_id": client.id})
    both = await refused(authority, basic(client.id, secret), {"client_id": client.id, "client_secret": secret})
    assert both.error == "invalid_request"


async def test_secrets_are_compared_in_constant_time() -> None:
    assert "hmac.compare_digest" in inspect.getsource(clients.Clients.authenticate)


async def test_disabled_client_is_refused(authority: Authority) -> None:
    client, secret = await made(authority, "client_secret_post")
    form = {"client_id": client.id, "client_secret": secret}
    assert await authority.clients.authenticate(None, form, audiences=AUDIENCES) == client
    await authority.clients.change(client.id, enabled=False)
    await refused(authority, None, form)


@pytest.mark.parametrize("alg", ["ES384", "RS384"])
async def test_assertion_is_good_once(authority: Authority, alg: str) -> None:
    client, _ = await made(authority, "private_key_jwt", jwks=jwks(alg))
    form = assertion(client, alg)
    assert (await authority.clients.authenticate(None, form, audiences=AUDIENCES)).id == client.id
    assert "used before" in (await refused(authority, None, form)).description


@pytest.mark.parametrize("change", [
    {"aud": "https://evil.example/token"}, {"aud": [TOKEN_ENDPOINT, "https://evil.example"]}, {"aud": None}, {"exp": 1}, {"exp": None},
    {"exp": 4102444800}, {"jti": None}, {"iss": "x"}, {"sub": "x"}, {"nbf": 4102444800}, {"head": {"kid": "other"}},
    {"head": {"jku": "https://evil.example/jwks"}}, {"key": ECKey.generate_key("P-384")}, {"alg": "PS384", "key": KEYS["RS384"]},
])  # fmt: skip
async def test_assertion_for_something_else_is_refused(authority: Authority, change: dict[str, Any]) -> None:
    client, _ = await made(authority, "private_key_jwt", jwks=jwks("ES384"))
    assert (await refused(authority, None, assertion(client, **change))).error == "invalid_client"


async def test_keys_by_uri_are_fetched_once(authority: Authority) -> None:
    client, _ = await made(authority, "private_key_jwt", jwks_uri="https://app.example/jwks")
    assert (await refused(authority, None, assertion(client))).error == "invalid_client"
    authority.clients._sets.clear()
    asked = []

    async def fetch(uri: str) -> dict[str, Any]:
        asked.append(uri)
        return jwks("ES384")

    authority.clients.fetch_jwks = fetch
    for jti in ("a", "b"):
        await authority.clients.authenticate(None, assertion(client, jti=jti), audiences=AUDIENCES)
    await refused(authority, None, assertion(client, head={"kid": "made up"}, jti="c"))
    assert asked == ["https://app.example/jwks"]
