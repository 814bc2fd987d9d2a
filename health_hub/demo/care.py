"""Who looks after whom now, whatever the day: care that has begun and not ended, two facilities of one doctor, a nurse, a mother."""

from typing import Any

from health_hub.demo.people import ACT, TODAY, instant
from health_hub.demo.province import LICENCE, ROLE, Facilities, Site, Staff, location, organization

RELATIONSHIP = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
# Patients in long-term care, by the facility that manages it. Others have visits of some months ago only.
MANAGED = {
    "bvdk-tinh": ("bn-006", "bn-011", "bn-024", "bn-029"), "ttyt-dai-tu": ("bn-015", "bn-026"), "tyt-tan-cuong": ("bn-033", "bn-043"),
}  # fmt: skip
INPATIENT, CHILD = "bn-029", "bn-003"
NURSE, MOTHER = "dd-01", "nt-003"

Resource = dict[str, Any]


def care(places: Facilities, doctors: Staff, patients: list[Resource]) -> list[Resource]:
    """`patients`: what people() made."""
    sites = {s.key: s for s in places.sites}
    hospital, dai_tu = sites["bvdk-tinh"], sites["ttyt-dai-tu"]
    named = {
        r["id"]: {"reference": f"Patient/{r['id']}", "display": r["name"][0]["text"]} for r in patients if r["resourceType"] == "Patient"
    }
    first = doctors.at["bvdk-tinh"][0]
    nurse = {"reference": f"Practitioner/{NURSE}", "display": "ĐD. Hoàng Thị Thu"}
    out = [
        {
            "resourceType": "Practitioner", "id": NURSE,
            "identifier": [{"use": "official", "system": LICENCE, "value": "001001/TNG-CCHN"}],
            "active": True,
            "name": [{"use": "official", "text": nurse["display"], "family": "Hoàng", "given": ["Thị", "Thu"], "prefix": ["ĐD."]}],
            "gender": "female",
        },
        role(NURSE, nurse, hospital, "nurse", "Nurse"),
        role("bs-01-dai-tu", dict(first), dai_tu, "doctor", "Doctor"),
        {
            "resourceType": "RelatedPerson", "id": MOTHER, "active": True, "patient": dict(named[CHILD]),
            "relationship": [{"coding": [{"system": RELATIONSHIP, "code": "MTH", "display": "mother"}], "text": "Mẹ"}],
            "name": [{"use": "official", "text": "Trần Thị Hương", "family": "Trần", "given": ["Thị", "Hương"]}],
            "telecom": [{"system": "phone", "value": "0912000003", "use": "mobile"}],
            "gender": "female",
        },
        {
            "resourceType": "CareTeam", "id": f"{CHILD}-nhom", "status": "active", "name": "Nhóm chăm sóc", "subject": dict(named[CHILD]),
            "participant": [
                {"member": dict(first), "onBehalfOf": organization(hospital)},
                {"member": dict(nurse), "onBehalfOf": organization(hospital)},
                {"member": {"reference": f"RelatedPerson/{MOTHER}", "display": "Trần Thị Hương"}},
            ],
            "managingOrganization": [organization(hospital)],
        },
    ]  # fmt: skip
    for key, ids in MANAGED.items():
        for id in ids:
            out.append({
                "resourceType": "EpisodeOfCare", "id": f"{id}-quan-ly", "status": "active",
                "type": [{"text": "Quản lý bệnh mạn tính"}], "patient": dict(named[id]), "managingOrganization": organization(sites[key]),
                "period": {"start": "2026-01-05"}, "careManager": dict(doctors.at[key][0]),
            })
    out.append({
        "resourceType": "Encounter", "id": f"{INPATIENT}-noi-tru", "status": "in-progress",
        "class": {"system": ACT, "code": "IMP", "display": "inpatient encounter"}, "type": [{"text": "Điều trị nội trú"}],
        "subject": dict(named[INPATIENT]), "episodeOfCare": [{"reference": f"EpisodeOfCare/{INPATIENT}-quan-ly"}],
        "participant": [{"individual": dict(first)}, {"individual": dict(nurse)}],
        "period": {"start": instant(TODAY, 8)}, "location": [{"location": location(hospital)}], "serviceProvider": organization(hospital),
    })
    return out


def role(id: str, who: Resource, site: Site, code: str, display: str) -> Resource:
    return {
        "resourceType": "PractitionerRole", "id": id, "active": True, "practitioner": dict(who), "organization": organization(site),
        "code": [{"coding": [{"system": ROLE, "code": code, "display": display}]}], "location": [location(site)],
    }
