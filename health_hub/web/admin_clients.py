"""Applications for the administrator: listed, disabled, enabled again."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from health_hub.auth.audit import AuthEvent
from health_hub.web.sign_in import again
from health_hub.web.site import PageError, Site, Visit
from health_hub.web.texts import text

PATH = "/admin/clients"


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get(PATH)
    async def clients(request: Request) -> Response:
        visit = await site.visit(request)
        await site.role(visit, "administrator")
        listed = await site.authority.clients.all(visit.query("after", 64))
        return site.page(visit, "admin_clients.html", listed=listed, said=await _said(site, visit))

    @routes.post(PATH)
    async def change(request: Request) -> Response:
        """`do`: disable or enable."""
        visit = await site.visit(request)
        signed = await site.role(visit, "administrator")
        form = await site.form(visit)
        if not site.own.fresh(signed.session):
            raise again(visit, PATH)
        what = form.get("do", 20)
        client = await site.authority.clients.get(form.get("id", 200))
        if client is None or what not in ("disable", "enable"):
            raise PageError(404)
        await site.authority.clients.change(client.id, enabled=what == "enable")
        if what == "disable":
            await site.authority.revoked.add(f"client/{client.id}")
        address = site.caller(visit).address
        await site.authority.audit(AuthEvent("client-changed", signed.account.id, client.id, address, detail=f"{what}d"))
        return site.to(visit, f"{PATH}?" + urlencode({"done": f"{what}d.done", "id": client.id}))

    return routes


async def _said(site: Site, visit: Visit) -> str:
    """What was done. A link could say anything: only what is so, of an application that there is."""
    what = visit.query("done", 30)
    client = await site.authority.clients.get(visit.query("id", 200)) if what in ("disabled.done", "enabled.done") else None
    if client is None or client.enabled != (what == "enabled.done"):
        return ""
    return text(f"admin.clients.{what}", visit.lang, name=client.client_name)
