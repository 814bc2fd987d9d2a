"""The engine around the language: nodes, primitives' extensions, hooks, variables, strict reading, limits."""

import time
from typing import Any

import pytest

from fhir_profiles import tables
from health_hub.fhir.fhirpath import FHIRPathError, Hooks, Node, compile_
from health_hub.fhir.json import loads

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Trạm"}],
    "name": [{"given": ["Minh", None], "_given": [None, {"extension": [{"url": "u", "valueString": "x"}]}]}],
    "_birthDate": {"extension": [{"url": "v", "valueDateTime": "1954-02-03T01:02:03Z"}]},
    "deceasedBoolean": False,
    "managingOrganization": {"reference": "#o"},
}


def test_nodes_know_type_and_place() -> None:
    found = compile_("name.given | deceased").nodes(PATIENT)
    assert [(n.value, n.type, n.path) for n in found] == [
        ("Minh", "string", "Patient.name[0].given[0]"),
        (None, "string", "Patient.name[0].given[1]"),
        (False, "boolean", "Patient.deceasedBoolean"),
    ]
    assert found[0].keys == ("name", 0, "given", 0)


def test_computed_values_have_system_types() -> None:
    assert [n.type for n in compile_("1 | 'a' | 1.5 | true | @2020 | 1 'mg'").nodes(PATIENT)] == [
        "System.Integer", "System.String", "System.Decimal", "System.Boolean", "System.Date", "System.Quantity",
    ]  # fmt: skip


def test_a_primitive_may_have_extensions_only() -> None:
    assert compile_("birthDate.exists() and birthDate.hasValue().not()")(PATIENT) == [True]
    assert compile_("birthDate.extension('v').value")(PATIENT) == ["1954-02-03T01:02:03Z"]
    assert compile_("name.given.count()")(PATIENT) == [2]
    assert compile_("name.given.select(hasValue())")(PATIENT) == [True, False]


def test_numbers_keep_their_value_not_their_text() -> None:
    observation = loads(b'{"resourceType":"Observation","valueQuantity":{"value":1.00}}')
    assert compile_("value.value = 1")(observation) == [True]
    assert bytes(compile_("value.value")(observation)[0]) == b"1.00"


def test_resolve_finds_contained_resources_and_types_of_others() -> None:
    assert compile_("managingOrganization.resolve().name")(PATIENT) == ["Trạm"]
    observation = {"resourceType": "Observation", "subject": {"reference": "http://other/fhir/Patient/1/_history/2"}}
    assert compile_("subject.where(resolve() is Patient).exists()")(observation) == [True]
    assert compile_("subject.where(resolve() is Group).exists()")(observation) == [False]


def test_resolve_asks_the_hook() -> None:
    asked: list[str] = []

    def resolve(reference: str, node: Node | None) -> Any:
        asked.append(reference)
        return Node({"resourceType": "Patient", "id": "b"}, "Patient", None, None, "", -1)

    observation = {"resourceType": "Observation", "subject": {"reference": "Patient/b"}}
    assert compile_("subject.resolve().id")(observation, hooks=Hooks(resolve=resolve)) == ["b"]
    assert asked == ["Patient/b"]


def test_member_of_and_conforms_to_ask_their_hooks() -> None:
    hooks = Hooks(member_of=lambda node, url: url == "v", conforms=lambda node, url: None)
    assert compile_("id.memberOf('v')")(PATIENT, hooks=hooks) == [True]
    assert compile_("conformsTo('p')")(PATIENT, hooks=hooks) == []


def test_variables_are_given_by_name() -> None:
    assert compile_("%x + 1")(PATIENT, variables={"x": 4}) == [5]
    assert compile_("%resource.id")({"family": "N"}, "HumanName", variables={"resource": PATIENT}) == ["a"]


def test_an_element_needs_its_type() -> None:
    assert compile_("family", context_type="HumanName")({"family": "N"}) == ["N"]
    with pytest.raises(ValueError, match="type"):
        compile_("family")({"family": "N"})


@pytest.mark.parametrize(
    ("expression", "type_name"),
    [
        ("nmae", "Patient"),
        ("Encounter.status", "Patient"),
        ("name.first().givn", "Patient"),
        ("name.where(us = 'x')", "Patient"),
        ("valueQuantity", "Observation"),
        ("(value as Patient).id", "Observation"),
        ("children().first()", "Patient"),
        ("component.where(code.cding.exists())", "Observation"),
    ],
)
def test_strict_reading_refuses_what_finds_nothing(expression: str, type_name: str) -> None:
    compile_(expression, context_type=type_name)
    with pytest.raises(FHIRPathError) as refused:
        compile_(expression, context_type=type_name, strict=True)
    assert refused.value.kind == "semantic"


def test_every_search_parameter_reads_strictly() -> None:
    count = 0
    for name in tables.RESOURCE_TYPES:
        for param in tables.search_params(name).values():
            parts = [p for p in param.expression.split(" | ") if p.startswith((name + ".", f"({name}."))]
            for part in parts:
                if part.count("(") == part.count(")"):
                    compile_(part, context_type=name, strict=True)
                    count += 1
            if param.expression:
                compile_(param.expression).items({"resourceType": name})
    assert count > 1600


BIG = {"resourceType": "Patient", "name": [{"given": [f"a{i}", "b"], "text": "a" * 40 + "!"} for i in range(500)]}
HOSTILE = [
    "(" * 5000 + "1" + ")" * 5000,
    "1" + "+1" * 3000,
    "a" + ".a" * 5000,
    "-" * 5000 + "1",
    "not(" * 200 + "true" + ")" * 200,
    "'" + "a" * 50_000 + "'",
    "%resource.descendants().select(%resource.descendants()).select(%resource.descendants()).count()",
    "descendants().where($this.select(%resource.descendants()).where($this.select(%resource.descendants()).exists(id = 'x')).exists())",
    "repeat($this | children() | descendants()).repeat(%resource.descendants())",
    "(1 | 2).repeat($this + 1)",
    "'a'.repeat($this & $this)",
    "descendants().aggregate($total & $total & 'aaaaaaaaaa', 'x')",
    "descendants().aggregate($total.combine($total), 1)",
    "name.text.select(matches('(?=(a+)+$)'))",
    "name.text.select(replaceMatches('(a+)+$', 'x'))",
    "name.text.select(matches('((a{1,100}){1,100}){1,100}$'))",
    "name.text.first().replace('', name.text.first()).replace('', name.text.first()).replace('', name.text.first())",
    "|".join(["descendants()"] * 1000),
]


@pytest.mark.parametrize("expression", HOSTILE, ids=[h[:50] for h in HOSTILE])
def test_hostile_expressions_end(expression: str) -> None:
    start = time.process_time()
    with pytest.raises(FHIRPathError) as refused:
        compile_(expression).items(BIG)
    assert refused.value.kind == "limit"
    assert time.process_time() - start < 30


def test_numbers_beyond_sense_are_empty() -> None:
    for expression in (
        "2147483647.power(2147483647)", "9.9.power(999999999.5)", "99999999999999999999.0.exp()", "10.power(1000000).toInteger()",
        "@2020-01-01 + 999999999999 years", "@2020 + 99999999999999999999999 'd'",
    ):  # fmt: skip
        assert compile_(expression)(PATIENT) == [], expression
    observation = loads(
        b'{"resourceType":"Observation","valueQuantity":{"value":1e999999999,"system":"http://unitsofmeasure.org","code":"g"}}'
    )
    assert compile_("value = 1 'mg'")(observation) == [False]
    assert compile_("value.value = 1")(observation) == [False]
    for expression in ("-value.value", "value.value + 1", "value.value.truncate()", "value.value < 1", "value.value.round(2)"):
        with pytest.raises(FHIRPathError):
            compile_(expression)(observation)
