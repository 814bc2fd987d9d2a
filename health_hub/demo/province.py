"""The facilities of Thái Nguyên's two-tier health care (province and communes, since 1 July 2025) and who works there."""

from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from fhir_profiles.number import number
from health_hub.demo.names import DIACRITIC_FREE, person_name

ORGANIZATION_TYPE = "http://terminology.hl7.org/CodeSystem/organization-type"
ROLE = "http://terminology.hl7.org/CodeSystem/practitioner-role"
LICENCE = "urn:health-hub:demo:practising-certificate"


class Site(NamedTuple):
    key: str
    name: str
    alias: str
    parent: str | None
    line: str
    ward: str
    latitude: str
    longitude: str


# Wards and communes are real places, the facilities are not: names of facilities say that they are samples.
SITES = (
    Site("bvdk-tinh", "Bệnh viện Đa khoa tỉnh (mẫu)", "Provincial General Hospital (sample)",
         None, "479 Lương Ngọc Quyến", "Phường Phan Đình Phùng", "21.5928", "105.8412"),
    Site("ttyt-dai-tu", "Trung tâm Y tế khu vực Đại Từ (mẫu)", "Dai Tu Regional Health Centre (sample)",
         None, "Tổ dân phố 3", "Xã Đại Từ", "21.6336", "105.6389"),
    Site("ttyt-dinh-hoa", "Trung tâm Y tế khu vực Định Hóa (mẫu)", "Dinh Hoa Regional Health Centre (sample)",
         None, "Phố Trung Kiên", "Xã Định Hóa", "21.9083", "105.6461"),
    Site("ttyt-phu-binh", "Trung tâm Y tế khu vực Phú Bình (mẫu)", "Phu Binh Regional Health Centre (sample)",
         None, "Tổ dân phố Hòa Bình", "Xã Phú Bình", "21.4650", "105.9786"),
    Site("tyt-tan-cuong", "Trạm Y tế xã Tân Cương (mẫu)", "Tan Cuong Commune Health Station (sample)",
         "bvdk-tinh", "Xóm Hồng Thái", "Xã Tân Cương", "21.5494", "105.7608"),
    Site("tyt-dong-hy", "Trạm Y tế xã Đồng Hỷ (mẫu)", "Dong Hy Commune Health Station (sample)",
         "bvdk-tinh", "Xóm Ao Rôm", "Xã Đồng Hỷ", "21.6208", "105.8703"),
    Site("tyt-pho-yen", "Trạm Y tế phường Phổ Yên (mẫu)", "Pho Yen Ward Health Station (sample)",
         "ttyt-phu-binh", "Tổ dân phố 2", "Phường Phổ Yên", "21.4117", "105.8736"),
    Site("tyt-vo-nhai", "Trạm Y tế xã Võ Nhai (mẫu)", "Vo Nhai Commune Health Station (sample)",
         "bvdk-tinh", "Xóm Đình Cả", "Xã Võ Nhai", "21.7514", "106.0719"),
    Site("tyt-phu-thinh", "Trạm Y tế xã Phú Thịnh (mẫu)", "Phu Thinh Commune Health Station (sample)",
         "ttyt-dai-tu", "Xóm Gò", "Xã Phú Thịnh", "21.6711", "105.6203"),
    Site("tyt-phuong-tien", "Trạm Y tế xã Phượng Tiến (mẫu)", "Phuong Tien Commune Health Station (sample)",
         "ttyt-dinh-hoa", "Xóm Pải", "Xã Phượng Tiến", "21.8892", "105.6703"),
)
# SNOMED CT has no free licence in every country: specialties are named in words.
SPECIALTIES = ("Nội khoa", "Nhi khoa", "Sản phụ khoa", "Ngoại khoa", "Y học gia đình", "Y học cổ truyền")
STAFF = {"bvdk-tinh": 5, "ttyt-dai-tu": 2, "ttyt-dinh-hoa": 2, "ttyt-phu-binh": 2}  # one elsewhere


@dataclass(frozen=True, slots=True)
class Facilities:
    resources: list[dict[str, Any]]
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class Staff:
    """`at` names the Practitioners of a site, as references with their display."""

    resources: list[dict[str, Any]]
    at: dict[str, list[dict[str, str]]]


def address(line: str, ward: str) -> dict[str, Any]:
    text = f"{line}, {ward}, Thái Nguyên"
    return {"use": "work", "text": text, "line": [line], "district": ward, "state": "Thái Nguyên", "country": "VN"}


def organization(site: Site) -> dict[str, str]:
    return {"reference": f"Organization/{site.key}", "display": site.name}


def location(site: Site) -> dict[str, str]:
    return {"reference": f"Location/{site.key}", "display": site.name}


def facilities() -> Facilities:
    out: list[dict[str, Any]] = []
    names = {s.key: s.name for s in SITES}
    for n, site in enumerate(SITES, 1):
        where = address(site.line, site.ward)
        phone = {"system": "phone", "value": f"0208 3{n:02d}0 {n:03d}", "use": "work"}
        body: dict[str, Any] = {
            "resourceType": "Organization", "id": site.key,
            "identifier": [{"use": "official", "system": "urn:health-hub:demo:facility", "value": f"19{n:03d}"}],
            "active": True,
            "type": [{"coding": [{"system": ORGANIZATION_TYPE, "code": "prov", "display": "Healthcare Provider"}]}],
            "name": site.name, "alias": [site.alias], "telecom": [phone], "address": [where],
        }
        if site.parent:
            body["partOf"] = {"reference": f"Organization/{site.parent}", "display": names[site.parent]}
        out.append(body)
        out.append({
            "resourceType": "Location", "id": site.key, "status": "active", "name": site.name, "alias": [site.alias], "mode": "instance",
            "telecom": [dict(phone)], "address": dict(where),
            "position": {"longitude": number(site.longitude), "latitude": number(site.latitude)},
            "managingOrganization": organization(site),
        })
    return Facilities(out, SITES)


def staff(places: Facilities) -> Staff:
    random = Random(1901)  # noqa: S311  not a secret
    out: list[dict[str, Any]] = []
    at: dict[str, list[dict[str, str]]] = {}
    n = 0
    for site in places.sites:
        for k in range(STAFF.get(site.key, 1)):
            n += 1
            gender = random.choice(("male", "female"))
            name = person_name(random, gender) | {"prefix": ["BS."]}
            name["text"] = f"BS. {name['text']}"
            id = f"bs-{n:02d}"
            login = name["text"].removeprefix("BS. ").casefold().translate(DIACRITIC_FREE).replace(" ", ".")
            out.append({
                "resourceType": "Practitioner", "id": id,
                "identifier": [{"use": "official", "system": LICENCE, "value": f"{n:06d}/TNG-CCHN"}],
                "active": True, "name": [name], "gender": gender,
                "telecom": [{"system": "email", "value": f"{login}@example.vn", "use": "work"}],
            })
            me = {"reference": f"Practitioner/{id}", "display": name["text"]}
            at.setdefault(site.key, []).append(me)
            out.append({
                "resourceType": "PractitionerRole", "id": id, "active": True, "practitioner": dict(me),
                "organization": organization(site),
                "code": [{"coding": [{"system": ROLE, "code": "doctor", "display": "Doctor"}]}],
                "specialty": [{"text": SPECIALTIES[(n + k) % len(SPECIALTIES)]}],
                "location": [location(site)],
            })
    return Staff(out, at)
