"""The language switch of every page."""

from fastapi import APIRouter, Request, Response

from health_hub.web import forms
from health_hub.web.site import LANGUAGE_SECONDS, PageError, Site
from health_hub.web.texts import LANGUAGES


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.post("/language")
    async def choose(request: Request) -> Response:
        """Needs no token: it changes nothing but what this browser reads."""
        visit = await site.visit(request)
        if not site.own_page(request):
            raise PageError(403, "form")
        form = await forms.read(request)
        answer = site.to(visit, forms.local_path(form.get("next", 8192)))
        if (lang := form.get("lang")) in LANGUAGES:
            answer.set_cookie("lang", lang, LANGUAGE_SECONDS, path="/", secure=site.https, httponly=True, samesite="lax")
        return answer

    return routes
