"""Introspection and revocation: what a client may learn of tokens, and take back."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from health_hub.auth.introspection import Family
from health_hub.auth.model import Account, AuthError, Client
from health_hub.auth.revoked import Revoked
from health_hub.auth.routes import introspect, revoke
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door


class Kept:
    """Refresh tokens: of each family the newest last."""

    def __init__(self) -> None:
        self.tokens: dict[str, Family] = {}
        self.rotated: dict[str, Family] = {}
        self.ended: list[str] = []

    async def find(self, token: str) -> Family | None:
        family = self.tokens.get(token)
        return family if family and family.id not in self.ended else None

    async def owner(self, token: str) -> tuple[str, str] | None:
        family = self.tokens.get(token) or self.rotated.get(token)
        return (family.id, family.client) if family else None

    async def end(self, id: str) -> None:
        self.ended.append(id)


class Issued:
    def __init__(self, d: Door, families: Kept, client: Client, secret: str, account: Account) -> None:
        self.door, self.families, self.client, self.secret, self.account = d, families, client, secret, account
        self.authority = d.authority
        now = int(time.time())
        self.family = Family("grant-1", client.id, account.id, "openid fhirUser patient/*.rs offline_access", now, now + 1000,
                             "Patient/bn-001", "bn-001", None, "thumb")  # fmt: skip
        families.tokens["refresh-2"], families.rotated["refresh-1"] = self.family, self.family

    def access(self, **more: Any) -> str:
        given: dict[str, Any] = {
            "subject": self.account.id, "client": self.client.id, "role": "patient", "scope": "openid fhirUser patient/*.rs",
            "fhir_user": "Patient/bn-001", "patient": "bn-001", "encounter": "e-1", "session": "grant-1", "thumbprint": "thumb",
        } | more  # fmt: skip
        return self.authority.tokens.issue(**given)[0]

    async def post(self, path: str, token: str | None, by: tuple[str, str] | None = None, **more: str) -> httpx.Response:
        async with self.door.from_() as client:
            data = ({} if token is None else {"token": token}) | more
            return await client.post(f"/auth/{path}", data=data, auth=by or (self.client.id, self.secret))

    async def told(self, token: str, by: tuple[str, str] | None = None, **more: str) -> dict[str, Any]:
        answer = await self.post("introspect", token, by, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]


@pytest.fixture
async def issued(store: Store) -> AsyncIterator[Issued]:
    families = Kept()
    d = await door(store, lambda a: introspect.router(a, families), lambda a: revoke.router(a, families))
    client, secret = await d.client()
    yield Issued(d, families, client, secret, await d.account())
    await d.authority.stop()


async def test_an_access_token_is_told_as_smart_asks(issued: Issued) -> None:
    answer = await issued.post("introspect", issued.access())
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert isinstance(said.pop("exp"), int)
    assert isinstance(said.pop("iat"), int)
    assert said.pop("jti")
    assert said == {
        "active": True, "scope": "openid fhirUser patient/*.rs", "client_id": issued.client.id, "token_type": "DPoP",
        "sub": issued.account.id, "iss": ISSUER, "aud": f"{ISSUER}/fhir", "sid": "grant-1", "fhirUser": f"{ISSUER}/fhir/Patient/bn-001",
        "patient": "bn-001", "encounter": "e-1", "cnf": {"jkt": "thumb"},
    }  # fmt: skip


async def test_a_system_clients_token_is_told(issued: Issued) -> None:
    token = issued.access(subject=issued.client.id, role="system", scope="system/*.rs", fhir_user=None, patient=None, encounter=None,
                          session=None, thumbprint=None)  # fmt: skip
    said = await issued.told(token)
    assert said["active"]
    assert said["token_type"] == "Bearer"
    assert not {"patient", "fhirUser", "sid", "cnf"} & said.keys()


async def test_a_refresh_token_is_told_while_it_is_the_newest(issued: Issued) -> None:
    said = await issued.told("refresh-2", token_type_hint="access_token")
    assert (said["active"], said["sid"], said["cnf"], said["exp"]) == (True, "grant-1", {"jkt": "thumb"}, issued.family.expires)
    assert await issued.told("refresh-1") == {"active": False}


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 9000, "é\u202e", " "])
async def test_what_is_no_token_is_inactive_and_nothing_more_is_said(issued: Issued, token: str) -> None:
    assert await issued.told(token) == {"active": False}


async def test_a_stranger_learns_nothing(issued: Issued) -> None:
    for by in (("nobody", "x"), (issued.client.id, "wrong"), (issued.client.id, "")):
        answer = await issued.post("introspect", issued.access(), by)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert "www-authenticate" in answer.headers
    assert (await issued.door.ask("POST", "/auth/introspect", data={"token": issued.access()})).status_code == 401
    # A token is no proof of being its client.
    assert (await issued.door.ask("POST", "/auth/introspect", data={"token": issued.access()}, token=issued.access())).status_code == 401
    public, _ = await issued.door.client(token_endpoint_auth_method="none")
    answer = await issued.door.ask("POST", "/auth/introspect", data={"token": issued.access(client=public.id), "client_id": public.id})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_another_client_is_told_of_a_token_as_of_none(issued: Issued) -> None:
    other = await issued.door.client()
    by = (other[0].id, other[1])
    for token in (issued.access(), "refresh-2", "made-up"):
        assert await issued.told(token, by) == {"active": False}


async def test_a_resource_server_of_the_settings_may_ask_about_all(issued: Issued) -> None:
    other, secret = await issued.door.client()
    issued.authority.settings = replace(issued.authority.settings, introspection_clients=(other.id,))
    assert (await issued.told(issued.access(), (other.id, secret)))["client_id"] == issued.client.id
    assert (await issued.told("refresh-2", (other.id, secret)))["active"]


async def test_guessing_at_the_door_is_slowed(issued: Issued) -> None:
    for path, limit in (("introspect", introspect.TRIES), ("revoke", revoke.TRIES)):
        seen = [(await issued.post(path, "x", ("nobody", "x"))).status_code for _ in range(limit + 1)]
        assert (seen[0], seen[-1]) == (401, 429)
        assert (await issued.post(path, "x")).status_code == 200


@pytest.mark.parametrize("id", ["session/grant-1", "client", "account"])
async def test_what_was_revoked_elsewhere_is_inactive_at_once(issued: Issued, id: str) -> None:
    token = issued.access()
    assert (await issued.told(token))["active"]
    elsewhere = Revoked(issued.authority.store.records, 300)
    await elsewhere.add({"client": f"client/{issued.client.id}", "account": f"account/{issued.account.id}"}.get(id, id))
    assert await issued.told(token) == {"active": False}


async def test_a_disabled_account_has_no_active_token(issued: Issued) -> None:
    token = issued.access()
    await issued.authority.accounts.disable(issued.account.id)
    assert await issued.told(token) == {"active": False}
    assert await issued.told("refresh-2") == {"active": False}


async def test_an_access_token_is_revoked_alone(issued: Issued) -> None:
    one, other = issued.access(), issued.access()
    assert (await issued.post("revoke", one)).status_code == 200
    with pytest.raises(AuthError, match="revoked"):
        issued.authority.tokens.verify(one)
    assert await issued.told(one) == {"active": False}
    assert (await issued.told(other))["active"]
    assert not issued.families.ended
    assert issued.door.events[-1].kind == "revoked"


@pytest.mark.parametrize("token", ["refresh-2", "refresh-1"])
async def test_a_refresh_token_is_revoked_with_its_family_and_their_access_tokens(issued: Issued, token: str) -> None:
    access = issued.access()
    assert (await issued.post("revoke", token, token_type_hint="access_token")).status_code == 200
    assert issued.families.ended == ["grant-1"]
    assert await issued.told(access) == {"active": False}
    assert await issued.told("refresh-2") == {"active": False}
    with pytest.raises(AuthError, match="revoked"):
        issued.authority.tokens.verify(access)


async def test_another_clients_token_is_not_revoked_and_the_answer_is_the_same(issued: Issued) -> None:
    other, secret = await issued.door.client()
    access = issued.access()
    answers = [await issued.post("revoke", t, (other.id, secret)) for t in (access, "refresh-2", "refresh-1", "made-up", "x" * 9000)]
    assert {(a.status_code, a.text) for a in answers} == {(200, "{}")}
    assert (await issued.told(access))["active"]
    assert (await issued.told("refresh-2"))["active"]
    assert not issued.door.events


async def test_a_resource_server_that_may_ask_may_not_revoke(issued: Issued) -> None:
    other, secret = await issued.door.client()
    issued.authority.settings = replace(issued.authority.settings, introspection_clients=(other.id,))
    access = issued.access()
    await issued.post("revoke", access, (other.id, secret))
    assert (await issued.told(access))["active"]


async def test_a_public_client_revokes_its_own_by_its_id(issued: Issued) -> None:
    public, _ = await issued.door.client(token_endpoint_auth_method="none")
    access = issued.access(client=public.id)
    assert (await issued.door.ask("POST", "/auth/revoke", data={"token": access, "client_id": public.id})).status_code == 200
    with pytest.raises(AuthError):
        issued.authority.tokens.verify(access)


async def test_revoking_again_or_nothing_is_no_error(issued: Issued) -> None:
    access = issued.access()
    for _ in range(2):
        assert (await issued.post("revoke", access)).status_code == 200
    assert (await issued.post("revoke", None)).json()["error"] == "invalid_request"
    assert (await issued.post("introspect", None)).json()["error"] == "invalid_request"
