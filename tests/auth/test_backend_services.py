"""SMART Backend Services: client_credentials with a signed assertion."""

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from health_hub.auth import jose
from health_hub.auth.clients import JWT_BEARER
from health_hub.auth.model import Client
from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.auth.flow import Flow, flow

EC = ECKey.generate_key("P-384", parameters={"kid": "ec"})
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
JWKS = {"keys": [{**EC.as_dict(private=False), "kid": "ec"}, {**RSA.as_dict(private=False), "kid": "rsa"}]}
TOKEN = f"{ISSUER}/auth/token"


@pytest.fixture
async def f(store: Store) -> AsyncIterator[Flow]:
    async with flow(store) as found:
        yield found


async def service(f: Flow, **more: Any) -> Client:
    given = {"token_endpoint_auth_method": "private_key_jwt", "grant_types": ("client_credentials",), "jwks": JWKS, "redirect_uris": (),
             "scope": "system/*.rs system/Observation.cruds", "organization": "Organization/a"} | more  # fmt: skip
    return (await f.app(**given))[0]


def claims(client: Client, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {"iss": client.id, "sub": client.id, "aud": TOKEN, "exp": now + 60, "iat": now, "jti": secrets.token_hex(8)} | more
    return {k: v for k, v in found.items() if v is not None}


def signed(client: Client, *, alg: str = "ES384", head: dict[str, Any] | None = None, **more: Any) -> str:
    key, kid = (EC, "ec") if alg.startswith("ES") else (RSA, "rsa")
    return jose.sign({"alg": alg, "kid": kid, "typ": "JWT"} | (head or {}), claims(client, **more), key)


def raw(head: dict[str, Any], said: dict[str, Any], signature: bytes = b"x") -> str:
    parts = [json.dumps(head).encode(), json.dumps(said).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)


async def ask(f: Flow, assertion: str, **more: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": JWT_BEARER, "client_assertion": assertion}
    return await f.door.ask("POST", "/auth/token", data=form | more)


@pytest.mark.parametrize("alg", ["ES384", "RS384"])
async def test_a_system_acts_for_its_facility(f: Flow, alg: str) -> None:
    client = await service(f, labels=("HIV",))
    answer = await ask(f, signed(client, alg=alg))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("Bearer", 300, "system/*.rs")
    found = f.authority.tokens.verify(said["access_token"])
    assert (found.subject, found.client, found.role, found.organization, found.labels) == (
        client.id, client.id, "system", "Organization/a", ("HIV",)
    )  # fmt: skip
    assert (await f.door.ask("GET", "/auth/userinfo", token=said["access_token"])).status_code in (401, 403)


@pytest.mark.parametrize(("scope", "got"), [
    ("system/Patient.rs", "system/Patient.rs"), ("system/*.read", "system/*.read"),
    ("system/Observation.cruds", "system/Observation.cruds"),
    ("system/*.cruds", "system/*.rs system/Observation.cruds"), ("openid user/*.rs system/Patient.r", "system/Patient.r"),
])  # fmt: skip
async def test_a_system_gets_system_scopes_it_is_registered_for(f: Flow, scope: str, got: str) -> None:
    said = (await ask(f, signed(await service(f)), scope=scope)).json()
    assert said["scope"] == got


@pytest.mark.parametrize("scope", ["user/*.rs", "patient/*.rs", "openid", "system/Unheard.rs", "system/Patient.c"])
async def test_nothing_else_is_granted(f: Flow, scope: str) -> None:
    assert (await ask(f, signed(await service(f)), scope=scope)).json()["error"] == "invalid_scope"


@pytest.mark.parametrize("aud", [ISSUER, [TOKEN], [ISSUER, TOKEN]])
async def test_the_audience_is_the_token_endpoint_or_the_issuer(f: Flow, aud: Any) -> None:
    assert (await ask(f, signed(await service(f), aud=aud))).status_code == 200


NOW = int(time.time())
BAD: dict[str, dict[str, Any]] = {
    "aud elsewhere": {"aud": "https://evil.example/token"}, "aud here and elsewhere": {"aud": [TOKEN, "https://evil.example"]},
    "no aud": {"aud": None}, "aud empty": {"aud": []}, "aud the API": {"aud": f"{ISSUER}/fhir"}, "expired": {"exp": NOW - 60},
    "too far ahead": {"exp": NOW + 7200}, "no exp": {"exp": None}, "exp text": {"exp": "soon"}, "not yet": {"nbf": NOW + 3600},
    "issued later": {"iat": NOW + 3600}, "no jti": {"jti": None}, "jti long": {"jti": "x" * 300}, "iss another": {"iss": "someone"},
    "sub another": {"sub": "someone"},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_an_assertion_that_says_something_else_is_refused(f: Flow, name: str) -> None:
    refused = await ask(f, signed(await service(f), **BAD[name]))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_an_assertion_is_good_once(f: Flow) -> None:
    assertion = signed(await service(f))
    assert (await ask(f, assertion)).status_code == 200
    again = await ask(f, assertion)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")


async def test_the_same_jti_is_another_clients_to_use(f: Flow) -> None:
    one, other = await service(f), await service(f)
    assert (await ask(f, signed(one, jti="j"))).status_code == 200
    assert (await ask(f, signed(other, jti="j"))).status_code == 200


async def test_algorithms_that_prove_nothing_are_refused(f: Flow) -> None:
    client = await service(f)
    pem = RSA.as_pem(private=False)
    hs = jose.jwt.encode({"alg": "HS256", "kid": "rsa"}, claims(client), OctKey.import_key(base64.b64encode(pem)))
    attempts = [
        raw({"alg": "none"}, claims(client), b""), raw({"alg": "none"}, claims(client)),
        raw({"alg": "None", "kid": "ec"}, claims(client)), hs,
        signed(client, head={"kid": "rsa"}), signed(client, head={"kid": "unknown"}), signed(client)[:-6] + "AAAAAA",
        jose.sign({"alg": "ES384", "kid": "ec"}, claims(client), ECKey.generate_key("P-384")), "x", "a.b.c", "",
    ]  # fmt: skip
    for assertion in attempts:
        refused = await ask(f, assertion)
        assert refused.status_code in (400, 401), assertion
        assert refused.json()["error"] in ("invalid_client", "invalid_request")


@pytest.mark.parametrize("head", [
    {"jku": "https://evil.example/keys"}, {"jwk": EC.as_dict(private=False)}, {"x5u": "https://evil.example"}, {"x5c": ["x"]},
    {"crit": ["b64"], "b64": False}, {"kid": "../../etc/passwd"}, {"kid": ""},
])  # fmt: skip
async def test_a_header_that_points_to_another_key_is_refused_or_ignored(f: Flow, head: dict[str, Any]) -> None:
    client = await service(f)
    stranger = ECKey.generate_key("P-384")
    assertion = raw({"alg": "ES384", "typ": "JWT"} | head, claims(client))
    if "b64" not in head:
        assertion = jose.sign({"alg": "ES384", "typ": "JWT"} | head, claims(client), stranger)
    refused = await ask(f, assertion)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_another_clients_key_signs_nothing_here(f: Flow) -> None:
    other = ECKey.generate_key("P-384", parameters={"kid": "ec"})
    client = await service(f)
    await service(f, jwks={"keys": [other.as_dict(private=False)]})
    refused = await ask(f, jose.sign({"alg": "ES384", "kid": "ec"}, claims(client), other))
    assert refused.status_code == 401


async def test_a_disabled_client_is_refused(f: Flow) -> None:
    client = await service(f)
    await f.authority.clients.change(client.id, enabled=False)
    assert (await ask(f, signed(client))).status_code == 401


async def test_a_client_without_credentials_has_none(f: Flow) -> None:
    client = await service(f, token_endpoint_auth_method="none", jwks=None)
    refused = await f.token(client, {"grant_type": "client_credentials", "scope": "system/*.rs"})
    assert refused.json()["error"] == "unauthorized_client"
