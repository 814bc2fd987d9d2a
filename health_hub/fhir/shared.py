"""What a patient is shown of a record that is about others as well: the record, without who the others are.

A booking of two, an account for a family: each of them has it among their own, and neither is told the other's name or number by it
(docs/decisions/records-of-several.md). What is left out is not searchable for them either.
"""

from collections.abc import Iterable
from typing import Any

from health_hub.fhir.index.settings import pointed
from health_hub.fhir.json import loads
from health_hub.fhir.masking import absent, marked, redacted
from health_hub.fhir.search.query import And, Chain, Has, Node, Not, Or, Query, ReferenceValue, Test

_PATIENT = b"Patient/"
_WORDS = frozenset(("_content", "_text"))


def others(resource: dict[str, Any], told: frozenset[int]) -> frozenset[int]:
    """Patients (keys.reference) that a record of one of the `told` is about besides; none where it is about none of those."""
    from health_hub.fhir import index  # which knows of every parameter: not for who only masks labels

    persons = frozenset(index.extract(redacted(resource, 0)).persons)
    return persons - told if persons & told else frozenset()


def alone(doc: bytes | None, told: frozenset[int]) -> dict[str, Any] | None:
    """A copy of the document without references to others it is about; None when there are none."""
    if doc is None or _PATIENT not in doc:
        return None
    resource: dict[str, Any] = loads(doc)
    if not any(hashed not in told for hashed in _patients(resource)):
        return None
    hidden = others(resource, told)
    return marked(_object(resource, hidden)) if hidden else None


def asks_of_others(query: Query, told: frozenset[int]) -> bool:
    """Whether what a search finds could tell that somebody else is named in a record."""
    return any(_asks(node, told) for node in query.where)


def _asks(node: Node, told: frozenset[int]) -> bool:
    match node:
        case Test():
            return _test(node, told)
        case Chain(where=where) | Has(where=where):
            return _asks(where, told)
        case And(parts=parts) | Or(parts=parts):
            return any(_asks(part, told) for part in parts)
        case Not(part=part):
            return _asks(part, told)


def _test(test: Test, told: frozenset[int]) -> bool:
    if test.param.code in _WORDS:
        return True
    if test.missing is not None or test.param.type != "reference":
        return False
    return any(_names_other(value, told) for value in test.values)


def _names_other(value: Any, told: frozenset[int]) -> bool:
    if not isinstance(value, ReferenceValue):
        return True  # by an identifier, or by the text beside it
    if value.url:
        hashed, kind = pointed(value.url)
        return kind in (None, "Patient") and hashed not in told
    # A bare id may be a Patient's, of whatever type the parameter's targets are.
    return value.type in (None, "", "Patient") and pointed(f"Patient/{value.id}")[0] not in told


def _patients(value: Any) -> Iterable[int]:
    """Every Patient that is referred to."""
    if isinstance(value, dict):
        target = value.get("reference")
        if isinstance(target, str):
            hashed, kind = pointed(target)
            if kind == "Patient":
                yield hashed
        for child in value.values():
            yield from _patients(child)
    elif isinstance(value, list):
        for child in value:
            yield from _patients(child)


def _object(value: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    return {name: _any(child, hidden) for name, child in value.items()}


def _any(value: Any, hidden: frozenset[int]) -> Any:
    if isinstance(value, list):
        return [_any(v, hidden) for v in value]
    if not isinstance(value, dict):
        return value
    target = value.get("reference")
    if isinstance(target, str) and pointed(target)[0] in hidden:
        return absent()
    return _object(value, hidden)
