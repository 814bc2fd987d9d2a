"""What all pages share: who asks and in which language, how a page is made from its template, and the headers that guard it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from health_hub import __version__
from health_hub.auth import cookies, csrf
from health_hub.auth.authority import Authority, Facility
from health_hub.auth.cookies import Cookie
from health_hub.auth.external import External
from health_hub.auth.model import Account, Session
from health_hub.auth.own import Own
from health_hub.auth.signin import FOR_FACILITY, Caller, SignedIn, SignIn
from health_hub.web import forms, times
from health_hub.web.static import Static
from health_hub.web.texts import LANGUAGES, Language, text

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
LANGUAGE_SECONDS = 365 * 86_400
BOTH = frozenset(("authorize", "ended", "kept", "kept.role", "kept.gone", "kept.away"))  # errors told in both languages
ASKED_LANG = "lang-asked"  # cookie: ui_locales of an authorization under way


class PageError(Exception):
    """Ends a request with the error page. `key`: of texts "error.<key>" and "error.<key>.lead"."""

    def __init__(self, status: int, key: str = "") -> None:
        super().__init__(f"{status} {key}")
        self.status, self.key = status, key or str(status)


class Redirect(Exception):
    """No error: the way a page sends the person elsewhere first."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass
class Visit:
    """One request of a browser. secret: value of the cookie its forms are bound to; cookies: what the answer sets."""

    request: Request
    lang: Language
    account: Account | None = None
    session: Session | None = None
    browser: str = ""
    secret: str = ""
    cookies: list[Cookie] = field(default_factory=list)

    @property
    def csrf(self) -> str:
        return csrf.token(self.secret) if self.secret else ""

    @property
    def here(self) -> str:
        """Path and query of the page, for links that come back to it."""
        url = self.request.url
        return f"{url.path}?{url.query}" if url.query else url.path

    def query(self, name: str, most: int = 1000) -> str:
        value = self.request.query_params.get(name, "")
        return "" if len(value) > most or "\0" in value else value


@dataclass(frozen=True, slots=True)
class Signed:
    """Who is signed in, where a page needs somebody."""

    account: Account
    session: Session


class Site:
    """One a process."""

    def __init__(self, authority: Authority | None, zone: str = "Asia/Ho_Chi_Minh") -> None:
        self._authority, self.zone, self.static = authority, zone, Static()
        self.https = authority is not None and authority.issuer.startswith("https:")
        if authority is not None:
            self.zone = authority.settings.zone
            self._signin = SignIn(authority)
            self._own = Own(self._signin)
            self._external = External(authority, authority.fetch)
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
            auto_reload=False,
        )  # fmt: skip
        self._templates.globals.update(
            t=_text, told=text,
            moment=self._moment, clock=self._clock, day=self._day, duration=_duration, fhir_date=_fhir_date, static=self.static,
            version=__version__,
        )  # fmt: skip

    @property
    def authority(self) -> Authority:
        if self._authority is None:
            raise PageError(404)
        return self._authority

    @property
    def signin(self) -> SignIn:
        return self._signin

    @property
    def own(self) -> Own:
        return self._own

    @property
    def external(self) -> External:
        return self._external

    # Who asks

    async def visit(self, request: Request) -> Visit:
        """Who asks; a browser without the cookie that binds forms gets one."""
        # What the person chose, or what the application whose request this browser follows asked for.
        lang = next((c for c in map(request.cookies.get, ("lang", ASKED_LANG)) if c in LANGUAGES), LANGUAGES[0])
        visit = Visit(request, lang)
        if self._authority is None:
            return visit
        visit.browser = request.cookies.get(cookies.name("browser", https=self.https), "")
        if not 40 <= len(visit.browser) <= cookies.VALUE_MAX:
            visit.browser = cookies.secret()
            visit.cookies.append(cookies.cookie("browser", visit.browser, https=self.https))
        visit.secret = visit.browser
        session = request.cookies.get(cookies.name("session", https=self.https))
        found = await self._authority.sessions.of(session)
        if found is not None and session:
            visit.session, visit.account = found
            visit.secret = session
        return visit

    async def person(self, visit: Visit) -> Signed:
        """Who is signed in. Raises Redirect to the sign-in page, which comes back here."""
        if visit.account is None or visit.session is None:
            here = visit.here if visit.request.method == "GET" else visit.request.url.path
            raise Redirect(f"/sign-in?next={quote(here, safe='')}")
        return Signed(visit.account, visit.session)

    async def role(self, visit: Visit, *roles: str) -> Signed:
        """Who is signed in, of one of these roles. Raises PageError 403."""
        signed = await self.person(visit)
        if signed.account.role not in roles:
            raise PageError(403)
        return signed

    async def facilities(self, account: Account) -> Sequence[Facility]:
        """What the person may choose to act for."""
        return await self.authority.facilities(account) if account.role in FOR_FACILITY else ()

    def caller(self, visit: Visit) -> Caller:
        request = visit.request
        return Caller(
            address=request.client.host if request.client else "", agent=request.headers.get("user-agent", ""), browser=visit.browser,
            session=request.cookies.get(cookies.name("session", https=self.https)),
            device=request.cookies.get(cookies.name("device", https=self.https)),
        )  # fmt: skip

    async def form(self, visit: Visit) -> forms.Form:
        """The form that was sent. Raises PageError 403 unless one of our own pages, in this browser and session, sent it."""
        if not self.own_page(visit.request):
            raise PageError(403, "form")
        form = await forms.read(visit.request)
        if not csrf.valid(visit.secret, form.get("csrf")):
            raise PageError(403, "form")
        return form

    def own_page(self, request: Request) -> bool:
        headers = {k: v for k, v in request.headers.items() if k in ("origin", "sec-fetch-site")}
        origin = self._authority.issuer if self._authority else f"{request.url.scheme}://{request.url.netloc}"
        return csrf.own_origin(headers, origin)

    # What is answered

    def page(self, visit: Visit, template: str, status: int = 200, *, form_action: tuple[str, ...] = (), **values: object) -> Response:
        """form_action: addresses a form's answer may lead to besides our own pages."""
        body = self._templates.get_template(template).render(
            lang=visit.lang, account=visit.account, csrf=visit.csrf, path=visit.request.url.path, here=visit.here, zone=self.zone,
            **{"plain": False, **values},
        )  # fmt: skip
        return self.finish(visit, HTMLResponse(body, status, headers={"Content-Security-Policy": policy(form_action)}))

    def error(self, visit: Visit, status: int, key: str = "", details: Mapping[str, str] | None = None) -> Response:
        key = key or (str(status) if status in (400, 403, 404, 405, 413, 429) else "500")
        return self.page(visit, "error.html", status, key=key, details=details or {}, both=key in BOTH)

    def to(self, visit: Visit, address: str) -> Response:
        """Go on elsewhere with GET."""
        return self.finish(visit, RedirectResponse(address, 303))

    def signed_in(self, visit: Visit, signed: SignedIn, address: str) -> Response:
        """Go on as who has just signed in; the browser's cookie from before is replaced too."""
        visit.cookies[:] = self.cookies_of(signed)
        return self.to(visit, address)

    def cookies_of(self, signed: SignedIn) -> list[Cookie]:
        return [cookies.cookie("session", signed.cookie, https=self.https), cookies.cookie("device", signed.device, https=self.https)]

    def finish(self, visit: Visit, response: Response) -> Response:
        for name, value in _GUARDS.items():
            response.headers.setdefault(name, value)
        for cookie in visit.cookies:
            response.set_cookie(**cookie.options())
        return response

    # In templates

    def _moment(self, seconds: float, lang: Language) -> Markup:
        at = times.local(seconds, self.zone)
        return Markup('<time datetime="{}" class="nowrap">{}</time>').format(at.isoformat(timespec="seconds"), times.moment(at, lang))

    def _clock(self, seconds: float) -> Markup:
        at = times.local(seconds, self.zone)
        return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), times.clock(at))

    def _day(self, seconds: float, lang: Language) -> str:
        return times.day(times.local(seconds, self.zone), datetime.now(times.local(seconds, self.zone).tzinfo), lang)


_GUARDS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


def policy(form_action: tuple[str, ...] = ()) -> str:
    """Content-Security-Policy of a page."""
    actions = " ".join(("'self'", *form_action))
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        f"form-action {actions}; frame-ancestors 'none'; base-uri 'none'"
    )


def source(uri: str) -> tuple[str, ...]:
    """The source expression that lets a form's answer lead to `uri`: Chromium holds redirects after a form to form-action too."""
    parts = urlsplit(uri)
    if not parts.scheme.replace("+", "").replace("-", "").replace(".", "").isalnum():
        return ()
    if parts.scheme not in ("http", "https"):
        return (f"{parts.scheme}:",)
    host = parts.netloc.rpartition("@")[2]
    if "[" in host:
        return (f"{parts.scheme}:",)  # source expressions have no IPv6 addresses (CSP 3, 2.3.1)
    return (f"{parts.scheme}://{host}",) if host and not set(host) & set(" ;,'\"") else ()


@pass_context
def _text(context: Context, key: str, /, **values: Any) -> str:
    """Markup among the values stays markup; all else is escaped, here or by the template."""
    if any(isinstance(v, Markup) for v in values.values()):
        return escape(text(key, context["lang"])).format(**values)
    return text(key, context["lang"], **values)


def _duration(seconds: int, lang: Language) -> str:
    return times.duration(seconds, lang)


def _fhir_date(value: str, lang: Language) -> str:
    return times.fhir_date(value, lang)
