"""A person's own account: how they sign in, where they are signed in, and which applications they let in."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from health_hub.auth import consents
from health_hub.web.scope_words import allowed
from health_hub.web.site import Site

# What an action answers: the page again, with this said.
SAID = {
    "saved": "account.saved", "password": "password.changed", "totp-off": "totp.off", "session": "account.session.ended",
    "revoked": "account.application.revoked", "linked": "account.external.linked", "unlinked": "account.external.unlinked",
}  # fmt: skip


def done(what: str, path: str = "/account") -> str:
    return f"{path}?" + urlencode({"done": what})


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/account")
    async def show(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.person(visit)
        account, signin, authority = signed.account, site.signin, site.authority
        agreed = await consents.listed(authority, account.id)
        return site.page(
            visit, "account.html", said=SAID.get(visit.query("done"), ""), session=signed.session,
            password=await signin.passwords.present(account), totp=await signin.totp.present(account),
            recovery=await signin.recovery.left(account), passkeys=len(await signin.passkeys.list(account)),
            passkeys_possible=signin.passkeys.possible, sessions=await authority.sessions.list(account.id),
            external=site.external.name if site.external.possible else "", links=await site.external.links(account),
            applications=[(a, allowed(a.scope, visit.lang)) for a in agreed],
        )  # fmt: skip

    @routes.post("/account/language")
    async def language(request: Request) -> Response:
        """In which language the hub writes to this person; pages follow the browser's own choice."""
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        if (lang := form.get("language")) in ("vi", "en"):
            await site.authority.accounts.change(signed.account.id, language=lang)
        return site.to(visit, done("saved"))

    @routes.post("/account/session")
    async def end(request: Request) -> Response:
        """`id` of one session, or "others"."""
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        if form.get("id") == "others":
            await site.own.end_other_sessions(signed.account, signed.session, site.caller(visit))
        else:
            await site.own.end_session(signed.account, form.get("id", 64), site.caller(visit))
        return site.to(visit, done("session"))

    @routes.post("/account/application")
    async def revoke(request: Request) -> Response:
        """`client`: whose access ends."""
        visit = await site.visit(request)
        signed = await site.person(visit)
        form = await site.form(visit)
        client = form.get("client", 64)
        if any(a.client_id == client for a in await consents.listed(site.authority, signed.account.id)):
            await consents.withdraw(site.authority, signed.account.id, client, site.caller(visit).address)
        return site.to(visit, done("revoked"))

    return routes
