"""Compiled expressions and how to run them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fhir_profiles.fhirpath import ast
from fhir_profiles.fhirpath.check import check
from fhir_profiles.fhirpath.compiler import compiled
from fhir_profiles.fhirpath.context import INVARIANT_STEPS, NO_HOOKS, STEPS, Context, Hooks
from fhir_profiles.fhirpath.errors import limit
from fhir_profiles.fhirpath.node import Node, root, system_type
from fhir_profiles.fhirpath.parser import parse
from fhir_profiles.fhirpath.registry import Eval, truth


class Expression:
    """An expression ready to run. Safe to share: it keeps nothing between runs."""

    __slots__ = ("_run", "context_type", "text", "tree")

    def __init__(self, text: str, tree: ast.Expr, run: Eval, context_type: str | None) -> None:
        self.text = text
        self.tree = tree
        self._run = run
        self.context_type = context_type

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __call__(self, value: Any, type_name: str | None = None, **options: Any) -> list[Any]:
        """Plain values: JSON of elements, bool, int, Decimal, str, Temporal and Quantity of what was computed. Options: see items()."""
        return [item.value if item.__class__ is Node else item for item in self.items(value, type_name, **options)]

    def nodes(self, value: Any, type_name: str | None = None, **options: Any) -> list[Node]:
        """The same with type and path: `node.value`, `.type` (`System.Integer` for computed ones), `.path`, `.parent`."""
        found = self.items(value, type_name, **options)
        return [item if item.__class__ is Node else Node(item, f"System.{system_type(item)}", None, None, "", -1) for item in found]

    def items(
        self,
        value: Any,
        type_name: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        hooks: Hooks = NO_HOOKS,
        steps: int = STEPS,
    ) -> list[Any]:
        """Nodes and computed values, mixed.

        `value` is a resource, an element whose `type_name` is given, or a Node. `variables` are `resource` (default: the nearest
        resource around), `rootResource`, and any other %name; plain resources or Nodes. FHIRPathError if it fails or takes too long.
        """
        return self.run(self.context(value, type_name, variables=variables, hooks=hooks, steps=steps))

    def context(
        self,
        value: Any,
        type_name: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        hooks: Hooks = NO_HOOKS,
        steps: int = STEPS,
    ) -> Context:
        """What run() takes; its `left` tells afterwards how many steps are left. Arguments as for items()."""
        node = value if value.__class__ is Node else root(value, type_name or self.context_type)
        given = dict(variables) if variables else {}
        resource = given.pop("resource", None)
        if resource is None:
            resource = _nearest(node)
        elif resource.__class__ is not Node:
            resource = node if resource is node.value else root(resource)
        outer = given.pop("rootResource", None)
        if outer is None:
            outer = _outermost(resource)
        elif outer.__class__ is not Node:
            outer = resource if resource is not None and outer is resource.value else root(outer)
        given.pop("context", None)
        return Context([node], resource, outer, given, steps, hooks)

    def run(self, ctx: Context) -> list[Any]:
        try:
            return self._run(ctx)
        except RecursionError:
            raise limit("the expression is nested too deep") from None

    def holds(self, value: Any, type_name: str | None = None, *, steps: int = INVARIANT_STEPS, **options: Any) -> bool:
        """Whether an official invariant is kept: true, or anything but a single false (empty is no violation)."""
        return truth(self.items(value, type_name, steps=steps, **options), "an invariant") is not False


def _nearest(node: Node) -> Node | None:
    """The resource around an element."""
    at: Node | None = node
    while at is not None:
        if at.value.__class__ is dict and "resourceType" in at.value:
            return at
        at = at.parent
    return None


def _outermost(resource: Node | None) -> Node | None:
    """The resource that contains this one, or itself."""
    at = resource
    while at is not None and at.name == "contained" and at.parent is not None:
        at = at.parent
    return at


# Clients send expressions too: what is kept of them is small and little.
CACHED_LENGTH = 300


def compile_(expression: str, *, context_type: str | None = None, strict: bool = False) -> Expression:
    """Compile an expression; FHIRPathError `syntax`, `semantic` or `limit` if it is none.

    `context_type` is the type of what it will be given where that is not a resource. `strict` also refuses what can never find
    anything on that type, such as `Patient.nmae`. Short expressions are compiled once; keep long ones where you use them.
    """
    make = _cached if len(expression) <= CACHED_LENGTH else _compiled
    return make(expression, context_type, strict)


def _compiled(expression: str, context_type: str | None, strict: bool) -> Expression:
    try:
        tree = parse(expression)
        if strict and context_type is not None:
            check(tree, context_type)
        return Expression(expression, tree, compiled(tree), context_type)
    except RecursionError:
        raise limit("the expression is nested too deep") from None


_cached = lru_cache(maxsize=2048)(_compiled)
