"""Python source for the FHIRPath of invariants: paths over dicts, comparisons, and logic without collections.

A boolean is generated as two tests, "is true" and "is false", so that the third value, empty, costs nothing:
`a or b` is false where both are false. An invariant holds unless it is false; a criterion of where() keeps what is true.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from fhir_profiles import tables
from fhir_profiles.fhirpath import ast, types
from fhir_profiles.fhirpath.compiler import compiled
from fhir_profiles.fhirpath.context import INVARIANT_STEPS, NO_HOOKS, Context
from fhir_profiles.fhirpath.functions.fhir import html_checks
from fhir_profiles.fhirpath.functions.typing import is_exactly
from fhir_profiles.fhirpath.node import IMPLICIT, Node, root
from fhir_profiles.fhirpath.regex import matcher
from fhir_profiles.fhirpath.registry import truth
from fhir_profiles.fhirpath.temporal import compare, temporal
from fhir_profiles.number import Number


class NotSimple(Exception):
    """The generator has no source for this part."""


class Value(NamedTuple):
    """A path as source. One item: an expression that may be None; many: an iterable.

    `parent` and `steps` tell how its last step is taken, for tests of existence: `'name' in parent`.
    """

    code: str
    many: bool
    types: frozenset[str]
    parent: str = ""
    steps: tuple[types.Step, ...] = ()
    parents: str = ""  # `for x in ...` around the parent, where there are several
    sure: bool = False  # never None

    @property
    def primitive(self) -> bool:
        return all(tables.type_(t).kind == "primitive" for t in self.types)


_STRINGS = types.PRIMITIVE - IMPLICIT.keys()
_MOMENTS = frozenset(("date", "dateTime", "instant"))
_NUMBERS = frozenset(("integer", "unsignedInt", "positiveInt", "decimal"))
_EVERY_RESOURCE = frozenset(tables.RESOURCE_TYPES)
_TESTS = {"startsWith": "{0}.startswith({1})", "endsWith": "{0}.endswith({1})", "contains": "{1} in {0}"}


def _number(x: Any) -> Any:
    return x.as_decimal() if x.__class__ is Number else x


def _moments(a: Any, b: Any) -> int | None:
    """Order of two dates or date-times as sent; None where there is none."""
    if a is None or b is None:
        return None
    # The same precision and zone: the texts have the order of the moments. 24 of 25 pairs in real data.
    if len(a) == len(b) and a[19:] == b[19:]:
        return 1 if a > b else -1 if a < b else 0
    x, y = temporal(a, "DateTime"), temporal(b, "DateTime")
    return None if x is None or y is None else compare(x, y)


def _padded(parent: Any, name: str) -> list[Any]:
    """A primitive array with its `_name` array: None where an item has extensions only."""
    values, beside = parent.get(name) or (), parent.get("_" + name) or ()
    return [
        values[i] if i < len(values) else None
        for i in range(max(len(values), len(beside)))
        if (i < len(values) and values[i] is not None) or (i < len(beside) and beside[i] is not None)
    ]


def _looks_out(expr: ast.Expr) -> bool:
    """Whether a part of a criterion needs more of what is around it than $this."""
    todo: list[object] = [expr]
    while todo:
        part = todo.pop()
        if (isinstance(part, ast.Variable) and part.name == "context") or (isinstance(part, ast.Dollar) and part.name != "this"):
            return True
        for name in getattr(part, "__slots__", ()):
            value = getattr(part, name)
            todo += value if isinstance(value, tuple) else (value,)
    return False


class Source:
    """Generates one function `f(v, resource, root)`."""

    def __init__(self, context_type: str) -> None:
        self.constants: dict[str, Any] = {"E": {}, "N": _number, "D": _moments, "P": _padded, "__builtins__": {}}
        for function in (any, all, len, set):
            self.constants[function.__name__] = function
        self.names = 0
        kind = tables.type_(context_type).kind
        self.this = Value("v", False, self._types(context_type), sure=kind != "primitive")
        home = context_type.partition(".")[0]
        outer = frozenset((home,)) if tables.is_resource_type(home) else _EVERY_RESOURCE
        self.resource = Value("resource", False, outer)

    @staticmethod
    def _types(name: str) -> frozenset[str]:
        return _EVERY_RESOURCE if name in ("Resource", "DomainResource") else frozenset((name,))

    def check(self, tree: ast.Expr) -> Callable[[Any, Any, Any], Any]:
        """A function that tells whether an invariant holds."""
        body = f"def f(v, resource, root):\n    return not ({self.false(tree)})\n"
        exec(compile(body, "<invariant>", "exec"), self.constants)  # noqa: S102 - source from our own generator: names are constants or repr()
        return self.constants["f"]  # type: ignore[no-any-return]

    def name(self, prefix: str = "x") -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def constant(self, value: Any, prefix: str = "k") -> str:
        name = self.name(prefix)
        self.constants[name] = value
        return name

    # Booleans

    def true(self, expr: ast.Expr) -> str:
        return self.boolean(expr)[0]

    def false(self, expr: ast.Expr) -> str:
        return self.boolean(expr)[1]

    def boolean(self, expr: ast.Expr) -> tuple[str, str]:
        """Source of "is true" and of "is false"; the engine's where there is none."""
        names = self.names
        try:
            return self.simple(expr)
        except NotSimple:
            self.names = max(self.names, names)
            return self.engine(expr)

    def simple(self, expr: ast.Expr) -> tuple[str, str]:
        if isinstance(expr, ast.Binary):
            return self.binary(expr)
        if isinstance(expr, ast.Call):
            return self.call(expr)
        if isinstance(expr, ast.Literal) and isinstance(expr.value, bool):
            return str(expr.value), str(not expr.value)
        if isinstance(expr, ast.TypeTest) and expr.op == "is":
            return self.type_test(expr.operand, expr.type)
        value = self.path(expr)
        if not value.many and value.types == {"boolean"}:
            return f"{value.code} is True", f"{value.code} is False"
        raise NotSimple

    def engine(self, expr: ast.Expr) -> tuple[str, str]:
        """The part as a call of the engine on the current $this."""
        this = self.this
        kinds = this.types
        if (len(kinds) > 1 and kinds != _EVERY_RESOURCE) or (this.code != "v" and _looks_out(expr)):
            raise NotSimple
        run = compiled(expr)
        kind = None if kinds == _EVERY_RESOURCE else next(iter(kinds))

        def part(value: Any, resource: Any, outer: Any) -> bool | None:
            node = value if value.__class__ is Node else root(value, kind)
            near = node if resource is value else None if resource is None else root(resource)
            far = near if outer is resource else None if outer is None else root(outer)
            return truth(run(Context([node], near, far, {}, INVARIANT_STEPS, NO_HOOKS)), "an invariant")

        call = f"{self.constant(part, 'part')}({this.code}, resource, root)"
        return f"({call} is True)", f"({call} is False)"

    def binary(self, expr: ast.Binary) -> tuple[str, str]:
        op = expr.op
        if op in ("and", "or", "implies", "xor"):
            (a, not_a), (b, not_b) = self.boolean(expr.left), self.boolean(expr.right)
            if op == "and":
                return f"({a} and {b})", f"({not_a} or {not_b})"
            if op == "or":
                return f"({a} or {b})", f"({not_a} and {not_b})"
            if op == "implies":
                return f"({not_a} or {b})", f"({a} and {not_b})"
            return self.differs(a, not_a, b, not_b)
        if op in ("=", "!="):
            same, other = self.equality(expr.left, expr.right)
            return (same, other) if op == "=" else (other, same)
        if op in ("<", "<=", ">", ">="):
            return self.ordering(op, expr.left, expr.right)
        if op == "in":
            return self.member(expr.left, expr.right)
        raise NotSimple

    @staticmethod
    def differs(a: str, not_a: str, b: str, not_b: str) -> tuple[str, str]:
        return f"(({a} and {not_b}) or ({not_a} and {b}))", f"(({a} and {b}) or ({not_a} and {not_b}))"

    def equality(self, left: ast.Expr, right: ast.Expr) -> tuple[str, str]:
        for a, b in ((left, right), (right, left)):
            if isinstance(b, (ast.Literal, ast.Variable)):
                return self.equals_literal(a, b)
        if all(isinstance(side, ast.Call) and side.name in ("exists", "empty", "not", "hasValue") for side in (left, right)):
            (a_, not_a), (b_, not_b) = self.boolean(left), self.boolean(right)
            other, same = self.differs(a_, not_a, b_, not_b)
            return same, other
        if not isinstance(right, ast.Binary):
            # `exists() = (a or b)` (bdl-3): both sides are booleans by their form.
            raise NotSimple
        if right.op in ("and", "or", "implies", "=", "!=") and isinstance(left, ast.Call) and left.name in ("exists", "empty"):
            (a_, not_a), (b_, not_b) = self.boolean(left), self.boolean(right)
            other, same = self.differs(a_, not_a, b_, not_b)
            return same, other
        raise NotSimple

    def equals_literal(self, expr: ast.Expr, literal: ast.Literal | ast.Variable) -> tuple[str, str]:
        if isinstance(literal, ast.Variable):
            if literal.name != "ucum":
                raise NotSimple
            wanted: Any = "http://unitsofmeasure.org"
        else:
            wanted = literal.value
        if wanted.__class__ in (int, Decimal):
            number = self.count(expr) or self.number(expr)
            test = f"{number} == {self.constant(wanted)}"
            return f"({test})", f"({number} is not None and not {test})"
        value = self.path(expr)
        if value.many or (not value.steps and value.code != self.this.code):
            raise NotSimple
        if wanted.__class__ is bool and value.types == {"boolean"}:
            return f"({value.code} is {wanted})", self.unequal(value, f"{value.code} is {not wanted}")
        if wanted.__class__ is str and value.types <= _STRINGS:
            return f"({value.code} == {wanted!r})", self.unequal(value, f"{value.code} != {wanted!r}")
        raise NotSimple

    @staticmethod
    def unequal(value: Value, test: str) -> str:
        """A value that is there and differs."""
        return f"({value.code} is not None and {test})"

    def number(self, expr: ast.Expr) -> str:
        value = self.path(expr)
        if value.many or not value.types <= _NUMBERS:
            raise NotSimple
        return f"N({value.code})"

    def count(self, expr: ast.Expr) -> str:
        """Source of an integer that is never empty; "" if the expression is none."""
        if isinstance(expr, ast.Binary) and expr.op == "+":
            a, b = self.count(expr.left), self.count(expr.right)
            return f"({a} + {b})" if a and b else ""
        if isinstance(expr, ast.Literal) and expr.value.__class__ is int:
            return str(expr.value)
        if not (isinstance(expr, ast.Call) and expr.name == "count" and not expr.args):
            return ""
        inner = expr.source
        if isinstance(inner, ast.Call) and inner.name == "children" and inner.source is None and self.this.sure:
            # ele-1 on every element there is: as many children as properties, near enough to tell none from some.
            return f"(len({self.this.code}) - ('resourceType' in {self.this.code}))"
        value = self.path(inner)
        if value.many:
            return f"len({value.code})"
        return f"({self.exists(value)})"

    def ordering(self, op: str, left: ast.Expr, right: ast.Expr) -> tuple[str, str]:
        a, b = self.count(left), self.count(right)
        if a and b:
            return f"({a} {op} {b})", f"(not {a} {op} {b})"
        if isinstance(right, ast.Literal) and right.value.__class__ in (int, Decimal):
            number = self.number(left)
            test = f"{number} {op} {self.constant(right.value)}"
            return f"({number} is not None and {test})", f"({number} is not None and not {test})"
        x, y = self.path(left), self.path(right)
        if x.many or y.many or not (x.types | y.types) <= _MOMENTS:
            raise NotSimple
        true = {"<": "(-1,)", "<=": "(-1, 0)", ">": "(1,)", ">=": "(1, 0)"}[op]
        false = {"<": "(1, 0)", "<=": "(1,)", ">": "(-1, 0)", ">=": "(-1,)"}[op]
        order = f"D({x.code}, {y.code})"
        return f"({order} in {true})", f"({order} in {false})"

    def member(self, left: ast.Expr, right: ast.Expr) -> tuple[str, str]:
        parts = right.parts if isinstance(right, ast.Alternatives) else (right,)
        texts = [p.value for p in parts if isinstance(p, ast.Literal) and p.value.__class__ is str]
        value = self.path(left)
        if len(texts) != len(parts) or value.many or not value.types <= _STRINGS:
            raise NotSimple
        known = self.constant(frozenset(texts))
        return f"({value.code} in {known})", self.unequal(value, f"{value.code} not in {known}")

    def type_test(self, operand: ast.Expr, name: str) -> tuple[str, str]:
        wanted, value = types.type_name(name), self.path(operand)
        if value.many or not value.steps or any(s.open for s in value.steps) or (wanted.system and not wanted.fhir):
            raise NotSimple
        hits = tuple(s for s in value.steps if types.is_a(s.type, wanted.name))
        others = tuple(s for s in value.steps if s not in hits)
        return self.present(value.parent, hits), self.present(value.parent, others)

    # Functions

    def call(self, expr: ast.Call) -> tuple[str, str]:
        name = expr.name
        if name == "not" and not expr.args:
            a, not_a = self.boolean(expr.source) if expr.source is not None else self.engine(expr)
            return not_a, a
        if name in ("exists", "empty"):
            test = self.existence(expr)
            return (test, f"(not {test})") if name == "exists" else (f"(not {test})", test)
        if name == "hasValue" and not expr.args:
            value = self.path(expr.source)
            if not value.many and value.sure:
                return "False", "True"
            if value.many or not value.primitive:
                raise NotSimple
            return f"({value.code} is not None)", f"({value.code} is None)"
        if name == "all" and len(expr.args) == 1:
            return self.all(expr)
        if name == "isDistinct" and not expr.args:
            return self.distinct(expr)
        if name in _TESTS or name == "matches":
            return self.text_test(expr)
        if name == "htmlChecks" and self.this.code == "v" and expr.source is None:
            checks = self.constant(html_checks)
            node = self.constant(lambda v: [Node(v, "xhtml", None, None, "", -1)])
            return f"{checks}(None, {node}(v))[0]", f"(not {checks}(None, {node}(v))[0])"
        raise NotSimple

    def text_test(self, expr: ast.Call) -> tuple[str, str]:
        argument = expr.args[0] if len(expr.args) == 1 else None
        value = self.path(expr.source)
        if not isinstance(argument, ast.Literal) or argument.value.__class__ is not str or value.many or not value.types <= _STRINGS:
            raise NotSimple
        if expr.name == "matches":
            test = f"{self.constant(matcher(argument.value))}({value.code})"
        else:
            test = _TESTS[expr.name].format(value.code, repr(argument.value))
        return f"({value.code} is not None and {test})", f"({value.code} is not None and not {test})"

    def existence(self, expr: ast.Call) -> str:
        """Whether there is an item; of those that meet the criterion of exists()."""
        source = expr.source
        if expr.args:
            if expr.name != "exists":
                raise NotSimple
            source = ast.Call(source, "where", expr.args)
        while isinstance(source, ast.Call) and source.name == "trace":
            source = source.source
        if isinstance(source, ast.Call) and source.name == "where" and len(source.args) == 1:
            value = self.path(source.source)
            if not value.many:
                here = self.exists(value)
                return f"({here} and {self.inside(value, value.code, source.args[0])[0]})"
            x = self.name()
            return f"any({self.inside(value, x, source.args[0])[0]} for {x} in {value.code})"
        return self.exists(self.path(source))

    def inside(self, value: Value, code: str, criterion: ast.Expr) -> tuple[str, str]:
        """A criterion with $this being `code`."""
        outer = self.this
        self.this = Value(code, False, value.types, sure=not value.primitive)
        try:
            return self.boolean(criterion)
        finally:
            self.this = outer

    def all(self, expr: ast.Call) -> tuple[str, str]:
        value = self.path(expr.source)
        if not value.many:
            raise NotSimple
        x = self.name()
        test = f"all({self.inside(value, x, expr.args[0])[0]} for {x} in {value.code})"
        return test, f"(not {test})"

    def distinct(self, expr: ast.Call) -> tuple[str, str]:
        value = self.path(expr.source)
        if not value.many or not value.types <= _STRINGS:
            raise NotSimple
        test = f"(len({value.code}) == len(set({value.code})))"
        return test, f"(not {test})"

    # Paths

    def path(self, expr: ast.Expr | None) -> Value:
        if expr is None or (isinstance(expr, ast.Dollar) and expr.name == "this"):
            return self.this
        if isinstance(expr, ast.Variable) and expr.name == "resource":
            return self.resource
        if isinstance(expr, ast.Member):
            if expr.source is None and expr.name[:1].isupper():
                if self.this.types == {expr.name}:
                    return self.this
                raise NotSimple
            return self.step(self.path(expr.source), expr.name)
        if isinstance(expr, ast.TypeTest) and expr.op == "as":
            return self.narrowed(self.path(expr.operand), expr.type)
        if isinstance(expr, ast.Call):
            if expr.name in ("as", "ofType") and len(expr.args) == 1 and (name := ast.qualified(expr.args[0])):
                return self.narrowed(self.path(expr.source), name)
            if expr.name == "trace":
                return self.path(expr.source)
            if expr.name == "select" and len(expr.args) == 1:
                return self.selected(self.path(expr.source), expr.args[0])
            if expr.name == "where" and len(expr.args) == 1:
                value = self.path(expr.source)
                if value.many:
                    x = self.name()
                    kept = self.inside(value, x, expr.args[0])[0]
                    return Value(f"[{x} for {x} in {value.code} if {kept}]", True, value.types)
        raise NotSimple

    def selected(self, value: Value, projection: ast.Expr) -> Value:
        """select(path) is the longer path."""
        outer = self.this
        self.this = value
        try:
            if not isinstance(projection, ast.Member):
                raise NotSimple
            return self.path(projection)
        finally:
            self.this = outer

    def narrowed(self, value: Value, name: str) -> Value:
        wanted = types.type_name(name)
        if value.many or not value.steps or any(s.open for s in value.steps):
            raise NotSimple
        kept = tuple(s for s in value.steps if is_exactly(Node(None, s.type, None, None, "", -1), wanted))
        return self.taken(value.parent, kept)

    def step(self, value: Value, name: str) -> Value:
        found: dict[types.Step, None] = {}
        for t in sorted(value.types):
            found.update(dict.fromkeys(types.steps(t).get(name, ())))
        steps = tuple(found)
        if not steps or len({s.many for s in steps}) > 1 or (len({s.primitive for s in steps}) > 1 and steps[0].many):
            raise NotSimple
        if any(s.open for s in steps) and len(steps) > 1:
            raise NotSimple
        if not value.many:
            if len(value.steps) > 1:
                # Of a choice only the types that have such an element matter.
                with_it = tuple(s for s in value.steps if name in types.steps(s.type))
                value = self.taken(value.parent, with_it)
            return self.taken(value.code if value.sure else f"({value.code} or E)", steps)
        x = self.name()
        if steps[0].many:
            if len({s.json for s in steps}) > 1:
                raise NotSimple
            y = self.name()
            items = self.items(x, steps[0])
            return Value(f"[{y} for {x} in {value.code} for {y} in {items}]", True, self.of(steps), x, steps, f"for {x} in {value.code}")
        jsons = sorted({s.json for s in steps})
        if len(jsons) > 1:
            k = self.name()
            code = f"[{x}[{k}] for {x} in {value.code} for {k} in {self.constant(tuple(jsons))} if {k} in {x}]"
        else:
            code = f"[{x}.get({jsons[0]!r}) for {x} in {value.code} if {self.present(x, steps)}]"
        return Value(code, True, self.of(steps), x, steps, f"for {x} in {value.code}")

    def of(self, steps: tuple[types.Step, ...]) -> frozenset[str]:
        return frozenset(t for s in steps for t in (self._types(s.type) if s.open else (s.type,)))

    @staticmethod
    def items(parent: str, step: types.Step) -> str:
        plain = f"{parent}.get({step.json!r}) or ()"
        return f"(P({parent}, {step.json!r}) if {'_' + step.json!r} in {parent} else {plain})" if step.primitive else f"({plain})"

    def taken(self, parent: str, steps: tuple[types.Step, ...]) -> Value:
        """One step from one parent."""
        if not steps:
            return Value("None", False, frozenset(), parent, ())
        if steps[0].many:
            if len({s.json for s in steps}) > 1:
                raise NotSimple
            return Value(self.items(parent, steps[0]), True, self.of(steps), parent, steps)
        code = " or ".join(f"{parent}.get({j!r})" for j in dict.fromkeys(s.json for s in steps))
        return Value(code if len(steps) == 1 else f"({code})", False, self.of(steps), parent, steps)

    def exists(self, value: Value) -> str:
        if value.parents:
            return f"any({self.present(value.parent, value.steps)} {value.parents})"
        if value.steps:
            return self.present(value.parent, value.steps)
        if value.many:
            return f"(len({value.code}) > 0)"
        if value.sure:
            return "True"
        return f"({value.code} is not None)"

    def present(self, parent: str, steps: tuple[types.Step, ...]) -> str:
        """Whether a parent has one of the properties, be it only `_name`."""
        names = list(dict.fromkeys(n for s in steps for n in ((s.json, "_" + s.json) if s.primitive else (s.json,))))
        if not names:
            return "False"
        if len(names) > 4:
            return f"(not {self.constant(frozenset(names))}.isdisjoint({parent}))"
        tests = " or ".join(f"{n!r} in {parent}" for n in names)
        return f"({tests})" if len(names) > 1 else tests
