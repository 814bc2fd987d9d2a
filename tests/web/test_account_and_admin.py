"""The account page and the administrator's pages, as a person without JavaScript goes."""

from collections.abc import AsyncIterator

import pyotp
import pytest

from health_hub.store.store import Store
from tests.web.browser import PASSWORD, Form, Page, Place, place


@pytest.fixture
async def p(store: Store) -> AsyncIterator[Place]:
    async with place(store, second_factor_roles=()) as found:
        yield found


async def test_a_person_sees_how_they_sign_in_and_where(p: Place) -> None:
    browser, _ = await p.signed_in()
    page = await browser.get("/account")
    assert page.status == 200
    for said in ("Tài khoản của bạn", "bn.hoa", "Mật khẩu"):
        assert said in page.text


async def test_a_person_changes_their_password(p: Place) -> None:
    browser, _ = await p.signed_in()
    new = "đồi chè xanh ngát buổi sớm"
    form = (await browser.get("/account/password")).form("/account/password")
    wrong = await browser.send(form, {"old": "sai rồi nhé bạn ơi", "new": new, "repeat": new})
    assert wrong.status == 422
    form = (await browser.get("/account/password")).form("/account/password")
    assert (await browser.send(form, {"old": PASSWORD, "new": new, "repeat": new})).status == 200
    assert browser.at.startswith("/account")
    other = p.browser()
    assert (await other.sign_in("bn.hoa", PASSWORD)).status == 422
    assert (await other.sign_in("bn.hoa", new)).status == 200


async def test_a_person_sets_up_one_time_codes_and_signs_in_with_one(p: Place) -> None:
    browser, _ = await p.signed_in()
    page = await browser.get("/account/totp")
    secret = next(v for tag, v in page.tags if tag == "input" and v.get("name") == "code") and _secret(page.text)
    done = await browser.send(page.form("/account/totp"), {"code": pyotp.TOTP(secret).now()})
    assert done.status == 200
    other = p.browser()
    step = await other.sign_in("bn.hoa")
    assert other.at.startswith("/sign-in/code")
    assert "code" in dict(step.form("/sign-in/code").fields)


def _secret(text: str) -> str:
    import re

    found = re.search(r"\b[A-Z2-7 ]{32,}\b", text)
    assert found, text
    return found[0].replace(" ", "")


async def test_another_browser_is_ended_from_here(p: Place) -> None:
    browser, _ = await p.signed_in()
    other = p.browser()
    await other.sign_in("bn.hoa")
    page = await browser.get("/account")
    assert (await browser.send(page.form("/account/session"))).status == 200
    assert (await other.get("/account")).response.url.path == "/sign-in"


async def test_an_administrator_adds_disables_and_resets_accounts(p: Place) -> None:
    browser, _ = await p.signed_in("administrator", "quan.tri")
    page = await browser.get("/admin/accounts")
    assert page.status == 200
    given = {"login": "bs.moi", "name": "BS. Mới", "role": "practitioner", "fhir_user": "Practitioner/bs-09", "password": PASSWORD}
    done = await browser.send(page.form("/admin/accounts"), given | {"csrf": dict(_adding(page))["csrf"]})
    assert "bs.moi" in done.text
    account = await p.flow.authority.accounts.by_login("bs.moi")
    assert account
    assert (await p.browser().sign_in("bs.moi")).status == 200
    page = await browser.get("/admin/accounts?login=bs.moi")
    form = next(f for f in page.forms if ("do", "disable") in f.fields)
    assert (await browser.send(form)).status == 200
    assert (await p.browser().sign_in("bs.moi")).status == 422
    assert (await browser.send(_adding_form(page), given | {"role": "king"})).status == 422
    assert (await browser.send(_adding_form(page), given)).status == 422, "the login is taken"


def _adding_form(page: Page) -> Form:
    return next(f for f in page.forms if any(name == "csrf" for name, _ in f.fields) and f.action == "/admin/accounts")


def _adding(page: Page) -> list[tuple[str, str]]:
    return _adding_form(page).fields


async def test_what_was_done_is_said_in_known_words_only(p: Place) -> None:
    """A link to the page cannot make it say what its maker likes."""
    client, _ = await p.flow.app(client_name="Ứng dụng lạ")
    browser, _ = await p.signed_in("administrator", "quan.tri")
    for path in (
        "/admin/clients?done=disabled.done&name=HÃY+GỌI+1900", "/admin/clients?done=disabled.done&id=HÃY+GỌI+1900",
        f"/admin/clients?done=disabled.done&id={client.id}", "/admin/accounts?done=reset.done&login=HÃY+GỌI+1900",
        "/admin/accounts?done=disabled.done&login=quan.tri",
    ):  # fmt: skip
        page = await browser.get(path)
        assert page.status == 200
        assert 'class="note good"' not in page.response.text, path
        assert "1900" not in page.text, path
    done = await browser.send((await browser.get("/admin/clients")).form("/admin/clients"))
    assert 'class="note good"' in done.response.text
    assert "Ứng dụng lạ" in done.text


@pytest.mark.parametrize("role", ["patient", "practitioner", "auditor"])
async def test_nobody_else_administers(p: Place, role: str) -> None:
    browser, _ = await p.signed_in(role, "ai.do")
    for path in ("/admin/accounts", "/admin/clients"):
        assert (await browser.get(path)).status == 403
    assert (await browser.post("/admin/accounts/state", {"id": "x", "do": "disable"})).status_code == 403


async def test_an_administrator_stops_an_application(p: Place) -> None:
    client, _ = await p.flow.app(client_name="Ứng dụng lạ")
    browser, _ = await p.signed_in("administrator", "quan.tri")
    page = await browser.get("/admin/clients")
    assert "Ứng dụng lạ" in page.text
    assert (await browser.send(page.form("/admin/clients"))).status == 200
    found = await p.flow.authority.clients.get(client.id)
    assert found is not None
    assert not found.enabled


