"""Strict reading: names that can mean nothing for the type an expression is for are errors, where N1 would let them be empty."""

from fhir_profiles import tables
from fhir_profiles.fhirpath import ast, types
from fhir_profiles.fhirpath.errors import semantic
from fhir_profiles.fhirpath.functions.typing import is_exactly
from fhir_profiles.fhirpath.node import Node

# Types a part may have; None: any.
Types = frozenset[str] | None

_SAME = frozenset(("where", "first", "last", "tail", "skip", "take", "single", "distinct", "trace", "sort", "intersect", "exclude"))
_ORDERED = frozenset(("first", "last", "tail", "skip", "take"))
_PER_ITEM = frozenset(("where", "select", "repeat", "exists", "all", "aggregate", "iif", "trace", "sort"))
_SYSTEM = frozenset(("System",))  # a computed value, whichever


def check(tree: ast.Expr, type_name: str) -> None:
    """FHIRPathError `semantic` if a part of the expression can never find anything."""
    _Checker(type_name).types(tree)


class _Checker:
    def __init__(self, type_name: str) -> None:
        self.this: Types = None if type_name in ("Resource", "DomainResource") else frozenset((type_name,))
        self.context = self.this

    def types(self, expr: ast.Expr) -> Types:
        if isinstance(expr, ast.Member):
            return self.member(expr)
        if isinstance(expr, ast.Call):
            return self.call(expr)
        if isinstance(expr, ast.Index):
            self.ordered(expr.source, "[ ]")
            self.types(expr.index)
            return self.types(expr.source)
        if isinstance(expr, ast.TypeTest):
            return self.narrowed(self.types(expr.operand), expr.type) if expr.op == "as" else self.computed(expr.operand)
        if isinstance(expr, ast.Alternatives):
            return self.joined([self.types(p) for p in expr.parts])
        if isinstance(expr, ast.Binary):
            return self.computed(expr.left, expr.right)
        if isinstance(expr, ast.Sign):
            return self.computed(expr.operand)
        if isinstance(expr, ast.Dollar):
            return self.this if expr.name == "this" else None
        if isinstance(expr, ast.Variable):
            return self.context if expr.name == "context" else None
        return _SYSTEM if isinstance(expr, ast.Literal) else None

    def computed(self, *parts: ast.Expr) -> Types:
        for part in parts:
            self.types(part)
        return _SYSTEM

    @staticmethod
    def joined(found: list[Types]) -> Types:
        return None if any(f is None for f in found) else frozenset(t for f in found for t in f or ())

    def member(self, expr: ast.Member) -> Types:
        source = self.this if expr.source is None else self.types(expr.source)
        if source is None or source == _SYSTEM:
            return None
        if expr.source is None and expr.name[:1].isupper():
            kept = frozenset(t for t in source if types.is_a(t, expr.name))
            if not kept:
                raise semantic(f"{expr.name} is not what the expression is for: {_listed(source)}")
            return kept
        found = [step for t in source if t != "System" for step in types.steps(t).get(expr.name, ())]
        if not found:
            raise semantic(f"{_listed(source)} has no element {expr.name}")
        return None if any(s.open for s in found) else frozenset(s.type for s in found)

    def call(self, expr: ast.Call) -> Types:
        source = self.this if expr.source is None else self.types(expr.source)
        name = expr.name
        if name in ("as", "ofType"):
            wanted = ast.qualified(expr.args[0])
            return self.narrowed(source, wanted) if wanted else None
        if name in _ORDERED and expr.source is not None:
            self.ordered(expr.source, f"{name}()")
        if name == "is":
            return _SYSTEM
        outer = self.this
        if name in _PER_ITEM:
            self.this = source
        try:
            arguments = [self.types(a) for a in expr.args]
        finally:
            self.this = outer
        if name in _SAME:
            return source
        if name == "select":
            return arguments[0]
        if name in ("union", "combine"):
            return self.joined([source, arguments[0]])
        return frozenset(("Extension",)) if name == "extension" else None

    def ordered(self, source: ast.Expr, what: str) -> None:
        if isinstance(source, ast.Call) and source.name in ("children", "descendants"):
            raise semantic(f"{source.name}() has no order that {what} could count on")

    def narrowed(self, source: Types, name: str) -> Types:
        wanted = types.type_name(name)
        if source is None:
            return frozenset((wanted.name,)) if wanted.fhir and wanted.name in tables.type_names() else None
        kept = frozenset(t for t in source if t == "System" or is_exactly(Node(None, t, None, None, "", -1), wanted))
        if not kept:
            raise semantic(f"{_listed(source)} is never {name}")
        return kept


def _listed(found: frozenset[str]) -> str:
    names = sorted(found)
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
