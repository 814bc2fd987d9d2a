"""The dialect that search parameters are written in, as ways through JSON (R4 search.html; searchparameter-registry.html).

Paths, unions, `as`, `ofType`, `where(resolve() is X)`, `where(a = 'b')`, `extension(url)`, `[0]`, and the one condition
`x.exists() and x != false`. Whatever else a custom parameter says raises Unsupported and is left to the FHIRPath engine.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from fhir_profiles import tables


class Unsupported(Exception):
    """Not in the dialect."""


class NoElement(Unsupported):
    """The path names an element that the type does not have."""


@dataclass(frozen=True, slots=True)
class Step:
    """child: the JSON property `name`. where: items whose `name` is `text`. extended: items with an extension `text`. index: item `at`."""

    kind: Literal["child", "where", "extended", "index"]
    name: str = ""
    array: bool = False
    text: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Branch:
    """One way from a resource (or from an element, in a composite) to elements of one type.

    only: references to these types. from_resource: starts at %resource.
    truth: the value is whether one of these properties is there and not false; no steps then.
    """

    steps: tuple[Step, ...]
    type: str
    binding: str | None = None
    targets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    from_resource: bool = False
    truth: tuple[str, ...] = ()

    @property
    def anywhere(self) -> "Branch":
        """The same for references to any type."""
        return replace(self, only=())

    def values(self, start: Any) -> Iterator[Any]:
        """The elements, found step by step; the generated code of program.py does the same faster."""
        if self.truth:
            return iter((is_true(start, self.truth),))
        found = [start]
        for step in self.steps:
            found = list(_WALK[step.kind](found, step))
        return iter(found)


def is_true(start: Any, names: tuple[str, ...]) -> bool:
    return any(start.get(name, False) is not False for name in names)


def _children(found: list[Any], step: Step) -> Iterator[Any]:
    for x in found:
        value = x.get(step.name)
        if step.array:
            yield from (v for v in value or () if v is not None)
        elif value is not None:
            yield value


def _extended(found: list[Any], step: Step) -> Iterator[Any]:
    return (x for x in found if any(e.get("url") == step.text for e in x.get("extension", ())))


_WALK: dict[str, Callable[[list[Any], Step], Iterator[Any]]] = {
    "child": _children,
    "where": lambda found, step: (x for x in found if x.get(step.name) == step.text),
    "extended": _extended,
    "index": lambda found, step: iter(found[step.at : step.at + 1]),
}

_TOKEN = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]*|%resource)|'((?:[^'\\])*)'|([0-9]+)|([.()\[\]|=]))")
_TRUTH = re.compile(r"(\w+)\.(\w+)\.exists\(\) and \1\.\2 != false")
# R4 itself writes `as(DateTime)`.
_TYPE_NAMES = {"DateTime": "dateTime", "Date": "date", "String": "string", "Boolean": "boolean", "Uri": "uri"}


def _tokens(expression: str) -> list[tuple[str, str]]:
    out = []
    at, end = 0, len(expression.rstrip())
    while at < end:
        m = _TOKEN.match(expression, at)
        if m is None:
            raise Unsupported(expression[at:])
        kind = m.lastindex or 0
        out.append((("name", "string", "number", "sign")[kind - 1], m[kind]))
        at = m.end()
    return [*out, ("end", "")]


class _Parser:
    def __init__(self, expression: str, context: str) -> None:
        self.tokens = _tokens(expression)
        self.at = 0
        self.context = context

    def peek(self, text: str) -> bool:
        return self.tokens[self.at][0] != "string" and self.tokens[self.at][1] == text

    def take(self, text: str) -> bool:
        if self.peek(text):
            self.at += 1
            return True
        return False

    def need(self, text: str) -> None:
        if not self.take(text):
            raise Unsupported(f"no '{text}' at {self.tokens[self.at][1]!r}")

    def next(self, kind: str) -> str:
        if self.tokens[self.at][0] != kind:
            raise Unsupported(f"{self.tokens[self.at][1]!r} is no {kind}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def whole(self) -> list[Branch]:
        found = self.union()
        if self.tokens[self.at][0] != "end":
            raise Unsupported(self.tokens[self.at][1])
        return found

    def union(self) -> list[Branch]:
        found = self.cast()
        while self.take("|"):
            found = found + [b for b in self.cast() if b not in found]
        return found

    def cast(self) -> list[Branch]:
        found = self.path()
        return _as(found, self.type_name()) if self.take("as") else found

    def type_name(self) -> str:
        name = self.next("name")
        if name in ("FHIR", "System") and self.take("."):
            name = self.next("name")
        return _TYPE_NAMES.get(name, name)

    def path(self) -> list[Branch]:
        if self.take("("):
            found = self.union()
            self.need(")")
        else:
            found = self.start()
        while True:
            if self.take("."):
                found = self.step(found)
            elif self.take("["):
                found = _index(found, int(self.next("number")))
                self.need("]")
            else:
                return found

    def start(self) -> list[Branch]:
        name = self.next("name")
        if name == "%resource":
            return [Branch((), self.context.partition(".")[0], from_resource=True)]
        if self.peek("("):
            self.at -= 1
            return self.step([Branch((), self.context)])
        if name[0].isupper():
            # A path of another type finds nothing here.
            return [Branch((), self.context)] if tables.is_a(self.context, name) else []
        return _child([Branch((), self.context)], name)

    def step(self, found: list[Branch]) -> list[Branch]:
        name = self.next("name")
        if not self.take("("):
            return _child(found, name)
        if name in ("as", "ofType"):
            found = _as(found, self.type_name())
        elif name == "extension":
            found = _where(_child(found, "extension"), "url", self.next("string"))
        elif name == "where":
            found = self.where(found)
        else:
            raise Unsupported(name)
        self.need(")")
        return found

    def where(self, found: list[Branch]) -> list[Branch]:
        if self.take("hasExtension") or self.take("extension"):
            self.need("(")
            url = self.next("string")
            self.need(")")
            if self.take("."):
                self.need("exists")
                self.need("(")
                self.need(")")
            return [replace(b, steps=(*b.steps, Step("extended", text=url))) for b in found]
        if self.take("resolve"):
            types = [self.resolves()]
            while self.take("or"):
                self.need("resolve")
                types.append(self.resolves())
            if any(b.only for b in found):
                raise Unsupported("where after where")
            return [replace(b, only=tuple(sorted(types))) for b in found]
        name = self.next("name")
        self.need("=")
        return _where(found, name, self.next("string"))

    def resolves(self) -> str:
        self.need("(")
        self.need(")")
        self.need("is")
        return self.type_name()


def _child(found: list[Branch], name: str) -> list[Branch]:
    out = []
    known = False
    for b in found:
        if b.only:
            raise Unsupported("a path through a reference")
        try:
            type_ = tables.type_(b.type)
        except KeyError:
            continue
        for element in type_.elements.values():
            if element.path_name == name:
                known = True
                step = Step("child", element.name, element.array)
                out.append(Branch((*b.steps, step), element.type, element.binding, element.targets, (), b.from_resource))
    if found and not known:
        if any(b.type == "Resource" for b in found):
            raise Unsupported(f"{name} of any resource")
        raise NoElement(f"{found[0].type} has no element {name}")
    return out


def _as(found: list[Branch], name: str) -> list[Branch]:
    # `(ConceptMap.target as uri)` does not mean the canonical, though a canonical is a uri.
    exact = [b for b in found if b.type == name]
    return exact or [b for b in found if (b.type in tables.type_names() and tables.is_a(b.type, name))]


def _where(found: list[Branch], name: str, text: str) -> list[Branch]:
    for b in found:
        element = tables.type_(b.type).elements.get(name)
        if element is None or element.array or tables.type_(element.type).kind != "primitive":
            raise Unsupported(f"where {name}")
    return [replace(b, steps=(*b.steps, Step("where", name, text=text))) for b in found]


def _index(found: list[Branch], at: int) -> list[Branch]:
    for b in found:
        # An index counts over everything found so far, so only one step before it may be an array.
        if sum(s.array for s in b.steps) != 1 or any(s.kind != "child" for s in b.steps) or len(found) > 1:
            raise Unsupported("index")
    return [replace(b, steps=(*b.steps, Step("index", at=at))) for b in found]


@lru_cache(maxsize=4096)
def branches(expression: str, context: str) -> tuple[Branch, ...]:
    """The ways an expression goes on a resource type, or on the type of a composite's element. Unsupported if it is not in the dialect."""
    if m := _TRUTH.fullmatch(expression):
        found = _child([Branch((), context)], m[2]) if m[1] == context else []
        return (Branch((), "boolean", truth=tuple(b.steps[0].name for b in found)),) if found else ()
    return tuple(_Parser(expression, context).whole())
