"""`__schema` and `__type`: the schema told by itself (GraphQL specification, section 4), made from the tables while it is asked.

Nothing of it is kept: R4 has some 900 types, and who asks for all of them is a developer's tool, once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fhir_profiles import tables
from health_hub.rest.graphql import schema
from health_hub.rest.graphql.document import Field, refuse
from health_hub.rest.graphql.output import Output

MAX_NODES = 1_300_000  # of one request, some 2 s; the usual question of a developer's tool comes to 1,130,000
_BUILT_IN = {
    "string": "String",
    "boolean": "Boolean",
    "integer": "Int",
    "positiveInt": "Int",
    "unsignedInt": "Int",
    "decimal": "Float",
    "id": "ID",
}
_SCALARS = ("String", "Boolean", "Int", "Float", "ID", "JSON")


@dataclass(slots=True)
class TypeInfo:
    """A `__Type`. `fields` and `arguments` are made when asked for."""

    kind: str
    name: str | None = None
    of: "TypeInfo | None" = None
    fields: "Callable[[], list[FieldInfo]] | None" = None
    possible: Callable[[], "list[TypeInfo]"] | None = None


@dataclass(slots=True)
class FieldInfo:
    """A `__Field` or, without arguments, an `__InputValue`."""

    name: str
    type: TypeInfo
    arguments: "list[FieldInfo]" = field(default_factory=list)


@dataclass(slots=True)
class DirectiveInfo:
    name: str
    locations: list[str]
    arguments: list[FieldInfo]


def _scalar(name: str) -> TypeInfo:
    return TypeInfo("SCALAR", name)


STRING, INT, BOOLEAN, ID = _scalar("String"), _scalar("Int"), _scalar("Boolean"), _scalar("ID")


def _list(of: TypeInfo) -> TypeInfo:
    return TypeInfo("LIST", None, of)


def _must(of: TypeInfo) -> TypeInfo:
    return TypeInfo("NON_NULL", None, of)


def type_info(name: str) -> TypeInfo | None:
    """The type of a name as the schema shows it, None when there is none."""
    if name in _SCALARS:
        return _scalar(name)
    if name in ("Resource", "DomainResource"):
        return TypeInfo(
            "INTERFACE", name, None, lambda: _fields(name), lambda: [_of(t) for t in tables.RESOURCE_TYPES if tables.is_a(t, name)]
        )
    if name in schema.META:
        return TypeInfo(
            "OBJECT",
            name,
            None,
            lambda: [FieldInfo(n, _list(TypeInfo("OBJECT", t)) if t else STRING) for n, t in schema.META[name].items()],
        )
    path = schema.path_of(name)
    if path is None:
        return None
    if path in (schema.QUERY, schema.MUTATION) or schema.special(path) is not None:
        return TypeInfo("OBJECT", path, None, lambda: _special_fields(path))
    return _of(path)


def _of(path: str) -> TypeInfo:
    """A FHIR type by its name in the tables."""
    if path == "Resource":
        return TypeInfo("INTERFACE", path)
    if path == "xhtml" or tables.type_(path).kind == "primitive":
        return _scalar(_BUILT_IN.get(path, path))
    return TypeInfo("OBJECT", schema.graphql_name(path), None, lambda: _fields(path))


def _fields(path: str) -> list[FieldInfo]:
    out: list[FieldInfo] = []
    is_resource = tables.is_resource_type(path) or path in ("Resource", "DomainResource")
    if is_resource:
        out.append(FieldInfo("resourceType", _scalar("code")))
    for element in tables.type_(path).elements.values():
        of = _of(element.type)
        leaf = of.kind == "SCALAR"
        arguments = (
            [] if leaf or not element.array else [FieldInfo("fhirpath", STRING), FieldInfo("_offset", INT), FieldInfo("_count", INT)]
        )
        out.append(FieldInfo(element.name, _list(of) if element.array else of, arguments))
        if leaf and element.type != "xhtml" and element.name != "id":
            extra = TypeInfo("OBJECT", "Element")
            out.append(FieldInfo("_" + element.name, _list(extra) if element.array else extra))
    if path == "Reference":
        out.append(
            FieldInfo("resource", TypeInfo("INTERFACE", "Resource"), [FieldInfo("optional", BOOLEAN), FieldInfo("type", _scalar("code"))])
        )
    if tables.is_resource_type(path):
        for type_name in _referring(path):
            reverse = [
                FieldInfo("_reference", _must(STRING)),
                FieldInfo("_filter", STRING),
                FieldInfo("_count", INT),
                FieldInfo("_sort", STRING),
            ]
            out.append(FieldInfo(f"{type_name}List", _list(_of(type_name)), reverse))
            out.append(FieldInfo(f"{type_name}Connection", TypeInfo("OBJECT", f"{type_name}Connection"), reverse))
    return out


@lru_cache(maxsize=256)
def _referring(target: str) -> tuple[str, ...]:
    """Types with a search parameter that may point to `target`."""
    return tuple(
        t for t in tables.RESOURCE_TYPES if any(p.type == "reference" and target in p.targets for p in tables.search_params(t).values())
    )


def _special_fields(name: str) -> list[FieldInfo]:
    if name == schema.QUERY:
        return [f for t in tables.RESOURCE_TYPES for f in _query_fields(t)]
    if name == schema.MUTATION:
        return [f for t in tables.RESOURCE_TYPES for f in _mutation_fields(t)]
    of, kind = schema.special(name) or ("", "")
    if kind == "Edge":
        return [FieldInfo("mode", STRING), FieldInfo("score", _scalar("Float")), FieldInfo("resource", _of(of))]
    numbers = [FieldInfo(n, INT) for n in schema.CONNECTION[:4]]
    links = [FieldInfo(n, ID) for n in schema.CONNECTION[4:]]
    return [*numbers, FieldInfo("edges", _list(TypeInfo("OBJECT", f"{of}Edge"))), *links]


def _query_fields(type_name: str) -> list[FieldInfo]:
    asked = [
        FieldInfo(n.replace("-", "_"), _list(STRING)) for n in sorted(tables.search_params(type_name)) if n not in schema.NOT_ARGUMENTS
    ]
    asked += [
        FieldInfo("_count", INT),
        FieldInfo("_offset", INT),
        FieldInfo("_sort", STRING),
        FieldInfo("_filter", STRING),
        FieldInfo("fhirpath", STRING),
    ]
    return [
        FieldInfo(type_name, _of(type_name), [FieldInfo("id", _must(ID))]),
        FieldInfo(f"{type_name}List", _list(_of(type_name)), asked),
        FieldInfo(f"{type_name}Connection", TypeInfo("OBJECT", f"{type_name}Connection"), [*asked, FieldInfo("_cursor", ID)]),
    ]


def _mutation_fields(type_name: str) -> list[FieldInfo]:
    res, id_ = FieldInfo("res", _must(_scalar("JSON"))), FieldInfo("id", _must(ID))
    of = _of(type_name)
    return [
        FieldInfo(f"{type_name}Create", of, [res]),
        FieldInfo(f"{type_name}Update", of, [id_, res]),
        FieldInfo(f"{type_name}Delete", STRING, [id_]),
    ]


def _all_types() -> Iterable[TypeInfo]:
    seen: set[str | None] = set()
    names = [*_SCALARS, schema.QUERY, schema.MUTATION, *schema.META]
    names += [schema.graphql_name(t) if tables.type_(t).kind != "primitive" else t for t in tables.type_names()]
    names += [t + kind for t in tables.RESOURCE_TYPES for kind in ("Connection", "Edge")]
    for name in names:
        found = type_info(name)
        if found is not None and found.name not in seen:
            seen.add(found.name)
            yield found


def _directives() -> list[DirectiveInfo]:
    condition = [FieldInfo("if", _must(BOOLEAN))]
    anywhere = ["FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"]
    plain = [DirectiveInfo(n, ["FIELD"], []) for n in ("flatten", "first", "singleton")]
    both = [DirectiveInfo(n, anywhere, condition) for n in ("skip", "include")]
    return [*both, *plain, DirectiveInfo("slice", ["FIELD"], [FieldInfo("path", _must(STRING))])]


class Introspection:
    """The answers of one request about the schema."""

    def __init__(self) -> None:
        self._left = MAX_NODES
        self._schemas = 2

    def answer(self, field: Field, out: Output) -> None:
        """`__schema` or `__type(name:)`."""
        if field.name == "__schema":
            self._schemas -= 1
            if self._schemas < 0:
                raise refuse("GraphQL: __schema is asked for too often at once", "too-costly")
        found: Any = "schema" if field.name == "__schema" else type_info(str(field.arguments.get("name")))
        slot = out.slot(field.key, "one", "match")
        if found is not None:
            slot.values.append(self._object(field, found))

    def _object(self, field: Field, thing: Any) -> Output:
        out = Output()
        for child in field.children or ():
            self._left -= 1
            if self._left < 0:
                raise refuse("GraphQL: that is too much of the schema at once; ask for __type(name:)", "too-costly")
            value = self._value(child.name, thing)
            slot = out.slot(child.key, "list" if isinstance(value, list) else "one", "match")
            if isinstance(value, list):
                self._left -= 4 * len(value)  # each was made for this answer
                slot.values += [self._object(child, v) if child.children is not None else v for v in value]
            elif value is not None:
                slot.values.append(self._object(child, value) if child.children is not None else value)
            else:
                slot.values.append(None)
        return out

    def _value(self, name: str, thing: Any) -> Any:
        if thing == "schema":
            return _of_schema(name)
        if isinstance(thing, TypeInfo):
            return _of_type(name, thing)
        if name == "__typename":
            return {FieldInfo: "__Field", DirectiveInfo: "__Directive"}[type(thing)]
        if name == "args":
            return thing.arguments
        if name in ("isDeprecated", "isRepeatable"):
            return False
        return getattr(thing, name) if name in ("name", "type", "locations") else None


def _of_schema(name: str) -> Any:
    if name == "types":
        return list(_all_types())
    if name == "directives":
        return _directives()
    return {"queryType": type_info(schema.QUERY), "mutationType": type_info(schema.MUTATION), "__typename": "__Schema"}.get(name)


def _of_type(name: str, thing: TypeInfo) -> Any:
    if name in ("kind", "name"):
        return thing.kind if name == "kind" else thing.name
    if name == "ofType":
        return thing.of
    if name == "fields":
        whole = thing if thing.fields is not None or thing.name is None else type_info(thing.name)
        return whole.fields() if whole is not None and whole.fields is not None else None
    if name == "interfaces":
        return _interfaces(thing) if thing.kind in ("OBJECT", "INTERFACE") else None
    if name == "possibleTypes":
        return thing.possible() if thing.possible is not None else None
    return "__Type" if name == "__typename" else None


def _interfaces(thing: TypeInfo) -> list[TypeInfo]:
    name = thing.name or ""
    if not tables.is_resource_type(name):
        return []
    return [TypeInfo("INTERFACE", i) for i in ("Resource", "DomainResource") if tables.is_a(name, i)]
