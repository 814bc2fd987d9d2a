"""What the index of a resource has to hold, worked out slowly: official expression, full FHIRPath engine, the words of the standard."""

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

from fhir_profiles import tables
from fhir_profiles.fhirpath import Expression, Node, compile_
from fhir_profiles.number import decimal
from fhir_profiles.tables import SearchParam
from health_hub.fhir import index, keys, references, ucum
from health_hub.fhir.dates import span
from health_hub.fhir.index import NUMBER_MAX, NUMBER_MIN, Composite, Direct, Part
from health_hub.fhir.search.query import MICROSECOND_MAX, MICROSECOND_MIN

Keys = set[int]
Rows = set[tuple[Any, ...]]


@cache
def _expression(text: str) -> Expression:
    return compile_(text)


def nodes(param: SearchParam, resource: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """(type, value, place) of everything the parameter finds; an extension is its value."""
    return of_nodes(_expression(param.expression).nodes(resource))


def of_nodes(found: list[Node]) -> list[tuple[str, Any, str]]:
    out = []
    for node in found:
        type_, value = node.type, node.value
        if value is None:
            continue
        if type_ == "Extension":
            for of, name in tables.type_("Extension").choices["value"].items():
                if name in value:
                    out.append((of, value[name], ""))
        else:
            parent = node.parent.type if node.parent else ""
            out.append((type_, value, f"{parent}.{node.name}"))
    return out


def type_of(target: str, reference: Any, resource: dict[str, Any]) -> str | None:
    if target.startswith("#"):
        return next((c["resourceType"] for c in resource.get("contained", []) if c.get("id") == target[1:]), None) or (
            reference.get("type") if isinstance(reference, dict) else None
        )
    found = references.literal(target)
    return found.type if found else reference.get("type") if isinstance(reference, dict) else None


class Expected:
    def __init__(self, resource: dict[str, Any]) -> None:
        self.resource = resource
        self.type = resource["resourceType"]
        self.keys: Keys = {keys.parameter(self.type, "_type") ^ keys.value("p", "")}
        self.dates: Rows = set()
        self.numbers: Rows = set()
        self.quantities: Rows = set()
        self.strings: Rows = set()
        self.positions: Rows = set()

    def all(self) -> "Expected":
        for code, param in tables.search_params(self.type).items():
            plan = index.plan(self.type, code)
            if isinstance(plan, Direct):
                self.direct(param, plan)
            elif isinstance(plan, Composite) and not plan.rooted:
                self.composite(param, plan)
        self.compartments()
        return self

    def key(self, p: int, form: str, text: str) -> None:
        self.keys.add(p ^ keys.value(form, text))

    def direct(self, param: SearchParam, plan: Direct) -> None:
        for type_, value, place in nodes(param, self.resource):
            write = getattr(self, f"on_{param.type}")
            write(plan, type_, value, place)

    def composite(self, param: SearchParam, plan: Composite) -> None:
        """Element by element: a key or a row for each combination of the forms of the exact parts."""
        for element in _expression(param.expression).nodes(self.resource):
            texts, ordered = [], []
            for (_, expression), part in zip(param.components, plan.parts, strict=True):
                found = of_nodes(_expression(expression).nodes(element, variables={"resource": self.resource}))
                if part.type in ("date", "number", "quantity", "string"):
                    ordered.append((part, found))
                else:
                    texts.append([f for node in found for f in Forms(self.resource).of(part, node)])
            for combination in product(*texts):
                p = plan.p ^ keys.value("x", "$".join(combination))
                if not ordered:
                    self.keys.add(p)
                elif all(found for _, found in ordered):
                    for k, (part, found) in enumerate(ordered):
                        for type_, x, _ in found:
                            self.row(part.type, p ^ k, type_, x)

    def row(self, kind: str, p: int, type_: str, x: Any) -> None:
        if kind == "quantity" and (measured := measure(type_, x)):
            self.quantities.add((p, *measured))
        elif kind == "number":
            self.numbers.add((p, float(decimal(x)), float(decimal(x))))
        elif kind == "date" and (found := date_span(type_, x)):
            self.dates.add((p, *found))
        elif kind == "string":
            self.strings.update((p, keys.fold(t)) for t in _texts(type_, x))

    # -- tokens

    def pair(self, p: int, system: str | None, code: str | None, folded: bool) -> None:
        if code:
            code = code.lower() if folded else code
            self.key(p, "c", code)
            if system:
                self.key(p, "t", f"{system}|{code}")
            else:
                self.key(p, "n", code)
        if system:
            self.key(p, "s", system)

    def text(self, plan: Direct, text: str | None) -> None:
        if text:
            self.strings.add((keys.parameter(self.type, f"{plan.code}:text"), keys.fold(text)))

    def on_token(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        p = plan.p
        if type_ in ("System.Boolean", "boolean"):
            self.key(p, "c", str(x).lower())
            self.key(p, "t", f"http://terminology.hl7.org/CodeSystem/special-values|{str(x).lower()}")
        elif type_ == "CodeableConcept":
            for c in x.get("coding", []):
                self.pair(p, c.get("system"), c.get("code"), plan.folded)
                self.text(plan, c.get("display"))
            self.text(plan, x.get("text"))
        elif type_ == "Coding":
            self.pair(p, x.get("system"), x.get("code"), plan.folded)
            self.text(plan, x.get("display"))
        elif type_ == "Identifier":
            self.identifier(p, x, plan.folded)
            self.text(plan, x.get("type", {}).get("text"))
        elif type_ == "ContactPoint":
            if "value" in x:
                value = x["value"].lower() if plan.folded else x["value"]
                self.key(p, "c", value)
                for system in (x.get("use"), x.get("system")):
                    if system:
                        self.key(p, "t", f"{system}|{value}")
                if not x.get("use") and not x.get("system"):
                    self.key(p, "n", value)
        elif type_ == "code":
            systems = self.systems(place, x)
            code = x.lower() if plan.folded else x
            self.key(p, "c", code)
            for system in systems:
                self.key(p, "t", f"{system}|{code}")
            if not systems:
                self.key(p, "n", code)
        elif isinstance(x, dict):
            return
        else:
            x = x if isinstance(x, str) else str(x) if isinstance(x, int) else bytes(x).decode()
            self.key(p, "c", x)
            self.key(p, "n", x)
        self.key(p, "p", "")

    def identifier(self, p: int, x: Any, folded: bool) -> None:
        self.pair(p, x.get("system"), x.get("value"), folded)
        for c in x.get("type", {}).get("coding", []):
            if c.get("code") and x.get("value"):
                self.key(p, "o", f"{c.get('system', '')}|{c['code']}|{x['value']}")

    def systems(self, place: str, code: str) -> list[str]:
        parent, _, name = place.rpartition(".")
        element = tables.type_(parent).elements.get(name) if parent else None
        if element is None or element.binding is None:
            return []
        fixed = {
            "mimetypes": "urn:ietf:bcp:13",
            "languages": "urn:ietf:bcp:47",
            "all-languages": "urn:ietf:bcp:47",
            "currencies": "urn:iso:std:iso:4217",
        }
        known = fixed.get(element.binding.partition("|")[0].rpartition("/")[2])
        return [known] if known else [s for s, c in (tables.value_set_codes(element.binding) or ()) if c == code]

    # -- references

    def on_reference(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        p = plan.p
        name = None
        if type_ == "Reference":
            target = x.get("reference")
            name = type_of(target or "", x, self.resource)
            if target and not target.startswith("#"):
                found = references.literal(target)
                self.keys.add(p ^ keys.reference(found.reference if found and not found.base else target))
            if "identifier" in x:
                self.identifier(keys.parameter(self.type, f"{plan.code}:identifier"), x["identifier"], False)
        elif type_ in ("canonical", "uri", "url"):
            if not x.startswith("#"):
                self.keys.add(p ^ keys.reference(x.partition("|")[0]))
                if "|" in x:
                    self.key(p, "v", x)
            found = references.literal(x.partition("|")[0])
            name = found.type if found else None
        elif tables.is_resource_type(type_):
            if plan.targets and type_ not in plan.targets:
                return
            self.keys.add(p ^ keys.reference(f"{type_}/{x['id']}"))
        else:
            return
        self.key(p, "p", "")
        if plan.typed and name:
            self.key(p, "T", name)

    def compartments(self) -> None:
        p = keys.parameter(self.type, "_compartment")
        for name in tables.compartments():
            if name == self.type and "id" in self.resource:
                self.keys.add(p ^ keys.reference(f"{name}/{self.resource['id']}"))
            for code in tables.compartment(name).get(self.type, ()):
                param = tables.search_params(self.type).get(code)
                for type_, x, _ in nodes(param, self.resource) if param and param.expression else ():
                    if type_ == "Reference" and (found := references.literal(x.get("reference", ""))) and found.type == name:
                        self.keys.add(p ^ keys.reference(x["reference"] if found.base else found.reference))

    # -- the rest

    def on_uri(self, plan: Direct, type_: str, x: str, place: str) -> None:
        self.key(plan.p, "p", "")
        self.key(plan.p, "u", x.partition("|")[0])
        if "|" in x:
            self.key(plan.p, "v", x)
        self.strings.add((plan.p, x.partition("|")[0]))

    def on_string(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        for text in _texts(type_, x):
            self.strings.add((plan.p, keys.fold(text)))
            self.key(plan.p, "e", keys.exact(text))
        if type_ in TEXTUAL or isinstance(x, str):
            self.key(plan.p, "p", "")

    def on_date(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        if found := date_span(type_, x):
            self.dates.add((plan.p, *found))
        if type_ in ("date", "dateTime", "instant", "Period", "Timing"):
            self.key(plan.p, "p", "")

    def on_number(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        if type_ == "Range":
            self.numbers.add((plan.p, *_ends(x)))
        else:
            self.numbers.add((plan.p, float(decimal(x)), float(decimal(x))))
        self.key(plan.p, "p", "")

    def on_quantity(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        if found := measure(type_, x):
            self.quantities.add((plan.p, *found))
        self.key(plan.p, "p", "")

    def on_special(self, plan: Direct, type_: str, x: Any, place: str) -> None:
        if abs(float(x["latitude"])) <= 90:
            self.key(plan.p, "p", "")
            self.positions.add((plan.p, float(x["latitude"]), float(x["longitude"])))


class Forms(Expected):
    """The forms of one part of a composite, as they stand in its keys."""

    def of(self, part: Part, node: tuple[str, Any, str]) -> list[str]:
        self.found: list[str] = []
        plan = part.of if isinstance(part.of, Direct) else part.of.of[0]
        type_, x, place = node
        if part.type == "reference":
            found = references.literal(x["reference"]) if "reference" in x else None
            return ["r" + (found.reference if found and not found.base else x["reference"])] if x.get("reference") else []
        self.on_token(plan, type_, x, place)
        return self.found

    def key(self, p: int, form: str, text: str) -> None:
        if form != "p" and form + text not in self.found:
            self.found.append(form + text)


TEXTUAL = (
    "HumanName",
    "Address",
    "CodeableConcept",
    "Coding",
    "Annotation",
    "Identifier",
    "ContactPoint",
    "Reference",
    "Attachment",
    "ContactDetail",
)


def _texts(type_: str, x: Any) -> Iterator[str]:
    if type_ == "HumanName":
        yield from (x[n] for n in ("text", "family") if n in x)
        yield from (t for n in ("given", "prefix", "suffix") for t in x.get(n, []))
    elif type_ == "Address":
        yield from (x[n] for n in ("text", "city", "district", "state", "postalCode", "country") if n in x)
        yield from x.get("line", [])
    elif type_ == "CodeableConcept":
        yield from ([x["text"]] if "text" in x else [])
        yield from (c["display"] for c in x.get("coding", []) if "display" in c)
    elif type_ in ("Identifier", "ContactPoint"):
        yield x["value"]
    elif type_ == "Reference":
        yield x["display"]
    elif isinstance(x, str):
        yield x


def date_span(type_: str, x: Any) -> tuple[int, int] | None:
    if type_ in ("date", "dateTime", "instant"):
        return span(x)
    if type_ == "Period":
        low = span(x["start"])[0] if "start" in x else MICROSECOND_MIN
        high = span(x["end"])[1] if "end" in x else MICROSECOND_MAX
        return (low, high) if x.keys() & {"start", "end"} else None
    if type_ == "Timing":
        spans = [span(e) for e in x.get("event", [])]
        if "boundsPeriod" in x.get("repeat", {}):
            spans += filter(None, [date_span("Period", x["repeat"]["boundsPeriod"])])
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None
    return None


def _ends(x: Any) -> tuple[float, float]:
    low, high = x.get("low", {}).get("value"), x.get("high", {}).get("value")
    return (NUMBER_MIN if low is None else float(decimal(low))), (NUMBER_MAX if high is None else float(decimal(high)))


def measure(type_: str, x: Any) -> tuple[Any, ...] | None:
    unit: Any = x
    if type_ == "Range":
        low, high = _ends(x)
        unit = x.get("low") if x.get("low", {}).get("code") else x.get("high") or x.get("low", {})
    elif type_ == "Money":
        low = high = float(decimal(x["value"]))
        unit = {"system": "urn:iso:std:iso:4217", "code": x.get("currency")}
    elif type_ == "SampledData":
        words = {"L": x.get("lowerLimit"), "U": x.get("upperLimit")}
        zero, step = decimal(x["origin"]["value"]), decimal(x.get("factor", 1))
        points = [decimal(words[w]) if w in words else zero + Decimal(w) * step for w in x.get("data", "").split() if w != "E"]
        low, high = float(min(points)), float(max(points))
        unit = x["origin"]
    else:
        low = high = float(decimal(x["value"]))
        if x.get("comparator", " ")[0] == "<":
            low = NUMBER_MIN
        elif x.get("comparator", " ")[0] == ">":
            high = NUMBER_MAX
    code, name, system = unit.get("code"), unit.get("unit"), unit.get("system")
    hashes = (keys.value("c", code) if code else 0, keys.value("c", name) if name else 0)
    if not (code and system):
        return low, high, *hashes, 0, low, high
    found = ucum.canonical(code) if system == "http://unitsofmeasure.org" else None
    if found is None:
        return low, high, *hashes, keys.value("t", f"{system}|{code}"), low, high
    canon = [low if abs(low) == NUMBER_MAX else None, high if abs(high) == NUMBER_MAX else None]
    for at, end in enumerate((low, high)):
        if canon[at] is None:
            canon[at] = float(
                Decimal(repr(end)) * 1 * found[0].numerator / found[0].denominator + Decimal(found[1].numerator) / found[1].denominator
            )
    return low, high, *hashes, keys.value("t", f"http://unitsofmeasure.org|{found[2]}"), canon[0], canon[1]
