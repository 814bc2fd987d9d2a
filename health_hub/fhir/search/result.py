"""Parameters that shape the answer, not the match: _sort, _count, _include, _summary ... (R4 search.html#modifyingresults)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from health_hub.fhir.search.path import Lookup, Unknown, search_params
from health_hub.fhir.search.query import Include, Query, Sort
from health_hub.fhir.search.values import TYPES

MAX_INCLUDES = 100
MAX_SORTS = 10
MAX_ELEMENTS = 200
# Up to this a larger `_count` is capped, as R4 allows; beyond it the client has a mistake.
ABSURD_COUNT = 1_000_000

_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}(?:\.[A-Za-z][A-Za-z0-9]{0,63}){0,7}")
# Asked of the HTTP side, or by clients of nobody in particular (clients.md: fhirpy's _totalMethod); the match is the same.
QUIET = frozenset(("_format", "_pretty", "_totalMethod"))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What reading a result parameter needs besides its text."""

    query: Query
    lookup: Lookup
    max_count: int


Set = Callable[[str, Wishes], str]
"""Puts a value into the query; returns the text as understood, "" for nothing."""


def _once(query: Query, name: str) -> None:
    if any(known == name for known, _ in query.understood):
        raise ValueError("it is given twice")


def _count(text: str, wishes: Wishes) -> str:
    _once(wishes.query, "_count")
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ValueError("it is a whole number, 0 or more")
    count = int(text)
    if count > ABSURD_COUNT:
        raise ValueError(f"it is at most {wishes.max_count}")
    count = min(count, wishes.max_count)
    wishes.query.count = count
    if not count:
        wishes.query.summary = "count"
    return str(count)


def _one_of(name: str, attribute: str, choices: tuple[str, ...]) -> Set:
    def put(text: str, wishes: Wishes) -> str:
        _once(wishes.query, name)
        if text not in choices:
            raise ValueError(f"it is one of {', '.join(choices)}")
        if attribute and not (attribute == "summary" and wishes.query.count == 0):
            setattr(wishes.query, attribute, text)
        return text

    return put


def _elements(text: str, wishes: Wishes) -> str:
    names = dict.fromkeys((*wishes.query.elements, *text.split(",")))
    if len(names) > MAX_ELEMENTS:
        raise ValueError(f"it names more than {MAX_ELEMENTS} elements")
    for name in names:
        if not _ELEMENT.fullmatch(name):
            raise ValueError(f"{name[:64]!r} is no element name")
    wishes.query.elements = tuple(names)
    return text


_sorts: dict[tuple[tuple[str, ...], str], tuple[Sort, ...]] = {}


def _sort(text: str, wishes: Wishes) -> str:
    query = wishes.query
    known = _sorts.get((query.types, text))
    if known is not None:
        query.sort = query.sort + known if query.sort else known
        return text
    keys: list[Sort] = []
    understood: list[str] = []
    unknown: list[str] = []
    items = text.split(",")
    if len(items) > MAX_SORTS:
        raise ValueError(f"there are more than {MAX_SORTS} keys")
    for item in items:
        code = item.removeprefix("-")
        try:
            key = _sort_key(code, item != code, wishes)
        except Unknown as e:
            unknown.append(f"{code[:64]} {e}")
            continue
        if key not in keys:
            keys.append(key)
            understood.append(item)
    query.sort += tuple(keys)
    if unknown:
        query.ignored.append(("_sort", "; ".join(unknown)))
    elif len(text) <= 200:
        if len(_sorts) >= 4096:
            _sorts.clear()
        _sorts[query.types, text] = tuple(keys)
    return ",".join(understood)


def _sort_key(code: str, descending: bool, wishes: Wishes) -> Sort:
    if not code:
        raise ValueError("a key is empty")
    if code == "_score":
        return Sort(None, descending)
    param = search_params(wishes.query.types, wishes.lookup).get(code)
    if param is None or any(code not in wishes.lookup(t) for t in wishes.query.types[1:]):
        raise Unknown("is no search parameter of what is searched")
    if param.type in ("composite", "special") or not param.expression:
        raise Unknown("has no order to sort by")
    return Sort(param, descending)


def _include(reverse: bool, iterate: bool) -> Set:
    def put(text: str, wishes: Wishes) -> str:
        query = wishes.query
        if len(query.includes) >= MAX_INCLUDES:
            raise ValueError(f"there are more than {MAX_INCLUDES} includes")
        include = read_include(text, reverse, iterate, wishes.lookup)
        if include not in query.includes:
            query.includes += (include,)
        return text

    return put


def read_include(text: str, reverse: bool, iterate: bool, lookup: Lookup) -> Include:
    """`*`, `Type:*`, `Type:param` or `Type:param:Target`. ValueError with the reason."""
    if text == "*":
        return Include("*", None, None, iterate, reverse)
    source, _, rest = text.partition(":")
    if source not in TYPES:
        raise ValueError(f"{source[:64]!r} is no resource type; it is written Type:parameter or Type:parameter:Target")
    code, _, target = rest.partition(":")
    if target and target not in TYPES:
        raise ValueError(f"{target[:64]!r} is no resource type")
    if code == "*":
        return Include(source, None, target or None, iterate, reverse)
    param = lookup(source).get(code)
    if param is None or param.type != "reference" or not param.expression:
        raise ValueError(f"{code[:64]!r} is no reference parameter of {source}")
    if target and param.targets and target not in param.targets:
        raise ValueError(f"{code} of {source} does not refer to {target}")
    return Include(source, param, target or None, iterate, reverse)


SETTERS: dict[str, Set] = {
    "_count": _count,
    "_sort": _sort,
    "_elements": _elements,
    "_total": _one_of("_total", "total", ("none", "estimate", "accurate")),
    "_summary": _one_of("_summary", "summary", ("true", "text", "data", "count", "false")),
    "_contained": _one_of("_contained", "contained", ("false", "true", "both")),
    "_containedType": _one_of("_containedType", "", ("container", "contained")),
    "_include": _include(False, False),
    "_include:iterate": _include(False, True),
    "_include:recurse": _include(False, True),  # the name before R4
    "_revinclude": _include(True, False),
    "_revinclude:iterate": _include(True, True),
    "_revinclude:recurse": _include(True, True),
}


def read_types(types: tuple[str, ...], text: str) -> tuple[str, ...]:
    """The types that `_type=` leaves of those searched, in the order of the first. ValueError with the reason."""
    asked = dict.fromkeys(text.split(","))
    for name in asked:
        if name not in TYPES:
            raise ValueError(f"{name[:64]!r} is no resource type")
    left = tuple(t for t in types if t in asked) if types else tuple(asked)
    if not left:
        raise ValueError(f"none of its types is among {', '.join(types[:10])}")
    return left


def check(query: Query) -> None:
    """What result parameters may not be together."""
    if query.summary == "text" and query.includes:
        raise ValueError("_summary=text cannot be mixed with _include or _revinclude")


def forget() -> None:
    """Drop what was compiled, after search parameters changed."""
    _sorts.clear()
