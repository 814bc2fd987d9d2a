"""Device authorization (RFC 8628): a station without a browser shows a short code, a person enters it elsewhere and agrees.

Record kind "device-code", id SHA-256 of the device_code: {"client", "asked": scope, "state": "pending", "approved" or "denied",
"interval" (seconds), "polled" (ms), "ends" (ms), and once approved "account", "session", "organization", "scope", "patient",
"encounter"}. Record kind "user-code", id HMAC of the user_code with the store's secret (it has 34 bits, a plain hash would be
searched through), {"device": id of the device-code}.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from health_hub.auth.limits import Waits, source
from health_hub.auth.lockout import Limit, Wait
from health_hub.auth.model import AuthError, Client, Session
from health_hub.store.records import Conflict, Put, Record, Take, now

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

GRANT: Literal["urn:ietf:params:oauth:grant-type:device_code"] = "urn:ietf:params:oauth:grant-type:device_code"
SECONDS, INTERVAL, SLOWER, SLOWEST = 600, 5, 5, 60  # of a code; between polls, at first, longer each time, at most
EARLY = 500  # ms a poll may come before its time: the net jitters
# RFC 8628 6.1: no vowels, so no words; no digits to confuse. 20^8 codes.
ALPHABET, LENGTH = "BCDFGHJKLMNPQRSTVWXZ", 8
# Wrong codes: with a hundred codes under way all guesses together find one in some 10^5 hours.
BY_ADDRESS = Limit(10, 5, 900, 3600)
BY_ALL = Limit(300, 1, 10, 900)
TRIES = 5


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for a person. scope: what the device asked for, as its client may have."""

    client: Client
    scope: str
    user_code: str


@dataclass(frozen=True, slots=True)
class Approved:
    """What a person agreed to, handed out once. account, session: ids; patient, encounter: bare ids."""

    account: str
    session: str
    organization: str | None
    scope: str
    patient: str | None
    encounter: str | None


def shown(user_code: str) -> str:
    """As a person reads it: XXXX-XXXX."""
    return f"{user_code[:4]}-{user_code[4:]}"


def typed(user_code: str) -> str | None:
    """The code in what a person typed, whatever its case and separators; None: it can be none."""
    code = "".join(c for c in user_code[:64].upper() if c not in " -_.\t\u2010\u2011\u2012\u2013\u2014")
    return code if len(code) == LENGTH and all(c in ALPHABET for c in code) else None


class Devices:
    """One a process."""

    def __init__(self, authority: "Authority") -> None:
        self._authority, self._records = authority, authority.store.records
        self._here, self._everywhere = Waits(BY_ADDRESS), Waits(BY_ALL, keys=1)

    async def begin(self, client: Client, scope: str) -> dict[str, Any]:
        """The device authorization response (RFC 8628 3.2). scope: what the client may have of what it asked."""
        code = secrets.token_urlsafe(32)
        ends = now() + SECONDS * 1000
        data = {"client": client.id, "asked": scope, "state": "pending", "interval": INTERVAL, "polled": 0, "ends": ends}
        for _ in range(TRIES):
            user_code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
            try:
                await self._records.change([
                    # Known a while longer than it is good, so that a device hears that its code has expired.
                    Put("device-code", _hash(code), data, version=0, expires=ends + SECONDS * 1000),
                    Put("user-code", self._mark(user_code), {"device": _hash(code)}, version=0, expires=ends),
                ])
            except Conflict:
                continue  # someone else has this code
            uri = f"{self._authority.issuer}/device"
            return {
                "device_code": code, "user_code": shown(user_code), "verification_uri": uri,
                "verification_uri_complete": f"{uri}?user_code={shown(user_code)}", "expires_in": SECONDS, "interval": INTERVAL,
            }  # fmt: skip
        raise AuthError("temporarily_unavailable", "too many codes are in use", 503)

    async def find(self, user_code: str, *, address: str) -> Pending | None:
        """The request of a code that a person typed; None: there is none (any more). Raises Wait where too many were wrong."""
        found = await self._guess(user_code, address)
        if found is None:
            return None
        client = await self._authority.clients.get(found.data["client"])
        return Pending(client, found.data["asked"], typed(user_code) or "") if client is not None and client.enabled else None

    async def approve(
        self, user_code: str, session: Session, scope: str, patient: str | None = None, *, encounter: str | None = None, address: str
    ) -> bool:
        """The person of the session agrees to `scope`, no more than was asked. False: nothing waits. Raises Wait, AuthError."""
        found = await self._guess(user_code, address)
        if found is None:
            return False
        if not set(scope.split()) <= set(found.data["asked"].split()):
            raise AuthError("invalid_scope", "more than the device asked for")
        return await self._settle(found, user_code, {
            "state": "approved", "account": session.account, "session": session.id, "organization": session.organization, "scope": scope,
            "patient": patient, "encounter": encounter,
        })  # fmt: skip

    async def deny(self, user_code: str, *, address: str) -> bool:
        """The person refuses. False: nothing waits. Raises Wait."""
        found = await self._guess(user_code, address)
        return found is not None and await self._settle(found, user_code, {"state": "denied"})

    async def poll(self, client: Client, device_code: str) -> Approved:
        """What was approved, once. Raises AuthError: authorization_pending, slow_down, access_denied, expired_token, invalid_grant."""
        if len(device_code) > 200:
            raise AuthError("invalid_grant", "no such device_code")
        while True:
            record = await self._records.get("device-code", _hash(device_code))
            if record is None or record.data["client"] != client.id:
                raise AuthError("invalid_grant", "no such device_code")
            try:
                return await self._polled(record)
            except Conflict:
                continue  # another poll, or the person, came in between

    async def _polled(self, record: Record) -> Approved:
        data, current = record.data, now()
        if current >= data["ends"]:
            raise AuthError("expired_token", "the device_code has expired")
        early = current - data["polled"] < data["interval"] * 1000 - EARLY
        kept = data | {"polled": current, "interval": min(SLOWEST, data["interval"] + SLOWER) if early else data["interval"]}
        if early or data["state"] == "pending":
            await self._records.change([Put("device-code", record.id, kept, version=record.version, expires=record.expires)])
            raise AuthError(*("slow_down", "polled too early") if early else ("authorization_pending", "the person has not agreed yet"))
        await self._records.change([Take("device-code", record.id, must=True, version=record.version)])
        if data["state"] == "denied":
            raise AuthError("access_denied", "the person refused")
        return Approved(data["account"], data["session"], data["organization"], data["scope"], data["patient"], data["encounter"])

    async def _guess(self, user_code: str, address: str) -> Record | None:
        who = source(address)
        if wait := max(self._here.left(who), self._everywhere.left("")):
            raise Wait(wait)
        self._here.count(who)
        self._everywhere.count("")
        found = await self._of(user_code)
        if found is not None:
            self._here.right(who)
            self._everywhere.right("")
        return found

    async def _of(self, user_code: str) -> Record | None:
        code = typed(user_code)
        mark = await self._records.get("user-code", self._mark(code)) if code else None
        found = await self._records.get("device-code", mark.data["device"]) if mark else None
        return found if found is not None and found.data["state"] == "pending" and now() < found.data["ends"] else None

    async def _settle(self, found: Record, user_code: str, outcome: dict[str, Any]) -> bool:
        """One answer counts; the user code is worth nothing after it."""
        mark = self._mark(typed(user_code) or "")
        for _ in range(TRIES):
            try:
                await self._records.change([
                    Put("device-code", found.id, found.data | outcome, version=found.version, expires=found.expires),
                    Take("user-code", mark, must=True),
                ])  # fmt: skip
            except Conflict:
                again = await self._of(user_code)  # a poll came in between
                if again is None:
                    return False
                found = again
                continue
            return True
        return False

    def _mark(self, user_code: str) -> str:
        return hmac.new(self._authority.store.secret, b"user-code " + user_code.encode(), hashlib.sha256).hexdigest()


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
