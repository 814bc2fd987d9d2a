import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from health_hub.auth import jose
from health_hub.auth.logout import LogoutPlan, carry_out, plan
from health_hub.auth.model import Client, Session
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door

AFTER = "https://app.example.vn/bye"


class Signed:
    """Someone signed in, with an application."""

    def __init__(self, d: Door, client: Client, session: Session) -> None:
        self.door, self.client, self.session = d, client, session
        self.authority = d.authority

    def hint(self, alg: str = "RS256", head: dict[str, Any] | None = None, **more: Any) -> str:
        key = self.authority.keys.signer(alg)
        now = int(time.time())
        said = {"iss": ISSUER, "aud": self.client.id, "sub": self.session.account, "iat": now, "exp": now + 300} | more
        return jose.sign({"alg": alg, "kid": key.kid} | (head or {}), {k: v for k, v in said.items() if v is not None}, key.key)

    async def plan(self, session: Session | str | None = "own", **params: str) -> LogoutPlan:
        return await plan(self.authority, params, self.session if isinstance(session, str) else session)


@pytest.fixture
async def signed(store: Store) -> AsyncIterator[Signed]:
    d = await door(store)
    client, _ = await d.client(post_logout_redirect_uris=(AFTER, f"{AFTER}?lang=vi"))
    account = await d.account()
    _, session = await d.authority.sessions.create(account, amr=("pwd",))
    yield Signed(d, client, session)
    await d.authority.stop()


async def test_with_an_id_token_of_the_person_no_question_is_asked(signed: Signed) -> None:
    planned = await signed.plan(id_token_hint=signed.hint(), post_logout_redirect_uri=AFTER, state="a b&c=d")
    assert planned == LogoutPlan(False, f"{AFTER}?state=a+b%26c%3Dd", signed.client)
    assert await signed.authority.sessions.get(signed.session.id) is not None
    assert await carry_out(signed.authority, planned, signed.session) == f"{AFTER}?state=a+b%26c%3Dd"
    assert await signed.authority.sessions.get(signed.session.id) is None
    assert signed.door.events[-1].kind == "sign-out"


async def test_state_is_added_to_a_query_that_is_there(signed: Signed) -> None:
    planned = await signed.plan(id_token_hint=signed.hint(), post_logout_redirect_uri=f"{AFTER}?lang=vi", state="x")
    assert planned.redirect == f"{AFTER}?lang=vi&state=x"


async def test_what_lives_with_the_session_is_told_of_its_end(signed: Signed) -> None:
    ended: list[Session] = []

    async def told(session: Session) -> None:
        ended.append(session)

    signed.authority.sessions.ended = told
    await carry_out(signed.authority, await signed.plan(), signed.session)
    assert [s.id for s in ended] == [signed.session.id]


async def test_an_expired_id_token_is_a_hint_as_good(signed: Signed) -> None:
    planned = await signed.plan(id_token_hint=signed.hint(iat=1_600_000_000, exp=1_600_000_300), post_logout_redirect_uri=AFTER)
    assert planned == LogoutPlan(False, AFTER, signed.client)


async def test_a_hint_is_good_without_a_session_too(signed: Signed) -> None:
    planned = await signed.plan(None, id_token_hint=signed.hint(), post_logout_redirect_uri=AFTER)
    assert planned == LogoutPlan(False, AFTER, signed.client)
    assert await carry_out(signed.authority, planned, None) == AFTER
    assert not signed.door.events


async def test_both_signing_algorithms_and_a_list_as_audience_are_read(signed: Signed) -> None:
    for more in ({"alg": "ES256"}, {"aud": [signed.client.id]}, {"aud": [signed.client.id, "x"], "azp": signed.client.id}):
        planned = await signed.plan(id_token_hint=signed.hint(**more), post_logout_redirect_uri=AFTER)  # type: ignore[arg-type]
        assert planned == LogoutPlan(False, AFTER, signed.client)


async def test_without_a_hint_the_person_is_asked(signed: Signed) -> None:
    assert await signed.plan() == LogoutPlan(True, None)
    assert await signed.plan(post_logout_redirect_uri=AFTER) == LogoutPlan(True, None)
    # A client that names itself is believed once the person has said yes: the address is one it registered.
    assert await signed.plan(client_id=signed.client.id, post_logout_redirect_uri=AFTER) == LogoutPlan(True, AFTER, signed.client)


async def test_a_hint_of_someone_else_or_of_another_session_ends_nothing_unasked(signed: Signed) -> None:
    for more in ({"sub": "someone-else"}, {"sid": "another-session"}):
        planned = await signed.plan(id_token_hint=signed.hint(**more), post_logout_redirect_uri=AFTER)
        assert planned == LogoutPlan(True, AFTER, signed.client)
    assert not (await signed.plan(id_token_hint=signed.hint(sid=signed.session.id))).confirm


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(signed: Signed) -> dict[str, str]:
    key = signed.authority.keys.signer("RS256")
    stranger = RSAKey.generate_key(2048)
    good = signed.hint()
    head, payload, signature = good.split(".")
    claims = {"iss": ISSUER, "aud": signed.client.id, "sub": signed.session.account, "iat": 1, "exp": 2}
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    confusing = f"{_b64(json.dumps({'alg': 'HS256', 'kid': key.kid}).encode())}.{payload}"
    confused = f"{confusing}.{_b64(hmac.digest(RSAKey.import_key(key.public).as_pem(private=False), confusing.encode(), 'sha256'))}"
    access, _ = signed.authority.tokens.issue(subject=signed.session.account, client=signed.client.id, role="patient", scope="openid")
    return {
        "another issuer": signed.hint(iss="https://evil.example"), "no issuer": signed.hint(iss=None), "no subject": signed.hint(sub=None),
        "another client": signed.hint(aud="nobody"), "two audiences": signed.hint(aud=[signed.client.id, "x"]),
        "no audience": signed.hint(aud=None),
        "alg none": f"{none}.{payload}.", "alg none with a signature": f"{none}.{payload}.{signature}",
        "stranger's key": jose.sign({"alg": "RS256", "kid": key.kid}, claims, stranger), "unknown kid": signed.hint(head={"kid": "x"}),
        "HS256 of a public key": confused, "changed": f"{head}.{payload[:-2]}AA.{signature}", "an access token": access,
        "typed as one": signed.hint(head={"typ": "at+jwt"}), "empty": "x", "long": good + "A" * 9000, "two parts": f"{head}.{payload}",
        "jwk in it": signed.hint(head={"jwk": stranger.as_dict(private=False)}),
    }  # fmt: skip


async def test_a_forged_or_foreign_hint_neither_ends_the_session_unasked_nor_sends_anywhere(signed: Signed) -> None:
    for name, token in forged(signed).items():
        for session in (signed.session, None):
            planned = await signed.plan(session, id_token_hint=token, post_logout_redirect_uri=AFTER, client_id=signed.client.id)
            assert planned.confirm, name
            assert planned.redirect is None, name


async def test_a_hint_of_another_client_than_the_one_named_sends_nowhere(signed: Signed) -> None:
    other, _ = await signed.door.client(post_logout_redirect_uris=("https://evil.example/",))
    planned = await signed.plan(id_token_hint=signed.hint(), client_id=other.id, post_logout_redirect_uri="https://evil.example/")
    assert planned == LogoutPlan(True, None)


@pytest.mark.parametrize("uri", [
    "https://evil.example/", "https://app.example.vn/bye/", "https://app.example.vn/bye?x", "https://app.example.vn/bye#", "HTTPS://app.example.vn/bye",
    "https://app.example.vn/bye/../x", "https://app.example.vn.evil.example/bye", "//evil.example", "javascript:alert(1)", "https://app.example.vn",
    "https://app.example.vn/bye%20", " https://app.example.vn/bye", "https://app.example.vn/bye\r\nX: y", "https://app.example.vn/cb", "",
])  # fmt: skip
async def test_no_address_but_a_registered_one_is_gone_to(signed: Signed, uri: str) -> None:
    planned = await signed.plan(id_token_hint=signed.hint(), post_logout_redirect_uri=uri)
    assert planned == LogoutPlan(False, None, signed.client)


async def test_state_cannot_break_out_of_the_address(signed: Signed) -> None:
    planned = await signed.plan(id_token_hint=signed.hint(), post_logout_redirect_uri=AFTER, state="\r\nLocation: //evil#&?")
    assert planned.redirect == f"{AFTER}?state=%0D%0ALocation%3A+%2F%2Fevil%23%26%3F"
    assert (await signed.plan(id_token_hint=signed.hint(), post_logout_redirect_uri=AFTER, state="x" * 1001)).redirect is None


async def test_a_disabled_client_has_no_wish(signed: Signed) -> None:
    await signed.authority.clients.change(signed.client.id, enabled=False)
    assert await signed.plan(id_token_hint=signed.hint(), post_logout_redirect_uri=AFTER) == LogoutPlan(True, None)
