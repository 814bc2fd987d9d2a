"""Refresh tokens: each is good once and brings the next; one that comes a second time ends its whole family (RFC 9700 4.14.2).

Record kind "grant", id random (`Claims.session`), auth/model.py Granted and "current": SHA-256 of the refresh token that is good
now ("" where there is none), "issued", "ends": seconds since 1970 UTC. refs: account/ID, client/ID, pair/ACCOUNT/CLIENT, and
session/ID of the browser's session where the grant ends with it.

A refresh token is the family, a random part and a tag that only this hub can make, each after a dot: an old one is known by its
tag although it is not kept, and a made-up one ends nobody's access.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from health_hub.auth.ids import possible
from health_hub.auth.introspection import Family
from health_hub.auth.model import AuthError, Client, Granted, Session
from health_hub.auth.revoked import Revoked
from health_hub.settings import Settings
from health_hub.store.records import Conflict, Put, Record, Records, Take
from health_hub.store.store import Store

TOKEN_MAX = 300  # characters; a longer one is none of ours


class Families:
    """One a process. alive(session id): whether a browser's session is under way."""

    def __init__(self, store: Store, settings: Settings, revoked: Revoked, alive: Callable[[str], Awaitable[object | None]]) -> None:
        self._records, self._settings, self._revoked, self._alive = store.records, settings, revoked, alive
        self._secret = hmac.new(store.secret, b"refresh tokens", hashlib.sha256).digest()

    async def begin(self, granted: Granted, *, refreshing: bool, also: Sequence[Put | Take] = ()) -> str:
        """Keeps a new grant, all or none with `also`; its first refresh token, "" without `refreshing`. Raises Conflict."""
        token = self._token(granted.id) if refreshing else ""
        await self._records.change([self._put(granted, token, 0), *also])
        return token

    async def read(self, token: str, client: Client) -> tuple[Granted, int]:
        """The grant of a refresh token that is good now, and its version for `rotate`.

        Raises AuthError invalid_grant; for one that was used before, after ending the family.
        """
        record = await self._of(token)
        if record is None or record.data["client"] != client.id:
            raise _refused()
        if not self._is_current(record, token):
            await self.end(record.id)
            raise AuthError("invalid_grant", "the refresh token was used before: all that came of this authorization has ended")
        granted = Granted.of(record.data)
        if not granted.offline and await self._alive(granted.session) is None:
            await self.end(record.id)
            raise _refused()
        return granted, record.version

    async def rotate(self, granted: Granted, version: int) -> str:
        """The next refresh token. Of two who bring the same one, the second ends the family: one of them stole it. Raises AuthError."""
        token = self._token(granted.id)
        try:
            await self._records.change([self._put(granted, token, version)])
        except Conflict:
            await self.end(granted.id)
            raise AuthError("invalid_grant", "the refresh token was used before: all that came of this authorization has ended") from None
        return token

    async def find(self, token: str) -> Family | None:
        """Of a refresh token that could be redeemed now; looking is no use of it."""
        record = await self._of(token)
        if record is None or not self._is_current(record, token):
            return None
        g = Granted.of(record.data)
        if not g.offline and await self._alive(g.session) is None:
            return None
        issued, ends = record.data["issued"], record.data["ends"]
        return Family(g.id, g.client, g.account, g.scope, issued, ends, None, g.patient, g.encounter, g.thumbprint)

    async def owner(self, token: str) -> tuple[str, str] | None:
        """Family and client of a refresh token of ours, an old one too."""
        record = await self._of(token)
        return None if record is None else (record.id, record.data["client"])

    async def get(self, id: str) -> Granted | None:
        record = await self._records.get("grant", id) if possible(id) else None
        return None if record is None else Granted.of(record.data)

    async def of_account(self, account: str) -> list[Granted]:
        """What an account's applications hold now (auth/consents.py says what they may have)."""
        return [Granted.of(r.data) for r in await self._records.find("grant", f"account/{account}")]

    async def end(self, id: str) -> None:
        """No refresh token of it is good any more, and no access token, on any worker within a second."""
        await self._end([id])

    async def end_session(self, session: Session) -> None:
        """What lives only as long as the browser's session (auth/sessions.py `ended`)."""
        await self._end_found(f"session/{session.id}")

    async def end_client(self, client: str) -> None:
        await self._end_found(f"client/{client}")

    async def end_pair(self, account: str, client: str) -> None:
        """All that one application holds of one person."""
        await self._end_found(f"pair/{account}/{client}")

    async def _end_found(self, ref: str) -> None:
        while found := await self._records.find("grant", ref):
            await self._end([r.id for r in found])

    async def _end(self, ids: Sequence[str]) -> None:
        # The record first: a refresh that comes in between fails, and what it made before is covered by the second step.
        await self._records.change([Take("grant", id) for id in ids])
        await self._revoked.add(*(f"session/{id}" for id in ids))

    def _put(self, g: Granted, token: str, version: int) -> Put:
        now = int(time.time())
        lasts = self._settings.refresh_token_seconds if g.offline else self._settings.online_token_seconds
        if not token:
            lasts = self._settings.access_token_seconds
        ends = min(now + lasts, g.began + self._settings.grant_seconds)
        data: dict[str, Any] = {**g.data(), "current": _hash(token) if token else "", "issued": now, "ends": ends}
        refs = [f"account/{g.account}", f"client/{g.client}", f"pair/{g.account}/{g.client}"]
        if not g.offline:
            refs.append(f"session/{g.session}")
        return Put("grant", g.id, data, version=version, expires=ends * 1000, refs=tuple(refs))

    def _token(self, family: str) -> str:
        body = f"{family}.{secrets.token_urlsafe(32)}"
        return f"{body}.{self._tag(body)}"

    def _tag(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]

    def _is_current(self, record: Record, token: str) -> bool:
        return hmac.compare_digest(record.data["current"], _hash(token))

    async def _of(self, token: str) -> Record | None:
        """The family of a token that this hub made at some time."""
        if len(token) > TOKEN_MAX:
            return None
        body, _, tag = token.rpartition(".")
        family = body.partition(".")[0]
        if not possible(family) or not hmac.compare_digest(self._tag(body), tag.encode("ascii", "replace").decode()):
            return None
        return await self._records.get("grant", family)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _refused() -> AuthError:
    return AuthError("invalid_grant", "the refresh token is not good (any more)")


async def end_grants(records: Records, revoked: Revoked, account: str) -> None:
    """What applications hold of an account ends, offline access too: after a new password, or when the account is closed."""
    while found := await records.find("grant", f"account/{account}"):
        await records.change([Take("grant", r.id) for r in found])
        await revoked.add(*(f"session/{r.id}" for r in found))
