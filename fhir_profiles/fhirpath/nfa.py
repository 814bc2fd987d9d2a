"""Regular expressions run as sets of states: time linear in the text, no backtracking, no groups."""

import re
from collections.abc import Callable
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

from fhir_profiles.fhirpath.errors import limit

# States of the automaton; counted repeats are written out.
MAX_STATES = 5_000
# State visits on one text: about 0.5 s.
MAX_VISITS = 2_000_000


class Unsupported(Exception):
    """The pattern has something that is not regular: a group reference, a look around."""


_EPSILON, _CHARACTER, _BEGIN, _END, _BOUNDARY, _NOT_BOUNDARY, _ACCEPT = range(7)
_AT = {
    op.AT_BEGINNING: _BEGIN, op.AT_BEGINNING_STRING: _BEGIN, op.AT_END: _END, op.AT_END_STRING: _END,
    op.AT_BOUNDARY: _BOUNDARY, op.AT_NON_BOUNDARY: _NOT_BOUNDARY,
}  # fmt: skip
_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_SPACE: r"\s", op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _class(code: Any, argument: Any) -> str:
    """The one-character pattern of a leaf of the tree."""
    if code is op.LITERAL:
        return re.escape(chr(argument))
    if code is op.NOT_LITERAL:
        return f"[^{re.escape(chr(argument))}]"
    if code is op.ANY:
        return "."
    parts = []
    negated = ""
    for inner, value in argument:
        if inner is op.NEGATE:
            negated = "^"
        elif inner is op.LITERAL:
            parts.append(re.escape(chr(value)))
        elif inner is op.RANGE:
            parts.append(f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}")
        elif inner is op.CATEGORY:
            parts.append(_CATEGORIES[value])
    return f"[{negated}{''.join(parts)}]"


class _Builder:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.states: list[tuple[int, Any, list[int]]] = []

    def state(self, kind: int, test: Any = None) -> int:
        if len(self.states) >= MAX_STATES:
            raise limit("the regular expression is too large")
        self.states.append((kind, test, []))
        return len(self.states) - 1

    def link(self, a: int, b: int) -> None:
        self.states[a][2].append(b)

    def sequence(self, tree: Any) -> tuple[int, int]:
        """First and last state of a sequence."""
        first = last = self.state(_EPSILON)
        for code, argument in tree:
            begin, end = self.item(code, argument)
            self.link(last, begin)
            last = end
        return first, last

    def item(self, code: Any, argument: Any) -> tuple[int, int]:
        if code in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
            at = self.state(_CHARACTER, re.compile(_class(code, argument), self.flags).match)
            out = self.state(_EPSILON)
            self.link(at, out)
            return at, out
        if code is op.SUBPATTERN:
            if argument[1] or argument[2]:
                raise Unsupported("a flag within it")
            return self.sequence(argument[-1])
        if code is op.BRANCH:
            begin, end = self.state(_EPSILON), self.state(_EPSILON)
            for branch in argument[1]:
                a, b = self.sequence(branch)
                self.link(begin, a)
                self.link(b, end)
            return begin, end
        if code in (op.MAX_REPEAT, op.MIN_REPEAT):
            return self.repeat(*argument)
        if code is op.AT and argument in _AT:
            at = self.state(_AT[argument])
            out = self.state(_EPSILON)
            self.link(at, out)
            return at, out
        raise Unsupported(str(code).lower())

    def repeat(self, least: int, most: Any, body: Any) -> tuple[int, int]:
        begin = end = self.state(_EPSILON)
        for _ in range(least):
            a, b = self.sequence(body)
            self.link(end, a)
            end = b
        out = self.state(_EPSILON)
        self.link(end, out)
        if most is op.MAXREPEAT:
            a, b = self.sequence(body)
            self.link(end, a)
            self.link(b, a)
            self.link(b, out)
        else:
            for _ in range(int(most) - least):
                a, b = self.sequence(body)
                self.link(end, a)
                self.link(b, out)
                end = b
        return begin, out


def automaton(tree: Any, fold: bool, lines: bool) -> Callable[[str], bool]:
    """A test whether a part of a text matches the parsed pattern."""
    builder = _Builder(re.DOTALL | (re.IGNORECASE if fold else 0))
    first, last = builder.sequence(tree)
    accept = builder.state(_ACCEPT)
    builder.link(last, accept)
    states = builder.states

    def closure(found: set[int], text: str, at: int, budget: list[int]) -> set[int]:
        """Every state reached without taking a character."""
        todo, seen = list(found), set(found)
        while todo:
            s = todo.pop()
            kind, _, links = states[s]
            budget[0] -= 1
            if kind == _CHARACTER or (kind != _EPSILON and not _holds(kind, text, at, lines)):
                continue
            for t in links:
                if t not in seen:
                    seen.add(t)
                    todo.append(t)
        if budget[0] < 0:
            raise limit("the regular expression takes too many steps on this text")
        return seen

    def run(text: str) -> bool:
        budget = [MAX_VISITS]
        current: set[int] = set()
        for at in range(len(text) + 1):
            current.add(first)
            current = closure(current, text, at, budget)
            if accept in current:
                return True
            if at == len(text):
                return False
            character = text[at]
            after: set[int] = set()
            known: dict[Any, bool] = {}
            for s in current:
                kind, test, links = states[s]
                if kind == _CHARACTER:
                    hit = known.get(test)
                    if hit is None:
                        hit = known[test] = test(character) is not None
                    if hit:
                        after.update(links)
            current = after
        return False

    return run


def _holds(kind: int, text: str, at: int, lines: bool) -> bool:
    if kind == _BEGIN:
        return at == 0 or (lines and text[at - 1] == "\n")
    if kind == _END:
        return at == len(text) or (at == len(text) - 1 and text[at] == "\n") or (lines and text[at] == "\n")
    if kind == _ACCEPT:
        return True
    before = at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_")
    after = at < len(text) and (text[at].isalnum() or text[at] == "_")
    return (before != after) == (kind == _BOUNDARY)
