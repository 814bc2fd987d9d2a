"""PyPI smart-fetch crawls by SMART Backend Services, and gets exactly what its scopes and its facility's relationships allow."""

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from health_hub import demo
from health_hub.demo.care import MANAGED
from health_hub.fhir.json import dumps
from tests.clients.conftest import Run, Signed
from tests.clients.records import recorded

FACILITY = "bvdk-tinh"
KEYS: dict[str, Any] = {"RS384": lambda: RSAKey.generate_key(2048), "ES384": lambda: ECKey.generate_key("P-384")}


def key_sets(folder: Path, alg: str) -> tuple[Path, Path]:
    """(private, public) JWK Sets of a new key."""
    key = KEYS[alg]()
    said = {"alg": alg, "kid": f"key-{alg}", "use": "sig"}
    private, public = folder / "private.jwks", folder / "public.jwks"
    private.write_text(json.dumps({"keys": [key.as_dict(private=True) | said | {"key_ops": ["sign"]}]}))
    public.write_text(json.dumps({"keys": [key.as_dict(private=False) | said]}))
    return private, public


def client(signed: Signed, jwks: Path, scope: str) -> str:
    words = ("client", "add", "smart-fetch", "--grant", "client_credentials", "--auth-method", "private_key_jwt", "--jwks", str(jwks))
    said = signed.command(*words, "--organization", f"Organization/{FACILITY}", "--scope", scope, "--json")
    return str(json.loads(said)["client_id"])


def strangers() -> list[str]:
    """Demo patients whom nothing joins with the facility: no record names both."""
    records = [dumps(r).decode() for r in demo.records()]
    ours = {id for id in _patients() for text in records if f'"Patient/{id}"' in text and FACILITY in text}
    mine = {r["id"] for r in demo.records() if r["resourceType"] == "Patient" and FACILITY in dumps(r).decode()}
    doctors = {r["id"] for r in demo.records() if r["resourceType"] == "PractitionerRole" and FACILITY in dumps(r).decode()}
    booked = {id for id in _patients() for text in records if f'"Patient/{id}"' in text and any(f"/{d}" in text for d in doctors)}
    return sorted(_patients() - ours - mine - booked)[:5]


def _patients() -> set[str]:
    return {r["id"] for r in demo.records() if r["resourceType"] == "Patient"}


def about(type: str, patients: tuple[str, ...], category: str | None = None) -> set[str]:
    """Ids of the demo records of a type about these patients; category: of those that have one."""
    subjects = {f"Patient/{id}" for id in patients}
    return {
        r["id"] for r in demo.records()
        if r["resourceType"] == type and r.get("subject", {}).get("reference") in subjects
        and (category is None or category in [c["code"] for concept in r["category"] for c in concept["coding"]])
    }  # fmt: skip


def fetched(folder: Path) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for file in folder.rglob("*.ndjson"):
        for line in file.read_text("utf-8").splitlines():
            resource = json.loads(line)
            if "id" in resource:
                out.setdefault(resource["resourceType"], set()).add(resource["id"])
    return out


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_smart_fetch_gets_what_it_may(signed: Signed, smart_fetch: Run, tmp_path: Path, alg: str) -> None:
    private, public = key_sets(tmp_path, alg)
    id = client(signed, public, "system/Patient.rs system/Encounter.rs")
    own, others = MANAGED[FACILITY], strangers()
    assert len(others) >= 3
    where = ("--fhir-url", signed.base, "--smart-client-id", id, "--smart-key", str(private), "--id-list", ",".join((*own, *others)))
    smart_fetch("crawl", *where, "--type", "Patient,Encounter,Condition", "--no-compression", str(tmp_path / "out"))
    found = fetched(tmp_path / "out")
    visits, diseases = (set().union(*(recorded(type, p) for p in own)) for type in ("Encounter", "Condition"))
    assert diseases, "there are Conditions, and no scope for them"
    assert found == {"Patient": set(own), "Encounter": visits}


def test_smart_fetch_gets_no_type_it_has_no_scope_for(signed: Signed, smart_fetch: Run, tmp_path: Path) -> None:
    """It asks for three types and has scopes for two, one of them narrowed."""
    private, public = key_sets(tmp_path, "ES384")
    id = client(signed, public, "system/Patient.rs system/Condition.rs?category=problem-list-item")
    own = MANAGED[FACILITY]
    listed = about("Condition", own, "problem-list-item")
    assert about("Encounter", own), "something that it must not get"
    assert listed < about("Condition", own), "and some of another category"
    where = ("--fhir-url", signed.base, "--smart-client-id", id, "--smart-key", str(private), "--id-list", ",".join(own))
    smart_fetch("crawl", *where, "--type", "Patient,Encounter,Condition", "--no-compression", str(tmp_path / "out"))
    found = fetched(tmp_path / "out")
    assert found["Patient"] == set(own)
    assert found["Condition"] == listed
    assert found.keys() <= {"Patient", "Condition", "OperationOutcome"}


def test_another_key_gets_nothing(signed: Signed, smart_fetch: Run, tmp_path: Path) -> None:
    _, public = key_sets(tmp_path, "ES384")
    id = client(signed, public, "system/Patient.rs")
    private, _ = key_sets(tmp_path, "ES384")
    where = ("--fhir-url", signed.base, "--smart-client-id", id, "--smart-key", str(private))
    with pytest.raises(AssertionError, match="signed with none of the client's keys"):
        smart_fetch("crawl", *where, "--id-list", "bn-006", "--type", "Patient", "--no-compression", str(tmp_path / "out"))
    assert not fetched(tmp_path / "out")
