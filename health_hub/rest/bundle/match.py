"""Which resources that are not stored yet meet a condition, by the same keys the store would find them by.

Only what conditions are made of in practice: tokens, references, uris, strings, `_id`. Anything else does not match here, so a
condition on dates or chains finds what is stored and nothing else.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Any

from health_hub.fhir import index, keys
from health_hub.fhir.index import Direct, Restricted, Rows, forms
from health_hub.fhir.search.query import And, Node, Not, Or, Query, ReferenceValue, StringValue, Test, TokenValue, UriValue, Value


class Pool:
    """Resources of one type by id, with an index of their keys made when first asked."""

    def __init__(self, type_name: str) -> None:
        self._type = type_name
        self._resources: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, tuple[set[int], Rows]] = {}
        self._with: dict[int, list[str]] = {}
        self._texts: dict[int, list[tuple[str, str]]] = {}

    def add(self, id_: str, resource: dict[str, Any]) -> None:
        self._resources[id_] = resource

    def find(self, query: Query) -> list[str]:
        """Ids of those that meet every condition."""
        if not self._rows:
            for id_, resource in self._resources.items():
                rows = index.extract({**resource, "id": id_})
                self._rows[id_] = (set(rows.keys), rows)
                for key in rows.keys:
                    self._with.setdefault(key, []).append(id_)
        return [i for i in self._candidates(query) if all(self._meets(node, i, *self._rows[i]) is True for node in query.where)]

    def _candidates(self, query: Query) -> Iterable[str]:
        """Those found by some condition's own index; a thousand conditions must not look at a thousand resources each."""
        for node in query.where:
            if isinstance(node, Test) and (found := _plan(self._type, node)) is not None:
                some = [self._having(value, node.modifier, *found) for value in node.values]
                return dict.fromkeys(i for ids in some for i in ids)
        return self._rows

    def _having(self, value: Value, modifier: str | None, plan: Direct, targets: tuple[str, ...]) -> Iterable[str]:
        wanted = _keys(value, modifier, plan, targets)
        if wanted is not None:
            return [i for key in wanted for i in self._with.get(key, ())]
        if not isinstance(value, StringValue) or modifier is not None:
            return ()  # cannot be told here, so nothing matches
        texts = self._texts.get(plan.p)
        if texts is None:
            every = ((row[1], i) for i, (_, rows) in self._rows.items() for row in rows.strings if row[0] == plan.p)
            texts = self._texts[plan.p] = sorted(every)
        start = keys.fold(value.text)
        at = bisect_left(texts, (start, ""))
        return [i for _, i in takewhile(lambda pair: pair[0].startswith(start), islice(texts, at, None))]

    def _meets(self, node: Node, id_: str, known: set[int], rows: Rows) -> bool | None:
        """None: this cannot be told from keys."""
        if isinstance(node, Test):
            return _test(node, self._type, id_, known, rows)
        if isinstance(node, And | Or):
            told = [self._meets(part, id_, known, rows) for part in node.parts]
            if isinstance(node, And):
                return False if False in told else None if None in told else True
            return True if True in told else None if None in told else False
        if isinstance(node, Not):
            inner = self._meets(node.part, id_, known, rows)
            return None if inner is None else not inner
        return None


def _plan(type_name: str, test: Test) -> tuple[Direct, tuple[str, ...]] | None:
    """How the parameter is stored, and the types its references may point to; None for what is not stored by plain keys."""
    try:
        plan = index.plan_of(type_name, test.param)
    except KeyError:
        return None
    targets: tuple[str, ...] = ()
    if isinstance(plan, Restricted):
        plan, targets = plan.of, plan.targets
    return (plan, targets) if isinstance(plan, Direct) and test.missing is None else None


def _test(test: Test, type_name: str, id_: str, known: set[int], rows: Rows) -> bool | None:
    if test.param.code == "_id" and test.modifier is None:
        return any(isinstance(v, TokenValue) and v.code == id_ for v in test.values)
    found = _plan(type_name, test)
    if found is None:
        return None
    told = [_value(value, test.modifier, *found, known, rows) for value in test.values]
    return True if True in told else None if None in told else False


def _value(value: Value, modifier: str | None, plan: Direct, targets: tuple[str, ...], known: set[int], rows: Rows) -> bool | None:
    wanted = _keys(value, modifier, plan, targets)
    if wanted is not None:
        return any(key in known for key in wanted)
    if isinstance(value, StringValue) and modifier is None:
        start = keys.fold(value.text)
        return any(row[0] == plan.p and row[1].startswith(start) for row in rows.strings)
    return None


def _keys(value: Value, modifier: str | None, plan: Direct, targets: tuple[str, ...]) -> list[int] | None:
    """The keys one of which a resource has that meets this value; None where that is not how it is found."""
    if isinstance(value, StringValue) and modifier == "exact":
        return [plan.p ^ keys.value("e", keys.exact(value.text))]
    if modifier is not None:
        return None
    if isinstance(value, TokenValue):
        return [plan.p ^ forms.value(*forms.token(value.system, value.code, folded=plan.folded))]
    if isinstance(value, UriValue):
        return [plan.p ^ forms.value(*forms.uri(value.text))]
    if isinstance(value, ReferenceValue):
        types = (value.type,) if value.type else targets or plan.targets
        names = [value.url] if value.url is not None else [f"{t}/{value.id}" for t in types]
        return [plan.p ^ forms.reference(name) for name in names]
    return None
