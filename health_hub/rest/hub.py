"""What every interaction needs besides its request: store, settings, and the way back into the router for batch entries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from health_hub.fhir.index.registry import by_url, on_change, params
from health_hub.fhir.search.parse import forget, parse
from health_hub.fhir.search.query import Query
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.settings import Settings
from health_hub.store.model import Filter
from health_hub.store.store import Store
from health_hub.store.view import View

# A search parameter that comes or goes changes what names mean.
on_change(forget)

Interaction = Callable[["Hub", Request], Awaitable[Response]]


class Hub:
    """One per process. `interact` routes a Request to its interaction and raises FhirError; FhirApp sets it.

    `security` is `CapabilityStatement.rest.security`; the authorization server adds its addresses to it.
    """

    __slots__ = ("interact", "security", "settings", "slots", "started", "store", "zone")

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.zone = ZoneInfo(settings.zone)
        self.security: dict[str, Any] = {"cors": bool(settings.cors_origins)}
        self.started = self.now()
        self.slots = asyncio.Semaphore(max(settings.async_running, 1))  # asynchronous requests at work
        self.interact: Callable[[Request], Awaitable[Response]]

    def view(self, request: Request) -> View:
        """The View this request may see. Every read of an interaction goes through here."""
        return self.store.view(Filter.everything())

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
