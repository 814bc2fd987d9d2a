"""A syntax tree to closures: each takes the Context and gives its items."""

from collections.abc import Callable
from typing import Any

from fhir_profiles.fhirpath import ast, functions, types
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.errors import execution, semantic
from fhir_profiles.fhirpath.functions.typing import TypeInfo, is_test, kept
from fhir_profiles.fhirpath.node import Node, children
from fhir_profiles.fhirpath.operators import alternatives, binary, sign
from fhir_profiles.fhirpath.quantity import Quantity
from fhir_profiles.fhirpath.registry import FUNCTIONS, Eval, Items, integer

__all__ = ["compiled", "functions"]

# R4 fhirpath.html, "Variables"; %`vs-x` and %`ext-x` are below.
_CONSTANTS = {
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "ucum": "http://unitsofmeasure.org",
}


def compiled(expr: ast.Expr) -> Eval:
    """The closure of a tree. FHIRPathError `semantic` where it cannot mean anything."""
    run = _BUILD[expr.__class__](expr)
    return _once(run) if isinstance(expr, ast.Member | ast.Call | ast.Index | ast.Alternatives) and _fixed(expr) else run


def _once(run: Eval) -> Eval:
    """A part that is the same for every item is evaluated once: sdf-8 asks each of 1,000 elements for `%resource.snapshot...`."""
    key = object()

    def kept(ctx: Context) -> Items:
        found = ctx.known.get(key)
        if found is None:
            found = ctx.known[key] = run(ctx)
        return found

    return kept


def _fixed(expr: ast.Expr | None, inside: bool = False) -> bool:
    """Whether a path starts at a variable and nothing in it depends on $this around it; `inside` an argument it has its own."""
    if isinstance(expr, ast.Variable):
        return True
    if expr is None:
        return inside
    if isinstance(expr, ast.Literal | ast.Empty):
        return inside
    if isinstance(expr, ast.Dollar):
        return inside and expr.name != "total"
    if isinstance(expr, ast.Member):
        return _fixed(expr.source, inside)
    if isinstance(expr, ast.Index):
        return _fixed(expr.source, inside) and isinstance(expr.index, ast.Literal)
    if isinstance(expr, ast.Alternatives):
        return all(_fixed(p, inside) for p in expr.parts)
    if isinstance(expr, ast.Binary):
        return inside and _fixed(expr.left, True) and _fixed(expr.right, True)
    if isinstance(expr, ast.Call):
        if expr.name in ("as", "ofType", "is"):
            return _fixed(expr.source, inside)
        own = expr.name in _PER_ITEM
        return _fixed(expr.source, inside) and all(isinstance(a, ast.Literal) or _fixed(a, inside or own) for a in expr.args)
    return False


_PER_ITEM = frozenset(("where", "select", "exists", "all"))


def _literal(expr: ast.Literal) -> Eval:
    items = [expr.value]
    return lambda ctx: items


def _empty(expr: ast.Empty) -> Eval:
    return lambda ctx: []


def _this(ctx: Context) -> Items:
    return ctx.this


def _dollar(expr: ast.Dollar) -> Eval:
    if expr.name == "this":
        return _this
    if expr.name == "index":
        return lambda ctx: [ctx.index]
    return lambda ctx: ctx.total


def _variable(expr: ast.Variable) -> Eval:
    name = expr.name
    if name in _CONSTANTS:
        constant = [_CONSTANTS[name]]
        return lambda ctx: constant
    for prefix, base in (("vs-", "http://hl7.org/fhir/ValueSet/"), ("ext-", "http://hl7.org/fhir/StructureDefinition/")):
        if name.startswith(prefix):
            url = [base + name[len(prefix) :]]
            return lambda ctx: url
    if name == "context":
        return lambda ctx: ctx.context
    if name == "resource":
        return lambda ctx: [ctx.resource] if ctx.resource is not None else []
    if name == "rootResource":
        return lambda ctx: [ctx.root] if ctx.root is not None else []

    def run(ctx: Context) -> Items:
        try:
            found = ctx.variables[name]
        except KeyError:
            raise execution(f"the variable %{name} is not defined") from None
        return found if found.__class__ is list else [] if found is None else [found]

    return run


def _member(expr: ast.Member) -> Eval:
    name = expr.name
    if expr.source is None and name[:1].isupper():
        return _typed_start(name)
    source = compiled(expr.source) if expr.source is not None else _this

    def run(ctx: Context) -> Items:
        out: Items = []
        for item in source(ctx):
            if item.__class__ is Node:
                children(item, name, out)
            else:
                _system_member(item, name, out)
        ctx.left -= len(out) + 1
        if ctx.left < 0:
            ctx.spend(0)
        return out

    return run


def _system_member(item: Any, name: str, out: Items) -> None:
    """What type() and quantities have inside."""
    if (item.__class__ is TypeInfo and name in TypeInfo._fields) or (item.__class__ is Quantity and name in ("value", "unit")):
        out.append(getattr(item, name))


def _typed_start(name: str) -> Eval:
    """`Patient.name`: the focus itself where it is a Patient, and nothing elsewhere."""

    def run(ctx: Context) -> Items:
        out: Items = []
        for item in ctx.this:
            if item.__class__ is Node:
                if types.is_a(item.type, name):
                    out.append(item)
                else:
                    children(item, name, out)
        return out

    return run


def _call(expr: ast.Call) -> Eval:
    function = FUNCTIONS.get(expr.name)
    if function is None:
        raise semantic(f"{expr.name}() is not a function of FHIRPath")
    if not function.least <= len(expr.args) <= function.most:
        wanted = str(function.least) if function.least == function.most else f"{function.least} to {function.most}"
        raise semantic(f"{expr.name}() takes {wanted} arguments, not {len(expr.args)}")
    return function.build(compiled, compiled(expr.source) if expr.source is not None else _this, expr.args)


def _index(expr: ast.Index) -> Eval:
    source, index = compiled(expr.source), compiled(expr.index)

    def run(ctx: Context) -> Items:
        at = integer(index(ctx), "[ ]")
        return [] if at is None or at < 0 else source(ctx)[at : at + 1]

    return run


def _sign(expr: ast.Sign) -> Eval:
    return sign(compiled(expr.operand), expr.sign)


def _binary(expr: ast.Binary) -> Eval:
    return binary(expr.op, compiled(expr.left), compiled(expr.right))


def _alternatives(expr: ast.Alternatives) -> Eval:
    return alternatives([compiled(p) for p in expr.parts])


def _type_test(expr: ast.TypeTest) -> Eval:
    wanted = types.type_name(expr.type)
    return (is_test if expr.op == "is" else kept)(compiled(expr.operand), wanted)


_BUILD: dict[type, Callable[[Any], Eval]] = {
    ast.Literal: _literal, ast.Empty: _empty, ast.Dollar: _dollar, ast.Variable: _variable, ast.Member: _member, ast.Call: _call,
    ast.Index: _index, ast.Sign: _sign, ast.Binary: _binary, ast.Alternatives: _alternatives, ast.TypeTest: _type_test,
}  # fmt: skip
