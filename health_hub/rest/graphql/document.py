"""A GraphQL document made ready to run: parsed by graphql-core, variables put in, fields checked against the R4 types.

What comes out is a tree of Fields without fragments, variables, @skip or @include: those are settled here, once, and not
for every resource. Limits on depth and size hold for the tree, so fragments cannot multiply without end.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql.error import GraphQLSyntaxError
from graphql.language import ast, parse

from fhir_profiles.number import number
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.graphql import schema

MAX_TOKENS = 20_000
MAX_FIELDS = 10_000
_DIRECTIVES = frozenset(("flatten", "first", "singleton", "slice", "skip", "include"))
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*\Z")


@dataclass(slots=True)
class Field:
    """One field to answer. `on`: the types it is for, None for every type. `children` None: a leaf."""

    name: str
    key: str
    arguments: dict[str, Any]
    on: frozenset[str] | None
    children: "list[Field] | None" = None
    flatten: bool = False
    first: bool = False
    singleton: bool = False
    slice: str | None = None


@dataclass(slots=True)
class Document:
    kind: str  # query or mutation
    fields: list[Field] = field(default_factory=list)


def refuse(why: str, code: str = "invalid") -> FhirError:
    return FhirError(400, Issue(code, why))


def read(text: str, variables: Any, operation_name: str | None, root: frozenset[str], depth: int) -> Document:
    """The operation to run, from a document that may hold several. FhirError 400 tells what is wrong, with line and column."""
    try:
        document = parse(text, no_location=False, max_tokens=MAX_TOKENS)
    except GraphQLSyntaxError as e:
        where = f" (line {e.locations[0].line}, column {e.locations[0].column})" if e.locations else ""
        raise refuse(f"GraphQL: {e.message}{where}", "structure") from None
    except RecursionError:
        raise refuse("GraphQL: the query is nested too deep", "too-costly") from None
    operations = [d for d in document.definitions if isinstance(d, ast.OperationDefinitionNode)]
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, ast.FragmentDefinitionNode)}
    if len(operations) + len(fragments) != len(document.definitions):
        raise refuse("GraphQL: only operations and fragments are expected")
    if operation_name:
        operations = [o for o in operations if o.name is not None and o.name.value == operation_name]
    if len(operations) != 1:
        why = (
            f"no operation is named {operation_name!r}"
            if operation_name
            else "there is not exactly one operation; operationName chooses one"
        )
        raise refuse(f"GraphQL: {why}")
    operation = operations[0]
    kind = operation.operation.value
    if kind == "subscription":
        raise refuse("GraphQL: subscriptions are not supported", "not-supported")
    if kind == "mutation":
        if root != frozenset((schema.QUERY,)):
            raise refuse("GraphQL: mutations belong to [base]/$graphql", "not-supported")
        root = frozenset((schema.MUTATION,))
    builder = _Builder(fragments, _variables(operation, variables), depth)
    return Document(kind, builder.build(operation.selection_set, root, 1, ()))


def _variables(operation: ast.OperationDefinitionNode, given: Any) -> dict[str, Any]:
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise refuse("GraphQL: variables must be an object", "structure")
    out: dict[str, Any] = {}
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name in given:
            out[name] = given[name]
        elif definition.default_value is not None:
            out[name] = _value(definition.default_value, {})
        elif isinstance(definition.type, ast.NonNullTypeNode):
            raise refuse(f"GraphQL: variable ${name} is missing", "required")
        else:
            out[name] = None
        if out[name] is None and isinstance(definition.type, ast.NonNullTypeNode):
            raise refuse(f"GraphQL: variable ${name} may not be null", "required")
    return out


def _value(node: ast.ValueNode, variables: Mapping[str, Any]) -> Any:
    """Plain data; numbers keep the text they were written in."""
    if isinstance(node, ast.VariableNode):
        name = node.name.value
        if name not in variables:
            raise refuse(f"GraphQL: variable ${name} is not declared")
        return variables[name]
    if isinstance(node, ast.StringValueNode | ast.EnumValueNode | ast.BooleanValueNode):
        return node.value
    if isinstance(node, ast.IntValueNode | ast.FloatValueNode):
        return number(node.value)
    if isinstance(node, ast.ListValueNode):
        return [_value(v, variables) for v in node.values]
    if isinstance(node, ast.ObjectValueNode):
        return {f.name.value: _value(f.value, variables) for f in node.fields}
    return None


# By everything that makes two fields the same: the field, and the selections below it with the fragments they stand in.
Groups = dict[Any, tuple[Field, list[tuple[ast.SelectionSetNode, tuple[str, ...]]]]]


class _Builder:
    """Turns selection sets into Fields."""

    def __init__(self, fragments: dict[str, ast.FragmentDefinitionNode], variables: dict[str, Any], depth: int) -> None:
        self._fragments, self._variables, self._depth = fragments, variables, depth
        self._count = 0

    def build(self, selections: ast.SelectionSetNode, types: frozenset[str], depth: int, spreading: tuple[str, ...]) -> list[Field]:
        """The fields of a selection on something of one of `types`. Equal fields asked for twice are asked once, their children joined."""
        if depth > self._depth:
            raise refuse(f"GraphQL: the query is nested deeper than {self._depth} levels", "too-costly")
        groups: Groups = {}
        self._collect(selections, types, None, spreading, groups)
        out: list[Field] = []
        for made, below in groups.values():
            inner = schema.children(types if made.on is None else types & made.on, made.name, made.arguments)
            if inner is None:
                if below:
                    raise refuse(f"GraphQL: {made.name} is a plain value and has no fields")
            elif not below:
                raise refuse(f"GraphQL: {made.name} needs a selection of its fields: {made.name} {{ ... }}")
            else:
                made.children = []
                for selection, trail in below:
                    made.children += self.build(selection, inner, depth + 1, trail)
            out.append(made)
        return out

    def _collect(
        self,
        selections: ast.SelectionSetNode,
        types: frozenset[str],
        on: frozenset[str] | None,
        spreading: tuple[str, ...],
        groups: Groups,
    ) -> None:
        for node in selections.selections:
            self._count += 1
            if self._count > MAX_FIELDS:
                raise refuse(f"GraphQL: the query has more than {MAX_FIELDS} fields", "too-costly")
            directives = self._directives(node)
            if directives.get("skip", {}).get("if") is True or directives.get("include", {}).get("if") is False:
                continue
            if isinstance(node, ast.FieldNode):
                self._field(node, directives, types, on, spreading, groups)
                continue
            trail = spreading
            if isinstance(node, ast.FragmentSpreadNode):
                name = node.name.value
                fragment = self._fragments.get(name)
                if fragment is None:
                    raise refuse(f"GraphQL: there is no fragment {name!r}")
                if name in spreading:
                    raise refuse(f"GraphQL: fragment {name!r} spreads itself")
                trail = (*spreading, name)
                inner = fragment.selection_set
                condition: str | None = fragment.type_condition.name.value
            else:
                assert isinstance(node, ast.InlineFragmentNode)
                condition = node.type_condition.name.value if node.type_condition is not None else None
                inner = node.selection_set
            within = on
            if condition is not None:
                named = schema.named(condition, types)
                if named is None:
                    raise refuse(f"GraphQL: there is no type {condition!r}")
                within = named if on is None else on & named
                if within >= types:
                    within = None
            # A fragment on types that cannot be here selects nothing.
            if within is None or within & types:
                self._collect(inner, types, within, trail, groups)

    def _field(
        self,
        node: ast.FieldNode,
        directives: dict[str, dict[str, Any]],
        types: frozenset[str],
        on: frozenset[str] | None,
        spreading: tuple[str, ...],
        groups: Groups,
    ) -> None:
        name = node.name.value
        here = types if on is None else types & on
        arguments = {a.name.value: _value(a.value, self._variables) for a in node.arguments or ()}
        schema.check(here, name, arguments)
        key = node.alias.value if node.alias is not None else name
        known = (key, name, repr(arguments), repr(sorted((n, repr(a)) for n, a in directives.items())), on)
        group = groups.get(known)
        if group is None:
            path = directives["slice"].get("path", directives["slice"].get("fhirpath")) if "slice" in directives else None
            if "slice" in directives and not isinstance(path, str):
                raise refuse('GraphQL: @slice needs a path: @slice(path: "use")', "required")
            made = Field(name, key, arguments, on, None, "flatten" in directives, "first" in directives, "singleton" in directives, path)
            group = groups[known] = (made, [])
        if node.selection_set is not None:
            group[1].append((node.selection_set, spreading))

    def _directives(self, node: ast.SelectionNode) -> dict[str, dict[str, Any]]:
        if not node.directives:
            return {}
        out: dict[str, dict[str, Any]] = {}
        for directive in node.directives:
            name = directive.name.value
            if name not in _DIRECTIVES:
                raise refuse(f"GraphQL: there is no directive @{name}", "not-supported")
            out[name] = {a.name.value: _value(a.value, self._variables) for a in directive.arguments or ()}
            if name in ("skip", "include") and type(out[name].get("if")) is not bool:
                raise refuse(f"GraphQL: @{name} needs a boolean: @{name}(if: true)", "required")
        return out


def leaf_names(fields: Iterable[Field]) -> set[str]:
    """The names asked for at one level."""
    return {f.name for f in fields}
