"""Connecting a device: code, question, answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from health_hub.auth.device import GRANT
from health_hub.store.store import Store
from tests.web.browser import Place, place


@pytest.fixture
async def p(store: Store) -> AsyncIterator[Place]:
    async with place(store) as found:
        yield found


async def begun(p: Place, **more: Any) -> tuple[Any, dict[str, Any]]:
    client, _ = await p.flow.app(grant_types=(GRANT,), client_name="Máy đo trạm y tế", **more)
    return client, await p.flow.authority.devices.begin(client, "openid patient/*.rs")


async def test_a_person_types_the_code_agrees_and_the_device_is_let_in(p: Place) -> None:
    client, asked = await begun(p)
    browser, _ = await p.signed_in()
    page = await browser.get("/device")
    ask = await browser.send(page.form("/device"), {"user_code": asked["user_code"].lower().replace("-", " ")})
    assert "Máy đo trạm y tế" in ask.text
    done = await browser.send(ask.form("/device"), {"answer": "allow"})
    assert "Thiết bị đã được kết nối" in done.text
    approved = await p.flow.authority.devices.poll(client, asked["device_code"])
    assert (approved.scope, approved.patient) == ("openid patient/*.rs", "bn-001")
    again = await browser.send(page.form("/device"), {"user_code": asked["user_code"]})
    assert again.status == 422


async def test_a_person_refuses(p: Place) -> None:
    client, asked = await begun(p)
    browser, _ = await p.signed_in()
    ask = await browser.send((await browser.get("/device")).form("/device"), {"user_code": asked["user_code"]})
    done = await browser.send(ask.form("/device"), {"answer": "deny"})
    assert "Bạn đã từ chối" in done.text
    with pytest.raises(Exception, match="access_denied"):
        await p.flow.authority.devices.poll(client, asked["device_code"])


async def test_a_link_with_the_code_still_asks(p: Place) -> None:
    _, asked = await begun(p)
    browser, _ = await p.signed_in()
    page = await browser.get(f"/device?user_code={asked['user_code']}")
    assert "Chỉ tiếp tục nếu thiết bị đang ở trước mặt bạn" in page.text
    assert ("user_code", asked["user_code"]) in page.form("/device").fields


async def test_wrong_codes_are_slowed_and_who_is_not_signed_in_signs_in_first(p: Place) -> None:
    stranger = p.browser()
    assert (await stranger.get("/device")).response.url.path == "/sign-in"
    browser, _ = await p.signed_in()
    form = (await browser.get("/device")).form("/device")
    statuses = [(await browser.send(form, {"user_code": "BCDF-GHJK"})).status for _ in range(14)]
    assert statuses[0] == 422
    assert statuses[-1] == 429


async def test_the_form_is_bound_to_the_session(p: Place) -> None:
    _, asked = await begun(p)
    browser, _ = await p.signed_in()
    form = (await browser.get("/device")).form("/device")
    assert (await browser.send(form, {"user_code": asked["user_code"], "csrf": "x"})).status == 403
