"""Accounts for the administrator: found by login, added, disabled, their second step taken away. No clinical data is here."""

from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from health_hub.auth.accounts import AccountError
from health_hub.auth.audit import AuthEvent
from health_hub.auth.model import ROLES, Account
from health_hub.auth.password_policy import LENGTH_MIN, refusal
from health_hub.web.forms import Form
from health_hub.web.sign_in import again
from health_hub.web.site import PageError, Signed, Site, Visit
from health_hub.web.texts import text

PATH = "/admin/accounts"
SHOWN = 100  # accounts on a page without a search
_DONE = ("added", "disabled.done", "enabled.done", "reset.done")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get(PATH)
    async def accounts(request: Request) -> Response:
        visit = await site.visit(request)
        return await _page(site, visit)

    @routes.post(PATH)
    async def add(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await _administrator(site, visit)
        form = await site.form(visit)
        try:
            account = await _added(site, visit, form)
        except AccountError as e:
            return await _page(site, visit, str(e), dict(form.pairs()))
        await _told(site, visit, signed, account, "added")
        return site.to(visit, _done("added", account))

    @routes.post(f"{PATH}/state")
    async def change(request: Request) -> Response:
        """`do`: disable, enable or reset."""
        visit = await site.visit(request)
        signed = await _administrator(site, visit)
        form = await site.form(visit)
        account, what = await site.authority.accounts.get(form.get("id", 64)), form.get("do", 20)
        if account is None or what not in ("disable", "enable", "reset"):
            raise PageError(404)
        if account.id == signed.account.id:
            return await _page(site, visit, text("admin.accounts.self", visit.lang))
        if what == "reset":
            await _reset(site, account)
        elif what == "disable":
            await site.authority.accounts.disable(account.id)
            await site.authority.sessions.end_all(account.id)
        else:
            await site.authority.accounts.enable(account.id)
        await _told(site, visit, signed, account, what)
        return site.to(visit, _done({"reset": "reset.done", "disable": "disabled.done", "enable": "enabled.done"}[what], account))

    return routes


async def _administrator(site: Site, visit: Visit) -> Signed:
    """Who is signed in and has shown lately who they are."""
    signed = await site.role(visit, "administrator")
    if not site.own.fresh(signed.session):
        raise again(visit, PATH)
    return signed


def _done(what: str, account: Account) -> str:
    return f"{PATH}?" + urlencode({"done": what, "login": account.login})


async def _told(site: Site, visit: Visit, signed: Signed, account: Account, what: str) -> None:
    detail = f"{what} account {account.id} ({account.role})"
    await site.authority.audit(AuthEvent("account-changed", signed.account.id, None, site.caller(visit).address, detail=detail))


async def _added(site: Site, visit: Visit, form: Form) -> Account:
    """Raises AccountError with the reason in the person's language."""
    role = next((r for r in ROLES if r == form.get("role", 30)), None)
    if role is None:
        raise AccountError("role")
    password = form.get("password")
    login, name = form.get("login", 200), form.get("name", 200)
    if password:
        refused = await refusal(password, (login, name))
        if refused is not None:
            raise AccountError(refused.en if visit.lang == "en" else refused.vi)
    account = await site.authority.accounts.add(
        login, role, name=name, fhir_user=form.get("fhir_user", 100) or None, organizations=tuple(form.get("organization", 500).split()),
        language=visit.lang,
    )  # fmt: skip
    if password:
        await site.signin.passwords.set(account, password)
    return account


async def _reset(site: Site, account: Account) -> None:
    """Whoever has lost their telephone signs in by the password and sets up a second step anew."""
    signin = site.signin
    await signin.totp.remove(account)
    await signin.recovery.remove(account)
    for passkey in await signin.passkeys.list(account):
        await signin.passkeys.remove(account, passkey.id)
    await site.authority.sessions.end_all(account.id)


async def _page(site: Site, visit: Visit, refused: str = "", given: dict[str, str] | None = None) -> Response:
    await site.role(visit, "administrator")
    accounts, login = site.authority.accounts, visit.query("login", 200)
    if login:
        found = await accounts.by_login(login)
        listed = [found] if found is not None else []
    else:
        listed = list(await accounts.list())[:SHOWN]
    return site.page(
        visit, "admin_accounts.html", 422 if refused else 200, listed=listed, login=login, said=_said(visit, listed), refused=refused,
        roles=ROLES, given=given or {}, least=LENGTH_MIN,
    )  # fmt: skip


def _said(visit: Visit, listed: Sequence[Account]) -> str:
    """What was done. A link could say anything: only what may be so, of the one account that is listed."""
    what = visit.query("done", 30)
    if what not in _DONE or len(listed) != 1 or not visit.query("login", 200):
        return ""
    account = listed[0]
    if (what == "disabled.done" and account.enabled) or (what == "enabled.done" and not account.enabled):
        return ""
    return text(f"admin.accounts.{what}", visit.lang, login=account.login)
