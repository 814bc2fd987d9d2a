"""Whether a resource that is not stored yet meets a condition, by the same keys the store would find it by.

Only what conditions are made of in practice: tokens, references, uris, strings, `_id`. Anything else does not match here, so a
condition on dates or chains finds what is stored and nothing else.
"""

from health_hub.fhir import index, keys
from health_hub.fhir.index import Direct, Restricted, Rows, forms
from health_hub.fhir.search.query import And, Node, Not, Or, Query, ReferenceValue, StringValue, Test, TokenValue, UriValue, Value


def matches(query: Query, id_: str, rows: Rows) -> bool:
    """Whether a resource of the query's type with these index rows meets every condition."""
    known = set(rows.keys)
    return all(_meets(node, query.types[0], id_, known, rows) is True for node in query.where)


def _meets(node: Node, type_name: str, id_: str, known: set[int], rows: Rows) -> bool | None:
    """None: this cannot be told from keys."""
    if isinstance(node, Test):
        return _test(node, type_name, id_, known, rows)
    if isinstance(node, And | Or):
        told = [_meets(part, type_name, id_, known, rows) for part in node.parts]
        if isinstance(node, And):
            return False if False in told else None if None in told else True
        return True if True in told else None if None in told else False
    if isinstance(node, Not):
        inner = _meets(node.part, type_name, id_, known, rows)
        return None if inner is None else not inner
    return None


def _test(test: Test, type_name: str, id_: str, known: set[int], rows: Rows) -> bool | None:
    if test.param.code == "_id" and test.modifier is None:
        return any(isinstance(v, TokenValue) and v.code == id_ for v in test.values)
    try:
        plan = index.plan_of(type_name, test.param)
    except KeyError:
        return None
    targets: tuple[str, ...] = ()
    if isinstance(plan, Restricted):
        plan, targets = plan.of, plan.targets
    if not isinstance(plan, Direct) or test.missing is not None:
        return None
    told = [_value(value, test.modifier, plan, targets, known, rows) for value in test.values]
    return True if True in told else None if None in told else False


def _value(value: Value, modifier: str | None, plan: Direct, targets: tuple[str, ...], known: set[int], rows: Rows) -> bool | None:
    if isinstance(value, StringValue):
        if modifier == "exact":
            return (plan.p ^ keys.value("e", keys.exact(value.text))) in known
        start = keys.fold(value.text)
        return any(row[0] == plan.p and row[1].startswith(start) for row in rows.strings) if modifier is None else None
    if modifier is not None:
        return None
    if isinstance(value, TokenValue):
        return (plan.p ^ forms.value(*forms.token(value.system, value.code, folded=plan.folded))) in known
    if isinstance(value, UriValue):
        return (plan.p ^ forms.value(*forms.uri(value.text))) in known
    if isinstance(value, ReferenceValue):
        types = (value.type,) if value.type else targets or plan.targets
        names = [value.url] if value.url is not None else [f"{t}/{value.id}" for t in types]
        return any((plan.p ^ forms.reference(name)) in known for name in names)
    return None
