"""Accounts: who may sign in. Logins are unique whatever their case, marks of form or spaces.

Record kinds owned here: "account" (auth/model.py Account; id random; ref "login/" + the login folded) and "login" (id the login
folded, {"account": id}), which makes a login unique among all workers.
"""

import re
import secrets
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from health_hub.auth.ids import possible
from health_hub.auth.model import ROLES, Account, Role
from health_hub.fhir.index.settings import local
from health_hub.fhir.json import loads
from health_hub.store.records import Conflict, Put, Record, Take
from health_hub.store.store import Store

LOGIN_LENGTH = range(3, 101)  # characters, folded
NAME_MAX = 200
SEVERAL_MAX = 50  # organizations or labels of one account
_PHONE = re.compile(r"[+0][\d .()-]{7,24}")
_EMAIL = re.compile(r"[^@]{1,64}@[^@.-][^@]*\.[^@.]{2,}")
_REFERENCE = re.compile(r"(?:Practitioner|Patient|RelatedPerson)/[A-Za-z0-9.-]{1,64}")
_ORGANIZATION = re.compile(r"Organization/[A-Za-z0-9.-]{1,64}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Whose record an account of this role acts on; the others have none.
FHIR_USER: dict[Role, str] = {"patient": "Patient", "carer": "RelatedPerson", "practitioner": "Practitioner", "nurse": "Practitioner"}


class AccountError(ValueError):
    """An account that cannot be; the text says why."""


def fold(login: str) -> str:
    """The form in which logins are compared: NFC, lower case, telephone numbers as 0912345678. Not checked; see `login_of`."""
    login = unicodedata.normalize("NFC", login.strip()).casefold()
    if _PHONE.fullmatch(login):
        digits = re.sub(r"\D", "", login)
        return "0" + digits[2:] if login.startswith("+84") else ("+" if login[0] == "+" else "") + digits
    return unicodedata.normalize("NFC", login)


def login_of(login: str) -> str:
    """The login folded. Raises AccountError where none can be such."""
    if len(login) > 4 * LOGIN_LENGTH.stop:
        raise AccountError("a login has at most 100 characters")
    folded = fold(login)
    if len(folded) not in LOGIN_LENGTH:
        raise AccountError("a login has 3 to 100 characters")
    for c in folded:
        # Letters of other scripts look like Latin ones (Cyrillic а): one person could pass for another.
        if not (c in "._-+@" or c in "0123456789" or (c.isalpha() and unicodedata.name(c, "").startswith("LATIN SMALL LETTER"))):
            raise AccountError("a login is an e-mail address, a telephone number, or a word of Latin letters, digits and . _ - +")
    if not folded[0].isalnum() and folded[0] != "+":
        raise AccountError("a login begins with a letter or a digit")
    if "@" in folded and not _EMAIL.fullmatch(folded):
        raise AccountError("a login with @ is an e-mail address")
    return folded


def check(account: Account) -> Account:
    """The account with its login folded. Raises AccountError where its parts do not fit each other."""
    if account.role not in ROLES:
        raise AccountError(f"a role is one of {', '.join(ROLES)}")
    if len(account.name) > NAME_MAX or not account.name.isprintable():
        raise AccountError(f"a name has at most {NAME_MAX} characters and no control characters")
    wanted = FHIR_USER.get(account.role)
    # Staff may be known by their facility alone; whose record a patient's or carer's account opens must be said.
    if wanted and not account.fhir_user and not (wanted == "Practitioner" and account.organizations):
        raise AccountError(f"an account of role {account.role} is tied to a {wanted}: --fhir-user {wanted}/ID")
    if account.fhir_user:
        if not _REFERENCE.fullmatch(account.fhir_user):
            raise AccountError("the FHIR user is Practitioner/ID, Patient/ID or RelatedPerson/ID")
        if (wanted or "Practitioner") != account.fhir_user.partition("/")[0]:
            raise AccountError(f"an account of role {account.role} is tied to a {wanted or 'Practitioner'}")
    if len(account.organizations) > SEVERAL_MAX or not all(_ORGANIZATION.fullmatch(o) for o in account.organizations):
        raise AccountError(f"organizations are Organization/ID, at most {SEVERAL_MAX}")
    if len(account.labels) > SEVERAL_MAX or not all(_LABEL.fullmatch(x) for x in account.labels):
        raise AccountError(f"labels are codes such as HIV, at most {SEVERAL_MAX}")
    if account.language not in ("vi", "en"):
        raise AccountError("the language is vi or en")
    return replace(account, login=login_of(account.login))


async def _nothing(account: Account) -> None:
    pass


class Accounts:
    """One a process. `revoke(account)` is called when an account is disabled or its rights change: what was given to it ends."""

    def __init__(self, store: Store) -> None:
        self._store, self._records = store, store.records
        self.revoke: Callable[[Account], Awaitable[None]] = _nothing

    async def add(
        self, login: str, role: Role, *, name: str = "", fhir_user: str | None = None, organizations: tuple[str, ...] = (),
        labels: tuple[str, ...] = (), language: str = "vi",
    ) -> Account:  # fmt: skip
        """Raises AccountError, also where the login is taken. The account cannot sign in by password before it has one."""
        id = secrets.token_urlsafe(16)
        account = check(Account(id, login, role, name, fhir_user, organizations, labels, True, language))
        account = replace(account, patient=await self._patient(account))
        try:
            await self._records.change([
                Put("login", account.login, {"account": id}, version=0),
                Put("account", id, account.data(), version=0, refs=(f"login/{account.login}",)),
            ])
        except Conflict:
            raise AccountError("this login is taken") from None
        return account

    async def bind(self, id: str) -> Account:
        """Bind a carer's account to the Patient that its RelatedPerson names now. KeyError where there is no such account."""
        account = await self.get(id)
        if account is None:
            raise KeyError(id)
        return await self.change(id, patient=await self._patient(account))

    async def _patient(self, account: Account) -> str | None:
        """`Patient/1` whose carer an account's RelatedPerson is."""
        kind, _, id = (account.fhir_user or "").partition("/")
        found = await self._store.view().read(kind, id) if kind == "RelatedPerson" else None
        named = (loads(found.doc).get("patient") or {}).get("reference") if found is not None and found.doc is not None else None
        return local(named) if isinstance(named, str) else None

    async def get(self, id: str) -> Account | None:
        record = await self._records.get("account", id) if possible(id) else None
        return Account.of(record.data) if record else None

    async def by_login(self, login: str) -> Account | None:
        """None also for what can be no login."""
        try:
            found = await self._records.find("account", f"login/{login_of(login)}")
        except AccountError:
            return None
        return Account.of(found[0].data) if found else None

    async def list(self, after: str = "") -> Sequence[Account]:
        """In the order of their ids, those behind the id `after`; at most records.LIMIT (1,000)."""
        return [Account.of(r.data) for r in await self._records.page("account", after)]

    async def change(self, id: str, **fields: Any) -> Account:
        """Set members of an account (any but its id). Raises AccountError, KeyError where there is no such account."""
        while True:
            record = await self._records.get("account", id) if possible(id) else None
            if record is None:
                raise KeyError(id)
            try:
                return await self._change(record, fields)
            except Conflict:
                continue

    async def _change(self, record: Record, fields: dict[str, Any]) -> Account:
        old = Account.of(record.data)
        new = check(replace(old, **fields))
        if new.fhir_user != old.fhir_user:
            new = replace(new, patient=await self._patient(new))
        changes: list[Put | Take] = [
            Put("account", old.id, new.data(), version=record.version, refs=(f"login/{new.login}",))
        ]
        if new.login != old.login:
            taken = await self._records.get("login", new.login)
            if taken is not None:
                raise AccountError("this login is taken")
            changes += [Put("login", new.login, {"account": old.id}, version=0), Take("login", old.login)]
        await self._records.change(changes)
        if _rights(new) != _rights(old):
            await self.revoke(new)
        return new

    async def disable(self, id: str) -> Account:
        """Its sessions end at their next request, its tokens by `revoke`."""
        return await self.change(id, enabled=False)

    async def enable(self, id: str) -> Account:
        return await self.change(id, enabled=True)


def _rights(account: Account) -> tuple[object, ...]:
    return account.enabled, account.role, account.fhir_user, account.organizations, account.labels, account.patient
