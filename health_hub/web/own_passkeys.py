"""A person's passkeys: added on the device that makes them, named, removed."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.signin import Refused
from health_hub.web import forms
from health_hub.web.account import done
from health_hub.web.refusals import told
from health_hub.web.sign_in import again
from health_hub.web.site import PageError, Site, Visit
from health_hub.web.texts import text

PATH = "/account/passkeys"
_SAID = {"added": "passkey.added", "removed": "passkey.removed", "renamed": "passkey.renamed"}


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get(PATH)
    async def show(request: Request) -> Response:
        return await _page(site, await site.visit(request))

    @routes.post(PATH)
    async def add(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        name = form.get("name", 100) or text("passkey.default", visit.lang)
        try:
            await site.own.passkey_add(signed.account, signed.session, form.get("answer", forms.VALUE_MAX), name, site.caller(visit))
        except Refused as e:
            if e.reason == "step-up":
                raise again(visit, PATH) from None
            return await _page(site, visit, text("passkey.failed", visit.lang))
        return site.to(visit, done("added", PATH))

    @routes.post(f"{PATH}/rename")
    async def rename(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        await site.signin.passkeys.rename(signed.account, form.get("id", 64), form.get("name", 100))
        return site.to(visit, done("renamed", PATH))

    @routes.post(f"{PATH}/remove")
    async def remove(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        try:
            await site.own.passkey_remove(signed.account, signed.session, form.get("id", 64), site.caller(visit))
        except Refused:
            raise again(visit, PATH) from None
        return site.to(visit, done("removed", PATH))

    return routes


async def _page(site: Site, visit: Visit, error: str = "") -> Response:
    signed = await site.person(visit)
    if not site.signin.passkeys.possible:
        raise PageError(404)
    try:
        options, full = await site.own.passkey_options(signed.account, signed.session, site.caller(visit)), ""
    except Refused as e:
        if e.reason == "step-up":
            raise again(visit, PATH) from None
        options, full = None, told(e, visit.lang)  # as many as there can be
    return site.page(
        visit, "passkeys.html", 422 if error else 200, passkeys=await site.signin.passkeys.list(signed.account), options=options,
        error=error or full, said=_SAID.get(visit.query("done"), ""),
    )  # fmt: skip
