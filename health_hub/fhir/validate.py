"""Refuses what is not valid R4 before it is stored, naming every problem.

Status (R4 http.html#create): 400 for what "failed basic FHIR validation rules", that is structure, cardinality and the
form of values; 422 for well-formed R4 that breaks only rules about content: required bindings and invariants.
"""

from typing import Any

from fhir_profiles.validator import Problem, validate
from health_hub.fhir.outcome import FhirError, Issue

_CONTENT = frozenset(("code-invalid", "invariant", "business-rule"))


def issues(problems: list[Problem]) -> list[Issue]:
    """Problems as issues of an OperationOutcome."""
    return [Issue(p.code, p.message, (p.expression,) if p.expression else (), p.severity) for p in problems]


def check(resource: Any, *, expected_type: str | None = None, entries: bool = True) -> None:
    """FhirError 400 or 422 unless the value is a valid resource (of `expected_type`).

    entries False: the resources that a Bundle or Parameters carries are checked by whoever takes them out.
    """
    problems = validate(resource, expected_type=expected_type, entries=entries)
    if problems:
        raise FhirError(422 if all(p.code in _CONTENT for p in problems) else 400, issues(problems))
