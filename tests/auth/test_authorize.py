"""The authorization request and its way to a code."""

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from health_hub.auth import authorize, consents
from health_hub.auth.authorize import Returned
from health_hub.auth.model import AuthError
from health_hub.auth.request import redirect_matches
from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.auth.flow import AUD, BROWSER, REDIRECT, Flow, flow, query, request

VERIFIER = "v" * 43


@pytest.fixture
async def f(store: Store) -> AsyncIterator[Flow]:
    async with flow(store) as found:
        yield found


async def test_the_code_comes_with_state_and_issuer(f: Flow) -> None:
    client, _ = await f.app()
    answer = await f.code(client, await f.session(await f.person()), verifier=VERIFIER)
    assert answer.keys() == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == ("a-state", ISSUER)


@pytest.mark.parametrize("uri", [
    f"{REDIRECT}/", f"{REDIRECT}?x=1", REDIRECT.upper(), "https://app.example.vn/cb/../evil", "https://app.example.vn:443/cb",
    "https://app.example.vn@evil.example/cb", "https://app.example.vn.evil.example/cb", "https://evil.example/cb", "http://app.example.vn/cb",
    f"{REDIRECT}#x", f"{REDIRECT}%2f", "//app.example.vn/cb", "javascript:alert(1)", f" {REDIRECT}", f"{REDIRECT}\n", "",
])  # fmt: skip
async def test_a_redirect_uri_that_is_not_exactly_registered_is_never_followed(f: Flow, uri: str) -> None:
    client, _ = await f.app()
    with pytest.raises(AuthError) as refused:
        await f.begin(client, redirect_uri=uri)
    assert not isinstance(refused.value, Returned)


@pytest.mark.parametrize(("registered", "uri", "does"), [
    ("http://127.0.0.1/cb", "http://127.0.0.1:53211/cb", True), ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", True),
    ("http://[::1]/cb", "http://[::1]:9/cb", True), ("http://127.0.0.1/cb", "http://127.0.0.1:53211/other", False),
    ("http://127.0.0.1/cb", "http://127.0.0.1:53211/cb?x", False), ("http://127.0.0.1/cb", "http://127.0.0.2:5/cb", False),
    ("http://127.0.0.1/cb", "http://127.0.0.1:5@evil.example/cb", False),
    ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", False),
    ("http://localhost/cb", "http://localhost:5/cb", False), ("https://127.0.0.1/cb", "https://127.0.0.1:5/cb", False),
    ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb", False), ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb", False),
])  # fmt: skip
async def test_only_the_port_of_a_loopback_redirect_is_free_and_for_public_clients(
    f: Flow, registered: str, uri: str, does: bool
) -> None:
    client, _ = await f.app(redirect_uris=(registered,))
    assert redirect_matches(client, uri) is does
    assert not redirect_matches(replace(client, token_endpoint_auth_method="client_secret_basic"), uri)


async def _error(f: Flow, drop: tuple[str, ...] = (), client_fields: dict[str, Any] | None = None, **params: Any) -> str:
    client, _ = await f.app(**client_fields or {})
    with pytest.raises(Returned) as refused:
        await f.begin(client, drop=drop, **params)
    assert refused.value.url.startswith(f"{REDIRECT}?")
    said = query(refused.value.url)
    assert said["iss"] == ISSUER
    assert said.get("state") == (None if "state" in drop else params.get("state", "a-state"))
    return said["error"]


@pytest.mark.parametrize(("params", "error"), [
    ({"response_type": "token"}, "unsupported_response_type"), ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"code_challenge_method": "plain"}, "invalid_request"), ({"code_challenge": "short"}, "invalid_request"),
    ({"aud": "https://evil.example/fhir"}, "invalid_request"), ({"resource": "https://evil.example"}, "invalid_request"),
    ({"scope": "patient/Unheard.rs"}, "invalid_scope"), ({"prompt": "none login"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"response_mode": "fragment"}, "invalid_request"), ({"request": "a.b.c"}, "request_not_supported"),
    ({"id_token_hint": "a.b.c"}, "invalid_request"), ({"launch": "x", "scope": "launch"}, "invalid_request"),
    ({"launch": "x", "scope": "patient/*.rs"}, "invalid_scope"), ({"scope": "x " * 3000}, "invalid_scope"),
])  # fmt: skip
async def test_what_is_wrong_with_a_request_is_told_the_application(f: Flow, params: dict[str, str], error: str) -> None:
    assert await _error(f, **params) == error


@pytest.mark.parametrize("name", ["state", "code_challenge", "code_challenge_method", "aud", "response_type"])
async def test_what_is_needed_is_needed(f: Flow, name: str) -> None:
    assert await _error(f, (name,)) in ("invalid_request", "unsupported_response_type")


async def test_the_audience_may_end_in_a_slash_and_is_not_needed_to_sign_in_only(f: Flow) -> None:
    client, _ = await f.app()
    await f.begin(client, aud=f"{AUD}/")
    await f.begin(client, drop=("aud",), scope="openid fhirUser")


async def test_a_client_for_other_grants_has_no_code_flow(f: Flow) -> None:
    assert await _error(f, client_fields={"grant_types": ("client_credentials",)}) == "unauthorized_client"


async def test_a_parameter_that_is_there_twice_or_too_long_is_refused(f: Flow) -> None:
    client, _ = await f.app()
    for more in [[("state", "another")], [("redirect_uri", "https://evil.example")], [("x", "y" * 3000)], [("x", "\0")], [("x", "\ud800")],
                 [(f"p{n}", "v") for n in range(60)]]:  # fmt: skip
        with pytest.raises(AuthError):
            await authorize.begin(f.authority, [*request(client, VERIFIER).items(), *more], BROWSER)


async def test_an_unknown_or_disabled_application_gets_no_redirect(f: Flow) -> None:
    client, _ = await f.app()
    await f.authority.clients.change(client.id, enabled=False)
    for id in (client.id, "nobody", ""):
        with pytest.raises(AuthError) as refused:
            await authorize.begin(f.authority, (request(client, VERIFIER) | {"client_id": id}).items(), BROWSER)
        assert not isinstance(refused.value, Returned)


async def test_an_authorization_belongs_to_the_browser_it_began_in(f: Flow) -> None:
    client, _ = await f.app()
    pending = await f.begin(client)
    assert await authorize.load(f.authority, pending.id, BROWSER) == pending
    for browser in ("another", ""):
        with pytest.raises(AuthError):
            await authorize.load(f.authority, pending.id, browser)


async def test_what_is_missing_is_asked_for_in_turn(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person("practitioner", "bs.lan", organizations=("Organization/a", "Organization/b"))
    session = await f.session(account)
    pending = await f.begin(client)
    assert await authorize.missing(f.authority, pending, None) == "sign-in"
    assert await authorize.missing(f.authority, pending, session) == "facility"
    chosen = await f.authority.sessions.act_for(session, "Organization/a")
    assert chosen
    assert await authorize.missing(f.authority, pending, chosen) == "patient"
    with pytest.raises(AuthError, match="access_denied"):
        await authorize.pick(f.authority, pending, chosen, "bn-002")
    picked = await authorize.pick(f.authority, pending, chosen, "bn-001")
    assert picked == await authorize.load(f.authority, pending.id, BROWSER)
    assert await authorize.missing(f.authority, picked, chosen) == "consent"
    with pytest.raises(AuthError, match="not done yet"):
        await authorize.finish(f.authority, picked, chosen)
    await authorize.finish(f.authority, picked, chosen, scope=await authorize.offered(f.authority, picked, chosen))


async def test_no_code_before_sign_in_or_for_a_patient_the_person_may_not_see(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person("carer", "me.mai"))
    pending = await f.begin(client, prompt="login")
    stale = replace(session, signed_in=session.signed_in - 5)
    with pytest.raises(AuthError, match="not done yet"):
        await authorize.finish(f.authority, pending, stale, scope="openid", patient="bn-001")
    with pytest.raises(AuthError, match="access_denied"):
        await authorize.finish(f.authority, pending, session, scope="openid", patient="bn-002")


async def test_a_patient_has_their_own_record_and_what_they_agreed_to_is_not_asked_again(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person()
    session = await f.session(account)
    first = await f.begin(client)
    assert await authorize.missing(f.authority, first, session) == "consent"
    await authorize.finish(f.authority, first, session, scope=await authorize.offered(f.authority, first, session))
    again = await f.begin(client, scope="openid patient/Observation.rs")
    assert await authorize.missing(f.authority, again, session) is None
    more = await f.begin(client, scope="openid patient/*.rs user/Patient.c")
    assert await authorize.missing(f.authority, more, session) == "consent"
    assert await authorize.missing(f.authority, await f.begin(client, prompt="consent"), session) == "consent"
    await consents.withdraw(f.authority, account.id, client.id)
    assert await authorize.missing(f.authority, await f.begin(client), session) == "consent"


async def test_an_application_that_anyone_on_the_device_could_be_asks_every_time(f: Flow) -> None:
    uri = "http://127.0.0.1/cb"
    client, _ = await f.app(redirect_uris=(uri,))
    session = await f.session(await f.person())
    for _ in range(2):
        pending = await f.begin(client, redirect_uri=uri)
        assert await authorize.missing(f.authority, pending, session) == "consent"
        await authorize.finish(f.authority, pending, session, scope="openid patient/*.rs")


@pytest.mark.parametrize(("params", "age", "step"), [
    ({"prompt": "login"}, 5, "sign-in"), ({"prompt": "login"}, -1, "consent"), ({"max_age": "0"}, 1, "sign-in"),
    ({"max_age": "60"}, 50, "consent"), ({"max_age": "60"}, 90, "sign-in"), ({"prompt": "select_account"}, 1, "sign-in"),
    ({}, 9999, "consent"),
])  # fmt: skip
async def test_how_long_ago_the_person_signed_in(f: Flow, params: dict[str, str], age: int, step: str) -> None:
    client, _ = await f.app()
    session = replace(await f.session(await f.person()), signed_in=int(time.time()) - age)
    assert await authorize.missing(f.authority, await f.begin(client, **params), session) == step


async def test_prompt_none_asks_nothing(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person())
    for who, error in ((None, "login_required"), (session, "consent_required")):
        with pytest.raises(Returned) as refused:
            await authorize.missing(f.authority, await f.begin(client, prompt="none"), who)
        assert query(refused.value.url)["error"] == error
    await f.code(client, session, verifier=VERIFIER)
    pending = await f.begin(client, prompt="none")
    assert await authorize.missing(f.authority, pending, session) is None
    assert "code" in query(await authorize.finish(f.authority, pending, session))


async def test_an_id_token_hint_names_who_must_be_signed_in(f: Flow) -> None:
    client, _ = await f.app()
    one, other = await f.session(await f.person()), await f.session(await f.person(login="bn.lan"))
    hint = (await f.tokens(client, one))["id_token"]
    pending = await f.begin(client, id_token_hint=hint)
    assert await authorize.missing(f.authority, pending, other) == "sign-in"
    assert await authorize.missing(f.authority, pending, one) is None


async def test_a_person_may_agree_to_less_and_never_to_more(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person())
    pending = await f.begin(client)
    with pytest.raises(AuthError, match="invalid_scope"):
        await authorize.finish(f.authority, pending, session, scope="patient/*.cruds")
    tokens = await f.tokens(client, session, agreed="openid patient/Observation.r")
    assert tokens["scope"] == "openid patient/Observation.r"


async def test_one_authorization_brings_one_code(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person())
    pending = await f.begin(client)
    await authorize.finish(f.authority, pending, session, scope="openid")
    with pytest.raises(AuthError):
        await authorize.finish(f.authority, pending, session, scope="openid")
    with pytest.raises(AuthError):
        await authorize.deny(f.authority, pending, session)
    with pytest.raises(AuthError):
        await authorize.load(f.authority, pending.id, BROWSER)


async def test_who_refuses_is_heard(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person())
    pending = await f.begin(client)
    said = query(await authorize.deny(f.authority, pending, session))
    assert (said["error"], said["state"], said["iss"]) == ("access_denied", "a-state", ISSUER)
    assert [e.kind for e in f.door.events] == ["consent-refused"]


async def test_a_role_without_patients_gives_no_patient_scope(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person("auditor", "kt.ha"))
    assert (await f.tokens(client, session))["scope"] == "openid fhirUser"
    with pytest.raises(Returned, match="access_denied"):
        await authorize.missing(f.authority, await f.begin(client, scope="patient/*.rs"), session)


async def test_a_pushed_request_is_the_whole_request(f: Flow) -> None:
    client, secret = await f.app(token_endpoint_auth_method="client_secret_basic")
    async with f.door.from_() as http:
        pushed = (await http.post("/auth/par", data=request(client, VERIFIER), auth=(client.id, secret))).json()["request_uri"]
    asked = {"client_id": client.id, "request_uri": pushed, "scope": "user/*.cruds", "redirect_uri": "https://evil.example"}
    pending = await authorize.begin(f.authority, asked.items(), BROWSER)
    assert pending.request.redirect_uri == REDIRECT
    assert "user/" not in pending.request.scope
    with pytest.raises(AuthError, match="invalid_request_uri"):
        await authorize.begin(f.authority, asked.items(), BROWSER)


async def test_nothing_that_opens_anything_is_kept_in_plain(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person())
    code = (await f.code(client, session, verifier=secrets.token_urlsafe(48)))["code"]
    await f.begin(client)
    for kind in ("code", "authorization"):
        for record in await f.authority.store.records.page(kind):
            assert code not in str(record)
            assert BROWSER not in str(record)
