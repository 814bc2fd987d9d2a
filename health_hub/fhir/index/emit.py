"""Emitters: what one element of a known type leaves in the index for one parameter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from health_hub.fhir import keys
from health_hub.fhir.index import forms, texts, tokens
from health_hub.fhir.index.forms import value
from health_hub.fhir.index.model import PositionRow
from health_hub.fhir.index.ranges import INTERVALS, MEASURES, SPANS
from health_hub.fhir.index.settings import pointed, type_of

Emit = Callable[[Any, "Sink"], None]
PRESENT = keys.value("p", "")


@dataclass(slots=True)
class Sink:
    """What is found, before flags are set. Ordered rows carry APART and the ordinal only."""

    root: dict[str, Any]
    keys: list[int] = field(default_factory=list)
    dates: list[tuple[int, int, int, int]] = field(default_factory=list)
    numbers: list[tuple[int, float, float, int]] = field(default_factory=list)
    quantities: list[tuple[int, float, float, int, int, int, float, float, int]] = field(default_factory=list)
    strings: set[tuple[int, str, int]] = field(default_factory=set)
    positions: list[PositionRow] = field(default_factory=list)
    persons: list[int] = field(default_factory=list)
    named: list[int] = field(default_factory=list)  # Patients who made or got it: it is theirs where it is about nobody
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where an emitter writes: a parameter of a resource type.

    folded and typed: see Direct. only: the types its references must point to. flags: of its ordered rows.
    """

    resource_type: str
    code: str
    type: str
    folded: bool = False
    typed: bool = False
    only: tuple[str, ...] = ()
    binding: str | None = None
    flags: int = 0

    @property
    def p(self) -> int:
        return keys.parameter(self.resource_type, self.code)


def emitter(target: Target, element_type: str) -> Emit | None:
    """The emitter for elements of a type, None if this kind of parameter finds nothing in them."""
    make = _MAKE.get(target.type)
    return make(target, element_type) if make else None


@lru_cache(maxsize=65536)
def _coding(system: str | None, code: str | None, folded: bool) -> tuple[int, ...]:
    return tuple(value(form, text) for form, text in tokens.pair(system, code, folded))


def _token(target: Target, element_type: str) -> Emit | None:
    p, folded = target.p, target.folded
    present, p_text = p ^ PRESENT, keys.parameter(target.resource_type, f"{target.code}:text")
    if element_type == "CodeableConcept":

        def concept(x: Any, sink: Sink) -> None:
            found, strings = sink.keys, sink.strings
            found.append(present)
            for c in x.get("coding", ()):
                for h in _coding(c.get("system"), c.get("code"), folded):
                    found.append(p ^ h)
                if "display" in c:
                    strings.add((p_text, forms.fold(c["display"]), 0))
            if "text" in x:
                strings.add((p_text, forms.fold(x["text"]), 0))

        return concept
    if element_type == "Coding":

        def coding(x: Any, sink: Sink) -> None:
            sink.keys.append(present)
            for h in _coding(x.get("system"), x.get("code"), folded):
                sink.keys.append(p ^ h)
            if "display" in x:
                sink.strings.add((p_text, forms.fold(x["display"]), 0))

        return coding
    of = tokens.of(element_type, folded, target.binding)
    if of is None:
        return None
    if element_type == "code":

        @lru_cache(maxsize=1024)
        def codes(x: str) -> tuple[int, ...]:
            return (present, *(p ^ value(form, text) for form, text in of(x)))

        return lambda x, sink: sink.keys.extend(codes(x))
    if element_type == "boolean":
        hashes = {b: (present, *(p ^ value(form, text) for form, text in of(b))) for b in (True, False)}
        return lambda x, sink: sink.keys.extend(hashes[x]) if x.__class__ is bool else None
    words = tokens.TEXTS.get(element_type)

    def other(x: Any, sink: Sink) -> None:
        sink.keys.append(present)
        for form, text in of(x):
            sink.keys.append(p ^ value(form, text))
        if words:
            for text in words(x):
                sink.strings.add((p_text, forms.fold(text), 0))

    return other


def contained_type(sink: Sink, target: str) -> str | None:
    """The type of the contained resource that `#id` names."""
    if target == "#":
        found = sink.root.get("resourceType")
        return found if isinstance(found, str) else None
    for inner in sink.root.get("contained") or ():
        if inner.get("id") == target[1:]:
            name = inner.get("resourceType")
            return name if isinstance(name, str) else None
    return None


@lru_cache(maxsize=512)
def _type_hash(name: str) -> int:
    return keys.value("T", name)


def _reference(target: Target, element_type: str) -> Emit | None:
    p, typed, only = target.p, target.typed, target.only
    present = p ^ PRESENT
    if element_type == "Reference":
        p_identifier = keys.parameter(target.resource_type, f"{target.code}:identifier")
        identifiers = tokens.identifier(False)

        def reference(x: Any, sink: Sink) -> None:
            found = sink.keys
            to = x.get("reference")
            if to:
                hashed, name = pointed(to) if to[0] != "#" else (0, contained_type(sink, to))
                if name is None:
                    name = type_of(to, x.get("type"))
                if only and name not in only:
                    return
                found.append(present)
                if hashed:
                    found.append(p ^ hashed)
                if typed and name:
                    found.append(p ^ _type_hash(name))
            else:
                name = type_of("", x.get("type"))
                if only and name not in only:
                    return
                found.append(present)
                if typed and name:
                    found.append(p ^ _type_hash(name))
            if "identifier" in x:
                for form, text in identifiers(x["identifier"]):
                    found.append(p_identifier ^ value(form, text))

        return reference
    if element_type in ("canonical", "uri", "url", "oid", "uuid"):

        def canonical(x: Any, sink: Sink) -> None:
            url, bar, version = x.partition("|")
            name = contained_type(sink, x) if x[:1] == "#" else pointed(url)[1]
            if only and name not in only:
                return
            sink.keys.append(present)
            if x[:1] != "#":
                sink.keys.append(p ^ pointed(url)[0])
                if version:
                    sink.keys.append(p ^ value("v", url + bar + version))
            if typed and name:
                sink.keys.append(p ^ _type_hash(name))

        return canonical
    if element_type == "Resource":

        def resource(x: Any, sink: Sink) -> None:
            name, id_ = x.get("resourceType"), x.get("id")
            if not isinstance(name, str) or (only and name not in only):
                return
            sink.keys.append(present)
            if id_:
                sink.keys.append(p ^ keys.reference(f"{name}/{id_}"))
            if typed:
                sink.keys.append(p ^ _type_hash(name))

        return resource
    return None


def compartments(places: tuple[tuple[str, int], ...], subject: bool) -> Emit:
    """The compartments that a reference puts its resource into, as (type of the compartment, p). subject: whom it is about."""

    def member(x: Any, sink: Sink) -> None:
        to = x.get("reference")
        if to and to[0] != "#":
            hashed, name = pointed(to)
            for of, p in places:
                if name == of:
                    sink.keys.append(p ^ hashed)
                    if of == "Patient":
                        (sink.persons if subject else sink.named).append(hashed)

    return member


def person(x: Any, sink: Sink) -> None:
    """A reference to a Patient that the resource is about."""
    to = x.get("reference")
    if to and to[0] != "#":
        hashed, name = pointed(to)
        if name == "Patient":
            sink.persons.append(hashed)


def _uri(target: Target, element_type: str) -> Emit | None:
    if element_type not in ("uri", "url", "canonical", "oid", "uuid"):
        return None
    p, is_canonical = target.p, element_type == "canonical"

    def uri(x: Any, sink: Sink) -> None:
        found = sink.keys
        found.append(p ^ PRESENT)
        form, text = forms.uri(x)
        found.append(p ^ value(form, text))
        if is_canonical and form == "v":
            text = x.partition("|")[0]
            found.append(p ^ value("u", text))
        sink.strings.add((p, text, 0))

    return uri


def _string(target: Target, element_type: str) -> Emit | None:
    of = texts.TEXTS.get(element_type)
    if of is None:
        return None
    p, flags = target.p, target.flags
    present = p ^ PRESENT

    def string(x: Any, sink: Sink) -> None:
        sink.keys.append(present)
        for text in of(x):
            sink.keys.append(p ^ value("e", keys.exact(text)))
            sink.strings.add((p, forms.fold(text), flags))

    return string


def _date(target: Target, element_type: str) -> Emit | None:
    of = SPANS.get(element_type)
    if of is None:
        return None
    p, flags = target.p, target.flags
    present = p ^ PRESENT

    def date(x: Any, sink: Sink) -> None:
        sink.keys.append(present)
        if found := of(x):
            sink.dates.append((p, *found, flags))

    return date


def _number(target: Target, element_type: str) -> Emit | None:
    of = INTERVALS.get(element_type)
    if of is None:
        return None
    p, flags = target.p, target.flags
    present = p ^ PRESENT

    def number(x: Any, sink: Sink) -> None:
        sink.keys.append(present)
        if found := of(x):
            sink.numbers.append((p, *found, flags))

    return number


def _quantity(target: Target, element_type: str) -> Emit | None:
    of = MEASURES.get(element_type)
    if of is None:
        return None
    p, flags = target.p, target.flags
    present = p ^ PRESENT

    def quantity(x: Any, sink: Sink) -> None:
        sink.keys.append(present)
        if found := of(x):
            sink.quantities.append((p, *found, flags))

    return quantity


def _special(target: Target, element_type: str) -> Emit | None:
    if element_type != "Location.position":
        return None
    p = target.p

    def position(x: Any, sink: Sink) -> None:
        latitude, longitude = float(x.get("latitude", 999)), float(x.get("longitude", 999))
        if -90 <= latitude <= 90 and -180 <= longitude <= 180:
            sink.keys.append(p ^ PRESENT)
            sink.positions.append((p, latitude, longitude))

    return position


_MAKE: dict[str, Callable[[Target, str], Emit | None]] = {
    "token": _token, "reference": _reference, "uri": _uri, "string": _string, "date": _date, "number": _number, "quantity": _quantity,
    "special": _special,
}  # fmt: skip


# What an Extension's value may be, in the order a reader would expect.
def extension_values(target: Target, choices: dict[str, str]) -> list[tuple[str, str]]:
    """(JSON name, type) of the values of an extension that a parameter of this type can index."""
    return [(name, of) for of, name in choices.items() if emitter(target, of) is not None]
