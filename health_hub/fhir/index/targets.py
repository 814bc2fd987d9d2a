"""What a resource refers to: by one parameter (_include), or anywhere."""

from collections.abc import Iterator
from typing import Any

from fhir_profiles.fhirpath import Expression, FHIRPathError
from fhir_profiles.tables import SearchParam
from health_hub.fhir.index import registry
from health_hub.fhir.index.settings import local, type_of

_REFERENCE = frozenset(("reference", "_reference", "type", "_type", "identifier", "display", "_display", "id", "_id", "extension"))
# Not a Reference though it has `reference`: a uri of Immunization.education.
_NOT = "education"


def references(resource: dict[str, Any], param: SearchParam | None = None) -> list[str]:
    """The targets of a reference parameter, of all of them for None: `Type/id` or a URL, each once, in order."""
    name = resource.get("resourceType")
    if not isinstance(name, str):
        return []
    asked = [param] if param else [p for p in registry.params(name).values() if p.type == "reference" and p.expression]
    found: dict[str, None] = {}
    for one in asked:
        try:
            found.update(dict.fromkeys(_of(resource, name, one)))
        except (FHIRPathError, AttributeError, TypeError, ValueError, KeyError):
            continue  # never validated, and not what it should be
    return list(found)


def _of(resource: dict[str, Any], name: str, param: SearchParam) -> Iterator[str]:
    ways = registry.ways(param, name)
    if isinstance(ways, Expression):
        for node in ways.nodes(resource, steps=registry.STEPS):
            yield from _target(node.value, param.targets if node.type == "Resource" else (), resource)
        return
    for branch in ways:
        for value in branch.values(resource):
            if branch.type == "Reference" and value.__class__ is not dict:
                raise TypeError("a Reference is an object")
            yield from _target(value, branch.only or (param.targets if branch.type == "Resource" else ()), resource)


def _target(value: Any, only: tuple[str, ...], resource: dict[str, Any]) -> Iterator[str]:
    """A Reference, a canonical, an extension with one of them, or a resource."""
    if isinstance(value, str):
        if value[:1] != "#":
            yield local(value)
    elif "resourceType" in value:
        if value.get("id") and (not only or value["resourceType"] in only):
            yield f"{value['resourceType']}/{value['id']}"
    elif "url" in value:
        for name in ("valueReference", "valueCanonical", "valueUri"):
            if name in value:
                yield from _target(value[name], only, resource)
    elif (target := value.get("reference")) and target[0] != "#" and (not only or type_of(target, value.get("type")) in only):
        yield local(target)


def all_references(resource: dict[str, Any]) -> list[str]:
    """Every Reference.reference in a resource, in contained ones and extensions too, except to `#contained`; each once."""
    found: dict[str, None] = {}
    stack: list[tuple[str, Any]] = [("", resource)]
    while stack:
        name, value = stack.pop()
        if value.__class__ is dict:
            target = value.get("reference")
            if target.__class__ is str and target and target[0] != "#" and name != _NOT and value.keys() <= _REFERENCE:
                found[local(target)] = None
            stack.extend((n, v) for n, v in reversed(value.items()) if v.__class__ is dict or v.__class__ is list)
        elif value.__class__ is list:
            stack.extend((name, v) for v in reversed(value))
    return list(found)
