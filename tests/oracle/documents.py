"""Synthetic resources with odd values, the same for a seed: what real data has too little of to tell two readings of the standard apart."""

from random import Random
from typing import Any

from fhir_profiles.number import number
from tests.oracle.values import UCUM

Resource = dict[str, Any]

NAMES = (
    "Nguyễn",
    "NGUYÊN",
    "nguyen",
    "Nguye\u0302\u0303n",
    "Đặng",
    "đang",
    "Dang",
    "O'Brien",
    "Müller",
    "MULLER",
    "Straße",
    "Ng",
    "N%",
    "N_g",
    "a*b",
    "Ünal",
    "Võ Thị",
    "Trần",
    "Tran-Lê",
    "x\\y",
    "Ma, Thị",
    "İpek",
    "ﬁnn",
    "李",
)
GIVEN = ("Văn", "Thị", "Ánh", "anh", "Hoa", "Đức", "duc", "Bảo Anh", "Jean-Luc")
DATES = (
    "2024",
    "2024-02",
    "2024-02-29",
    "2024-02-29T23:30:00+07:00",
    "2024-02-29T16:30:00Z",
    "2024-03-01T00:00:00+07:00",
    "2024-12-31",
    "2025-01-01T00:00:00Z",
    "2023-12-31T18:00:00-05:00",
    "2024-02-29T23:59:59.999+07:00",
    "1969-12-31",
    "1900-01-01",
    "2024-06-15T12:00:00.5Z",
    "2024-06-15T12:00:00.123456Z",
)
BIRTHS = ("1980", "1980-05", "1980-05-17", "1979-12-31", "2024-02-29", "1905-01-01", "2000-01")
AMOUNTS = ("5", "5.0", "5.00", "5.4", "5.40", "5.35", "5.45", "0.0054", "5400", "100", "-3.2", "1e2", "0", "0.1", "72", "1000", "185.5")
UNIT_CODES = ("mg", "g", "kg", "ug", "cm", "m", "mg/dL", "g/L", "mmol/L", "/min")
CODES = (
    ("http://loinc.org", "8867-4", "Heart rate"),
    ("http://loinc.org", "29463-7", "Body weight"),
    ("http://loinc.org", "8480-6", "Systolic"),
    ("http://example.org/local", "A|B", "Pipe, comma"),
    ("http://example.org/local", "x,y", None),
    (None, "29463-7", "No system"),
    ("http://example.org/local", "MiXed", "Mixed case"),
    ("http://example.org/local", "$1", "Dollar"),
)
SYSTEMS = ("http://example.org/mrn", "urn:oid:1.2.36.146.595.217.0.1", "http://example.org/mrn/2", None)


def make(seed: int, people: int = 40, observations: int = 220) -> list[Resource]:
    """Valid R4, each with an id of its own."""
    random = Random(seed)
    ids = [f"p{n}" for n in range(people)]
    out: list[Resource] = [_patient(random, id, ids) for id in ids]
    out += [_organization(random, n) for n in range(8)]
    out += [_practitioner(random, n) for n in range(8)]
    out += [_encounter(random, n, ids) for n in range(40)]
    out += [_observation(random, n, ids) for n in range(observations)]
    out += [_condition(random, n, ids) for n in range(40)]
    out += [_value_set(random, n) for n in range(10)]
    out += [_risk(random, n, ids) for n in range(20)]
    out += [_group(random, n, ids) for n in range(4)]
    out += [_list(random, n, ids) for n in range(4)]
    out += [_medication_request(random, n, ids) for n in range(20)]
    out += [_service_request(random, n, ids) for n in range(12)]
    return out


def _maybe(random: Random, chance: float) -> bool:
    return random.random() < chance


def concept(random: Random) -> Resource:
    out: Resource = {}
    if _maybe(random, 0.9):
        out["coding"] = []
        for system, code, display in random.sample(CODES, random.choice((1, 1, 2))):
            coding = {"system": system, "code": code, "display": display}
            out["coding"].append({k: v for k, v in coding.items() if v is not None})
    if not out or _maybe(random, 0.5):
        out["text"] = random.choice(("Mạch", "mach", "Cân nặng", "Systolic pressure", "ĐƯỜNG huyết"))
    return out


def quantity(random: Random) -> Resource:
    out: Resource = {"value": number(random.choice(AMOUNTS))}
    kind = random.random()
    if kind < 0.7:
        code = random.choice(UNIT_CODES)
        out |= {"unit": code, "system": UCUM, "code": code}
    elif kind < 0.85:
        out["unit"] = random.choice(("mg", "beats", "{score}"))
    if _maybe(random, 0.12):
        out["comparator"] = random.choice(("<", "<=", ">", ">="))
    return out


def period(random: Random) -> Resource:
    start, end = sorted(
        random.sample(("2023", "2023-06-01", "2024-01-01T08:00:00+07:00", "2024-02", "2024-02-29", "2024-07", "2025-01-02"), 2)
    )
    return random.choice(({"start": start, "end": end}, {"start": start, "end": end}, {"start": start}, {"end": end}))


def reference(random: Random, kind: str, ids: list[str]) -> Resource:
    id = random.choice(ids)
    out: Resource = random.choice(
        (
            {"reference": f"{kind}/{id}"},
            {"reference": f"{kind}/{id}"},
            {"reference": f"{kind}/{id}"},
            {"reference": f"{kind}/{id}/_history/1"},
            {"reference": f"http://other.example.org/fhir/{kind}/{id}"},
            {"reference": f"{kind}/absent"},
            {"identifier": {"system": "http://example.org/mrn", "value": "0001"}, "type": kind},
            {"display": "somebody"},
        )
    )
    return out | ({"identifier": {"system": "http://example.org/mrn", "value": "aB1"}} if _maybe(random, 0.1) else {})


def identifier(random: Random) -> Resource:
    out: Resource = {"value": random.choice(("0001", "aB1", "Ab1", "1|2", "0002", "0001 "[:4]))}
    system = random.choice(SYSTEMS)
    if system:
        out = {"system": system} | out
    if _maybe(random, 0.4):
        out["type"] = {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": random.choice(("MR", "NI"))}],
            "text": "Số hồ sơ",
        }
    return out


def _patient(random: Random, id: str, ids: list[str]) -> Resource:
    out: Resource = {"resourceType": "Patient", "id": id}
    if _maybe(random, 0.5):
        out["meta"] = {"tag": [{"system": "http://example.org/tags", "code": random.choice(("red", "blue"))}]}
        if _maybe(random, 0.5):
            out["meta"]["profile"] = [random.choice(("http://example.org/p/a", "http://example.org/p/b|1.0"))]
            out["meta"]["security"] = [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": random.choice(("N", "R"))}
            ]
            out["meta"]["source"] = "urn:example:source"
    if _maybe(random, 0.4):
        words = " ".join(random.sample(("bệnh", "nhân", "heart", "kidney", "Đau", "lưng"), 3))
        out["text"] = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{words}</p></div>'}
    if _maybe(random, 0.8):
        out["identifier"] = [identifier(random) for _ in range(random.choice((1, 1, 2)))]
    if _maybe(random, 0.7):
        out["active"] = _maybe(random, 0.6)
    if _maybe(random, 0.9):
        out["name"] = [
            {"family": random.choice(NAMES), "given": random.sample(GIVEN, random.choice((1, 2)))} for _ in range(random.choice((1, 1, 2)))
        ]
        if _maybe(random, 0.3):
            out["name"][0]["text"] = f"{random.choice(NAMES)} {random.choice(GIVEN)}"
    if _maybe(random, 0.6):
        out["telecom"] = [
            {"system": random.choice(("phone", "email")), "value": random.choice(("0912 345 678", "a@example.vn")), "use": "home"}
        ]
    if _maybe(random, 0.8):
        out["gender"] = random.choice(("male", "female", "unknown"))
    if _maybe(random, 0.8):
        out["birthDate"] = random.choice(BIRTHS)
    elif _maybe(random, 0.5):
        out["_birthDate"] = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
    dead = random.random()
    if dead < 0.15:
        out["deceasedBoolean"] = dead < 0.1
    elif dead < 0.3:
        out["deceasedDateTime"] = random.choice(DATES)
    if _maybe(random, 0.6):
        out["address"] = [
            {
                "line": [random.choice(("12 Lê Lợi", "Xóm 3"))],
                "city": random.choice(("Thái Nguyên", "thai nguyen", "Hà Nội")),
                "country": "VN",
            }
        ]
    if _maybe(random, 0.3):
        out["maritalStatus"] = concept(random)
    if _maybe(random, 0.4):
        out["generalPractitioner"] = [{"reference": random.choice(("Practitioner/d1", "Practitioner/d2", "Organization/o1"))}]
    if _maybe(random, 0.4):
        out["managingOrganization"] = {"reference": f"Organization/o{random.randrange(9)}"}
    if _maybe(random, 0.2):
        out["link"] = [{"other": {"reference": f"Patient/{random.choice(ids)}"}, "type": "seealso"}]
    if _maybe(random, 0.3):
        out["communication"] = [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": random.choice(("vi", "en"))}]}}]
    return out


def _organization(random: Random, n: int) -> Resource:
    out: Resource = {
        "resourceType": "Organization",
        "id": f"o{n}",
        "active": n % 2 == 0,
        "name": random.choice(("Bệnh viện A", "BENH VIEN b", "Trạm y tế", "Clinic")),
        "identifier": [identifier(random)],
    }
    if n:
        out["partOf"] = {"reference": f"Organization/o{n // 2}"}
    return out


def _practitioner(random: Random, n: int) -> Resource:
    return {
        "resourceType": "Practitioner",
        "id": f"d{n}",
        "name": [{"family": random.choice(NAMES), "given": [random.choice(GIVEN)]}],
        "gender": random.choice(("male", "female")),
        "telecom": [{"system": "email", "value": f"d{n}@example.vn"}],
    }


def _encounter(random: Random, n: int, ids: list[str]) -> Resource:
    out: Resource = {
        "resourceType": "Encounter",
        "id": f"e{n}",
        "status": random.choice(("planned", "in-progress", "finished")),
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": random.choice(("AMB", "IMP", "VR"))},
    }
    if _maybe(random, 0.9):
        out["subject"] = reference(random, "Patient", ids)
    if _maybe(random, 0.7):
        out["participant"] = [
            {
                "individual": {"reference": f"Practitioner/d{random.randrange(10)}"},
                **({"period": period(random)} if _maybe(random, 0.3) else {}),
            }
        ]
    if _maybe(random, 0.8):
        out["period"] = period(random)
    if _maybe(random, 0.4):
        out["length"] = {
            "value": number(random.choice(("30", "0.5", "90"))),
            "unit": "min",
            "system": UCUM,
            "code": random.choice(("min", "h")),
        }
    if _maybe(random, 0.5):
        out["serviceProvider"] = {"reference": f"Organization/o{random.randrange(9)}"}
    if n and _maybe(random, 0.3):
        out["partOf"] = {"reference": f"Encounter/e{n - 1}"}
    if _maybe(random, 0.4):
        out["reasonCode"] = [concept(random)]
    return out


def _observation(random: Random, n: int, ids: list[str]) -> Resource:
    out: Resource = {"resourceType": "Observation", "id": f"m{n}", "status": random.choice(("final", "final", "amended", "preliminary"))}
    if _maybe(random, 0.6):
        out["category"] = [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": random.choice(("vital-signs", "laboratory")),
                    }
                ]
            }
        ]
    if _maybe(random, 0.3):
        out["identifier"] = [identifier(random)]
    out["code"] = concept(random)
    if _maybe(random, 0.9):
        out["subject"] = reference(random, "Patient", ids) if _maybe(random, 0.9) else {"reference": f"Group/g{random.randrange(4)}"}
    if _maybe(random, 0.3):
        out["encounter"] = {"reference": f"Encounter/e{random.randrange(44)}"}
    when = random.random()
    if when < 0.6:
        out["effectiveDateTime"] = random.choice(DATES)
    elif when < 0.75:
        out["effectivePeriod"] = period(random)
    elif when < 0.82:
        out["effectiveTiming"] = {"event": random.sample(DATES[3:6], 2)}
    elif when < 0.87:
        out["effectiveInstant"] = "2024-06-15T12:00:00.123Z"
    if _maybe(random, 0.3):
        out["performer"] = [{"reference": f"Practitioner/d{random.randrange(10)}"}]
    what = random.random()
    if what < 0.5:
        out["valueQuantity"] = quantity(random)
    elif what < 0.6:
        out["valueCodeableConcept"] = concept(random)
    elif what < 0.68:
        out["valueString"] = random.choice(("Dương tính", "am tinh", "100%", "a_b"))
    elif what < 0.74:
        out["valueDateTime"] = random.choice(DATES)
    elif what < 0.78:
        out["valuePeriod"] = period(random)
    if _maybe(random, 0.3):
        out["component"] = [
            {"code": concept(random), **random.choice(({"valueQuantity": quantity(random)}, {"valueCodeableConcept": concept(random)}))}
            for _ in range(random.choice((1, 2)))
        ]
    # obs-7: a component with the same code forbids the value.
    mine = _codings(out["code"])
    if any(k.startswith("value") for k in out) and any(mine & _codings(c["code"]) for c in out.get("component", ())):
        del out["component"]
    if n and _maybe(random, 0.15):
        out["derivedFrom"] = [{"reference": f"Observation/m{random.randrange(n)}"}]
    return out


def _codings(concept: Resource) -> set[tuple[str | None, str]]:
    return {(c.get("system"), c["code"]) for c in concept.get("coding", ())}


def _condition(random: Random, n: int, ids: list[str]) -> Resource:
    clinical = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": random.choice(("active", "remission"))}
    out: Resource = {
        "resourceType": "Condition",
        "id": f"c{n}",
        "clinicalStatus": {"coding": [clinical]},
        "category": [{"text": "x"}],
        "code": concept(random),
        "subject": {"reference": f"Patient/{random.choice(ids)}"},
    }
    out |= random.choice(
        (
            {"onsetDateTime": random.choice(DATES)},
            {"onsetPeriod": period(random)},
            {"onsetAge": {"value": number(random.choice(("40", "40.5", "6"))), "system": UCUM, "code": "a", "unit": "a"}},
            {"onsetString": "từ nhỏ"},
            {},
        )
    )
    if _maybe(random, 0.3):
        out["recordedDate"] = random.choice(DATES)
    if _maybe(random, 0.3):
        out["asserter"] = {"reference": "#me"}
        out["contained"] = [{"resourceType": "Practitioner", "id": "me", "name": [{"family": random.choice(NAMES)}]}]
    return out


def _value_set(random: Random, n: int) -> Resource:
    url = (
        "http://example.org/ValueSet/a",
        "http://example.org/ValueSet/a/b",
        "http://example.org/ValueSet/ab",
        "urn:oid:1.2.3",
        "urn:oid:1.2.3.4",
    )[n % 5]
    return {
        "resourceType": "ValueSet",
        "id": f"v{n}",
        "url": url,
        "version": f"{n // 5}",
        "name": f"Vs{n}",
        "status": random.choice(("draft", "active")),
        "title": random.choice(("Giới tính", "gioi", "Other")),
        "date": random.choice(DATES),
    }


def _risk(random: Random, n: int, ids: list[str]) -> Resource:
    out: Resource = {
        "resourceType": "RiskAssessment",
        "id": f"r{n}",
        "status": "final",
        "subject": {"reference": f"Patient/{random.choice(ids)}"},
    }
    if _maybe(random, 0.9):
        out["prediction"] = [
            {"probabilityDecimal": number(random.choice(("0.5", "0.50", "0.45", "0.55", "0.4999", "1", "0.1", "1e-2")))}
            if _maybe(random, 0.7)
            else {
                "probabilityRange": {
                    "low": {"value": number("0.2"), "system": UCUM, "code": "%"},
                    "high": {"value": number("0.6"), "system": UCUM, "code": "%"},
                }
            }
            for _ in range(random.choice((1, 2)))
        ]
    return out


def _group(random: Random, n: int, ids: list[str]) -> Resource:
    return {
        "resourceType": "Group",
        "id": f"g{n}",
        "type": "person",
        "actual": True,
        "code": concept(random),
        "member": [{"entity": {"reference": f"Patient/{i}"}} for i in random.sample(ids, 3)],
    }


def _list(random: Random, n: int, ids: list[str]) -> Resource:
    return {
        "resourceType": "List",
        "id": f"l{n}",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": f"Patient/{i}"}} for i in random.sample(ids, 5)],
    }


def _medication_request(random: Random, n: int, ids: list[str]) -> Resource:
    out: Resource = {
        "resourceType": "MedicationRequest",
        "id": f"x{n}",
        "status": random.choice(("active", "stopped")),
        "intent": "order",
        "subject": {"reference": f"Patient/{random.choice(ids)}"},
    }
    out |= random.choice(({"medicationCodeableConcept": concept(random)}, {"medicationReference": {"reference": "Medication/none"}}))
    if _maybe(random, 0.6):
        out["authoredOn"] = random.choice(DATES)
    if _maybe(random, 0.4):
        out["dosageInstruction"] = [{"timing": {"event": ["2024-02-29T08:00:00+07:00", "2024-03-01"]}}]
    return out


def _service_request(random: Random, n: int, ids: list[str]) -> Resource:
    out: Resource = {
        "resourceType": "ServiceRequest",
        "id": f"s{n}",
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{random.choice(ids)}"},
        "code": concept(random),
    }
    out |= random.choice(
        (
            {"occurrenceDateTime": random.choice(DATES)},
            {"occurrencePeriod": period(random)},
            {"occurrenceTiming": {"repeat": {"boundsPeriod": {"start": "2024-01-01", "end": "2024-03"}}}},
            {},
        )
    )
    if _maybe(random, 0.5):
        out["instantiatesCanonical"] = [
            random.choice(
                ("http://example.org/PlanDefinition/a", "http://example.org/PlanDefinition/a|1", "http://example.org/PlanDefinition/a|2")
            )
        ]
    if _maybe(random, 0.5):
        out["instantiatesUri"] = [random.choice(("http://example.org/protocol", "http://example.org/protocol/2"))]
    if n:
        out["basedOn"] = [{"reference": f"ServiceRequest/s{n - 1}"}]
    return out
