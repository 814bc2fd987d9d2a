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
# Search parameters that are no arguments, or are among them by other means (R4 graphql.html#searching).
NOT_ARGUMENTS = frozenset(
    ("_include", "_revinclude", "_contained", "_containedType", "_summary", "_elements", "_total", "_filter", "_query")
)

# The types in which a schema is told: field -> type of what it leads to, "" for a plain value (GraphQL specification, section 4.2).
META: dict[str, dict[str, str]] = {
    "__Schema": {"description": "", "types": "__Type", "queryType": "__Type", "mutationType": "__Type", "subscriptionType": "__Type",
                 "directives": "__Directive"},
    "__Type": {"kind": "", "name": "", "description": "", "specifiedByURL": "", "isOneOf": "", "fields": "__Field", "interfaces": "__Type",
               "possibleTypes": "__Type", "enumValues": "__EnumValue", "inputFields": "__InputValue", "ofType": "__Type"},
    "__Field": {"name": "", "description": "", "args": "__InputValue", "type": "__Type", "isDeprecated": "", "deprecationReason": ""},
    "__InputValue": {"name": "", "description": "", "type": "__Type", "defaultValue": "", "isDeprecated": "", "deprecationReason": ""},
    "__EnumValue": {"name": "", "description": "", "isDeprecated": "", "deprecationReason": ""},
    "__Directive": {"name": "", "description": "", "locations": "", "args": "__InputValue", "isRepeatable": ""},
}  # fmt: skip
_ROOT_META = {"__schema": "__Schema", "__type": "__Type"}


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
    """(`Patient`, `Create`, `Update` or `Delete`) of a mutation."""
    for kind in ("Create", "Update", "Delete"):
        type_name = name.removesuffix(kind)
        if type_name != name and tables.is_resource_type(type_name):
            return type_name, kind
    return None


def special(type_name: str) -> tuple[str, str] | None:
    """(`Patient`, `Connection` or `Edge`) of the types that paged searches have."""
    for kind in ("Connection", "Edge"):
        of = type_name.removesuffix(kind)
        if of != type_name and tables.is_resource_type(of):
            return of, kind
    return None


def graphql_name(type_name: str) -> str:
    """`PatientContact` for the backbone type Patient.contact, as GraphQL schemas of FHIR name it; others keep their name."""
    return "".join(part[0].upper() + part[1:] for part in type_name.split(".")) if "." in type_name else type_name


def path_of(name: str) -> str | None:
    """The type that a GraphQL name means; backbone types in any of their usual spellings."""
    if name in _type_names() or name in (QUERY, MUTATION) or name in META or special(name) is not None:
        return name
    return _backbones().get(name.lower().replace("_", ""))


def named(name: str, types: frozenset[str]) -> frozenset[str] | None:
    """The types that a fragment's type condition admits; None when nothing has that name."""
    if name in types:
        return frozenset((name,))
    if name in ("Resource", "DomainResource"):
        return frozenset(t for t in types if tables.is_resource_type(t) and (name == "Resource" or tables.is_a(t, name)))
    path = path_of(name)
    return None if path is None else frozenset((path,))


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
    if type_name in META:
        return frozenset((of,)) if (of := META[type_name].get(name)) else None
    if type_name == QUERY:
        if name in _ROOT_META:
            return frozenset((_ROOT_META[name],))
        search = search_of(name)
        if search is not None:
            return frozenset((search[0] + ("Connection" if search[1] == "Connection" else ""),))
        return frozenset((name,)) if tables.is_resource_type(name) else frozenset()
    if type_name == MUTATION:
        found = mutation_of(name)
        return None if found is None or found[1] == "Delete" else frozenset((found[0],))
    paged = special(type_name)
    if paged is not None:
        of, kind = paged
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
    if type_name in META:
        wrong = arguments.keys() - {"includeDeprecated"}
        return unknown if name not in META[type_name] else f"{name} has no argument {min(wrong)!r}" if wrong else None
    if type_name == QUERY:
        if search_of(name) is not None:
            return None
        if name in _ROOT_META:
            return None if arguments.keys() == ({"name"} if name == "__type" else set()) else "__type takes a name, __schema nothing"
        if not tables.is_resource_type(name):
            return unknown
        return None if arguments.keys() in ({"id"}, {"_id"}) else f"{name} takes an id: {name}(id: ...)"
    if type_name == MUTATION:
        found = mutation_of(name)
        if found is None:
            return unknown
        wanted = {"Create": {"res"}, "Update": {"id", "res"}, "Delete": {"id"}}[found[1]]
        return None if arguments.keys() == wanted else f"{name} takes {' and '.join(sorted(wanted))}"
    paged = special(type_name)
    if paged is not None:
        fields = ("edges", *CONNECTION) if paged[1] == "Connection" else ("mode", "score", "resource")
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
