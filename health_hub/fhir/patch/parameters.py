"""The operations of a FHIRPath Patch out of its Parameters resource (R4 fhirpatch.html, "Parameters Format")."""

from typing import Any, NamedTuple

from health_hub.fhir.outcome import FhirError, bad_request

MAX_OPERATIONS = 1_000
# What each operation needs; what it does not need is refused, since it would be silently lost.
_NEEDS = {
    "add": frozenset(("path", "name", "value")),
    "insert": frozenset(("path", "index", "value")),
    "delete": frozenset(("path",)),
    "replace": frozenset(("path", "value")),
    "move": frozenset(("path", "source", "destination")),
}
_TEXTS = ("valueString", "valueCode", "valueId", "valueUri", "valueMarkdown")
_INTEGERS = ("valueInteger", "valueUnsignedInt", "valuePositiveInt")


class Operation(NamedTuple):
    """`value` is the part itself, with its value[x], resource or parts. `where` is its place in the Parameters."""

    type: str
    path: str
    name: str
    value: dict[str, Any]
    numbers: dict[str, int]
    where: str

    def number(self, name: str) -> int:
        return self.numbers[name]


def operations(parameters: Any) -> list[Operation]:
    """All operations, each complete. FhirError 400 names what is wrong and where."""
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise bad_request("a FHIRPath Patch is a Parameters resource", "structure")
    listed = parameters.get("parameter", [])
    if not isinstance(listed, list) or len(listed) > MAX_OPERATIONS:
        raise bad_request(f"parameter must be an array of at most {MAX_OPERATIONS} operations", "structure", "Parameters.parameter")
    return [_operation(p, f"Parameters.parameter[{i}]") for i, p in enumerate(listed)]


def _operation(parameter: Any, where: str) -> Operation:
    if not isinstance(parameter, dict) or parameter.get("name") != "operation":
        raise bad_request("every parameter of a FHIRPath Patch is named operation", "structure", where)
    parts: dict[str, dict[str, Any]] = {}
    listed = parameter.get("part", [])
    for i, part in enumerate(listed if isinstance(listed, list) else ()):
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or name in parts:
            raise bad_request(f"each part of an operation has a name of its own, not {str(name)[:40]!r}", "structure", f"{where}.part[{i}]")
        parts[name] = part
    kind = _text(parts.pop("type", None), "type", where)
    if kind not in _NEEDS:
        raise bad_request(f"the type of an operation is one of {', '.join(_NEEDS)}, not {kind[:40]!r}", "value", where)
    for name in sorted(_NEEDS[kind] - parts.keys()):
        raise bad_request(f"{kind} needs a part {name}", "required", where)
    for name in sorted(parts.keys() - _NEEDS[kind]):
        # Clients that fill one form for all operations send `name` with replace and insert: it says nothing there.
        if name not in ("name", "index", "source", "destination"):
            raise bad_request(f"{kind} has no part {name[:40]!r}", "structure", where)
    numbers: dict[str, int] = {n: _integer(parts[n], n, where) for n in ("index", "source", "destination") if n in _NEEDS[kind]}
    named = _text(parts["name"], "name", where) if kind == "add" else ""
    return Operation(kind, _text(parts["path"], "path", where), named, parts.get("value", {}), numbers, where)


def _text(part: dict[str, Any] | None, name: str, where: str) -> str:
    found = next((part[k] for k in _TEXTS if k in part), None) if part else None
    if not isinstance(found, str) or not found:
        raise _missing(name, "a string", where)
    return found


def _integer(part: dict[str, Any], name: str, where: str) -> int:
    found = next((part[k] for k in _INTEGERS if k in part), None)
    if found.__class__ is not int or found < 0:
        raise _missing(name, "an integer from 0", where)
    return found


def _missing(name: str, what: str, where: str) -> FhirError:
    return bad_request(f"the part {name} must be {what}", "value", where)
