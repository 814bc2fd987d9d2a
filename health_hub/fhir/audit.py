"""What a patient is told of an AuditEvent that names others besides: searches and Bundles are recorded once for all they concern."""

from collections.abc import Iterator
from typing import Any

from health_hub.fhir import keys
from health_hub.fhir.search.query import And, Chain, Has, Node, Not, Or, Query, ReferenceValue, Test

TYPE = "AuditEvent"
# Parameters that tell of the entities of an event. A chain by them is judged by what it leads to.
_ENTITIES = frozenset(("entity", "patient", "_compartment"))
_WORDS = frozenset(("_content", "_text"))


def only(event: dict[str, Any], told: frozenset[int]) -> dict[str, Any]:
    """The event with those Patients of it that are `told` (keys.reference); with others in it, without what was shown of them.

    What was asked goes in any case: it may name others.
    """
    entities = [e for e in event.get("entity", ()) if isinstance(e, dict)]
    names = [str((e.get("what") or {}).get("reference", "")) for e in entities]
    patients = [n.startswith("Patient/") for n in names]
    alone = all(keys.reference(n) in told for n, p in zip(names, patients, strict=True) if p) and all("detail" not in e for e in entities)
    kept = [
        e for e, n, p in zip(entities, names, patients, strict=True)
        if "query" not in e and "detail" not in e and (keys.reference(n) in told if p else alone or not n)
    ]  # fmt: skip
    out = {name: value for name, value in event.items() if name not in ("entity", "text")}
    return out | ({"entity": kept} if kept else {})


def asks_of_others(query: Query, told: frozenset[int]) -> bool:
    """Whether a search tries events for Patients or resources that are not told."""
    return any(_asks(node, not query.types or TYPE in query.types, told, TYPE in query.types) for node in query.where)


def _asks(node: Node, here: bool, told: frozenset[int], named: bool) -> bool:
    match node:
        case Test():
            return here and _test(node, told, named)
        case Chain(types=types, where=where):
            return _asks(where, TYPE in types, told, TYPE in types)
        case Has(type=type, where=where):
            return _asks(where, type == TYPE, told, type == TYPE)
        case And(parts=parts) | Or(parts=parts):
            return any(_asks(part, here, told, named) for part in parts)
        case Not(part=part):
            return _asks(part, here, told, named)


def _test(test: Test, told: frozenset[int], named: bool) -> bool:
    if test.param.code in _WORDS:
        return named
    if test.param.code not in _ENTITIES or test.missing is not None:
        return False
    return any(name not in told for name in _names(test))


def _names(test: Test) -> Iterator[int]:
    for value in test.values:
        if not isinstance(value, ReferenceValue):
            yield 0
        elif test.param.code != "_compartment" or value.type == "Patient":
            yield keys.reference(value.url or f"{value.type or 'Patient'}/{value.id}")
