"""Refuses what is not valid R4 before it is stored, naming every problem.

Status (R4 http.html#create): 400 for what "failed basic FHIR validation rules", that is structure, cardinality and the
form of values; 422 for well-formed R4 that breaks only rules about content: required bindings and invariants.
"""

from typing import Any

from fhir_profiles.validator import Problem, validate
from health_hub.fhir.outcome import FhirError, Issue

_CONTENT = frozenset(("code-invalid", "invariant", "business-rule"))
# What marks a resource of which only a part was asked for (R4 search.html#summary).
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def issues(problems: list[Problem]) -> list[Issue]:
    """Problems as issues of an OperationOutcome."""
    return [Issue(p.code, p.message, (p.expression,) if p.expression else (), p.severity) for p in problems]


def _subsetted(tag: Any) -> bool:
    return isinstance(tag, dict) and tag.get("code") == SUBSETTED["code"] and tag.get("system") == SUBSETTED["system"]


def check(resource: Any, *, expected_type: str | None = None, entries: bool = True) -> None:
    """FhirError 400 or 422 unless the value is a valid resource (of `expected_type`).

    entries False: the resources that a Bundle or Parameters carries are checked by whoever takes them out.
    """
    meta = resource.get("meta") if isinstance(resource, dict) else None
    if isinstance(meta, dict) and any(_subsetted(tag) for tag in meta.get("tag") or ()):
        why = "the resource is marked SUBSETTED: storing it would lose what was left out; read it whole, and change that"
        raise FhirError(422, Issue("business-rule", why, (f"{resource.get('resourceType')}.meta.tag",)))
    problems = validate(resource, expected_type=expected_type, entries=entries)
    if problems:
        raise FhirError(422 if all(p.code in _CONTENT for p in problems) else 400, issues(problems))
