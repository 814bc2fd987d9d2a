"""Signing in by an external OpenID provider (OpenID Connect Core 1.0 3.1.3.7, RFC 9207)."""

import asyncio
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn

from health_hub.auth import external as module
from health_hub.auth.external import External, expect
from health_hub.auth.fetch import Fetch
from health_hub.auth.own import Own
from health_hub.auth.signin import Next, Refused, SignedIn, SignIn
from health_hub.settings import SettingError
from health_hub.store.records import Conflict
from health_hub.store.store import Store
from tests.auth.hub import Hub, caller, hub, person, signed_in
from tests.auth.provider import ISSUER, Provider, another_key, elliptic

ON = {"external_issuer": ISSUER, "external_client_id": "hub", "external_client_secret": "bí mật/+ của hub",
      "external_identifier_claim": "cccd"}  # fmt: skip


def parts(store: Store, **settings: object) -> tuple[Hub, SignIn, Provider, External]:
    h, s = hub(store, **{**ON, **settings})
    p = Provider()
    return h, s, p, External(h, p.fetch)


async def linked(store: Store, login: str = "bs.lan", role: str = "practitioner") -> tuple[Hub, SignIn, Provider, External]:
    h, s, p, e = parts(store)
    account = await person(h, s, login, role)
    found = await e.finish(p.authorize(await e.begin(caller(), account=account)), caller(), account=account)
    assert found.linked
    return h, s, p, e


async def refused(e: External, query: dict[str, str], **more: object) -> Refused:
    with pytest.raises(Refused) as r:
        await e.finish(query, caller(), **more)  # type: ignore[arg-type]
    return r.value


async def test_a_link_made_while_signed_in_signs_in_later(store: Store) -> None:
    h, s, p, e = parts(store)
    account, own = await person(h, s), Own(s)
    done = await signed_in(s)
    assert (await refused(e, p.authorize(await e.begin(caller())))).reason == "unlinked"
    url = await own.external_link(account, done.session, e, caller())
    assert (await e.finish(p.authorize(url), caller(), account=account)).linked
    assert [x.issuer for x in await e.links(account)] == [ISSUER]
    found = await e.finish(p.authorize(await e.begin(caller())), caller())
    assert (found.account, found.linked, found.amr) == (account, False, ())
    done = await s.external(found.account, found.amr, caller())  # type: ignore[assignment]
    assert isinstance(done, SignedIn)
    assert done.session.amr == ("ext",)
    assert await own.external_unlink(account, done.session, e, caller()) == 1
    assert (await refused(e, p.authorize(await e.begin(caller())))).reason == "unlinked"


async def test_what_is_asked_of_the_provider(store: Store) -> None:
    _, _, _, e = parts(store)
    url = urlsplit(await e.begin(caller()))
    query = {k: v[0] for k, v in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ISSUER}/authorize"
    assert query["redirect_uri"] == "http://localhost:18300/sign-in/external"
    assert query["scope"] == "openid"
    assert min(len(query[k]) for k in ("state", "nonce", "code_challenge")) >= 43
    assert query["state"] not in str(await store.records.page("external-state"))


async def test_a_verified_identifier_links_the_account_it_was_written_beside(store: Store) -> None:
    h, s, p, e = parts(store)
    account, other = await person(h, s, "0912345678", "patient"), await person(h, s, "0912345679", "patient")
    await expect(store, h.settings, account, "019190012345")
    await expect(store, h.settings, account, "019190012345")
    with pytest.raises(Conflict):
        await expect(store, h.settings, other, "019190012345")
    p.claims = {"cccd": "019190012346"}
    assert (await refused(e, p.authorize(await e.begin(caller())))).reason == "unlinked"
    p.claims = {"cccd": "019190012345"}
    assert (await e.finish(p.authorize(await e.begin(caller())), caller())).account == account
    p.claims = {}
    assert (await e.finish(p.authorize(await e.begin(caller())), caller())).account == account, "by the subject from now on"
    assert "019190012345" not in str(await store.records.page("external-identifier"))


@pytest.mark.parametrize("claim", ["email", ""])
async def test_an_address_of_e_mail_links_nobody(store: Store, claim: str) -> None:
    h, s, p, e = parts(store, external_identifier_claim=claim)
    account = await person(h, s, "lan@benhvien.vn")
    await expect(store, h.settings, account, "lan@benhvien.vn")
    p.claims = {"email": "lan@benhvien.vn", "email_verified": True, "preferred_username": "lan@benhvien.vn"}
    assert (await refused(e, p.authorize(await e.begin(caller())))).reason == "unlinked"


async def test_a_role_that_needs_a_second_factor_needs_it_here_too(store: Store) -> None:
    h, s, p, e = await linked(store, "quan.tri", "administrator")
    found = await e.finish(p.authorize(await e.begin(caller())), caller())
    assert isinstance(await s.external(found.account, found.amr, caller()), Next)
    p.claims = {"amr": ["face", "mfa", 7, "bịa"]}
    found = await e.finish(p.authorize(await e.begin(caller())), caller())
    done = await s.external(found.account, found.amr, caller())
    assert isinstance(done, SignedIn)
    assert done.session.amr == ("ext", "face", "mfa")
    await h.accounts.disable(found.account.id)
    with pytest.raises(Refused):
        await s.external((await h.accounts.get(found.account.id)) or found.account, found.amr, caller())


@pytest.mark.parametrize("claims", [
    {"iss": "https://id.evil.vn"}, {"iss": ISSUER + "/"}, {"aud": "another"}, {"aud": ["another"]}, {"aud": None}, {"aud": {"hub": 1}},
    {"aud": ["hub", "another"]}, {"aud": ["hub", "another"], "azp": "another"}, {"azp": "another"},
    {"exp": timedelta(seconds=-61)}, {"exp": None}, {"exp": "9999999999"}, {"exp": float("nan")}, {"exp": True},
    {"iat": timedelta(seconds=600)}, {"iat": timedelta(seconds=-3600)}, {"iat": None},
    {"nonce": "another"}, {"nonce": None}, {"nonce": 7}, {"sub": ""}, {"sub": None}, {"sub": 7}, {"sub": "x" * 256},
])  # fmt: skip
async def test_an_id_token_that_says_something_else(store: Store, claims: dict[str, object]) -> None:
    h, _, p, e = await linked(store)
    # Times count from the test, not from when it was collected.
    p.claims = {name: int(time.time() + said.total_seconds()) if isinstance(said, timedelta) else said for name, said in claims.items()}
    assert (await refused(e, p.authorize(await e.begin(caller())))).reason == "external"
    assert h.events[-1].detail.startswith("external: id_token")


async def test_an_id_token_for_several_says_who_it_is_for(store: Store) -> None:
    _, _, p, e = await linked(store)
    p.claims = {"aud": ["hub", "another"], "azp": "hub"}
    assert await e.finish(p.authorize(await e.begin(caller())), caller())


async def test_an_id_token_signed_by_another_or_by_nobody(store: Store) -> None:
    _, _, p, e = await linked(store)
    public = p.key.as_pem(private=False)
    for signing, header in (
        (another_key(), {}), (public, {"alg": "HS256"}), (public, {"alg": "RS256"}), (b"x" * 32, {"alg": "HS256", "kid": "x"}),
        (b"", {"alg": "none"}), (b"", {"alg": "RS256"}), (b"", {"alg": "none", "kid": "x"}),
        (another_key(), {"kid": "unknown"}), (another_key(), {"jwk": another_key().as_dict(private=False)}),
    ):  # fmt: skip
        p.signing, p.header = signing, header
        assert (await refused(e, p.authorize(await e.begin(caller())))).reason == "external"


async def test_the_providers_new_key_is_found_and_unknown_keys_do_not_make_us_ask_again_and_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, p, e = await linked(store)
    asked = p.asked.count("/jwks")
    p.signing = another_key()
    for _ in range(5):
        await refused(e, p.authorize(await e.begin(caller())))
    assert p.asked.count("/jwks") == asked
    p.key, p.signing, p.header = elliptic(), None, {"alg": "ES256"}
    monkeypatch.setattr(module, "KEYS_SECONDS", -1)
    assert await e.finish(p.authorize(await e.begin(caller())), caller())
    assert p.asked.count("/jwks") == asked + 1


async def test_an_answer_is_taken_once_and_in_the_browser_that_asked(store: Store) -> None:
    _, _, p, e = await linked(store)
    query = p.authorize(await e.begin(caller()))
    answers = await asyncio.gather(*(e.finish(query, caller()) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(a, Refused) for a in answers) == 2
    query = p.authorize(await e.begin(caller()))
    for other in ("another" * 7, ""):
        with pytest.raises(Refused):
            await e.finish(p.authorize(await e.begin(caller())), caller(browser=other))
    for wrong in ({}, {"state": "x"}, {"code": "x"}, {"state": "\0\ud800", "code": "x"}, {**query, "state": query["state"] + "x"}):
        await refused(e, wrong)
    await refused(e, {"state": query["state"], "error": "access_denied", "iss": ISSUER})
    await refused(e, query)


async def test_an_answer_of_another_provider_is_refused(store: Store) -> None:
    """Mix-up: another provider's answer to our state (RFC 9207)."""
    _, _, p, e = await linked(store)
    before = p.asked.count("/token")
    await refused(e, {**p.authorize(await e.begin(caller())), "iss": "https://id.evil.vn"})
    assert p.asked.count("/token") == before, "the code went nowhere"
    without = p.authorize(await e.begin(caller()))
    del without["iss"]
    assert await e.finish(without, caller())
    e._metadata = None
    p.metadata = {"authorization_response_iss_parameter_supported": True}
    without = p.authorize(await e.begin(caller()))
    del without["iss"]
    await refused(e, without)


async def test_a_link_is_made_for_who_asked_and_not_for_who_comes_back(store: Store) -> None:
    h, s, p, e = parts(store)
    lan, mai = await person(h, s), await person(h, s, "bs.mai", "nurse")
    for who in (None, mai):
        await refused(e, p.authorize(await e.begin(caller(), account=lan)), account=who)
    assert not await e.links(lan)
    assert not await e.links(mai)
    await e.finish(p.authorize(await e.begin(caller(), account=lan)), caller(), account=lan)
    await refused(e, p.authorize(await e.begin(caller(), account=mai)), account=mai)
    assert (await e.finish(p.authorize(await e.begin(caller())), caller(), account=mai)).account == lan


async def test_showing_again_who_one_is_asks_the_provider_to_ask(store: Store) -> None:
    h, s, p, e = await linked(store)
    done = await signed_in(s)
    account, session = done.account, done.session
    for fresh, auth_time in ((True, None), (True, int(time.time()) - 3600), (False, int(time.time()))):
        p.claims = {"auth_time": auth_time}
        found = await e.finish(p.authorize(await e.begin(caller(), fresh=fresh)), caller())
        with pytest.raises(Refused):
            await s.step_up_external(account, session, found, caller())
    url = await e.begin(caller(), fresh=True)
    assert "prompt=login&max_age=0" in url
    p.claims = {"auth_time": int(time.time())}
    found = await e.finish(p.authorize(url), caller())
    _, renewed = await s.step_up_external(account, session, found, caller())
    assert renewed.amr == ("ext",)
    mai = await person(h, s, "bs.mai", "nurse")
    with pytest.raises(Refused):
        await s.step_up_external(mai, (await signed_in(s, "bs.mai")).session, found, caller())


async def test_a_provider_is_spoken_to_by_https(store: Store) -> None:
    with pytest.raises(SettingError):
        parts(store, external_issuer="http://id.example.vn")


@pytest.mark.parametrize("metadata", [
    {"issuer": "https://id.evil.vn"}, {"issuer": None}, {"token_endpoint": "http://id.example.vn/token"}, {"jwks_uri": None},
    {"authorization_endpoint": "javascript:alert(1)"},
])  # fmt: skip
async def test_metadata_that_is_not_the_providers(store: Store, metadata: dict[str, object]) -> None:
    _, _, p, e = parts(store)
    p.metadata = metadata
    with pytest.raises(Refused):
        await e.begin(caller())


async def test_over_real_http_by_the_one_way_out(store: Store, unused_tcp_port: int) -> None:
    p = Provider(issuer=f"http://127.0.0.1:{unused_tcp_port}")
    server = uvicorn.Server(uvicorn.Config(p.app, port=unused_tcp_port, log_level="error", ws="none"))
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        h, _ = hub(store, **{**ON, "external_issuer": p.issuer})
        account = await person(h, SignIn(h))
        await expect(store, h.settings, account, "019190012345")
        p.claims = {"cccd": "019190012345"}
        e = External(h, Fetch([f"127.0.0.1:{unused_tcp_port}"]))
        assert (await e.finish(p.authorize(await e.begin(caller())), caller())).account == account
        with pytest.raises(Refused):  # unless HEALTH_HUB_TRUSTED_HOSTS says so, loopback is not asked
            await External(h, Fetch()).begin(caller())
    finally:
        server.should_exit = True
        await running


async def test_no_provider_no_sign_in(store: Store) -> None:
    _, _, _, e = parts(store, external_issuer="")
    assert not e.possible
    with pytest.raises(Refused):
        await e.begin(caller())


async def test_a_provider_that_does_not_answer(store: Store) -> None:
    h, _, _, e = parts(store)

    async def fails(url: str, **request: object) -> None:
        raise OSError("no route to 10.0.0.1")

    e._fetch = fails  # type: ignore[assignment]
    with pytest.raises(Refused) as r:
        await e.begin(caller())
    assert "10.0.0.1" not in r.value.vi + r.value.en + h.events[-1].detail
