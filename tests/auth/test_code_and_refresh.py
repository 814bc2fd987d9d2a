"""grant_type authorization_code and refresh_token at the token endpoint, and what must fail there."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from health_hub.auth import consents, jose
from health_hub.auth.id_tokens import at_hash
from health_hub.auth.model import Client
from health_hub.auth.signin import SignIn
from health_hub.store.records import Put
from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.auth.flow import AUD, REDIRECT, Flow, flow

VERIFIER = secrets.token_urlsafe(48)
OFFLINE = "openid fhirUser launch/patient patient/*.rs offline_access"
ONLINE = "openid fhirUser launch/patient patient/*.rs online_access"


@pytest.fixture
async def f(store: Store) -> AsyncIterator[Flow]:
    async with flow(store) as found:
        yield found


def payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


async def test_the_answer_says_what_was_granted(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()
    session = await f.session(account)
    answer = await f.code(client, session, verifier=VERIFIER, scope=OFFLINE + " user/Unheard.rs system/*.rs")
    response = await f.redeem(client, answer["code"], VERIFIER)
    assert response.headers["cache-control"] == "no-store"
    said = response.json()
    assert said["scope"] == OFFLINE
    assert (said["token_type"], said["expires_in"], said["patient"], said["need_patient_banner"]) == ("Bearer", 300, "bn-001", True)
    assert "encounter" not in said
    claims = f.authority.tokens.verify(said["access_token"])
    assert (claims.subject, claims.client, claims.role) == (account.id, client.id, "patient")
    assert (claims.patient, claims.scope) == ("bn-001", OFFLINE)
    assert payload(said["access_token"])["aud"] == AUD
    assert [e.kind for e in f.door.events] == ["consent-given", "token"]
    assert not any(t in str(f.door.events) for t in (answer["code"], said["access_token"], said["refresh_token"]))


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_the_id_token_is_for_this_client_and_this_access_token(f: Flow, alg: str) -> None:
    client, _ = await f.app(id_token_signed_response_alg=alg)
    account = await f.person()
    session = await f.session(account)
    said = await f.tokens(client, session, scope="openid fhirUser profile")
    head = jose.header(said["id_token"], 8192)
    key = f.authority.keys.get(head["kid"])
    assert key
    found = jose.verify(said["id_token"], key.key, alg)
    assert (found["iss"], found["aud"], found["sub"], found["nonce"]) == (ISSUER, client.id, account.id, "a-nonce")
    assert found["fhirUser"] == f"{AUD}/Patient/bn-001"
    assert (found["auth_time"], found["amr"], found["sid"], found["name"]) == (session.signed_in, ["pwd"], session.id, "Hoa")
    assert found["at_hash"] == at_hash(said["access_token"])


async def test_without_openid_there_is_no_id_token_and_without_its_scopes_no_refresh_token(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope="patient/*.rs")
    assert not {"id_token", "refresh_token"} & said.keys()


async def test_who_asks_in_v1_is_answered_in_v1_and_again_at_refresh(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope="launch/patient patient/*.read offline_access")
    assert said["scope"] == "launch/patient patient/*.read offline_access"
    assert f.authority.tokens.verify(said["access_token"]).scope == "launch/patient patient/*.rs offline_access"
    again = (await f.refresh(client, said["refresh_token"], scope="patient/Observation.read")).json()
    assert again["scope"] == "patient/Observation.read"


async def test_userinfo_is_for_the_person_who_signed_in(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()
    said = await f.tokens(client, await f.session(account), scope="openid profile")
    for method in ("GET", "POST"):
        info = await f.door.ask(method, "/auth/userinfo", token=said["access_token"])
        assert info.json() == {"sub": account.id, "fhirUser": f"{AUD}/Patient/bn-001", "name": "Hoa", "locale": "vi"}
    none = await f.door.ask("GET", "/auth/userinfo")
    assert (none.status_code, none.headers["www-authenticate"]) == (401, 'Bearer realm="userinfo"')
    other = await f.tokens(client, await f.session(account), scope="patient/*.rs")
    assert (await f.door.ask("GET", "/auth/userinfo", token=other["access_token"])).status_code == 403
    assert (await f.door.ask("GET", "/auth/userinfo", token=said["id_token"])).status_code == 401
    dpop = await f.door.ask("GET", "/auth/userinfo", headers={"Authorization": f"DPoP {said['access_token']}"})
    assert dpop.status_code == 401


# --- codes


async def test_a_code_that_comes_again_ends_what_came_of_it(f: Flow) -> None:
    client, _ = await f.app()
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER, scope=OFFLINE))["code"]
    first = (await f.redeem(client, code, VERIFIER)).json()
    assert await f.alive(first["access_token"])
    again = await f.redeem(client, code, VERIFIER)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not await f.alive(first["access_token"])
    assert (await f.refresh(client, first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_of_two_who_bring_a_code_at_once_none_keeps_anything(f: Flow) -> None:
    client, _ = await f.app()
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER, scope=OFFLINE))["code"]
    answers = await asyncio.gather(*(f.redeem(client, code, VERIFIER) for _ in range(4)))
    good = [a.json() for a in answers if a.status_code == 200]
    assert len(good) == 1
    assert not await f.alive(good[0]["access_token"])


@pytest.mark.parametrize("changed", [
    {"code_verifier": None}, {"code_verifier": "x" * 43}, {"code_verifier": VERIFIER[:42]}, {"code_verifier": "x" * 200},
    {"redirect_uri": f"{REDIRECT}/"}, {"redirect_uri": None}, {"redirect_uri": "https://evil.example/cb"}, {"code": "guess"},
    {"code": "x" * 300}, {"code": None},
])  # fmt: skip
async def test_a_code_needs_its_verifier_and_its_redirect_uri(f: Flow, changed: dict[str, str | None]) -> None:
    client, _ = await f.app()
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER))["code"]
    sent: dict[str, Any] = {"code": code, "verifier": VERIFIER} | {k if k != "code_verifier" else "verifier": v for k, v in changed.items()}
    verifier = sent.pop("verifier")
    refused = await f.redeem(client, sent.pop("code"), verifier, **sent)
    assert (refused.status_code, refused.json()["error"]) in ((400, "invalid_grant"), (400, "invalid_request"))
    assert (await f.redeem(client, code, VERIFIER)).status_code == 200


async def test_the_challenge_itself_is_no_verifier(f: Flow) -> None:
    """PKCE downgrade: a server that took `plain` would let whoever saw the request redeem the code."""
    from tests.auth.flow import challenge

    client, _ = await f.app()
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER))["code"]
    assert (await f.redeem(client, code, challenge(VERIFIER), code_challenge_method="plain")).json()["error"] == "invalid_grant"


async def test_another_client_has_nothing_of_a_code_and_does_not_use_it_up(f: Flow) -> None:
    client, _ = await f.app()
    other, secret = await f.app(token_endpoint_auth_method="client_secret_basic")
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER))["code"]
    assert (await f.redeem(other, code, VERIFIER, secret=secret)).json()["error"] == "invalid_grant"
    assert (await f.redeem(client, code, VERIFIER)).status_code == 200


async def test_a_code_ends_with_its_time(f: Flow) -> None:
    client, _ = await f.app()
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER))["code"]
    [record] = await f.authority.store.records.page("code")
    assert record.expires is not None
    assert record.expires / 1000 <= time.time() + 60
    await f.authority.store.records.change([Put("code", record.id, record.data, expires=1)])
    assert (await f.redeem(client, code, VERIFIER)).json()["error"] == "invalid_grant"


async def test_a_code_is_worth_nothing_after_sign_out_or_when_consent_or_account_is_gone(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()

    async def code() -> tuple[str, Any]:
        session = await f.session(account)
        return (await f.code(client, session, verifier=VERIFIER))["code"], session

    given, session = await code()
    await f.authority.sessions.end(session)
    assert (await f.redeem(client, given, VERIFIER)).json()["error"] == "invalid_grant"
    given, _ = await code()
    await consents.withdraw(f.authority, account.id, client.id)
    assert (await f.redeem(client, given, VERIFIER)).json()["error"] == "invalid_grant"
    given, _ = await code()
    await f.authority.accounts.disable(account.id)
    assert (await f.redeem(client, given, VERIFIER)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("wrong", ["none", "other secret", "both", "no secret"])
async def test_a_confidential_client_authenticates_as_registered(f: Flow, wrong: str) -> None:
    client, secret = await f.app(token_endpoint_auth_method="client_secret_basic")
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER))["code"]
    more = {"client_secret": secret} if wrong == "both" else {}
    refused = await f.redeem(client, code, VERIFIER, secret={"none": "", "no secret": ""}.get(wrong, secret + "x"), **more)
    assert refused.status_code in (400, 401)
    assert refused.json()["error"] in ("invalid_client", "invalid_request")
    assert (await f.redeem(client, code, VERIFIER, secret=secret)).status_code == 200


# --- refresh tokens


async def test_refresh_tokens_rotate(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    for _ in range(3):
        again = await f.refresh(client, said["refresh_token"])
        assert again.status_code == 200
        assert again.json()["refresh_token"] != said["refresh_token"]
        said = again.json()
        assert (said["patient"], said["scope"]) == ("bn-001", OFFLINE)
        assert "nonce" not in payload(said["id_token"])
    assert await f.alive(said["access_token"])


async def test_a_refresh_token_used_twice_ends_the_whole_family(f: Flow) -> None:
    client, _ = await f.app()
    first = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    second = (await f.refresh(client, first["refresh_token"])).json()
    stolen = await f.refresh(client, first["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert (await f.refresh(client, second["refresh_token"])).json()["error"] == "invalid_grant"
    assert not await f.alive(first["access_token"])
    assert not await f.alive(second["access_token"])
    assert "token-refused" in [e.kind for e in f.door.events]


async def test_of_many_at_once_with_one_refresh_token_at_most_one_is_answered_and_the_family_ends(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    answers = await asyncio.gather(*(f.refresh(client, said["refresh_token"]) for _ in range(5)))
    good = [a.json() for a in answers if a.status_code == 200]
    assert len(good) == 1
    assert (await f.refresh(client, good[0]["refresh_token"])).status_code == 400


async def test_a_made_up_refresh_token_ends_nobodys_access(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    family, random, tag = said["refresh_token"].split(".")
    for made in (f"{family}.x.{tag}", f"{family}.{random}.{'0' * 32}", f"{family}.{random}", family, "x" * 400, f"{family}.{random}.é",
                 ".."):  # fmt: skip
        assert (await f.refresh(client, made)).json()["error"] in ("invalid_grant", "invalid_request")
    assert (await f.refresh(client, said["refresh_token"])).status_code == 200


@pytest.mark.parametrize("more", ["patient/*.cruds", "user/Patient.rs", "patient/*.rs fhirUser profile", "unheard-of", "system/*.rs"])
async def test_a_refresh_widens_no_scope(f: Flow, more: str) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    assert (await f.refresh(client, said["refresh_token"], scope=f"patient/*.rs {more}")).json()["error"] == "invalid_scope"
    assert (await f.refresh(client, said["refresh_token"])).json()["scope"] == OFFLINE


async def test_a_narrower_refresh_is_narrower_once(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    less = (await f.refresh(client, said["refresh_token"], scope="patient/Observation.r")).json()
    assert less["scope"] == f.authority.tokens.verify(less["access_token"]).scope == "patient/Observation.r"
    assert "id_token" not in less
    assert (await f.refresh(client, less["refresh_token"])).json()["scope"] == OFFLINE


async def test_a_refresh_gives_no_more_than_the_client_may_have_now(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    await f.authority.clients.change(client.id, scope="openid patient/Observation.rs offline_access")
    assert (await f.refresh(client, said["refresh_token"])).json()["scope"] == "openid patient/Observation.rs offline_access"


async def test_a_refresh_token_is_its_clients_alone(f: Flow) -> None:
    client, _ = await f.app()
    other, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    assert (await f.refresh(other, said["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await f.refresh(client, said["refresh_token"])).status_code == 200


async def unnamed(f: Flow, refresh_token: str, **headers: str) -> httpx.Response:
    """A refresh as SMART App Launch has public applications send it."""
    async with f.door.from_() as http:
        return await http.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": refresh_token}, headers=headers)


async def test_a_public_application_refreshes_without_its_client_id(f: Flow) -> None:
    client, _ = await f.app()
    first = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    response = await unnamed(f, first["refresh_token"])
    assert response.status_code == 200, response.text
    second = response.json()
    assert f.authority.tokens.verify(second["access_token"]).client == client.id
    again = await unnamed(f, first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not await f.alive(second["access_token"]), "used twice, with or without the id"


async def test_a_confidential_client_does_not_refresh_without_its_secret(f: Flow) -> None:
    client, secret = await f.app(token_endpoint_auth_method="client_secret_basic")
    first = await f.tokens(client, await f.session(await f.person()), secret=secret, scope=OFFLINE)
    other, _ = await f.app()
    wrong = base64.b64encode(f"{client.id}:wrong".encode()).decode()
    stranger = base64.b64encode(f"{other.id}:".encode()).decode()
    for headers in ({}, {"authorization": f"Basic {wrong}"}, {"authorization": f"Basic {stranger}"}, {"authorization": "Bearer x"}):
        response = await unnamed(f, first["refresh_token"], **headers)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client"), headers
    assert (await f.refresh(client, first["refresh_token"], secret=secret)).status_code == 200, "nobody's attempt ended it"


@pytest.mark.parametrize("token", ["made-up", "a.b.c", "", "x" * 4000])
async def test_a_refresh_token_of_nobody_names_nobody(f: Flow, token: str) -> None:
    response = await unnamed(f, token)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


async def test_online_access_ends_with_the_session_and_offline_access_does_not(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person())
    online, offline = await f.tokens(client, session, scope=ONLINE), await f.tokens(client, session, scope=OFFLINE)
    assert (await f.refresh(client, online["refresh_token"])).status_code == 200
    await f.authority.sessions.end(session)
    assert not await f.alive(online["access_token"])
    assert await f.alive(offline["access_token"])
    assert (await f.refresh(client, offline["refresh_token"])).status_code == 200


async def test_a_closed_account_refreshes_nothing(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()
    said = await f.tokens(client, await f.session(account), scope=OFFLINE)
    await f.authority.accounts.disable(account.id)
    assert not await f.alive(said["access_token"])
    assert (await f.refresh(client, said["refresh_token"])).json()["error"] == "invalid_grant"


async def test_who_left_the_facility_refreshes_nothing(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person("practitioner", "bs.lan", organizations=("Organization/a",))
    session = await f.session(account, organization="Organization/a")
    said = await f.tokens(client, session, scope="user/*.rs offline_access")
    assert f.authority.tokens.verify(said["access_token"]).organization == "Organization/a"
    await f.authority.accounts.change(account.id, organizations=("Organization/b",))
    assert (await f.refresh(client, said["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_person_sees_their_applications_and_takes_back_what_they_hold(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()
    said = await f.tokens(client, await f.session(account), scope=OFFLINE)
    [one] = await consents.listed(f.authority, account.id)
    assert (one.client_id, one.scope, one.active) == (client.id, OFFLINE, True)
    await consents.withdraw(f.authority, account.id, client.id)
    assert await consents.listed(f.authority, account.id) == []
    assert not await f.alive(said["access_token"])
    assert (await f.refresh(client, said["refresh_token"])).json()["error"] == "invalid_grant"


async def test_refresh_tokens_are_not_kept_in_plain(f: Flow) -> None:
    client, _ = await f.app()
    said = await f.tokens(client, await f.session(await f.person()), scope=OFFLINE)
    for record in await f.authority.store.records.page("grant"):
        assert said["refresh_token"] not in str(record)
        assert said["refresh_token"].split(".")[1] not in str(record)


async def test_introspection_and_revocation_know_refresh_tokens(f: Flow) -> None:
    client, secret = await f.app(token_endpoint_auth_method="client_secret_basic")
    said = await f.tokens(client, await f.session(await f.person()), secret=secret, scope=OFFLINE)

    async def ask(path: str, token: str) -> Any:
        async with f.door.from_() as http:
            return (await http.post(path, data={"token": token}, auth=(client.id, secret))).json()

    assert (await ask("/auth/introspect", said["refresh_token"]))["active"] is True
    again = (await f.refresh(client, said["refresh_token"], secret=secret)).json()
    assert await ask("/auth/introspect", said["refresh_token"]) == {"active": False}
    await ask("/auth/revoke", again["refresh_token"])
    assert await ask("/auth/introspect", again["access_token"]) == {"active": False}
    assert (await f.refresh(client, again["refresh_token"], secret=secret)).json()["error"] == "invalid_grant"


# --- the endpoint


async def test_the_token_endpoint_takes_a_form_and_each_parameter_once(f: Flow) -> None:
    client, _ = await f.app()
    form = f"grant_type=refresh_token&refresh_token=x&client_id={client.id}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for more in ({"content": form + "&client_id=x", "headers": kind}, {"content": "{}", "headers": {"Content-Type": "application/json"}},
                 {"content": form + "&x=" + "y" * 70_000, "headers": kind}):  # fmt: skip
        refused = await f.door.ask("POST", "/auth/token", **more)
        assert (refused.status_code, refused.json()["error"]) in ((400, "invalid_request"), (413, "invalid_request"))
        assert refused.headers["cache-control"] == "no-store"
    assert (await f.door.ask("POST", f"/auth/token?{form}", headers=kind)).status_code == 400
    assert (await f.door.ask("GET", f"/auth/token?{form}")).status_code == 405


@pytest.mark.parametrize(("grant_type", "error"), [
    (None, "invalid_request"), ("password", "unsupported_grant_type"), ("implicit", "unsupported_grant_type"),
    ("client_credentials", "unauthorized_client"), ("urn:ietf:params:oauth:grant-type:device_code", "unauthorized_client"),
])  # fmt: skip
async def test_a_grant_the_client_is_not_registered_for_is_refused(f: Flow, grant_type: str | None, error: str) -> None:
    client, _ = await f.app()
    answer = await f.token(client, {"grant_type": grant_type} if grant_type else {"x": "y"})
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_guessing_a_clients_secret_is_slowed_by_address(f: Flow) -> None:
    client, _ = await f.app(token_endpoint_auth_method="client_secret_basic")
    statuses = [(await f.token(client, {"grant_type": "x"}, secret="wrong")).status_code for _ in range(125)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def test_a_client_that_must_prove_its_key_is_refused_without(f: Flow) -> None:
    client, _ = await f.app(dpop_bound_access_tokens=True)
    code = (await f.code(client, await f.session(await f.person()), verifier=VERIFIER))["code"]
    assert (await f.redeem(client, code, VERIFIER)).json()["error"] == "invalid_dpop_proof"


async def test_a_device_is_answered_what_the_person_approved(f: Flow) -> None:
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    client: Client
    client, _ = await f.app(grant_types=(grant, "refresh_token"), redirect_uris=())
    session = await f.session(await f.person())
    begun = await f.authority.devices.begin(client, "patient/*.rs offline_access")
    form = {"grant_type": grant, "device_code": begun["device_code"]}
    assert (await f.token(client, form)).json()["error"] == "authorization_pending"
    assert await f.authority.devices.approve(begun["user_code"], session, "patient/*.rs offline_access", "bn-001", address="198.51.100.7")
    await asyncio.sleep(5)
    said = (await f.token(client, form)).json()
    assert (said["patient"], said["scope"]) == ("bn-001", "patient/*.rs offline_access")
    assert (await f.refresh(client, said["refresh_token"])).status_code == 200
    assert (await f.token(client, form)).json()["error"] == "invalid_grant"


async def test_a_new_password_ends_offline_access_too(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()
    said = await f.tokens(client, await f.session(account), scope=OFFLINE)
    assert await f.alive(said["access_token"])
    await SignIn(f.authority).set_password(account, "đò-sông-Hậu-lúc-nửa-đêm-7")
    assert (await f.refresh(client, said["refresh_token"])).json()["error"] == "invalid_grant"
