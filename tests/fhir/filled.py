"""Resources with every element filled, from the definitions: they meet search parameters that no real data meets."""

import random
from typing import Any

from fhir_profiles import tables
from fhir_profiles.number import Number

DATES = ("1974", "1974-12", "1974-12-25", "2023-02-28T23:59:59+07:00", "2023-02-28T23:59:59.123Z", "2011-07-06T17:26:20-04:00")
TYPES = (
    "Patient",
    "Practitioner",
    "Organization",
    "Group",
    "Location",
    "Device",
    "Encounter",
    "RelatedPerson",
    "Medication",
    "Observation",
)
EXTENSIONS = (
    "http://hl7.org/fhir/StructureDefinition/observation-geneticsGene",
    "http://hl7.org/fhir/StructureDefinition/observation-geneticsDnaVariant",
    "http://hl7.org/fhir/StructureDefinition/observation-geneticsAminoAcidChangeName",
    "http://hl7.org/fhir/StructureDefinition/DiagnosticReport-geneticsAssessedCondition",
    "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject",
    "http://hl7.org/fhir/StructureDefinition/device-din",
    "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
    "http://example.org/other",
)
UNITS = (("mg", "mg"), ("mmHg", "mm[Hg]"), ("C", "Cel"), ("F", "[degF]"), ("tablets", "{tbl}"), ("k/uL", "10*3/uL"), ("odd", "no unit"))


class Filler:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def resource(self, name: str, depth: int = 5) -> dict[str, Any]:
        return {"resourceType": name, **self.elements(name, depth)}

    def elements(self, name: str, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        chosen: dict[str, str] = {}
        type_ = tables.type_(name)
        for path, choices in type_.choices.items():
            chosen[path] = self.random.choice(list(choices.values()))
        for element in type_.elements.values():
            if element.choice and chosen[element.path_name] != element.name:
                continue
            if element.name == "extension" and self.random.random() < 0.7:
                continue
            value = self.value(element, depth) if not element.array else self.values(element, depth)
            if value is not None:
                out[element.name] = value
        return out

    def values(self, element: tables.Element, depth: int) -> list[Any] | None:
        found = [self.value(element, depth) for _ in range(self.random.randint(1, 2))]
        return [v for v in found if v is not None] or None

    def value(self, element: tables.Element, depth: int) -> Any:
        name = element.type
        if name == "Resource":
            if depth < 4:
                return None
            return {
                **self.resource(self.random.choice(("Patient", "Composition", "MessageHeader", "Observation")), 2),
                "id": f"in{self.number()}",
            }
        if tables.type_(name).kind == "primitive":
            return self.primitive(element)
        if depth <= 0:
            return None
        if name == "Extension":
            return self.extension()
        if name == "Reference":
            return self.reference(element)
        if name in ("Quantity", "Age", "Duration", "Count", "Distance"):
            return self.quantity()
        if name == "SampledData":
            return {
                "origin": self.quantity(),
                "period": 10,
                "factor": Number(b"1.612"),
                "lowerLimit": -900,
                "dimensions": 1,
                "data": "20 -3 E L 7.5",
            }
        return self.elements(name, depth - 1) or None

    def number(self) -> int:
        self.count += 1
        return self.count

    def primitive(self, element: tables.Element) -> Any:
        name, r = element.type, self.random
        if name == "boolean":
            return r.random() < 0.5
        if name in ("integer", "positiveInt", "unsignedInt"):
            return r.randint(1, 50)
        if name == "decimal":
            return Number(f"{r.randint(-50, 50)}.{r.randint(0, 999):03d}".encode())
        if name in ("date", "dateTime", "instant"):
            return r.choice({"date": DATES[:3], "dateTime": DATES, "instant": DATES[3:]}[name])
        if name == "time":
            return "12:30:00"
        if name == "code":
            systems = tables.value_set_systems(element.binding) if element.binding else None
            codes = sorted(c for found in (systems or {}).values() for c in found)
            return r.choice(codes) if codes and r.random() < 0.9 else "Odd"
        if name == "canonical":
            return r.choice(
                (f"http://example.org/x{self.number()}", f"http://example.org/x{self.number()}|1.{r.randint(0, 2)}", "#in", "Library/a1")
            )
        if name in ("uri", "url"):
            return r.choice((f"http://example.org/Y/{self.number()}", "urn:oid:1.2.3"))
        if name == "oid":
            return "urn:oid:1.2.3"
        if name == "uuid":
            return "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
        if name == "id":
            return f"i{self.number()}"
        if name == "xhtml":
            return f'<div xmlns="http://www.w3.org/1999/xhtml"><p>Bệnh nhân &amp; số {self.number()}</p></div>'
        if name == "base64Binary":
            return "AAAA"
        return r.choice(("Nguyễn Thị Ánh", "Đặng văn B", "x%_'y", "Sốt xuất huyết Dengue")) + f" {r.randint(1, 5)}"

    def extension(self) -> dict[str, Any]:
        r = self.random
        values: dict[str, Any] = {
            "valueString": "Nguyễn", "valueCodeableConcept": {"coding": [{"system": "http://x.org", "code": "G1"}], "text": "gene"},
            "valueReference": {"reference": "Condition/c1"}, "valueBoolean": True, "valueCode": "Abc", "valueInteger": 3,
            "valueIdentifier": {"system": "urn:din", "value": "D1"},
        }  # fmt: skip
        name = r.choice(sorted(values))
        return {"url": r.choice(EXTENSIONS), name: values[name]}

    def reference(self, element: tables.Element) -> dict[str, Any]:
        r = self.random
        of = r.choice([t for t in element.targets if tables.is_resource_type(t)] or TYPES)
        id_ = f"a{r.randint(1, 9)}"
        choice = r.choice(("local", "local", "local", "version", "absolute", "urn", "contained", "identifier"))
        out: dict[str, Any] = {"display": "ai đó"}
        if choice == "identifier":
            return {**out, "type": of, "identifier": {"system": "urn:mrn", "value": f"M{id_}", "type": {"coding": [{"code": "MR"}]}}}
        out["reference"] = {
            "local": f"{of}/{id_}", "version": f"{of}/{id_}/_history/3", "absolute": f"http://other.org/fhir/{of}/{id_}",
            "urn": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "contained": "#in1",
        }[choice]  # fmt: skip
        if choice == "urn" and r.random() < 0.5:
            out["type"] = of
        return out

    def quantity(self) -> dict[str, Any]:
        r = self.random
        unit, code = r.choice(UNITS)
        out: dict[str, Any] = {"value": Number(f"{r.randint(0, 200)}.{r.randint(0, 99):02d}".encode())}
        if r.random() < 0.2:
            out["comparator"] = r.choice(("<", "<=", ">", ">="))
        if r.random() < 0.9:
            out |= {"unit": unit, "system": r.choice(("http://unitsofmeasure.org", "http://unitsofmeasure.org", "urn:own")), "code": code}
        return out
