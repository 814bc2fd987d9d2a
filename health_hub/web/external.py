"""Signing in by an external OpenID provider, and linking an account to it; both come back to one address."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.cookies import Cookie
from health_hub.auth.signin import Refused
from health_hub.web import forms
from health_hub.web.account import done
from health_hub.web.refusals import told
from health_hub.web.sign_in import again, go_on
from health_hub.web.site import PageError, Site, Visit

ONWARD, SECONDS = "onward", 600  # the cookie that keeps where to go on, and how long


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/sign-in/external")
    async def external(request: Request) -> Response:
        """`next` begins; the provider comes back with `state`."""
        visit = await site.visit(request)
        if not site.external.possible:
            raise PageError(404)
        if "state" not in request.query_params:
            return await _begin(site, visit)
        caller, account = site.caller(visit), visit.account
        onward = forms.local_path(request.cookies.get(ONWARD, ""))
        visit.cookies.append(_onward(site, ""))
        try:
            found = await site.external.finish(dict(request.query_params), caller, account=account)
            if found.linked:
                return site.to(visit, done("linked"))
            return await go_on(site, visit, await site.signin.external(found.account, found.amr, caller), onward)
        except Refused as e:
            return site.page(visit, "external_refused.html", 422, plain=True, error=told(e, visit.lang), onward=onward)

    @routes.post("/account/external")
    async def link(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        await site.form(visit)
        if not site.own.fresh(signed.session):
            raise again(visit, "/account")
        try:
            return site.to(visit, await site.external.begin(site.caller(visit), account=signed.account))
        except Refused as e:
            return site.page(visit, "external_refused.html", 422, error=told(e, visit.lang), onward="/account")

    @routes.post("/account/external/unlink")
    async def unlink(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        await site.form(visit)
        try:
            await site.own.external_unlink(signed.account, signed.session, site.external, site.caller(visit))
        except Refused:
            raise again(visit, "/account") from None
        return site.to(visit, done("unlinked"))

    return routes


async def _begin(site: Site, visit: Visit) -> Response:
    try:
        address = await site.external.begin(site.caller(visit))
    except Refused as e:
        return site.page(visit, "external_refused.html", 422, plain=True, error=told(e, visit.lang), onward="/")
    visit.cookies.append(_onward(site, forms.local_path(visit.query("next", 3000))))
    return site.to(visit, address)


def _onward(site: Site, path: str) -> Cookie:
    return Cookie(ONWARD, path, SECONDS if path else 0, site.https)
