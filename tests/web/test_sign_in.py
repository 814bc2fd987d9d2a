"""Signing in by the pages: what is asked, what is refused, and that nobody else's page, cookie or name takes part."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pyotp
import pytest

from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.web.browser import PASSWORD, Place, place


@pytest.fixture
async def p(store: Store) -> AsyncIterator[Place]:
    async with place(store) as found:
        yield found


async def test_login_and_password_lead_home(p: Place) -> None:
    browser, _ = await p.signed_in()
    assert browser.at == "/"
    assert "Xin chào, Hoa" in (await browser.get("/")).text


async def test_a_wrong_password_and_an_unknown_login_are_answered_alike(p: Place) -> None:
    await p.person()
    answers = []
    for login in ("bn.hoa", "nobody"):
        browser = p.browser()
        page = await browser.sign_in(login, "wrong wrong wrong")
        assert page.status == 422
        answers.append(page.text.replace(login, ""))
    assert answers[0] == answers[1]
    assert "không đúng" in answers[0]


async def test_after_sign_in_the_person_is_where_they_wanted_to_go(p: Place) -> None:
    await p.person()
    browser = p.browser()
    await browser.sign_in("bn.hoa", next="/?x=1")
    assert browser.at == "/?x=1"


@pytest.mark.parametrize("where", [
    "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/%0a", "javascript:alert(1)",
    "/\r\nLocation: https://evil.example", "https:evil.example", " //evil.example", "/ /evil.example",
])  # fmt: skip
async def test_next_never_leads_to_another_site(p: Place, where: str) -> None:
    await p.person()
    browser = p.browser()
    page = await browser.get("/sign-in?" + urlencode({"next": where}))
    form = page.form("/sign-in")
    response = await browser.post("/sign-in", [*form.fields[:1], ("next", where), ("login", "bn.hoa"), ("password", PASSWORD)])
    assert response.status_code == 303
    location = response.headers["location"]
    assert location in ("/", "/%0a")
    again = await browser.http.get("/sign-in?" + urlencode({"next": where}))
    assert again.headers["location"] in ("/", "/%0a")


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "ư"])
async def test_a_form_without_our_token_is_refused(p: Place, csrf: str | None) -> None:
    await p.person()
    browser = p.browser()
    await browser.get("/sign-in")
    fields = {"login": "bn.hoa", "password": PASSWORD} | ({"csrf": csrf} if csrf is not None else {})
    response = await browser.post("/sign-in", fields)
    assert response.status_code == 403
    assert not any("session" in c.name for c in browser.http.cookies.jar)


async def test_a_token_of_another_browser_is_refused(p: Place) -> None:
    await p.person()
    mine, theirs = p.browser(), p.browser()
    form = (await theirs.get("/sign-in")).form("/sign-in")
    await mine.get("/sign-in")
    assert (await mine.send(form, {"login": "bn.hoa", "password": PASSWORD})).status == 403


@pytest.mark.parametrize(("origin", "site"), [
    ("https://evil.example", "cross-site"), (ISSUER, "cross-site"), (ISSUER, "same-site"), (ISSUER, "none"),
])  # fmt: skip
async def test_a_form_sent_from_another_site_is_refused(p: Place, origin: str, site: str) -> None:
    await p.person()
    browser = p.browser()
    form = (await browser.get("/sign-in")).form("/sign-in")
    assert (await browser.send(form, {"login": "bn.hoa", "password": PASSWORD}, origin=origin, sec_fetch_site=site)).status == 403


async def test_a_session_planted_before_sign_in_is_worth_nothing_after(p: Place) -> None:
    _, thief = await p.signed_in("patient", "thief"), p.browser()
    victim = p.browser()
    await p.person()
    planted = "planted.planted"
    victim.http.cookies.set("__Host-session", planted, domain="hub.example.vn")
    await victim.sign_in("bn.hoa")
    values = [c.value for c in victim.http.cookies.jar if c.name == "__Host-session" and c.value != planted]
    assert len(values) == 1
    thief.http.cookies.set("__Host-session", planted, domain="hub.example.vn")
    assert "Xin chào" not in (await thief.get("/")).text


async def test_cookies_are_host_bound_and_out_of_scripts_reach(p: Place) -> None:
    await p.person()
    browser = p.browser()
    form = (await browser.get("/sign-in")).form("/sign-in")
    response = await browser.post("/sign-in", [*form.fields[:2], ("login", "bn.hoa"), ("password", PASSWORD)])
    cookies = response.headers.get_list("set-cookie")
    assert any(c.startswith("__Host-session=") for c in cookies)
    for cookie in cookies:
        assert {"httponly", "secure", "samesite=lax", "path=/"} <= {x.strip().lower() for x in cookie.split(";")}


async def test_the_second_factor_is_asked_by_the_page(p: Place) -> None:
    account, browser = await p.person(), p.browser()
    enrolment = await p.signin.totp.enrol(account, confirmed=True)
    page = await browser.sign_in("bn.hoa")
    assert browser.at.startswith("/sign-in/code")
    wrong = await browser.send(page.form("/sign-in/code"), {"code": "000000"})
    assert wrong.status == 422
    right = await browser.send(wrong.form("/sign-in/code"), {"code": pyotp.TOTP(enrolment.secret.replace(" ", "")).now()})
    assert "Xin chào" in right.text


async def test_a_role_that_needs_a_second_factor_is_led_to_one(store: Store) -> None:
    async with place(store, second_factor_roles=("patient",)) as p:
        await p.person()
        browser = p.browser()
        page = await browser.sign_in("bn.hoa")
        assert browser.at.startswith("/sign-in/enrol")
        secret = re.search(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", page.text)
        assert secret
        done = await browser.send(page.form("/sign-in/enrol"), {"code": pyotp.TOTP(secret[0].replace(" ", "")).now()})
        assert "Mã dự phòng" in done.text
        assert "Xin chào" in (await browser.get("/")).text


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nothing-here", "/sign-in/code?id=x&methods=totp"])
async def test_no_page_can_be_framed_scripted_from_elsewhere_or_kept(p: Place, path: str) -> None:
    response = await p.browser().http.get(path)
    policy = response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    for inline in ("<style", "style=", "onclick", "javascript:"):
        assert inline not in response.text


@pytest.mark.parametrize("evil", ['"><script>alert(1)</script>', "' autofocus onfocus=alert(1) x='", "{{ 7*7 }}", "</input><img src=x>"])
async def test_what_is_typed_is_shown_as_text(p: Place, evil: str) -> None:
    browser = p.browser()
    page = await browser.sign_in(evil, "wrong wrong wrong", next=f"/?{urlencode({'q': evil})}")
    assert page.status == 422
    assert not any(tag == "img" or "onfocus" in had for tag, had in page.tags)
    assert [had for tag, had in page.tags if tag == "script" and "src" not in had] == []
    assert [had["value"] for tag, had in page.tags if had.get("name") == "login"] == [evil]


async def test_a_name_with_markup_is_shown_as_text(p: Place) -> None:
    browser, account = await p.signed_in()
    await p.flow.authority.accounts.change(account.id, name="<img src=x onerror=alert(1)>")
    page = await browser.get("/")
    assert "<img" not in page.response.text
    assert "<img src=x onerror=alert(1)>" in page.text


async def test_the_language_is_kept_and_the_page_comes_back(p: Place) -> None:
    browser = p.browser()
    page = await browser.get("/sign-in?next=%2Faccount")
    english = await browser.send(page.form("/language"), {"lang": "en"})
    assert browser.at == "/sign-in?next=%2Faccount"
    assert english.response.text.startswith('<!doctype html>\n<html lang="en"')
    elsewhere = await browser.post("/language", {"lang": "vi", "next": "//evil.example"})
    assert elsewhere.headers["location"] == "/"


async def test_a_body_that_is_too_large_is_refused(p: Place) -> None:
    browser = p.browser()
    await browser.get("/sign-in")
    assert (await browser.post("/sign-in", {"login": "x" * 70_000})).status_code == 413
    assert (await browser.post("/sign-in", [(f"f{n}", "") for n in range(400)])).status_code == 400
