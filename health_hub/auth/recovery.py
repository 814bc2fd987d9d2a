"""Recovery codes for who has lost their telephone: ten, each good once.

Record kind "recovery": id the account's, {"hashes": Argon2id of each code or "" once used, "made": seconds since 1970}. A code is
the letter of its place and 50 random bits, so that checking one costs one hash and not ten.
"""

import re
import secrets
import time

from health_hub.auth.model import Account
from health_hub.auth.passwords import Passwords
from health_hub.store.records import Conflict
from health_hub.store.store import Store

CODES = 10
# No I, L, O, U: nothing to mistake for a digit, and no word by chance.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PLACES = "ABCDEFGHJK"
_CODE = re.compile(rf"[{PLACES}][{ALPHABET}]{{10}}")


class Recovery:
    def __init__(self, store: Store, passwords: Passwords) -> None:
        self._records, self._passwords = store.records, passwords

    async def make(self, account: Account) -> list[str]:
        """New codes in place of all older ones; shown once. Raises Busy."""
        codes = [place + "".join(secrets.choice(ALPHABET) for _ in range(10)) for place in PLACES[:CODES]]
        hashes = [await self._passwords.hash(code) for code in codes]
        await self._records.put("recovery", account.id, {"hashes": hashes, "made": int(time.time())})
        return [f"{c[0]}-{c[1:6]}-{c[6:]}" for c in codes]

    async def use(self, account: Account, code: str) -> bool:
        """Whether the code is right and was not used; now it is. Raises Busy."""
        code = re.sub(r"[\s-]", "", code[:40]).upper()
        if not _CODE.fullmatch(code):
            return False
        record = await self._records.get("recovery", account.id)
        place = PLACES.index(code[0])
        hash = record.data["hashes"][place] if record else ""
        if record is None or not hash or not await self._passwords.matches(hash, code):
            return False
        hashes = [h if n != place else "" for n, h in enumerate(record.data["hashes"])]
        try:
            await self._records.put("recovery", account.id, {**record.data, "hashes": hashes}, version=record.version)
        except Conflict:
            return False
        return True

    async def left(self, account: Account) -> int:
        """How many are unused."""
        record = await self._records.get("recovery", account.id)
        return sum(map(bool, record.data["hashes"])) if record else 0

    async def remove(self, account: Account) -> None:
        await self._records.take("recovery", account.id)
