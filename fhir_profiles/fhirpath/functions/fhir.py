"""What FHIR R4 adds to FHIRPath (R4 fhirpath.html)."""

from typing import Any

from fhir_profiles import tables
from fhir_profiles.fhirpath import types
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.node import Node, children, system
from fhir_profiles.fhirpath.registry import Items, text, values

_STRUCTURES = "http://hl7.org/fhir/StructureDefinition/"


@values("hasValue")
def has_value(ctx: Context, items: Items) -> Items:
    if len(items) != 1:
        return [False]
    item = items[0]
    return [item.__class__ is not Node or (item.value is not None and item.value.__class__ is not dict)]


@values("getValue")
def get_value(ctx: Context, items: Items) -> Items:
    if has_value(ctx, items) == [False]:
        return []
    item = items[0]
    return [system(item)]


def _extensions(items: Items, url: str | None) -> Items:
    found: Items = []
    for item in items:
        if item.__class__ is Node:
            children(item, "extension", found)
    return [x for x in found if x.value.__class__ is dict and x.value.get("url") == url]


@values("extension", 1)
def extension(ctx: Context, items: Items, url: Items) -> Items:
    wanted = text(url, "extension()")
    ctx.spend(len(items))
    return [] if wanted is None else _extensions(items, wanted)


@values("hasExtension", 1)
def has_extension(ctx: Context, items: Items, url: Items) -> Items:
    return [bool(extension(ctx, items, url))]


@values("resolve")
def resolve(ctx: Context, items: Items) -> Items:
    out: Items = []
    for item in items:
        ctx.spend(4)
        found = _target(ctx, item)
        if found is not None:
            out.append(found)
    return out


def _target(ctx: Context, item: Any) -> Any:
    value = item.value if item.__class__ is Node else item
    declared = None
    if value.__class__ is dict:
        declared = value.get("type")
        value = value.get("reference")
    if not isinstance(value, str) or not value:
        return Node({"resourceType": declared}, str(declared), None, None, "", -1) if _is_resource(declared) else None
    if value[0] == "#":
        return _contained(ctx, item, value[1:])
    if ctx.resolve is not None:
        return ctx.resolve(value, item if item.__class__ is Node else None)
    # Without a store an unknown resource of a known type is enough for `resolve() is Patient`.
    parts = value.partition("?")[0].split("/")
    if len(parts) >= 4 and parts[-2] == "_history":
        parts = parts[:-2]
    name = parts[-2] if len(parts) >= 2 and _is_resource(parts[-2]) else declared
    if not _is_resource(name):
        return None
    return Node({"resourceType": name, "id": parts[-1]}, str(name), None, None, "", -1)


def _is_resource(name: object) -> bool:
    return isinstance(name, str) and tables.is_resource_type(name)


def _contained(ctx: Context, item: Any, wanted: str) -> Any:
    """`#id` within the outermost resource, `#` the resource itself."""
    at = item if item.__class__ is Node else None
    home: Any = None
    while at is not None:
        if at.name != "contained" and types.is_a(at.type, "Resource"):
            home = at
            break
        at = at.parent
    home = home or ctx.root or ctx.resource
    if home is None or not wanted:
        return home
    found: Items = []
    children(home, "contained", found)
    return next((n for n in found if n.value.__class__ is dict and n.value.get("id") == wanted), None)


@values("memberOf", 1)
def member_of(ctx: Context, items: Items, value_set: Items) -> Items:
    url = text(value_set, "memberOf()")
    if len(items) != 1 or url is None:
        return []
    item = items[0] if items[0].__class__ is Node else Node(items[0], "string", None, None, "", -1)
    found = ctx.member_of(item, url) if ctx.member_of else _listed(item, url)
    return [] if found is None else [found]


def _listed(item: Node, url: str) -> bool | None:
    """Membership in a value set that the R4 package lists."""
    codes = tables.value_set_codes(url)
    if codes is None:
        return None
    value = item.value
    if isinstance(value, str):
        return any(code == value for _, code in codes)
    if not isinstance(value, dict):
        return None
    codings = value.get("coding", ()) if item.type == "CodeableConcept" else (value,)
    return any((c.get("system"), c.get("code")) in codes for c in codings if isinstance(c, dict))


@values("subsumes", 1)
def subsumes(ctx: Context, items: Items, other: Items) -> Items:
    if len(items) != 1 or len(other) != 1:
        return []
    return [any(_below(a, b) for a in _codings(items[0]) for b in _codings(other[0]))]


@values("subsumedBy", 1)
def subsumed_by(ctx: Context, items: Items, other: Items) -> Items:
    return subsumes(ctx, other, items)


def _codings(item: Any) -> list[tuple[Any, Any]]:
    value = item.value if item.__class__ is Node else None
    if not isinstance(value, dict):
        raise execution("subsumes() takes a Coding or a CodeableConcept")
    codings = value.get("coding", ()) if item.type == "CodeableConcept" else (value,)
    return [(c.get("system"), c.get("code")) for c in codings if isinstance(c, dict)]


def _below(a: tuple[Any, Any], b: tuple[Any, Any]) -> bool:
    if a[0] != b[0] or not isinstance(a[0], str):
        return False
    below = tables.code_children(a[0])
    todo, seen = [a[1]], {a[1]}
    while todo:
        code = todo.pop()
        if code == b[1]:
            return True
        fresh = set(below.get(code, ())) - seen
        seen |= fresh
        todo += fresh
    return False


@values("conformsTo", 1)
def conforms_to(ctx: Context, items: Items, structure: Items) -> Items:
    url = text(structure, "conformsTo()")
    if len(items) != 1 or url is None:
        return []
    item = items[0]
    if ctx.conforms is not None and item.__class__ is Node:
        found = ctx.conforms(item, url)
        return [] if found is None else [found]
    name = url.partition("|")[0].removeprefix(_STRUCTURES)
    try:
        tables.type_(name)
    except KeyError:
        raise execution(f"conformsTo(): the profile {url} is not known") from None
    # Resources that reach an invariant are valid R4: of the base definitions only the type is left to tell.
    return [item.__class__ is Node and types.is_a(item.type, name)]


@values("htmlChecks")
def html_checks(ctx: Context, items: Items) -> Items:
    # The validator compiles its invariants with this package: imported when first asked, not before.
    from fhir_profiles.validator.xhtml import check

    return [all(item.__class__ is not Node or item.value is None or check(item.value) is None for item in items)]


def _needs_profile(name: str, arguments: int) -> None:
    @values(name, arguments)
    def run(ctx: Context, items: Items, *args: Items) -> Items:
        if not items:
            return []
        raise execution(f"{name}() needs a profile's snapshot, and none is at hand")


_needs_profile("elementDefinition", 0)
_needs_profile("slice", 2)


@values("checkModifiers", 0, 20)
def check_modifiers(ctx: Context, items: Items, *known: Items) -> Items:
    """An error if an item has a modifier extension the expression does not name."""
    urls = {text(k, "checkModifiers()") for k in known}
    found: Items = []
    for item in items:
        if item.__class__ is Node:
            children(item, "modifierExtension", found)
    for x in found:
        if x.value.get("url") not in urls:
            raise execution(f"the modifier extension {x.value.get('url')} is not understood")
    return items
