"""The operations this server has: modules register them here, the router looks them up, the CapabilityStatement lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from health_hub.rest.hub import Interaction

Level = Literal["system", "type", "instance"]
ANY = "*"


@dataclass(frozen=True, slots=True)
class Operation:
    """`definition`: canonical URL of its OperationDefinition. `reads`: it changes nothing, so GET may call it (R4 operations.html)."""

    function: Interaction
    definition: str
    reads: bool


# (level, type or "*" or "" for system, name without $) -> Operation
OPERATIONS: dict[tuple[Level, str, str], Operation] = {}


def operation(level: Level, type: str, name: str, *, definition: str = "", reads: bool = True) -> Callable[[Interaction], Interaction]:
    """Registers `async def f(hub, request) -> Response` as `$name` on a level; `type` "*" for every type."""

    def register(function: Interaction) -> Interaction:
        url = definition or f"http://hl7.org/fhir/OperationDefinition/{'Resource' if type in (ANY, '') else type}-{name}"
        OPERATIONS[level, "" if level == "system" else type, name] = Operation(function, url, reads)
        return function

    return register


def find(level: Level, type: str, name: str) -> Operation | None:
    return OPERATIONS.get((level, type, name)) or OPERATIONS.get((level, ANY, name))
