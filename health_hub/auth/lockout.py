"""Wrong guesses make the next one wait: who guesses waits long, the clinic behind the same address does not.

Counted are guesses at a login from one network, at a login from anywhere, from one address at any login, and apart from these
those of a browser that has signed in to the account before (its "device" cookie), so that a stranger's guesses do not lock out
the owner. A guess is counted before it is looked at: guesses sent at once do not go through together. A login that does not
exist is counted like any other, so waiting says nothing about it.

Record kinds owned here: "attempts" (id SHA-256 of what is counted, {"count", "until": ms since 1970}) and "device" (id SHA-256
of the cookie's secret and the account's id, ref "account/" + id, {"account", "since": seconds since 1970}).
"""

import asyncio
import hashlib
import ipaddress
import random
import time
from dataclasses import dataclass

from health_hub.auth.cookies import DEVICE_SECONDS, VALUE_MAX, digest, secret
from health_hub.auth.model import Account
from health_hub.store.records import Conflict, Put, Record, Take, now
from health_hub.store.store import Store

TRIES = 20  # compare-and-swaps of one count; guesses that find it busy for longer come too fast


class Wait(Exception):
    """Too many wrong guesses; nothing was checked. seconds: until the next one is."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"wait {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """The guesses that are free, seconds the one after them waits (each further one twice as long) and at most, seconds until forgotten."""

    free: int
    first: float
    most: float
    forgotten: int

    def delay(self, count: int) -> float:
        """Seconds to wait after `count` guesses."""
        over = count - self.free
        return 0.0 if over < 0 else min(self.most, self.first * 2.0 ** min(over, 30))


NETWORK = Limit(5, 5, 900, 3_600)  # a login from one network: 5 free, then 5 s, 10 s .. 15 minutes: 100 guesses a day
LOGIN = Limit(20, 5, 900, 3_600)  # a login from anywhere: against guesses from many networks
DEVICE = Limit(10, 5, 300, 3_600)  # a login in a browser that signed in to it before
ADDRESS = Limit(200, 1, 60, 3_600)  # any login from one address: a hospital may stand behind it
FACTOR = Limit(5, 5, 900, 86_400)  # codes: 1 in 333,000 is right; 15 minutes each is 0.03% a day


def network(address: str) -> str:
    """The network an address belongs to: /24 (IPv4) or /48 (IPv6), what one household or provider's customer commonly has."""
    return _prefix(address, 24, 48)


def _prefix(address: str, v4: int, v6: int) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "-"
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return str(ipaddress.ip_network((ip, v4 if ip.version == 4 else v6), strict=False))


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Guess:
    """One guess that was counted; `Lockout.right` takes it back."""

    own: str  # key of the count of whoever guesses here
    everywhere: str | None  # of all who guess at this login and are not trusted
    address: str


class Lockout:
    """One a process; the counts are shared by all."""

    def __init__(self, store: Store) -> None:
        self._records = store.records

    async def guess(self, login: str, address: str, *, trusted: bool, device: str = "") -> Guess:
        """Count a guess at a folded login's password. trusted: `device` is a cookie this account knows. Raises Wait."""
        by_address = _key("address", _prefix(address, 32, 64))
        self._wait(await self._records.get("attempts", by_address))
        if trusted:
            own = _key("device", login, digest(device))
            await self._count(own, DEVICE)
            return Guess(own, None, by_address)
        own, everywhere = _key("network", login, network(address)), _key("login", login)
        await self._count(own, NETWORK)
        await self._count(everywhere, LOGIN)
        return Guess(own, everywhere, by_address)

    async def wrong(self, guess: Guess) -> None:
        """The guess was wrong: it counts for its address too."""
        try:
            await self._count(guess.address, ADDRESS)
        except Wait:
            pass

    async def right(self, guess: Guess) -> None:
        """The guess was right: whoever guesses here starts anew, and others' guesses at the login stay counted."""
        await self._records.change([Take("attempts", guess.own)])
        if guess.everywhere:
            await self._less(guess.everywhere)

    async def code(self, account: Account, device: str | None) -> str:
        """Count a guess at a second factor, a trusted browser's apart from all others; for `code_right`. Raises Wait."""
        key = _key("factor", account.id, digest(device or "") if await self.trusted(account, device) else "")
        await self._count(key, FACTOR)
        return key

    async def code_right(self, key: str) -> None:
        await self._records.change([Take("attempts", key)])

    async def trust(self, account: Account, device: str | None) -> str:
        """Remember that a browser signed in to an account; the value of its device cookie, the one it has where that is good."""
        device = device if device and 40 <= len(device) <= VALUE_MAX else secret()
        data = {"account": account.id, "since": int(time.time())}
        expires = now() + DEVICE_SECONDS * 1000
        await self._records.put("device", _key(device, account.id), data, expires=expires, refs=(f"account/{account.id}",))
        return device

    async def trusted(self, account: Account | None, device: str | None) -> bool:
        """Whether a browser has signed in to the account before. The work is the same where there is no account."""
        key = _key(device or "", account.id if account else "")
        return await self._records.get("device", key) is not None and account is not None and bool(device)

    async def distrust(self, account: str) -> None:
        """Forget all browsers of an account's id, for instance when its password was changed."""
        while found := await self._records.find("device", f"account/{account}"):
            await self._records.change([Take("device", r.id) for r in found])

    async def _count(self, key: str, limit: Limit) -> None:
        for _ in range(TRIES):
            record = await self._records.get("attempts", key)
            self._wait(record)
            count, time_now = (record.data["count"] if record else 0) + 1, now()
            until = time_now + int(limit.delay(count) * 1000)
            version = record.version if record else 0
            try:
                await self._records.change([
                    Put("attempts", key, {"count": count, "until": until}, version=version, expires=until + limit.forgotten * 1000)
                ])
            except Conflict:
                await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311  not a secret
                continue
            return
        raise Wait(1)

    async def _less(self, key: str) -> None:
        for _ in range(TRIES):
            record = await self._records.get("attempts", key)
            if record is None:
                return
            data = {"count": max(0, record.data["count"] - 1), "until": record.data["until"]}
            try:
                await self._records.change([Put("attempts", key, data, version=record.version, expires=record.expires)])
            except Conflict:
                await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311  not a secret
                continue
            return

    @staticmethod
    def _wait(record: Record | None) -> None:
        left = record.data["until"] - now() if record else 0
        if left > 0:
            raise Wait(-(-left // 1000))
