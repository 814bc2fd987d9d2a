"""A person changes their password, or gives themselves a first one."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import cookies
from health_hub.auth.own import PasswordRefused
from health_hub.auth.password_policy import LENGTH_MIN
from health_hub.auth.signin import Refused
from health_hub.web.account import done
from health_hub.web.refusals import told
from health_hub.web.sign_in import again
from health_hub.web.site import Site, Visit
from health_hub.web.texts import text


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/account/password")
    async def form_page(request: Request) -> Response:
        return await _page(site, await site.visit(request))

    @routes.post("/account/password")
    async def change(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        if form.get("new") != form.get("repeat"):
            return await _page(site, visit, repeat=text("password.differs", visit.lang))
        try:
            value, _ = await site.own.password(signed.account, signed.session, form.get("old"), form.get("new"), site.caller(visit))
        except PasswordRefused as e:
            return await _page(site, visit, new=e.en if visit.lang == "en" else e.vi)
        except Refused as e:
            if e.reason == "step-up":
                raise again(visit, "/account/password") from None
            return await _page(site, visit, old=told(e, visit.lang))
        visit.cookies.append(cookies.cookie("session", value, https=site.https))
        return site.to(visit, done("password"))

    return routes


async def _page(site: Site, visit: Visit, **errors: str) -> Response:
    signed = await site.person(visit)
    there = await site.signin.passwords.present(signed.account)
    if not there and not site.own.fresh(signed.session):
        raise again(visit, "/account/password")
    return site.page(visit, "password.html", 422 if errors else 200, there=there, errors=errors, least=LENGTH_MIN)
