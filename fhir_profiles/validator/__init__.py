"""Whether a resource is valid R4, and every reason why not (R4 validation.html, without profiles).

Checked: properties and their JSON types, cardinality, primitive formats, choice types, `_name` companions, required
bindings, the types references point to, contained resources, narratives, and the invariants of the base definitions.
"""

from typing import Any

from fhir_profiles.tables import is_resource_type
from fhir_profiles.validator.primitives import json_type
from fhir_profiles.validator.problems import MAX_PROBLEMS, Enough, Problem, Run, shown
from fhir_profiles.validator.shape import shape

__all__ = ["MAX_PROBLEMS", "Problem", "validate"]


def validate(resource: Any, *, expected_type: str | None = None, entries: bool = True, warnings: bool = False) -> list[Problem]:
    """Everything wrong with a resource as fhir JSON (health_hub.fhir.json.loads); [] if it is valid. Looks no further after MAX_PROBLEMS.

    entries: also look into the resources that a Bundle or Parameters carries. warnings: also evaluate best-practice invariants.
    """
    if type(resource) is not dict:
        return [Problem("structure", "error", f"a resource is an object in JSON, not {json_type(resource)}", "")]
    kind = resource.get("resourceType")
    if kind is None:
        return [Problem("required", "error", "resourceType is missing", "resourceType")]
    if not is_resource_type(kind):
        return [Problem("structure", "error", f"{shown(kind)} is no type of resource in R4", "resourceType")]
    if expected_type is not None and kind != expected_type:
        return [Problem("invalid", "error", f"the resource is a {kind}, not a {expected_type}", f"{kind}.resourceType")]
    run = Run(entries=entries, warnings=warnings)
    run.resource = run.root = resource
    try:
        shape(kind).check(resource, (None, kind, None), run)
    except Enough:
        pass
    except RecursionError:
        run.problems.append(Problem("too-costly", "error", "the resource is nested too deeply", kind))
    return run.problems
