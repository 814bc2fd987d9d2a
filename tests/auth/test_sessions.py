"""Sessions and the tokens of their forms."""

import time

import pytest

from health_hub.auth import cookies, csrf
from health_hub.auth.model import Session
from health_hub.auth.sessions import PER_ACCOUNT
from health_hub.store.store import Store
from tests.auth.hub import caller, hub, person, signed_in


async def test_only_a_hash_of_the_secret_is_kept(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    done = await signed_in(s)
    id, _, key = done.cookie.partition(".")
    record = await store.records.get("session", id)
    assert record
    assert key not in str(record)
    assert len(key) >= 43
    for wrong in ("", None, id, f"{id}.", f"{id}.{key}x", f"x.{key}", f"{id}.{record.data['secret']}", "a" * 10_000, "\0.x", "\ud800.x"):
        assert await h.sessions.of(wrong) is None


async def test_a_session_planted_before_sign_in_is_worth_nothing_after(store: Store) -> None:
    """Fixation: the attacker's own session, put into the victim's browser, is not the victim's and ends."""
    h, s = hub(store)
    await person(h, s)
    await person(h, s, "ke.xau", "nurse")
    planted = await signed_in(s, "ke.xau")
    victim = await signed_in(s, session=planted.cookie)
    assert victim.cookie != planted.cookie
    assert victim.session.id != planted.session.id
    assert await h.sessions.of(planted.cookie) is None
    invented = f"{'a' * 22}.{'b' * 43}"
    again = await signed_in(s, session=invented)
    assert again.cookie != invented
    assert await h.sessions.of(invented) is None


async def test_it_ends_when_idle_and_when_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    h, s = hub(store, session_idle_seconds=600, session_seconds=1500)
    await person(h, s)
    idle, used = await signed_in(s), await signed_in(s)
    start = time.time()
    for minute in (9, 18, 24):
        monkeypatch.setattr(time, "time", lambda m=minute: start + m * 60)
        assert (await h.sessions.of(used.cookie)) is not None
    assert await h.sessions.of(idle.cookie) is None
    assert [x.session.id for x in await h.sessions.list(used.session.account)] == [used.session.id]
    monkeypatch.setattr(time, "time", lambda: start + 1501)
    assert await h.sessions.of(used.cookie) is None


async def test_last_seen_is_written_once_a_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    h, s = hub(store)
    await person(h, s)
    done, start = await signed_in(s), time.time()

    async def version() -> int:
        record = await store.records.get("session", done.session.id)
        assert record
        return record.version

    for _ in range(3):
        await h.sessions.of(done.cookie)
    assert await version() == 1
    monkeypatch.setattr(time, "time", lambda: start + 61)
    for _ in range(3):
        await h.sessions.of(done.cookie)
    assert await version() == 2


async def test_a_disabled_account_is_out_at_the_next_request(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    done, ended, revoked = await signed_in(s), [], []

    async def session_ended(session: Session) -> None:
        ended.append(session.id)

    async def revoke(account: object) -> None:
        revoked.append(account)

    h.sessions.ended, h.accounts.revoke = session_ended, revoke
    await h.accounts.disable(account.id)
    assert len(revoked) == 1
    assert await h.sessions.of(done.cookie) is None
    assert ended == [done.session.id]
    await h.accounts.enable(account.id)
    assert await h.sessions.of(done.cookie) is None, "it has ended for good"


async def test_a_person_lists_and_ends_theirs_and_nobody_elses(store: Store) -> None:
    h, s = hub(store)
    account, other = await person(h, s), await person(h, s, "bs.mai", "nurse")
    one, two, foreign = await signed_in(s), await signed_in(s), await signed_in(s, "bs.mai")
    assert {x.session.id for x in await h.sessions.list(account.id)} == {one.session.id, two.session.id}
    assert not await h.sessions.end_one(account.id, foreign.session.id)
    assert await h.sessions.of(foreign.cookie)
    assert await h.sessions.end_one(account.id, two.session.id)
    assert await h.sessions.of(two.cookie) is None
    assert await h.sessions.end_all(other.id) == 1
    assert await h.sessions.of(foreign.cookie) is None
    assert await h.sessions.of(one.cookie)


async def test_an_account_has_a_bounded_number(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    for _ in range(PER_ACCOUNT + 3):
        await h.sessions.create(account, amr=("pwd",))
    assert len(await h.sessions.list(account.id)) == PER_ACCOUNT


async def test_a_token_of_another_session_is_none(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    one, two = await signed_in(s), await signed_in(s)
    token = csrf.token(one.cookie)
    assert csrf.valid(one.cookie, token)
    for cookie, given in ((two.cookie, token), ("", csrf.token("")), (one.cookie, ""), (one.cookie, token[:-1]), (one.cookie, "ế" * 64),
                          (caller().browser, token)):  # fmt: skip
        assert not csrf.valid(cookie, given)
    assert one.cookie.partition(".")[2] not in token


@pytest.mark.parametrize(("headers", "own"), [
    ({"sec-fetch-site": "same-origin", "origin": "null"}, True), ({"sec-fetch-site": "same-origin"}, True),
    ({"sec-fetch-site": "same-site", "origin": "https://hub.vn"}, False), ({"sec-fetch-site": "cross-site"}, False),
    ({"sec-fetch-site": "none"}, False), ({"origin": "https://hub.vn"}, True), ({"origin": "https://hub.vn.evil.vn"}, False),
    ({"origin": "http://hub.vn"}, False), ({"origin": "null"}, False), ({}, True),
])  # fmt: skip
def test_where_a_form_came_from(headers: dict[str, str], own: bool) -> None:
    assert csrf.own_origin(headers, "https://hub.vn") is own


def test_cookies_cannot_be_read_by_scripts_nor_sent_by_other_sites() -> None:
    https = cookies.cookie("session", "x", https=True)
    assert https.options() == {"key": "__Host-session", "value": "x", "max_age": None, "path": "/", "secure": True, "httponly": True,
                               "samesite": "lax"}  # fmt: skip
    assert cookies.cookie("session", "x", https=False).options()["secure"] is False
    assert cookies.cookie("device", "x", https=True).max_age == 180 * 86_400
    assert cookies.cookie("device", "", https=True).max_age == 0
