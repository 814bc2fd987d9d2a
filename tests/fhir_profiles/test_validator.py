"""Each kind of mistake gives its issue type at the right element, and nothing else."""

from typing import Any

import pytest

from fhir_profiles.validator import MAX_PROBLEMS, Problem, validate
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError
from health_hub.fhir.validate import check

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">%s</div>'
ANA = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, **more}


def found(resource: Any) -> list[tuple[str, str]]:
    return [(p.code, p.expression) for p in validate(resource)]


VALID = [
    patient(),
    patient(id="a-1.B", meta={"versionId": "1", "lastUpdated": "2024-02-29T10:00:00.123+07:00", "tag": [{"code": "x"}]}),
    patient(birthDate="1990"),
    patient(birthDate="1990-02"),
    patient(_birthDate={"extension": [{"url": "http://x.vn/unknown", "valueBoolean": True}]}),
    patient(birthDate="1990-02-28", _birthDate={"id": "b"}),
    patient(name=[{"given": ["Thị", None], "_given": [None, {"extension": [{"url": "http://x.vn/e", "valueString": "x"}]}]}]),
    patient(name=[{"given": ["Văn", "A"], "_given": [{"id": "g"}, None]}]),
    patient(name=[{"_given": [{"extension": [{"url": "http://x.vn/e", "valueCode": "masked"}]}]}]),
    patient(multipleBirthInteger=2),
    patient(deceasedBoolean=False, _deceasedBoolean={"id": "d"}),
    patient(text={"status": "generated", "div": DIV % "Nguyễn <b>A</b>"}),
    patient(contained=[{"resourceType": "Organization", "id": "o", "name": "Trạm"}], managingOrganization={"reference": "#o"}),
    patient(managingOrganization={"reference": "Organization/1/_history/2"}),
    patient(managingOrganization={"reference": "https://hub.vn/fhir/Organization/1"}),
    patient(managingOrganization={"reference": "urn:uuid:00000000-0000-0000-0000-000000000000"}),
    patient(managingOrganization={"reference": "Organization?identifier=http://x.vn|1"}),
    patient(managingOrganization={"display": "Bệnh viện"}),
    patient(communication=[{"language": {"text": "tiếng Việt"}}]),
    patient(photo=[{"contentType": "image/png", "data": "iVBO Rw0K\nGgo="}]),
    patient(extension=[{"url": "http://x.vn/e", "extension": [{"url": "part", "valueDecimal": 1}]}]),
    observation(valueQuantity={"value": 0, "unit": "kg"}),
    observation(valueTime="10:00:60"),
    observation(effectiveInstant="2020-01-01T00:00:00Z", valueString="  "),
    observation(status="final", _status={"id": "s"}),
    {"resourceType": "Observation", "_status": {"extension": [{"url": "http://x.vn/e", "valueCode": "unknown"}]}, "code": {"text": "x"}},
    {"resourceType": "Parameters"},
    {"resourceType": "Parameters", "parameter": [{"name": "p", "resource": patient()}]},
    {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient"}}]},
    {"resourceType": "Binary", "contentType": "application/pdf"},
]


@pytest.mark.parametrize("resource", VALID)
def test_valid(resource: dict[str, Any]) -> None:
    assert validate(resource) == []


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # Structure
    (patient(nmae=[{"family": "A"}]), "structure", "Patient.nmae"),
    (patient(name=[{"familly": "A"}]), "structure", "Patient.name[0].familly"),
    (patient(fhir_comments=["x"]), "structure", "Patient.fhir_comments"),
    (patient(value="x"), "structure", "Patient.value"),
    (observation(value="x"), "structure", "Observation.value"),
    (observation(valuePatient={"id": "x"}), "structure", "Observation.valuePatient"),
    (patient(name={"family": "A"}), "structure", "Patient.name"),
    (patient(name=[]), "structure", "Patient.name"),
    (patient(name=[{}]), "structure", "Patient.name[0]"),
    (patient(name=[None]), "structure", "Patient.name[0]"),
    (patient(name=["A"]), "structure", "Patient.name[0]"),
    (patient(name=[[{"family": "A"}]]), "structure", "Patient.name[0]"),
    (patient(name=[{"family": ["A"]}]), "structure", "Patient.name[0].family"),
    (patient(name=[{"family": None}]), "structure", "Patient.name[0].family"),
    (patient(name=[{"family": {"value": "A"}}]), "structure", "Patient.name[0].family"),
    (patient(name=[{"given": "A"}]), "structure", "Patient.name[0].given"),
    (patient(name=[{"given": ["A", None]}]), "structure", "Patient.name[0].given[1]"),
    (patient(name=[{"given": ["A", None], "_given": [{"id": "x"}, None]}]), "structure", "Patient.name[0].given[1]"),
    (patient(name=[{"given": ["A"], "_given": [None, {"id": "x"}]}]), "structure", "Patient.name[0].given"),
    (patient(name=[{"given": ["A"], "_given": {"id": "x"}}]), "structure", "Patient.name[0].given"),
    (patient(name=[{"given": ["A"], "_given": ["x"]}]), "structure", "Patient.name[0].given[0]"),
    (patient(birthDate="1990", _birthDate=[{"id": "x"}]), "structure", "Patient.birthDate"),
    (patient(birthDate="1990", _birthDate={}), "structure", "Patient.birthDate"),
    (patient(birthDate="1990", _birthDate=None), "structure", "Patient.birthDate"),
    (patient(birthDate="1990", _birthDate={"value": "x"}), "structure", "Patient.birthDate.value"),
    (patient(_name=[{"id": "x"}]), "structure", "Patient._name"),
    (patient(maritalStatus={}), "structure", "Patient.maritalStatus"),
    (patient(maritalStatus="M"), "structure", "Patient.maritalStatus"),
    (patient(active="true"), "structure", "Patient.active"),
    (patient(active=1), "structure", "Patient.active"),
    (patient(multipleBirthInteger="2"), "structure", "Patient.multipleBirth"),
    (patient(multipleBirthInteger=True), "structure", "Patient.multipleBirth"),
    (patient(birthDate=1990), "structure", "Patient.birthDate"),
    (observation(valueQuantity={"value": "1.0"}), "structure", "Observation.value.value"),
    (patient(deceasedBoolean=True, deceasedDateTime="2020"), "structure", "Patient.deceased"),
    (
        patient(_deceasedDateTime={"extension": [{"url": "http://x.vn/e", "valueId": "x"}]}, deceasedBoolean=True),
        "structure",
        "Patient.deceased",
    ),
    # Cardinality
    ({"resourceType": "Observation", "code": {"text": "x"}}, "required", "Observation.status"),
    ({"resourceType": "Observation", "status": "final"}, "required", "Observation.code"),
    (patient(communication=[{"preferred": True}]), "required", "Patient.communication[0].language"),
    (patient(link=[{"other": {"reference": "Patient/1"}}]), "required", "Patient.link[0].type"),
    (patient(extension=[{"valueString": "x"}]), "required", "Patient.extension[0].url"),
    (
        {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"reference": "Patient/1"}},
        "required",
        "MedicationRequest.medication",
    ),
    # Bindings
    (patient(gender="Male"), "code-invalid", "Patient.gender"),
    (observation(status="done"), "code-invalid", "Observation.status"),
    (patient(name=[{"use": "nick"}]), "code-invalid", "Patient.name[0].use"),
    (patient(contact=[{"name": {"text": "x"}, "gender": "x"}]), "code-invalid", "Patient.contact[0].gender"),
    (observation(valueQuantity={"value": 1, "comparator": "="}), "code-invalid", "Observation.value.comparator"),
    ({"resourceType": "Binary", "contentType": "a b"}, "code-invalid", "Binary.contentType"),
    (
        {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "clinicalStatus": {"coding": [{**ANA, "code": "on"}]}},
        "code-invalid",
        "Condition.clinicalStatus.coding",
    ),
    (
        {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "clinicalStatus": {"text": "active"}},
        "code-invalid",
        "Condition.clinicalStatus",
    ),
    # References
    (patient(managingOrganization={"reference": "Patient/1"}), "value", "Patient.managingOrganization.reference"),
    (patient(managingOrganization={"reference": "http://x.vn/fhir/Patient/1"}), "value", "Patient.managingOrganization.reference"),
    (patient(managingOrganization={"reference": "Organisation/1"}), "value", "Patient.managingOrganization.reference"),
    (patient(managingOrganization={"reference": "Patient?identifier=1"}), "value", "Patient.managingOrganization.reference"),
    (patient(managingOrganization={"type": "Patient", "display": "x"}), "value", "Patient.managingOrganization.type"),
    (patient(generalPractitioner=[{"reference": "Patient/1"}]), "value", "Patient.generalPractitioner[0].reference"),
    (patient(managingOrganization={"reference": "#o"}), "invariant", "Patient.managingOrganization.reference"),
    (
        patient(contained=[{"resourceType": "Patient", "id": "o"}], managingOrganization={"reference": "#o"}),
        "value",
        "Patient.managingOrganization.reference",
    ),
    # Narrative
    (patient(text={"status": "generated"}), "required", "Patient.text.div"),
    (patient(text={"status": "new", "div": DIV % "x"}), "code-invalid", "Patient.text.status"),
    (patient(text={"status": "generated", "div": DIV % "<script>x</script>"}), "invariant", "Patient.text.div"),
    # Contained
    (patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}]), "invariant", "Patient"),  # dom-3
    (
        patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "x", "meta": {"versionId": "1"}}],
            managingOrganization={"reference": "#o"},
        ),
        "invariant",
        "Patient",
    ),  # dom-4
    (patient(contained=[{"id": "o"}]), "required", "Patient.contained[0].resourceType"),
    (patient(contained=[{"resourceType": "Nothing", "id": "o"}]), "structure", "Patient.contained[0].resourceType"),
    (patient(contained=[{}]), "structure", "Patient.contained[0]"),
    (patient(contained={"resourceType": "Patient"}), "structure", "Patient.contained"),
    (
        patient(contained=[{"resourceType": "Patient", "id": "o", "nmae": "x"}], link=[{"type": "refer", "other": {"reference": "#o"}}]),
        "structure",
        "Patient.contained[0].nmae",
    ),
    # Invariants
    (patient(contact=[{"gender": "male"}]), "invariant", "Patient.contact[0]"),  # pat-1
    (patient(telecom=[{"value": "09"}]), "invariant", "Patient.telecom[0]"),  # cpt-2
    (patient(name=[{"id": "x"}]), "invariant", "Patient.name[0]"),  # ele-1
    (patient(_birthDate={"id": "x"}), "invariant", "Patient.birthDate"),  # ele-1
    (patient(extension=[{"url": "http://x.vn/e"}]), "invariant", "Patient.extension[0]"),  # ext-1
    (
        patient(extension=[{"url": "http://x.vn/e", "valueString": "x", "extension": [{"url": "y", "valueCode": "z"}]}]),
        "invariant",
        "Patient.extension[0]",
    ),
    (patient(name=[{"period": {"start": "2020-02", "end": "2020-01"}}]), "invariant", "Patient.name[0].period"),  # per-1
    (
        patient(name=[{"period": {"start": "2020-01-01T08:00:00+07:00", "end": "2020-01-01T00:30:00Z"}}]),
        "invariant",
        "Patient.name[0].period",
    ),
    (observation(valueString="x", dataAbsentReason={"text": "x"}), "invariant", "Observation"),  # obs-6
    (observation(valueQuantity={"value": 1, "code": "kg"}), "invariant", "Observation.value"),  # qty-3
    (observation(referenceRange=[{"type": {"text": "x"}}]), "invariant", "Observation.referenceRange[0]"),  # obs-3
    (
        observation(valueRange={"low": {"value": 2, "unit": "m"}, "high": {"value": 1, "unit": "m"}}),
        "invariant",
        "Observation.value",
    ),  # rng-2
    (observation(valueRange={"low": {"value": 2, "comparator": "<"}}), "invariant", "Observation.value.low"),  # sqty-1
    (
        observation(code={"coding": [{"code": "a"}]}, valueString="x", component=[{"code": {"coding": [{"code": "a"}]}}]),
        "invariant",
        "Observation",
    ),  # obs-7
    ({"resourceType": "Organization"}, "invariant", "Organization"),  # org-1
    ({"resourceType": "Organization", "name": "x", "address": [{"use": "home"}]}, "invariant", "Organization.address[0]"),  # org-2
    # Carried resources
    (
        {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:x:1", "resource": patient(gender="x")}]},
        "code-invalid",
        "Bundle.entry[0].resource.gender",
    ),
    ({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": patient()}]}, "invariant", "Bundle"),  # bdl-3
    ({"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:x:1"}]}, "invariant", "Bundle.entry[0]"),  # bdl-5
    (
        {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:x:1", "resource": patient()}] * 2},
        "invariant",
        "Bundle",
    ),  # bdl-7
    (
        {"resourceType": "Parameters", "parameter": [{"name": "p", "resource": patient(x=1)}]},
        "structure",
        "Parameters.parameter[0].resource.x",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "code", "expression"), REFUSED)
def test_refused(resource: dict[str, Any], code: str, expression: str) -> None:
    assert found(resource) == [(code, expression)]


PRIMITIVES: list[tuple[str, list[str], list[str]]] = [
    # type, JSON that is right, JSON that is wrong
    ("boolean", ["true", "false"], ['"true"', "1", "0", "null", '""', "[]", "{}"]),
    ("integer", ["0", "-1", "2147483647", "-2147483648"], ["2147483648", "-2147483649", "1.0", "1e1", '"1"', "true"]),
    ("unsignedInt", ["0", "2147483647"], ["-1", "2147483648", "0.0"]),
    ("positiveInt", ["1"], ["0", "-1", "1.5"]),
    ("decimal", ["0", "1.00", "-0.1e-3", "1E+5", "0.000000000000000001", "1" * 30], ['"1.0"', "true", "1e301", "1e999999999", "9" * 302]),
    ("string", ['"x"', '" x "', r'"a\tb\r\nc"', '"\u00a0"', '"Nguy\u1ec5n"', r'"\ud83d\ude00"'],
               ['""', r'"a\u0000"', r'"a\u000b"', r'"\u001f"', "1", "null"]),
    ("markdown", [r'"# x\n\n* y"'], ['""', r'"\u0001"']),
    ("code", ['"a"', '"a b"', '"a-b/c"', '"<="'], ['""', '" a"', '"a "', '"a  b"', r'"a\n"', "1"]),
    ("id", ['"a"', '"A-1.b"', f'"{"a" * 64}"'], ['""', '"a_b"', '"a/b"', f'"{"a" * 65}"', '"\u00e1"', '"a "', r'"a\n"']),
    ("uri", ['"http://x.vn/a"', '"urn:uuid:1"', '"x"', '"#a"'], ['""', '"a b"', r'"a\n"', "{}"]),
    ("url", ['"mailto:a@x.vn"'], ['""', '"a b"']),
    ("canonical", ['"http://x.vn/a|1#b"'], ['" "']),
    ("oid", ['"urn:oid:1.2.840"'], ['"1.2.3"', '"urn:oid:3.1"', '"urn:oid:1.02"', '"urn:oid:1"']),
    ("uuid", ['"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"'],
             ['"c757873d-ec9a-4326-a141-556f43239520"', '"urn:uuid:C757873D-EC9A-4326-A141-556F43239520"', '"urn:uuid:1"']),
    ("date", ['"2020"', '"2020-02"', '"2020-02-29"', '"0001-01-01"', '"9999-12-31"', '"2000-02-29"'],
             ['"20"', '"2020-2"', '"2020-02-30"', '"2019-02-29"', '"1900-02-29"', '"2020-04-31"', '"2020-13"', '"2020-00"', '"2020-01-00"',
              '"0000"', '"2020-01-01T00:00:00Z"', '"2020/01/01"', '" 2020"', r'"2020\n"', '"\u0662\u0660\u0662\u0660"', '"-2020"', "2020"]),
    ("dateTime", ['"2020"', '"2020-02"', '"2020-02-29"', '"2020-02-29T23:59:60Z"', '"2020-01-01T00:00:00.123456789-12:00"',
                  '"2020-01-01T00:00:00+14:00"'],
                 ['"2020-01-01T00:00:00"', '"2020-01-01T00:00Z"', '"2020-01-01T24:00:00Z"', '"2020-01-01T00:60:00Z"',
                  '"2020-02-30T00:00:00Z"',
                  '"2020-01-01T00:00:61Z"', '"2020-01-01T00:00:00+15:00"', '"2020-01-01T00:00:00.Z"', '"2020-01-01 00:00:00Z"',
                  '"2020-01-01t00:00:00z"', '"2020-01T00:00:00Z"', '"2020-01-01T"', '"2021-02-29T00:00:00+07:00"']),
    ("instant", ['"2020-02-29T10:00:00Z"', '"2020-02-29T10:00:00.1+07:00"'], ['"2020-02-29"', '"2020"', '"2020-02-29T10:00:00"', '""']),
    ("time", ['"00:00:00"', '"23:59:60"', '"10:00:00.5"'], ['"10:00"', '"24:00:00"', '"10:00:00Z"', '"1:00:00"', '""']),
    ("base64Binary", ['"AAAA"', '"AAA="', '"AA=="', r'"AA\r\nAA"'],
                     ['""', '"A"', '"AAA"', '"AAAAA"', '"AA=A"', '"A*AA"', '"===="', '" "', "1"]),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "text"), [(t, v) for t, right, _ in PRIMITIVES for v in right])
def test_right_primitive(type_name: str, text: str) -> None:
    name = f"value{type_name[0].upper()}{type_name[1:]}"
    assert validate(patient(extension=[{"url": "http://x.vn/e", name: loads(text.encode())}])) == []


@pytest.mark.parametrize(("type_name", "text"), [(t, v) for t, _, wrong in PRIMITIVES for v in wrong])
def test_wrong_primitive(type_name: str, text: str) -> None:
    name = f"value{type_name[0].upper()}{type_name[1:]}"
    problems = found(patient(extension=[{"url": "http://x.vn/e", name: loads(text.encode())}]))
    assert problems in ([("value", "Patient.extension[0].value")], [("structure", "Patient.extension[0].value")])


@pytest.mark.parametrize(
    ("value", "expression"),
    [(None, ""), ([], ""), ("Patient", ""), ({}, "resourceType"), ({"resourceType": "X"}, "resourceType"),
     ({"resourceType": None}, "resourceType"), ({"resourceType": ["Patient"]}, "resourceType"),
     ({"resourceType": "Resource"}, "resourceType"),
     ({"resourceType": "DomainResource"}, "resourceType"), ({"resourceType": "HumanName", "family": "x"}, "resourceType")],
)  # fmt: skip
def test_what_is_no_resource_at_all(value: Any, expression: str) -> None:
    assert [p.expression for p in validate(value)] == [expression]


def test_another_type_than_expected() -> None:
    assert [(p.code, p.expression) for p in validate(patient(), expected_type="Observation")] == [("invalid", "Patient.resourceType")]


def test_every_problem_is_named_at_once() -> None:
    resource = patient(
        id="a b", gender="x", birthDate="2020-02-30", nmae=1, name=[{"family": 1}, {"use": "y"}], contact=[{"gender": "male"}]
    )
    assert found(resource) == [
        ("value", "Patient.id"),
        ("code-invalid", "Patient.gender"),
        ("value", "Patient.birthDate"),
        ("structure", "Patient.nmae"),
        ("structure", "Patient.name[0].family"),
        ("code-invalid", "Patient.name[1].use"),
        ("invariant", "Patient.contact[0]"),
    ]


def test_messages_say_what_is_wrong_and_what_is_wanted() -> None:
    [unknown, gender] = validate(patient(brithDate="1990", gender="M"))
    assert unknown.message == "Patient has no element 'brithDate'; is it birthDate?"
    assert gender.message == "'M' is not a code of http://hl7.org/fhir/ValueSet/administrative-gender: female, male, other, unknown"


def test_warnings_are_found_only_when_asked_for() -> None:
    assert validate(patient()) == []
    [problem] = validate(patient(), warnings=True)
    assert (problem.severity, problem.message.partition(":")[0]) == ("warning", "dom-6")


def test_resources_in_a_bundle_can_be_left_to_whoever_takes_them_out() -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:x:1", "resource": patient(gender="x")}]}
    assert validate(bundle, entries=False) == []
    assert len(validate(bundle)) == 1


def test_contained_resources_refer_to_each_other_and_to_their_container() -> None:
    practitioner = {"resourceType": "Practitioner", "id": "p"}
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#p"}}
    assert validate(patient(contained=[practitioner, role], generalPractitioner=[{"reference": "#r"}])) == []
    person = {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "#"}}
    assert validate(patient(contained=[person])) == []


def test_a_reference_inside_a_bundle_entry_looks_into_its_own_resource_only() -> None:
    inside = {"resourceType": "Organization", "id": "o", "name": "x"}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": "urn:x:1", "resource": patient(contained=[inside], managingOrganization={"reference": "#o"})},
            {"fullUrl": "urn:x:2", "resource": patient(managingOrganization={"reference": "#o"})},
        ],
    }
    assert found(bundle) == [("invariant", "Bundle.entry[1].resource.managingOrganization.reference")]


def test_no_more_than_200_problems_and_it_says_so() -> None:
    problems = validate(patient(name=[{"x": 1}] * 10_000))
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == Problem("too-costly", "error", "more than 200 problems; the rest was not looked at", "")


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        (patient(nmae=1), 400),
        (patient(birthDate="x"), 400),
        ({"resourceType": "Observation"}, 400),
        (patient(gender="x", nmae=1), 400),
        (patient(gender="x"), 422),
        (patient(contact=[{"gender": "male"}]), 422),
    ],
)
def test_status_is_400_for_form_and_422_for_content(resource: dict[str, Any], status: int) -> None:
    with pytest.raises(FhirError) as e:
        check(resource)
    assert e.value.status == status
    assert all(i.expression for i in e.value.issues)


def test_a_valid_resource_passes_the_check() -> None:
    check(patient(), expected_type="Patient")
