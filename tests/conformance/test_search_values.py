"""Parameter types, prefixes and modifiers (R4 search.html#ptypes, #prefix, #modifiers)."""

from typing import Any

import pytest

from tests.conformance.asking import Asking, observation, patient

UCUM = "http://unitsofmeasure.org"


def quantity(value: str, code: str | None = None, unit: str | None = None) -> dict[str, Any]:
    q: dict[str, Any] = {"value": float(value)}
    if code:
        q |= {"system": UCUM, "code": code}
    if unit:
        q["unit"] = unit
    return q


async def test_string_folds_accents_in_both_unicode_forms(ask: Asking) -> None:
    import unicodedata

    name = "Nguyễn Thị Đặng"
    await ask.put(
        patient("c", name=[{"family": unicodedata.normalize("NFC", name)}]),
        patient("d", name=[{"family": unicodedata.normalize("NFD", name)}]),
        patient("x", name=[{"family": "Trần"}]),
    )
    for form in ("NFC", "NFD"):
        for text in ("Nguyễn", "nguyen thi dang", "NGUYỄN THỊ", "Nguyễn Thị Đặng"):
            assert await ask.found("Patient?family=" + unicodedata.normalize(form, text)) == "c d"
            assert await ask.found("Patient?name=" + unicodedata.normalize(form, text)) == "c d"
        assert await ask.found("Patient?family:contains=" + unicodedata.normalize(form, "đặng")) == "c d"
        assert await ask.found("Patient?family:exact=" + unicodedata.normalize(form, name)) == "c d"
        assert await ask.found("Patient?family:exact=" + unicodedata.normalize(form, name.lower())) == ""
    assert await ask.found("Patient?family:exact=Nguyen Thi Dang") == ""


async def test_name_words_in_any_part(ask: Asking) -> None:
    await ask.put(
        patient("a", name=[{"family": "Nguyễn", "given": ["Văn", "An"]}]),
        patient("b", name=[{"text": "Nguyễn Văn An"}]),
        patient("e", name=[{"family": "Eve_100%"}]),
        patient("f", name=[{"family": "Evexx"}]),
    )
    assert await ask.found("Patient?given=an") == "a"
    assert await ask.found("Patient?name=nguyen&name=an") == "a"
    assert await ask.found("Patient?name:contains=an") == "a b"
    assert await ask.found("Patient?name=Eve_") == "e"
    assert await ask.found("Patient?name:contains=%25") == "e"
    assert await ask.found("Patient?name=nguyen,eve") == "a b e f"


async def test_string_with_escaped_comma(ask: Asking) -> None:
    await ask.put(patient("a", name=[{"family": "Le, Van"}]), patient("b", name=[{"family": "Le"}]))
    assert await ask.found(r"Patient?family=Le\, Van") == "a"


async def test_token_forms(ask: Asking) -> None:
    await ask.put(
        patient("both", identifier=[{"system": "http://a", "value": "1"}]),
        patient("other", identifier=[{"system": "http://b", "value": "1"}]),
        patient("none", identifier=[{"value": "1"}]),
        patient("case", identifier=[{"system": "http://a", "value": "1A"}]),
    )
    assert await ask.found("Patient?identifier=1") == "both none other"
    assert await ask.found("Patient?identifier=http://a|1") == "both"
    assert await ask.found("Patient?identifier=|1") == "none"
    assert await ask.found("Patient?identifier=http://a|") == "both case"
    assert await ask.found("Patient?identifier=http://a|1,http://b|1") == "both other"
    assert await ask.found("Patient?identifier:not=http://a|1") == "case none other"
    assert await ask.found("Patient?identifier:not=http://a|1,|1") == "case other"


async def test_identifier_of_type(ask: Asking) -> None:
    mr = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}
    await ask.put(
        patient("a", identifier=[{"type": mr, "system": "http://x", "value": "446053"}, {"value": "7"}]),
        patient("b", identifier=[{"type": mr, "value": "7"}, {"value": "446053"}]),
    )
    assert await ask.found("Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|446053") == "a"


async def test_token_of_codes_booleans_and_strings(ask: Asking) -> None:
    await ask.put(
        patient("a", active=True, gender="male", telecom=[{"system": "phone", "value": "+84 90", "use": "home"}]),
        patient("b", active=False, gender="female", deceasedBoolean=True),
        patient("c", deceasedDateTime="2020-01-01"),
    )
    assert await ask.found("Patient?active=true") == "a"
    assert await ask.found("Patient?gender=http://hl7.org/fhir/administrative-gender|male") == "a"
    assert await ask.found("Patient?gender:not=male") == "b c"
    assert await ask.found("Patient?gender:missing=true") == "c"
    assert await ask.found("Patient?gender:not=male,female") == "c"
    assert await ask.found("Patient?deceased=true") == "b c"
    assert await ask.found("Patient?deceased=false") == "a"
    assert await ask.found("Patient?phone=%2B84 90") == "a"


async def test_not_leaves_out_whoever_has_the_value_among_others(ask: Asking) -> None:
    one, two = {"coding": [{"system": "http://c", "code": "1"}]}, {"coding": [{"system": "http://c", "code": "2"}]}
    await ask.put(observation("a", category=[one, two]), observation("b", category=[two]), observation("c"))
    assert await ask.found("Observation?category:not=1") == "b c"
    assert await ask.found("Observation?category:not=http://c|1,http://c|2") == "c"
    assert await ask.found("Observation?category:not=1&category:not=2") == "c"


async def test_token_text(ask: Asking) -> None:
    await ask.put(
        observation("text", code={"text": "Nhịp tim lúc nghỉ"}),
        observation("display", code={"coding": [{"system": "http://l", "code": "x", "display": "Nhịp tim"}]}),
    )
    assert await ask.found("Observation?code:text=nhip") == "display text"
    assert await ask.found("Observation?code=nhip") == ""


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("100", "100 100.4 99.5"),
        ("100.00", "100"),
        ("eq1e2", "100 100.4 100.5 99.5"),
        ("ne100", "100.5 20"),
        ("gt100", "100.4 100.5"),
        ("ge100", "100 100.4 100.5"),
        ("lt100", "20 99.5"),
        ("le100", "100 20 99.5"),
        ("ap100", "100 100.4 100.5 99.5"),
        ("sa100", "100.4 100.5"),
        ("eb100", "20 99.5"),
    ],
)
async def test_quantity_prefixes(ask: Asking, query: str, ids: str) -> None:
    for value in ("100", "99.5", "100.4", "100.5", "20"):
        await ask.put(observation(value, valueQuantity=quantity(value, "mg")))
    assert await ask.found(f"Observation?value-quantity={query}") == ids, query


async def test_quantity_units(ask: Asking) -> None:
    await ask.put(
        observation("mg", valueQuantity=quantity("5.4", "mg")),
        observation("g", valueQuantity=quantity("0.0054", "g")),
        observation("unit", valueQuantity=quantity("5.4", None, "mg")),
        observation("kg", valueQuantity=quantity("5.4", "kg")),
    )
    assert await ask.found(f"Observation?value-quantity=5.4|{UCUM}|mg") == "g mg"
    assert await ask.found("Observation?value-quantity=5.4||mg") == "mg unit"
    assert await ask.found("Observation?value-quantity=5.4") == "kg mg unit"
    assert await ask.found(f"Observation?value-quantity=gt5|{UCUM}|mg") == "g kg mg"
    assert await ask.found(f"Observation?value-quantity=lt0.006|{UCUM}|g") == "g mg"
    assert await ask.found(f"Observation?value-quantity=5.40e-3|{UCUM}|g") == "g mg"


async def test_quantity_in_degrees(ask: Asking) -> None:
    await ask.put(observation("c", valueQuantity=quantity("37", "Cel")), observation("f", valueQuantity=quantity("98.6", "[degF]")))
    assert await ask.found(f"Observation?value-quantity=37.0|{UCUM}|Cel") == "c f"
    assert await ask.found(f"Observation?value-quantity=ge37|{UCUM}|Cel") == "c f"
    assert await ask.found(f"Observation?value-quantity=98.6|{UCUM}|[degF]") == "c f"


async def test_quantity_with_comparator(ask: Asking) -> None:
    less = quantity("5", "mg") | {"comparator": "<"}
    await ask.put(observation("less", valueQuantity=less))
    assert await ask.found(f"Observation?value-quantity=lt6|{UCUM}|mg") == "less"
    assert await ask.found(f"Observation?value-quantity=gt5|{UCUM}|mg") == ""


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("eq2013-01-14", "day noon"),
        ("2013-01", "day month next noon period"),
        ("ne2013-01-14", "month next period"),
        ("lt2013-01-14T12:00", "day month period"),
        ("gt2013-01-14T12:00", "day month next period"),
        ("ge2013-01-15", "month next period"),
        ("le2013-01-13", "month period"),
        ("sa2013-01-14", "next"),
        ("eb2013-01-15", "day noon"),
    ],
)
async def test_date_prefixes_by_ranges(ask: Asking, query: str, ids: str) -> None:
    await ask.put(
        observation("day", effectiveDateTime="2013-01-14"),
        observation("noon", effectiveDateTime="2013-01-14T12:00:00+07:00"),
        observation("month", effectiveDateTime="2013-01"),
        observation("next", effectiveDateTime="2013-01-15T00:00:00+07:00"),
        observation("period", effectivePeriod={"start": "2013-01-10", "end": "2013-01-20"}),
    )
    assert await ask.found(f"Observation?date={query}") == ids


async def test_dates_at_the_border_of_a_zone(ask: Asking) -> None:
    await ask.put(
        observation("vn", effectiveDateTime="2024-03-01T00:30:00+07:00"),
        observation("utc", effectiveDateTime="2024-02-29T17:30:00Z"),
        observation("feb", effectiveDateTime="2024-02-29T23:59:59.999+07:00"),
        observation("leap", effectiveDateTime="2024-02-29"),
    )
    assert await ask.found("Observation?date=2024-03-01") == "utc vn"
    assert await ask.found("Observation?date=2024-02-29") == "feb leap"
    assert await ask.found("Observation?date=2024-02-29T17:30:00Z") == "utc vn"
    assert await ask.found("Observation?date=lt2024-03-01T00:00:00%2B07:00") == "feb leap"
    assert await ask.found("Observation?date=lt2024-03-01T00:00:00+07:00") == "feb leap"


async def test_open_periods(ask: Asking) -> None:
    await ask.put(
        observation("from", effectivePeriod={"start": "2020-01-01"}),
        observation("until", effectivePeriod={"end": "2020-01-01"}),
    )
    assert await ask.found("Observation?date=gt2030") == "from"
    assert await ask.found("Observation?date=lt1990") == "until"
    assert await ask.found("Observation?date=sa2019") == "from"
    assert await ask.found("Observation?date=eb2021") == "until"
    assert await ask.found("Observation?date=2020-01-01") == ""


async def test_last_updated_with_milliseconds_does_not_give_the_same_resource_again(ask: Asking) -> None:
    for n in range(5):
        await ask.put(patient(f"p{n}"))
        stamp = (await ask.client.get(f"Patient/p{n}")).json()["meta"]["lastUpdated"]
        assert await ask.found(f"Patient?_lastUpdated=gt{stamp}".replace("+", "%2B")) == ""
        assert f"p{n}" in await ask.found(f"Patient?_lastUpdated=ge{stamp}".replace("+", "%2B"))
        assert f"p{n}" in await ask.found(f"Patient?_lastUpdated={stamp}".replace("+", "%2B"))


async def test_references(ask: Asking) -> None:
    base = "http://hub.test/fhir"
    await ask.put(
        patient("1"),
        observation("a", subject={"reference": "Patient/1"}),
        observation("b", subject={"reference": f"{base}/Patient/1"}),
        observation("v", subject={"reference": "Patient/1/_history/1"}),
        observation("g", subject={"reference": "Group/1"}),
        observation("x", subject={"reference": "http://elsewhere.vn/fhir/Patient/1"}),
        observation("i", subject={"identifier": {"system": "http://cccd", "value": "001"}}),
        observation("t", subject={"type": "Patient", "display": "An"}),
    )
    assert await ask.found("Observation?subject=Patient/1") == "a b v"
    assert await ask.found(f"Observation?subject={base}/Patient/1") == "a b v"
    assert await ask.found("Observation?subject:Patient=1") == "a b v"
    assert await ask.found("Observation?subject=1") == "a b g v"
    assert await ask.found("Observation?patient=1") == "a b v"
    assert await ask.found("Observation?subject=http://elsewhere.vn/fhir/Patient/1") == "x"
    assert await ask.found("Observation?subject:identifier=http://cccd|001") == "i"
    assert await ask.found("Observation?subject:missing=true") == ""
    assert await ask.found("Observation?patient:missing=false") == "a b t v x"


async def test_composite_is_of_one_component(ask: Asking) -> None:
    def component(code: str, value: str) -> dict[str, Any]:
        return {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": quantity(value, "mm[Hg]")}

    await ask.put(
        observation("high", component=[component("8480-6", "150"), component("8462-4", "80")]),
        observation("low", component=[component("8480-6", "110"), component("8462-4", "170")]),
    )
    assert await ask.found("Observation?component-code-value-quantity=8480-6$gt140") == "high"
    assert await ask.found("Observation?component-code-value-quantity=http://loinc.org|8462-4$gt140") == "low"
    assert await ask.found("Observation?combo-code-value-quantity=8480-6$lt120") == "low"
    assert await ask.found("Observation?component-code-value-quantity=8480-6$gt140,8480-6$lt120") == "high low"


async def test_uri(ask: Asking) -> None:
    def value_set(id: str, url: str) -> dict[str, Any]:
        return {"resourceType": "ValueSet", "id": id, "status": "active", "url": url}

    await ask.put(
        value_set("a", "http://acme.org/fhir"),
        value_set("b", "http://acme.org/fhir/ValueSet/123"),
        value_set("c", "http://acme.org/fhir/ValueSet/123/history/5"),
        value_set("d", "http://acme.org/fhirx"),
        value_set("u", "urn:oid:1.2.3"),
    )
    assert await ask.found("ValueSet?url=http://acme.org/fhir") == "a"
    assert await ask.found("ValueSet?url:below=http://acme.org/fhir/") == "b c"
    assert await ask.found("ValueSet?url:below=http://acme.org/fhir") == "a b c"
    assert await ask.found("ValueSet?url:above=http://acme.org/fhir/ValueSet/123/history/5") == "a b c"
    assert await ask.found("ValueSet?url=urn:oid:1.2.3") == "u"
    assert await ask.status("ValueSet?url:below=urn:oid:1.2") == 400


async def test_canonical_references_with_and_without_version(ask: Asking) -> None:
    def answers(id: str, canonical: str) -> dict[str, Any]:
        return {"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": canonical}

    await ask.put(answers("one", "http://q|1.0"), answers("two", "http://q|2.0"), answers("none", "http://q"))
    assert await ask.found("QuestionnaireResponse?questionnaire=http://q") == "none one two"
    assert await ask.found("QuestionnaireResponse?questionnaire=http://q|1.0") == "one"


async def test_profile_with_version_and_below(ask: Asking) -> None:
    await ask.put(
        patient("a", meta={"profile": ["http://vn.core/Patient|1.0"]}),
        patient("b", meta={"profile": ["http://vn.core/Patient"], "tag": [{"system": "http://t", "code": "x"}], "source": "http://his"}),
    )
    assert await ask.found("Patient?_profile=http://vn.core/Patient") == "a b"
    assert await ask.found("Patient?_profile=http://vn.core/Patient|1.0") == "a"
    assert await ask.found("Patient?_profile:below=http://vn.core") == "a b"
    assert await ask.found("Patient?_tag=http://t|x") == "b"
    assert await ask.found("Patient?_tag:not=x") == "a"
    assert await ask.found("Patient?_source=http://his") == "b"
    assert await ask.found("Patient?_source:missing=true") == "a"


async def test_near(ask: Asking) -> None:
    def place(id: str, lat: float, lon: float) -> dict[str, Any]:
        return {"resourceType": "Location", "id": id, "position": {"latitude": lat, "longitude": lon}}

    await ask.put(place("hue", 16.4637, 107.5909), place("danang", 16.0544, 108.2022), place("line", 0.0, 179.99))
    assert await ask.found("Location?near=16.46|107.59|5|km") == "hue"
    assert await ask.found("Location?near=16.46|107.59|100|km") == "danang hue"
    assert await ask.found("Location?near=16.46|107.59|100000|m") == "danang hue"
    assert await ask.found("Location?near=0|-179.99|10|km") == "line"
    assert await ask.found("Location?near=16.46|107.59") == "hue"


async def test_missing_of_every_type(ask: Asking) -> None:
    full = observation(
        "full",
        subject={"reference": "Patient/1"},
        effectiveDateTime="2020",
        valueQuantity=quantity("1", "mg"),
        category=[{"text": "only text"}],
        note=[{"text": "x"}],
    )
    await ask.put(full, observation("bare"))
    for name in ("subject", "date", "value-quantity", "category"):
        assert await ask.found(f"Observation?{name}:missing=true") == "bare", name
        assert await ask.found(f"Observation?{name}:missing=false") == "full", name
    assert await ask.status("Observation?date:missing=maybe") == 400


@pytest.mark.parametrize(
    "query",
    [
        "Patient?birthdate=2013-13-01",
        "Patient?birthdate=xx2013",
        "Patient?birthdate:exact=2013",
        "Patient?name:above=x",
        "Patient?gender:exact=male",
        "Observation?value-quantity=abc",
        "Observation?value-quantity=1|mg",
        "Observation?subject:Nobody=1",
        "Observation?subject:Medication=1",
        "Observation?component-code-value-quantity=1",
        "Location?near=100|200",
        "RiskAssessment?probability=gtx",
        "Patient?_count=-1",
        "Patient?_count=x",
        "Patient?_summary=maybe",
        "Patient?_total=some",
        "Patient?name:missing=perhaps",
        "Patient?_summary=text&_include=Patient:organization",
    ],
)
async def test_values_and_modifiers_that_do_not_fit_are_400(ask: Asking, query: str) -> None:
    assert await ask.status(query) == 400
