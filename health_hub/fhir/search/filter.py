"""The `_filter` expression: its grammar to a small tree, the tree to conditions (R4 search_filter.html).

Logical words are read from left to right without precedence, as the page says. Where an index can only say "some value": `ne` means
that there are values and none is equal, and tokens keep their case (their keys are hashes).
"""

import re
from dataclasses import dataclass
from dataclasses import replace as changed
from json.decoder import scanstring  # type: ignore[attr-defined]  # public in CPython, missing in typeshed
from typing import Literal, cast

from fhir_profiles.tables import SearchParam
from health_hub.fhir import keys
from health_hub.fhir.search import values
from health_hub.fhir.search.path import (
    MAX_NAME,
    Build,
    ByUrl,
    Lookup,
    NoReference,
    Unknown,
    check_modifier,
    compile_path,
    definitions,
    missing,
    reference_among,
    targets_of,
)
from health_hub.fhir.search.query import And, Chain, DateValue, Node, Not, NumberValue, Or, StringValue, Test
from health_hub.fhir.search.values import TYPES, Context

MAX_TEXT = 16_384
MAX_DEPTH = 40
MAX_TESTS = 500
MAX_WORK = 3000  # conditions made from one filter, over all the types its brackets lead to

OPERATORS = frozenset(("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re"))
SYSTEMS = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:\-]*")
_WORD = re.compile(r"[a-z]+(?=\s)")
_LOGIC = re.compile(r"(and|or)(?=[\s(])")
_NOT = re.compile(r"not\s*\(")
_TOKEN = re.compile(r"[^\s\])\"][^\s\])]*")
_SYSTEM = re.compile(rf"((?:^|\|)(?:{'|'.join(SYSTEMS)}))(?=\|)")


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path, with the filter in brackets after it."""

    name: str
    inner: "Expression | None"


@dataclass(frozen=True, slots=True)
class Compare:
    path: tuple[Step, ...]
    operator: str
    text: str


@dataclass(frozen=True, slots=True)
class Logic:
    word: Literal["and", "or", "not"]
    parts: tuple["Expression", ...]


Expression = Compare | Logic


def parse_filter(types: tuple[str, ...], text: str, lookup: Lookup, by_url: ByUrl, context: Context) -> Node:
    """The conditions a filter means for resources of `types`. ValueError with the place and the reason."""
    return _Resolver(lookup, by_url, context).node(read_filter(text), types)


def read_filter(text: str) -> Expression:
    """The tree of a filter, names and values not yet looked at."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"it is longer than {MAX_TEXT} characters")
    parser = _Parser(text)
    expression = parser.logic(0)
    if parser.at < len(text):
        raise parser.error("and, or, or the end")
    return expression


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tests = 0
        self.space()

    def error(self, expected: str) -> ValueError:
        found = self.text[self.at : self.at + 20]
        return ValueError(f"expected {expected} at character {self.at + 1}" + (f", not {found!r}" if found else ""))

    def space(self) -> None:
        self.at = cast(re.Match[str], _SPACE.match(self.text, self.at)).end()

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise self.error(expected)
        self.at = found.end()
        return found[0]

    def logic(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        left = self.term(depth)
        while True:
            self.space()
            found = _LOGIC.match(self.text, self.at)
            if found is None:
                return left
            self.at = found.end()
            self.space()
            right = self.term(depth)
            word = cast(Literal["and", "or"], found[1])
            left = Logic(word, (*left.parts, right)) if isinstance(left, Logic) and left.word == word else Logic(word, (left, right))

    def term(self, depth: int) -> Expression:
        found = _NOT.match(self.text, self.at)
        if found is None and not self.text.startswith("(", self.at):
            return self.compare(depth)
        self.at = self.at + 1 if found is None else found.end()
        self.space()
        inner = self.logic(depth + 1)
        self.space()
        self.close(")")
        return inner if found is None else Logic("not", (inner,))

    def close(self, bracket: str) -> None:
        if not self.text.startswith(bracket, self.at):
            raise self.error(bracket)
        self.at += 1

    def compare(self, depth: int) -> Compare:
        self.tests += 1
        if self.tests > MAX_TESTS:
            raise ValueError(f"it has more than {MAX_TESTS} tests")
        steps = [self.step(depth)]
        while self.text.startswith(".", self.at):
            self.at += 1
            steps.append(self.step(depth))
        if steps[-1].inner is not None:
            raise self.error("a . and a name after the brackets")
        before = self.at
        self.space()
        start = self.at
        operator = self.take(_WORD, "an operator (eq, ne, co, sw, ...) between spaces")
        if operator not in OPERATORS or before == start:
            self.at = start
            raise self.error(f"one of the operators {', '.join(sorted(OPERATORS))} after a space")
        self.space()
        return Compare(tuple(steps), operator, self.value())

    def step(self, depth: int) -> Step:
        name = self.take(_NAME, "the name of a search parameter")
        if len(name) > MAX_NAME:
            raise ValueError(f"a name is longer than {MAX_NAME} characters")
        if not self.text.startswith("[", self.at):
            return Step(name, None)
        self.at += 1
        self.space()
        inner = self.logic(depth + 1)
        self.space()
        self.close("]")
        return Step(name, inner)

    def value(self) -> str:
        if not self.text.startswith('"', self.at):
            return self.take(_TOKEN, "a value")
        try:
            value, self.at = scanstring(self.text, self.at + 1, True)
            value.encode()
        except ValueError as e:
            raise ValueError(f"the string at character {self.at + 1} is no JSON string ({e})") from None
        return str(value)


class _Resolver:
    """Names looked up, values read."""

    def __init__(self, lookup: Lookup, by_url: ByUrl, context: Context) -> None:
        self.lookup = lookup
        self.by_url = by_url
        self.context = context
        self.work = 0

    def node(self, expression: Expression, types: tuple[str, ...]) -> Node:
        if isinstance(expression, Compare):
            return self.compare(expression, expression.path, types)
        parts = tuple(self.node(part, types) for part in expression.parts)
        if expression.word == "not":
            return Not(parts[0])
        return And(parts) if expression.word == "and" else Or(parts)

    def compare(self, compare: Compare, path: tuple[Step, ...], types: tuple[str, ...]) -> Node:
        self.work += 1
        if self.work > MAX_WORK:
            raise ValueError("it leads to too many types; name one with reference:Type")
        if all(step.inner is None for step in path):
            name = ".".join(step.name for step in path)

            def leaf(param: SearchParam, modifier: str | None) -> Build:
                return comparison(param, modifier, compare.operator, self.by_url)

            groups = compile_path(types, name, self.lookup, leaf)
            if len(groups) != 1 or (types and len(groups[0][0]) != len(types)):
                raise Unknown(f"is not common to {', '.join(types[:10])}")
            try:
                return groups[0][1](compare.text, self.context)
            except ValueError as e:
                raise ValueError(f"{name} {compare.operator}: {e}") from None
        return self.follow(compare, path, types)

    def follow(self, compare: Compare, path: tuple[Step, ...], types: tuple[str, ...]) -> Node:
        """`reference[filter].rest`: for each type it may point to, both the filter and the rest hold of one resource."""
        step, rest = path[0], path[1:]
        code, _, modifier = step.name.partition(":")
        having, param = reference_among(definitions(types, code, self.lookup), code)
        if len(having) != len(types):
            raise Unknown(f"is not common to {', '.join(types[:10])}")
        found: dict[Node, list[str]] = {}
        why: Exception = Unknown("leads nowhere")
        for target in targets_of(param, modifier):
            try:
                where = self.compare(compare, rest, (target,))
                if step.inner is not None:
                    where = And((self.node(step.inner, (target,)), where))
            except (Unknown, NoReference) as e:
                why = e
                continue
            found.setdefault(where, []).append(target)
        if not found:
            raise why
        chains = tuple(Chain(param, tuple(targets), where) for where, targets in found.items())
        return chains[0] if len(chains) == 1 else Or(chains)


def comparison(param: SearchParam, modifier: str | None, operator: str, by_url: ByUrl) -> Build:
    """What an operator means for this type of parameter. ValueError where the page has n/a."""
    if modifier is not None and modifier not in TYPES:
        raise ValueError(f"{param.code}: a filter has operators in place of the modifier :{modifier[:64]}")
    if modifier is not None:
        check_modifier(param, modifier)
    if operator == "pr":
        check_modifier(param, "missing")
        return lambda text, context: missing(param, {"true": "false", "false": "true"}.get(text, text))
    if operator == "ne" and param.type not in ("date", "number", "quantity"):
        equal = comparison(param, modifier, "eq", by_url)
        if param.code in ("_id", "_list"):
            return lambda text, context: Not(equal(text, context))
        return lambda text, context: And((Test(param, "missing", (), False), Not(equal(text, context))))
    if param.type in ("date", "number", "quantity"):
        return _ordered(param, operator)
    if param.type == "string":
        return _string(param, operator)
    kept = _KEPT.get(param.type, {"eq": None})
    if operator not in kept:
        raise _not_applicable(param, operator, [*kept, "ne", "pr"])
    asked = kept[operator]
    if asked is not None:
        check_modifier(param, asked)
    read = values.reader(param, asked or modifier, by_url)

    def build(text: str, context: Context) -> Test:
        if param.type in ("token", "composite") and asked not in ("in", "not-in"):
            text = _SYSTEM.sub(_full_system, text)
        return Test(param, asked, (read(text, context),))

    return build


# operator -> modifier
_KEPT: dict[str, dict[str, str | None]] = {
    "token": {"eq": None, "ss": "below", "sb": "above", "in": "in", "ni": "not-in"},
    "reference": {"re": None, "eq": None},
    "uri": {"eq": None},
}
_STRINGS: dict[str, str | None] = {
    "eq": "equals",
    "co": "contains",
    "sw": None,
    "ew": "ends",
    "gt": "gt",
    "ge": "ge",
    "lt": "lt",
    "le": "le",
}
_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb")


def _not_applicable(param: SearchParam, operator: str, allowed: list[str]) -> ValueError:
    return ValueError(f"{param.code}: {operator} does not fit a parameter of type {param.type} (allowed: {', '.join(allowed)})")


def _full_system(found: re.Match[str]) -> str:
    bar = "|" if found[1].startswith("|") else ""
    return bar + SYSTEMS[found[1].lstrip("|")]


def _string(param: SearchParam, operator: str) -> Build:
    if operator not in _STRINGS:
        raise _not_applicable(param, operator, [*_STRINGS, "ne", "pr"])
    modifier = _STRINGS[operator]
    if param.code in ("_text", "_content"):
        if operator not in ("eq", "co"):
            raise _not_applicable(param, operator, ["eq", "co"])
        modifier = None

    def build(text: str, context: Context) -> Test:
        if len(text) > values.MAX_LENGTH:
            raise ValueError(f"a value is longer than {values.MAX_LENGTH} characters")
        if not keys.fold(text).strip():
            raise ValueError("the text is empty")
        return Test(param, modifier, (StringValue(text),))

    return build


def _ordered(param: SearchParam, operator: str) -> Build:
    if operator in _PREFIXES:
        read = values.reader(param, None, lambda url: None)
        return lambda text, context: Test(param, None, (read(operator + _SYSTEM.sub(_full_system, text), context),))
    if param.type == "date" and operator == "po":
        return lambda text, context: Test(param, None, (changed(values.read_date("eq" + text, context), prefix="ap"),))
    if param.type == "date" and operator == "co":

        def contains(text: str, context: Context) -> Node:
            asked = values.read_date("eq" + text, context)
            # A period that reaches both ends of what was asked contains it.
            ends = [DateValue("ap", end, end) for end in dict.fromkeys((asked.low, asked.high))]
            return And(tuple(Test(param, None, (end,)) for end in ends))

        return contains
    if param.type == "number" and operator == "co":

        def includes(text: str, context: Context) -> Node:
            asked = values.read_number("eq" + text, context)
            sliver = (asked.high - asked.value) / 1000
            return Test(param, None, (NumberValue("ap", asked.value, asked.value, asked.value + sliver),))

        return includes
    raise _not_applicable(param, operator, [*_PREFIXES, "pr"])
