"""What is tried against the pages: foreign forms, markup in names, links to other sites, planted cookies, frames, caches.

The routes are read from the application, so that a page added later is attacked too.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute

from health_hub.access.connect import AccessPage, Seen
from health_hub.auth import csrf
from health_hub.auth.device import GRANT
from health_hub.auth.model import Account
from health_hub.store.store import Store
from tests.auth.door import ISSUER
from tests.auth.flow import request
from tests.web.browser import PASSWORD, Browser, Page, Place, place

VERIFIER = "v" * 43
EVIL = (
    '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", "</title></script><script>alert(1)</script>",
    '" autofocus onfocus=alert(1) x="',
    "{{ 7*7 }}{% raw %}", "javascript:alert(1)//", "<style>*{display:none}</style>", "<!--", "&lt;script&gt;",
    "<form action=//evil.example>",
)  # fmt: skip
ELSEWHERE = (
    "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "javascript:alert(1)",
    "data:text/html,x", "/\r\nLocation: https://evil.example", "https:evil.example", " //evil.example",
    "///evil.example", "%2f%2fevil.example",
)  # fmt: skip
# Forms that other sites may send: the application's request, the application's wish to sign out (it is asked about), and the language,
# which needs no token but our own page.
OPEN = {"/auth/authorize", "/auth/logout", "/language"}


@pytest.fixture
async def store(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """What a page lets through does not depend on the kind of database."""
    opened = await Store.open(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'hub.db')}")
    yield opened
    await opened.close()


@pytest.fixture
async def p(store: Store) -> AsyncIterator[Place]:
    async with place(store, second_factor_roles=(), external_issuer="https://id.example.vn", external_client_id="hub") as found:

        async def accesses(account: Account, patient: str, after: str | None) -> AccessPage:
            """Whatever others have written of themselves stands in the trail."""
            seen = Seen("2026-11-26T08:00:00.000+07:00", patient, "Organization/x", patient, "read", (patient,), patient, True, True)
            return AccessPage((seen,), patient)

        found.flow.authority.access_list = accesses
        yield found


def routes(p: Place, method: str) -> list[str]:
    """Paths of the pages that take `method`, whichever file of web/ they are in."""
    return sorted(r.path for r in _flat(p.app._app.routes) if method in r.methods and r.endpoint.__module__.startswith("health_hub.web."))


def _flat(routes: list[Any]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from _flat(included.routes)


async def administrator(p: Place) -> Browser:
    """Who may open most pages."""
    return (await p.signed_in("administrator", "quan.tri"))[0]


def token(page: Page) -> str:
    return next(v for form in page.forms for n, v in form.fields if n == "csrf")


# Foreign forms


def test_the_walk_finds_the_pages(p: Place) -> None:
    posts, gets = routes(p, "POST"), routes(p, "GET")
    assert {"/sign-in", "/sign-in/code", "/sign-out", "/auth/consent", "/device", "/account/password", "/admin/accounts"} <= set(posts)
    assert {"/", "/sign-in", "/record/access", "/account", "/admin/clients"} <= set(gets)
    assert not any("{" in path for path in (*posts, *gets)), "a path with a part to fill in needs a value here"
    assert set(posts) >= OPEN


async def test_no_page_takes_a_form_without_the_token_of_this_session_and_browser(p: Place) -> None:
    mine, theirs = await administrator(p), (await p.signed_in("patient", "bn.khac"))[0]
    own, other = token(await mine.get("/sign-out")), token(await theirs.get("/sign-out"))
    before = csrf.token(next(c.value or "" for c in mine.http.cookies.jar if c.name == "__Host-browser"))
    here, foreign = {}, {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}  # type: dict[str, str], dict[str, str]
    sibling, old = {"sec_fetch_site": "same-site"}, {"origin": "https://evil.example", "sec_fetch_site": "none"}
    for path in routes(p, "POST"):
        if path in OPEN:
            continue
        for fields, headers in (
            ({}, here), ({"csrf": ""}, here), ({"csrf": "0" * 64}, here), ({"csrf": other}, here), ({"csrf": before}, here),
            ({"csrf": own}, foreign), ({"csrf": own}, sibling), ({"csrf": own}, old),
        ):  # fmt: skip
            answer = await mine.post(path, fields, **headers)
            assert answer.status_code == 403, (path, fields, headers, answer.status_code)
            assert "Không nhận được biểu mẫu này" in answer.text, path
            assert "set-cookie" not in answer.headers, path


async def test_with_the_token_the_same_forms_are_taken(p: Place) -> None:
    """Else the test above would show nothing."""
    for path in routes(p, "POST"):
        if path in OPEN or path == "/sign-out":
            continue
        mine = await again(p)
        answer = await mine.post(path, {"csrf": token(await mine.get("/sign-out"))})
        assert answer.status_code != 403, path
        assert answer.status_code < 500, path
    mine = await again(p)
    assert (await mine.post("/sign-out", {"csrf": token(await mine.get("/sign-out"))})).status_code == 200


async def again(p: Place) -> Browser:
    if await p.flow.authority.accounts.by_login("quan.tri") is None:
        return await administrator(p)
    browser = p.browser()
    await browser.sign_in("quan.tri")
    return browser


async def test_the_forms_that_other_sites_may_send_change_nothing(p: Place) -> None:
    browser = await administrator(p)
    foreign = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}
    assert (await browser.post("/language", {"lang": "en", "next": "/"}, **foreign)).status_code == 403
    assert "Đăng xuất?" in (await browser.post("/auth/logout", {}, **foreign)).text
    assert (await browser.post("/auth/authorize", {"client_id": "nobody"}, **foreign)).status_code == 400
    assert "Xin chào" in (await browser.get("/")).text


async def test_a_form_is_a_form_and_nothing_else(p: Place) -> None:
    browser = await administrator(p)
    own = token(await browser.get("/sign-out"))
    for path in routes(p, "POST"):
        for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x", ""):
            answer = await browser.post(path, {"csrf": own}, content_type=kind)
            assert answer.status_code in (400, 403), (path, kind)


async def test_what_changes_something_is_never_a_link(p: Place) -> None:
    """A GET with the token and all the fields does what a GET without them does."""
    browser = await administrator(p)
    own = token(await browser.get("/sign-out"))
    for path in sorted(set(routes(p, "POST")) - OPEN):
        answer = await browser.http.get(path, params={"csrf": own, "answer": "allow", "do": "disable", "id": "others", "lang": "en"})
        assert answer.status_code in (200, 303, 400, 403, 404, 405, 422), path
    assert "Xin chào" in (await browser.get("/")).text


# Frames, scripts, caches


async def test_every_page_is_guarded_for_strangers_and_for_who_is_signed_in(p: Place) -> None:
    client, _ = await p.flow.app()
    patient = (await p.signed_in())[0]
    await patient.get("/auth/authorize?" + urlencode(request(client, VERIFIER)))
    id = parse_qs(urlsplit(patient.at).query)["id"][0]
    shown = set()
    for browser in (p.browser(), patient, await administrator(p)):
        for path in routes(p, "GET"):
            for query in ("", f"?id={id}", "?next=%2Fdevice"):
                if path.startswith("/health/"):
                    continue
                answer = await browser.http.get(path + query)
                guarded(answer)
                if answer.status_code == 200:
                    shown.add(path)
        for path in ("/no-such-page", "/auth/consent/", "/%00", "/sign-in?next=" + "x" * 9000):
            guarded(await browser.http.get(path))
    assert {"/", "/sign-in", "/device", "/auth/consent", "/record/access", "/account", "/admin/accounts", "/sign-out"} <= shown


def guarded(answer: httpx.Response) -> None:
    headers, where = answer.headers, answer.url.path
    assert answer.status_code < 500, where
    policy = {name: rest for name, _, rest in (part.strip().partition(" ") for part in headers["content-security-policy"].split(";"))}
    assert policy["default-src"] == "'none'", where
    assert policy["frame-ancestors"] == "'none'", where
    assert policy["base-uri"] == "'none'", where
    assert "form-action" in policy, where
    assert not any(loose in headers["content-security-policy"] for loose in ("unsafe-", " *", "http:", "blob:")), where
    assert policy.get("script-src", "'none'") in ("'self'", "'none'"), where
    assert headers["x-frame-options"] == "DENY", where
    assert headers["x-content-type-options"] == "nosniff", where
    assert headers["referrer-policy"] in ("no-referrer", "same-origin"), where
    assert headers["cache-control"] == "no-store", where
    assert headers["cross-origin-opener-policy"] == "same-origin", where
    assert "access-control-allow-origin" not in headers, where
    if headers.get("content-type", "").startswith("text/html"):
        harmless(Page(answer))


async def test_other_origins_cannot_read_a_page_by_script(p: Place) -> None:
    browser = await administrator(p)
    for path in routes(p, "GET"):
        answer = await browser.http.get(path, headers={"origin": "https://evil.example"})
        assert "access-control-allow-credentials" not in answer.headers, path
        assert path.startswith("/health/") or "access-control-allow-origin" not in answer.headers, path


# Markup in names


def harmless(page: Page) -> None:
    """No script, frame, image or handler of anybody's but ours, and no link that is a script or leads to another site."""
    where = page.response.url
    for tag, had in page.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "style", "audio", "video", "b"), (where, tag, had)
        assert tag != "script" or had["src"].startswith("/static/"), where
        assert tag != "form" or had.get("action", "/").startswith("/"), (where, had)
        assert not [name for name in had if name.startswith("on") or name == "style"], (where, tag, had)
        for name in ("href", "src", "action", "formaction"):
            value = had.get(name, "/")
            ours = (value.startswith("/") and not value.startswith(("//", "/\\"))) or value == "#main" or ":" not in value
            assert ours or value.startswith("otpauth://totp/"), (where, tag, value)


@pytest.mark.parametrize("evil", EVIL)
async def test_names_logins_scopes_and_states_are_text_wherever_they_stand(p: Place, evil: str) -> None:
    client, _ = await p.flow.app(client_name=evil, post_logout_redirect_uris=("https://app.example.vn/bye",), scope="openid patient/*.rs")
    device, _ = await p.flow.app(client_name=evil, grant_types=(GRANT,), redirect_uris=())
    asked = await p.flow.authority.devices.begin(device, "openid patient/*.rs")
    account = await p.person("carer", "me.an", sees=(evil, "be-02"))
    await p.flow.authority.accounts.change(account.id, name=evil)
    params = request(client, VERIFIER) | {"state": evil, "scope": "openid launch/patient patient/*.rs", "login_hint": evil}
    browser = p.browser()
    page = await browser.get("/auth/authorize?" + urlencode(params | {"scope": "openid patient/*.rs"}))
    shows(page, evil)
    shows(await browser.send(page.form("/sign-in"), {"login": evil, "password": "sai sai sai"}), evil)
    await browser.sign_in("me.an")
    shows(await browser.get("/"), evil)
    shows(await browser.get("/auth/authorize?" + urlencode(params | {"scope": "openid patient/*.rs"})), evil)
    page = await browser.send((await browser.get("/device")).form("/device"), {"user_code": asked["user_code"]})
    shows(page, evil)
    shows(await browser.send(page.form("/device"), {"user_code": evil, "answer": ""}), evil, text=False)
    shows(await browser.get("/record/access?" + urlencode({"patient": evil})), evil)
    for path in ("/account", "/auth/logout?" + urlencode({"client_id": client.id, "state": evil})):
        harmless(await browser.get(path))
    for wrong in ("scope", "client_id", "redirect_uri", "response_type", "request_uri", "aud"):
        answer = await browser.http.get("/auth/authorize?" + urlencode(params | {wrong: evil}))
        assert answer.status_code in (303, 400), wrong
        if answer.status_code == 400:
            harmless(Page(answer))
        else:
            assert answer.headers["location"].startswith("https://app.example.vn/cb?"), wrong


@pytest.mark.parametrize("evil", EVIL)
async def test_what_an_administrator_sees_of_others_is_text(p: Place, evil: str) -> None:
    browser = await administrator(p)
    await p.flow.app(client_name=evil, registered=True)
    patient = await p.person()
    await p.flow.authority.accounts.change(patient.id, name=evil)
    shows(await browser.get("/admin/accounts"), evil)
    shows(await browser.get("/admin/clients"), evil)
    for query in ({"login": evil}, {"done": "added", "login": evil}, {"done": evil}, {"name": evil, "done": "disabled.done"}):
        for path in ("/admin/accounts", "/admin/clients"):
            harmless(await browser.get(f"{path}?{urlencode(query)}"))


def shows(page: Page, evil: str, *, text: bool = True) -> None:
    harmless(page)
    values = [v for _, had in page.tags for v in had.values()]
    assert evil in page.text or (not text and evil in values) or evil in values, page.text


# Links to other sites


@pytest.mark.parametrize("where", ELSEWHERE)
async def test_no_page_leads_to_another_site_by_next(p: Place, where: str) -> None:
    browser = (await p.signed_in("practitioner", "bs.lan", organizations=("Organization/a", "Organization/b")))[0]
    for who in (p.browser(), browser):
        for path in routes(p, "GET"):
            for name in ("next", "onward", "return", "url", "redirect", "post_logout_redirect_uri", "redirect_uri"):
                if path.startswith("/health/"):
                    continue
                answer = await who.http.get(path, params={name: where, "again": "1"} if path == "/sign-in" else {name: where})
                stays(answer, path)
    form = (await browser.get("/auth/facility")).form("/auth/facility")
    stays(await browser.post("/auth/facility", [*form.fields[:1], ("next", where), ("organization", "Organization/a")]), "/auth/facility")
    stays(await browser.post("/language", {"next": where, "lang": "vi"}), "/language")
    form = (await browser.get("/sign-in/again")).form("/sign-in/again")
    stays(await browser.post("/sign-in/again", [*form.fields[:1], ("next", where), ("password", PASSWORD)]), "/sign-in/again")


def stays(answer: httpx.Response, path: str) -> None:
    where = answer.headers.get("location", "/")
    ours = where.startswith("/") and not where.startswith(("//", "/\\")) and where.isprintable()
    # The provider that this hub is set to use is where /sign-in/external goes, and nowhere else.
    assert ours or urlsplit(where).netloc in ("id.example.vn", urlsplit(ISSUER).netloc), (path, where)
    if answer.headers.get("content-type", "").startswith("text/html"):
        page = Page(answer)
        harmless(page)
        for form in page.forms:
            for name, value in form.fields:
                local = value.startswith("/") and not value.startswith(("//", "/\\"))
                assert name != "next" or local, (path, value)


# Planted cookies


async def test_a_browsers_cookie_planted_by_somebody_else_gives_them_nothing(p: Place) -> None:
    await p.person()
    thief, victim = p.browser(), p.browser()
    await thief.get("/sign-in")
    planted = next(c.value or "" for c in thief.http.cookies.jar if c.name == "__Host-browser")
    victim.http.cookies.set("__Host-browser", planted, domain="hub.example.vn")
    await victim.sign_in("bn.hoa")
    assert "Xin chào" in (await victim.get("/")).text
    assert "Xin chào" not in (await thief.get("/")).text
    stolen = csrf.token(planted)
    assert (await victim.post("/sign-out", {"csrf": stolen})).status_code == 403, "forms are bound to the session now"


async def test_the_session_is_another_after_every_step_of_signing_in(p: Place) -> None:
    browser, account = await p.signed_in()
    first = session(browser)
    page = await browser.get("/sign-in/again")
    await browser.send(page.form("/sign-in/again"), {"password": PASSWORD})
    second = session(browser)
    assert second != first
    old = p.browser()
    old.http.cookies.set("__Host-session", first, domain="hub.example.vn")
    assert "Xin chào" not in (await old.get("/")).text, "the value from before is worth nothing"
    await browser.get("/sign-in?again=1")
    await browser.send((await browser.get("/sign-in?again=1")).form("/sign-in"), {"login": account.login, "password": PASSWORD})
    assert session(browser) not in (first, second)


async def test_after_signing_out_the_cookie_is_worth_nothing(p: Place) -> None:
    browser, _ = await p.signed_in()
    kept = session(browser)
    await browser.send((await browser.get("/sign-out")).form("/sign-out"))
    thief = p.browser()
    thief.http.cookies.set("__Host-session", kept, domain="hub.example.vn")
    for path in ("/account", "/record/access", "/device"):
        assert (await thief.get(path)).response.url.path == "/sign-in"


@pytest.mark.parametrize("value", ["", "x" * 5000, "a.b", "../..", "%00", "'; drop table record; --", "ư"])
async def test_a_cookie_of_any_kind_is_nobody(p: Place, value: str) -> None:
    cookies = "; ".join(f"{name}={value}" for name in ("__Host-session", "__Host-browser", "lang"))
    answer = await p.browser().http.get("/", headers=[(b"cookie", cookies.encode())])
    assert answer.status_code == 200
    assert "Xin chào" not in answer.text
    guarded(answer)


def session(browser: Browser) -> str:
    return next(c.value or "" for c in browser.http.cookies.jar if c.name == "__Host-session")
