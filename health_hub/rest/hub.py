"""What every interaction needs besides its request: store, settings, and the way back into the router for batch entries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fhir_profiles.tables import type_number
from health_hub.access.gate import Access, Gate
from health_hub.fhir.index.registry import by_url, on_change, params
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.parse import forget, parse
from health_hub.fhir.search.query import Query
from health_hub.rest import trail
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.settings import Settings
from health_hub.store.condition import NOTHING
from health_hub.store.model import Change, Expect, Filter, Result
from health_hub.store.store import Store
from health_hub.store.view import View

# A search parameter that comes or goes changes what names mean.
on_change(forget)

Interaction = Callable[["Hub", Request], Awaitable[Response]]


class Hub:
    """One per process. `interact` routes a Request to its interaction and raises FhirError; FhirApp sets it.

    `security` is `CapabilityStatement.rest.security`; the authorization server adds its addresses to it. `gate`: None with `--no-auth`.
    """

    __slots__ = ("gate", "interact", "security", "settings", "slots", "started", "store", "zone")

    def __init__(self, store: Store, settings: Settings, gate: Gate | None = None) -> None:
        self.store = store
        self.gate = gate
        self.settings = settings
        self.zone = ZoneInfo(settings.zone)
        self.security: dict[str, Any] = {"cors": bool(settings.cors_origins)}
        self.started = self.now()
        self.slots = asyncio.Semaphore(max(settings.async_running, 1))  # asynchronous requests at work
        self.interact: Callable[[Request], Awaitable[Response]]

    def view(self, request: Request, right: Literal["r", "s"] = "r") -> View:
        """The View this request may see: by id (`r`) or by searching (`s`). Every read of an interaction goes through here.

        FhirError 403 when the token is for none of the type that the URL names.
        """
        access = self._access(request)
        if access is None:
            return self.store.view(Filter.everything())
        view = access.view(self.store, right)
        if request.type and view.filter.on(type_number(request.type)) == NOTHING:
            raise not_granted(request.type, right)
        return view

    async def only_found(self, request: Request, type: str, id: str) -> bool:
        """Whether a search of this request finds a resource that its scopes do not let it read (`s` and `r` restricted differently)."""
        access = self._access(request)
        if access is None:
            return False
        number = type_number(type)
        read, search = access.rights.read, access.rights.search
        if read.on(number) == search.on(number):
            return False
        found = [await self.store.view(filter).read(type, id) for filter in (search, read)]
        return found[0] is not None and not found[0].deleted and found[1] is None

    def _access(self, request: Request) -> Access | None:
        """Behind a gate a request by nobody does nothing: one made by hand that forgot whose it is must not see everything."""
        if request.access is None and self.gate is not None:
            raise RuntimeError("a request without its sender's access behind the gate")
        return request.access

    async def commit(self, request: Request, changes: Sequence[Change], expects: Sequence[Expect] = ()) -> list[Result]:
        """What an interaction writes, as far as its sender may, with an entry of the audit trail in the same transaction."""
        access = self._access(request)
        if access is None:
            return await self.store.commit(changes, expects)
        interaction, action = trail.interaction(request)
        results = await self.store.commit(
            changes,
            expects,
            by=access.rights.writer,
            trail=lambda found: [access.entry(interaction, action, 200, trail.target(request), found)],
        )
        access.told = True
        access.shown.clear()  # what was looked at for the sake of writing
        return results

    async def told(self, request: Request, response: Response) -> None:
        """An entry of the audit trail for what is about to be answered, unless a commit has left it already."""
        access = request.access
        if access is None or response.status == 202 or (access.told and not access.shown and not access.refused and response.status < 400):
            return
        interaction, action = trail.interaction(request)
        if not response.written or response.status >= 400:
            action = action if response.status >= 400 else "R" if action in "CUD" else action
        entry = access.entry(interaction, action, response.status, trail.target(request))
        await self.store.notes.add(entry)

    def query(
        self,
        types: tuple[str, ...],
        pairs: Sequence[tuple[str, str]],
        *,
        strict: bool,
        base: str,
        compartment: tuple[str, str] | None = None,
    ) -> Query:
        """A search as data, read with this hub's zone, limits and search parameters."""
        return parse(
            types,
            pairs,
            strict=strict,
            zone=self.zone,
            base=base,
            lookup=params,
            by_url=by_url,
            compartment=compartment,
            max_count=self.settings.count_max,
        )

    def now(self) -> str:
        """This moment as an instant in the hub's zone."""
        return self.store.clock.text(self.store.clock.now())


_RIGHTS = {"r": "read", "s": "search"}


def not_granted(type: str, right: str) -> FhirError:
    """403: the token's scopes, or the sender's role, are for nothing of this type (RFC 6750 3.1 insufficient_scope)."""
    why = f"this token does not allow to {_RIGHTS.get(right, 'write')} {type}"
    challenge = f'Bearer error="insufficient_scope", error_description="{why}"'
    return FhirError(403, Issue("forbidden", why), [("WWW-Authenticate", challenge)])
