"""The shapes an expression parses to."""

from dataclasses import dataclass
from typing import Any, TypeAlias, Union


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any  # bool, int, Decimal, str, Temporal, Quantity


@dataclass(frozen=True, slots=True)
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class Variable:
    name: str  # %name


@dataclass(frozen=True, slots=True)
class Dollar:
    name: str  # this, index, total


@dataclass(frozen=True, slots=True)
class Member:
    source: "Expr | None"  # None: $this
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    source: "Expr | None"
    name: str
    args: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class Index:
    source: "Expr"
    index: "Expr"


@dataclass(frozen=True, slots=True)
class Sign:
    sign: str
    operand: "Expr"


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """`a | b | c`, flat: official search parameters join up to 70 paths."""

    parts: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class TypeTest:
    op: str  # is, as
    operand: "Expr"
    type: str


Expr: TypeAlias = Union[  # noqa: UP007 - a string in it: the shapes hold one another
    Literal, Empty, Variable, Dollar, Member, Call, Index, Sign, Binary, Alternatives, TypeTest
]


def qualified(expr: Expr) -> str | None:
    """`FHIR.Patient` or `Patient` from the expression a type specifier parses to as an argument; None if it is none."""
    if isinstance(expr, Member):
        if expr.source is None:
            return expr.name
        if isinstance(expr.source, Member) and expr.source.source is None:
            return f"{expr.source.name}.{expr.name}"
    return None
