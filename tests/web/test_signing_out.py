"""Signing out, by the person and at an application's wish, as a person without JavaScript goes."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from health_hub.store.store import Store
from tests.web.browser import Place, place

AFTER = "https://app.example.vn/bye"


@pytest.fixture
async def p(store: Store) -> AsyncIterator[Place]:
    async with place(store) as found:
        yield found


async def test_signing_out_asks_ends_the_session_and_forgets_the_cookie(p: Place) -> None:
    browser, _ = await p.signed_in()
    session = browser.http.cookies.get("__Host-session") or browser.http.cookies.get("session")
    page = await browser.get("/sign-out")
    assert "Đăng xuất?" in page.text
    done = await browser.send(page.form("/sign-out"))
    assert "Bạn đã đăng xuất" in done.text
    assert session
    assert await p.flow.authority.sessions.of(session) is None
    assert (await browser.get("/sign-out")).response.url.path == "/"


async def test_another_site_cannot_sign_a_person_out(p: Place) -> None:
    browser, _ = await p.signed_in()
    page = await browser.get("/sign-out")
    form = page.form("/sign-out")
    foreign = await browser.post("/sign-out", form.fields, origin="https://evil.example", sec_fetch_site="cross-site")
    assert foreign.status_code == 403
    without = await browser.post("/sign-out", {})
    assert without.status_code == 403
    for method in ("get", "post"):
        page = await browser.get("/auth/logout") if method == "get" else None
        foreign = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}
        answer = page.response if page else await browser.post("/auth/logout", {}, **foreign)
        assert answer.status_code == 200
        assert "Đăng xuất?" in answer.text
    assert "Đăng xuất?" in (await browser.get("/sign-out")).text, "still signed in"


async def test_an_application_that_shows_its_id_token_signs_out_and_gets_the_person_back(p: Place) -> None:
    client, _ = await p.flow.app(post_logout_redirect_uris=(AFTER,))
    browser, _ = await p.signed_in()
    page = await browser.get("/auth/logout?" + urlencode({"client_id": client.id, "post_logout_redirect_uri": AFTER, "state": "s1"}))
    assert client.client_name in page.text
    done = await browser.send(page.form("/auth/logout"))
    assert done.response.headers["location"] == f"{AFTER}?state=s1"
    assert done.response.status_code == 303


@pytest.mark.parametrize("wanted", ["https://evil.example/", "https://app.example.vn/bye/more", "//evil.example", "javascript:alert(1)"])
async def test_signing_out_leads_only_where_the_application_registered(p: Place, wanted: str) -> None:
    client, _ = await p.flow.app(post_logout_redirect_uris=(AFTER,))
    browser, _ = await p.signed_in()
    page = await browser.get("/auth/logout?" + urlencode({"client_id": client.id, "post_logout_redirect_uri": wanted}))
    done = await browser.send(page.form("/auth/logout"))
    assert done.status == 200
    assert "location" not in done.response.headers


async def test_parameters_that_come_twice_are_refused(p: Place) -> None:
    browser, _ = await p.signed_in()
    assert (await browser.get("/auth/logout?client_id=a&client_id=b")).status == 400
