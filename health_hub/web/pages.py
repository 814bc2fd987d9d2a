"""Everything that is not the FHIR API: pages for people, the endpoints of the authorization server, and the state of the server."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from health_hub import __version__
from health_hub.auth.authority import Authority
from health_hub.auth.routes import routers
from health_hub.auth.routes.cors import CrossOrigin
from health_hub.web import (
    access_list,
    account,
    admin_accounts,
    admin_clients,
    authorize,
    consent,
    device,
    external,
    facility,
    home,
    language,
    own_codes,
    own_passkeys,
    own_password,
    patient,
    sign_in,
    signing_out,
)
from health_hub.web.forms import FormError
from health_hub.web.site import PageError, Redirect, Site

log = logging.getLogger(__name__)


def pages(
    ready: Callable[[], Awaitable[None]], authority: Authority | None = None, more: Sequence[Callable[[Site], APIRouter]] = ()
) -> Any:
    """An ASGI application. `ready` raises unless the database answers; authority None: the hub runs without access control.

    more: pages of other areas.
    """
    # A path with a slash too many is no page: the redirect that Starlette would make is built from the Host header and without our guards.
    web = FastAPI(title="Health Hub", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    site = Site(authority)
    _refusals(web, site)
    web.router.routes.append(site.static.route())
    web.include_router(home.router(site, guarded=authority is not None))
    web.include_router(language.router(site))
    if authority is not None:
        for routes in routers(authority):
            web.include_router(routes)
        for page in (
            sign_in, external, signing_out, authorize, facility, patient, consent, device, access_list, account, own_password, own_codes,
            own_passkeys, admin_accounts, admin_clients,
        ):  # fmt: skip
            web.include_router(page.router(site))
        for router in more:
            web.include_router(router(site))

    @web.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @web.get("/health/ready")
    async def state() -> JSONResponse:
        """The database answers too."""
        try:
            await ready()
        except Exception as e:
            log.warning("not ready: %r", e)
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return web if authority is None else CrossOrigin(web, authority.settings.cors_origins)


def _refusals(web: FastAPI, site: Site) -> None:
    """Each way a request ends before its page is made, as a page."""

    async def elsewhere(request: Request, e: Exception) -> Response:
        assert isinstance(e, Redirect)
        return site.to(await site.visit(request), e.path)

    async def refused(request: Request, e: Exception) -> Response:
        assert isinstance(e, PageError)
        return site.error(await site.visit(request), e.status, e.key)

    async def no_form(request: Request, e: Exception) -> Response:
        assert isinstance(e, FormError)
        return site.error(await site.visit(request), e.status)

    async def no_page(request: Request, e: Exception) -> Response:
        assert isinstance(e, HTTPException)
        answer = site.error(await site.visit(request), e.status_code)
        answer.headers.update(e.headers or {})
        return answer

    web.add_exception_handler(Redirect, elsewhere)
    web.add_exception_handler(PageError, refused)
    web.add_exception_handler(FormError, no_form)
    web.add_exception_handler(HTTPException, no_page)
