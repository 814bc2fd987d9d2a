"""Composites stored element by element: their parts belong to one component, one use context, one variant."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any

from fhir_profiles.fhirpath import Expression, compile_, root
from fhir_profiles.tables import SearchParam
from health_hub.fhir.index import forms, registry, tokens
from health_hub.fhir.index.emit import Emit, Sink
from health_hub.fhir.index.model import ORDINAL, Composite, Direct, Part, Restricted
from health_hub.fhir.index.path import Branch, Unsupported, branches
from health_hub.fhir.index.ranges import INTERVALS, MEASURES, SPANS
from health_hub.fhir.index.settings import local
from health_hub.fhir.index.texts import TEXTS

# Elements of one part, and keys of one element, beyond which a composite is not followed.
LIMIT = 1000
_URIS = ("canonical", "uri", "url", "oid", "uuid")
_ORDERED = ("date", "number", "quantity", "string")
Found = Iterator[tuple[str, str | None, Any]]  # element type, binding, value


def emitter(composite: Composite, param: SearchParam, context: str) -> Emit:
    """What writes one element of type `context` for a composite parameter."""
    parts = [(_values(expression, context), part) for (_, expression), part in zip(param.components, composite.parts, strict=True)]
    exact = [(values, part) for values, part in parts if part.type not in _ORDERED]
    ordered = [(values, part) for values, part in parts if part.type in _ORDERED]

    def element(x: Any, sink: Sink) -> None:
        texts = [list(dict.fromkeys(_forms(values(x, sink.root), part)))[:LIMIT] for values, part in exact]
        # A key for each combination; all parts have to be there.
        names = ["$".join(combination) for _, combination in zip(range(LIMIT), product(*texts), strict=False)]
        if not names:
            return
        if not ordered:
            sink.keys.extend(composite.p ^ forms.value("x", name) for name in names)
            return
        rows = [list(values(x, sink.root)) for values, _ in ordered]
        if not all(rows):
            return
        flags = sink.ordinal << ORDINAL
        sink.ordinal += 1
        for name in names:
            p = composite.p ^ forms.value("x", name)
            for k, ((_, part), found) in enumerate(zip(ordered, rows, strict=True)):
                for of, _, value in found:
                    _row(part.type, of, value, p ^ k, flags, sink)

    return element


def emitter_of_nodes(composite: Composite, param: SearchParam, expression: Expression) -> Emit:
    """The same for elements that only FHIRPath finds; takes the resource."""
    by_type: Callable[[str], Emit] = cache(lambda name: emitter(composite, param, name))

    def elements(resource: Any, sink: Sink) -> None:
        for node in expression.nodes(resource):
            by_type(node.type)(node.value, sink)

    return elements


def _values(expression: str, context: str) -> Callable[[Any, Any], Found]:
    try:
        ways = branches(expression, context)
    except Unsupported:
        return _by_fhirpath(compile_(expression), context)
    return lambda x, resource: _walk(ways, x, resource)


def _walk(ways: tuple[Branch, ...], x: Any, resource: Any) -> Found:
    for b in ways:
        for value in b.values(resource if b.from_resource else x):
            yield b.type, b.binding, value


def _by_fhirpath(expression: Expression, context: str) -> Callable[[Any, Any], Found]:
    def found(x: Any, resource: Any) -> Found:
        for node in expression.nodes(root(x, context), variables={"resource": resource}, steps=registry.STEPS):
            yield node.type, None, node.value

    return found


def _folded(part: Part) -> bool:
    of = part.of
    while not isinstance(of, Direct):
        of = of.of if isinstance(of, Restricted) else _first(of.of)
    return of.folded


def _first(plans: tuple[Any, ...]) -> Any:
    return plans[0]


def _forms(found: Found, part: Part) -> Iterator[str]:
    for of, binding, value in found:
        if part.type == "token":
            give = _token_forms(of, _folded(part), binding)
            if give:
                yield from (form + text for form, text in give(value))
        elif part.type == "reference" and of == "Reference":
            if value.get("reference"):
                yield "r" + local(value["reference"])
        elif of in _URIS:
            if part.type == "reference":
                yield "r" + local(value.partition("|")[0])
            else:
                yield "".join(forms.uri(value))


@cache
def _token_forms(element_type: str, folded: bool, binding: str | None) -> tokens.Forms | None:
    return tokens.of(element_type, folded, binding)


def _row(kind: str, of: str, value: Any, p: int, flags: int, sink: Sink) -> None:
    if kind == "date" and of in SPANS:
        if span := SPANS[of](value):
            sink.dates.append((p, *span, flags))
    elif kind == "number" and of in INTERVALS:
        if interval := INTERVALS[of](value):
            sink.numbers.append((p, *interval, flags))
    elif kind == "quantity" and of in MEASURES:
        if measure := MEASURES[of](value):
            sink.quantities.append((p, *measure, flags))
    elif kind == "string" and of in TEXTS:
        sink.strings.update((p, forms.fold(text), flags) for text in TEXTS[of](value))
