"""Makes fhir_profiles/r4/*.json from the official package: `python -m fhir_profiles.build hl7.fhir.r4.core.tgz`.

Carries facts only: names, types, cardinalities, bindings, codes, displays, expressions, targets. No descriptions. The files'
layouts are described in fhir_profiles/tables.py, which reads them. The same package always gives the same bytes.
"""

import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
CORE = "http://hl7.org/fhir/StructureDefinition/"
OUT = Path(__file__).parent / "r4"

# Wrong in the package, or given there as XPath only. The extensions' own definitions give the right URLs.
CORRECTED_EXPRESSIONS = {
    "patient-extensions-Patient-mothersMaidenName": "Patient.extension('http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName').value",
    "patient-extensions-Patient-birthOrderBoolean": "Patient.multipleBirth.ofType(boolean)",
    "device-extensions-Device-din": "Device.extension('http://hl7.org/fhir/StructureDefinition/device-din').value",
    "questionnaireresponse-extensions-QuestionnaireResponse-item-subject": "QuestionnaireResponse.item.where(extension("
    "'http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject').exists()).answer.value.ofType(Reference)",
}
# The package gives the two definitions in the wrong order: the code is a token, the target a reference.
CORRECTED_COMPONENTS = {
    "DocumentReference-relationship": [
        ["http://hl7.org/fhir/SearchParameter/DocumentReference-relation", "code"],
        ["http://hl7.org/fhir/SearchParameter/DocumentReference-relatesto", "target"],
    ]
}
# Search parameters that search.html defines in prose, without a SearchParameter resource.
PROSE_PARAMETERS = (("_list", "reference", ("List",)), ("_type", "token", ()), ("_in", "reference", ("CareTeam", "Group", "List")))


def read(package: Path) -> Iterator[Json]:
    """Every resource of the package (a .tgz, or the folder it unpacks to), in order of file name."""
    if package.is_dir():
        for path in sorted(package.glob("*.json")):
            yield json.loads(path.read_bytes())
        return
    with tarfile.open(package) as tar:
        for member in sorted(tar, key=lambda m: m.name):
            file = tar.extractfile(member) if member.name.endswith(".json") and member.name.count("/") == 1 else None
            if file:
                yield json.loads(file.read())


def without_version(url: str) -> str:
    return url.partition("|")[0]


def targets(type_: Json) -> list[str]:
    names = sorted({u.rpartition("/")[2] for u in type_.get("targetProfile", [])})
    return [] if "Resource" in names else names


def type_name(type_: Json) -> str:
    code: str = type_["code"]
    if not code.startswith("http://hl7.org/fhirpath/"):
        return code
    return next(str(x["valueUrl"]) for x in type_["extension"] if x["url"].endswith("structuredefinition-fhir-type"))


def structure(definition: Json, invariants: dict[str, Json], quantity_rules: dict[str, list[str]]) -> Iterator[tuple[str, list[Any]]]:
    """One type and the backbone types inside it, each with the elements it adds to its base."""
    root, *rest = definition["snapshot"]["element"]
    name = definition["type"]
    paths_with_children = {e["path"].rpartition(".")[0] for e in rest}

    def keys(element: Json, inherited: bool = False) -> list[str]:
        found = []
        for c in element.get("constraint", []):
            if "expression" not in c:
                continue
            if inherited and c["key"] in ("ele-1", "ext-1"):  # every element has these by its type
                continue
            row = {"key": c["key"], "severity": c["severity"], "expression": c["expression"], "human": c["human"]}
            key = c["key"]
            while key in invariants and invariants[key]["expression"] != row["expression"]:
                key += "'"  # one key, two texts in the package
            invariants[key] = row
            found.append(key)
        return found

    rows: dict[str, list[Any]] = {}
    kind = {"resource": "resource", "complex-type": "complex", "primitive-type": "primitive"}[definition["kind"]]
    base = definition.get("baseDefinition", "").removeprefix(CORE)
    rows[name] = [kind + ("*" if definition["abstract"] else ""), base, keys(root), []]
    for e in rest:
        path: str = e["path"]
        owner, _, last = path.rpartition(".")
        has_children = path in paths_with_children
        if has_children:
            backbone_base = e["type"][0]["code"]
            rows[path] = ["backbone", backbone_base, keys(e), []]
        inherited = e["base"]["path"] != path or (kind == "primitive" and last in ("id", "extension", "value"))
        if inherited and path not in ("Element.id", "Element.extension"):
            continue
        if "contentReference" in e:
            types: list[list[Any]] = [[e["contentReference"].removeprefix("#"), []]]
        elif has_children:
            types = [[path, []]]
        elif path == "Resource.id":
            types = [["id", []]]  # the package says string, resource.html#id says id
        else:
            types = [[type_name(t), targets(t)] for t in e["type"]]
        binding = e.get("binding", {})
        own = keys(e, True) if not has_children else []
        for t in e.get("type", []):
            for profile in t.get("profile", []):
                own += quantity_rules.get(profile, [])
        flags = ("m" if e.get("isModifier") else "") + ("s" if e.get("isSummary") else "")
        rows[owner][3].append(
            [
                last,
                e["min"],
                0 if e["max"] == "*" else int(e["max"]),
                flags,
                [[t[0], *t[1]] if t[1] else t[0] for t in types],
                without_version(binding["valueSet"]) if binding.get("strength") == "required" and "valueSet" in binding else "",
                own,
            ]
        )
    yield from rows.items()


def types_table(resources: list[Json]) -> Json:
    definitions = [r for r in resources if r["resourceType"] == "StructureDefinition"]
    invariants: dict[str, Json] = {}
    quantity_rules: dict[str, list[str]] = {}
    for d in definitions:
        if d["id"] == "SimpleQuantity":
            for c in d["snapshot"]["element"][0]["constraint"]:
                if c["key"] == "sqty-1":
                    invariants["sqty-1"] = {k: c[k] for k in ("key", "severity", "expression", "human")}
                    quantity_rules[d["url"]] = ["sqty-1"]
    types: Json = {}
    for d in definitions:
        specialization = d.get("derivation") == "specialization" or d["type"] in ("Element", "Resource")
        if d["kind"] in ("resource", "complex-type", "primitive-type") and specialization:
            types.update(structure(d, invariants, quantity_rules))
    rules = {k: [r["key"], r["severity"], r["expression"], r["human"]] for k, r in sorted(invariants.items())}
    return {"types": dict(sorted(types.items())), "invariants": rules}


def search_table(resources: list[Json]) -> list[Any]:
    rows: list[list[Any]] = []
    for r in resources:
        if r["resourceType"] != "SearchParameter" or "base" not in r or r["id"].startswith("example"):
            continue  # those without a base are stubs for extensions, the examples repeat real ones
        expression = CORRECTED_EXPRESSIONS.get(r["id"], r.get("expression", ""))
        parts = CORRECTED_COMPONENTS.get(r["id"]) or [[c["definition"], c["expression"]] for c in r.get("component", [])]
        flags = ("" if r.get("multipleOr", True) else "o") + ("" if r.get("multipleAnd", True) else "a")
        rows.append([r["url"], r["code"], r["base"], r["type"], expression, sorted(r.get("target", [])), parts, flags])
    for code, type_, target in PROSE_PARAMETERS:
        rows.append([f"http://hl7.org/fhir/SearchParameter/Resource-{code[1:]}", code, ["Resource"], type_, "", list(target), [], ""])
    return sorted(rows)


def compartments_table(resources: list[Json]) -> Json:
    return {
        r["code"]: {x["code"]: x["param"] for x in sorted(r["resource"], key=lambda x: x["code"]) if x.get("param")}
        for r in resources
        if r["resourceType"] == "CompartmentDefinition" and r["id"] != "example"
    }


def operations_table(resources: list[Json]) -> list[Any]:
    rows = []
    for r in resources:
        if r["resourceType"] == "OperationDefinition" and r["id"] != "example":
            where = "".join(k[0] for k in ("system", "type", "instance") if r[k])
            parameters = [[p["name"], p["use"], p["min"], p["max"], p.get("type", "")] for p in r.get("parameter", [])]
            rows.append([r["url"], r["code"], r.get("resource", []), where, bool(r.get("affectsState", False)), parameters])
    return sorted(rows)


class Terminology:
    """Code systems and the value sets that can be listed from them."""

    def __init__(self, resources: list[Json]) -> None:
        self.systems = {r["url"]: r for r in resources if r["resourceType"] == "CodeSystem"}
        self.sets = {r["url"]: r for r in resources if r["resourceType"] == "ValueSet"}
        self.codes = {url: self._codes(s) for url, s in sorted(self.systems.items()) if s["content"] == "complete"}

    def _codes(self, system: Json) -> dict[str, tuple[str, list[str]]]:
        """code -> (display, codes of its parents)"""
        found: dict[str, tuple[str, list[str]]] = {}
        children: list[tuple[str, str]] = []

        def walk(concepts: list[Json], parent: str | None) -> None:
            for c in concepts:
                _, parents = found.setdefault(c["code"], (c.get("display", ""), []))
                if parent is not None and parent not in parents:
                    parents.append(parent)
                for p in c.get("property", []):
                    value = p.get("valueCode")
                    if value is not None and p["code"] == "parent":
                        parents.append(value)
                    if value is not None and p["code"] == "child":
                        children.append((c["code"], value))
                walk(c.get("concept", []), c["code"])

        walk(system.get("concept", []), None)
        for parent, child in children:
            if child in found and parent not in found[child][1]:
                found[child][1].append(parent)
        return found

    def systems_table(self) -> Json:
        table = {}
        for url, codes in self.codes.items():
            place = {code: i for i, code in enumerate(codes)}
            rows = []
            for code, (display, parents) in codes.items():
                row: list[Any] = [code, display, *(place[p] for p in parents if p in place)]
                rows.append(code if row[1:] in ([""], [code]) else row)
            table[url] = rows
        return table

    def _below(self, system: str, top: str, include_top: bool) -> set[str]:
        codes = self.codes[system]
        below = {top}
        while True:
            more = {c for c, (_, parents) in codes.items() if c not in below and below.intersection(parents)}
            if not more:
                return below if include_top else below - {top}
            below |= more

    def _filtered(self, system: str, filters: list[Json]) -> set[str] | None:
        codes = set(self.codes[system])
        for f in filters:
            if f["property"] != "concept" or f["op"] not in ("is-a", "descendent-of", "is-not-a"):
                return None
            found = self._below(system, f["value"], f["op"] != "descendent-of")
            codes &= (set(self.codes[system]) - found) if f["op"] == "is-not-a" else found
        return codes

    def _part(self, part: Json, path: tuple[str, ...]) -> dict[str, set[str]] | None:
        found: dict[str, set[str]] | None = None
        system = part.get("system")
        if system:
            if "concept" in part:
                codes: set[str] | None = {c["code"] for c in part["concept"]}
            elif system in self.codes:
                codes = self._filtered(system, part.get("filter", []))
            else:
                codes = None
            if codes is None:
                return None
            found = {system: codes}
        for url in part.get("valueSet", []):
            other = self.expand(without_version(url), path)
            if other is None:
                return None
            found = other if found is None else {s: c & other.get(s, set()) for s, c in found.items()}
        return found

    def expand(self, url: str, path: tuple[str, ...] = ()) -> dict[str, set[str]] | None:
        """system -> codes, or None for what cannot be listed."""
        if url not in self.sets or url in path:
            return None
        compose = self.sets[url].get("compose", {})
        found: dict[str, set[str]] = {}
        for part in compose.get("include", []):
            codes = self._part(part, (*path, url))
            if codes is None:
                return None
            for s, c in codes.items():
                found[s] = found.get(s, set()) | c
        for part in compose.get("exclude", []):
            codes = self._part(part, (*path, url))
            if codes is None:
                return None
            for s, c in codes.items():
                found[s] = found.get(s, set()) - c
        return {s: c for s, c in found.items() if c} or None

    def sets_table(self) -> Json:
        """url -> {system: codes}; 0 for all codes of a system in the table, null for a set that cannot be listed."""
        table: Json = {}
        for url in sorted(self.sets):
            codes = self.expand(url)
            if codes is None:
                table[url] = None
            else:
                table[url] = {s: 0 if c == set(self.codes.get(s, ())) else sorted(c) for s, c in sorted(codes.items())}
        return table


def one_line_each(table: Any) -> str:
    """Compact JSON with a line an entry, so that a change of the tables can be read as a diff."""
    dump: Callable[[Any], str] = lambda v: json.dumps(v, ensure_ascii=False, separators=(",", ":"))  # noqa: E731
    if isinstance(table, dict):
        return "{\n" + ",\n".join(f"{dump(k)}:{dump(v)}" for k, v in table.items()) + "\n}\n"
    return "[\n" + ",\n".join(map(dump, table)) + "\n]\n"


def main(package: str) -> None:
    resources = [r for r in read(Path(package)) if r.get("resourceType")]
    structures = types_table(resources)
    terms = Terminology(resources)
    tables = {
        "resources": sorted(name for name, row in structures["types"].items() if row[0] == "resource"),
        "types": structures["types"],
        "invariants": structures["invariants"],
        "search": search_table(resources),
        "compartments": compartments_table(resources),
        "operations": operations_table(resources),
        "codesystems": terms.systems_table(),
        "valuesets": terms.sets_table(),
    }
    OUT.mkdir(exist_ok=True)
    for name, table in tables.items():
        (OUT / f"{name}.json").write_text(one_line_each(table), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
