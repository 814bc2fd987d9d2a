"""The choice of the patient whose record an application opens."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import authorize
from health_hub.auth.authorize import Pending
from health_hub.auth.model import AuthError
from health_hub.auth.request import Returned
from health_hub.web.authorize import lead, under_way
from health_hub.web.site import Signed, Site, Visit, source
from health_hub.web.texts import text


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/auth/patient")
    async def choose(request: Request) -> Response:
        """`q`: part of a name, or a number."""
        visit = await site.visit(request)
        found = await under_way(site, visit, visit.query("id", 64))
        return found if isinstance(found, Response) else await _choose(site, visit, *found)

    @routes.post("/auth/patient")
    async def chosen(request: Request) -> Response:
        visit = await site.visit(request)
        form = await site.form(visit)
        found = await under_way(site, visit, form.get("id", 64))
        if isinstance(found, Response):
            return found
        pending, signed = found
        try:
            pending = await authorize.pick(site.authority, pending, signed.session, form.get("patient", 64))
        except AuthError as e:
            if e.error == "access_denied":
                return await _choose(site, visit, pending, signed, text("patient.wrong", visit.lang))
            return site.error(visit, 400, "ended")
        return await lead(site, visit, pending)

    return routes


async def _choose(site: Site, visit: Visit, pending: Pending, signed: Signed, error: str = "") -> Response:
    try:
        if await authorize.missing(site.authority, pending, signed.session) not in ("patient", "consent"):
            return await lead(site, visit, pending)
        client = await authorize.client_of(site.authority, pending)
    except Returned as e:
        return site.to(visit, e.url)
    except AuthError:
        return site.error(visit, 400, "ended")
    return await picker(
        site, visit, signed, client.client_name, hidden={"id": pending.id}, form_action=source(pending.request.redirect_uri), error=error
    )


async def picker(
    site: Site, visit: Visit, signed: Signed, app: str, *, hidden: dict[str, str], form_action: tuple[str, ...] = (), error: str = ""
) -> Response:
    """The page, also for a device. hidden: fields both its forms send."""
    own = signed.account.role == "carer"
    q = "" if own else visit.query("q", 100).strip()
    people = await site.authority.patients(signed.account, signed.session.organization, q) if own or q else ()
    return site.page(
        visit, "patient.html", 422 if error else 200, plain=True, form_action=form_action, app=app, people=people, q=q, own=own,
        error=error, hidden=hidden, action=visit.request.url.path,
    )  # fmt: skip
