"""Finds by reading every document: one parameter at a time, as R4 search.html says it in words."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fhir_profiles import tables
from fhir_profiles.fhirpath import compile_
from fhir_profiles.tables import SearchParam
from tests.oracle import values
from tests.oracle.values import INFINITY, Target, Token

Resource = dict[str, Any]
_PREFIX = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)


class CannotSay(Exception):
    """The oracle has no opinion on this query."""


def split(text: str, separator: str) -> list[str]:
    """At the separators without a backslash; escapes stay."""
    return re.split(rf"(?<!\\){re.escape(separator)}", text)


def plain(text: str) -> str:
    return re.sub(r"\\([\\,$|])", r"\1", text)


class Oracle:
    """Over a fixed set of documents. `base` is the server's own base URL."""

    def __init__(self, resources: Iterable[Resource], base: str) -> None:
        self.base = base
        self.by_type: dict[str, dict[str, Resource]] = {}
        for r in resources:
            self.by_type.setdefault(r["resourceType"], {})[r["id"]] = r
        self._nodes: dict[tuple[str, str, str], list[Any]] = {}

    # ---- documents

    def nodes(self, param: SearchParam, resource: Resource) -> list[Any]:
        """The elements a parameter takes its values from."""
        key = (param.url, resource["resourceType"], resource["id"])
        if key not in self._nodes:
            # `as` is for one item; the definitions mean it for each.
            text = re.sub(r"\(([A-Za-z.]+) as ([A-Za-z]+)\)", r"\1.ofType(\2)", param.expression).replace(".as(", ".ofType(")
            text = re.sub(r"([A-Za-z.]+) as ([A-Za-z]+)", r"\1.ofType(\2)", text)
            if not text:
                raise CannotSay(param.code)
            mine = [p for p in _union(text) if re.match(rf"\(*({resource['resourceType']}|Resource|DomainResource)\b", p)]
            found: list[Any] = []
            for part in mine:
                found += compile_(part).nodes(resource)
            self._nodes[key] = found
        return self._nodes[key]

    # ---- searching

    def search(self, resource_type: str, pairs: list[tuple[str, str]]) -> set[str]:
        """Ids that meet every pair."""
        tests = [self.test(resource_type, name, value) for name, value in pairs]
        return {id for id, r in self.by_type.get(resource_type, {}).items() if all(t(r) for t in tests)}

    def test(self, resource_type: str, name: str, value: str) -> Callable[[Resource], bool]:
        if name.startswith("_has:"):
            _, other, by, rest = name.split(":", 3)
            return self._has(resource_type, other, by, rest, value)
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if dot:
            return self._chain(resource_type, code, modifier or None, rest, value)
        if code == "_id":
            wanted = {plain(v) for v in split(value, ",")}
            return lambda r: r["id"] in wanted
        if code == "_list":
            listed = {plain(v) for v in split(value, ",")}
            items = {(t.type, t.id) for i in listed for e in self.by_type.get("List", {}).get(i, {}).get("entry", ())
                     for t in [values.target(_Plain(e.get("item"), "Reference"), self.base)]}
            return lambda r: (r["resourceType"], r["id"]) in items
        if code == "_text":
            words = {values.fold(plain(v)) for v in split(value, ",")}
            return lambda r: bool(words & set(_words(r.get("text", {}).get("div", ""))))
        param = tables.search_params(resource_type)[code]
        if modifier == "missing":
            return lambda r: (not self._present(param, r)) == (value == "true")
        if modifier == "not":
            inner = self._any(param, None, value)
            return lambda r: not inner(r)
        return self._any(param, modifier or None, value)

    def _present(self, param: SearchParam, r: Resource) -> bool:
        return any(values.has_value(n) for n in self.nodes(param, r))

    def _any(self, param: SearchParam, modifier: str | None, value: str) -> Callable[[Resource], bool]:
        tests = [self._one(param, modifier, v) for v in split(value, ",")]
        return lambda r: any(t(r) for t in tests)

    def _one(self, param: SearchParam, modifier: str | None, value: str) -> Callable[[Resource], bool]:
        if param.type == "composite":
            return self._composite(param, value)
        test = self.element_test(param, modifier, value)
        return lambda r: any(test(n) for n in self.nodes(param, r))

    def _composite(self, param: SearchParam, value: str) -> Callable[[Resource], bool]:
        parts = split(value, "$")
        tests = []
        for (url, expression), part in zip(param.components, parts, strict=True):
            definition = tables.search_param_by_url(url)
            assert definition
            tests.append((expression, self.element_test(definition, None, part)))

        def meets(element: Any) -> bool:
            return all(any(test(n) for n in self.component_nodes(element, expression)) for expression, test in tests)

        return lambda r: any(meets(element) for element in self.nodes(param, r))

    def component_nodes(self, element: Any, expression: str) -> list[Any]:
        """The values of one part of a composite in one of its elements."""
        text = re.sub(r"([A-Za-z.]+) as ([A-Za-z]+)", r"\1.ofType(\2)", expression).replace(".as(", ".ofType(")
        return compile_(text).nodes(element)

    def _chain(self, resource_type: str, code: str, target_type: str | None, rest: str, value: str) -> Callable[[Resource], bool]:
        param = tables.search_params(resource_type)[code]
        first = re.split(r"[.:]", rest, maxsplit=1)[0] if not rest.startswith("_has:") else "_has"
        allowed = [target_type] if target_type else list(param.targets)
        tests = {t: self.test(t, rest, value) for t in allowed if first == "_has" or first in tables.search_params(t)}

        def meets(r: Resource) -> bool:
            for node in self.nodes(param, r):
                found = values.target(node, self.base)
                there = self.by_type.get(found.type or "", {}).get(found.id or "")
                if there is not None and found.type in tests and tests[found.type](there):
                    return True
            return False

        return meets

    def _has(self, resource_type: str, other: str, by: str, rest: str, value: str) -> Callable[[Resource], bool]:
        param = tables.search_params(other)[by]
        test = self.test(other, rest, value)
        named = {
            (t.type, t.id)
            for r in self.by_type.get(other, {}).values() if test(r)
            for n in self.nodes(param, r) for t in [values.target(n, self.base)]
        }
        return lambda r: (resource_type, r["id"]) in named

    # ---- one value against one element

    def element_test(self, param: SearchParam, modifier: str | None, value: str) -> Callable[[Any], bool]:
        kind = param.type
        if kind == "string":
            return _string(modifier, plain(value))
        if kind == "token":
            return _token(modifier, value)
        if kind == "reference":
            return self._reference(param, modifier, value)
        if kind == "date":
            return _date(plain(value))
        if kind == "number":
            return _number(plain(value))
        if kind == "quantity":
            return _quantity(value)
        if kind == "uri":
            return _uri(modifier, plain(value))
        raise CannotSay(f"{param.code} is {kind}")

    def _reference(self, param: SearchParam, modifier: str | None, value: str) -> Callable[[Any], bool]:
        if modifier == "identifier":
            test = _token_match(value)
            return lambda n: (t := values.target(n, self.base).identifier) is not None and test(t)
        text = plain(value)
        found = re.fullmatch(r"(?:([A-Z][A-Za-z]+)/)?([A-Za-z0-9.-]{1,64})", text.removeprefix(self.base + "/"))
        if found and (found[1] is None or found[1] in tables.RESOURCE_TYPES):
            kind = found[1] or modifier
            return lambda n: (t := values.target(n, self.base)).id == found[2] and t.type is not None and kind in (None, t.type)
        url, _, version = text.partition("|")

        def meets(n: Any) -> bool:
            t: Target = values.target(n, self.base)
            return t.url is not None and t.url == url and (not version or t.version == version)

        return meets

    # ---- what a search brings along, and its order

    def include(self, resource: Resource, code: str, target_type: str | None = None) -> set[str]:
        """`Type/id` of the resources that `_include` of this parameter adds."""
        param = tables.search_params(resource["resourceType"])[code]
        out = set()
        for n in self.nodes(param, resource):
            t = values.target(n, self.base)
            if t.type and t.id in self.by_type.get(t.type, {}) and target_type in (None, t.type):
                out.add(f"{t.type}/{t.id}")
        return out

    def revinclude(self, resource: Resource, other: str, code: str) -> set[str]:
        me = f"{resource['resourceType']}/{resource['id']}"
        return {f"{other}/{r['id']}" for r in self.by_type.get(other, {}).values() if me in self.include(r, code)}

    def sort_key(self, resource: Resource, code: str, *, descending: bool) -> Any:
        """The value that orders a resource; None sorts last."""
        param = tables.search_params(resource["resourceType"])[code]
        found: list[Any] = []
        for n in self.nodes(param, resource):
            if param.type == "date":
                found += [d[1] if descending else d[0] for d in values.dates(n)]
            elif param.type == "string":
                found += [values.fold(s) for s in values.strings(n)]
            elif param.type == "number":
                found += values.numbers(n)
            else:
                raise CannotSay(code)
        if not found:
            return None
        if param.type == "number":
            # The standard does not order ranges: the one that reaches furthest counts, by its lower end.
            return max(found, key=lambda f: f[1])[0] if descending else min(found)[0]
        return max(found) if descending else min(found)


class _Plain:
    """An element that no FHIRPath found."""

    def __init__(self, value: Any, type: str) -> None:
        self.value, self.type = value, type


def _union(expression: str) -> list[str]:
    """The parts of a union at its top level."""
    parts, depth, start = [], 0, 0
    for n, c in enumerate(expression):
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            parts.append(expression[start:n].strip())
            start = n + 1
    return [*parts, expression[start:].strip()]


def _words(div: str) -> list[str]:
    return re.findall(r"\w+", values.fold(re.sub(r"<[^>]*>", " ", div)))


def _string(modifier: str | None, text: str) -> Callable[[Any], bool]:
    import unicodedata

    if modifier == "exact":
        wanted = unicodedata.normalize("NFC", text)
        return lambda n: any(unicodedata.normalize("NFC", s) == wanted for s in values.strings(n))
    folded = values.fold(text)
    if modifier == "contains":
        return lambda n: any(folded in values.fold(s) for s in values.strings(n))
    return lambda n: any(values.fold(s).startswith(folded) for s in values.strings(n))


def _token_match(value: str) -> Callable[[Token], bool]:
    parts = [plain(p) for p in split(value, "|")]
    if len(parts) == 1:
        return lambda t: _same(t, parts[0])
    system, code = parts

    def meets(t: Token) -> bool:
        if t.systems is values.UNKNOWN:
            raise CannotSay(value)
        return (system in t.systems if system else not t.systems) and (not code or _same(t, code))

    return meets


def _same(t: Token, code: str) -> bool:
    return t.code is not None and (t.code == code if t.exact else t.code.lower() == code.lower())


def _token(modifier: str | None, value: str) -> Callable[[Any], bool]:
    if modifier == "text":
        folded = values.fold(plain(value))
        return lambda n: any(values.fold(s).startswith(folded) for s in values.token_texts(n))
    if modifier == "of-type":
        system, code, number = (plain(p) for p in split(value, "|"))

        def typed(n: Any) -> bool:
            v = n.value
            return n.type == "Identifier" and v.get("value") == number and any(
                c.get("system", "") == system and c.get("code") == code for c in v.get("type", {}).get("coding", ()))

        return typed
    if modifier in ("in", "not-in"):
        listed = tables.value_set_codes(plain(value))
        if listed is None:
            raise CannotSay(value)
        inside = lambda n: any((s, t.code) in listed for t in values.tokens(n) for s in t.systems)  # noqa: E731
        return inside
    if modifier is not None:
        raise CannotSay(modifier)
    test = _token_match(value)
    return lambda n: any(test(t) for t in values.tokens(n))


def _compare(prefix: str, low: Any, high: Any, s_low: Any, s_high: Any) -> bool:
    """R4 search.html#prefix on ranges that include both ends: the element's `low`..`high`, the search's `s_low`..`s_high`."""
    inside: bool = s_low <= low and high <= s_high
    if prefix == "eq":
        return inside
    if prefix == "ne":
        return not inside
    if prefix == "gt":
        return bool(high > s_high)
    if prefix == "lt":
        return bool(low < s_low)
    if prefix == "ge":
        return bool(high > s_high) or inside
    if prefix == "le":
        return bool(low < s_low) or inside
    if prefix == "sa":
        return bool(low > s_high)
    if prefix == "eb":
        return bool(high < s_low)
    return bool(low <= s_high and high >= s_low)


def _date(text: str) -> Callable[[Any], bool]:
    m = _PREFIX.fullmatch(text)
    assert m
    prefix = m[1] or "eq"
    low, high = values.span(m[2])
    if prefix == "ap":
        now = int(datetime.now(UTC).timestamp() * 1_000_000)
        gap = abs(now - (low + high) // 2) // 10
        low, high = low - gap, high + gap
    return lambda n: any(_compare(prefix, a, b, low, high) for a, b in values.dates(n))


def _range(text: str) -> tuple[str, Decimal, Decimal, Decimal]:
    """Prefix, value, and half a unit of its last digit around it."""
    m = _PREFIX.fullmatch(text)
    assert m
    v = Decimal(m[2])
    exponent = v.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - 1)
    if m[1] == "ap":
        half = abs(v) / 10
    return m[1] or "eq", v, v - half, v + half


def _numeric(prefix: str, v: Decimal, s_low: Decimal, s_high: Decimal, low: Decimal, high: Decimal) -> bool:
    # eq and ne go by the written precision, upper end excluded; the others by the value itself.
    if prefix in ("eq", "ne"):
        inside = s_low <= low and high < s_high and high != INFINITY
        return inside == (prefix == "eq")
    if prefix == "ap":
        return low <= s_high and high >= s_low
    # A range that ends at the very number has a value that is equal to it.
    if prefix in ("ge", "le"):
        return high >= v if prefix == "ge" else low <= v
    return _compare(prefix, low, high, v, v)


def _number(text: str) -> Callable[[Any], bool]:
    prefix, v, s_low, s_high = _range(text)
    return lambda n: any(_numeric(prefix, v, s_low, s_high, a, b) for a, b in values.numbers(n))


def _quantity(value: str) -> Callable[[Any], bool]:
    parts = [plain(p) for p in split(value, "|")]
    prefix, v, s_low, s_high = _range(parts[0])
    system, code = (parts[1], parts[2]) if len(parts) == 3 else (None, None)

    def meets(n: Any) -> bool:
        for a in values.amounts(n):
            if not code:
                if system and a.system != system:
                    continue
                pair: Any = (a.low, a.high)
            elif not system:
                pair = (a.low, a.high) if code in (a.code, a.unit) else None
            else:
                pair = values.in_unit(a, system, code)
            if pair and _numeric(prefix, v, s_low, s_high, *pair):
                return True
        return False

    return meets


def _uri(modifier: str | None, text: str) -> Callable[[Any], bool]:
    if modifier == "below":
        return lambda n: isinstance(n.value, str) and n.value.startswith(text)
    if modifier is not None:
        raise CannotSay(modifier)
    # A canonical is found with and without its version.
    return lambda n: isinstance(n.value, str) and (n.value == text or (n.type == "canonical" and n.value.partition("|")[0] == text))
