"""The start page: what this is, and for who is signed in what they can do here."""

from fastapi import APIRouter, Request, Response

from health_hub.web.site import Site


def router(site: Site, *, guarded: bool) -> APIRouter:
    """guarded: there is an authorization server."""
    routes = APIRouter()

    @routes.get("/")
    async def home(request: Request) -> Response:
        visit = await site.visit(request)
        facility, several = "", False
        if visit.account and visit.session:
            there = await site.facilities(visit.account)
            facility = next((f.name for f in there if f.reference == visit.session.organization), "")
            several = len(there) > 1
        return site.page(visit, "home.html", guarded=guarded, facility=facility, several=several)

    return routes
