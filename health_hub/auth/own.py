"""What a person changes of their own sign-in: password, codes, passkeys, links, sessions. Each is told to the trail.

Everything but ending sessions asks that they have just shown who they are (`STEP_UP_SECONDS`): a browser left open is not enough.
"""

from collections.abc import Sequence
from typing import Any

from health_hub.auth import password_policy
from health_hub.auth.audit import AuthEvent
from health_hub.auth.model import Account, Session
from health_hub.auth.passkeys import Passkey, PasskeyError
from health_hub.auth.password_policy import Text
from health_hub.auth.signin import Caller, Refused, SignIn
from health_hub.auth.totp import Enrolment

STEP_UP_SECONDS = 600


class PasswordRefused(Exception):
    """A new password that may not be used; `vi`, `en` say why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.vi, self.en = text


class Own:
    """One a process. Methods raise Refused("step-up") where the session is not fresh."""

    def __init__(self, signin: SignIn) -> None:
        self._signin, self._hub = signin, signin.hub

    def fresh(self, session: Session) -> bool:
        """Whether the person need not show again who they are (SignIn.step_up)."""
        return self._hub.sessions.fresh(session, STEP_UP_SECONDS)

    async def password(
        self, account: Account, session: Session, old: str, new: str, caller: Caller, *, about: Sequence[str] = ()
    ) -> tuple[str, Session]:
        """Change the password: other sessions end, other browsers are strangers again; the new value of this one's cookie.

        about: what else is known of the person (date of birth, identifiers). Raises Refused, PasswordRefused. Asks for the old
        password and therefore for no fresh session; an account that has none (external, passkey) must be fresh instead.
        """
        if await self._signin.passwords.present(account):
            await self._signin.check_password(account, old, caller)
        else:
            self._must_be_fresh(session)
        reason = await password_policy.refusal(new, (account.login, account.name, *about))
        if reason:
            raise PasswordRefused(reason)
        await self._signin.set_password(account, new, but=session.id)
        renewed = await self._hub.sessions.renew(session, amr=session.amr or ("pwd",))
        await self._told(account, caller, "password changed")
        if renewed is None:
            raise Refused("expired")
        return renewed

    async def totp_enrol(self, account: Account, session: Session) -> Enrolment:
        """Shown once; counts when `totp_confirm` has had a code of it."""
        self._must_be_fresh(session)
        return await self._signin.totp.enrol(account)

    async def totp_confirm(self, account: Account, session: Session, code: str, caller: Caller) -> Sequence[str]:
        """New recovery codes, shown once. Raises Refused."""
        self._must_be_fresh(session)
        await self._signin.confirm_totp(account, code)
        await self._told(account, caller, "authenticator application added")
        return await self._signin.recovery.make(account)

    async def totp_remove(self, account: Account, session: Session, caller: Caller) -> None:
        """Recovery codes go too. A role that needs a second factor is asked for a new one at the next sign-in."""
        self._must_be_fresh(session)
        await self._signin.totp.remove(account)
        await self._signin.recovery.remove(account)
        await self._told(account, caller, "authenticator application removed")

    async def recovery_codes(self, account: Account, session: Session, caller: Caller) -> Sequence[str]:
        """New ones in place of all older ones, shown once."""
        self._must_be_fresh(session)
        codes = await self._signin.recovery.make(account)
        await self._told(account, caller, "recovery codes made")
        return codes

    async def passkey_options(self, account: Account, session: Session, caller: Caller) -> dict[str, Any]:
        """PublicKeyCredentialCreationOptionsJSON."""
        self._must_be_fresh(session)
        try:
            return await self._signin.passkeys.registration(account, caller.browser)
        except PasskeyError:
            raise Refused("passkey") from None

    async def passkey_add(self, account: Account, session: Session, answer: str, name: str, caller: Caller) -> Passkey:
        """answer: RegistrationResponseJSON."""
        self._must_be_fresh(session)
        try:
            passkey = await self._signin.passkeys.register(account, caller.browser, answer, name)
        except PasskeyError:
            raise Refused("passkey") from None
        await self._told(account, caller, "passkey added")
        return passkey

    async def passkey_remove(self, account: Account, session: Session, id: str, caller: Caller) -> bool:
        self._must_be_fresh(session)
        removed = await self._signin.passkeys.remove(account, id)
        if removed:
            await self._told(account, caller, "passkey removed")
        return removed

    async def end_session(self, account: Account, id: str, caller: Caller) -> bool:
        """One of the person's own sessions by its id; False where it is not theirs or has ended."""
        ended = await self._hub.sessions.end_one(account.id, id)
        if ended:
            await self._hub.audit(AuthEvent("sign-out", account.id, address=caller.address, detail="ended from the list"))
        return ended

    async def end_other_sessions(self, account: Account, session: Session, caller: Caller) -> int:
        """How many ended."""
        ended = await self._hub.sessions.end_all(account.id, but=session.id)
        await self._hub.audit(AuthEvent("sign-out", account.id, address=caller.address, detail=f"{ended} other sessions"))
        return ended

    def _must_be_fresh(self, session: Session) -> None:
        if not self.fresh(session):
            raise Refused("step-up")

    async def _told(self, account: Account, caller: Caller, what: str) -> None:
        await self._hub.audit(AuthEvent("account-changed", account.id, address=caller.address, detail=what))
