"""Signing out: by the person, and at an application's wish (OpenID Connect RP-Initiated Logout 1.0)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import cookies, logout
from health_hub.auth.logout import LogoutPlan
from health_hub.web import forms
from health_hub.web.site import Site, Visit, source

ASKED = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales", "logout_hint")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/sign-out")
    async def ask(request: Request) -> Response:
        visit = await site.visit(request)
        return _ask(site, visit) if visit.session else site.to(visit, "/")

    @routes.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        visit = await site.visit(request)
        await site.form(visit)
        if visit.session is not None:
            await site.signin.sign_out(visit.session, site.caller(visit).address)
        return _done(site, visit)

    @routes.get("/auth/logout")
    async def wished(request: Request) -> Response:
        visit = await site.visit(request)
        return await _wished(site, visit, request.query_params.multi_items())

    @routes.post("/auth/logout")
    async def wished_or_agreed(request: Request) -> Response:
        """An application's form (of another site, without our csrf), or the person's answer to our question."""
        visit = await site.visit(request)
        if not site.own_page(request):
            return await _wished(site, visit, (await forms.read(request)).pairs())
        form = await site.form(visit)
        params = {name: form.get(name, 8192) for name in ASKED if form.get(name, 8192)}
        plan = await logout.plan(site.authority, params, visit.session)
        return await _carry_out(site, visit, plan)

    return routes


async def _wished(site: Site, visit: Visit, pairs: list[tuple[str, str]]) -> Response:
    params = {name: value for name, value in pairs if name in ASKED and len(value) <= 8192}
    if len([name for name, _ in pairs if name in ASKED]) != len(params):
        return site.error(visit, 400)
    plan = await logout.plan(site.authority, params, visit.session)
    if plan.confirm and visit.session is not None:
        return _ask(site, visit, plan, params)
    return await _carry_out(site, visit, plan)


def _ask(site: Site, visit: Visit, plan: LogoutPlan | None = None, hidden: dict[str, str] | None = None) -> Response:
    onward = source(plan.redirect) if plan is not None and plan.redirect else ()
    app = plan.client.client_name if plan is not None and plan.client is not None else ""
    action = "/sign-out" if plan is None else "/auth/logout"
    return site.page(visit, "sign_out.html", plain=True, form_action=onward, app=app, action=action, hidden=hidden or {}, done=False)


async def _carry_out(site: Site, visit: Visit, plan: LogoutPlan) -> Response:
    redirect = await logout.carry_out(site.authority, plan, visit.session, site.caller(visit).address)
    if redirect is None:
        return _done(site, visit)
    _forget(site, visit)
    return site.to(visit, redirect)


def _forget(site: Site, visit: Visit) -> None:
    visit.cookies.append(cookies.cookie("session", "", https=site.https))
    visit.account = visit.session = None


def _done(site: Site, visit: Visit) -> Response:
    _forget(site, visit)
    return site.page(visit, "sign_out.html", plain=True, app="", action="", hidden={}, done=True)
