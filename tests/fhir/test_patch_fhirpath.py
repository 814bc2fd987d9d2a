"""FHIRPath Patch (R4 fhirpatch.html)."""

import copy
from typing import Any

import pytest

from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import FhirError
from health_hub.fhir.patch import fhirpath_patch

Part = dict[str, Any]


def operation(type_: str, path: str, *, name: str = "", value: Part | None = None, **numbers: int) -> Part:
    """One operation; `value` is the part's own members, `{"valueCode": "male"}`."""
    parts: list[Part] = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    if name:
        parts.append({"name": "name", "valueString": name})
    if value is not None:
        parts.append({"name": "value", **value})
    parts += [{"name": n, "valueInteger": v} for n, v in numbers.items()]
    return {"name": "operation", "part": parts}


def patched(resource: dict[str, Any], *operations: Part) -> dict[str, Any]:
    before = copy.deepcopy(resource)
    try:
        return fhirpath_patch(resource, {"resourceType": "Parameters", "parameter": list(operations)})
    finally:
        assert resource == before


def patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **members}


THREE = [{"system": s} for s in "abc"]


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        (patient(birthDate="1920"), [], patient(birthDate="1920")),
        (patient(), [operation("add", "Patient", name="birthDate", value={"valueDate": "1930-01-01"})], patient(birthDate="1930-01-01")),
        (
            patient(birthDate="1920", gender="male"),
            [operation("replace", "Patient.birthDate", value={"valueDate": "1930"})],
            patient(birthDate="1930", gender="male"),
        ),
        (patient(birthDate="1920"), [operation("delete", "Patient.birthDate")], patient()),
        (patient(), [operation("delete", "Patient.birthDate")], patient()),
        (
            patient(contact=[{"name": {"text": "a"}}]),
            [operation("add", "Patient.contact[0]", name="gender", value={"valueCode": "male"})],
            patient(contact=[{"name": {"text": "a"}, "gender": "male"}]),
        ),
        # What is left empty goes too.
        (
            patient(contact=[{"name": {"text": "a"}, "gender": "male"}]),
            [operation("delete", "Patient.contact.name.text")],
            patient(contact=[{"gender": "male"}]),
        ),
        (patient(contact=[{"name": {"text": "a"}}]), [operation("delete", "Patient.contact[0].name.text")], patient()),
        # Lists
        (
            patient(identifier=THREE[:2]),
            [operation("add", "Patient", name="identifier", value={"valueIdentifier": {"system": "c"}})],
            patient(identifier=THREE),
        ),
        (
            patient(identifier=THREE[1:]),
            [operation("insert", "Patient.identifier", value={"valueIdentifier": {"system": "a"}}, index=0)],
            patient(identifier=THREE),
        ),
        (
            patient(identifier=THREE[:2]),
            [operation("insert", "Patient.identifier", value={"valueIdentifier": {"system": "c"}}, index=2)],
            patient(identifier=THREE),
        ),
        (patient(identifier=THREE), [operation("delete", "Patient.identifier[1]")], patient(identifier=[THREE[0], THREE[2]])),
        (patient(identifier=THREE), [operation("delete", "Patient.identifier.where(system = 'a')")], patient(identifier=THREE[1:])),
        (
            patient(identifier=THREE),
            [operation("move", "Patient.identifier", source=2, destination=0)],
            patient(identifier=[THREE[2], THREE[0], THREE[1]]),
        ),
        (
            patient(identifier=THREE),
            [operation("move", "Patient.identifier", source=0, destination=2)],
            patient(identifier=[THREE[1], THREE[2], THREE[0]]),
        ),
        (
            patient(identifier=THREE),
            [operation("replace", "Patient.identifier[1]", value={"valueIdentifier": {"system": "x"}})],
            patient(identifier=[THREE[0], {"system": "x"}, THREE[2]]),
        ),
        # Each works on what the one before left.
        (
            patient(),
            [
                operation("add", "Patient", name="name", value={"valueHumanName": {"family": "Lê"}}),
                operation("add", "Patient.name[0]", name="given", value={"valueString": "An"}),
                operation("replace", "Patient.name[0].family", value={"valueString": "Lý"}),
            ],
            patient(name=[{"family": "Lý", "given": ["An"]}]),
        ),
        # Anonymous types from parts, as deep as need be
        (
            patient(),
            [
                operation(
                    "add",
                    "Patient",
                    name="contact",
                    value={
                        "part": [
                            {"name": "name", "valueHumanName": {"text": "a"}},
                            {"name": "telecom", "part": [{"name": "value", "valueString": "1"}]},
                        ]
                    },
                )
            ],
            patient(contact=[{"name": {"text": "a"}, "telecom": [{"value": "1"}]}]),
        ),
        (
            {"resourceType": "Observation"},
            [
                operation(
                    "add",
                    "Observation",
                    name="component",
                    value={
                        "part": [{"name": "code", "valueCodeableConcept": {"text": "x"}}, {"name": "value", "valueQuantity": {"value": 1}}]
                    },
                )
            ],
            {"resourceType": "Observation", "component": [{"code": {"text": "x"}, "valueQuantity": {"value": 1}}]},
        ),
        (
            patient(),
            [
                operation(
                    "add",
                    "Patient",
                    name="text",
                    value={"part": [{"name": "status", "valueCode": "empty"}, {"name": "div", "valueString": "<div/>"}]},
                )
            ],
            patient(text={"status": "empty", "div": "<div/>"}),
        ),
        (
            {"resourceType": "Bundle", "type": "collection"},
            [
                operation(
                    "add", "Bundle", name="entry", value={"part": [{"name": "resource", "resource": {"resourceType": "Group", "id": "g"}}]}
                )
            ],
            {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "Group", "id": "g"}}]},
        ),
        # Choices
        (
            {"resourceType": "Observation"},
            [operation("add", "Observation", name="value", value={"valueString": "x"})],
            {"resourceType": "Observation", "valueString": "x"},
        ),
        (
            {"resourceType": "Observation"},
            [operation("add", "Observation", name="value[x]", value={"valueQuantity": {"value": 1}})],
            {"resourceType": "Observation", "valueQuantity": {"value": 1}},
        ),
        (
            {"resourceType": "Observation", "valueString": "x", "status": "final"},
            [operation("replace", "Observation.value", value={"valueQuantity": {"value": 1}})],
            {"resourceType": "Observation", "valueQuantity": {"value": 1}, "status": "final"},
        ),
        # Primitives with extensions
        (
            patient(birthDate="1920"),
            [
                operation(
                    "add",
                    "Patient.birthDate",
                    name="extension",
                    value={"part": [{"name": "url", "valueUri": "u"}, {"name": "value", "valueCode": "c"}]},
                )
            ],
            patient(birthDate="1920", _birthDate={"extension": [{"url": "u", "valueCode": "c"}]}),
        ),
        (
            patient(birthDate="1920", _birthDate={"extension": [{"url": "u", "valueCode": "c"}]}),
            [operation("delete", "Patient.birthDate.extension[0]")],
            patient(birthDate="1920"),
        ),
        (
            patient(_birthDate={"extension": [{"url": "u", "valueCode": "c"}]}),
            [operation("replace", "Patient.birthDate.extension[0].value", value={"valueCode": "d"})],
            patient(_birthDate={"extension": [{"url": "u", "valueCode": "d"}]}),
        ),
        (
            patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "x"}]}]),
            [operation("delete", "Patient.name.given[0]")],
            patient(name=[{"given": ["b"], "_given": [{"id": "x"}]}]),
        ),
        (
            patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "x"}]}]),
            [operation("insert", "Patient.name.given", value={"valueString": "c"}, index=1)],
            patient(name=[{"given": ["a", "c", "b"], "_given": [None, None, {"id": "x"}]}]),
        ),
        (
            patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "x"}]}]),
            [operation("move", "Patient.name.given", source=0, destination=1)],
            patient(name=[{"given": ["b", "a"], "_given": [{"id": "x"}, None]}]),
        ),
        (
            patient(),
            [operation("add", "Patient", name="birthDate", value={"valueDate": "1920", "_valueDate": {"id": "x"}})],
            patient(birthDate="1920", _birthDate={"id": "x"}),
        ),
        (
            patient(name=[{"given": ["a", "b"], "_given": [None, {"extension": [{"url": "u"}]}]}]),
            [operation("insert", "Patient.name.given.extension", value={"part": [{"name": "url", "valueUri": "v"}]}, index=1)],
            patient(name=[{"given": ["a", "b"], "_given": [None, {"extension": [{"url": "u"}, {"url": "v"}]}]}]),
        ),
        (
            patient(_birthDate={"extension": [{"url": "u", "valueCode": "c"}]}),
            [operation("add", "Patient.birthDate.extension.value", name="id", value={"valueString": "x"})],
            patient(_birthDate={"extension": [{"url": "u", "valueCode": "c", "_valueCode": {"id": "x"}}]}),
        ),
        # Contained resources are part of the resource
        (
            patient(contained=[{"resourceType": "Organization", "id": "o"}], managingOrganization={"reference": "#o"}),
            [operation("add", "Patient.managingOrganization.resolve()", name="name", value={"valueString": "Trạm"})],
            patient(contained=[{"resourceType": "Organization", "id": "o", "name": "Trạm"}], managingOrganization={"reference": "#o"}),
        ),
    ],
)
def test_patch(before: dict[str, Any], operations: list[Part], after: dict[str, Any]) -> None:
    found = patched(before, *operations)
    assert found == after
    assert dumps(found) is not None


@pytest.mark.parametrize(
    ("operation_", "status", "why"),
    [
        (operation("add", "Patient.identifier.where(use = 'x').period", name="end", value={"valueDateTime": "2021"}), 422, "finds none"),
        (operation("replace", "Patient.gender", value={"valueCode": "male"}), 422, "finds none"),
        (operation("replace", "Patient.identifier", value={"valueIdentifier": {}}), 422, "finds 3"),
        (operation("delete", "Patient.identifier"), 422, "finds 3"),
        (operation("add", "Patient", name="birthDate", value={"valueDate": "1930"}), 422, "there already"),
        (operation("add", "Patient", name="deceased", value={"valueDateTime": "1930"}), 422, "there already"),
        (operation("add", "Patient", name="gender", value={"valueQuantity": {"value": 1}}), 422, "a code, not a Quantity"),
        (operation("replace", "Patient.birthDate", value={"valueString": "1930"}), 422, "a date, not a string"),
        (operation("add", "Patient", name="nothing", value={"valueString": "x"}), 422, "no element 'nothing'"),
        (operation("add", "Patient", name="gender", value={"part": [{"name": "x", "valueCode": "y"}]}), 422, "not parts"),
        (operation("add", "Patient", name="contact", value={"part": [{"name": "x", "valueCode": "y"}]}), 422, "no element 'x'"),
        (operation("add", "Patient", name="gender", value={"valueCode": "a", "valueString": "b"}), 422, "one value"),
        (operation("add", "Patient", name="gender", value={}), 422, "one value"),
        (operation("add", "Patient", name="maritalStatus", value={"resource": {"resourceType": "Group"}}), 422, "not a resource"),
        (operation("insert", "Patient.identifier", value={"valueIdentifier": {}}, index=4), 422, "beyond"),
        (operation("insert", "Patient.identifier[0]", value={"valueIdentifier": {}}, index=0), 422, "whole list"),
        (operation("insert", "Patient.birthDate", value={"valueDate": "1"}, index=0), 422, "no list"),
        (operation("insert", "Patient.photo", value={"valueAttachment": {}}, index=0), 422, "no element"),
        (operation("move", "Patient.identifier", source=0, destination=3), 422, "within the list"),
        (operation("delete", "Patient"), 422, "itself"),
        (operation("replace", "Patient", value={"resource": {}}), 422, "itself"),
        (operation("add", "Patient.generalPractitioner.resolve()", name="id", value={"valueId": "x"}), 422, "resource itself"),
        (operation("replace", "'a' | 'b'", value={"valueString": "x"}), 422, "resource itself"),
        (operation("delete", "Patient.name.select("), 400, "FHIRPath"),
        (operation("delete", "Patient.unknown()"), 400, "FHIRPath"),
        (operation("merge", "Patient"), 400, "one of add"),
        (operation("add", "Patient", value={"valueCode": "x"}), 400, "needs a part name"),
        (operation("replace", "Patient.gender"), 400, "needs a part value"),
        (operation("insert", "Patient.identifier", value={"valueIdentifier": {}}), 400, "needs a part index"),
        (operation("move", "Patient.identifier", source=-1, destination=0), 400, "integer from 0"),
        (operation("delete", "Patient.birthDate", value={"valueCode": "x"}), 400, "no part 'value'"),
        ({"name": "other"}, 400, "named operation"),
        ({"name": "operation"}, 400, "part type"),
        ({"name": "operation", "part": [{"name": "type"}, {"name": "type"}]}, 400, "name of its own"),
    ],
)
def test_patch_is_refused(operation_: Part, status: int, why: str) -> None:
    before = patient(birthDate="1920", deceasedBoolean=False, identifier=THREE, generalPractitioner=[{"reference": "Practitioner/p"}])
    with pytest.raises(FhirError, match=why) as refused:
        patched(before, operation_)
    assert refused.value.status == status
    assert refused.value.issues[0].diagnostics


def test_nothing_is_applied_if_one_operation_fails() -> None:
    before = patient(birthDate="1920")
    with pytest.raises(FhirError):
        patched(before, operation("delete", "Patient.birthDate"), operation("replace", "Patient.gender", value={"valueCode": "male"}))
    assert before == patient(birthDate="1920")


def test_all_paths_of_a_patch_share_one_budget() -> None:
    before = patient(name=[{"given": ["a"] * 500}])
    costly = operation("delete", "descendants().where(%resource.descendants().count() < 0)")
    with pytest.raises(FhirError) as refused:
        patched(before, *[costly] * 900)
    assert refused.value.issues[0].code == "too-costly"


def test_numbers_keep_their_text() -> None:
    parameters = loads(
        b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
        b'{"name":"path","valueString":"Observation.value.value"},{"name":"value","valueDecimal":1.50}]}]}'
    )
    observation = loads(b'{"resourceType":"Observation","valueQuantity":{"value":1.00,"unit":"g"},"issued":"x"}')
    assert dumps(fhirpath_patch(observation, parameters)) == (
        b'{"resourceType":"Observation","valueQuantity":{"value":1.50,"unit":"g"},"issued":"x"}'
    )


@pytest.mark.parametrize("body", [None, [], {"resourceType": "Patient"}, {"resourceType": "Parameters", "parameter": "x"}])
def test_what_is_no_patch_is_refused(body: Any) -> None:
    with pytest.raises(FhirError) as refused:
        fhirpath_patch(patient(), body)
    assert refused.value.status == 400
