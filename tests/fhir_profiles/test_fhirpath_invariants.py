"""Official invariants: generated Python and engine say the same, and real records keep them."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from fhir_profiles import tables
from fhir_profiles.fhirpath import FHIRPathError, Node, compile_, root
from fhir_profiles.fhirpath.known import CORRECTED
from fhir_profiles.fhirpath.node import all_children
from fhir_profiles.fhirpath.predicate import predicate
from fhir_profiles.number import number
from fhir_profiles.tables import Invariant
from health_hub.fhir.json import loads
from tests.fhir_profiles import definitions


def applicable(node: Node, resource: Node, outer: Node) -> Iterator[tuple[Invariant, Node, Node, Node]]:
    """Every invariant of a tree, with its node and the resources around."""
    definition = tables.type_(node.type)
    for invariant in definition.invariants:
        yield invariant, node, resource, outer
    below: list[Any] = []
    all_children(node, below)
    for child in below:
        element = definition.elements[child.name]
        inner, top = resource, outer
        if element.type == "Resource":
            inner, top = child, outer if child.name == "contained" else child
        for invariant in element.invariants:
            yield invariant, child, inner, top
        yield from applicable(child, inner, top)


def verdicts(resource: dict[str, Any], every: int = 1) -> Iterator[tuple[Invariant, Node, bool]]:
    """What the predicates say; every so many, the engine is asked too."""
    start = root(resource)
    for count, (invariant, node, near, far) in enumerate(applicable(start, start, start)):
        holds = predicate(invariant.expression, node.type)(node.value if node.ext is None else node, near.value, far.value)
        if count % every == 0:
            expression = compile_(CORRECTED.get(invariant.expression, invariant.expression))
            assert holds == expression.holds(node), (invariant.key, node.path)
        yield invariant, node, holds


def test_every_official_invariant_becomes_a_function() -> None:
    count = 0
    for name in tables.type_names():
        definition = tables.type_(name)
        for invariant in definition.invariants:
            predicate(invariant.expression, name)
            count += 1
        for element in definition.elements.values():
            for invariant in element.invariants:
                predicate(invariant.expression, element.type)
                count += 1
    assert count > 1500


def test_synthea_keeps_every_invariant() -> None:
    broken: Counter[str] = Counter()
    total = 0
    for place, bundle in enumerate(definitions.synthea_bundles()):
        if place % 8 == 0:
            for invariant, _, holds in verdicts(bundle, every=97):
                total += 1
                broken[invariant.key] += not holds
    # dom-6 is a warning: "should have narrative".
    assert set(+broken) == {"dom-6"}
    assert total > 100_000


def test_the_package_agrees_on_conformance_resources() -> None:
    seen = 0
    for name, resource in definitions.package():
        if name in CONFORMANCE:
            seen += 1
            for invariant, node, holds in verdicts(resource, every=3):
                assert holds or invariant.severity == "warning", (name, invariant.key, node.path)
    assert seen == len(CONFORMANCE)


CONFORMANCE = {
    "StructureDefinition-Patient.json", "StructureDefinition-Timing.json", "ValueSet-administrative-gender.json",
    "CodeSystem-observation-category.json", "OperationDefinition-Patient-everything.json", "CapabilityStatement-base.json",
    "CompartmentDefinition-patient.json", "SearchParameter-clinical-code.json", "ConceptMap-sc-account-status.json",
}  # fmt: skip

CASES = [
    line.split("\t")
    for line in (Path(__file__).parents[1] / "data" / "fhirpath_invariants.txt").read_text("utf-8").splitlines()
    if line[0] != "#"
]


@pytest.mark.parametrize(("type_name", "key", "good", "bad"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_what_breaks_an_invariant(type_name: str, key: str, good: str, bad: str) -> None:
    found = [i for i in tables.type_(type_name).invariants if i.key == key]
    expression = found[0].expression
    check = predicate(expression, type_name)
    engine = compile_(CORRECTED.get(expression, expression))
    whole = {"resourceType": type_name} if tables.type_(type_name).kind == "resource" else {}
    for text, kept in ((good, True), (bad, False)):
        element = whole | loads(text.encode())
        assert check(element, element, element) is kept
        assert engine.holds(element, type_name, variables={"resource": element} if "resourceType" in element else None) is kept


def test_reference_to_a_contained_resource_is_sought_in_the_outermost() -> None:
    check = predicate(next(i.expression for i in tables.type_("Reference").invariants if i.key == "ref-1"), "Reference")
    outer = {"resourceType": "Patient", "contained": [{"resourceType": "Group", "id": "a"}]}
    assert check({"reference": "#a"}, outer, outer)
    assert not check({"reference": "#b"}, outer, outer)
    assert check({"reference": "Patient/1"}, outer, outer)


def test_shapes_the_definitions_do_not_allow_are_no_crash() -> None:
    for element in ({"start": 5, "end": []}, {"start": [], "end": {}}, {"start": None}):
        predicate("start.hasValue().not() or end.hasValue().not() or (start <= end)", "Period")(element, None, None)


class Maker:
    """Random elements of the right shape, with little variety so that comparisons hit."""

    POOLS: ClassVar[dict[str, list[Any]]] = {
        "boolean": [True, False],
        "decimal": [0, 1, 2, -1, 101, number("1.50"), number("100.0")],
        "integer": [0, 1, 2, -1],
        "positiveInt": [1, 2],
        "unsignedInt": [0, 1],
        "date": ["2020", "2020-01", "2020-01-01", "2021-01-01"],
        "dateTime": ["2020", "2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T06:00:00+07:00", "2020-01-01T00:00:00.5Z"],
        "instant": ["2020-01-01T00:00:00Z", "2020-01-01T06:00:00+07:00"],
        "time": ["10:00:00", "11:00:00"],
        "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml">x</div>', '<div xmlns="http://www.w3.org/1999/xhtml"><script/></div>'],
    }

    def __init__(self, random: Random, literals: list[str]) -> None:
        self.random = random
        self.texts = [*literals, "a", "b", "#a", "http://unitsofmeasure.org"]

    def element(self, type_name: str, depth: int, wanted: set[str]) -> Any:
        definition = tables.type_(type_name)
        if definition.kind == "primitive":
            return self.random.choice(self.POOLS.get(type_name, self.texts))
        if type_name == "Resource":
            return {"resourceType": "Group", "id": self.random.choice("ab")}
        out: dict[str, Any] = {"resourceType": type_name} if definition.kind == "resource" else {}
        taken: set[str] = set()
        for e in definition.elements.values():
            likely = 0.6 if e.path_name in wanted else 0.05
            if depth <= 0 or e.path_name in taken or self.random.random() > (likely / 8 if e.choice else likely):
                continue
            taken.add(e.path_name)
            values = [self.element(e.type, depth - 1, wanted) for _ in range(self.random.choice((1, 1, 2, 3)) if e.array else 1)]
            if tables.type_(e.type).kind == "primitive" and e.name != "id" and self.random.random() < 0.1:
                ext = {"id": "x"}
                out["_" + e.name] = [ext if i == 0 else None for i in range(len(values))] if e.array else ext
                if self.random.random() < 0.5:
                    if not e.array or len(values) == 1:
                        continue
                    values[0] = None
            out[e.name] = values if e.array else values[0]
        return out or {"id": "x"}


def test_generated_python_agrees_with_the_engine_on_random_elements() -> None:
    random = Random(7)
    pairs = {(i.expression, n) for n in tables.type_names() if not tables.type_(n).abstract for i in tables.type_(n).invariants}
    pairs |= {(i.expression, e.type) for n in tables.type_names() for e in tables.type_(n).elements.values() for i in e.invariants}
    seen: Counter[str] = Counter()
    for expression, type_name in sorted(pairs):
        if seen[expression] >= 3:
            continue
        seen[expression] += 1
        words = set(re.findall(r"[A-Za-z]+", expression))
        maker = Maker(random, re.findall(r"'([^']*)'", expression))
        check, engine = predicate(expression, type_name), compile_(CORRECTED.get(expression, expression))
        for _ in range(40):
            element = maker.element(type_name, 4, words)
            home = type_name.partition(".")[0]
            resource = element if home == type_name else maker.element(home, 2, words)
            if not tables.is_resource_type(home):
                resource = maker.element("Patient", 2, words)
            try:
                expected = engine.holds(element, type_name, variables={"resource": resource, "rootResource": resource})
            except FHIRPathError:
                expected = True
            assert check(element, resource, resource) == expected, (expression, type_name, element, resource)
