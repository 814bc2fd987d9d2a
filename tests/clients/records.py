"""What a signed hub of these tests holds: the demo records and, because the demo has vital signs alone, findings of a laboratory."""

from typing import Any

from health_hub import demo

CARED = ("bn-006", "bn-011")  # in the care of HOSPITAL
HOSPITAL = "bvdk-tinh"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LABORATORY: list[dict[str, Any]] = [
    {
        "resourceType": "Observation", "id": f"{patient}-glucose", "status": "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}], "text": "Glucose máu"},
        "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": "2026-10-20T08:00:00+07:00",
        "valueQuantity": {"value": 6.1, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
    }
    for patient in CARED
]  # fmt: skip


def recorded(type: str, patient: str, category: str | None = None) -> set[str]:
    """Ids of a patient's resources of a type; category: of an Observation."""
    return {
        r["id"] for r in [*demo.records(), *LABORATORY]
        if r["resourceType"] == type and r.get("subject", {}).get("reference") == f"Patient/{patient}"
        and (category is None or category in [c["code"] for concept in r["category"] for c in concept["coding"]])
    }  # fmt: skip
