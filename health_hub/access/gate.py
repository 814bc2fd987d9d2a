"""The gate before the FHIR API: from the token of a request to what it may see and do, and the trail it leaves."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from health_hub.access import entry as entries
from health_hub.access.entry import PATIENTS, RESOURCES, Entry
from health_hub.access.policy import Policy, Rights
from health_hub.access.principal import Directory, Principal
from health_hub.access.scribe import Scribe
from health_hub.auth import scopes
from health_hub.auth.authority import Authority
from health_hub.auth.model import Account, AuthError, Claims
from health_hub.store.model import Result, Stored
from health_hub.store.store import Store
from health_hub.store.view import View

RIGHTS = 2000  # of tokens that one process keeps ready
FRESH = 2.0  # seconds: what a token may do follows changes of roles and facilities within these
FLUSH = 60.0  # seconds of anonymous refusals that are told together
SENDERS = 100  # addresses that one token is kept ready for
ADDRESSES = 1000  # of them; the rest is told as one
EMERGENCY = {"ETREAT", "BTG"}
_OWN_PAGES = scopes.parse("user/*.cruds")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Access:
    """One request's: who sends it, what they may, and what was shown to them. Entries of a Bundle share it."""

    who: Principal
    rights: Rights
    address: str = ""
    request_id: str = ""
    told: bool = False  # a commit has left an entry
    shown: list[Stored] = field(default_factory=list)
    refused: int = 0  # entries of a batch since the last entry
    same: dict[str, bytes] = field(default_factory=dict)  # by address: what the journal's entries of this token begin with

    def view(self, store: Store, right: str) -> View:
        """What they see; all of it is noted. right: `r` or `s`."""
        return store.view(self.rights.search if right == "s" else self.rights.read, self.shown.append)

    def apart(self) -> "Access":
        """For one entry of a Bundle of several: what its commit takes to be looked at for the sake of writing is only its own."""
        return replace(self, told=False, shown=[], refused=0)

    def join(self, entry: "Access") -> None:
        """What an entry has shown and not told yet."""
        self.shown += entry.shown
        self.told = self.told or entry.told
        self.refused += entry.refused

    def entry(self, interaction: str, action: str, status: int, target: str, results: Sequence[Result] = ()) -> bytes:
        """The journal's entry of what was shown or written since the last one."""
        versions = entries.written(results) if results else self.shown
        patients = entries.patients_of(versions)
        same = self.same.get(self.address)
        if same is None:
            if len(self.same) >= SENDERS:
                self.same.clear()
            same = self.same[self.address] = self._same()
        more: dict[str, Any] = {}
        if len(patients) > PATIENTS:
            more["more"] = len(patients) - PATIENTS
        if self.refused and not results:
            more["note"] = f"{self.refused} entries were refused"
        if results:
            more["first"] = any(r.first for r in results)
        if self.request_id:
            more["request"] = self.request_id
        now = time.time_ns() // 1_000_000
        said = entries.quick(
            now, interaction, action, status, same, target[:2000], versions[:RESOURCES], patients[:PATIENTS], **more
        )
        if not results:
            self.shown.clear()
            self.refused = 0
        return said

    def _same(self) -> bytes:
        """What all entries of the token's holder from this address say."""
        who, claims = self.who, self.who.claims
        purpose = "TREAT" if who.role in ("practitioner", "nurse", "system") else "PATRQT" if who.role in ("patient", "carer") else ""
        return entries.fixed(
            Entry(
                0, "", "", 0, account=claims.subject, name=claims.name, role=who.role, me=who.me or "", client=claims.client,
                facility=who.facility or "", address=self.address, session=claims.session or "", purpose=purpose,
            )
        )  # fmt: skip


class Gate:
    """One a process."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.store: Store = authority.store
        settings = authority.settings
        self.directory = Directory(self.store)
        self.policy = Policy(ZoneInfo(settings.zone), authority.audience)
        self.scribe = Scribe(self.store, settings.zone)
        self.store.notes.under_way = lambda: self.scribe.busy
        self._ready: OrderedDict[str, tuple[float, Principal, Rights, dict[str, bytes]]] = OrderedDict()
        self._refused: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.scribe.start()
        self._task = asyncio.create_task(self._tell_refusals())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._flush()
        await self.scribe.stop()

    # --- tokens

    async def admit(self, authorization: bytes | None, dpop: bytes | None, method: str, url: str, address: str | None) -> Access:
        """AuthError 401 without a good token. The request's own path and method are what a DPoP proof must name."""
        try:
            claims = await self._claims(authorization, dpop, method, url)
        except AuthError:
            self._count(address or "?")
            raise
        kept = self._ready.get(claims.id)
        now = time.monotonic()
        if kept is None or kept[0] < now:
            who = await self.directory.principal(claims)
            rights = self.policy.rights(who, scopes.parse(claims.scope))
            kept = self._ready[claims.id] = (now + FRESH, who, rights, {})
            self._ready.move_to_end(claims.id)
            while len(self._ready) > RIGHTS:
                self._ready.popitem(last=False)
        return Access(kept[1], kept[2], address or "", same=kept[3])

    async def person(self, account: Account, organization: str | None, address: str) -> Access:
        """Of who is signed in on our own pages: all that their role sees and writes, with no application between."""
        now = int(time.time())
        claims = Claims(
            "", account.id, "", account.role, "user/*.cruds", now, now + 60, account.fhir_user, account.name, organization, account.labels
        )
        who = await self.directory.principal(claims)
        return Access(who, self.policy.rights(who, _OWN_PAGES), address)

    async def _claims(self, authorization: bytes | None, dpop: bytes | None, method: str, url: str) -> Claims:
        scheme, _, token = (authorization or b"").partition(b" ")
        kind = scheme.lower()
        if kind not in (b"bearer", b"dpop") or not token:
            raise AuthError("", "an access token is needed", 401)
        try:
            text = token.strip().decode("ascii")
        except UnicodeDecodeError:
            raise AuthError("invalid_token", "the token is not one of this hub", 401) from None
        claims = await self.authority.tokens.read(text)
        if claims.thumbprint is not None or kind == b"dpop" or dpop is not None:
            await self._proof(claims, text, kind, dpop, method, url)
        return claims

    async def _proof(self, claims: Claims, token: str, kind: bytes, dpop: bytes | None, method: str, url: str) -> None:
        """A token bound to a key is good with a proof of it only (RFC 9449 7.1)."""
        from health_hub.auth import dpop as proofs

        if claims.thumbprint is None:
            if kind == b"dpop":
                raise AuthError("invalid_token", "the token is not bound to a key", 401)
            return
        if kind != b"dpop" or dpop is None:
            raise AuthError("invalid_token", "the token is bound to a key: Authorization: DPoP and a DPoP proof are needed", 401)
        thumbprint = await proofs.check(self.authority, dpop.decode("latin-1"), method, url, access_token=token)
        if thumbprint != claims.thumbprint:
            raise AuthError("invalid_token", "the proof is of another key", 401)

    # --- the trail

    def _count(self, address: str) -> None:
        if address in self._refused or len(self._refused) < ADDRESSES:
            self._refused[address] += 1
        else:
            self._refused["(others)"] += 1

    async def _tell_refusals(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            try:
                await self._flush()
                await self.store.records.expire()  # codes, sessions, proofs that have ended
            except Exception:
                log.exception("refusals could not be written to the audit trail; they are told with the next")

    async def _flush(self) -> None:
        """Anonymous refusals as counts for each address, so that a flood cannot fill the trail."""
        told, self._refused = self._refused, Counter()
        now = time.time_ns() // 1_000_000
        records = [
            entries.encode(Entry(now, "refused", "E", 401, address=address, count=n, note=f"{n} requests without a good token"))
            for address, n in told.items()
        ]
        if records:
            try:
                await self.store.commit([], trail=records)
            except Exception:
                self._refused.update(told)
                raise

    async def note(self, said: Entry) -> None:
        """An entry of its own: signing in, a change of an account."""
        await self.store.commit([], trail=[entries.encode(said)])
