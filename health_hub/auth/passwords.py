"""Passwords: hashed by Argon2id (RFC 9106) in threads of which only a few run at once.

Record kind owned here: "password" (id the account's, {"hash": PHC string, "changed": seconds since 1970}).
"""

import asyncio
import secrets
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from health_hub.auth.model import Account
from health_hub.store.records import Conflict
from health_hub.store.store import Store

# OWASP's second choice of equal strength: 19 MiB, 2 passes, 1 lane. Measured here: 21 ms of one core and 19 MiB a hash
# (46 MiB with 1 pass: 51 ms). With THREADS at once a flood of sign-ins takes 38 MiB and waits for its turn.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
THREADS = 2
WAITING_MAX = 100  # sign-ins waiting for a thread, about a second of work; more are told to come back
LENGTH_MAX = 128  # characters, NFC

T = TypeVar("T")


class Busy(Exception):
    """Too many passwords are being checked; nothing was checked."""


class Passwords:
    """One a process. A login that does not exist costs the same as one that does: the hash of a random password is checked."""

    def __init__(self, store: Store, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._records = store.records
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._nobody: str | None = None
        self.hashed = 0  # hashes computed so far, for tests of what a sign-in costs

    async def set(self, account: Account, password: str) -> None:
        """Not checked against the policy (auth/password_policy.py). What ends with an old one: auth/change.py. Raises Busy."""
        hash = await self.hash(_normal(password))
        await self._records.put("password", account.id, {"hash": hash, "changed": int(time.time())})

    async def remove(self, account: Account) -> None:
        await self._records.take("password", account.id)

    async def present(self, account: Account) -> bool:
        return await self._records.get("password", account.id) is not None

    async def verify(self, account: Account | None, password: str) -> bool:
        """None: a login nobody has. One hash is computed whatever the answer. Raises Busy."""
        record = await self._records.get("password", account.id if account else "-")
        if self._nobody is None:
            self._nobody = await self.hash(secrets.token_urlsafe(16))
        hash = record.data["hash"] if record else self._nobody
        normal = _normal(password)
        # Too long is wrong, and costs no more than any other wrong one.
        right = await self.matches(hash, normal[:LENGTH_MAX]) and len(normal) <= LENGTH_MAX
        if record is None or not right:
            return False
        if self._hasher.check_needs_rehash(hash):
            try:
                data = {**record.data, "hash": await self.hash(normal)}
                await self._records.put("password", record.id, data, version=record.version)
            except (Busy, Conflict):
                pass  # at the next sign-in
        return True

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, text: str) -> str:
        """PHC string of a text already normal. Raises Busy."""
        return await self._run(self._hash, text)

    async def matches(self, hash: str, text: str) -> bool:
        """Raises Busy."""
        return await self._run(self._matches, hash, text)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_bytes(password))

    def _matches(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *args: str) -> T:
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        self.hashed += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._waiting -= 1


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password[: 4 * LENGTH_MAX])


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # half a surrogate, which JSON can hold, is a wrong password like others
