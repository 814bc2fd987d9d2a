"""The application that waits for this browser's sign-in, where there is one."""

from dataclasses import dataclass

from health_hub.web.site import Site, Visit


@dataclass(frozen=True, slots=True)
class Waiting:
    """name: the application's, "" for none. form_action: where the answer to its request goes."""

    name: str = ""
    form_action: tuple[str, ...] = ()


async def find(site: Site, visit: Visit) -> Waiting:
    return Waiting()
