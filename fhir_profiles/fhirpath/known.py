"""Official invariants with a faster way to the same answer, or a mistake in R4 that would refuse good resources."""

from collections.abc import Callable
from typing import Any

# R4 text -> what it means. Each is wrong in 4.0.1 as published and corrected in a later release or technical correction.
CORRECTED = {
    # que-7: the elements are FHIR's `boolean`; `Boolean` is FHIRPath's own type, which no element has.
    "operator = 'exists' implies (answer is Boolean)": "operator = 'exists' implies (answer is boolean)",
}

_DOM_3 = (
    "contained.where((('#'+id in (%resource.descendants().reference | %resource.descendants().as(canonical) | "
    "%resource.descendants().as(uri) | %resource.descendants().as(url))) or descendants().where(reference = '#').exists() or "
    "descendants().where(as(canonical) = '#').exists() or descendants().where(as(canonical) = '#').exists()).not())"
    ".trace('unmatched', id).empty()"
)


def _contained_are_referenced(value: Any, resource: Any, root: Any) -> bool | None:
    """dom-3 by one walk over the JSON: true where a `reference` names each contained resource; None leaves the rest to the engine."""
    if not value.get("contained"):
        return True
    wanted = {"#" + c["id"] for c in value["contained"] if "id" in c}
    if len(wanted) != len(value["contained"]):
        return None
    todo: list[Any] = [value]
    while todo and wanted:
        at = todo.pop()
        if at.__class__ is dict:
            found = at.get("reference")
            if found.__class__ is str:
                wanted.discard(found)
            todo += [x for x in at.values() if x.__class__ is dict or x.__class__ is list]
        else:
            todo += [x for x in at if x.__class__ is dict or x.__class__ is list]
    return None if wanted else True


# expression -> a test on plain JSON: (value, resource, root) -> its truth, or None to ask the engine.
QUICK: dict[str, Callable[[Any, Any, Any], bool | None]] = {_DOM_3: _contained_are_referenced}
