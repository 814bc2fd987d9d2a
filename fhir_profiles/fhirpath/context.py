"""What one evaluation carries: $this, the variables, the hooks, the steps it may still take."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from fhir_profiles.fhirpath import temporal
from fhir_profiles.fhirpath.errors import execution, limit
from fhir_profiles.fhirpath.node import Node

# One step is 0.1 to 2 us: an evaluation ends within two seconds whatever the expression, mostly in a tenth of one.
STEPS = 1_000_000
# For the standard's own invariants, which take steps in proportion to the resource: csd-1 takes 35 a concept, and ICD-10 has 40,000.
INVARIANT_STEPS = 30_000_000
# Texts an expression may build, in characters.
MAX_TEXT = 1_000_000

Resolve = Callable[[str, Node | None], Any]


class Context:
    __slots__ = (
        "_now",
        "conforms",
        "context",
        "index",
        "known",
        "left",
        "member_of",
        "resolve",
        "resource",
        "root",
        "this",
        "total",
        "variables",
    )

    def __init__(self, this: list[Any], resource: Any, root: Any, variables: Mapping[str, Any], steps: int, hooks: "Hooks") -> None:
        self.this = this
        self.context = this
        self.index = 0
        self.total: list[Any] = []
        self.resource = resource
        self.root = root
        self.variables = variables
        self.left = steps
        self.resolve = hooks.resolve
        self.member_of = hooks.member_of
        self.conforms = hooks.conforms
        self.known: dict[object, list[Any]] = {}  # parts that are the same for every item
        self._now: datetime | None = None

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise limit("the expression takes too many steps on this data")

    @property
    def now(self) -> datetime:
        """One moment for the whole evaluation."""
        if self._now is None:
            self._now = temporal.now()
        return self._now


class Hooks:
    """Where an evaluation may look beyond the resource. Each may be None."""

    __slots__ = ("conforms", "member_of", "resolve")

    def __init__(
        self,
        resolve: Resolve | None = None,
        member_of: Callable[[Node, str], bool | None] | None = None,
        conforms: Callable[[Node, str], bool | None] | None = None,
    ) -> None:
        self.resolve = resolve
        self.member_of = member_of
        self.conforms = conforms


NO_HOOKS = Hooks()


def single(items: list[Any], what: str) -> Any:
    """The one item; None if there is none; an error if there are several."""
    if not items:
        return None
    if len(items) > 1:
        raise execution(f"{what} takes one item, not {len(items)}")
    return items[0]
