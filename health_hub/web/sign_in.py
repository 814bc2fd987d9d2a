"""Signing in: login and password or a passkey, then a code where there is a second factor; and showing again who one is."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from health_hub.auth import cookies
from health_hub.auth.signin import Next, Refused, SignedIn
from health_hub.web import forms, waiting
from health_hub.web.refusals import told
from health_hub.web.site import Redirect, Site, Visit

_METHODS = ("totp", "recovery", "passkey")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/sign-in")
    async def start(request: Request) -> Response:
        """`next`: where to go on, a path of ours; `again`: also who is signed in already signs in (OpenID Connect's prompt=login)."""
        visit = await site.visit(request)
        if visit.account and not visit.query("again"):
            return site.to(visit, _next(visit))
        return await _start(site, visit, _next(visit))

    @routes.post("/sign-in")
    async def password(request: Request) -> Response:
        visit = await site.visit(request)
        form = await site.form(visit)
        onward, login = forms.local_path(form.get("next", 8192)), form.get("login", 400)
        empty = [name for name, value in (("login", login.strip()), ("password", form.get("password"))) if not value]
        if empty:
            return await _start(site, visit, onward, login=login, empty=empty, status=422)
        try:
            step = await site.signin.begin(login, form.get("password"), site.caller(visit))
        except Refused as e:
            return await _start(site, visit, onward, login=login, refused=e, status=429 if e.reason in ("wait", "busy") else 422)
        return await go_on(site, visit, step, onward)

    @routes.post("/sign-in/passkey")
    async def passkey(request: Request) -> Response:
        visit = await site.visit(request)
        form = await site.form(visit)
        onward = forms.local_path(form.get("next", 8192))
        try:
            step = await site.signin.passkey(form.get("answer", forms.VALUE_MAX), site.caller(visit))
        except Refused as e:
            return await _start(site, visit, onward, refused=e, status=422)
        return await go_on(site, visit, step, onward)

    @routes.get("/sign-in/code")
    async def code_page(request: Request) -> Response:
        visit = await site.visit(request)
        return await _code(site, visit, visit.query("id", 64), visit.query("methods").split(), _next(visit))

    @routes.post("/sign-in/code")
    async def code(request: Request) -> Response:
        visit = await site.visit(request)
        form = await site.form(visit)
        id, methods, onward = form.get("id", 64), form.get("methods").split(), forms.local_path(form.get("next", 8192))
        field = "recovery" if form.get("recovery").strip() else "code"
        try:
            signed = await site.signin.second(id, form.get(field, 60), site.caller(visit))
        except Refused as e:
            if e.reason == "expired":
                return await _start(site, visit, onward, refused=e, status=422)
            return await _code(site, visit, id, methods, onward, refused=e, field=field)
        return await go_on(site, visit, signed, onward)

    @routes.get("/sign-in/enrol")
    async def enrol_page(request: Request) -> Response:
        """The role needs a second factor and this person has none yet."""
        visit = await site.visit(request)
        id, onward = visit.query("id", 64), _next(visit)
        try:
            enrolment = await site.signin.enrol(id, site.caller(visit))
        except Refused as e:
            return await _start(site, visit, onward, refused=e, status=422)
        return site.page(visit, "enrol.html", plain=True, id=id, onward=onward, enrolment=enrolment, error="", action="/sign-in/enrol")

    @routes.post("/sign-in/enrol")
    async def enrol(request: Request) -> Response:
        visit = await site.visit(request)
        form = await site.form(visit)
        id, onward = form.get("id", 64), forms.local_path(form.get("next", 8192))
        try:
            signed, codes = await site.signin.enrolled(id, form.get("code", 20), site.caller(visit))
        except Refused as e:
            if e.reason == "expired":
                return await _start(site, visit, onward, refused=e, status=422)
            # The secret is shown once: the person's application has it, and a second one would be another.
            return site.page(
                visit, "enrol.html", 422, plain=True, id=id, onward=onward, enrolment=None, error=told(e, visit.lang),
                action="/sign-in/enrol",
            )  # fmt: skip
        visit.cookies[:] = site.cookies_of(signed)
        return site.page(visit, "recovery_codes.html", plain=True, codes=codes, onward=onward)

    @routes.get("/sign-in/again")
    async def again_page(request: Request) -> Response:
        visit = await site.visit(request)
        return await _again(site, visit, _next(visit, "/account"))

    @routes.post("/sign-in/again")
    async def again(request: Request) -> Response:
        """The same person shows again who they are; the session's cookie gets a new secret."""
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        onward, caller = forms.local_path(form.get("next", 8192), "/account"), site.caller(visit)
        try:
            if answer := form.get("answer", forms.VALUE_MAX):
                value, _ = await site.signin.step_up_passkey(signed.account, signed.session, answer, caller)
            else:
                value, _ = await site.signin.step_up(
                    signed.account, signed.session, caller, password=form.get("password"), code=form.get("code", 60)
                )
        except Refused as e:
            return await _again(site, visit, onward, refused=e)
        visit.cookies.append(cookies.cookie("session", value, https=site.https))
        return site.to(visit, onward)

    return routes


def _next(visit: Visit, default: str = "/") -> str:
    return forms.local_path(visit.query("next", 8192), default)


async def _start(
    site: Site, visit: Visit, onward: str, *, login: str = "", refused: Refused | None = None, empty: list[str] | None = None,
    status: int = 200,
) -> Response:
    waits = await waiting.find(site, visit, onward)
    return site.page(
        visit, "sign_in.html", status, form_action=waits.form_action, plain=True, onward=onward, login=login or waits.login,
        refused=refused, error=told(refused, visit.lang), empty=empty or [], app=waits.name, passkey=await _options(site, visit),
        external=site.authority.settings.external_name if site.authority.settings.external_issuer else "",
    )  # fmt: skip


async def _code(
    site: Site, visit: Visit, id: str, methods: list[str], onward: str, *, refused: Refused | None = None, field: str = "code"
) -> Response:
    waits = await waiting.find(site, visit, onward)
    status = 200 if refused is None else 429 if refused.reason in ("wait", "busy") else 422
    kept = [m for m in methods if m in _METHODS]
    return site.page(
        visit, "code.html", status, form_action=waits.form_action, plain=True, onward=onward, id=id, methods=kept,
        error=told(refused, visit.lang), field_name=field, passkey=await _options(site, visit) if "passkey" in kept else None,
    )  # fmt: skip


async def _again(site: Site, visit: Visit, onward: str, *, refused: Refused | None = None) -> Response:
    signed = await site.person(visit)
    account = signed.account
    status = 200 if refused is None else 429 if refused.reason in ("wait", "busy") else 422
    return site.page(
        visit, "again.html", status, onward=onward, refused=refused, error=told(refused, visit.lang),
        password=await site.signin.passwords.present(account), totp=await site.signin.totp.present(account),
        passkey=await _options(site, visit) if await site.signin.passkeys.list(account) else None,
    )  # fmt: skip


async def _options(site: Site, visit: Visit) -> dict[str, object] | None:
    """What navigator.credentials.get is asked with; None where browsers make no passkeys for this address."""
    if not site.signin.passkeys.possible:
        return None
    try:
        return await site.signin.passkey_options(site.caller(visit))
    except Refused:
        return None


async def go_on(site: Site, visit: Visit, step: SignedIn | Next, onward: str) -> Response:
    if isinstance(step, Next):
        page = "code" if step.step == "code" else "enrol"
        return site.to(visit, f"/sign-in/{page}?" + urlencode({"id": step.id, "methods": " ".join(step.methods), "next": onward}))
    if step.session.organization is None and len(await site.facilities(step.account)) > 1:
        onward = "/auth/facility?" + urlencode({"next": onward})
    return site.signed_in(visit, step, onward)


def again(visit: Visit, path: str) -> Redirect:
    """Before a change of how one signs in."""
    return Redirect("/sign-in/again?" + urlencode({"next": path}))
