"""How a FHIRPath function is declared: `@values` gets its arguments evaluated, `@lambdas` compiles them itself."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from fhir_profiles.fhirpath import ast
from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.errors import execution
from fhir_profiles.fhirpath.node import Node, system

Items = list[Any]
Eval = Callable[[Context], Items]


class Compile(Protocol):
    def __call__(self, expr: ast.Expr, /) -> Eval: ...


# Builds the closure of one call from the compiled source and the arguments' trees.
Build = Callable[[Compile, Eval, tuple[ast.Expr, ...]], Eval]


class Function(NamedTuple):
    least: int
    most: int
    build: Build


FUNCTIONS: dict[str, Function] = {}


def lambdas(name: str, least: int, most: int) -> Callable[[Build], Build]:
    """A function whose arguments are evaluated for each item, lazily, or are type names."""

    def register(build: Build) -> Build:
        FUNCTIONS[name] = Function(least, most, build)
        return build

    return register


def values(name: str, least: int = 0, most: int | None = None) -> Callable[[Callable[..., Items]], Callable[..., Items]]:
    """A function of collections: `f(ctx, items, *arguments)`; arguments are evaluated for $this of the call."""

    def register(function: Callable[..., Items]) -> Callable[..., Items]:
        def build(compile_: Compile, source: Eval, args: tuple[ast.Expr, ...]) -> Eval:
            if not args:
                return lambda ctx: function(ctx, source(ctx))
            if len(args) == 1:
                first = compile_(args[0])
                return lambda ctx: function(ctx, source(ctx), first(ctx))
            compiled = [compile_(a) for a in args]
            return lambda ctx: function(ctx, source(ctx), *[a(ctx) for a in compiled])

        FUNCTIONS[name] = Function(least, least if most is None else most, build)
        return function

    return register


def value(items: Items, what: str) -> Any:
    """The FHIRPath value of the one item; None if there is none."""
    if not items:
        return None
    if len(items) > 1:
        raise execution(f"{what} takes one item, not {len(items)}")
    return system(items[0])


def text(items: Items, what: str) -> str | None:
    """The one item as a string; None if there is none; an error if it is something else."""
    found = value(items, what)
    if found is None or found.__class__ is str:
        return found
    if found.__class__ is Node and found.value is None:
        return None
    if items[0].__class__ is Node and isinstance(items[0].value, str):
        return items[0].value  # a date as its text
    raise execution(f"{what} takes a string")


def integer(items: Items, what: str) -> int | None:
    found = value(items, what)
    if found is None or found.__class__ is int:
        return found
    raise execution(f"{what} takes an integer")


def truth(items: Items, what: str) -> bool | None:
    """Singleton evaluation: a boolean is itself, any other single item is true, none (or a primitive without a value) is None."""
    if not items:
        return None
    if len(items) > 1:
        raise execution(f"{what} takes one item, not {len(items)}")
    item = items[0]
    if item.__class__ is bool:
        return item
    if item.__class__ is Node and (item.value.__class__ is bool or item.value is None):
        return item.value
    return True
