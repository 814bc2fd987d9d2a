"""The choice of the facility that a practitioner acts for."""

from fastapi import APIRouter, Request, Response

from health_hub.auth.signin import Refused
from health_hub.web import forms, waiting
from health_hub.web.refusals import told
from health_hub.web.site import Site, Visit


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/auth/facility")
    async def choose(request: Request) -> Response:
        visit = await site.visit(request)
        return await _choose(site, visit, forms.local_path(visit.query("next", 8192)))

    @routes.post("/auth/facility")
    async def chosen(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        onward = forms.local_path(form.get("next", 8192))
        try:
            await site.signin.act_for(signed.session, signed.account, form.get("organization", 100))
        except Refused as e:
            return await _choose(site, visit, onward, e)
        return site.to(visit, onward)

    return routes


async def _choose(site: Site, visit: Visit, onward: str, refused: Refused | None = None) -> Response:
    signed = await site.person(visit)
    waits = await waiting.find(site, visit, onward)
    return site.page(
        visit, "facility.html", 422 if refused else 200, form_action=waits.form_action, plain=bool(waits.name), onward=onward,
        error=told(refused, visit.lang), facilities=await site.facilities(signed.account), now=signed.session.organization,
    )  # fmt: skip
