"""One parameter's values on one resource type, as a Condition: by the Plan that says how the parameter is stored."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from fhir_profiles.tables import RESOURCE_TYPES, type_number
from health_hub.fhir import index, keys
from health_hub.fhir.index import APART, Age, Column, Composite, Direct, Elsewhere, Plan, Restricted, Union, Words, forms, registry
from health_hub.fhir.outcome import bad_request
from health_hub.fhir.search.query import (
    CompositeValue,
    DateValue,
    NearValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    Test,
    TokenValue,
    UriValue,
    Value,
)
from health_hub.store.condition import (
    NOTHING,
    Any_,
    Condition,
    Element,
    Ids,
    Keys,
    Near,
    OfType,
    Ordered,
    Table,
    Tests,
    Updated,
    all_,
    any_,
    not_,
)
from health_hub.store.search import ordered

PRESENT = keys.value("p", "")
# Modifiers that need other resources, or lists of codes; resolve.py.
ELSEWHERE = frozenset(("above", "below", "in", "not-in"))
_TABLES: dict[type, Table] = {DateValue: "date_key", NumberValue: "number_key", QuantityValue: "quantity_key", StringValue: "string_key"}


@lru_cache(maxsize=8192)
def plans(types: tuple[str, ...], code: str) -> tuple[tuple[str, Plan], ...]:
    """How the parameter is stored, for each of the types that has it (no types: all)."""
    found = []
    for name in types or RESOURCE_TYPES:
        try:
            found.append((name, index.plan(name, code)))
        except KeyError:
            continue
    return tuple(found)


registry.on_change(plans.cache_clear)


def test(asked: Test, types: tuple[str, ...]) -> Condition:
    """A Test that the searched rows can answer alone (its modifier is not in ELSEWHERE, its parameter not _list)."""
    modifier = asked.modifier
    if asked.param.code == "_compartment":
        return _compartment(asked.values, types)
    if modifier == "missing":
        found = any_(present(name, plan) for name, plan in plans(types, asked.param.code))
        return not_(found) if asked.missing else found
    found = any_(matching(name, plan, value, modifier) for name, plan in plans(types, asked.param.code) for value in asked.values)
    return not_(found) if modifier == "not" else found


def _compartment(values: Iterable[Value], types: tuple[str, ...]) -> Condition:
    owners = [keys.reference(f"{v.type}/{v.id}") for v in values if isinstance(v, ReferenceValue)]
    return Keys(tuple(keys.parameter(name, "_compartment") ^ owner for name in types or RESOURCE_TYPES for owner in owners))


def present(name: str, plan: Plan) -> Condition:
    """The resource has a value."""
    match plan:
        case Direct():
            return Keys((plan.p ^ PRESENT,))
        case Restricted():
            return _points_to(plan)
        case Union():
            return any_(present(name, p) for p in plan.of)
        case Composite():
            return all_(present(name, part.of) for part in plan.parts)
        case Words():
            raise bad_request("_text and _content have no :missing", "not-supported")
        case Column():
            return OfType((type_number(name),))
        case _:
            raise bad_request("this parameter has no :missing", "not-supported")


def _points_to(plan: Restricted) -> Condition:
    if not plan.of.typed:
        return Keys((plan.of.p ^ PRESENT,))
    return Keys(tuple(plan.of.p ^ keys.value("T", t) for t in plan.targets))


def matching(name: str, plan: Plan, value: Value, modifier: str | None) -> Condition:
    """Resources of type `name` with this value."""
    match plan:
        case Direct():
            return direct(name, plan, value, modifier)
        case Restricted():
            return _restricted(name, plan, value, modifier)
        case Union():
            return any_(matching(name, p, value, modifier) for p in plan.of)
        case Composite():
            assert isinstance(value, CompositeValue)
            return _composite(name, plan, value)
        case Column():
            return _column(name, plan, value)
        case Words():
            assert isinstance(value, StringValue)
            # Whole words, all of them, in any order. A text of signs alone has none, and must not find everything.
            words = list(index.words(value.text))
            return all_(Keys(tuple(p ^ keys.value("w", word) for p in plan.p)) for word in words) if words else NOTHING
        case Age() | Elsewhere():
            raise bad_request("this parameter is not supported", "not-supported")


def _column(name: str, plan: Column, value: Value) -> Condition:
    if isinstance(value, DateValue):
        return Updated(ordered.updated(value))
    assert isinstance(value, TokenValue)
    return Ids((value.code or "",))


def direct(name: str, plan: Direct, value: Value, modifier: str | None) -> Condition:
    """A parameter under its own `p`."""
    if type(value) is TokenValue:
        return _token(name, plan, value, modifier)
    if type(value) is ReferenceValue:
        return Keys(references(plan.p, value, plan.targets))
    if type(value) is StringValue:
        if modifier == "exact":
            return Keys((plan.p ^ forms.value("e", keys.exact(value.text)),))
        p = keys.parameter(name, plan.code + ":text") if modifier == "text" else plan.p
        return Ordered("string_key", (p,), ordered.strings(value, modifier))
    if type(value) is UriValue:
        return Keys((plan.p ^ forms.value(*forms.uri(value.text)),))
    if type(value) is NearValue:
        return Near((plan.p,), (value,))
    return Ordered(_TABLES[type(value)], (plan.p,), rows(value))


def _token(name: str, plan: Direct, value: TokenValue, modifier: str | None) -> Condition:
    if modifier == "identifier":
        form, text = forms.token(value.system, value.code, folded=False)
        return Keys((keys.parameter(name, plan.code + ":identifier") ^ forms.value(form, text),))
    if modifier == "of-type":
        form, text = forms.of_type(value.system, value.code or "", value.value or "")
    else:
        form, text = forms.token(value.system, value.code, folded=plan.folded)
    return Keys((plan.p ^ forms.value(form, text),))


_COMPARED: dict[type, Callable[..., Tests]] = {
    DateValue: ordered.dates,
    NumberValue: ordered.numbers,
    QuantityValue: ordered.quantities,
    StringValue: lambda value: ordered.strings(value, None),
}


def rows(value: Value) -> Tests:
    return _COMPARED[type(value)](value)


def references(p: int, value: ReferenceValue, targets: tuple[str, ...]) -> tuple[int, ...]:
    """The keys of what a reference names; a bare id is tried with every type it may be of."""
    if value.id is not None:
        if value.type is not None:
            return (p ^ keys.reference(f"{value.type}/{value.id}"),)
        return tuple(p ^ keys.reference(f"{t}/{value.id}") for t in targets or RESOURCE_TYPES)
    assert value.url is not None
    if value.version:
        return (p ^ forms.value("v", f"{value.url}|{value.version}"),)
    return (p ^ keys.reference(value.url),)


def _restricted(name: str, plan: Restricted, value: Value, modifier: str | None) -> Condition:
    if isinstance(value, ReferenceValue):
        if value.type is not None and value.type not in plan.targets:
            return NOTHING
        found: Condition = Keys(references(plan.of.p, value, plan.targets))
        return found if value.id is not None else all_((found, _points_to(plan)))
    return all_((direct(name, plan.of, value, modifier), _points_to(plan)))


def _composite(name: str, plan: Composite, value: CompositeValue) -> Condition:
    pairs = list(zip(plan.parts, value.parts, strict=True))
    if plan.rooted:
        found = []
        for part, v in pairs:
            condition = matching(name, part.of, v, None)
            found.append(_not_apart(condition) if part.apart else condition)
        return all_(found)
    exact: list[list[tuple[str, str]]] = [[]]
    tests: list[tuple[Table, Tests]] = []
    for part, v in pairs:
        if type(v) in _COMPARED:
            tests.append((_TABLES[type(v)], rows(v)))
        else:
            forms_ = _exact(part.of, v)
            exact = [[*head, form] for head in exact for form in forms_]
    texts = [forms.composite(head) for head in exact]
    if not tests:
        return Keys(tuple(plan.p ^ forms.value("x", text) for text in texts))
    found = []
    for text in texts:
        p = plan.p ^ forms.value("x", text)
        parts = tuple(Ordered(table, (p ^ k,), t) for k, (table, t) in enumerate(tests))
        found.append(parts[0] if len(parts) == 1 else Element(parts))
    return any_(found)


def _exact(plan: Plan, value: Value) -> list[tuple[str, str]]:
    """The forms under which an exact part of a composite may have been written."""
    if isinstance(plan, Union):
        return list(dict.fromkeys(form for p in plan.of for form in _exact(p, value)))
    direct_ = plan.of if isinstance(plan, Restricted) else plan
    assert isinstance(direct_, Direct)
    if isinstance(value, TokenValue):
        return [forms.token(value.system, value.code, folded=direct_.folded)]
    if isinstance(value, UriValue):
        return [forms.uri(value.text)]
    assert isinstance(value, ReferenceValue)
    if value.url is not None:
        return [("r", value.url + (f"|{value.version}" if value.version else ""))]
    targets = plan.targets if isinstance(plan, Restricted) else direct_.targets
    return [("r", f"{t}/{value.id}") for t in ((value.type,) if value.type else targets or RESOURCE_TYPES)]


def _not_apart(condition: Condition) -> Condition:
    if isinstance(condition, Any_):
        return any_(map(_not_apart, condition.parts))
    if isinstance(condition, Ordered):
        return Ordered(condition.table, condition.ps, ordered.restricted(condition.tests, ("flags", "without", APART)))
    return condition
