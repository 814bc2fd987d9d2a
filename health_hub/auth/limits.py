"""How often a stranger may knock: sliding counters and growing waits, in memory, of this process only.

With N workers a stranger has up to N times as much; what must hold exactly is counted in the store (auth/lockout.py). Memory is
bounded: the key unheard for longest is forgotten first. Keys are hashed with a secret of the process: no address stays in memory.
"""

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from health_hub.auth.lockout import Limit

T = TypeVar("T")
KEYS = 10_000  # counted at once


def source(address: str) -> str:
    """Who an address stands for: itself, or with IPv6 its /64, which one machine has all to itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "-"
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


class _Kept(Generic[T]):
    """A bounded table by hashed key."""

    def __init__(self, keys: int) -> None:
        self._most, self._secret = keys, secrets.token_bytes(16)
        self._table: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def name(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()

    def get(self, name: bytes) -> T | None:
        return self._table.get(name)

    def put(self, name: bytes, value: T) -> None:
        self._table[name] = value
        self._table.move_to_end(name)
        if len(self._table) > self._most:
            self._table.popitem(last=False)


class Rate:
    """At most `limit` in any `seconds`, by key: this window's count, and of the one before as much as still reaches into it."""

    def __init__(self, limit: int, seconds: float, *, keys: int = KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.seconds, self._clock = limit, seconds, clock
        self._kept: _Kept[tuple[int, int, int]] = _Kept(keys)

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: str) -> int:
        """Counts one; 0 where it is within the limit, else (and then it is not counted) the seconds to wait."""
        now, name = self._clock(), self._kept.name(key)
        window = int(now // self.seconds)
        at, count, before = self._kept.get(name) or (window, 0, 0)
        if at != window:
            count, before = 0, count if at == window - 1 else 0
        into = now / self.seconds - window
        if count + before * (1 - into) > self.limit - 1:
            return max(1, int((1 - into) * self.seconds) + 1)
        self._kept.put(name, (window, count + 1, before))
        return 0


class Waits:
    """Each guess beyond the free ones waits twice as long as the one before it, by key (auth/lockout.py Limit)."""

    def __init__(self, limit: Limit, *, keys: int = KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._kept: _Kept[tuple[int, float]] = _Kept(keys)

    def __len__(self) -> int:
        return len(self._kept)

    def left(self, key: str) -> int:
        """Seconds until the next guess is looked at."""
        kept = self._kept.get(self._kept.name(key))
        return 0 if kept is None else max(0, -int(-(kept[1] - self._clock()) // 1))

    def count(self, key: str) -> None:
        """A guess, counted before it is looked at."""
        now, name = self._clock(), self._kept.name(key)
        count, until = self._kept.get(name) or (0, now)
        if now > until + self._limit.forgotten:
            count = 0
        self._kept.put(name, (count + 1, now + self._limit.delay(count + 1)))

    def right(self, key: str) -> None:
        """The guess counted last was right. Those before it stay: a right one of one's own buys no wrong ones."""
        now, name = self._clock(), self._kept.name(key)
        if kept := self._kept.get(name):
            self._kept.put(name, (kept[0] - 1, now))
