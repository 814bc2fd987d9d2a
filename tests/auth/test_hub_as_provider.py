"""Signing in by an external provider that is another hub: two processes, code flow with PKCE between them, a browser at both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from bench import processes
from health_hub.auth.authority import Authority
from health_hub.auth.model import Client
from health_hub.auth.signin import SignIn
from health_hub.settings import Settings
from health_hub.store.store import Store
from tests.auth.hub import PASSWORD
from tests.web.browser import Form, Page

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
THERE, HERE = "cong.dan.1", "bs.lan"  # the same person's names at the provider and here


class Wanderer:
    """A browser without JavaScript that follows redirects from one hub to the other. visited: every address, in order."""

    def __init__(self) -> None:
        # Cookies by host name: the hubs are `localhost` and `127.0.0.1`.
        self.http = httpx.AsyncClient(timeout=30)
        self.visited: list[str] = []

    async def get(self, url: str) -> Page:
        return await self._follow(await self.http.get(url))

    async def send(self, form: Form, values: dict[str, str] | None = None) -> Page:
        values = values or {}
        data = {k: v for k, v in form.fields if k not in values} | values
        url = urljoin(self.at, form.action)
        headers = {"origin": "{0.scheme}://{0.netloc}".format(urlsplit(url)), "sec-fetch-site": "same-origin"}
        return await self._follow(await self.http.post(url, data=data, headers=headers))

    async def sign_in(self, page: Page, login: str) -> Page:
        return await self.send(page.form("/sign-in"), {"login": login, "password": PASSWORD})

    async def _follow(self, answer: httpx.Response) -> Page:
        for _ in range(15):
            self.visited.append(str(answer.url))
            if answer.status_code not in (302, 303, 307):
                break
            answer = await self.http.get(urljoin(str(answer.url), answer.headers["location"]))
        self.at = str(answer.url)
        return Page(answer)


@dataclass
class Two:
    """here relies on there."""

    here: str
    there: str
    logs: Callable[[], str]
    browsers: list[Wanderer] = field(default_factory=list)

    def browser(self) -> Wanderer:
        self.browsers.append(Wanderer())
        return self.browsers[-1]


@pytest.fixture
async def two(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[Two]:
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    there, here = f"http://localhost:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    client = Client(
        id="", client_name="Trạm y tế A", grant_types=("authorization_code",), scope="openid", redirect_uris=(f"{here}/sign-in/external",),
        token_endpoint_auth_method="client_secret_basic",
    )  # fmt: skip
    provider = f"sqlite:///{tmp_path}/provider.db"
    store = await Store.open(provider, base=f"{there}/fhir")
    authority = Authority(store, Settings(base_url=f"{there}/fhir"))
    made, secret = await authority.clients.create(client)
    await SignIn(authority).passwords.set(await authority.accounts.add(THERE, "patient", fhir_user="Patient/cong-dan"), PASSWORD)
    await store.close()
    store = await Store.open(database_url, base=f"{here}/fhir")
    authority = Authority(store, Settings(base_url=f"{here}/fhir"))
    await SignIn(authority).passwords.set(await authority.accounts.add(HERE, "practitioner", fhir_user="Practitioner/lan"), PASSWORD)
    await store.close()

    running: list[processes.Hub] = []
    settings = (
        {"BASE_URL": f"{there}/fhir"},
        {"BASE_URL": f"{here}/fhir", "EXTERNAL_ISSUER": there, "EXTERNAL_CLIENT_ID": made.id, "EXTERNAL_CLIENT_SECRET": secret,
         "EXTERNAL_NAME": "Cổng dân cư", "TRUSTED_HOSTS": urlsplit(there).netloc},
    )  # fmt: skip
    try:
        for url, port, given in zip((provider, database_url), ports, settings, strict=True):
            with monkeypatch.context() as m:
                m.setattr(processes, "free_port", lambda port=port: port)
                for name, value in given.items():
                    m.setenv(f"HEALTH_HUB_{name}", value)
                running.append(await asyncio.to_thread(processes.Hub, url, None, auth=True))
        found = Two(here, there, lambda: "".join(_log(hub) for hub in running))
        yield found
        for browser in found.browsers:
            await browser.http.aclose()
    finally:
        for hub in running:
            await asyncio.to_thread(hub.stop)
            hub.log.close()


def _log(hub: processes.Hub) -> str:
    hub.log.seek(0)
    return hub.log.read().decode(errors="replace")


async def allowed(browser: Wanderer, page: Page) -> Page:
    """The provider asks the person whether the other hub may know who they are, the first time."""
    if any(urlsplit(f.action).path == "/auth/consent" or ("answer", "allow") in f.buttons for f in page.forms):
        form = next(f for f in page.forms if ("answer", "allow") in f.buttons)
        return await browser.send(form, {"answer": "allow"})
    return page


async def test_a_person_links_signs_in_and_out_by_another_hub(two: Two) -> None:
    browser = two.browser()
    # Not linked: the provider knows them, this hub does not.
    page = await browser.get(f"{two.here}/sign-in/external?next=/account")
    assert browser.at.startswith(two.there), page.text
    asked = parse_qs(urlsplit(next(u for u in browser.visited if "/auth/authorize" in u)).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid"]
    page = await allowed(browser, await browser.sign_in(page, THERE))
    assert browser.at.startswith(f"{two.here}/sign-in/external?"), (browser.at, page.text)
    answered = parse_qs(urlsplit(browser.at).query)
    assert answered["iss"] == [two.there]
    assert page.status == 422
    assert "Chưa có tài khoản nào" in page.text
    # An answer that has been taken is none any more.
    assert (await browser.get(browser.at)).status == 422

    # They sign in by password once and link; the provider knows them from before and asks nothing.
    page = await browser.sign_in(await browser.get(f"{two.here}/sign-in?next=/account"), HERE)
    assert urlsplit(browser.at).path == "/account", (browser.at, page.text)
    page = await allowed(browser, await browser.send(page.form("/account/external")))
    assert browser.at.startswith(f"{two.here}/account"), (browser.at, page.text)
    page = await browser.get(f"{two.here}/account")
    assert page.form("/account/external/unlink")

    # Out of this hub: the page is closed, and the way by the provider opens it to the same account.
    page = await browser.send((await browser.get(f"{two.here}/sign-out")).form("/sign-out"))
    await browser.get(f"{two.here}/account")
    assert urlsplit(browser.at).path == "/sign-in"
    page = await allowed(browser, await browser.get(f"{two.here}/sign-in/external?next=/account"))
    assert urlsplit(browser.at).path == "/account", (browser.at, page.text)
    assert HERE in page.text
    assert THERE not in page.text

    # Out of both: who comes to the provider is asked for the password there, and gets in by it.
    await browser.send((await browser.get(f"{two.here}/sign-out")).form("/sign-out"))
    await browser.send((await browser.get(f"{two.there}/sign-out")).form("/sign-out"))
    page = await browser.get(f"{two.here}/sign-in/external?next=/account")
    assert browser.at.startswith(f"{two.there}/sign-in"), browser.at
    page = await allowed(browser, await browser.sign_in(page, THERE))
    assert urlsplit(browser.at).path == "/account", (browser.at, page.text)
    assert browser.at.startswith(two.here)

    # Another browser cannot use an answer of this one.
    stranger = two.browser()
    page = await stranger.get(f"{two.here}/sign-in/external")
    await allowed(stranger, await stranger.sign_in(page, THERE))
    back = next(u for u in reversed(stranger.visited) if "code=" in u)
    assert (await browser.get(back)).status == 422
    log = two.logs()
    assert PASSWORD not in log
    assert parse_qs(urlsplit(back).query)["code"][0] not in log


async def test_the_provider_hub_refuses_what_was_not_agreed_on(two: Two) -> None:
    browser = two.browser()
    await browser.get(f"{two.here}/sign-in/external")
    url = next(u for u in browser.visited if "/auth/authorize" in u)
    other = url.replace("127.0.0.1", "127.0.0.2")
    assert other != url
    page = await two.browser().get(other)
    assert page.status == 400, "a redirect URI that was not registered"
    without = url.partition("&code_challenge=")[0]
    stranger = two.browser()
    page = await stranger.get(without)
    assert "code=" not in stranger.at
    assert page.status >= 400
