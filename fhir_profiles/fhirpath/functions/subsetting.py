"""Filtering, subsetting and combining (FHIRPath N1, 5.2 to 5.4)."""

from functools import cmp_to_key

from fhir_profiles.fhirpath import ast
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.equality import Distinct, order
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.functions.existence import matching
from fhir_profiles.fhirpath.registry import Compile, Eval, Items, integer, lambdas, values


@lambdas("where", 1, 1)
def where(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    keep = matching(compile_(args[0]), "where()")
    return lambda ctx: keep(ctx, source(ctx))


@lambdas("select", 1, 1)
def select(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    projection = compile_(args[0])

    def run(ctx: Context) -> Items:
        items = source(ctx)
        this, index = ctx.this, ctx.index
        out: Items = []
        for i, item in enumerate(items):
            ctx.this = [item]
            ctx.index = i
            found = projection(ctx)
            ctx.spend(1 + len(found))
            out += found
        ctx.this, ctx.index = this, index
        return out

    return run


@lambdas("repeat", 1, 1)
def repeat(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    projection = compile_(args[0])

    def run(ctx: Context) -> Items:
        this, index = ctx.this, ctx.index
        seen, seen_nodes = Distinct(ctx), set()
        out: Items = []
        todo = source(ctx)
        while todo:
            found: Items = []
            for i, item in enumerate(todo):
                ctx.this = [item]
                ctx.index = i
                found += projection(ctx)
            ctx.spend(1 + len(todo) + len(found))
            todo = []
            for item in found:
                # Two items of equal content in different places are one (N1 repeat()); places are cheaper to tell apart.
                place = (id(getattr(item, "value", item)), getattr(item, "name", ""))
                if place not in seen_nodes and seen.add(item):
                    seen_nodes.add(place)
                    todo.append(item)
            out += todo
        ctx.this, ctx.index = this, index
        return out

    return run


@values("single")
def single(ctx: Context, items: Items) -> Items:
    if len(items) > 1:
        raise execution(f"single() found {len(items)} items")
    return items


@values("first")
def first(ctx: Context, items: Items) -> Items:
    return items[:1]


@values("last")
def last(ctx: Context, items: Items) -> Items:
    return items[-1:]


@values("tail")
def tail(ctx: Context, items: Items) -> Items:
    return items[1:]


@values("skip", 1)
def skip(ctx: Context, items: Items, number: Items) -> Items:
    n = integer(number, "skip()")
    return [] if n is None else items[max(n, 0) :]


@values("take", 1)
def take(ctx: Context, items: Items, number: Items) -> Items:
    n = integer(number, "take()")
    return [] if n is None else items[: max(n, 0)]


@values("intersect", 1)
def intersect(ctx: Context, items: Items, other: Items) -> Items:
    if not items or not other:
        return []
    ctx.spend(len(items) + len(other))
    known, seen = Distinct(ctx, other), Distinct(ctx)
    return [item for item in items if item in known and seen.add(item)]


@values("exclude", 1)
def exclude(ctx: Context, items: Items, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    known = Distinct(ctx, other)
    return [item for item in items if item not in known]


@values("union", 1)
def union(ctx: Context, items: Items, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    seen = Distinct(ctx)
    return [item for item in items + other if seen.add(item)]


@values("combine", 1)
def combine(ctx: Context, items: Items, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    return items + other


@lambdas("sort", 0, 10)
def sort(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    """By each argument in turn, `-key` descending; items without a key come first."""
    keys: list[tuple[Eval, bool]] = []
    for arg in args or (ast.Dollar("this"),):
        descending = isinstance(arg, ast.Sign) and arg.sign == "-"
        keys.append((compile_(arg.operand if isinstance(arg, ast.Sign) and descending else arg), descending))

    def run(ctx: Context) -> Items:
        items = source(ctx)
        this, index = ctx.this, ctx.index
        rows: list[tuple[list[Items], object]] = []
        for i, item in enumerate(items):
            ctx.this, ctx.index = [item], i
            rows.append(([key(ctx) for key, _ in keys], item))
        ctx.this, ctx.index = this, index
        ctx.spend(len(rows) * (2 + len(rows).bit_length()))

        def compare(a: tuple[list[Items], object], b: tuple[list[Items], object]) -> int:
            for x, y, (_, descending) in zip(a[0], b[0], keys, strict=True):
                found = (order(ctx, x, y, "sort()") or 0) * (-1 if descending else 1) if x and y else bool(x) - bool(y)
                if found:
                    return found
            return 0

        return [item for _, item in sorted(rows, key=cmp_to_key(compare))]

    return run
