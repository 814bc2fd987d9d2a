"""Connecting a device without a browser (RFC 8628 3.3): the person types its code, sees what it asks for, agrees or refuses."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import authorize, scopes
from health_hub.auth.device import Pending, shown
from health_hub.auth.lockout import Wait
from health_hub.auth.model import AuthError
from health_hub.web import times
from health_hub.web.consent import consent_page, ticked
from health_hub.web.site import Signed, Site, Visit
from health_hub.web.texts import text


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/device")
    async def enter(request: Request) -> Response:
        """`user_code` from verification_uri_complete is filled in, and still to be confirmed (RFC 8628 5.4)."""
        visit = await site.visit(request)
        await site.person(visit)
        return _enter(site, visit, visit.query("user_code", 64))

    @routes.post("/device")
    async def entered(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        code, address = form.get("user_code", 64), site.caller(visit).address
        devices = site.authority.devices
        try:
            pending = await devices.find(code, address=address)
            if pending is None:
                return _enter(site, visit, code, text("device.wrong", visit.lang), 422)
            patient = _own(signed)
            offered = authorize.givable(pending.scope, signed.account, patient, None)
            if not form.get("answer"):
                return await _ask(site, visit, signed, pending, offered, patient)
            if form.get("answer") != "allow":
                await devices.deny(code, address=address)
                return site.page(visit, "device_done.html", allowed=False)
            agreed = ticked(form, offered)
            if not agreed:
                return await _ask(site, visit, signed, pending, offered, patient, text("consent.none", visit.lang))
            about = patient if scopes.wants_patient(agreed) or "patient/" in agreed else None
            if not await devices.approve(code, signed.session, agreed, about, address=address):
                return _enter(site, visit, code, text("device.wrong", visit.lang), 422)
        except Wait as e:
            why = text("sign-in.wait", visit.lang, time=times.duration(int(e.seconds), visit.lang))
            return _enter(site, visit, code, why, 429)
        except AuthError:
            return site.error(visit, 400)
        return site.page(visit, "device_done.html", allowed=True)

    return routes


def _own(signed: Signed) -> str | None:
    """A patient's own record; others have none in context on a device."""
    kind, _, id = (signed.account.fhir_user or "").partition("/")
    return id if signed.account.role == "patient" and kind == "Patient" else None


def _enter(site: Site, visit: Visit, code: str, error: str = "", status: int = 200) -> Response:
    return site.page(visit, "device.html", status, code=code, error=error)


async def _ask(
    site: Site, visit: Visit, signed: Signed, pending: Pending, offered: str, patient: str | None, error: str = ""
) -> Response:
    return await consent_page(
        site, visit, signed, pending.client, offered, hidden={"user_code": shown(pending.user_code)}, patient_id=patient or "", error=error
    )
