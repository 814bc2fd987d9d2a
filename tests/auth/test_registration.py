import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey

from health_hub import cli
from health_hub.auth.redirects import wrong
from health_hub.auth.registration import initial_token
from health_hub.auth.routes import register
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door

APP: dict[str, Any] = {
    "client_name": "Sổ sức khỏe", "redirect_uris": ["https://app.example.vn/cb"], "token_endpoint_auth_method": "none",
    "scope": "openid fhirUser launch/patient patient/*.rs offline_access",
}  # fmt: skip
PATH = "/auth/register"
Make = Callable[..., Awaitable[Door]]


@pytest.fixture
async def make(store: Store) -> AsyncIterator[Make]:
    made: list[Door] = []

    async def one(**settings: Any) -> Door:
        made.append(await door(store, register.router, **settings))
        return made[-1]

    yield one
    for d in made:
        await d.authority.stop()


@pytest.fixture
async def hub(make: Make) -> Door:
    return await make(registration="open")


async def post(d: Door, **said: Any) -> httpx.Response:
    return await d.ask("POST", PATH, json={k: v for k, v in (APP | said).items() if v is not None})


async def refused(d: Door, error: str, **said: Any) -> None:
    answer = await post(d, **said)
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text


async def test_a_registered_client_is_told_all_that_is_registered(hub: Door) -> None:
    answer = await post(hub, token_endpoint_auth_method="client_secret_basic")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["registration_client_uri"] == f"{ISSUER}{PATH}/{said['client_id']}"
    assert said["client_secret_expires_at"] == 0
    assert said["grant_types"] == ["authorization_code"]
    assert said["response_types"] == ["code"]
    assert said["scope"] == APP["scope"]
    client = await hub.authority.clients.get(said["client_id"])
    assert client is not None
    assert client.registered
    assert client.redirect_uris == ("https://app.example.vn/cb",)
    assert hub.events[-1].kind == "client-registered"
    for secret in (said["client_secret"], said["registration_access_token"]):
        for kind in ("client", "registration"):
            assert secret not in json.dumps([r.data for r in await hub.authority.store.records.page(kind)])


async def test_closed_registration_registers_nobody(make: Make) -> None:
    d = await make(registration="closed")
    token = await initial_token(d.authority.store.records)
    assert (await d.ask("POST", PATH, json=APP, token=token)).status_code == 403


async def test_registration_needs_an_initial_access_token_by_default(make: Make) -> None:
    d = await make()
    answer = await d.ask("POST", PATH, json=APP)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await d.ask("POST", PATH, json=APP, token="made-up")).status_code == 401
    token = await initial_token(d.authority.store.records, uses=2)
    assert [(await d.ask("POST", PATH, json=APP, token=token)).status_code for _ in range(3)] == [201, 201, 401]


async def test_a_refused_registration_uses_nothing_up(make: Make) -> None:
    d = await make()
    token = await initial_token(d.authority.store.records)
    assert (await d.ask("POST", PATH, json=APP | {"redirect_uris": []}, token=token)).status_code == 400
    assert (await d.ask("POST", PATH, json=APP, token=token)).status_code == 201


async def test_the_last_use_of_a_token_is_one_registration(make: Make) -> None:
    d = await make()
    token = await initial_token(d.authority.store.records)
    answers = await asyncio.gather(*(d.ask("POST", PATH, json=APP, token=token) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [201] + [401] * 7


async def test_an_initial_access_token_ends(make: Make) -> None:
    d = await make()
    token = await initial_token(d.authority.store.records, expires_in=1)
    await asyncio.sleep(1.05)
    assert (await d.ask("POST", PATH, json=APP, token=token)).status_code == 401


async def test_system_scopes_need_a_token_made_for_them(make: Make) -> None:
    d = await make(registration="open")
    key = ECKey.generate_key("P-384", private=False).as_dict(private=False)
    system = {"client_name": "LIS", "grant_types": ["client_credentials"], "token_endpoint_auth_method": "private_key_jwt",
              "jwks": {"keys": [key]}, "scope": "system/Observation.cud system/*.rs"}  # fmt: skip
    plain = await initial_token(d.authority.store.records)
    special = await initial_token(d.authority.store.records, system=True, organization="Organization/bv-01")
    assert (await d.ask("POST", PATH, json=system)).json()["error"] == "invalid_client_metadata"
    assert (await d.ask("POST", PATH, json=system, token=plain)).json()["error"] == "invalid_client_metadata"
    answer = await d.ask("POST", PATH, json=system, token=special)
    assert (answer.status_code, answer.json()["scope"]) == (201, system["scope"])
    assert answer.json()["response_types"] == []
    client = await d.authority.clients.get(answer.json()["client_id"])
    assert client is not None
    assert client.organization == "Organization/bv-01"
    # It acts for whom the token says and stays with it, whatever an update says.
    said = system | {"client_id": client.id, "organization": "Organization/bv-02", "scope": "system/*.rs"}
    path = f"{PATH}/{client.id}"
    assert (await d.ask("PUT", path, json=said, token=answer.json()["registration_access_token"])).status_code == 200
    client = await d.authority.clients.get(client.id)
    assert client is not None
    assert (client.organization, client.scope) == ("Organization/bv-01", "system/*.rs")


@pytest.mark.parametrize(("asked", "given"), [
    ("openid system/*.rs patient/Observation.rs?category=vital-signs", "openid patient/Observation.rs?category=vital-signs"),
    ("openid admin patient/Observation.read patient/Observation.sr user/*.*", "openid patient/Observation.read user/*.*"),
    ("openid openid patient/../x.rs patient/Observation. patient/*.rs?a=\"b", "openid"),
    ("openid systеm/*.rs SYSTEM/*.rs System/*.rs", "openid"),
])  # fmt: skip
async def test_scopes_are_cut_to_what_registration_may_have(hub: Door, asked: str, given: str) -> None:
    assert (await post(hub, scope=asked)).json()["scope"] == given


@pytest.mark.parametrize("scope", ["system/*.rs", "x", ["openid"], 7, " ".join(f"patient/A{n}.rs" for n in range(101)), "a" * 30_000])
async def test_scopes_of_which_nothing_is_left_are_refused(hub: Door, scope: Any) -> None:
    await refused(hub, "invalid_client_metadata", scope=scope)


WEB = [
    "http://app.example.vn/cb", "http://localhost:3000/cb", "https://app.example.vn/cb#x", "https://app.example.vn/cb#", "https://*.example.vn/",
    "https://app.example.vn/*", "https://user@app.example.vn/", "https://user:pw@app.example.vn/", "https://app.example.vn@evil.example/",
    "https:///cb", "https:app.example.vn", "https://", "//app.example.vn/cb", "/cb", "cb", "", "javascript:alert(1)", "data:text/html,x",
    "vn.example.app:/cb", "https://app.example.vn/a/../b", "https://app.example.vn/a/%2e%2E/b", "https://app.example.vn/cb\r\nX: y",
    "https://app.example.vn/c b", "https://app.example.vn\\@evil.example/", "https://app.example.vn/%0d%0aX", "https://app.example.vn/%zz",
    "https://app.example.vn:0/", "https://app.example.vn:99999/", "https://[::1/", "https://exa_mple..vn/", "https://ứng.vn/",
    "https://app.example.vn/" + "x" * 2000, "file:///etc/passwd", 7, None, ["https://a.vn/"], "https://app.example.vn/\x00",
]  # fmt: skip


@pytest.mark.parametrize("uri", WEB, ids=lambda u: str(u)[:40].encode("unicode_escape").decode())
def test_redirect_uris_of_the_web_are_plain_https(uri: Any) -> None:
    assert wrong(uri, native=False) is not None


async def test_one_wrong_redirect_uri_among_good_ones_is_refused(hub: Door) -> None:
    for uri in ("https://*.example.vn/", "http://app.example.vn/", 7, "javascript:alert(1)"):
        await refused(hub, "invalid_redirect_uri", redirect_uris=["https://app.example.vn/cb", uri])


@pytest.mark.parametrize("uri", [
    "http://127.0.0.1:8000/cb", "http://[::1]:8000/cb", "http://localhost/cb", "vn.example.app:/cb", "vn.example.app:/", "https://a.vn/cb?x=1",
])  # fmt: skip
def test_redirect_uris_of_a_device(uri: str) -> None:
    assert wrong(uri, native=True) is None


@pytest.mark.parametrize("uri", [
    "http://app.example.vn/cb", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/", "http://127.0.0.1@evil.example/",
    "myapp:/cb", "javascript:/x", "data:x", "vbscript:/x", "file:/x", "blob:x", "about:blank", "vn.example.app://evil/cb", "intent://x",
])  # fmt: skip
def test_what_no_device_may_register(uri: str) -> None:
    assert wrong(uri, native=True) is not None


async def test_a_native_application_is_registered_and_stays_one(hub: Door) -> None:
    said = (await post(hub, application_type="native", redirect_uris=["vn.example.app:/cb"])).json()
    assert said["application_type"] == "native"


async def test_a_software_statement_is_refused_by_its_own_error(hub: Door) -> None:
    await refused(hub, "unapproved_software_statement", software_statement="eyJhbGciOiJub25lIn0.e30.")


EC = ECKey.generate_key("P-384")


WRONG: list[dict[str, Any]] = [
    {"grant_types": ["implicit"]}, {"grant_types": ["password"]}, {"grant_types": []}, {"grant_types": ["refresh_token"]},
    {"grant_types": "authorization_code"}, {"grant_types": [["authorization_code"]]},
    {"response_types": ["token"]}, {"response_types": ["code id_token"]}, {"response_types": []},
    {"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "response_types": ["code"]},
    {"token_endpoint_auth_method": "client_secret_jwt"}, {"token_endpoint_auth_method": 7},
    {"token_endpoint_auth_method": "private_key_jwt"},
    {"grant_types": ["client_credentials"]}, {"application_type": "desktop"}, {"client_name": {"vi": "x"}},
    {"logo_uri": "http://a.vn/x.png"},
    {"logo_uri": "javascript:alert(1)"}, {"client_uri": 7},
    {"dpop_bound_access_tokens": "yes"}, {"id_token_signed_response_alg": "none"},
    {"id_token_signed_response_alg": "HS256"}, {"post_logout_redirect_uris": ["https://evil.example/#"]},
    {"post_logout_redirect_uris": "x"},
    {"jwks": {"keys": [EC.as_dict(private=False)]}, "jwks_uri": "https://a.vn/jwks"},
    {"jwks": {"keys": [EC.as_dict(private=True)]}}, {"jwks": {"keys": [OctKey.generate_key(256).as_dict(private=True)]}},
    {"jwks": {"keys": []}}, {"jwks": []}, {"jwks": {"keys": [EC.as_dict(private=False)] * 11}}, {"jwks": {"keys": [7]}},
    {"jwks_uri": "http://a.vn/jwks"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": ["https://a.vn/"]}, {"jwks_uri": "https://u@a.vn/"},
]  # fmt: skip


async def test_metadata_that_cannot_be_is_refused(hub: Door) -> None:
    for n, said in enumerate(WRONG):
        answer = await hub.ask("POST", PATH, json=APP | said, address=f"198.51.100.{n}")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata"), said
    assert not await hub.authority.store.records.page("client")


@pytest.mark.parametrize("uris", [[], None, "https://a.vn/", {"0": "https://a.vn/"}, [f"https://a.vn/{n}" for n in range(11)]])
async def test_redirect_uris_are_a_list_that_is_neither_empty_nor_long(hub: Door, uris: Any) -> None:
    await refused(hub, "invalid_redirect_uri", redirect_uris=uris)


@pytest.mark.parametrize(("name", "shown"), [
    ("Bệnh\u0020viện\n\tA", "Bệnh viện A"), ("\u202egnp.exe", "gnp.exe"), ("a\u0000b\u200bc", "a b c"), ("x" * 500, "x" * 80),
    ("Z\u0334\u0335\u0336\u0337o", "Zo"), ("Bê\u0323nh viê\u0323n", "Bệnh viện"), ("\u200b\u202e", "app.example.vn"),
    (None, "app.example.vn"),
])  # fmt: skip
async def test_a_name_is_fit_to_be_shown(hub: Door, name: str | None, shown: str) -> None:
    assert (await post(hub, client_name=name)).json()["client_name"] == shown


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"[" * 60_000, b"\xff\xfe", b'{"a":' + b"1" * 10_000 + b"}"])
async def test_a_body_that_is_no_json_object_is_refused(hub: Door, body: bytes) -> None:
    answer = await hub.ask("POST", PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert (await hub.ask("POST", PATH, content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 400


async def test_a_body_too_long_is_refused(hub: Door) -> None:
    assert (await post(hub, client_name="x" * 70_000)).status_code == 413


async def test_registrations_by_one_address_are_limited_and_others_go_on(hub: Door) -> None:
    first = [(await hub.ask("POST", PATH, json=APP)).status_code for _ in range(register.BY_ADDRESS + 1)]
    assert first[-1] == 429
    assert set(first[:-1]) == {201}
    assert (await hub.ask("POST", PATH, json=APP, address="198.51.100.8")).status_code == 201


async def test_registrations_from_many_addresses_are_limited_too(hub: Door) -> None:
    answers = [await hub.ask("POST", PATH, json={}, address=f"198.51.{n // 200}.{n % 200}") for n in range(register.BY_ALL + 1)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_client_reads_updates_and_deletes_itself(hub: Door) -> None:
    made = (await post(hub, token_endpoint_auth_method="client_secret_post")).json()
    path, token = f"{PATH}/{made['client_id']}", made["registration_access_token"]
    read = (await hub.ask("GET", path, token=token)).json()
    assert read["redirect_uris"] == APP["redirect_uris"]
    assert "client_secret" not in read
    assert "registration_access_token" not in read
    said = APP | {"client_id": made["client_id"], "redirect_uris": ["https://app.example.vn/two"], "client_secret": made["client_secret"],
                  "token_endpoint_auth_method": "client_secret_post", "scope": "openid system/*.rs"}  # fmt: skip
    answer = await hub.ask("PUT", path, json=said, token=token)
    assert answer.status_code == 200
    assert answer.json()["scope"] == "openid"
    client = await hub.authority.clients.get(made["client_id"])
    assert client is not None
    assert client.redirect_uris == ("https://app.example.vn/two",)
    assert client.secret
    assert f"client/{client.id}" in hub.authority.revoked
    assert (await hub.ask("DELETE", path, token=token)).status_code == 204
    assert await hub.authority.clients.get(made["client_id"]) is None
    for method in ("GET", "DELETE"):
        assert (await hub.ask(method, path, token=token)).status_code == 401


async def test_an_update_of_a_name_ends_no_token(hub: Door) -> None:
    made = (await post(hub)).json()
    said = APP | {"client_id": made["client_id"], "client_name": "Khác"}
    await hub.ask("PUT", f"{PATH}/{made['client_id']}", json=said, token=made["registration_access_token"])
    assert f"client/{made['client_id']}" not in hub.authority.revoked


async def test_an_update_that_begins_to_need_a_secret_gets_one(hub: Door) -> None:
    made = (await post(hub)).json()
    assert "client_secret" not in made
    said = APP | {"client_id": made["client_id"], "token_endpoint_auth_method": "client_secret_basic"}
    path, token = f"{PATH}/{made['client_id']}", made["registration_access_token"]
    assert (await hub.ask("PUT", path, json=said, token=token)).json()["client_secret"]
    assert "client_secret" not in (await hub.ask("PUT", path, json=said, token=token)).json()
    said["token_endpoint_auth_method"] = "none"
    await hub.ask("PUT", path, json=said, token=token)
    client = await hub.authority.clients.get(made["client_id"])
    assert client is not None
    assert not client.secret


@pytest.mark.parametrize("more", [
    {"client_id": "other"}, {"client_id": None}, {"registration_access_token": "x"}, {"registration_client_uri": "x"},
    {"client_secret_expires_at": 0}, {"client_id_issued_at": 1}, {"client_secret": "guess"}, {"redirect_uris": ["http://evil.example/"]},
])  # fmt: skip
async def test_an_update_says_nothing_that_is_the_servers_to_say(hub: Door, more: dict[str, Any]) -> None:
    made = (await post(hub)).json()
    said = APP | {"client_id": made["client_id"]} | more
    answer = await hub.ask("PUT", f"{PATH}/{made['client_id']}", json=said, token=made["registration_access_token"])
    assert answer.status_code == 400


async def test_no_stranger_manages_a_client_and_none_learns_whether_it_exists(hub: Door) -> None:
    one, other = (await post(hub)).json(), (await post(hub)).json()
    by_hand, _ = await hub.client()
    answers = []
    for id in (one["client_id"], by_hand.id, "nobody", "x" * 300, "%00", "a%2Fb"):
        for token in (other["registration_access_token"], "guess", None):
            for method in ("GET", "PUT", "DELETE"):
                said, who = APP | {"client_id": id}, f"198.51.100.{len(answers)}"
                answer = await hub.ask(method, f"{PATH}/{id}", token=token, json=said, address=who)
                answers.append((answer.status_code, answer.text))
    assert {a for a in answers if a[0] == 401} == {answers[0]}
    assert {a[0] for a in answers} <= {401, 404}
    assert (await hub.ask("GET", f"{PATH}/{one['client_id']}", token=one["registration_access_token"])).status_code == 200


async def test_guessing_tokens_is_slowed_for_its_address_and_the_owner_goes_on(hub: Door) -> None:
    made = (await post(hub)).json()
    path = f"{PATH}/{made['client_id']}"
    seen = [(await hub.ask("GET", path, token=f"guess-{n}")).status_code for n in range(register.TRIES + 1)]
    assert (seen[0], seen[-1]) == (401, 429)
    assert (await hub.ask("GET", path, token=made["registration_access_token"])).status_code == 200


def test_the_command_prints_a_token(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    db = f"sqlite:///{tmp_path}/hub.db"
    assert cli.main(["registration-token", "--uses", "3", "--db", db]) == 0
    assert len(capsys.readouterr().out.strip()) == 43
    assert cli.main(["registration-token", "--system", "--json", "--db", db]) == 0
    assert json.loads(capsys.readouterr().out)["system"] is True
    assert cli.main(["registration-token", "--uses", "0", "--db", db]) == 2
    assert cli.main(["registration-token", "--organization", "Organization/bv-01", "--db", db]) == 2
    assert cli.main(["registration-token", "--system", "--organization", "../x", "--db", db]) == 2
