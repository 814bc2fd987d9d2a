"""Sixty people with their visits, measurements, diagnoses and appointments."""

from datetime import date, datetime, timedelta, timezone
from random import Random
from typing import Any

from fhir_profiles.number import number
from health_hub.demo.names import person_name
from health_hub.demo.province import Facilities, Site, Staff, location, organization

PEOPLE = 60
ZONE = timezone(timedelta(hours=7))
TODAY = date(2026, 11, 2)  # fixed: the records are the same on every machine and day
CCCD, BHYT = "http://fhir.hl7.org.vn/core/sid/cccd", "http://fhir.hl7.org.vn/core/sid/bhyt"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
CONDITION_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ICD10, LOINC, UCUM = "http://hl7.org/fhir/sid/icd-10", "http://loinc.org", "http://unitsofmeasure.org"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
HAMLETS = ("Xóm 1", "Xóm 2", "Xóm Đồng Tâm", "Xóm Hồng Thái", "Tổ dân phố 5", "Tổ dân phố 12", "Bản Ngoại", "Xóm Gốc Gạo")
CHRONIC = (
    ("I10", "Tăng huyết áp vô căn (nguyên phát)"), ("E11", "Đái tháo đường không phụ thuộc insuline"),
    ("J45", "Hen [suyễn]"), ("J44", "Các bệnh phổi tắc nghẽn mạn tính khác"),
)  # fmt: skip
ACUTE = (("J20", "Viêm phế quản cấp"),
         ("K29", "Viêm dạ dày và tá tràng"), ("M54", "Đau lưng"), ("J06", "Nhiễm trùng đường hô hấp trên cấp"),
         ("A09", "Tiêu chảy, viêm dạ dày - ruột do nhiễm trùng"), ("H10", "Viêm kết mạc"))

Resource = dict[str, Any]


def people(places: Facilities, doctors: Staff) -> list[Resource]:
    random = Random(1902)  # noqa: S311  not a secret
    return [r for n in range(1, PEOPLE + 1) for r in Person(random, n, places, doctors).resources()]


def instant(day: date, hour: int, minute: int = 0) -> str:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE).isoformat()


def concept(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


class Person:
    """One Patient and what happened to them, numbered so that ids repeat."""

    def __init__(self, random: Random, n: int, places: Facilities, doctors: Staff) -> None:
        self.random, self.n, self.id = random, n, f"bn-{n:03d}"
        self.gender = random.choice(("male", "female"))
        self.name = person_name(random, self.gender)
        self.born = TODAY - timedelta(days=random.randint(200, 88 * 365))
        self.home = random.choice(places.sites)
        self.hospital = places.sites[0]
        self.doctors = doctors
        self.me = {"reference": f"Patient/{self.id}", "display": self.name["text"]}
        self.ill = self.age(TODAY) > 40 and random.random() < 0.6
        self.chronic = random.choice(CHRONIC)

    def age(self, day: date) -> float:
        return (day - self.born).days / 365.25

    def resources(self) -> list[Resource]:
        out = [self.patient()]
        if self.ill:
            out.append(self.condition("man", self.chronic, TODAY - timedelta(days=self.random.randint(400, 2000)), None, active=True))
        day = max(TODAY - timedelta(days=self.random.randint(300, 700)), self.born + timedelta(days=7))
        for visit in range(1, self.random.randint(2, 5)):
            site = self.hospital if self.random.random() < 0.3 else self.home
            encounter = self.encounter(visit, day, site)
            out.append(encounter)
            out += self.vitals(visit, day)
            if self.random.random() < 0.7:
                out.append(self.condition(str(visit), self.random.choice(ACUTE), day, encounter["id"], active=visit > 3))
            day = min(day + timedelta(days=self.random.randint(20, 160)), TODAY - timedelta(days=1))
        if self.ill or self.random.random() < 0.3:
            out.append(self.appointment(TODAY + timedelta(days=self.random.randint(3, 40))))
        return out

    def patient(self) -> Resource:
        hamlet = self.random.choice(HAMLETS)
        # CCCD: province 019, a digit for century and sex, two digits of the year, six more.
        century = (self.born.year // 100 - 19) * 2 + (self.gender == "female")
        cccd = f"019{century}{self.born.year % 100:02d}{self.random.randrange(10**6):06d}"
        # BHYT: group and level, province, social insurance number.
        group = self.random.choice(("GD4", "DN4", "HT3", "TE1" if self.age(TODAY) < 6 else "HS4"))
        bhyt = f"{group}19{self.random.randrange(10**10):010d}"
        return {
            "resourceType": "Patient", "id": self.id,
            "identifier": [
                {"use": "official", "system": CCCD, "value": cccd,
                 "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "NI"}], "text": "Căn cước công dân"}},
                {"use": "official", "system": BHYT, "value": bhyt, "type": {"text": "Thẻ bảo hiểm y tế"}},
            ],
            "active": True,
            "name": [self.name],
            "telecom": [{"system": "phone", "value": f"09{self.random.randrange(10**8):08d}", "use": "mobile"}],
            "gender": self.gender,
            "birthDate": self.born.isoformat(),
            "address": [{"use": "home", "text": f"{hamlet}, {self.home.ward}, Thái Nguyên", "line": [hamlet], "district": self.home.ward,
                         "state": "Thái Nguyên", "country": "VN"}],
            "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "vi"}], "text": "Tiếng Việt"}}],
            "managingOrganization": organization(self.home),
        }  # fmt: skip

    def doctor(self, site: Site) -> Resource:
        return dict(self.random.choice(self.doctors.at[site.key]))

    def encounter(self, visit: int, day: date, site: Site) -> Resource:
        hour = self.random.randint(7, 15)
        # Circular 30/2023/TT-BYT: remote care is class VR.
        code, display = ("VR", "virtual") if self.random.random() < 0.15 else ("AMB", "ambulatory")
        return {
            "resourceType": "Encounter", "id": f"{self.id}-kham-{visit}", "status": "finished",
            "class": {"system": ACT, "code": code, "display": display},
            "type": [{"text": "Khám từ xa" if code == "VR" else "Khám bệnh"}],
            "subject": dict(self.me),
            "participant": [{"individual": self.doctor(site)}],
            "period": {"start": instant(day, hour, 5), "end": instant(day, hour, 35)},
            "location": [{"location": location(site)}],
            "serviceProvider": organization(site),
        }  # fmt: skip

    def condition(self, key: str, disease: tuple[str, str], day: date, encounter: str | None, *, active: bool) -> Resource:
        state = "active" if active else "resolved"
        category = ("encounter-diagnosis", "Encounter Diagnosis") if encounter else ("problem-list-item", "Problem List Item")
        out: Resource = {
            "resourceType": "Condition", "id": f"{self.id}-benh-{key}",
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": state}]},
            "verificationStatus": {"coding": [{"system": CONDITION_VERIFICATION, "code": "confirmed"}]},
            "category": [concept(CONDITION_CATEGORY, *category)],
            "code": concept(ICD10, *disease),
            "subject": dict(self.me),
        }  # fmt: skip
        if encounter:
            out["encounter"] = {"reference": f"Encounter/{encounter}"}
        out["onsetDateTime"] = day.isoformat()
        if not active:
            out["abatementDateTime"] = (day + timedelta(days=10)).isoformat()
        out["recordedDate"] = day.isoformat()
        return out

    def vitals(self, visit: int, day: date) -> list[Resource]:
        random, grown = self.random, min(1.0, 0.25 + self.age(day) / 22)
        high = self.ill and self.chronic[0] == "I10"
        systolic = random.randint(138, 168) if high else random.randint(102, 134)
        diastolic = random.randint(84, 101) if high else random.randint(62, 84)
        pressure = self.observation(visit, "huyet-ap", day, "85354-9", "Blood pressure panel with all children optional")
        pressure["component"] = [
            {"code": concept(LOINC, code, f"{which} blood pressure")} | {"valueQuantity": quantity(str(value), "mm[Hg]", "mmHg")}
            for code, which, value in (("8480-6", "Systolic", systolic), ("8462-4", "Diastolic", diastolic))
        ]
        measured = [
            ("mach", "8867-4", "Heart rate", str(random.randint(58, 104)), "/min", "lần/phút"),
            ("nhiet-do", "8310-5", "Body temperature", f"{random.uniform(36.2, 38.6):.1f}", "Cel", "°C"),
            ("can-nang", "29463-7", "Body weight", f"{random.uniform(44, 72) * grown:.1f}", "kg", "kg"),
            ("chieu-cao", "8302-2", "Body height", f"{random.uniform(148, 172) * (0.35 + 0.65 * grown):.0f}", "cm", "cm"),
        ]
        out = [pressure] if self.age(day) > 12 else []
        for key, code, display, value, unit, shown in measured:
            out.append(self.observation(visit, key, day, code, display) | {"valueQuantity": quantity(value, unit, shown)})
        if self.ill and self.chronic[0] == "E11":
            glucose = self.observation(visit, "duong-huyet", day, "14749-6", "Glucose [Moles/volume] in Serum or Plasma", "laboratory")
            out.append(glucose | {"valueQuantity": quantity(f"{random.uniform(6.1, 12.4):.2f}", "mmol/L", "mmol/L")})
            hba1c = self.observation(visit, "hba1c", day, "4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "laboratory")
            out.append(hba1c | {"valueQuantity": quantity(f"{random.uniform(6.0, 9.8):.1f}", "%", "%")})
        return out

    def observation(self, visit: int, key: str, day: date, code: str, display: str, category: str = "vital-signs") -> Resource:
        return {
            "resourceType": "Observation", "id": f"{self.id}-{key}-{visit}", "status": "final",
            "category": [concept(OBSERVATION, category, {"vital-signs": "Vital Signs", "laboratory": "Laboratory"}[category])],
            "code": concept(LOINC, code, display),
            "subject": dict(self.me),
            "encounter": {"reference": f"Encounter/{self.id}-kham-{visit}"},
            "effectiveDateTime": instant(day, 9, 10),
        }  # fmt: skip

    def appointment(self, day: date) -> Resource:
        hour = self.random.randint(7, 10)
        return {
            "resourceType": "Appointment", "id": f"{self.id}-hen", "status": "booked",
            "description": "Tái khám định kỳ" if self.ill else "Khám theo hẹn",
            "start": instant(day, hour), "end": instant(day, hour, 30), "minutesDuration": 30, "created": TODAY.isoformat(),
            "participant": [
                {"actor": dict(self.me), "required": "required", "status": "accepted"},
                {"actor": self.doctor(self.home), "required": "required", "status": "accepted"},
                {"actor": location(self.home), "required": "information-only", "status": "accepted"},
            ],
        }  # fmt: skip


def quantity(value: str, code: str, unit: str) -> Resource:
    return {"value": number(value), "unit": unit, "system": UCUM, "code": code}
