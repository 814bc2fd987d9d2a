"""Whatever is sent, a validation ends soon and says something that can be stored and shown."""

import time
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_profiles.tables import RESOURCE_TYPES, type_
from fhir_profiles.validator import MAX_PROBLEMS, validate
from fhir_profiles.validator.shape import shape
from health_hub.fhir.json import dumps, loads
from tests.fhir_profiles import definitions

BIG = 1024 * 1024


def nested(depth: int, inner: str, key: str) -> Any:
    return loads(f'{{{inner},"{key}":['.encode() * depth + f"{{{inner}}}".encode() + b"]}" * depth)


def hostile() -> Iterator[tuple[str, Any]]:
    def patient(**more: Any) -> dict[str, Any]:
        return {"resourceType": "Patient", **more}

    yield "a million empty objects", patient(name=[{}] * BIG)
    yield "a million nulls", patient(name=[{"given": [None] * BIG}])
    yield "a million codes", patient(meta={"profile": ["http://x.vn"] * BIG})
    yield "a million unknown elements", patient(**{f"x{i}": i for i in range(BIG // 4)})
    yield "a long unknown element", patient(**{"x" * BIG: 1})
    yield "a long string", patient(name=[{"family": "x" * (16 * BIG)}])
    yield "a long id", patient(id="a" * BIG)
    yield "a long date", patient(birthDate="2" * BIG)
    yield "a long reference", patient(managingOrganization={"reference": "http://" + "A/" * BIG})
    yield "a long word reference", patient(managingOrganization={"reference": "A" * BIG})
    yield "a long code", patient(language="a " * BIG)
    yield "long base64", patient(photo=[{"contentType": "image/png", "data": "AAAA" * BIG}])
    yield "spaced base64", patient(photo=[{"contentType": "image/png", "data": "A " * BIG}])
    yield "many decimals", {"resourceType": "Observation", "valueSampledData": {"data": "E " * BIG}}
    yield "a long decimal", patient(extension=[{"url": "x", "valueDecimal": loads(b"1." + b"0" * BIG)}])
    yield "a large exponent", patient(extension=[{"url": "x", "valueDecimal": loads(b"1e" + b"9" * 1000)}])
    yield "many contained", patient(contained=[{"resourceType": "Basic", "id": f"b{i}", "code": {"text": "x"}} for i in range(20_000)])
    yield (
        "many references to contained",
        patient(
            contained=[{"resourceType": "Organization", "id": f"o{i}", "name": "x"} for i in range(5000)],
            generalPractitioner=[{"reference": f"#o{i}"} for i in range(5000)],
        ),
    )
    yield "many answers", {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [{"linkId": "x"}] * 50_000}
    yield "many items with one linkId", {
        "resourceType": "Questionnaire", "status": "draft", "item": [{"linkId": str(i), "type": "string"} for i in range(20_000)],
    }  # fmt: skip
    yield "many codes in a system", {
        "resourceType": "CodeSystem", "status": "draft", "content": "complete", "concept": [{"code": str(i)} for i in range(50_000)],
    }  # fmt: skip
    yield "many codings", {
        "resourceType": "Observation", "status": "final", "valueString": "x", "code": {"coding": [{"code": str(i)} for i in range(20_000)]},
        "component": [{"code": {"coding": [{"code": f"x{i}"}]}} for i in range(20_000)],
    }  # fmt: skip
    yield "deep items", {"resourceType": "Questionnaire", "status": "draft", "item": [nested(90, '"linkId":"1","type":"group"', "item")]}
    yield "deep extensions", patient(extension=[nested(90, '"url":"x"', "extension")])
    yield "deep contained", nested(90, '"resourceType":"Patient"', "contained")


def test_hostile_resources_are_judged_soon() -> None:
    for name, resource in hostile():
        start = time.process_time()
        problems = validate(resource)
        assert time.process_time() - start < 30, name
        assert len(problems) <= MAX_PROBLEMS + 1, name
        assert all(len(p.message) < 6000 and len(p.expression) < 4000 for p in problems), name


def test_nesting_beyond_any_stack_is_a_problem_not_a_crash() -> None:
    resource: dict[str, Any] = {"resourceType": "Patient"}
    extension: dict[str, Any] = {"url": "x", "valueString": "x"}
    for _ in range(5000):
        extension = {"url": "x", "extension": [extension]}
    resource["extension"] = [extension]
    assert "nested too deeply" in validate(resource)[-1].message


def test_every_combination_of_properties_does_not_fill_the_memory() -> None:
    names = [n for n in type_("HumanName").elements if n not in ("id", "extension", "given", "prefix", "suffix", "period", "use")]
    names += ["given", "prefix", "suffix"]
    for i in range(1, 6000):
        name: dict[str, Any] = {n: (["x"] if n in ("given", "prefix", "suffix") else "x") for b, n in enumerate(names) if i >> b & 1}
        validate({"resourceType": "Patient", "name": [name or {"text": "x"}]})
    assert len(shape("HumanName").verdicts) <= 4096


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([loads(b"1.0"), loads(b"-1e9")]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RESOURCE_TYPES), st.data())
def test_any_json_under_real_names_is_judged(name: str, data: st.DataObject) -> None:
    properties = data.draw(st.dictionaries(st.sampled_from(sorted(shape(name).fields or shape(name)._build())), JSON, max_size=6))
    problems = validate({**properties, "resourceType": name})
    assert all(p.code and p.message and p.severity == "error" for p in problems)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, but the type of a resource."""
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if key != "resourceType":
            yield (*at, key)
            yield from places(child, (*at, key))


def test_any_damage_to_a_real_resource_is_found() -> None:
    """At every place of one resource of each type: what is no FHIR there gives a problem at that place or above it."""
    by_type = {}
    for line in definitions.synthea_lines():
        by_type.setdefault(line["resourceType"], line)
    checked = 0
    for resource in by_type.values():
        for place in places(resource):
            for damage in (None, [], {}, "", [[]], {"x": 1}, [None]):
                damaged = loads(dumps(resource))
                parent = damaged
                for step in place[:-1]:
                    parent = parent[step]
                parent[place[-1]] = damage
                problems = validate(damaged)
                assert problems, (resource["resourceType"], place, damage)
                checked += 1
    assert checked > 3000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_json_in_the_place_of_a_real_value_is_judged(data: st.DataObject) -> None:
    resource = loads(dumps(data.draw(st.sampled_from(SAMPLES))))
    place = data.draw(st.sampled_from(list(places(resource))))
    parent = resource
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = data.draw(JSON)
    for problem in validate(resource):
        assert problem.expression.startswith(resource["resourceType"])


SAMPLES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "name": [{"given": ["A"], "_given": [{"id": "x"}]}], "contact": [{"name": {"text": "x"}}],
     "contained": [{"resourceType": "Organization", "id": "o", "name": "x"}], "managingOrganization": {"reference": "#o"}},
    {"resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "a"}]}, "valueQuantity": {"value": loads(b"1.0")},
     "component": [{"code": {"coding": [{"code": "b"}]}}], "effectivePeriod": {"start": "2020", "end": "2021"}},
    {"resourceType": "Bundle", "type": "transaction", "entry": [{"fullUrl": "urn:x:1", "resource": {"resourceType": "Patient"},
     "request": {"method": "POST", "url": "Patient"}}]},
    {"resourceType": "Questionnaire", "status": "draft", "item": [{"linkId": "1", "type": "group", "item": [
     {"linkId": "2", "type": "string", "enableWhen": [{"question": "1", "operator": "=", "answerInteger": 1}]}]}]},
    {"resourceType": "StructureDefinition", "url": "http://x.vn/s", "name": "S", "status": "draft", "kind": "logical", "abstract": False,
     "type": "S", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Element",
     "differential": {"element": [{"id": "S", "path": "S", "min": 0, "max": "1"}, {"id": "S.a", "path": "S.a", "max": "*"}]}},
]  # fmt: skip
