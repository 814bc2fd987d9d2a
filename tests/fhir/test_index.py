"""What extraction leaves for one resource, in the words of the standard."""

import json
from typing import Any

import pytest

from fhir_profiles import tables
from health_hub.fhir import index, keys
from health_hub.fhir.dates import span
from health_hub.fhir.index import APART, LARGEST, NUMBER_MAX, NUMBER_MIN, SMALLEST, Composite, Direct, Restricted, Rows, Union
from health_hub.fhir.json import loads
from health_hub.fhir.search.query import MICROSECOND_MAX, MICROSECOND_MIN

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


def rows(**resource: Any) -> Rows:
    return index.extract(loads(json.dumps({"resourceType": resource.pop("type_", "Observation"), **resource}).encode()))


def has(found: Rows, code: str, form: str, text: str, type_: str = "Observation") -> bool:
    return keys.parameter(type_, code) ^ keys.value(form, text) in found.keys


def refers(found: Rows, code: str, target: str, type_: str = "Observation") -> bool:
    return keys.parameter(type_, code) ^ keys.reference(target) in found.keys


def p(code: str, type_: str = "Observation") -> int:
    return keys.parameter(type_, code)


def coding(code: str, system: str | None = LOINC, display: str | None = None) -> dict[str, Any]:
    return {"coding": [{k: v for k, v in (("system", system), ("code", code), ("display", display)) if v}]}


# -- every parameter


def test_every_parameter_of_every_type_is_compiled_by_the_dialect() -> None:
    count = 0
    for name in tables.RESOURCE_TYPES:
        for code, param in tables.search_params(name).items():
            plan = index.plan(name, code)
            count += 1
            if isinstance(plan, Direct):
                assert plan.types, (name, code, param.expression)
            if isinstance(plan, Union | Composite):
                assert plan.of if isinstance(plan, Union) else len(plan.parts) == len(param.components) > 1
    assert count > 3500


def test_no_definition_of_the_package_is_left_out() -> None:
    served = {param.url for name in tables.RESOURCE_TYPES for param in tables.search_params(name).values()}
    urls = {url for url in served if tables.search_param_by_url(url)}
    # 1,400 less 10 stubs without a base or expression, 2 examples that repeat real ones, and with 3 of the standard's prose.
    assert len(urls) >= 1388


def test_parameters_in_disguise_are_not_stored_twice() -> None:
    assert isinstance(index.plan("Observation", "patient"), Restricted)
    assert isinstance(index.plan("Observation", "combo-code"), Union)
    phonetic = index.plan("Patient", "phonetic")
    assert isinstance(phonetic, Direct)
    assert phonetic.p == p("name", "Patient")
    with pytest.raises(KeyError):
        index.plan("Observation", "nothing")


# -- tokens


def test_coding_has_forms_with_and_without_system() -> None:
    found = rows(code={**coding("8302-2", display="Body Height"), "text": "Chiều cao"})
    for form, text in (("t", f"{LOINC}|8302-2"), ("c", "8302-2"), ("s", LOINC), ("p", "")):
        assert has(found, "code", form, text)
    assert not has(found, "code", "n", "8302-2")
    assert {r[:2] for r in found.strings} == {(p("code:text"), "body height"), (p("code:text"), "chieu cao")}
    assert has(rows(code=coding("x", system=None)), "code", "n", "x")


def test_codes_compare_without_case_and_identifiers_exactly() -> None:
    found = rows(code=coding("AbC"), identifier=[{"system": "urn:mrn", "value": "aB1", "type": coding("MR", "urn:v2")}])
    assert has(found, "code", "c", "abc")
    assert has(found, "identifier", "t", "urn:mrn|aB1")
    assert not has(found, "identifier", "c", "ab1")
    assert has(found, "identifier", "o", "urn:v2|MR|aB1")


def test_code_element_has_the_system_of_its_binding() -> None:
    found = rows(status="final")
    assert has(found, "status", "t", "http://hl7.org/fhir/observation-status|final")
    assert has(found, "status", "c", "final")
    assert not has(found, "status", "n", "final")


def test_contact_point_has_use_and_system() -> None:
    found = rows(type_="Patient", telecom=[{"system": "phone", "use": "mobile", "value": "0912"}])
    for text in ("mobile|0912", "phone|0912"):
        assert has(found, "telecom", "t", text, "Patient")
        assert has(found, "phone", "t", text, "Patient")
    assert not has(found, "email", "p", "", "Patient")


@pytest.mark.parametrize(
    ("patient", "deceased"),
    [({}, "false"), ({"deceasedBoolean": False}, "false"), ({"deceasedBoolean": True}, "true"), ({"deceasedDateTime": "2020"}, "true")],
)
def test_deceased_is_true_for_a_date_of_death(patient: dict[str, Any], deceased: str) -> None:
    assert has(rows(type_="Patient", **patient), "deceased", "c", deceased, "Patient")


# -- references


def test_local_reference_loses_its_version_and_the_own_base() -> None:
    index.set_base("https://hub.example/fhir")
    try:
        for target in ("Patient/1", "Patient/1/_history/3", "https://hub.example/fhir/Patient/1"):
            found = rows(subject={"reference": target})
            assert refers(found, "subject", "Patient/1")
            assert has(found, "subject", "T", "Patient")
            assert refers(found, "_compartment", "Patient/1")
    finally:
        index.set_base("")


def test_other_urls_stay_as_they_are() -> None:
    found = rows(subject={"reference": "http://other/fhir/Patient/1"})
    assert refers(found, "subject", "http://other/fhir/Patient/1")
    assert has(found, "subject", "T", "Patient")
    found = rows(subject={"reference": "urn:uuid:0", "type": "Patient"})
    assert refers(found, "subject", "urn:uuid:0")
    assert has(found, "subject", "T", "Patient")


def test_contained_target_is_present_and_typed_but_not_found_by_name() -> None:
    found = rows(contained=[{"resourceType": "Patient", "id": "a"}], subject={"reference": "#a"})
    assert has(found, "subject", "p", "")
    assert has(found, "subject", "T", "Patient")
    assert not refers(found, "subject", "#a")


def test_reference_by_identifier() -> None:
    found = rows(subject={"identifier": {"system": "urn:mrn", "value": "M1"}})
    assert has(found, "subject:identifier", "t", "urn:mrn|M1")
    assert has(found, "subject", "p", "")


def test_canonical_is_found_with_and_without_version() -> None:
    found = rows(type_="Measure", library=["http://x.org/Library/a|1.0"], meta={"profile": ["http://x.org/p|2"]})
    assert refers(found, "depends-on", "http://x.org/Library/a", "Measure")
    assert has(found, "depends-on", "v", "http://x.org/Library/a|1.0", "Measure")
    assert has(found, "_profile", "u", "http://x.org/p", "Measure")
    assert has(found, "_profile", "v", "http://x.org/p|2", "Measure")


def test_resource_is_in_its_own_compartment() -> None:
    assert refers(rows(type_="Patient", id="7"), "_compartment", "Patient/7", "Patient")


# -- ordered values


def test_dates_of_periods_and_timings() -> None:
    found = rows(effectivePeriod={"start": "2020-01-02"})
    assert found.dates == [(p("date"), span("2020-01-02")[0], MICROSECOND_MAX, SMALLEST | LARGEST)]
    found = rows(effectivePeriod={"end": "2020"})
    assert found.dates[0][1:3] == (MICROSECOND_MIN, span("2020")[1])
    found = rows(
        effectiveTiming={"event": ["2020-03-01", "2020-01-01"], "repeat": {"boundsPeriod": {"start": "2020-02-01", "end": "2020-05-01"}}}
    )
    assert found.dates[0][1:3] == (span("2020-01-01")[0], span("2020-05-01")[1])


def test_flags_tell_the_rows_to_sort_by() -> None:
    found = rows(type_="Patient", name=[{"family": "Bùi", "given": ["An", "Chi"]}])
    flags = {text: f for q, text, f in found.strings if q == p("name", "Patient")}
    assert flags == {"an": SMALLEST, "bui": 0, "chi": LARGEST}


def test_quantity_in_its_own_and_in_canonical_units() -> None:
    found = rows(valueQuantity={"value": 120, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"})
    q, low, high, code, unit, canon, clow, chigh, _ = found.quantities[0]
    assert (q, low, high, code, unit) == (p("value-quantity"), 120, 120, keys.value("c", "mm[Hg]"), keys.value("c", "mmHg"))
    assert clow == chigh == 15998640.0
    assert canon == index.forms.unit(UCUM, "kPa")[0]


@pytest.mark.parametrize(
    ("comparator", "low", "high"), [("<", NUMBER_MIN, 5), ("<=", NUMBER_MIN, 5), (">", 5, NUMBER_MAX), (">=", 5, NUMBER_MAX)]
)
def test_comparator_opens_an_end(comparator: str, low: float, high: float) -> None:
    found = rows(valueQuantity={"value": 5, "comparator": comparator, "system": UCUM, "code": "mg"})
    assert found.quantities[0][1:3] == (low, high)
    assert found.quantities[0][6:8] == (low if low == NUMBER_MIN else 0.005, high if high == NUMBER_MAX else 0.005)


def test_sampled_data_is_found_by_value_quantity_but_not_by_its_composite() -> None:
    data = {"origin": {"value": 10, "system": UCUM, "code": "mV"}, "period": 1, "factor": 2, "dimensions": 1, "data": "1 2 E -3"}
    found = rows(valueSampledData=data)
    assert found.quantities[0][1:3] == (4, 14)
    assert found.quantities[0][-1] & APART
    assert not rows(valueQuantity={"value": 1}).quantities[0][-1] & APART
    plan = index.plan("Observation", "code-value-quantity")
    assert isinstance(plan, Composite)
    assert [part.apart for part in plan.parts] == [False, True]


def test_money_has_its_currency() -> None:
    found = rows(type_="Invoice", totalNet={"value": 150000, "currency": "VND"})
    row = next(r for r in found.quantities if r[0] == p("totalnet", "Invoice"))
    assert row[5] == index.forms.unit("urn:iso:std:iso:4217", "VND")[0]


def test_numbers_beyond_a_float_are_held_at_its_end() -> None:
    found = index.extract(
        loads(b'{"resourceType":"Observation","valueQuantity":{"value":1e999999999,"system":"http://unitsofmeasure.org","code":"mg"}}')
    )
    assert all(NUMBER_MIN <= x <= NUMBER_MAX for x in (*found.quantities[0][1:3], *found.quantities[0][6:8]))


def test_position() -> None:
    assert rows(type_="Location", position={"latitude": 21.03, "longitude": 105.85}).positions == [(p("near", "Location"), 21.03, 105.85)]


# -- composites


def test_component_composite_joins_within_one_component() -> None:
    found = rows(component=[
        {"code": coding("8480-6"), "valueQuantity": {"value": 140, "system": UCUM, "code": "mm[Hg]"}},
        {"code": coding("8462-4"), "valueQuantity": {"value": 90, "system": UCUM, "code": "mm[Hg]"}},
    ])  # fmt: skip
    q = p("component-code-value-quantity")
    values = {(form, code): [r[1] for r in found.quantities if r[0] == q ^ keys.value("x", form + code)]
              for form, code in (("c", "8480-6"), ("t", f"{LOINC}|8462-4"), ("c", "8462-4"))}  # fmt: skip
    assert values == {("c", "8480-6"): [140.0], ("t", f"{LOINC}|8462-4"): [90.0], ("c", "8462-4"): [90.0]}


def test_composite_of_tokens_is_a_key() -> None:
    found = rows(component=[{"code": coding("a"), "valueCodeableConcept": coding("b", None)}])
    assert has(found, "component-code-value-concept", "x", f"t{LOINC}|a$nb")
    assert not has(found, "component-code-value-concept", "x", "cb$ca")


def test_composite_of_a_code_and_a_reference() -> None:
    found = rows(type_="DocumentReference", relatesTo=[{"code": "replaces", "target": {"reference": "DocumentReference/1/_history/2"}}])
    assert has(found, "relationship", "x", "creplaces$rDocumentReference/1", "DocumentReference")


def test_several_ordered_parts_share_an_ordinal() -> None:
    found = rows(type_="MolecularSequence", referenceSeq={"chromosome": coding("1"), "windowStart": 1, "windowEnd": 9},
                 variant=[{"start": 2, "end": 3}, {"start": 5, "end": 7}])  # fmt: skip
    q = p("chromosome-variant-coordinate", "MolecularSequence") ^ keys.value("x", "c1")
    starts = {r[3] >> index.ORDINAL: r[1] for r in found.numbers if r[0] == q}
    ends = {r[3] >> index.ORDINAL: r[1] for r in found.numbers if r[0] == q ^ 1}
    assert sorted((starts[n], ends[n]) for n in starts) == [(2, 3), (5, 7)]


# -- texts


def test_names_fold_for_prefixes_and_keep_for_exact() -> None:
    found = rows(type_="Patient", name=[{"text": "Đặng Thị Ánh", "family": "Đặng", "given": ["Thị", "Ánh"]}])
    assert {t for q, t, _ in found.strings if q == p("name", "Patient")} == {"dang thi anh", "dang", "thi", "anh"}
    assert has(found, "family", "e", "Đặng", "Patient")
    assert not has(found, "family", "e", "dang", "Patient")


def test_words_of_the_narrative_and_of_everything_else() -> None:
    found = rows(text={"status": "generated", "div": "<div>Sốt <b>xuất</b>&nbsp;huyết<!-- no --></div>"}, note=[{"text": "nặng, sốt"}])
    assert all(has(found, "_text", "w", w) for w in ("sot", "xuat", "huyet"))
    assert not has(found, "_text", "w", "no")
    assert has(found, "_content", "w", "nang")
    assert not has(found, "_text", "w", "nang")
    # _content looks under both, so a word of the narrative is not repeated.
    assert not has(found, "_content", "w", "sot")
    assert index.plan("Observation", "_content").p == (p("_text"), p("_content"))  # type: ignore[union-attr]


def test_words_have_a_limit() -> None:
    found = rows(note=[{"text": " ".join(f"w{i}" for i in range(5000))}])
    assert len(found.keys) <= index.WORDS + 10


# -- references of a resource


def test_references_by_parameter() -> None:
    resource = {
        "resourceType": "Observation", "subject": {"reference": "Patient/1/_history/2"}, "performer": [{"reference": "Practitioner/2"}],
        "contained": [{"resourceType": "Device", "id": "d", "owner": {"reference": "Organization/9"}}], "device": {"reference": "#d"},
        "extension": [{"url": "x", "valueReference": {"reference": "Group/3"}}],
    }  # fmt: skip
    params = tables.search_params("Observation")
    assert index.references(resource, params["subject"]) == ["Patient/1"]
    assert index.references(resource, params["patient"]) == ["Patient/1"]
    assert index.references({**resource, "subject": {"reference": "Group/1"}}, params["patient"]) == []
    assert sorted(index.references(resource)) == ["Patient/1", "Practitioner/2"]
    assert sorted(index.all_references(resource)) == ["Group/3", "Organization/9", "Patient/1", "Practitioner/2"]


def test_all_references_are_references_only() -> None:
    resource = {"resourceType": "Immunization", "education": [{"reference": "http://leaflet"}], "patient": {"reference": "Patient/1"}}
    assert index.all_references(resource) == ["Patient/1"]


def test_references_of_wrong_shape_are_none() -> None:
    params = tables.search_params("Observation")
    for subject in ("x", 5, [], {"reference": 5}, None):
        assert index.references({"resourceType": "Observation", "subject": subject}, params["subject"]) == []
