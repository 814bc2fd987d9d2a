"""`health-hub user`: accounts of people: add, list, disable and enable them, give a password or an authenticator secret."""

import argparse
import asyncio
import getpass
import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from health_hub.auth.model import ROLES, Account
from health_hub.settings import SettingError, Settings

if TYPE_CHECKING:
    from health_hub.store.store import Store

Shown = dict[str, Any] | list[dict[str, Any]]
REVOKED_SECONDS = 86_400  # longer than any access token lives
# No letter or digit that is mistaken for another: it is read from paper and typed.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("user", help="accounts of people", description=__doc__)
    steps = p.add_subparsers(metavar="STEP", required=True)

    def step(name: str, help: str, work: Callable[["Store", Settings, argparse.Namespace], Awaitable[Shown]]) -> argparse.ArgumentParser:
        s: argparse.ArgumentParser = steps.add_parser(name, parents=[shared], help=help, description=f"`health-hub user {name}`: {help}.")
        s.add_argument("--json", action="store_true", help="print JSON")
        s.set_defaults(run=run, work=work)
        return s

    s = step("add", "add an account; without a terminal and --password-stdin its password is random and printed once", _add)
    s.add_argument("login", metavar="LOGIN", help="e-mail address, telephone number or a word")
    s.add_argument("--role", required=True, choices=ROLES, help="what the person may do")
    s.add_argument("--name", default="", metavar="TEXT", help="as other people call them")
    s.add_argument("--fhir-user", metavar="REF", help="Practitioner/ID, Patient/ID or RelatedPerson/ID: who they are in the records")
    s.add_argument("--organization", action="append", default=[], metavar="REF", help="Organization/ID they belong to; may be repeated")
    s.add_argument("--label", action="append", default=[], metavar="CODE", help="sensitive label they may see, e.g. HIV; may be repeated")
    s.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")
    s = step("password", "give an account a new password; its sessions end", _password)
    s.add_argument("login", metavar="LOGIN", help="whose")
    s.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")
    s = step("totp", "give an account a new secret for an authenticator application and print it", _totp)
    s.add_argument("login", metavar="LOGIN", help="whose")
    s = step("link", "let the external provider's verified identifier sign in to an account", _link)
    s.add_argument("login", metavar="LOGIN", help="whose")
    s.add_argument("identifier", metavar="IDENTIFIER", help="value of the claim HEALTH_HUB_EXTERNAL_IDENTIFIER_CLAIM, e.g. a CCCD number")
    s = step("bind", "bind a carer's account to the Patient that its RelatedPerson names now", _bind)
    s.add_argument("login", metavar="LOGIN", help="whose")
    s = step("disable", "close an account; its sessions end", _disable)
    s.add_argument("login", metavar="LOGIN", help="whose")
    s = step("enable", "open an account again", _enable)
    s.add_argument("login", metavar="LOGIN", help="whose")
    step("list", "list the accounts", _list)


def run(args: argparse.Namespace) -> int:
    from health_hub.auth.accounts import AccountError

    try:
        shown = asyncio.run(_run(args))
    except AccountError as e:
        print(f"health-hub: {e}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(shown, ensure_ascii=False))
    else:
        for line in shown if isinstance(shown, list) else [shown]:
            print("  ".join(f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in line.items() if v not in ("", None, [])))
    return 0


async def _run(args: argparse.Namespace) -> Shown:
    from health_hub.store.store import Store

    settings = Settings.load(db=args.db)
    store = await Store.open(settings.db, **settings.store())
    try:
        return await args.work(store, settings, args)  # type: ignore[no-any-return]
    finally:
        await store.close()


def _row(account: Account, **more: Any) -> dict[str, Any]:
    row = {k: list(v) if isinstance(v, tuple) else v for k, v in account.data().items()}
    return row | more


async def _add(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import Accounts, check
    from health_hub.auth.passwords import Passwords

    given = Account("", args.login, args.role, args.name, args.fhir_user, tuple(args.organization), tuple(args.label))
    account = check(given)
    password, printed = await _new_password(account, args)
    for reference in filter(None, (account.fhir_user, *account.organizations)):
        kind, _, id = reference.partition("/")
        if await store.view().read(kind, id) is None:
            print(f"health-hub: there is no {reference} in the records yet", file=sys.stderr)
    account = await Accounts(store).add(
        account.login, account.role, name=account.name, fhir_user=account.fhir_user, organizations=account.organizations,
        labels=account.labels,
    )  # fmt: skip
    await Passwords(store).set(account, password)
    if account.role == "carer" and account.patient is None:
        print(f"health-hub: {account.fhir_user} names no Patient yet; `health-hub user bind` when it does", file=sys.stderr)
    return _row(account, **printed)


async def _password(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import Accounts
    from health_hub.auth.lockout import Lockout
    from health_hub.auth.passwords import Passwords
    from health_hub.auth.sessions import Sessions

    account = await _account(store, args)
    password, printed = await _new_password(account, args)
    await Passwords(store).set(account, password)
    await Lockout(store).distrust(account.id)
    await Sessions(store, settings, Accounts(store)).end_all(account.id)
    await _revoke(store, account)
    return {"login": account.login, **printed}


async def _totp(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.totp import Totp

    account = await _account(store, args)
    issuer = settings.base_url.removesuffix("/fhir") or f"http://{settings.host}"
    enrolment = await Totp(store, issuer, store.secret).enrol(account, confirmed=True)
    return {"login": account.login, "secret": enrolment.secret.replace(" ", ""), "url": enrolment.url}


async def _link(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import AccountError
    from health_hub.auth.external import expect
    from health_hub.store.records import Conflict

    if not settings.external_issuer or not settings.external_identifier_claim:
        raise SettingError("HEALTH_HUB_EXTERNAL_ISSUER and HEALTH_HUB_EXTERNAL_IDENTIFIER_CLAIM say whose identifier this is")
    account = await _account(store, args)
    try:
        await expect(store, settings, account, args.identifier)
    except Conflict:
        raise AccountError("this identifier is another account's") from None
    return {"login": account.login}


async def _bind(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import AccountError, Accounts

    account = await _account(store, args)
    if account.role != "carer":
        raise AccountError("only a carer's account is bound to a Patient")
    bound = await Accounts(store).bind(account.id)
    await _revoke(store, bound)
    return {"login": bound.login, "patient": bound.patient}


async def _disable(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import Accounts
    from health_hub.auth.sessions import Sessions

    accounts = Accounts(store)
    account = await accounts.disable((await _account(store, args)).id)
    await Sessions(store, settings, accounts).end_all(account.id)
    await _revoke(store, account)
    return {"login": account.login, "enabled": account.enabled}


async def _enable(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import Accounts

    account = await Accounts(store).enable((await _account(store, args)).id)
    return {"login": account.login, "enabled": account.enabled}


async def _list(store: "Store", settings: Settings, args: argparse.Namespace) -> Shown:
    from health_hub.auth.accounts import Accounts

    accounts = Accounts(store)
    page = await accounts.list()
    out = [*page]
    while page:
        page = await accounts.list(after=page[-1].id)
        out += page
    return [_row(a) for a in sorted(out, key=lambda a: a.login)]


async def _account(store: "Store", args: argparse.Namespace) -> Account:
    from health_hub.auth.accounts import AccountError, Accounts

    account = await Accounts(store).by_login(args.login)
    if account is None:
        raise AccountError(f"there is no account {args.login!r}")
    return account


async def _revoke(store: "Store", account: Account) -> None:
    """Access tokens given to it until now are refused by every running worker, and refresh tokens are good no more."""
    from health_hub.auth.families import end_grants
    from health_hub.auth.revoked import Revoked

    revoked = Revoked(store.records, REVOKED_SECONDS)
    await end_grants(store.records, revoked, account.id)
    await revoked.add(f"account/{account.id}")


async def _new_password(account: Account, args: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """The password, and what of it is to be printed: a random one only. Raises AccountError where it may not be used."""
    from health_hub.auth.accounts import AccountError
    from health_hub.auth.password_policy import refusal

    if args.password_stdin:
        password = sys.stdin.readline(4096).rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass("Mật khẩu / Password: ")
        if getpass.getpass("Nhập lại / Again: ") != password:
            raise AccountError("hai lần nhập khác nhau / the two differ")
    else:
        password = "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))  # 100 bits
        return password, {"password": password}
    reason = await refusal(password, (account.login, account.name))
    if reason:
        raise AccountError(f"{reason.vi} / {reason.en}")
    return password, {}
