"""What an application asks for, in plain words; the person allows all of it, some, or nothing."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from health_hub.auth import authorize, scopes
from health_hub.auth.authorize import Pending
from health_hub.auth.model import AuthError, Client
from health_hub.auth.request import Returned
from health_hub.web.authorize import lead, under_way
from health_hub.web.forms import Form
from health_hub.web.people import patient
from health_hub.web.scope_words import FIXED, allowed
from health_hub.web.site import Signed, Site, Visit, source
from health_hub.web.texts import text


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/auth/consent")
    async def ask(request: Request) -> Response:
        visit = await site.visit(request)
        found = await under_way(site, visit, visit.query("id", 64))
        return found if isinstance(found, Response) else await _ask(site, visit, *found)

    @routes.post("/auth/consent")
    async def answer(request: Request) -> Response:
        visit = await site.visit(request)
        form = await site.form(visit)
        found = await under_way(site, visit, form.get("id", 64))
        if isinstance(found, Response):
            return found
        (pending, signed), address = found, site.caller(visit).address
        try:
            if form.get("answer") != "allow":
                return site.to(visit, await authorize.deny(site.authority, pending, signed.session, address=address))
            if await authorize.missing(site.authority, pending, signed.session) != "consent":
                return await lead(site, visit, pending)
            agreed = ticked(form, await authorize.offered(site.authority, pending, signed.session))
            if not agreed:
                return await _ask(site, visit, pending, signed, text("consent.none", visit.lang))
            return site.to(visit, await authorize.finish(site.authority, pending, signed.session, scope=agreed, address=address))
        except Returned as e:
            return site.to(visit, e.url)
        except AuthError:
            return site.error(visit, 400, "ended")

    return routes


def ticked(form: Form, offered: str) -> str:
    """The scopes of `offered` that were left ticked, with those that are always included; "" where only these are left."""
    chosen = set(form.all("scope"))
    kept = [s for s in offered.split() if s in chosen and s not in FIXED]
    return " ".join([*kept, *(s for s in offered.split() if s in FIXED)]) if kept or not set(offered.split()) - set(FIXED) else ""


async def _ask(site: Site, visit: Visit, pending: Pending, signed: Signed, error: str = "") -> Response:
    try:
        if await authorize.missing(site.authority, pending, signed.session) != "consent":
            return await lead(site, visit, pending)
        client = await authorize.client_of(site.authority, pending)
        offered = await authorize.offered(site.authority, pending, signed.session)
    except Returned as e:
        return site.to(visit, e.url)
    except AuthError:
        return site.error(visit, 400, "ended")
    own = (signed.account.fhir_user or "").removeprefix("Patient/") if signed.account.role == "patient" else ""
    return await consent_page(
        site, visit, signed, client, offered, hidden={"id": pending.id}, error=error, patient_id=pending.patient or own,
        back=pending.request.redirect_uri,
    )  # fmt: skip


async def consent_page(
    site: Site, visit: Visit, signed: Signed, client: Client, offered: str, *, hidden: dict[str, str], patient_id: str, back: str = "",
    error: str = "",
) -> Response:  # fmt: skip
    """The page, also for a device. hidden: fields its form sends. back: the redirect URI, "" where there is none."""
    about = scopes.wants_patient(offered) and patient_id
    person = await patient(site, signed, patient_id) if about else None
    where = urlsplit(back)
    return site.page(
        visit, "consent.html", 422 if error else 200, plain=True, form_action=source(back) if back else (), app=client.client_name,
        unverified=client.registered, hidden=hidden, person=person, scopes=allowed(offered, visit.lang), error=error,
        back=bool(back), host=where.netloc.rpartition("@")[2] if where.scheme == "https" else "", action=visit.request.url.path,
    )  # fmt: skip
