"""Sessions: who is signed in in which browser. A person can see theirs and end them.

Record kind "session": id random, ref "account/" + the account's id; auth/model.py Session and "secret" (SHA-256 of the cookie's
secret), "seen" (seconds since 1970), and its end as the record's. The cookie is the id, a dot and the secret: the id stays when
the secret is renewed, and tells nobody anything.
"""

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from health_hub.auth.accounts import Accounts
from health_hub.auth.cookies import VALUE_MAX, digest, secret
from health_hub.auth.ids import possible
from health_hub.auth.model import Account, Session
from health_hub.settings import Settings
from health_hub.store.records import Conflict, Put, Record
from health_hub.store.store import Store

SEEN_SECONDS = 60  # how often `seen` is written at most
PER_ACCOUNT = 50  # sessions of one account; the one longest unseen ends when there are more


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as its owner sees it. seen: seconds since 1970 UTC, a minute exact."""

    session: Session
    seen: int


async def _nothing(session: Session) -> None:
    pass


class Sessions:
    """One a process. `ended(session)` is called for each session that is ended: tokens that live only with it end too."""

    def __init__(self, store: Store, settings: Settings, accounts: Accounts | None = None) -> None:
        self._records, self._settings = store.records, settings
        self._accounts = accounts or Accounts(store)
        self.ended: Callable[[Session], Awaitable[None]] = _nothing

    async def create(
        self, account: Account, *, amr: tuple[str, ...], organization: str | None = None, agent: str = "", address: str = "",
        replaces: str | None = None,
    ) -> tuple[str, Session]:  # fmt: skip
        """A new session and the value of its cookie, at every sign-in: a cookie planted before it is worth nothing after.

        replaces: value of the cookie the browser had; that session ends.
        """
        if replaces:
            old = await self._of(replaces)
            if old is not None:
                await self.end(Session.of(old.data))
        now, key = int(time.time()), secret()
        session = Session(secrets.token_urlsafe(16), account.id, now, amr, organization, agent[:200], address[:64])
        await self._records.change([self._put(session, key_hash=digest(key), seen=now, version=0)])
        others = sorted((s for s in await self.list(account.id) if s.session.id != session.id), key=lambda s: s.seen)
        for s in others[: max(0, len(others) + 1 - PER_ACCOUNT)]:
            await self.end(s.session)
        return f"{session.id}.{key}", session

    async def of(self, cookie: str | None) -> tuple[Session, Account] | None:
        """Who is signed in. None: no session, one too old, one not used for too long, or an account that is disabled."""
        record = await self._of(cookie or "")
        if record is None:
            return None
        session, now = Session.of(record.data), int(time.time())
        if now >= self._end(session, record.data["seen"]):
            return None
        account = await self._accounts.get(session.account)
        if account is None or not account.enabled:
            await self.end(session)
            return None
        if now - record.data["seen"] >= SEEN_SECONDS:
            try:
                await self._records.change([self._put(session, key_hash=record.data["secret"], seen=now, version=record.version)])
            except Conflict:
                pass  # another request of the same browser did it
        return session, account

    async def renew(self, session: Session, *, amr: tuple[str, ...]) -> tuple[str, Session] | None:
        """The same person has proven again who they are: the session stays and its cookie's secret is a new one. None: it has ended."""
        now, key = int(time.time()), secret()
        fresh = replace(session, signed_in=now, amr=amr)
        return (f"{session.id}.{key}", fresh) if await self._change(fresh, key_hash=digest(key)) else None

    async def act_for(self, session: Session, organization: str | None) -> Session | None:
        """The facility acted for from now on (whether the person belongs to it is the caller's to check). None: it has ended."""
        changed = replace(session, organization=organization)
        return changed if await self._change(changed) else None

    def fresh(self, session: Session, max_age: int) -> bool:
        """Whether the person proved who they are within `max_age` seconds (OpenID Connect's max_age; step-up)."""
        return int(time.time()) - session.signed_in <= max_age

    async def list(self, account: str) -> Sequence[Seen]:
        """Sessions under way of an account's id, the latest seen first."""
        now = int(time.time())
        found = [Seen(Session.of(r.data), r.data["seen"]) for r in await self._records.find("session", f"account/{account}")]
        return sorted((s for s in found if now < self._end(s.session, s.seen)), key=lambda s: -s.seen)

    async def get(self, id: str) -> Session | None:
        """A session by its id, for what was given under it; None when it has ended."""
        record = await self._records.get("session", id) if possible(id) else None
        if record is None or int(time.time()) >= self._end(Session.of(record.data), record.data["seen"]):
            return None
        return Session.of(record.data)

    async def end(self, session: Session) -> None:
        """Ends with effect on the next request; ending twice is no error."""
        if await self._records.take("session", session.id) is not None:
            await self.ended(session)

    async def end_one(self, account: str, id: str) -> bool:
        """End a session of this account and of no other; False where it is not there."""
        record = await self._records.get("session", id) if possible(id) else None
        if record is None or record.data["account"] != account:
            return False
        await self.end(Session.of(record.data))
        return True

    async def end_all(self, account: str, *, but: str | None = None) -> int:
        """End an account's sessions, all `but` one id; how many."""
        ended = 0
        while found := [r for r in await self._records.find("session", f"account/{account}") if r.id != but]:
            for record in found:
                await self.end(Session.of(record.data))
                ended += 1
        return ended

    async def _of(self, cookie: str) -> Record | None:
        if len(cookie) > VALUE_MAX:
            return None
        id, _, key = cookie.partition(".")
        record = await self._records.get("session", id) if possible(id) and key else None
        return record if record and hmac.compare_digest(record.data["secret"], digest(key)) else None

    async def _change(self, session: Session, *, key_hash: str | None = None) -> bool:
        while True:
            record = await self._records.get("session", session.id)
            if record is None:
                return False
            try:
                seen = int(time.time())
                await self._records.change(
                    [self._put(session, key_hash=key_hash or record.data["secret"], seen=seen, version=record.version)]
                )
            except Conflict:
                continue
            return True

    def _end(self, session: Session, seen: int) -> int:
        started = session.signed_in
        return min(started + self._settings.session_seconds, seen + self._settings.session_idle_seconds)

    def _put(self, session: Session, *, key_hash: str, seen: int, version: int) -> Put:
        data: dict[str, Any] = {**session.data(), "secret": key_hash, "seen": seen}
        ends = self._end(session, seen) * 1000
        return Put("session", session.id, data, version=version, expires=ends, refs=(f"account/{session.account}",))
