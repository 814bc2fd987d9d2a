"""What every interaction needs besides its request: store, settings, and the way back into the router for batch entries."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.settings import Settings
from health_hub.store.model import Filter

if TYPE_CHECKING:
    Store = Any

Interaction = Callable[["Hub", Request], Awaitable[Response]]


class Hub:
    """One per process. `interact` routes a Request to its interaction and raises FhirError; FhirApp sets it."""

    __slots__ = ("interact", "settings", "store", "zone")

    def __init__(self, store: "Store", settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.zone = ZoneInfo(settings.zone)
        self.interact: Callable[[Request], Awaitable[Response]]

    def view(self, request: Request) -> Any:
        """The View this request may see. Every read of an interaction goes through here."""
        return self.store.view(Filter.everything())
