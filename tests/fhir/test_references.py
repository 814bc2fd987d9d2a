"""References and links of a resource: what they name, where they stand, how they are rewritten."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_profiles import tables
from health_hub.fhir import references
from health_hub.fhir.references import Conditional, Literal

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


def texts(slots: list[references.Slot]) -> list[str]:
    return [text for _, _, text in slots]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", Literal("", "Patient", "1", None, "")),
        ("Patient/1/_history/3", Literal("", "Patient", "1", "3", "")),
        ("Patient/1#name", Literal("", "Patient", "1", None, "#name")),
        ("http://example.org/fhir/Patient/1", Literal("http://example.org/fhir/", "Patient", "1", None, "")),
        (
            "https://example.org:8443/a/b/Patient/a.b-c/_history/2#x",
            Literal("https://example.org:8443/a/b/", "Patient", "a.b-c", "2", "#x"),
        ),
    ],
)
def test_a_literal_reference_is_taken_apart(text: str, expected: Literal) -> None:
    assert references.literal(text) == expected
    assert expected.reference == f"Patient/{expected.id}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#p1",
        URN,
        "urn:oid:1.2.3",
        "Patient",
        "Nonsense/1",
        "Patient/" + "x" * 65,
        "Patient/a_b",
        "Patient/1/",
        "patient/1",
        "Patient/1\n",
    ],
)
def test_what_is_no_literal_reference_is_none(text: str) -> None:
    assert references.literal(text) is None


def test_a_conditional_reference_is_a_type_and_a_query() -> None:
    text = "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9999999839&active=true"
    assert references.conditional(text) == Conditional(
        "", "Practitioner", "identifier=http://hl7.org/fhir/sid/us-npi|9999999839&active=true", ""
    )
    assert references.conditional("http://example.org/fhir/Patient?_id=1#x") == Conditional(
        "http://example.org/fhir/", "Patient", "_id=1", "#x"
    )
    assert references.conditional("Nonsense?identifier=1") is None
    assert references.conditional("Patient/1") is None


def test_split_takes_version_and_fragment_off() -> None:
    assert references.split(f"{URN}/_history/2#a") == (URN, "/_history/2", "#a")
    assert references.split("Patient/1#a/_history/2") == ("Patient/1", "", "#a/_history/2")


def test_names_that_are_never_links_are_none_in_the_definitions() -> None:
    for name in tables.type_names():
        for element in tables.type_(name).elements.values():
            assert element.name not in references.NEVER_LINKS or element.type not in ("uri", "url")


def resource() -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": "d",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN}">x</a><img src=\'{URN}\' alt="{URN}"/></div>',
        },
        "contained": [{"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": URN}}],
        "extension": [
            {"url": "http://example.org/e", "valueReference": {"reference": f"{URN}#part"}},
            {"url": "http://example.org/e", "valueUri": URN},
            {"url": "http://example.org/e", "valueCanonical": URN},
            {"url": "http://example.org/e", "valueString": URN},
            {"url": "http://example.org/e", "valueUuid": URN},
            {"url": URN, "valueBoolean": True},
        ],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}],
        "_date": {"extension": [{"url": "http://example.org/e", "valueUrl": URN}]},
        "subject": {"reference": "#p", "display": URN},
        "author": [{"reference": "Practitioner?identifier=1"}, {"reference": "Practitioner/7"}, {"reference": f"{URN}/_history/4"}],
        "content": [{"attachment": {"url": URN}}],
    }


def test_find_gives_every_reference_contained_ones_too() -> None:
    assert sorted(texts(references.find(resource()))) == sorted(
        [URN, f"{URN}#part", "#p", "Practitioner?identifier=1", "Practitioner/7", f"{URN}/_history/4"]
    )


def test_slots_are_references_uris_and_narratives_that_name_something() -> None:
    found, uris, narratives = references.slots(resource(), {URN: None})
    assert sorted(texts(found)) == sorted([URN, f"{URN}#part", "Practitioner?identifier=1", f"{URN}/_history/4"])
    # A canonical, a string and a display are no links; a uuid could not hold `Type/id`; Extension.url names the extension.
    assert sorted(key for _, key, _ in uris) == ["url", "valueUri", "valueUrl"]
    assert len(narratives) == 1


def test_the_url_of_a_definition_is_its_name_and_no_link() -> None:
    url = "http://example.org/fhir/ValueSet/1"
    value_set = {"resourceType": "ValueSet", "url": url, "compose": {"include": [{"system": url, "valueSet": [url]}]}}
    _, uris, _ = references.slots(value_set, {url: None})
    assert [(holder is value_set, key) for holder, key, _ in uris] == [(False, "system")]


def test_uris_in_lists_are_links() -> None:
    plan = {"resourceType": "CarePlan", "instantiatesUri": ["http://example.org/x", URN], "instantiatesCanonical": [URN]}
    _, uris, _ = references.slots(plan, {URN: None})
    assert [(key, references.path(plan, slot)) for slot in uris for _, key, _ in [slot]] == [(1, "instantiatesUri[1]")]
    references.fill(uris[0], "PlanDefinition/1")
    assert plan["instantiatesUri"] == ["http://example.org/x", "PlanDefinition/1"]


def test_a_path_says_where_a_slot_stands() -> None:
    r = resource()
    found, uris, _ = references.slots(r, {URN: None})
    assert {references.path(r, s) for s in found + uris} == {
        "contained[0].managingOrganization.reference",
        "extension[0].valueReference.reference",
        "extension[1].valueUri",
        "_date.extension[0].valueUrl",
        "author[0].reference",
        "author[2].reference",
        "content[0].attachment.url",
    }


def test_a_narrative_keeps_every_letter_but_the_links() -> None:
    text = f"<div><a  href = \"{URN}\">{URN} &amp; &lt;</a><img alt='{URN}' SRC='{URN}'/><a href='http://x/?a=1&amp;b=2'>y</a></div>"
    seen: list[str] = []

    def new(url: str) -> str | None:
        seen.append(url)
        return "Patient/1" if url == URN else None

    assert references.rewrite_narrative(text, new) == (
        f"<div><a  href = \"Patient/1\">{URN} &amp; &lt;</a><img alt='{URN}' SRC='Patient/1'/><a href='http://x/?a=1&amp;b=2'>y</a></div>"
    )
    assert seen == [URN, URN, "http://x/?a=1&b=2"]


def test_what_names_nothing_known_is_left_alone() -> None:
    r = resource()
    before = copy.deepcopy(r)
    found, uris, _ = references.slots(r, {})
    assert not uris
    # A urn is looked at because it must not be left over; a search because it must be resolved.
    assert sorted(texts(found)) == sorted([URN, f"{URN}#part", "Practitioner?identifier=1", f"{URN}/_history/4"])
    assert r == before


def test_unknown_types_and_elements_are_no_obstacle() -> None:
    odd = {"resourceType": "Nonsense", "a": URN, "b": [{"c": URN}], "contained": [{"resourceType": "X", "url": URN}]}
    assert references.slots(odd, {URN: None}) == ([], [], [])
    patient = {"resourceType": "Patient", "nonsense": {"url": URN}, "link": [{"other": {"reference": URN}}]}
    found, uris, _ = references.slots(patient, {URN: None})
    assert (texts(found), uris) == ([URN], [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(URN),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["reference", "url", "div", "a", "extension", "resourceType"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=6), json_values, max_size=5))
def test_any_json_can_be_walked(value: dict[str, Any]) -> None:
    found, _, _ = references.slots(value, {URN: None})
    for slot in found + references.find(value):
        assert references.path(value, slot)
