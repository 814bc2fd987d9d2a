"""Odd ends of search: rarer types, chains over canonicals, the edges of the calendar (R4 search.html, datatypes.html)."""

from typing import Any

import pytest

from tests.conformance.asking import Asking, observation, patient

UCUM = "http://unitsofmeasure.org"


async def test_chains_and_includes_over_canonicals(ask: Asking) -> None:
    await ask.put(
        {"resourceType": "Questionnaire", "id": "q", "status": "active", "url": "http://q.vn/q", "version": "1", "name": "SangLoc"},
        {"resourceType": "QuestionnaireResponse", "id": "plain", "status": "completed", "questionnaire": "http://q.vn/q"},
        {"resourceType": "QuestionnaireResponse", "id": "version", "status": "completed", "questionnaire": "http://q.vn/q|1"},
        {"resourceType": "QuestionnaireResponse", "id": "other", "status": "completed", "questionnaire": "http://q.vn/other"},
    )
    assert await ask.found("QuestionnaireResponse?questionnaire.name=sangloc") == "plain version"
    assert await ask.included("QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire") == {"Questionnaire/q"}
    assert await ask.included("Questionnaire?_revinclude=QuestionnaireResponse:questionnaire") == {
        "QuestionnaireResponse/plain",
        "QuestionnaireResponse/version",
    }
    assert await ask.found("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=completed") == "q"


async def test_chains_with_modifiers(ask: Asking) -> None:
    await ask.put(
        patient("m", gender="male", name=[{"family": "Lê"}]),
        patient("f", gender="female", birthDate="1990"),
        observation("om", subject={"reference": "Patient/m"}),
        observation("of", subject={"reference": "Patient/f"}),
        observation("none"),
        {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/f"}},
    )
    assert await ask.found("Observation?subject._id=m") == "om"
    assert await ask.found("Observation?subject:Patient._id=m,f") == "of om"
    assert await ask.found("Observation?patient.gender:not=male") == "of"
    assert await ask.found("Observation?patient.birthdate:missing=true") == "om"
    assert await ask.found("Observation?patient.family:exact=Lê") == "om"
    assert await ask.found("Observation?patient._lastUpdated=gt2020") == "of om"
    assert await ask.found("Observation?patient._has:Encounter:patient:status=finished") == "of"
    assert await ask.found("Patient?_has:Observation:patient:_id=om") == "m"
    assert await ask.found("Patient?_has:Observation:patient:code:not=8867-4") == ""
    assert await ask.found("Patient?_id:not=m") == "f"
    assert await ask.found("Patient?_id=m&_id=f") == ""
    assert await ask.found("Patient?_lastUpdated=lt2020,gt2021") == "f m"


async def test_timing_age_duration_and_ranges(ask: Asking) -> None:
    age = {"value": 40, "unit": "tuổi", "system": UCUM, "code": "a"}
    who = {"reference": "Patient/1"}
    await ask.put(
        {"resourceType": "Condition", "id": "age", "subject": who, "onsetAge": age},
        {
            "resourceType": "Condition",
            "id": "range",
            "subject": who,
            "onsetRange": {"low": age | {"value": 30}, "high": age | {"value": 35}},
        },
        {"resourceType": "Condition", "id": "date", "subject": who, "onsetDateTime": "2020-05"},
        {"resourceType": "Condition", "id": "text", "subject": who, "onsetString": "lúc nhỏ"},
        {
            "resourceType": "Encounter",
            "id": "e",
            "status": "finished",
            "class": {"code": "AMB"},
            "length": {"value": 90, "system": UCUM, "code": "min", "unit": "min"},
        },
        {
            "resourceType": "ServiceRequest",
            "id": "t",
            "status": "active",
            "intent": "order",
            "subject": who,
            "occurrenceTiming": {"event": ["2024-03-01", "2024-03-10"]},
        },
        {
            "resourceType": "ServiceRequest",
            "id": "b",
            "status": "active",
            "intent": "order",
            "subject": who,
            "occurrenceTiming": {"repeat": {"boundsPeriod": {"start": "2024-05-01", "end": "2024-06-01"}}},
        },
        {"resourceType": "RiskAssessment", "id": "r", "status": "final", "subject": who, "prediction": [{"probabilityDecimal": 0.9}]},
    )
    assert await ask.found(f"Condition?onset-age=40|{UCUM}|a") == "age"
    assert await ask.found(f"Condition?onset-age=gt32|{UCUM}|a") == "age range"
    assert await ask.found(f"Condition?onset-age=lt480|{UCUM}|mo") == "range"
    assert await ask.found("Condition?onset-date=2020") == "date"
    assert await ask.found("Condition?onset-info=luc") == "text"
    assert await ask.found(f"Encounter?length=1.50|{UCUM}|h") == "e"
    assert await ask.found("ServiceRequest?occurrence=ge2024-03-05&occurrence=lt2024-04") == "t"
    assert await ask.found("ServiceRequest?occurrence=2024-03") == "t"
    assert await ask.found("ServiceRequest?occurrence=2024-05-15") == ""
    assert await ask.found("ServiceRequest?occurrence=ge2024-05-15") == "b"
    assert await ask.found("RiskAssessment?probability=gt0.8") == "r"
    assert await ask.found("RiskAssessment?probability=0.90") == "r"
    assert await ask.found("RiskAssessment?probability=1") in ("", "r")


async def test_composites_of_other_types(ask: Asking) -> None:
    concept = {"coding": [{"system": "http://snomed.info/sct", "code": "260373001"}]}
    await ask.put(
        observation("concept", valueCodeableConcept=concept),
        observation("string", valueString="Dương tính"),
        observation("date", valueDateTime="2024-01-01"),
        observation("period", valuePeriod={"start": "2024-02-01", "end": "2024-02-03"}),
        {
            "resourceType": "Group",
            "id": "g",
            "type": "person",
            "actual": True,
            "characteristic": [
                {"code": {"coding": [{"code": "sex"}]}, "valueCodeableConcept": {"coding": [{"code": "m"}]}, "exclude": False},
                {"code": {"coding": [{"code": "age"}]}, "valueBoolean": True, "exclude": False},
            ],
        },
    )
    assert await ask.found("Observation?code-value-concept=http://loinc.org|8867-4$http://snomed.info/sct|260373001") == "concept"
    assert await ask.found("Observation?code-value-string=8867-4$duong") == "string"
    assert await ask.found("Observation?code-value-date=8867-4$2024-01") == "date"
    assert await ask.found("Observation?value-date=ge2024-02-02") == "period"
    assert await ask.found("Observation?combo-value-concept=260373001") == "concept"
    assert await ask.found("Group?characteristic-value=sex$m") == "g"
    assert await ask.found("Group?characteristic-value=age$m") == ""
    assert await ask.found("Group?characteristic-value=age$true") == "g"


@pytest.mark.parametrize(
    "when", ["0001-01-01", "9999-12-31", "9999", "0001", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2016-12-31T23:59:60Z"]
)
async def test_the_edges_of_the_calendar(ask: Asking, when: str) -> None:
    await ask.put(observation("edge", effectiveDateTime=when), observation("period", effectivePeriod={"start": when}))
    query = when.replace("+", "%2B")
    assert await ask.found(f"Observation?date={query}") == "edge"
    assert await ask.found(f"Observation?date=ge{query}") == "edge period"
    assert await ask.found(f"Observation?date=sa{query}") == ""
    assert await ask.found(f"Observation?date=eb{query}") == ""
    assert sorted(await ask.ids("Observation?_sort=-date&_count=1")) == ["edge", "period"]
    assert await ask.status(f"Observation?date=ap{query}") == 200


async def test_provenance_of_versions(ask: Asking) -> None:
    agent = [{"who": {"reference": "Practitioner/dr"}}]
    await ask.put(
        patient("1"),
        patient("1", active=True),
        {
            "resourceType": "Provenance",
            "id": "p",
            "target": [{"reference": "Patient/1/_history/1"}],
            "recorded": "2024-01-01T00:00:00Z",
            "agent": agent,
        },
    )
    assert await ask.found("Provenance?target=Patient/1") == "p"
    assert await ask.found("Provenance?target=Patient/1/_history/1") == "p"
    assert await ask.included("Patient?_id=1&_revinclude=Provenance:target") == {"Provenance/p"}


async def test_system_wide_parameters(ask: Asking) -> None:
    await ask.put(patient("1", meta={"tag": [{"code": "x"}]}), observation("o", meta={"tag": [{"code": "x"}]}), observation("p"))
    assert await ask.found("?_tag=x") == "1 o"
    assert await ask.found("?_tag=x&_type=Observation") == "o"
    assert await ask.found("?_tag:not=x") == "p"
    assert await ask.ids("?_tag=x&_sort=-_id&_count=1") == ["o", "1"]
    assert await ask.ids("?_sort=-_lastUpdated&_count=1") == ["p", "o", "1"]


async def test_text_modifiers_and_escapes(ask: Asking) -> None:
    await ask.put(
        observation("a", code={"coding": [{"system": "http://x|y", "code": "a,b$c"}]}),
        observation("b", code={"coding": [{"system": "http://x", "code": "a b"}]}),
        patient(
            "p",
            identifier=[{"system": "urn:oid:1.2", "value": r"back\slash"}],
            name=[{"given": ["Ánh", "Nguyệt"]}],
            address=[{"text": "12 Lê Lợi, Huế"}],
        ),
    )
    assert await ask.found(r"Observation?code=http://x\|y|a\,b\$c") == "a"
    assert await ask.found("Observation?code=a b") == "b"
    assert await ask.found("Observation?code=a%20b") == "b"
    assert await ask.found(r"Patient?identifier=urn:oid:1.2|back\\slash") == "p"
    assert await ask.found("Patient?address=12 le loi") == "p"
    assert await ask.found("Patient?address:contains=huế") == "p"
    assert await ask.found("Patient?name:text=nguyệt ánh") == "p"
    assert await ask.found("Patient?given:exact=Ánh") == "p"
    assert await ask.found("Patient?given:exact=Anh") == ""
    assert await ask.found("Patient?phonetic=anh") == "p"


async def test_repeated_parameters_are_and_commas_are_or(ask: Asking) -> None:
    await ask.put(
        patient("a", name=[{"given": ["An"]}], birthDate="1980-01-01"),
        patient("b", name=[{"given": ["Binh"]}], birthDate="1990-01-01"),
        patient("ab", name=[{"given": ["An", "Binh"]}], birthDate="1985-01-01"),
    )
    assert await ask.found("Patient?given=an&given=binh") == "ab"
    assert await ask.found("Patient?given=an,binh") == "a ab b"
    assert await ask.found("Patient?birthdate=ge1980&birthdate=lt1986") == "a ab"
    assert await ask.found("Patient?birthdate=lt1981,gt1989") == "a b"
    assert await ask.found("Patient?birthdate=ne1980-01-01&birthdate=ne1990-01-01") == "ab"


async def test_contained_references_in_chains(ask: Asking) -> None:
    contained: list[dict[str, Any]] = [{"resourceType": "Patient", "id": "p", "name": [{"family": "Trong"}]}]
    await ask.put(observation("o", contained=contained, subject={"reference": "#p"}))
    assert await ask.found("Observation?subject:missing=false") == "o"
    assert await ask.found("Observation?subject:missing=true") == ""
    assert await ask.found("Patient?family=trong") == ""


@pytest.mark.parametrize(
    "query",
    [
        "Patient?name=",
        "Patient?_sort=",
        "Patient?_include=Patient",
        "Patient?_include=Nobody:x",
        "Patient?_include=Patient:name",
        "Patient?_has:Observation",
        "Patient?_has:Observation:code:status=final",
        "Observation?code.name=x",
        "Observation?subject:Patient.nothing=x",
        "Patient?_filter=name",
        "Patient?_filter=(name eq x",
        "Patient?_id=a/b",
        "Patient?_lastUpdated=yesterday",
        "Patient?_type=Nobody",
        "Observation?value-quantity=5.4|a|b|c",
        "Patient?birthdate=2020-02-30",
        "Patient?identifier=a|b|c",
        "Patient?_page=x",
        "Location?near=1",
        "Patient?identifier:of-type=a|b",
        "Patient?_elements=a-b",
        "Patient?organization.partof.name.x=1",
    ],
)
async def test_what_cannot_be_is_400_under_strict_handling(ask: Asking, query: str) -> None:
    assert await ask.status(query, Prefer="handling=strict") == 400
