"""Invariants that only ask which children are there, `code.empty() or system.exists()`, as tests on a bit set.

Two in three of the standard's invariants are of this kind. The validator knows an object's children as a bit set
after it has looked at them, so that these cost nothing more (shape.py keeps the verdict for every set it has met).
"""

import re
from collections.abc import Callable, Mapping

Test = Callable[[int], bool]

_token = re.compile(
    r"\s*(?:(?P<name>[a-zA-Z]+)\.(?P<what>exists|empty)\(\)|(?P<not>\.not\(\))|(?P<op>and|or|xor|implies|!=|=|\(|\)))"
).match
# `(identifier.count() + name.count()) > 0` asks for presence too.
_SOME = re.compile(r"\(((?:[a-zA-Z]+\.count\(\)\s*\+?\s*)+)\)\s*>\s*0")
# Loosest first (FHIRPath, operator precedence); `or` and `xor` share one level, all associate to the left.
_LEVELS: tuple[dict[str, Callable[[bool, bool], bool]], ...] = (
    {"implies": lambda a, b: not a or b},
    {"or": lambda a, b: a or b, "xor": lambda a, b: a != b},
    {"and": lambda a, b: a and b},
    {"=": lambda a, b: a == b, "!=": lambda a, b: a != b},
)


class _Other(Exception):
    """The expression asks for more than presence."""


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, at, end = [], 0, len(expression.rstrip())
    while at < end:
        match = _token(expression, at)
        if not match:
            raise _Other
        at = match.end()
        found.append((match["name"], match["what"]) if match["name"] else (match["op"] or "not", ""))
    return found


def _parse(tokens: list[tuple[str, str]], masks: Mapping[str, int], level: int = 0) -> Test:
    if level == len(_LEVELS):
        return _term(tokens, masks)
    left = _parse(tokens, masks, level + 1)
    while tokens and tokens[0][0] in _LEVELS[level] and not tokens[0][1]:
        operator = _LEVELS[level][tokens.pop(0)[0]]
        left = _both(left, operator, _parse(tokens, masks, level + 1))
    return left


def _both(left: Test, operator: Callable[[bool, bool], bool], right: Test) -> Test:
    return lambda seen: operator(left(seen), right(seen))


def _term(tokens: list[tuple[str, str]], masks: Mapping[str, int]) -> Test:
    if not tokens:
        raise _Other
    name, what = tokens.pop(0)
    if what:
        if name not in masks:
            raise _Other
        test = _has(masks[name], what == "exists")
    elif name == "(":
        test = _parse(tokens, masks)
        if not tokens or tokens.pop(0) != (")", ""):
            raise _Other
    else:
        raise _Other
    while tokens and tokens[0] == ("not", ""):
        tokens.pop(0)
        test = _negated(test)
    return test


def _has(mask: int, wanted: bool) -> Test:
    return lambda seen: (seen & mask != 0) is wanted


def _negated(test: Test) -> Test:
    return lambda seen: not test(seen)


def compile_presence(expression: str, masks: Mapping[str, int]) -> Test | None:
    """A test on the set of children that are there (`masks`: bits of each child by path name), or None for other expressions."""
    try:
        tokens = _tokens(_SOME.sub(lambda m: "(" + m[1].replace(".count()", ".exists()").replace("+", " or ") + ")", expression))
        test = _parse(tokens, masks)
    except _Other:
        return None
    return None if tokens else test
