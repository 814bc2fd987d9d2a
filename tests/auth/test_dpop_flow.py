"""Tokens bound to a key of the application (RFC 9449), from the code to the last refresh."""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey

from health_hub.auth import jose
from health_hub.auth.id_tokens import at_hash
from health_hub.auth.model import Client
from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.auth.flow import REDIRECT, Flow, flow

MINE, OTHER = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
SCOPE = "openid patient/*.rs offline_access"


@pytest.fixture
async def f(store: Store) -> AsyncIterator[Flow]:
    async with flow(store) as found:
        yield found


def proof(key: ECKey = MINE, method: str = "POST", path: str = "/auth/token", *, token: str | None = None, **more: Any) -> str:
    said = {"htm": method, "htu": f"{ISSUER}{path}", "iat": int(time.time()), "jti": secrets.token_hex(8)} | more
    if token is not None:
        said["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
    return jose.sign({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.as_dict(private=False)}, said, key)


async def redeem(f: Flow, client: Client, code: str, verifier: str, sent: str | None, *, secret: str = "") -> httpx.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": verifier}
    return await f.token(client, form, secret=secret, headers={"DPoP": sent} if sent else None)


async def refresh(f: Flow, client: Client, token: str, sent: str | None, *, secret: str = "") -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return await f.token(client, form, secret=secret, headers={"DPoP": sent} if sent else None)


async def bound(f: Flow, *, secret: bool = False, **params: Any) -> tuple[Client, str, dict[str, Any]]:
    client, key = await f.app(**{"token_endpoint_auth_method": "client_secret_basic"} if secret else {})
    verifier = secrets.token_urlsafe(48)
    answer = await f.code(client, await f.session(await f.person()), verifier=verifier, scope=SCOPE, **params)
    response = await redeem(f, client, answer["code"], verifier, proof(), secret=key)
    assert response.status_code == 200, response.text
    return client, key, response.json()


async def test_a_token_asked_for_with_a_proof_is_bound_to_its_key(f: Flow) -> None:
    _, _, said = await bound(f)
    assert said["token_type"] == "DPoP"
    assert f.authority.tokens.verify(said["access_token"]).thumbprint == MINE.thumbprint()
    key = f.authority.keys.get(jose.header(said["id_token"], 8192)["kid"])
    assert key
    assert jose.verify(said["id_token"], key.key, "RS256")["at_hash"] == at_hash(said["access_token"])


async def test_a_bound_token_is_worth_nothing_without_its_key(f: Flow) -> None:
    token = (await bound(f))[2]["access_token"]

    async def ask(scheme: str, sent: str | None) -> int:
        headers = {"Authorization": f"{scheme} {token}"} | ({"DPoP": sent} if sent else {})
        return (await f.door.ask("GET", "/auth/userinfo", headers=headers)).status_code

    path = "/auth/userinfo"
    assert await ask("DPoP", proof(method="GET", path=path, token=token)) == 200
    assert await ask("Bearer", None) == 401
    assert await ask("DPoP", None) == 401
    assert await ask("Bearer", proof(method="GET", path=path, token=token)) == 401
    assert await ask("DPoP", proof(OTHER, "GET", path, token=token)) == 401
    assert await ask("DPoP", proof(method="GET", path=path, token="another")) == 401
    assert await ask("DPoP", proof(method="POST", path=path, token=token)) == 401


async def test_a_public_clients_refresh_token_is_bound_to_the_key_too(f: Flow) -> None:
    client, _, said = await bound(f)
    for sent in (None, proof(OTHER)):
        assert (await refresh(f, client, said["refresh_token"], sent)).json()["error"] == "invalid_grant"
    again = await refresh(f, client, said["refresh_token"], proof())
    assert (again.status_code, again.json()["token_type"]) == (200, "DPoP")


async def test_a_client_that_authenticates_may_change_its_key(f: Flow) -> None:
    client, secret, said = await bound(f, secret=True)
    again = await refresh(f, client, said["refresh_token"], proof(OTHER), secret=secret)
    assert f.authority.tokens.verify(again.json()["access_token"]).thumbprint == OTHER.thumbprint()


async def test_a_code_bound_to_a_key_is_redeemed_with_it_only(f: Flow) -> None:
    client, _ = await f.app()
    verifier = secrets.token_urlsafe(48)
    session = await f.session(await f.person())
    code = (await f.code(client, session, verifier=verifier, dpop_jkt=MINE.thumbprint()))["code"]
    for sent in (None, proof(OTHER)):
        assert (await redeem(f, client, code, verifier, sent)).json()["error"] == "invalid_grant"
    assert (await redeem(f, client, code, verifier, proof())).status_code == 200


@pytest.mark.parametrize("sent", ["", "a.b.c", "method", "path", "old"])
async def test_a_proof_of_something_else_gets_no_token(f: Flow, sent: str) -> None:
    client, _ = await f.app()
    verifier = secrets.token_urlsafe(48)
    code = (await f.code(client, await f.session(await f.person()), verifier=verifier))["code"]
    made = {"method": proof(method="GET"), "path": proof(path="/auth/revoke"), "old": proof(iat=int(time.time()) - 3600)}.get(sent, sent)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": verifier}
    refused = await f.token(client, form, headers={"DPoP": made})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_proof_is_good_for_one_request(f: Flow) -> None:
    client, _, said = await bound(f)
    once = proof()
    again = await refresh(f, client, said["refresh_token"], once)
    assert again.status_code == 200
    assert (await refresh(f, client, again.json()["refresh_token"], once)).json()["error"] == "invalid_dpop_proof"
    assert (await refresh(f, client, again.json()["refresh_token"], proof())).status_code == 200
