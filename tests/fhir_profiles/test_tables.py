"""The compact tables say what the official package says."""

import subprocess
import sys

import pytest

from fhir_profiles import build, tables
from tests.fhir_profiles import definitions

CHILDREN_OF_ANY = {"id", "extension"}


def test_there_are_146_resource_types_in_a_fixed_order() -> None:
    assert len(tables.RESOURCE_TYPES) == 146
    assert list(tables.RESOURCE_TYPES) == sorted(tables.RESOURCE_TYPES)
    # Databases hold these numbers.
    assert [tables.type_number(n) for n in ("Account", "Observation", "Patient", "VisionPrescription")] == [1, 96, 103, 146]
    assert all(tables.type_name(tables.type_number(n)) == n for n in tables.RESOURCE_TYPES)
    for number in (0, -1, 147):
        with pytest.raises(KeyError):
            tables.type_name(number)


def test_the_tables_are_what_build_makes_of_the_package(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    package = str(definitions.path(definitions.PACKAGE))
    committed = {p.name: p.read_bytes() for p in build.OUT.glob("*.json")}
    monkeypatch.setattr(build, "OUT", tmp_path)
    build.main(package)
    assert {p.name: p.read_bytes() for p in build.OUT.glob("*.json")} == committed


def test_every_element_has_a_known_type() -> None:
    names = set(tables.type_names())
    for name in names:
        for json_name, element in tables.type_(name).elements.items():
            assert element.type in names, f"{name}.{json_name}"
            assert element.name == json_name
            assert set(element.targets) <= set(tables.RESOURCE_TYPES)


def test_a_choice_is_one_element_for_each_type() -> None:
    observation = tables.type_("Observation")
    assert observation.choices["value"]["Quantity"] == "valueQuantity"
    value = observation.elements["valueDateTime"]
    assert (value.path_name, value.type, value.choice, value.max) == ("value", "dateTime", True, 1)
    assert len(tables.type_("Extension").choices["value"]) == 50


def test_elements_come_in_the_order_of_the_definition_with_the_base_first() -> None:
    names = list(tables.type_("Patient").elements)
    assert names[:9] == ["id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension", "identifier"]
    assert list(tables.type_("Observation.component").elements)[:4] == ["id", "extension", "modifierExtension", "code"]


@pytest.mark.parametrize(
    ("type_name", "element", "expected"),
    [
        ("Patient", "name", ("HumanName", 0, None)),
        ("Patient", "birthDate", ("date", 0, 1)),
        ("Patient", "id", ("id", 0, 1)),
        ("Extension", "url", ("uri", 1, 1)),
        ("Questionnaire.item", "item", ("Questionnaire.item", 0, None)),
        ("Bundle.entry", "resource", ("Resource", 0, 1)),
        ("Patient", "contained", ("Resource", 0, None)),
        ("Narrative", "div", ("xhtml", 1, 1)),
    ],
)
def test_element(type_name: str, element: str, expected: tuple[str, int, int | None]) -> None:
    found = tables.type_(type_name).elements[element]
    assert (found.type, found.min, found.max) == expected


def test_summary_and_modifier_flags() -> None:
    observation = tables.type_("Observation").elements
    assert observation["status"].modifier
    assert observation["status"].summary
    assert not observation["note"].summary


def test_reference_targets() -> None:
    assert tables.type_("Patient").elements["managingOrganization"].targets == ("Organization",)
    assert tables.type_("Observation").elements["focus"].targets == ()  # Reference(Any)


def test_invariants_include_those_of_the_base() -> None:
    assert {i.key for i in tables.type_("Observation").invariants} >= {"dom-2", "dom-3", "obs-6", "obs-7"}
    assert {i.key for i in tables.type_("Age").invariants} == {"ele-1", "qty-3", "age-1"}
    assert [i.key for i in tables.type_("Organization").elements["address"].invariants] == ["org-2"]


def test_is_a_follows_the_bases() -> None:
    assert tables.is_a("Age", "Quantity")
    assert tables.is_a("code", "string")
    assert tables.is_a("Patient", "DomainResource")
    assert not tables.is_a("Bundle", "DomainResource")


def test_search_parameters_of_a_type_include_those_of_every_type() -> None:
    found = tables.search_params("Patient")
    assert {"name", "birthdate", "general-practitioner", "_id", "_lastUpdated", "_tag", "_text", "_list", "_type"} <= set(found)
    assert "_text" not in tables.search_params("Bundle")  # no DomainResource
    assert found["_id"] is tables.search_params("Observation")["_id"]
    # One definition for several types is one object.
    assert found["birthdate"] is tables.search_params("Person")["birthdate"]
    assert found["birthdate"] is tables.search_param_by_url("http://hl7.org/fhir/SearchParameter/individual-birthdate")


def test_every_search_parameter_of_the_package_is_there() -> None:
    missing = []
    for name, resource in definitions.package():
        if resource["resourceType"] == "SearchParameter" and "base" in resource and not name.startswith("SearchParameter-example"):
            found = tables.search_param_by_url(resource["url"])
            if found is None or (found.code, found.base, found.type) != (resource["code"], tuple(resource["base"]), resource["type"]):
                missing.append(name)
    assert missing == []


def test_composites_name_definitions_that_exist() -> None:
    composites = [p for t in tables.RESOURCE_TYPES for p in tables.search_params(t).values() if p.type == "composite"]
    assert composites
    for param in composites:
        assert len(param.components) >= 2
        for url, expression in param.components:
            assert tables.search_param_by_url(url), url
            assert expression


def test_compartments_name_search_parameters_that_exist() -> None:
    assert tables.compartments() == ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")
    assert tables.compartment("Patient")["Observation"] == ("subject", "performer")
    for name in tables.compartments():
        for member, codes in tables.compartment(name).items():
            assert set(codes) <= {*tables.search_params(member), "{def}"}, (name, member)


def test_value_sets_list_their_codes() -> None:
    status = tables.value_set_codes("http://hl7.org/fhir/ValueSet/observation-status|4.0.1")
    assert status is not None
    assert ("http://hl7.org/fhir/observation-status", "final") in status
    assert len(status) == 8
    assert tables.value_set_codes("http://hl7.org/fhir/ValueSet/ucum-units") is None
    assert tables.value_set_codes("http://example.org/unknown") is None
    assert tables.is_value_set("http://hl7.org/fhir/ValueSet/mimetypes")


def test_value_sets_with_filters_and_exclusions_are_expanded() -> None:
    acts = tables.value_set_codes("http://terminology.hl7.org/ValueSet/v3-ActEncounterCode")
    assert acts is not None
    assert {"AMB", "EMER", "IMP", "ACUTE"} <= {c for _, c in acts}


def test_value_sets_of_required_bindings_can_be_listed_but_for_a_few() -> None:
    bound = {e.binding for n in tables.type_names() for e in tables.type_(n).elements.values() if e.binding}
    assert {url.rpartition("/")[2] for url in bound if tables.value_set_systems(url) is None} == {
        "currencies",
        "mimetypes",
        "ucum-units",
        "LL379-9",
    }


def test_code_hierarchies() -> None:
    children = tables.code_children("http://terminology.hl7.org/CodeSystem/v3-ActMood")
    assert children["_ActMoodCompletionTrack"] == ("_ActMoodPotential", "EVN", "INT")
    assert tables.code_children("http://hl7.org/fhir/administrative-gender") == {}
    assert tables.code_children("http://loinc.org") == {}


def test_displays() -> None:
    assert tables.display("http://hl7.org/fhir/administrative-gender", "female") == "Female"
    assert tables.display("http://hl7.org/fhir/administrative-gender", "nobody") is None
    assert tables.display("http://snomed.info/sct", "1") is None


def test_operations() -> None:
    everything = next(o for o in tables.operations() if o.url.endswith("/Patient-everything"))
    assert (everything.code, everything.resources, everything.system, everything.type, everything.instance) == (
        "everything",
        ("Patient",),
        False,
        True,
        True,
    )
    assert ("_since", "in", 0, "1", "instant") in everything.parameters


def test_unknown_names_are_key_errors() -> None:
    for name in ("Patinet", "", "patient", "Patient.name"):
        with pytest.raises(KeyError):
            tables.type_(name)


def test_importing_reads_no_table_but_the_names() -> None:
    code = "import fhir_profiles.tables as t; print(t._table.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "1"
