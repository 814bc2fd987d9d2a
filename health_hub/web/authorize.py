"""Where an application sends a person's browser, and the way from there: sign-in, facility, patient, consent, and back with a code."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from health_hub.auth import authorize
from health_hub.auth.authorize import Pending
from health_hub.auth.model import AuthError
from health_hub.auth.request import Returned
from health_hub.web import forms
from health_hub.web.site import ASKED_LANG, Signed, Site, Visit
from health_hub.web.waiting import GO_ON, go_on


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.api_route("/auth/authorize", methods=["GET", "POST"])
    async def begin(request: Request) -> Response:
        """The authorization request (RFC 6749 3.1). It comes from the application's page and changes nothing: it needs no token of ours."""
        visit = await site.visit(request)
        params = (await forms.read(request)).pairs() if request.method == "POST" else request.query_params.multi_items()
        try:
            pending = await authorize.begin(site.authority, params, visit.browser)
        except Returned as e:
            return site.to(visit, e.url)
        except AuthError as e:
            return site.error(visit, 400, "authorize", {"error": e.error, "error_description": e.description})
        answer = await lead(site, visit, pending)
        if pending.request.language is not None:
            answer.set_cookie(
                ASKED_LANG, pending.request.language, authorize.SECONDS, path="/", secure=site.https, httponly=True, samesite="lax"
            )
        return answer

    @routes.get(GO_ON)
    async def on(request: Request) -> Response:
        visit = await site.visit(request)
        try:
            pending = await authorize.load(site.authority, visit.query("id", 64), visit.browser)
        except AuthError:
            return site.error(visit, 400, "ended")
        return await lead(site, visit, pending)

    return routes


async def under_way(site: Site, visit: Visit, id: str) -> tuple[Pending, Signed] | Response:
    """An authorization in this browser and who is signed in; or what is answered where there is none."""
    try:
        pending = await authorize.load(site.authority, id, visit.browser)
    except AuthError:
        return site.error(visit, 400, "ended")
    if visit.account is None or visit.session is None:
        return site.to(visit, go_on(id))
    return pending, Signed(visit.account, visit.session)


async def lead(site: Site, visit: Visit, pending: Pending) -> Response:
    """To the page for what is missing; with nothing missing, back to the application."""
    here, authority = go_on(pending.id), site.authority
    try:
        step = await authorize.missing(authority, pending, visit.session)
        if step == "sign-in" or visit.session is None:
            return site.to(visit, "/sign-in?" + urlencode({"next": here, **({"again": "1"} if visit.session else {})}))
        if step == "facility":
            return site.to(visit, "/auth/facility?" + urlencode({"next": here}))
        if step is not None:
            return site.to(visit, f"/auth/{step}?" + urlencode({"id": pending.id}))
        return site.to(visit, await authorize.finish(authority, pending, visit.session, address=site.caller(visit).address))
    except Returned as e:
        return site.to(visit, e.url)
    except AuthError as e:
        return site.error(visit, 400, "ended", {"error": e.error, "error_description": e.description})
