"""JSON Merge Patch (RFC 7396): null removes a member, an object merges, anything else replaces."""

from typing import Any

from health_hub.fhir.patch.tree import Budget


def merge_patch(document: Any, patch: Any) -> Any:
    """The document with the patch merged in."""
    return _merged(document, patch, Budget(), 0)


def _merged(document: Any, patch: Any, budget: Budget, depth: int) -> Any:
    if patch.__class__ is not dict:
        return budget.copied(patch, depth)
    base = document if document.__class__ is dict else {}
    out: dict[str, Any] = {}
    for name, value in base.items():
        if name not in patch:
            out[name] = budget.copied(value, depth + 1)
        elif patch[name] is not None:
            out[name] = _merged(value, patch[name], budget, depth + 1)
    for name, value in patch.items():
        if name not in base and value is not None:
            out[name] = _merged(None, value, budget, depth + 1)
    return out
