"""Invariants as plain Python functions: 0.1 to 2 us each on a dict, where the whole engine takes 10 to 50.

Types are known beforehand, so a tree becomes Python source over dicts (source.py). What the generator does not know is left to
the engine, part by part: of `reference.startsWith('#').not() or (...)` only the second half is, and is reached for contained
references alone.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fhir_profiles.fhirpath.errors import FHIRPathError
from fhir_profiles.fhirpath.expression import compile_
from fhir_profiles.fhirpath.known import CORRECTED, QUICK
from fhir_profiles.fhirpath.node import Node, root
from fhir_profiles.fhirpath.source import NotSimple, Source

# check(value, resource, root): value is the JSON of an element (or resource), resource the nearest around it, root the outermost.
Check = Callable[[Any, Any, Any], bool]


@lru_cache(maxsize=8192)
def predicate(expression: str, context_type: str) -> Check:
    """Whether an invariant holds for elements of `context_type`: it does unless it is false.

    Where it cannot be evaluated (several items where one may be) the structure is wrong, which is another problem's to name.
    FHIRPathError `limit` if the resource is too large for it.

    `check(value, resource, root)` takes plain JSON; a primitive with extensions is given as a Node, with `ext`.
    """
    compiled = compile_(CORRECTED.get(expression, expression))
    quick = QUICK.get(expression)

    def whole(value: Any, resource: Any, outer: Any) -> bool:
        if quick is not None and value.__class__ is dict and (answer := quick(value, resource, outer)) is not None:
            return answer
        node = value if value.__class__ is Node else root(value, context_type)
        variables: dict[str, Any] = {}
        if resource is not None:
            variables["resource"] = node if resource is value else root(resource)
        if outer is not None:
            variables["rootResource"] = node if outer is value else root(outer)
        try:
            return compiled.holds(node, variables=variables)
        except FHIRPathError as e:
            if e.kind == "limit":
                raise
            return True

    if quick is not None:
        return whole
    try:
        fast = Source(context_type).check(compiled.tree)
    except NotSimple:
        return whole

    def check(value: Any, resource: Any, outer: Any) -> bool:
        if value.__class__ is Node:
            return whole(value, resource, outer)
        try:
            return fast(value, resource, outer)  # type: ignore[no-any-return]
        except (TypeError, AttributeError, KeyError, FHIRPathError):
            # Not the shape the definitions promise: the engine takes any.
            return whole(value, resource, outer)

    return check
