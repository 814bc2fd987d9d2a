"""A whole search: modifiers, chains, _has, result parameters, strict and lenient handling, self links."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_profiles import tables
from health_hub.fhir.outcome import FhirError
from health_hub.fhir.search.escape import escape
from health_hub.fhir.search.link import link
from health_hub.fhir.search.parse import forget, parse
from health_hub.fhir.search.query import And, Chain, Has, Include, Or, ReferenceValue, StringValue, TokenValue
from health_hub.fhir.search.query import Test as Asked
from health_hub.fhir.search.split import split_query
from tests.fhir.search_asks import NOW, ZONE, ask, one, refused

OBSERVATION = tables.search_params("Observation")
PATIENT = tables.search_params("Patient")


def test_a_usual_search() -> None:
    query = ask("Observation", "subject=Patient/x&code=http://loinc.org%7C8867-4&_sort=-date,status&_count=20")
    assert query.where == (
        Asked(OBSERVATION["subject"], None, (ReferenceValue("Patient", "x"),)),
        Asked(OBSERVATION["code"], None, (TokenValue("http://loinc.org", "8867-4"),)),
    )
    assert [(s.param.code if s.param else "", s.descending) for s in query.sort] == [("date", True), ("status", False)]
    assert query.count == 20
    assert link(query) == "subject=Patient/x&code=http://loinc.org%7C8867-4&_sort=-date,status&_count=20"


def test_commas_are_alternatives_and_repeats_are_conjunctions() -> None:
    query = ask("Patient", r"given=a,b\,c&given=d")
    assert query.where == (
        Asked(PATIENT["given"], None, (StringValue("a"), StringValue("b,c"))),
        Asked(PATIENT["given"], None, (StringValue("d"),)),
    )
    assert refused("Patient", "given=a,,b")
    assert refused("Patient", "given=a,")


ALLOWED: dict[str, set[str]] = {
    "string": {"exact", "contains", "text", "missing"},
    "token": {"text", "not", "above", "below", "in", "not-in", "of-type", "missing"},
    "reference": {"identifier", "above", "below", "missing", "Patient"},
    "uri": {"above", "below", "missing"},
    "date": {"missing"},
    "number": {"missing"},
    "quantity": {"missing"},
    "composite": set(),
    "special": {"missing"},
}
SAMPLES = {
    "string": ("Patient", "family", "a"),
    "token": ("Patient", "identifier", "s|c"),
    "reference": ("Observation", "subject", "a"),
    "uri": ("ValueSet", "url", "http://a/b"),
    "date": ("Patient", "birthdate", "2000"),
    "number": ("RiskAssessment", "probability", "1"),
    "quantity": ("Observation", "value-quantity", "1"),
    "composite": ("Observation", "code-value-quantity", "a$1"),
    "special": ("Location", "near", "1|1"),
}
MODIFIERS = sorted(set().union(*ALLOWED.values()) | {"Nonsense", "type", "iterate", "Text", "not in"})


@pytest.mark.parametrize("modifier", MODIFIERS)
@pytest.mark.parametrize("kind", sorted(ALLOWED))
def test_each_modifier_fits_the_types_that_r4_gives_it(kind: str, modifier: str) -> None:
    type_, code, text = SAMPLES[kind]
    text = {"missing": "true", "of-type": "s|c|v"}.get(modifier, text)
    query = f"{code}:{modifier}={text}"
    if modifier in ALLOWED[kind]:
        assert one(type_, query)
    else:
        # An unknown modifier changes what is asked: refused even where unknown parameters are not.
        assert modifier in refused(type_, query, strict=False)[0]


def test_missing_is_true_or_false() -> None:
    assert one("Patient", "gender:missing=true") == Asked(PATIENT["gender"], "missing", (), True)
    assert one("Patient", "gender:missing=false") == Asked(PATIENT["gender"], "missing", (), False)
    for text in ("yes", "TRUE", "true,false"):
        assert refused("Patient", f"gender:missing={text}")


def test_text_of_a_string_asks_for_every_word() -> None:
    assert one("Patient", "address:text=hue street,vinh") == Or(
        (
            And(
                (
                    Asked(PATIENT["address"], "contains", (StringValue("hue"),)),
                    Asked(PATIENT["address"], "contains", (StringValue("street"),)),
                )
            ),
            Asked(PATIENT["address"], "contains", (StringValue("vinh"),)),
        )
    )


def test_a_chain_leads_to_every_type_that_has_the_name() -> None:
    node = one("Observation", "subject.name=a")
    assert isinstance(node, Chain)
    assert set(node.types) == {"Patient", "Location"}
    assert one("Observation", "subject:Patient.name=a") == Chain(
        OBSERVATION["subject"], ("Patient",), Asked(PATIENT["name"], None, (StringValue("a"),))
    )


def test_a_long_chain() -> None:
    node: Any = one("Observation", "encounter:Encounter.service-provider.partof.name:exact=Bệnh viện".replace("ệ", "%E1%BB%87"))
    hops = []
    while isinstance(node, Chain):
        hops.append((node.param.code, node.types))
        node = node.where
    assert hops == [("encounter", ("Encounter",)), ("service-provider", ("Organization",)), ("partof", ("Organization",))]
    assert node.modifier == "exact"


def test_a_chain_whose_end_differs_in_kind_is_split_by_type() -> None:
    node = one("Provenance", "target.lot-number=a")
    assert isinstance(node, Or)
    kinds = [part.where.param.type for part in node.parts if isinstance(part, Chain) and isinstance(part.where, Asked)]
    assert sorted(kinds) == ["string", "token"]


def test_chains_of_anything_stay_bounded() -> None:
    assert one("Provenance", "target." * 9 + "_id=1")
    assert refused("Provenance", "target." * 11 + "_id=1")
    assert refused("Observation", "code.name=a")  # a token leads nowhere
    assert refused("Observation", "subject:Encounter.name=a")
    assert refused("Observation", "subject:identifier.name=a")


def test_reverse_chains_nest() -> None:
    node = one("Patient", "_has:Observation:patient:_has:AuditEvent:entity:agent:Practitioner.name=a,b")
    assert isinstance(node, Has)
    assert (node.type, node.param.code) == ("Observation", "patient")
    inner = node.where
    assert isinstance(inner, Has)
    assert (inner.type, inner.param.code) == ("AuditEvent", "entity")
    assert isinstance(inner.where, Chain)


@pytest.mark.parametrize(
    "name",
    [
        "_has:Observation:patient",
        "_has:Nonsense:patient:code",
        "_has:Observation:code:code",
        "_has:Observation:encounter:code",
        "_has:",
        "_has",
        "_has:Observation:patient:",
    ],
)
def test_a_broken_reverse_chain_is_refused(name: str) -> None:
    assert refused("Patient", f"{name}=a")


def test_chain_after_reverse_chain_and_the_other_way_round() -> None:
    node = one("Observation", "subject:Patient._has:Condition:patient:code=x")
    assert isinstance(node, Chain)
    assert isinstance(node.where, Has)


def test_the_unknown_is_ignored_or_refused() -> None:
    query = ask("Patient", "nonsense=1&name=a&subject.nonsense=2&_sort=nonsense,-birthdate&name=&age=5", strict=False)
    assert len(query.where) == 1
    assert [name for name, _ in query.ignored] == ["nonsense", "subject.nonsense", "_sort", "name", "age"]
    assert link(query) == "name=a&_sort=-birthdate"
    reasons = refused("Patient", "nonsense=1&name=a&subject.nonsense=2&_sort=nonsense,-birthdate&name=&age=5")
    assert len(reasons) == 5


def test_every_problem_is_named_at_once() -> None:
    reasons = refused("Patient", "birthdate=x&gender:exact=male&_id=a b&nope=1&_total=all")
    assert [r.split(":")[0] for r in reasons] == [
        "parameter birthdate",
        "parameter gender",
        "parameter _id",
        "parameter _total",
        "parameter nope",
    ]


def test_count() -> None:
    assert ask("Patient", "_count=5000").count == 1000
    assert link(ask("Patient", "_count=5000")) == "_count=1000"
    zero = ask("Patient", "_count=0&_summary=false")
    assert (zero.count, zero.summary) == (0, "count")
    for text in ("1000000000", "-1", "x", "1.0", "٣", "9" * 5000):
        assert "_count" in refused("Patient", f"_count={text}", strict=False)[0]
    assert refused("Patient", "_count=1&_count=2")


def test_result_parameters() -> None:
    query = ask(
        "Patient",
        "_summary=data&_total=accurate&_elements=name,Patient.link&_elements=id&_contained=both&_format=xml&_pretty=true&_totalMethod=x",
    )
    assert (query.summary, query.total, query.elements, query.contained) == ("data", "accurate", ("name", "Patient.link", "id"), "both")
    assert query.ignored == []
    for text in ("_summary=x", "_total=x", "_contained=x", "_elements=a b", "_elements=", "_sort=,", "_sort=--date"):
        assert refused("Patient", text)
    assert refused("Patient", "_summary=text&_include=Patient:organization")


def test_sorting_by_relevance_and_by_what_has_no_order() -> None:
    (score,) = ask("Patient", "_sort=-_score").sort
    assert score.param is None
    assert refused("Observation", "_sort=code-value-quantity")
    assert refused("Patient", "_sort=" + ",".join(f"-{c}" for c in list(PATIENT)[:12]))


def test_includes() -> None:
    query = ask(
        "Observation",
        "_include=Observation:subject&_include=Observation:subject:Patient&_include:iterate=Patient:organization&_revinclude=Provenance:target&_include=*&_include=Observation:*&_include=*",
    )
    subject, target = OBSERVATION["subject"], tables.search_params("Provenance")["target"]
    assert query.includes == (
        Include("Observation", subject, None, False, False),
        Include("Observation", subject, "Patient", False, False),
        Include("Patient", PATIENT["organization"], None, True, False),
        Include("Provenance", target, None, False, True),
        Include("*", None, None, False, False),
        Include("Observation", None, None, False, False),
    )
    for text in (
        "Observation",
        "Nope:subject",
        "Observation:code",
        "Observation:nope",
        "Observation:subject:Nope",
        "Observation:subject:Encounter",
        "Observation:subject:Patient:x",
        "**",
    ):
        assert "_include" in refused("Observation", f"_include={text}")[0]


def test_a_hundred_includes_and_no_more() -> None:
    pairs = [f"_include={t}:*" for t in tables.RESOURCE_TYPES]
    assert ask("Patient", "&".join(pairs[:100]))
    assert refused("Patient", "&".join(pairs))


def test_every_type_and_several_types() -> None:
    assert ask("", "_lastUpdated=gt2020&_tag=a&_text=b").types == ()
    assert "every resource type" in refused("", "name=a")[0]
    query = ask("", "_type=Practitioner,Patient&family=a")
    assert query.types == ("Practitioner", "Patient")
    assert refused("", "_type=Patient,Encounter&family=a")
    assert refused("", "_type=Patient,Nope")
    assert refused("Patient", "_type=Encounter")
    assert parse(("Practitioner", "Patient"), split_query(link(query).encode()), strict=True, zone=ZONE) == query


def test_compartments() -> None:
    query = ask("Observation", "code=x", compartment=("Patient", "1"))
    first = query.where[0]
    assert isinstance(first, Asked)
    assert (first.param.code, first.values) == ("_compartment", (ReferenceValue("Patient", "1"),))
    every = ask("", "", compartment=("Patient", "1"))
    assert "Observation" in every.types
    assert "Patient" in every.types
    assert "Organization" not in every.types
    assert ask("", "_type=Condition", compartment=("Patient", "1")).types == ("Condition",)
    for types, name in (("Organization", "Patient"), ("Observation", "Location")):
        with pytest.raises(FhirError):
            ask(types, "", compartment=(name, "1"))
    assert refused("Observation", "_compartment=Patient/1")


def test_parameters_added_at_run_time_are_found_after_forgetting() -> None:
    added = tables.SearchParam("http://hub.example/SearchParameter/bhyt", "bhyt", ("Patient",), "token", "Patient.identifier")
    assert ask("Patient", "bhyt=1", strict=False).where == ()
    forget()

    def lookup(type_: str) -> dict[str, tables.SearchParam]:
        known = tables.search_params(type_)
        return {**known, "bhyt": added} if type_ == "Patient" else known

    assert ask("Patient", "bhyt=1", lookup=lookup).where == (Asked(added, None, (TokenValue(None, "1"),)),)
    forget()


def test_every_parameter_of_every_type_can_be_asked() -> None:
    text = {"token": "a", "string": "a", "reference": "a", "uri": "a", "date": "2020", "number": "1", "quantity": "1", "special": "1|1"}
    for type_ in tables.RESOURCE_TYPES:
        for code, param in tables.search_params(type_).items():
            if not param.expression and code not in ("_text", "_content", "_list"):
                continue
            value = text.get(param.type) or "$".join(
                text[part.type] for url, _ in param.components if (part := tables.search_param_by_url(url)) is not None
            )
            assert len(ask(type_, f"{code}={value}").where) == 1, (type_, code)


def only_400(error: FhirError) -> None:
    assert error.status == 400
    assert error.issues


# --- properties -------------------------------------------------------------------------------------------------------

words = st.text(min_size=1, max_size=20).filter(lambda t: any(c.isalnum() and c.isascii() for c in t) and "\0" not in t)
codes = words.map(escape)
pairs = st.one_of(
    st.tuples(
        st.sampled_from(["family", "given:exact", "address:contains", "organization.name"]),
        st.lists(codes, min_size=1, max_size=3).map(",".join),
    ),
    st.tuples(
        st.sampled_from(["identifier", "gender:not", "_tag", "_has:Observation:patient:code"]), st.tuples(codes, codes).map("|".join)
    ),
    st.tuples(
        st.sampled_from(["birthdate", "_lastUpdated"]),
        st.sampled_from(["2000", "ge2001-02", "ap1990-01-01", "lt2020-01-01T00:00:00+07:00"]),
    ),
    st.tuples(st.just("general-practitioner"), st.sampled_from(["1", "Practitioner/1", "http://a/Practitioner/1?x=y&z"])),
    st.tuples(st.just("_include"), st.sampled_from(["Patient:organization", "*", "Patient:*"])),
    st.tuples(st.just("_sort"), st.sampled_from(["name", "-birthdate,_id", "_score"])),
    st.tuples(st.just("gender:missing"), st.sampled_from(["true", "false"])),
    st.tuples(st.just("_filter"), st.sampled_from(['name co "a b"', "birthdate ge 2000 and (gender eq male or not (active eq true))"])),
)


@given(st.lists(pairs, max_size=8))
def test_a_self_link_asks_the_same_again(asked: list[tuple[str, str]]) -> None:
    query = parse(("Patient",), asked, strict=True, zone=ZONE, now=NOW)
    again = parse(("Patient",), split_query(link(query).encode()), strict=True, zone=ZONE, now=NOW)
    assert again == query
    assert again.understood == query.understood


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from([*PATIENT, "_has:Observation:patient:code", "_filter", "_sort", "_include", "_elements"]), st.text()),
            st.text(),
        ),
        max_size=4,
    )
)
def test_whatever_is_sent_gives_a_query_or_a_400(asked: list[tuple[str, str]]) -> None:
    try:
        parse(("Patient",), asked, strict=False, zone=ZONE)
    except FhirError as e:
        only_400(e)


@given(
    st.sampled_from(["name", "subject", "patient", "value-quantity", "code-value-quantity", "_filter", "code:in", "date"]),
    st.text(alphabet='aA1 .,$|\\/:"()[]-+eq\x00é'),
)
def test_whatever_value_is_sent_gives_a_query_or_a_400(name: str, text: str) -> None:
    try:
        parse(("Observation",), [(name, text)], strict=True, zone=ZONE)
    except FhirError as e:
        only_400(e)
