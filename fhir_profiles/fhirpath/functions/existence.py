"""Existence and boolean aggregates (FHIRPath N1, 5.1), and iif, trace, now, aggregate."""

from typing import Any

from fhir_profiles.fhirpath import ast, temporal
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.equality import Distinct
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.node import system
from fhir_profiles.fhirpath.registry import Compile, Eval, Items, lambdas, truth, values


@values("empty")
def empty(ctx: Context, items: Items) -> Items:
    return [not items]


@values("count")
def count(ctx: Context, items: Items) -> Items:
    return [len(items)]


@values("not")
def not_(ctx: Context, items: Items) -> Items:
    value = truth(items, "not()")
    return [] if value is None else [not value]


def matching(criteria: Eval, what: str) -> "Any":
    """A filter of items by a criterion, with $this and $index set for each."""

    def run(ctx: Context, items: Items) -> Items:
        this, index = ctx.this, ctx.index
        out = []
        ctx.spend(len(items))
        for i, item in enumerate(items):
            ctx.this = [item]
            ctx.index = i
            if truth(criteria(ctx), what):
                out.append(item)
        ctx.this, ctx.index = this, index
        return out

    return run


@lambdas("exists", 0, 1)
def exists(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    if not args:
        return lambda ctx: [bool(source(ctx))]
    criteria = compile_(args[0])

    def run(ctx: Context) -> Items:
        items = source(ctx)
        this, index = ctx.this, ctx.index
        ctx.spend(len(items))
        found = False
        for i, item in enumerate(items):
            ctx.this = [item]
            ctx.index = i
            if truth(criteria(ctx), "exists()"):
                found = True
                break
        ctx.this, ctx.index = this, index
        return [found]

    return run


@lambdas("all", 1, 1)
def all_(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    criteria = compile_(args[0])

    def run(ctx: Context) -> Items:
        items = source(ctx)
        this, index = ctx.this, ctx.index
        ctx.spend(len(items))
        answer = True
        for i, item in enumerate(items):
            ctx.this = [item]
            ctx.index = i
            if not truth(criteria(ctx), "all()"):
                answer = False
                break
        ctx.this, ctx.index = this, index
        return [answer]

    return run


def _booleans(items: Items, what: str) -> list[bool]:
    found = []
    for item in items:
        value = system(item)
        if value.__class__ is not bool:
            raise execution(f"{what} takes booleans")
        found.append(value)
    return found


@values("allTrue")
def all_true(ctx: Context, items: Items) -> Items:
    return [all(_booleans(items, "allTrue()"))]


@values("anyTrue")
def any_true(ctx: Context, items: Items) -> Items:
    return [any(_booleans(items, "anyTrue()"))]


@values("allFalse")
def all_false(ctx: Context, items: Items) -> Items:
    return [not any(_booleans(items, "allFalse()"))]


@values("anyFalse")
def any_false(ctx: Context, items: Items) -> Items:
    return [not all(_booleans(items, "anyFalse()"))]


@values("subsetOf", 1)
def subset_of(ctx: Context, items: Items, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    known = Distinct(ctx, other)
    return [all(item in known for item in items)]


@values("supersetOf", 1)
def superset_of(ctx: Context, items: Items, other: Items) -> Items:
    return subset_of(ctx, other, items)


@values("distinct")
def distinct(ctx: Context, items: Items) -> Items:
    ctx.spend(len(items))
    seen = Distinct(ctx)
    return [item for item in items if seen.add(item)]


@values("isDistinct")
def is_distinct(ctx: Context, items: Items) -> Items:
    ctx.spend(len(items))
    seen = Distinct(ctx)
    return [all(seen.add(item) for item in items)]


@lambdas("iif", 2, 3)
def iif(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    criterion, then = compile_(args[0]), compile_(args[1])
    otherwise = compile_(args[2]) if len(args) == 3 else None

    def run(ctx: Context) -> Items:
        this, index = ctx.this, ctx.index
        items = source(ctx)
        if len(items) > 1:
            raise execution("iif() takes at most one item as its input")
        ctx.this = items
        try:
            found = criterion(ctx)
            if len(found) > 1 or (found and system(found[0]).__class__ is not bool):
                raise execution("the criterion of iif() must be a boolean")
            if found and system(found[0]):
                return then(ctx)
            return otherwise(ctx) if otherwise else []
        finally:
            ctx.this, ctx.index = this, index

    return run


@lambdas("trace", 1, 2)
def trace(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    # A server keeps no trace of what clients' data holds: the items pass.
    for arg in args:
        compile_(arg)
    return source


@lambdas("aggregate", 1, 2)
def aggregate(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
    step = compile_(args[0])
    start = compile_(args[1]) if len(args) == 2 else None

    def run(ctx: Context) -> Items:
        items = source(ctx)
        this, index, outer = ctx.this, ctx.index, ctx.total
        ctx.spend(len(items))
        total: Items = start(ctx) if start else []
        for i, item in enumerate(items):
            ctx.this, ctx.index, ctx.total = [item], i, total
            total = step(ctx)
            ctx.spend(len(total))
        ctx.this, ctx.index, ctx.total = this, index, outer
        return total

    return run


@values("now")
def now(ctx: Context, items: Items) -> Items:
    return [temporal.from_datetime(ctx.now)]


@values("today")
def today(ctx: Context, items: Items) -> Items:
    at = ctx.now
    return [temporal.Temporal("Date", (at.year, at.month, at.day))]


@values("timeOfDay")
def time_of_day(ctx: Context, items: Items) -> Items:
    at = temporal.from_datetime(ctx.now)
    return [temporal.Temporal("Time", at.parts[3:], None, 3)]
