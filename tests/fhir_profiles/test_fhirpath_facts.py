"""The language, fact by fact (tests/data/fhirpath.txt)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fhir_profiles.fhirpath import Quantity
from fhir_profiles.fhirpath.functions.conversion import to_text
from fhir_profiles.fhirpath.node import system
from health_hub.fhir.fhirpath import FHIRPathError, Node, compile_
from health_hub.fhir.json import loads

DATA = Path(__file__).parents[1] / "data"
PATIENT = loads((DATA / "fhirpath_patient.json").read_bytes())
FACTS = [
    tuple(line.split(" =>", 1)) for line in (DATA / "fhirpath.txt").read_text("utf-8").splitlines() if " =>" in line and line[0] != "#"
]


def _text(item: Any) -> str:
    value = system(item)
    return to_text(value.value if isinstance(value, Quantity) and isinstance(item, Node) else value) or "?"


@pytest.mark.parametrize(("expression", "expected"), FACTS, ids=[f[0] for f in FACTS])
def test_fact(expression: str, expected: str) -> None:
    expected = expected.strip()
    if expected.startswith("!"):
        with pytest.raises(FHIRPathError) as refused:
            compile_(expression).items(PATIENT)
        assert refused.value.kind == expected[1:]
        return
    found = [_text(item) for item in compile_(expression).items(PATIENT)]
    wanted = expected.split(" ; ") if expected else []
    assert [_number(x) for x in found] == [_number(x) for x in wanted]


def _number(text: str) -> Any:
    return Decimal(text) if text.replace(".", "", 1).lstrip("-").isdigit() else text


def test_facts_leave_the_resource_as_it_was() -> None:
    assert loads((DATA / "fhirpath_patient.json").read_bytes()) == PATIENT
