"""The invariants of a type, each in the cheapest form that decides it: by presence, in Python, or in FHIRPath."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from fhir_profiles.fhirpath import Expression, FHIRPathError, compile_
from fhir_profiles.tables import Invariant, Type
from fhir_profiles.validator.presence import Test, compile_presence
from fhir_profiles.validator.problems import Enough, Run
from fhir_profiles.validator.rules import BY_KEY, ELSEWHERE, SURELY

Holds = Callable[[Any, Run], bool]


class Rule:
    """One invariant on values of one type. `presence` decides it alone where it is not None."""

    __slots__ = ("error", "holds", "key", "message", "presence")

    def __init__(self, invariant: Invariant, type_name: str, presence: Test | None) -> None:
        self.key = invariant.key
        self.error = invariant.severity == "error"
        self.message = f"{invariant.key}: {invariant.human}"
        self.presence = presence
        self.holds = BY_KEY.get(invariant.key) or _either(SURELY.get(invariant.key), by_fhirpath(invariant.expression, type_name))


def _either(surely: Holds | None, exactly: Holds) -> Holds:
    return exactly if surely is None else lambda value, run: surely(value, run) or exactly(value, run)


def by_fhirpath(expression: str, type_name: str) -> Holds:
    """The invariant as the standard writes it. It fails only if it says false: much of R4 leaves an invariant empty for absent children."""

    def holds(value: Any, run: Run) -> bool:
        variables = {"resource": run.resource, "rootResource": run.root}
        try:
            return _compiled(expression, type_name).holds(value, type_name, variables=variables)
        except FHIRPathError as e:
            if e.kind == "limit":
                run.add("too-costly", f"the resource is too large for an invariant to be evaluated: {e}", None, type_name)
                raise Enough from None
            return True  # over a value that has its own problem, as `max.toInteger()` of "many"

    return holds


@cache
def _compiled(expression: str, type_name: str) -> Expression:
    return compile_(expression, context_type=type_name)


def rules_of(definition: Type, masks: Mapping[str, int], invariants: tuple[Invariant, ...] | None = None) -> list[Rule]:
    """Rules for values of a type; `masks`: the bits of its children by path name, or {} where no set of them is known."""
    found = []
    for invariant in definition.invariants if invariants is None else invariants:
        if invariant.key not in ELSEWHERE:
            presence = compile_presence(invariant.expression, masks) if masks else None
            found.append(Rule(invariant, definition.name, presence))
    return found
