"""Search parameters that are added at run time."""

from collections.abc import Iterator

import pytest

from fhir_profiles.tables import SearchParam
from health_hub.fhir import index, keys
from health_hub.fhir.outcome import FhirError


@pytest.fixture
def add() -> Iterator[object]:
    before = index.added()
    yield index.add
    for param in index.added():
        if param not in before:
            index.remove(param)


def param(code: str, type_: str, expression: str, base: tuple[str, ...] = ("Patient",), **more: object) -> SearchParam:
    return SearchParam(f"http://x.org/SearchParameter/{code}", code, base, type_, expression, **more)  # type: ignore[arg-type]


R4 = "http://hl7.org/fhir/SearchParameter/"
OBSERVATION = {
    "resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "1"}]}, "subject": {"reference": "Patient/1"},
    "performer": [{"reference": "Practitioner/1"}],
}  # fmt: skip
PATIENT = {
    "resourceType": "Patient", "id": "1", "birthDate": "1990-05-01",
    "name": [{"use": "official", "family": "Lê"}, {"use": "old", "family": "Trần"}],
    "extension": [{"url": "http://x.org/ward", "valueCoding": {"system": "urn:w", "code": "W1"}}],
    "contact": [{"organization": {"reference": "Organization/5"}}],
}  # fmt: skip


@pytest.mark.usefixtures("add")
def test_extension_parameter_goes_by_the_dialect() -> None:
    plain = index.fingerprint()
    before = index.extract(PATIENT)
    index.add(param("ward", "token", "Patient.extension('http://x.org/ward')"))
    p = keys.parameter("Patient", "ward")
    assert p ^ keys.value("t", "urn:w|W1") in index.extract(PATIENT).keys
    assert index.plan("Patient", "ward").p == p  # type: ignore[union-attr]
    assert index.params("Patient")["ward"].code == "ward"
    assert index.fingerprint() != plain
    assert index.fingerprint("Observation") == index.fingerprint("Observation")
    index.remove(index.params("Patient")["ward"])
    assert index.extract(PATIENT) == before
    assert index.fingerprint() == plain


@pytest.mark.usefixtures("add")
def test_full_fhirpath_where_the_dialect_ends() -> None:
    index.add(param("old-name", "string", "Patient.name.where(use = 'old' and family.exists()).family.upper()"))
    index.add(param("names", "number", "Patient.name.count()"))
    index.add(param("born", "date", "Patient.birthDate.first()"))
    index.add(param("org", "reference", "Patient.contact.organization.first()", targets=("Organization",)))
    found = index.extract(PATIENT)
    assert (keys.parameter("Patient", "old-name"), "tran", 3) in found.strings
    assert (keys.parameter("Patient", "names"), 2.0, 2.0, 3) in found.numbers
    assert any(r[0] == keys.parameter("Patient", "born") for r in found.dates)
    assert keys.parameter("Patient", "org") ^ keys.reference("Organization/5") in found.keys
    assert index.references(PATIENT, index.params("Patient")["org"]) == ["Organization/5"]


@pytest.mark.usefixtures("add")
def test_parameter_of_every_type() -> None:
    index.add(param("source-language", "token", "Resource.language", ("Resource",)))
    for name in ("Patient", "Binary"):
        found = index.extract({"resourceType": name, "language": "vi"})
        assert keys.parameter(name, "source-language") ^ keys.value("c", "vi") in found.keys


@pytest.mark.usefixtures("add")
def test_composite_of_added_parts() -> None:
    index.add(param("contact-kin", "token", "Patient.contact.relationship"))
    index.add(param("contact-name", "string", "Patient.contact.name"))
    index.add(param("kin-name", "composite", "Patient.contact", components=(
        ("http://x.org/SearchParameter/contact-kin", "relationship"), ("http://x.org/SearchParameter/contact-name", "name"))))  # fmt: skip
    found = index.extract({"resourceType": "Patient", "contact": [
        {"relationship": [{"coding": [{"code": "M"}]}], "name": {"family": "Lê"}},
        {"relationship": [{"coding": [{"code": "F"}]}]}]})  # fmt: skip
    p = keys.parameter("Patient", "kin-name")
    assert [r[1] for r in found.strings if r[0] == p ^ keys.value("x", "cm")] == ["le"]
    assert not [r for r in found.strings if r[0] == p ^ keys.value("x", "cf")]


@pytest.mark.usefixtures("add")
def test_what_is_stored_for_r4_does_not_depend_on_added_ones() -> None:
    before = {name: index.extract(resource) for name, resource in (("Patient", PATIENT), ("Observation", OBSERVATION))}
    plans = {code: index.plan("Observation", code) for code in index.params("Observation")}
    index.add(param("aaa", "token", "Patient.gender"))
    index.add(param("a-code", "token", "Observation.code", ("Observation",)))
    index.add(param("any", "reference", "Observation.performer | Observation.subject", ("Observation",)))
    assert {name: index.extract(resource) for name, resource in (("Patient", PATIENT), ("Observation", OBSERVATION))} == before
    assert {code: index.plan("Observation", code) for code in plans} == plans
    assert index.plan("Observation", "a-code") == plans["code"]
    assert isinstance(index.plan("Observation", "any"), index.Union)


@pytest.mark.usefixtures("add")
def test_composite_of_several_contexts_is_stored_by_element() -> None:
    index.add(param("code-string", "composite", "Observation | Observation.component", ("Observation",), components=(
        (f"{R4}clinical-code", "code"), (f"{R4}Observation-value-string", "value.as(string)"))))  # fmt: skip
    found = index.extract({**OBSERVATION, "component": [{"code": {"coding": [{"code": "in"}]}, "valueString": "Đỏ"}]})
    p = keys.parameter("Observation", "code-string")
    assert [r[1] for r in found.strings if r[0] == p ^ keys.value("x", "cin")] == ["do"]
    assert not [r for r in found.strings if r[0] == p ^ keys.value("x", "c1")]


@pytest.mark.usefixtures("add")
def test_one_that_fails_on_a_resource_does_not_harm_the_others() -> None:
    index.add(param("fails", "token", "Patient.name.family.single()"))
    index.add(param("endless", "number", "Patient.name.select(1 | 2).repeat($this + 1)"))
    assert keys.parameter("Patient", "family") ^ keys.value("e", "Lê") in index.extract(PATIENT).keys


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (param("x", "token", "Patient.("), "no FHIRPath"),
        (param("x", "token", "Patient.active", ("Nothing",)), "no resource type"),
        (param("x", "token", "Patient.active", ()), "needs a base"),
        (param("x", "token", ""), "needs an expression"),
        (param("name", "string", "Patient.name"), "already"),
        (param("_id", "token", "Resource.id", ("Resource",)), "already"),
        (param("x", "composite", "Patient.contact"), "components"),
        (param("x", "composite", "Patient.contact", components=(("http://nowhere", "a"),)), "no known search parameter"),
    ],
)
def test_what_cannot_be_indexed_is_refused(wrong: SearchParam, why: str) -> None:
    with pytest.raises(FhirError, match=why) as refused:
        index.add(wrong)
    assert refused.value.status == 422
    assert wrong not in index.added()
