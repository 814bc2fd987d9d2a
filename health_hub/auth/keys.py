"""Signing keys: made, kept encrypted, published, rotated without a restart, gone when the last token they signed has ended.

Record kind "key", one record, id "ring": {"keys": [{kid, alg, public, private, from, until}]}, so that a rotation is one
compare-and-swap. `from`: signs from this second on; `until`: verifies and is published until then, null while it is the newest.
The private part is encrypted with a key derived from HEALTH_HUB_KEY, or from the store's secret where that is not set.
"""

import asyncio
import base64
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import ECKey, Key, RSAKey, import_key

from health_hub.auth.sealed import derive
from health_hub.settings import SettingError
from health_hub.store.records import Conflict, Put, Records

log = logging.getLogger(__name__)

ALGORITHMS = ("ES256", "RS256")  # access tokens are signed with the first; RS256 is what OpenID Connect's clients may rely on
LEAD = 5  # seconds a new key is published before it signs: every worker looks each LOOK seconds
LOOK = 2.0
RELOAD = 1.0  # seconds between two looks for a key id nobody knows, so that made-up ids cost nothing
GRACE = 60  # seconds an old key stays longer than its last token, for clocks that differ


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`starts`, `until`: seconds since 1970 UTC."""

    kid: str
    alg: str
    key: Key
    public: dict[str, Any]
    starts: int
    until: int | None


class Keys:
    """`keep`: seconds the longest-lived token lives that these keys sign."""

    def __init__(self, records: Records, secret: bytes, keep: int) -> None:
        self._records, self._keep = records, keep
        self._cipher = AESGCM(derive(secret, "signing keys"))
        self._ring: dict[str, SigningKey] = {}
        self.version = 0  # of the ring; whoever caches what a key verified starts again when it changes
        self._looked = 0.0

    async def load(self) -> None:
        """Reads the ring, and makes it when there is none."""
        while not await self._read():
            made = [await self._make(alg, _now()) for alg in ALGORITHMS]
            try:
                await self._records.change([Put("key", "ring", {"keys": made}, version=0)])
            except Conflict:
                log.info("another worker made the keys")

    async def look(self) -> None:
        """Reads the ring again, at most once in RELOAD seconds."""
        if time.monotonic() - self._looked >= RELOAD:
            await self._read()

    async def watch(self) -> None:
        """For a task: keys that another worker rotated in are known here before they sign."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._read()
            except Exception:
                log.exception("the signing keys could not be read; looking again")

    async def rotate(self, lead: int = LEAD) -> list[str]:
        """New keys of every algorithm, published at once and signing `lead` seconds later; their ids."""
        while True:
            record = await self._records.get("key", "ring")
            if record is None:
                await self.load()
                continue
            now = _now()
            made = [await self._make(alg, now + lead) for alg in ALGORITHMS]
            kept = [k for k in record.data["keys"] if k["until"] is None or k["until"] > now]
            for k in kept:
                # One that a rotation replaced already keeps its end: it signs nothing any more.
                k["until"] = k["until"] or now + lead + self._keep + GRACE
            try:
                await self._records.change([Put("key", "ring", {"keys": [*kept, *made]}, version=record.version)])
            except Conflict:
                continue
            await self._read()
            return [k["kid"] for k in made]

    def signer(self, alg: str = ALGORITHMS[0]) -> SigningKey:
        """The key that signs now."""
        now = _now()
        started = [k for k in self._ring.values() if k.alg == alg and k.starts <= now]
        # Newest first: of two that start in the same second the last of the ring signs.
        return max(reversed(started), key=lambda k: k.starts)

    def get(self, kid: str) -> SigningKey | None:
        """A key that may still verify."""
        key = self._ring.get(kid)
        return key if key is not None and (key.until is None or key.until > _now()) else None

    def all(self) -> list[SigningKey]:
        """Published keys, oldest first."""
        now = _now()
        return sorted((k for k in self._ring.values() if k.until is None or k.until > now), key=lambda k: (k.starts, k.alg))

    def jwks(self) -> dict[str, Any]:
        """The JWK Set (RFC 7517 5) of public keys."""
        return {"keys": [k.public for k in self.all()]}

    async def _read(self) -> bool:
        self._looked = time.monotonic()
        record = await self._records.get("key", "ring")
        if record is None:
            return False
        if record.version != self.version:
            self._ring = {k["kid"]: self._ring.get(k["kid"]) or self._open(k) for k in record.data["keys"]}
            # A key that stays may have got an end.
            self._ring = {
                k["kid"]: SigningKey(k["kid"], k["alg"], self._ring[k["kid"]].key, k["public"], k["from"], k["until"])
                for k in record.data["keys"]
            }
            self.version = record.version
        return True

    async def _make(self, alg: str, starts: int) -> dict[str, Any]:
        key: ECKey | RSAKey
        if alg == "ES256":
            key = ECKey.generate_key("P-256")
        else:
            key = await asyncio.to_thread(RSAKey.generate_key, 2048)
        kid = key.thumbprint()
        public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": alg}
        nonce = os.urandom(12)
        sealed = nonce + self._cipher.encrypt(nonce, key.as_pem(private=True), kid.encode())
        return {"kid": kid, "alg": alg, "public": public, "private": base64.b64encode(sealed).decode(), "from": starts, "until": None}

    def _open(self, kept: dict[str, Any]) -> SigningKey:
        sealed = base64.b64decode(kept["private"])
        try:
            pem = self._cipher.decrypt(sealed[:12], sealed[12:], kept["kid"].encode())
        except InvalidTag:
            raise SettingError("HEALTH_HUB_KEY is not the one that the signing keys were kept with") from None
        key = import_key(pem, "EC" if kept["alg"].startswith("ES") else "RSA")
        return SigningKey(kept["kid"], kept["alg"], key, kept["public"], kept["from"], kept["until"])


def _now() -> int:
    return int(time.time())
