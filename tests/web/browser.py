"""A browser without JavaScript: it keeps cookies, reads forms and sends them as they stand in the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpx

from health_hub.auth.model import Account
from health_hub.auth.signin import SignIn
from health_hub.store.store import Store
from health_hub.web.pages import pages
from tests.auth.door import ISSUER
from tests.auth.flow import Flow, flow

PASSWORD = "ruộng bậc thang mùa nước đổ"


@dataclass
class Form:
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """A page as a person and a screen reader have it. text: what is read; forms: with what would be sent."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response, self.status = response, response.status_code
        self.forms: list[Form] = []
        self.text, self.links, self.tags = "", [], []  # type: str, list[str], list[tuple[str, dict[str, str]]]
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        had = {k: v or "" for k, v in attrs}
        self.tags.append((tag, had))
        name, value = had.get("name", ""), had.get("value", "")
        if tag == "form":
            self.forms.append(Form(had.get("action", "")))
        elif tag == "a":
            self.links.append(had.get("href", ""))
        elif name and self.forms and tag == "button":
            self.forms[-1].buttons.append((name, value))
        elif name and self.forms and tag == "input" and (had.get("type") not in ("checkbox", "radio") or "checked" in had):
            self.forms[-1].fields.append((name, value or ("on" if had.get("type") == "checkbox" else "")))

    def handle_data(self, data: str) -> None:
        self.text += data

    def form(self, action: str) -> Form:
        found = [f for f in self.forms if urlsplit(f.action).path == action]
        assert found, f"no form for {action} in:\n{self.text}"
        return found[0]


class Browser:
    def __init__(self, app: Any, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("198.51.100.7", 4000)), base_url=issuer)
        self.at = "/"

    async def get(self, path: str) -> Page:
        """Follows redirects within the hub; one that leads elsewhere is the answer."""
        return await self._follow(await self.http.get(path))

    async def send(self, form: Form, values: dict[str, str] | None = None, *, drop: tuple[str, ...] = (), **headers: str) -> Page:
        """As it stands, with some fields filled in."""
        values = values or {}
        sent = [(k, v) for k, v in form.fields if k not in values and k not in drop] + list(values.items())
        return await self._follow(await self.post(form.action, sent, **headers))

    async def post(self, path: str, fields: list[tuple[str, str]] | dict[str, str], **headers: str) -> httpx.Response:
        given = {"content-type": "application/x-www-form-urlencoded", "origin": self.issuer, "sec-fetch-site": "same-origin"}
        given |= {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.http.post(path, content=urlencode(fields), headers=given)

    async def _follow(self, response: httpx.Response) -> Page:
        for _ in range(10):
            where = urljoin(str(response.url), response.headers.get("location", ""))
            if response.status_code not in (302, 303, 307) or not where.startswith(f"{self.issuer}/"):
                break
            response = await self.http.get(where)
        self.at = response.url.raw_path.decode()
        return Page(response)

    async def sign_in(self, login: str, password: str = PASSWORD, *, next: str = "/") -> Page:
        page = await self.get("/sign-in?" + urlencode({"next": next}))
        return await self.send(page.form("/sign-in"), {"login": login, "password": password})


@dataclass
class Place:
    """A hub with its pages."""

    flow: Flow
    app: Any

    @property
    def signin(self) -> SignIn:
        return SignIn(self.flow.authority)

    def browser(self) -> Browser:
        return Browser(self.app)

    async def person(self, role: str = "patient", login: str = "bn.hoa", **more: Any) -> Account:
        account = await self.flow.person(role, login, **more)
        await self.signin.passwords.set(account, PASSWORD)
        return account

    async def signed_in(self, role: str = "patient", login: str = "bn.hoa", **more: Any) -> tuple[Browser, Account]:
        account, browser = await self.person(role, login, **more), self.browser()
        page = await browser.sign_in(login)
        assert page.status == 200, page.text
        return browser, account


@asynccontextmanager
async def place(store: Store, **settings: Any) -> AsyncIterator[Place]:
    async def ready() -> None:
        await store.ready()

    async with flow(store, **settings) as f:
        yield Place(f, pages(ready, f.authority))
