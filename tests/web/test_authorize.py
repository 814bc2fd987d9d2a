"""From an application's request to its tokens by the pages, as a person without JavaScript goes."""

import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from health_hub.auth import launch
from health_hub.auth.launch import Launch
from health_hub.auth.model import Client
from health_hub.store.store import Store
from tests.auth.flow import REDIRECT, query, request
from tests.web.browser import Browser, Page, Place, place

VERIFIER = "v" * 43


@pytest.fixture
async def p(store: Store) -> AsyncIterator[Place]:
    async with place(store) as found:
        yield found


async def ask(browser: Browser, client: Client, **params: Any) -> Page:
    given = {k: v for k, v in (request(client, VERIFIER) | params).items() if v is not None}
    return await browser.get("/auth/authorize?" + urlencode(given))


def returned(page: Page) -> dict[str, str]:
    """What the application hears."""
    where = page.response.headers["location"]
    assert where.startswith(f"{REDIRECT}?"), where
    return query(where)


async def allow(browser: Browser, page: Page, **values: str) -> Page:
    return await browser.send(page.form("/auth/consent"), {"answer": "allow"} | values)


async def test_a_patient_signs_in_agrees_and_the_application_reads_on(p: Place) -> None:
    client, _ = await p.flow.app(client_name="Sổ sức khoẻ")
    await p.person()
    browser = p.browser()
    page = await ask(browser, client, scope="openid fhirUser launch/patient offline_access patient/*.rs")
    assert "để tiếp tục với Sổ sức khoẻ" in page.text
    page = await browser.send(page.form("/sign-in"), {"login": "bn.hoa", "password": "ruộng bậc thang mùa nước đổ"})
    assert browser.at.startswith("/auth/consent")
    for said in ("Sổ sức khoẻ", "Xem toàn bộ hồ sơ sức khoẻ", "Giữ quyền cả khi bạn không dùng ứng dụng"):
        assert said in page.text
    answer = returned(await allow(browser, page))
    assert answer["state"] == "a-state"
    token = (await p.flow.redeem(client, answer["code"], VERIFIER)).json()
    assert token["patient"] == "bn-001"
    assert set(token["scope"].split()) == {"openid", "fhirUser", "launch/patient", "offline_access", "patient/*.rs"}
    assert await p.flow.alive(token["access_token"])


@pytest.mark.parametrize(("locales", "english"), [
    (None, False), ("en", True), ("fr en-GB vi", True), ("vi en", False), ("fr", False), ("", False), ("EN-us", True), ("<b> ../en", False),
])  # fmt: skip
async def test_the_pages_are_in_a_language_that_the_application_asks_for(p: Place, locales: str | None, english: bool) -> None:
    """From the sign-in to the consent, for this authorization; what the person has chosen here stands above it."""
    client, _ = await p.flow.app()
    await p.person()
    browser = p.browser()
    page = await ask(browser, client, ui_locales=locales)
    assert ('<html lang="en"' in page.response.text) == english
    page = await browser.send(page.form("/sign-in"), {"login": "bn.hoa", "password": "ruộng bậc thang mùa nước đổ"})
    assert browser.at.startswith("/auth/consent")
    assert ('<html lang="en"' in page.response.text) == english
    browser.http.cookies.set("lang", "vi")
    assert '<html lang="vi"' in (await ask(browser, client, ui_locales=locales)).response.text


async def test_what_is_unticked_is_not_granted(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    page = await ask(browser, client, scope="openid fhirUser offline_access patient/*.rs")
    form = page.form("/auth/consent")
    form.fields = [f for f in form.fields if f[1] not in ("offline_access", "fhirUser")]
    answer = returned(await browser.send(form, {"answer": "allow"}))
    token = (await p.flow.redeem(client, answer["code"], VERIFIER)).json()
    assert set(token["scope"].split()) == {"openid", "patient/*.rs"}
    assert "refresh_token" not in token


async def test_nothing_ticked_is_asked_again_and_grants_nothing(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    form = (await ask(browser, client)).form("/auth/consent")
    form.fields = [f for f in form.fields if f[0] != "scope"]
    page = await browser.send(form, {"answer": "allow"})
    assert page.status == 422
    assert "Hãy chọn ít nhất một quyền" in page.text


async def test_scopes_that_were_not_offered_cannot_be_ticked(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    form = (await ask(browser, client, scope="openid patient/Observation.rs")).form("/auth/consent")
    form.fields += [("scope", "patient/*.cruds"), ("scope", "offline_access"), ("scope", "openid openid")]
    answer = returned(await browser.send(form, {"answer": "allow"}))
    token = (await p.flow.redeem(client, answer["code"], VERIFIER)).json()
    assert set(token["scope"].split()) == {"openid", "patient/Observation.rs"}


async def test_refusing_tells_the_application_access_denied(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    page = await ask(browser, client)
    answer = returned(await browser.send(page.form("/auth/consent"), {"answer": "deny"}))
    assert (answer["error"], answer["state"]) == ("access_denied", "a-state")
    again = await browser.send(page.form("/auth/consent"), {"answer": "allow"})
    assert again.status == 400
    assert "location" not in again.response.headers


async def test_consent_needs_our_form(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    form = (await ask(browser, client)).form("/auth/consent")
    for page in (
        await browser.send(form, {"answer": "allow", "csrf": "0" * 64}),
        await browser.send(form, {"answer": "allow"}, drop=("csrf",)),
        await browser.send(form, {"answer": "allow"}, sec_fetch_site="cross-site", origin="https://evil.example"),
    ):
        assert page.status == 403
    other, _ = await p.signed_in("patient", "someone.else")
    theirs = (await ask(other, client)).form("/auth/consent")
    assert (await browser.send(theirs, {"answer": "allow"})).status == 403


async def test_an_authorization_of_another_browser_cannot_be_answered(p: Place) -> None:
    client, _ = await p.flow.app()
    one, _ = await p.signed_in()
    two, _ = await p.signed_in("patient", "someone.else")
    page, own = await ask(one, client), await ask(two, client)
    id = dict(page.form("/auth/consent").fields)["id"]
    assert (await two.send(own.form("/auth/consent"), {"id": id, "answer": "allow"})).status == 400
    assert (await two.get(f"/auth/continue?id={id}")).status == 400


async def test_who_agreed_before_is_not_asked_again(p: Place) -> None:
    client, _ = await p.flow.app(scope="openid fhirUser launch/patient patient/*.cruds")
    browser, _ = await p.signed_in()
    await allow(browser, await ask(browser, client))
    assert "code" in returned(await ask(browser, client))
    await ask(browser, client, scope="openid fhirUser launch/patient patient/*.cruds")
    assert browser.at.startswith("/auth/consent")


async def test_prompt_none_shows_no_page(p: Place) -> None:
    client, _ = await p.flow.app()
    assert returned(await ask(p.browser(), client, prompt="none"))["error"] == "login_required"
    browser, _ = await p.signed_in()
    assert returned(await ask(browser, client, prompt="none"))["error"] == "consent_required"


async def test_prompt_login_asks_who_is_signed_in_to_sign_in_again(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, account = await p.signed_in()
    session = (await p.flow.authority.sessions.list(account.id))[0].session
    records = p.flow.authority.store.records
    record = await records.get("session", session.id)
    assert record
    await records.put("session", session.id, record.data | {"signed_in": session.signed_in - 60}, refs=(f"account/{account.id}",))
    page = await ask(browser, client, prompt="login")
    assert browser.at.startswith("/sign-in")
    await browser.send(page.form("/sign-in"), {"login": "bn.hoa", "password": "ruộng bậc thang mùa nước đổ"})
    assert browser.at.startswith("/auth/consent")


@pytest.mark.parametrize("params", [
    {"redirect_uri": "https://evil.example/cb"}, {"client_id": "nobody"}, {"client_id": "\"><script>alert(1)</script>"},
    {"redirect_uri": "javascript:alert(1)"}, {"request_uri": "urn:ietf:params:oauth:request_uri:unknown"},
])  # fmt: skip
async def test_a_request_that_cannot_be_trusted_ends_here_in_both_languages(p: Place, params: dict[str, str]) -> None:
    client, _ = await p.flow.app()
    page = await ask(p.browser(), client, **params)
    assert page.status == 400
    assert "location" not in page.response.headers
    assert "không hợp lệ" in page.text
    assert "not valid" in page.text
    assert "<script>" not in page.response.text


async def test_other_errors_go_back_to_the_application(p: Place) -> None:
    client, _ = await p.flow.app()
    answer = returned(await ask(p.browser(), client, scope="patient/Unheard.rs"))
    assert (answer["error"], answer["state"]) == ("invalid_scope", "a-state")


async def test_the_request_may_be_posted(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    response = await browser.post("/auth/authorize", request(client, VERIFIER), origin=REDIRECT, sec_fetch_site="cross-site")
    assert response.status_code == 303
    assert response.headers["location"].startswith("/auth/consent?")


async def test_a_practitioner_of_several_facilities_chooses_one_then_a_patient(p: Place) -> None:
    client, _ = await p.flow.app()
    account = await p.person("practitioner", "bs.lan", sees=("bn-001", "bn-002"), organizations=("Organization/a", "Organization/b"))
    browser = p.browser()
    page = await ask(browser, client)
    page = await browser.send(page.form("/sign-in"), {"login": "bs.lan", "password": "ruộng bậc thang mùa nước đổ"})
    assert browser.at.startswith("/auth/facility")
    wrong = await browser.send(page.form("/auth/facility"), {"organization": "Organization/z"})
    assert wrong.status == 422
    page = await browser.send(page.form("/auth/facility"), {"organization": "Organization/b"})
    assert browser.at.startswith("/auth/patient")
    found = await browser.get(f"{browser.at}&q=bn")
    assert ("patient", "bn-002") in found.form("/auth/patient").buttons or found.forms[-1].buttons
    picks = found.forms[-1]
    assert (await browser.send(picks, {"patient": "bn-009"})).status == 422
    page = await browser.send(picks, {"patient": "bn-002"})
    assert browser.at.startswith("/auth/consent")
    answer = returned(await allow(browser, page))
    token = (await p.flow.redeem(client, answer["code"], VERIFIER)).json()
    assert token["patient"] == "bn-002"
    claims = p.flow.authority.tokens.verify(token["access_token"])
    assert (claims.organization, claims.subject) == ("Organization/b", account.id)


async def test_a_carer_chooses_among_their_own_without_searching(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in("carer", "me.an", sees=("be-01", "be-02"))
    page = await ask(browser, client)
    assert not [f for f in page.forms if any(n == "q" for n, _ in f.fields)]
    assert [v for _, v in page.form("/auth/patient").buttons] == ["be-01", "be-02"]


async def test_an_ehr_launch_brings_its_patient_and_no_picker(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, account = await p.signed_in("practitioner", "bs.lan", sees=("bn-007",))
    value = await launch.create(p.flow.authority.store.records, Launch(client.id, account.id, "bn-007"))
    page = await ask(browser, client, launch=value, scope="openid launch patient/*.rs")
    assert browser.at.startswith("/auth/consent")
    token = (await p.flow.redeem(client, returned(await allow(browser, page))["code"], VERIFIER)).json()
    assert token["patient"] == "bn-007"


async def test_a_registered_application_is_marked_and_its_name_is_text(p: Place) -> None:
    client, _ = await p.flow.app(client_name="<b>Bộ Y tế</b>", registered=True)
    browser, _ = await p.signed_in()
    page = await ask(browser, client)
    assert "<b>Bộ Y tế</b>" in page.text
    assert not any(tag == "b" for tag, _ in page.tags)
    assert "chưa được kiểm chứng" in page.text


async def test_a_patients_name_is_shown_as_text(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in("carer", "me.an", sees=('"><img src=x>',))
    page = await ask(browser, client)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert '"><img src=x>' in page.text


async def test_only_the_applications_own_address_may_follow_a_form(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    page = await ask(browser, client)
    policy = page.response.headers["content-security-policy"]
    assert "form-action 'self' https://app.example.vn;" in policy
    assert "form-action 'self';" in (await browser.get("/")).response.headers["content-security-policy"]


async def test_two_answers_give_one_code(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    page = await ask(browser, client)
    assert "code" in returned(await allow(browser, page))
    assert (await allow(browser, page)).status == 400


async def test_state_and_nonce_of_any_kind_come_back_whole(p: Place) -> None:
    client, _ = await p.flow.app()
    browser, _ = await p.signed_in()
    state = "&error=x#" + secrets.token_urlsafe(8) + " đ%0d%0aSet-Cookie: a=b"
    assert returned(await allow(browser, await ask(browser, client, state=state)))["state"] == state
