"""Vietnamese patients and their observations, the same for the same seed."""

import random
import time
from typing import Any

LOINC = "http://loinc.org"
CODES = ["8867-4", "8480-6", "8462-4", "8310-5", "9279-1", "29463-7", "8302-2", "2339-0", "718-7", "2160-0"]
FAMILY = ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô", "Dương", "Lý"]
GIVEN = [
    "An",
    "Bình",
    "Chi",
    "Dũng",
    "Giang",
    "Hà",
    "Hạnh",
    "Khánh",
    "Lan",
    "Linh",
    "Mai",
    "Minh",
    "Nam",
    "Ngọc",
    "Phúc",
    "Quân",
    "Sơn",
    "Thảo",
    "Trang",
    "Tuấn",
    "Vân",
    "Yến",
]
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def observation(patient: str, code: str, n: int, rnd: random.Random) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S+07:00", time.gmtime(1.4e9 + rnd.random() * 3e8))
    return {
        "resourceType": "Observation",
        "identifier": [{"system": "urn:bench", "value": f"{n}-{rnd.getrandbits(40):x}"}],
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": patient},
        "effectiveDateTime": at,
        "valueQuantity": {"value": round(rnd.uniform(30, 200), 1), "unit": "1", "system": "http://unitsofmeasure.org", "code": "1"},
    }


def patient(n: int, rnd: random.Random) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:bench", "value": f"p{n}"}],
        "gender": rnd.choice(["male", "female"]),
        "birthDate": f"{rnd.randrange(1930, 2020)}-{rnd.randrange(1, 13):02}-{rnd.randrange(1, 29):02}",
        "name": [{"family": rnd.choice(FAMILY), "given": [rnd.choice(GIVEN), rnd.choice(GIVEN)]}],
        "address": [{"city": "Thái Nguyên", "country": "VN"}],
    }
