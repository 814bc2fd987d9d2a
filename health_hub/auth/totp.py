"""One-time codes of an authenticator application (TOTP, RFC 6238): six digits, 30 seconds, one step early or late.

Record kinds owned here: "totp" (id the account's, {"secret", "step": the last one used}) and "totp-new" (the same before the
first code has shown that the application has the secret; 10 minutes). The secret cannot be kept as a hash: codes are made of it.
"""

import hmac
import io
import time
from dataclasses import dataclass

import pyotp
import segno

from health_hub.auth.model import Account
from health_hub.store.records import Conflict, Put, Take, now
from health_hub.store.store import Store

STEP_SECONDS, DRIFT = 30, 1
NEW_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Shown once. secret: base32, in fours for typing; url: otpauth://; svg: the URL as a QR code, an <svg> element."""

    secret: str
    url: str
    svg: str


class Totp:
    """One a process. issuer: the hub's origin, whose host the application shows."""

    def __init__(self, store: Store, issuer: str) -> None:
        self._records = store.records
        self._host = issuer.partition("://")[2] or issuer

    async def enrol(self, account: Account, *, confirmed: bool = False) -> Enrolment:
        """A new secret. It counts, in place of an older one, once a code was confirmed, or at once where that is said."""
        secret = pyotp.random_base32(32)
        if confirmed:
            await self._records.put("totp", account.id, {"secret": secret, "step": 0})
        else:
            await self._records.put("totp-new", account.id, {"secret": secret, "step": 0}, expires=now() + NEW_SECONDS * 1000)
        url = pyotp.TOTP(secret).provisioning_uri(name=account.login, issuer_name=f"Health Hub {self._host}".replace(":", " "))
        out = io.BytesIO()
        segno.make(url, error="m").save(out, kind="svg", xmldecl=False, svgns=True, scale=4, border=4, light="#fff", title="QR")
        return Enrolment(" ".join(secret[i : i + 4] for i in range(0, len(secret), 4)), url, out.getvalue().decode())

    async def confirm(self, account: Account, code: str) -> bool:
        """The first code of a new secret, which then counts."""
        new = await self._records.get("totp-new", account.id)
        step = _step(new.data["secret"], code, 0) if new else None
        if new is None or step is None:
            return False
        try:
            await self._records.change([
                Take("totp-new", account.id, must=True, version=new.version),
                Put("totp", account.id, {"secret": new.data["secret"], "step": step}),
            ])
        except Conflict:
            return False
        return True

    async def verify(self, account: Account, code: str) -> bool:
        """Whether the code is right and no code of its time or later was accepted before (RFC 6238 5.2). Once, among all workers."""
        record = await self._records.get("totp", account.id)
        step = _step(record.data["secret"], code, record.data["step"]) if record else None
        if record is None or step is None:
            return False
        try:
            await self._records.put("totp", account.id, {**record.data, "step": step}, version=record.version)
        except Conflict:
            return False
        return True

    async def present(self, account: Account) -> bool:
        return await self._records.get("totp", account.id) is not None

    async def remove(self, account: Account) -> None:
        await self._records.change([Take("totp", account.id), Take("totp-new", account.id)])


def _step(secret: str, code: str, after: int) -> int | None:
    """The step of a right code behind the step `after`. Every step allowed is computed, so that time says nothing."""
    given = "".join(code[:20].split()).encode("utf-8", "replace")
    current, made, found = int(time.time()) // STEP_SECONDS, pyotp.TOTP(secret), None
    for step in range(current - DRIFT, current + DRIFT + 1):
        if hmac.compare_digest(made.generate_otp(step).encode(), given) and step > after:
            found = step
    return found
