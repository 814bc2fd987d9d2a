"""Types: is(), as(), ofType(), type() (FHIRPath N1, 6.3 and 10)."""

from typing import NamedTuple

from fhir_profiles.fhirpath import ast, types
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.errors import execution, semantic
from fhir_profiles.fhirpath.node import IMPLICIT, Node, system_type
from fhir_profiles.fhirpath.registry import Compile, Eval, Items, lambdas, values


class TypeInfo(NamedTuple):
    """What type() says."""

    namespace: str
    name: str
    baseType: str


def is_of(item: object, wanted: types.TypeName) -> bool:
    """Whether an item is of a type or one below it."""
    if item.__class__ is Node:
        return wanted.fhir and types.is_a(item.type, wanted.name)
    return wanted.system and wanted.name in (system_type(item), "Any")


def is_exactly(item: object, wanted: types.TypeName) -> bool:
    """Whether as() and ofType() keep an item.

    A primitive must be of that very type (`code` is no `string` here: R4's search parameters and invariants count on it); a complex
    one may specialise it. FHIRPath's own names also take the FHIR primitive that converts to them: official expressions say
    `value.as(DateTime)`.
    """
    if item.__class__ is not Node:
        return is_of(item, wanted)
    name: str = item.type
    if wanted.fhir and (name == wanted.name or (name[:1].isupper() and types.is_a(name, wanted.name))):
        return True
    if not wanted.system:
        return False
    return IMPLICIT.get(name) == wanted.name or (wanted.name == "String" and name == "string")


def _argument(args: tuple[ast.Expr, ...], what: str) -> types.TypeName:
    name = ast.qualified(args[0])
    if name is None:
        raise semantic(f"{what} takes the name of a type")
    return types.type_name(name)


def is_test(source: Eval, wanted: types.TypeName) -> Eval:
    def run(ctx: Context) -> Items:
        items = source(ctx)
        if len(items) > 1:
            raise execution("is takes one item")
        return [is_of(items[0], wanted)] if items else []

    return run


def kept(source: Eval, wanted: types.TypeName) -> Eval:
    """R4 uses as() on collections (`useContext.value as Quantity`), where N1 would have an error: it filters."""

    def run(ctx: Context) -> Items:
        return [item for item in source(ctx) if is_exactly(item, wanted)]

    return run


@lambdas("is", 1, 1)
def is_(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    return is_test(source, _argument(args, "is()"))


@lambdas("as", 1, 1)
def as_(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    return kept(source, _argument(args, "as()"))


@lambdas("ofType", 1, 1)
def of_type(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    return kept(source, _argument(args, "ofType()"))


@values("type")
def type_(ctx: Context, items: Items) -> Items:
    out: Items = []
    for item in items:
        if item.__class__ is Node:
            out.append(TypeInfo("FHIR", item.type, f"FHIR.{types.base(item.type)}"))
        else:
            out.append(TypeInfo("System", system_type(item), "System.Any"))
    return out
