"""A person's authenticator application and recovery codes."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.signin import Refused
from health_hub.web.account import done
from health_hub.web.refusals import told
from health_hub.web.sign_in import again
from health_hub.web.site import Site


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/account/totp")
    async def enrol(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        try:
            enrolment = await site.own.totp_enrol(signed.account, signed.session)
        except Refused:
            raise again(visit, "/account/totp") from None
        return site.page(visit, "enrol.html", id="", onward="", enrolment=enrolment, error="", action="/account/totp")

    @routes.post("/account/totp")
    async def confirm(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        try:
            codes = await site.own.totp_confirm(signed.account, signed.session, form.get("code", 20), site.caller(visit))
        except Refused as e:
            if e.reason == "step-up":
                raise again(visit, "/account/totp") from None
            return site.page(
                visit, "enrol.html", 422, id="", onward="", enrolment=None, error=told(e, visit.lang), action="/account/totp"
            )
        return site.page(visit, "recovery_codes.html", codes=codes, onward="/account")

    @routes.post("/account/totp/remove")
    async def remove(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        await site.form(visit)
        try:
            await site.own.totp_remove(signed.account, signed.session, site.caller(visit))
        except Refused:
            raise again(visit, "/account") from None
        return site.to(visit, done("totp-off"))

    @routes.post("/account/recovery")
    async def recovery(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        await site.form(visit)
        try:
            codes = await site.own.recovery_codes(signed.account, signed.session, site.caller(visit))
        except Refused:
            raise again(visit, "/account") from None
        return site.page(visit, "recovery_codes.html", codes=codes, onward="/account")

    return routes
