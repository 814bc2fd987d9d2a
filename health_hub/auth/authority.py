"""The authorization server of a process: its parts, where they find each other, and what is told to them from above."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from health_hub.auth import par
from health_hub.auth.accounts import Accounts
from health_hub.auth.audit import Audit, untold
from health_hub.auth.clients import Clients
from health_hub.auth.device import Devices
from health_hub.auth.families import Families
from health_hub.auth.fetch import Fetch, JwkSets
from health_hub.auth.keys import Keys
from health_hub.auth.model import Account, Client
from health_hub.auth.nonces import Nonces
from health_hub.auth.revoked import Revoked
from health_hub.auth.seen import Seen
from health_hub.auth.sessions import Sessions
from health_hub.auth.tokens import Tokens
from health_hub.settings import SettingError, Settings
from health_hub.store.store import Store

KEY_LENGTH = 32  # characters of HEALTH_HUB_KEY at least


@dataclass(frozen=True, slots=True)
class Person:
    """A patient to choose from. id: of the Patient; birth_date, gender: as FHIR writes them, "" where unknown."""

    id: str
    name: str
    birth_date: str = ""
    gender: str = ""


@dataclass(frozen=True, slots=True)
class Facility:
    """An Organization a person may act for. reference: `Organization/x`."""

    reference: str
    name: str


async def _nobody(account: Account, organization: str | None, text: str) -> Sequence[Person]:
    return ()


async def _never(account: Account, organization: str | None, patient: str) -> bool:
    return False


async def _nowhere(account: Account) -> Sequence[Facility]:
    return ()


async def _no_accesses(account: Account, patient: str, after: str | None) -> Any:
    raise LookupError("no trail is connected")


def _not_enforced(type: str, query: str) -> bool:
    return False


def issuer_of(settings: Settings) -> str:
    """The hub's origin: base_url without its /fhir, or where it listens."""
    if settings.base_url:
        return settings.base_url.rstrip("/").removesuffix("/fhir").rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


class Authority:
    """One a process. `await start()` before use: it reads the keys and begins to watch; `await stop()` ends that.

    patients, may_see, facilities, access_list, audit: set by access/, which can see the record; until then nobody and nothing is
    found. access_list(account, patient, after): a page of who read that patient's record.
    par_request: parameters pushed under a request_uri for this client, once (RFC 9126).
    restriction_ok(type, query): whether search parameters may restrict a scope (auth/scopes.py); set by access/, which enforces it.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        if settings.key and len(settings.key) < KEY_LENGTH:
            raise SettingError(f"HEALTH_HUB_KEY has at least {KEY_LENGTH} characters")
        self.store, self.settings = store, settings
        self.issuer = issuer_of(settings)
        self.audience = f"{self.issuer}/fhir"
        keep = max(settings.access_token_seconds, settings.id_token_seconds)
        secret = settings.key.encode() or store.secret
        self.keys = Keys(store.records, secret, keep)
        self.nonces = Nonces(secret)
        self.proofs = Seen(store.records, "dpop")
        self.revoked = Revoked(store.records, settings.access_token_seconds)
        self.tokens = Tokens(self.issuer, self.audience, self.keys, settings.access_token_seconds, self.revoked.covers)
        self.fetch = Fetch(settings.trusted_hosts)
        self.clients = Clients(store.records)
        self.clients.fetch_jwks = JwkSets(self.fetch.json).fresh
        self.accounts = Accounts(store)
        self.accounts.revoke = self._rights_changed
        self.sessions = Sessions(store, settings, self.accounts)
        self.families = Families(store, settings, self.revoked, self.sessions.get)
        self.sessions.ended = self.families.end_session
        self.devices = Devices(self)
        self.audit: Audit = untold
        self.patients: Callable[[Account, str | None, str], Awaitable[Sequence[Person]]] = _nobody
        self.may_see: Callable[[Account, str | None, str], Awaitable[bool]] = _never
        self.facilities: Callable[[Account], Awaitable[Sequence[Facility]]] = _nowhere
        self.access_list: Callable[[Account, str, str | None], Awaitable[Any]] = _no_accesses
        self.restriction_ok: Callable[[str, str], bool] = _not_enforced
        self.par_request: Callable[[str, Client], Awaitable[dict[str, str] | None]] = partial(par.pull, store.records)
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        await self.keys.load()
        await self.revoked.start()
        self._tasks.append(asyncio.create_task(self.keys.watch()))

    async def stop(self) -> None:
        await self.revoked.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _rights_changed(self, account: Account) -> None:
        """What it was given before may be more than it may have now."""
        await self.revoked.add(f"account/{account.id}")
