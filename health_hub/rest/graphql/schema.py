"""What may be asked of what: R4's types as GraphQL sees them (R4 graphql.html). Types are named as in the tables.

Besides them: `Query` and `Mutation`, the roots; `<Type>Connection` and `<Type>Edge` of paged searches.
"""

from functools import lru_cache
from typing import Any

from fhir_profiles import tables
from health_hub.fhir.outcome import FhirError, Issue

QUERY, MUTATION = "Query", "Mutation"
ANY = frozenset(tables.RESOURCE_TYPES)
CONNECTION = ("count", "offset", "pagesize", "pageSize", "first", "previous", "next", "last")
_LISTS = frozenset(("_offset", "_count", "fhirpath"))


def _refuse(why: str) -> FhirError:
    return FhirError(400, Issue("invalid", f"GraphQL: {why}"))


def search_of(name: str) -> tuple[str, str] | None:
    """(`Patient`, `List` or `Connection`) of a field such as PatientList."""
    for kind in ("List", "Connection"):
        type_name = name.removesuffix(kind)
        if type_name != name and tables.is_resource_type(type_name):
            return type_name, kind
    return None


def mutation_of(name: str) -> tuple[str, str] | None:
    """(`Patient`, `Create`, `Update` or `Delete`)."""
    for kind in ("Create", "Update", "Delete"):
        type_name = name.removesuffix(kind)
        if type_name != name and tables.is_resource_type(type_name):
            return type_name, kind
    return None


def _special(type_name: str) -> tuple[str, str] | None:
    for kind in ("Connection", "Edge"):
        of = type_name.removesuffix(kind)
        if of != type_name and tables.is_resource_type(of):
            return of, kind
    return None


def element(type_name: str, name: str) -> tables.Element | None:
    """A FHIR element by its JSON name; None where the name means something else or nothing."""
    if type_name in (QUERY, MUTATION) or _special(type_name) is not None:
        return None
    return tables.type_(type_name).elements.get(name)


def named(name: str, types: frozenset[str]) -> frozenset[str] | None:
    """The types that a fragment's type condition admits; None when nothing has that name."""
    if name in types:
        return frozenset((name,))
    if name in ("Resource", "DomainResource"):
        return frozenset(t for t in types if tables.is_resource_type(t) and (name == "Resource" or tables.is_a(t, name)))
    # `Patient_Contact` is how GraphQL schemas of FHIR name the backbone type Patient.contact.
    path = name if name in _type_names() else _backbones().get(name.lower().replace("_", ""))
    if path is None and name not in (QUERY, MUTATION) and _special(name) is None:
        return None
    return frozenset((path or name,))


@lru_cache(maxsize=1)
def _type_names() -> frozenset[str]:
    return frozenset(tables.type_names())


@lru_cache(maxsize=1)
def _backbones() -> dict[str, str]:
    return {n.lower().replace(".", ""): n for n in tables.type_names() if "." in n}


def children(types: frozenset[str], name: str, arguments: dict[str, Any]) -> frozenset[str] | None:
    """The types that a field leads to; None for a leaf."""
    out: set[str] = set()
    leaf = False
    for type_name in types:
        found = _children(type_name, name, arguments)
        if found is None:
            leaf = True
        else:
            out |= found
    return frozenset(out) if out or not leaf else None


def _children(type_name: str, name: str, arguments: dict[str, Any]) -> frozenset[str] | None:
    if name in ("__typename", "resourceType"):
        return None
    if type_name == QUERY:
        search = search_of(name)
        if search is not None:
            return frozenset((search[0] + ("Connection" if search[1] == "Connection" else ""),))
        return frozenset((name,)) if tables.is_resource_type(name) else frozenset()
    if type_name == MUTATION:
        found = mutation_of(name)
        return None if found is None or found[1] == "Delete" else frozenset((found[0],))
    special = _special(type_name)
    if special is not None:
        of, kind = special
        if kind == "Connection":
            return frozenset((of + "Edge",)) if name == "edges" else None
        return frozenset((of,)) if name == "resource" else None
    if name == "resource" and type_name == "Reference":
        wanted = arguments.get("type")
        return frozenset((wanted,)) if isinstance(wanted, str) and tables.is_resource_type(wanted) else ANY
    if tables.is_resource_type(type_name) and (search := search_of(name)) is not None:
        return frozenset((search[0] + ("Connection" if search[1] == "Connection" else ""),))
    elements = tables.type_(type_name).elements
    found_element = elements.get(name)
    if found_element is None:
        return frozenset(("Element",)) if name[:1] == "_" and name[1:] in elements else frozenset()
    if found_element.type == "Resource":
        return ANY
    if found_element.type == "xhtml" or tables.type_(found_element.type).kind == "primitive":
        return None
    return frozenset((found_element.type,))


def check(types: frozenset[str], name: str, arguments: dict[str, Any]) -> None:
    """FhirError 400 unless some of `types` has the field and takes its arguments."""
    if name == "__typename":
        return
    problem: str | None = None
    for type_name in sorted(types) if len(types) < 5 else types:
        problem = _problem(type_name, name, arguments)
        if problem is None:
            return
    if len(types) > 1:
        problem = f"no resource that can be here has a field {name!r}" if problem and "no field" in problem else problem
    raise _refuse(problem or f"there is no field {name!r}")


def _problem(type_name: str, name: str, arguments: dict[str, Any]) -> str | None:
    unknown = f"{type_name} has no field {name!r}"
    if type_name == QUERY:
        if search_of(name) is not None:
            return None
        if not tables.is_resource_type(name):
            return unknown
        return None if arguments.keys() in ({"id"}, {"_id"}) else f"{name} takes an id: {name}(id: ...)"
    if type_name == MUTATION:
        found = mutation_of(name)
        if found is None:
            return unknown
        wanted = {"Create": {"res"}, "Update": {"id", "res"}, "Delete": {"id"}}[found[1]]
        return None if arguments.keys() == wanted else f"{name} takes {' and '.join(sorted(wanted))}"
    special = _special(type_name)
    if special is not None:
        fields = ("edges", *CONNECTION) if special[1] == "Connection" else ("mode", "score", "resource")
        return (f"{name} takes no arguments" if arguments else None) if name in fields else unknown
    if name == "resourceType" and tables.is_resource_type(type_name):
        return f"{name} takes no arguments" if arguments else None
    if name == "resource" and type_name == "Reference":
        wrong = arguments.keys() - {"optional", "type"}
        if "type" in arguments and not tables.is_resource_type(arguments["type"]):
            return f"{str(arguments['type'])[:64]!r} is no resource type"
        return f"resource has no argument {min(wrong)!r}" if wrong else None
    if tables.is_resource_type(type_name) and search_of(name) is not None:
        return (
            None
            if isinstance(arguments.get("_reference"), str)
            else f"{name} within a resource needs _reference, a search parameter's name"
        )
    return _element_problem(type_name, name, arguments, unknown)


def _element_problem(type_name: str, name: str, arguments: dict[str, Any], unknown: str) -> str | None:
    elements = tables.type_(type_name).elements
    found = elements.get(name)
    if found is None:
        if name[:1] == "_" and name[1:] in elements:
            return f"{name} takes no arguments" if arguments else None
        return unknown
    if not arguments:
        return None
    if found.type == "xhtml" or tables.type_(found.type).kind == "primitive":
        return f"{name} is a plain value and takes no arguments"
    inner = tables.type_("Element" if found.type == "Resource" else found.type).elements
    wrong = sorted(a for a in arguments if a not in _LISTS and a not in inner and found.type != "Resource")
    return f"{name} has no argument {wrong[0]!r}" if wrong else None
