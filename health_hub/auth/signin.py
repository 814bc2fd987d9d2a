"""Signing in, step by step: password or passkey or external provider, then a second factor where there is one, then a session.

Record kind "signin": id random, 5 minutes, {"account", "browser": SHA-256 of the browser's cookie, "amr", "step"}: a
person who has shown the first factor and not yet the second.
"""

import hmac
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from health_hub.auth.accounts import Accounts, fold
from health_hub.auth.agent import browser_name
from health_hub.auth.audit import Audit, AuthEvent
from health_hub.auth.cookies import digest
from health_hub.auth.families import end_grants
from health_hub.auth.ids import possible
from health_hub.auth.lockout import Lockout, Wait
from health_hub.auth.model import ROLES, Account, Session
from health_hub.auth.passkeys import PasskeyError, Passkeys
from health_hub.auth.passwords import Busy, Passwords
from health_hub.auth.recovery import Recovery
from health_hub.auth.revoked import Revoked
from health_hub.auth.sessions import Sessions
from health_hub.auth.totp import Enrolment, Totp
from health_hub.settings import SettingError, Settings
from health_hub.store.records import Record, now
from health_hub.store.store import Store

Method = Literal["totp", "recovery", "passkey"]
FOR_FACILITY = ("practitioner", "nurse", "operator")  # roles that act for a facility
PASSKEY_AMR = ("pop", "user", "mfa")  # RFC 8176
AMR = frozenset({"face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "sc", "sms", "swk", "user", "vbm"})
AT_ONCE = 25  # passwords one address has checked at once; others wait no longer than a quarter of a second for it
PENDING_SECONDS = 300
LOGIN_MAX = 400  # characters as typed
Reason = Literal["credentials", "code", "wait", "busy", "expired", "passkey", "external", "unlinked", "facility", "step-up"]
TEXTS: dict[Reason, tuple[str, str]] = {
    "credentials": ("Tên đăng nhập hoặc mật khẩu không đúng.", "The login or the password is not right."),
    "code": ("Mã không đúng hoặc đã dùng.", "The code is not right or has been used."),
    "wait": ("Bạn đã thử nhiều lần. Vui lòng đợi {seconds} giây rồi thử lại.",
             "Too many tries. Please wait {seconds} seconds and try again."),
    "busy": ("Máy chủ đang bận. Vui lòng thử lại sau vài giây.", "The server is busy. Please try again in a few seconds."),
    "expired": ("Lần đăng nhập này đã hết hạn. Vui lòng đăng nhập lại.", "This sign-in has expired. Please sign in again."),
    "passkey": ("Không xác nhận được khóa truy cập (passkey) này.", "This passkey could not be verified."),
    "external": ("Không đăng nhập được qua nhà cung cấp này.", "Signing in with this provider did not succeed."),
    "unlinked": ("Chưa có tài khoản nào liên kết. Hãy đăng nhập rồi liên kết trong trang tài khoản.",
                 "No account is linked yet. Sign in and link it on the account page."),
    "step-up": ("Vui lòng xác nhận lại bạn là ai để tiếp tục.", "Please confirm who you are to go on."),
    "facility": ("Bạn không thuộc cơ sở này.", "You do not belong to this facility."),
}


class Refused(Exception):
    """A step that did not succeed. `vi`, `en`: what the person is told, the same whether the login exists; seconds: to wait, 0 none."""

    def __init__(self, reason: Reason, seconds: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.seconds = reason, seconds
        self.vi, self.en = (text.format(seconds=seconds) for text in TEXTS[reason])


@dataclass(frozen=True, slots=True)
class Caller:
    """The browser that signs in: network address, User-Agent, and the values of its three cookies (auth/cookies.py)."""

    address: str
    agent: str = ""
    browser: str = ""
    session: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """cookie, device: values for the session's and the device's cookie."""

    account: Account
    session: Session
    cookie: str
    device: str


@dataclass(frozen=True, slots=True)
class Next:
    """What is still to be shown. step "code": one of `methods`, a passkey by `SignIn.passkey`; "enrol": a first second factor.

    "enrol" comes where the role needs a second factor (setting second_factor_roles) and the person has none yet.
    """

    id: str
    step: Literal["code", "enrol"]
    methods: tuple[Method, ...] = ()


class Found(Protocol):
    """Whom auth/external.py found. fresh: the provider asked them just now; amr: how it says it did."""

    @property
    def account(self) -> Account: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def amr(self) -> tuple[str, ...]: ...


class Facility(Protocol):
    @property
    def reference(self) -> str: ...


class Hub(Protocol):
    """What of auth/authority.py signing in needs. facilities: those the person belongs to now, as the record says."""

    @property
    def store(self) -> Store: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def issuer(self) -> str: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def facilities(self) -> Callable[[Account], Awaitable[Sequence[Facility]]]: ...


class SignIn:
    """One a process."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self._records = hub, hub.store.records
        unknown = set(hub.settings.second_factor_roles) - set(ROLES)
        if unknown:
            raise SettingError(f"HEALTH_HUB_SECOND_FACTOR_ROLES: no such role: {', '.join(sorted(unknown))}")
        self._under_way: Counter[str] = Counter()  # passwords being checked, by address
        self.passwords = Passwords(hub.store)
        self.lockout = Lockout(hub.store)
        self.totp = Totp(hub.store, hub.issuer, hub.store.secret)
        self.recovery = Recovery(hub.store, self.passwords)
        self.passkeys = Passkeys(hub.store, hub.accounts, hub.issuer)

    async def begin(self, login: str, password: str, caller: Caller) -> SignedIn | Next:
        """Login and password. Raises Refused."""
        account = await self.hub.accounts.by_login(login[:LOGIN_MAX])
        return await self._first_factor(await self._password(account, login[:LOGIN_MAX], password, caller), ("pwd",), caller)

    async def second(self, id: str, code: str, caller: Caller) -> SignedIn:
        """A code of the authenticator application, or a recovery code. Raises Refused; "expired" sends the person back to the start."""
        record, account = await self._pending(id, caller, "code")
        await self._code(account, code, caller)
        return await self._once(record, account, ("otp", "mfa"), caller)

    async def enrol(self, id: str, caller: Caller) -> Enrolment:
        """A secret for the authenticator application of a person whose role needs one and who has none. Shown once. Raises Refused."""
        _, account = await self._pending(id, caller, "enrol")
        return await self.totp.enrol(account)

    async def enrolled(self, id: str, code: str, caller: Caller) -> tuple[SignedIn, Sequence[str]]:
        """The first code of the new secret; and the recovery codes, shown once. Raises Refused."""
        record, account = await self._pending(id, caller, "enrol")
        await self.confirm_totp(account, code)
        signed_in = await self._once(record, account, ("otp", "mfa"), caller)
        await self.hub.audit(AuthEvent("account-changed", account.id, address=caller.address, detail="authenticator application added"))
        return signed_in, await self.recovery.make(account)

    async def passkey_options(self, caller: Caller) -> dict[str, Any]:
        """PublicKeyCredentialRequestOptionsJSON for signing in, or showing again who one is, by passkey."""
        try:
            return await self.passkeys.authentication(caller.browser)
        except PasskeyError:
            raise Refused("passkey") from None

    async def passkey(self, answer: str, caller: Caller) -> SignedIn:
        """AuthenticationResponseJSON of a passkey: both factors in one, the device and what unlocks it. Raises Refused."""
        return await self._session(await self._passkey(answer, caller), PASSKEY_AMR, caller)

    async def external(self, account: Account, amr: Sequence[str], caller: Caller) -> SignedIn | Next:
        """An account that auth/external.py found; amr: what the provider says of how it knew the person. Raises Refused."""
        if not account.enabled:
            await self._refused(caller, account, "disabled")
            raise Refused("external")
        if "mfa" in amr:
            return await self._session(account, ("ext", *(m for m in amr if m in AMR)), caller)
        return await self._first_factor(account, ("ext",), caller)

    async def step_up(
        self, account: Account, session: Session, caller: Caller, *, password: str, code: str = ""
    ) -> tuple[str, Session]:
        """Who is signed in shows it again: the password, and a code where there is an authenticator application. Raises Refused.

        The new value of the session's cookie, and the session, which is fresh.
        """
        await self.check_password(account, password, caller)
        amr: tuple[str, ...] = ("pwd",)
        if await self.totp.present(account):
            await self._code(account, code, caller)
            amr = ("pwd", "otp", "mfa")
        return await self._renew(account, session, amr, caller)

    async def step_up_passkey(self, account: Account, session: Session, answer: str, caller: Caller) -> tuple[str, Session]:
        """The same by a passkey of this account. Raises Refused."""
        if (await self._passkey(answer, caller)).id != account.id:
            await self._refused(caller, account, "step-up by another account's passkey")
            raise Refused("passkey")
        return await self._renew(account, session, PASSKEY_AMR, caller)

    async def step_up_external(self, account: Account, session: Session, found: Found, caller: Caller) -> tuple[str, Session]:
        """The same by the external provider, which was told to ask the person anew (External.begin(fresh=True)). Raises Refused."""
        if found.account.id != account.id or not found.fresh:
            await self._refused(caller, account, "step-up by another account or an old sign-in at the provider")
            raise Refused("external")
        return await self._renew(account, session, ("ext", *(m for m in found.amr if m in AMR)), caller)

    async def check_password(self, account: Account, password: str, caller: Caller) -> None:
        """Raises Refused unless it is the account's; guesses are counted like any other."""
        await self._password(account, account.login, password, caller)

    async def set_password(self, account: Account, password: str, *, but: str | None = None) -> None:
        """A password the policy has passed. Sessions end, all `but` one id, what applications hold ends, offline access too, and
        browsers that signed in are strangers again."""
        try:
            await self.passwords.set(account, password)
        except Busy:
            raise Refused("busy") from None
        await self.lockout.distrust(account.id)
        await self.hub.sessions.end_all(account.id, but=but)
        await end_grants(self._records, Revoked(self._records, self.hub.settings.access_token_seconds), account.id)

    async def confirm_totp(self, account: Account, code: str) -> None:
        """The first code of a new secret. Raises Refused."""
        try:
            key = await self.lockout.code(account, None)
        except Wait as e:
            raise Refused("wait", e.seconds) from None
        if not await self.totp.confirm(account, code):
            raise Refused("code")
        await self.lockout.code_right(key)

    async def facilities(self, account: Account) -> Sequence[Facility]:
        """What the person may choose to act for; nothing for patients, carers, auditors and administrators."""
        return await self.hub.facilities(account) if account.role in FOR_FACILITY else ()

    async def act_for(self, session: Session, account: Account, organization: str) -> Session:
        """Choose the facility. Raises Refused where the person does not belong to it or the session has ended."""
        if organization not in {f.reference for f in await self.facilities(account)}:
            raise Refused("facility")
        changed = await self.hub.sessions.act_for(session, organization)
        if changed is None:
            raise Refused("expired")
        return changed

    async def sign_out(self, session: Session, address: str = "") -> None:
        await self.hub.sessions.end(session)
        await self.hub.audit(AuthEvent("sign-out", session.account, address=address))

    async def _password(self, account: Account | None, login: str, password: str, caller: Caller) -> Account:
        trusted = await self.lockout.trusted(account, caller.device)
        if self._under_way[caller.address] >= AT_ONCE:
            raise Refused("busy")
        self._under_way[caller.address] += 1
        try:
            guess = await self.lockout.guess(fold(login), caller.address, trusted=trusted, device=caller.device or "")
            right = await self.passwords.verify(account, password)
        except Wait as e:
            await self._refused(caller, account, "too many wrong guesses")
            raise Refused("wait", e.seconds) from None
        except Busy:
            raise Refused("busy") from None
        finally:
            self._under_way[caller.address] -= 1
            if not self._under_way[caller.address]:
                del self._under_way[caller.address]
        if account is None or not right or not account.enabled:
            await self.lockout.wrong(guess)
            await self._refused(caller, account, "no such login" if account is None else "disabled" if right else "wrong password")
            raise Refused("credentials")
        await self.lockout.right(guess)
        return account

    async def _code(self, account: Account, code: str, caller: Caller) -> None:
        try:
            key = await self.lockout.code(account, caller.device)
            right = await self.totp.verify(account, code) or await self.recovery.use(account, code)
        except Wait as e:
            await self._refused(caller, account, "too many wrong codes")
            raise Refused("wait", e.seconds) from None
        except Busy:
            raise Refused("busy") from None
        if not right:
            await self._refused(caller, account, "wrong code")
            raise Refused("code")
        await self.lockout.code_right(key)

    async def _passkey(self, answer: str, caller: Caller) -> Account:
        try:
            account = await self.passkeys.authenticate(caller.browser, answer)
        except PasskeyError as e:
            await self._refused(caller, None, f"passkey: {e}")
            raise Refused("passkey") from None
        if not account.enabled:
            await self._refused(caller, account, "disabled")
            raise Refused("passkey")
        return account

    async def _renew(self, account: Account, session: Session, amr: tuple[str, ...], caller: Caller) -> tuple[str, Session]:
        renewed = await self.hub.sessions.renew(session, amr=amr)
        if renewed is None:
            raise Refused("expired")
        await self.hub.audit(AuthEvent("step-up", account.id, address=caller.address, detail=" ".join(amr)))
        return renewed

    async def _first_factor(self, account: Account, amr: tuple[str, ...], caller: Caller) -> SignedIn | Next:
        """Who has shown one factor: a session, or what is missing."""
        needed = account.role in self.hub.settings.second_factor_roles
        methods = await self._methods(account)
        if not needed and "totp" not in methods:
            return await self._session(account, amr, caller)
        id, step = secrets.token_urlsafe(16), "code" if methods else "enrol"
        data = {"account": account.id, "browser": digest(caller.browser), "amr": list(amr), "step": step}
        await self._records.put("signin", id, data, version=0, expires=now() + PENDING_SECONDS * 1000)
        return Next(id, "code" if methods else "enrol", methods)

    async def _methods(self, account: Account) -> tuple[Method, ...]:
        out: list[Method] = []
        if await self.totp.present(account):
            out.append("totp")
        if out and await self.recovery.left(account):
            out.append("recovery")
        if await self.passkeys.list(account):
            out.append("passkey")
        return tuple(out)

    async def _pending(self, id: str, caller: Caller, step: str) -> tuple[Record, Account]:
        record = await self._records.get("signin", id) if possible(id) else None
        account = await self.hub.accounts.get(record.data["account"]) if record else None
        same = record is not None and bool(caller.browser) and hmac.compare_digest(record.data["browser"], digest(caller.browser))
        if record is None or account is None or not same or not account.enabled or record.data["step"] != step:
            raise Refused("expired")
        return record, account

    async def _once(self, record: Record, account: Account, amr: tuple[str, ...], caller: Caller) -> SignedIn:
        """The pending sign-in becomes one session and no second one."""
        if await self._records.take("signin", record.id) is None:
            raise Refused("expired")
        return await self._session(account, (*record.data["amr"], *amr), caller)

    async def _session(self, account: Account, amr: tuple[str, ...], caller: Caller) -> SignedIn:
        own = await self.facilities(account)
        organization = own[0].reference if len(own) == 1 else None
        cookie, session = await self.hub.sessions.create(
            account, amr=tuple(dict.fromkeys(amr)), organization=organization, agent=browser_name(caller.agent), address=caller.address,
            replaces=caller.session,
        )  # fmt: skip
        device = await self.lockout.trust(account, caller.device)
        await self.hub.audit(AuthEvent("sign-in", account.id, address=caller.address, detail=" ".join(session.amr)))
        return SignedIn(account, session, cookie, device)

    async def _refused(self, caller: Caller, account: Account | None, why: str) -> None:
        event = AuthEvent("sign-in-refused", account.id if account else None, address=caller.address, success=False, detail=why)
        await self.hub.audit(event)
