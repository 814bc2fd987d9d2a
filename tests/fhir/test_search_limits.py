"""Hostile searches end in a 400 within a bounded time."""

import time

import pytest

from fhir_profiles.tables import RESOURCE_TYPES
from health_hub.fhir.search.parse import _builds
from tests.fhir.search_asks import ask, refused

HOSTILE = {
    "values": "name=" + ",".join(["a"] * 1001),
    "value": "name=" + "a" * 5000,
    "conditions": "&".join(["name=a"] * 101),
    "includes": "&".join(f"_revinclude={t}:*" for t in RESOURCE_TYPES),
    "elements": "_elements=" + ",".join(f"a{i}" for i in range(500)),
    "sort": "_sort=" + ",".join(["name"] * 5000),
    "backslashes": "name=" + "\\" * 99_999,
    "pipes": "identifier=" + "|" * 4000,
    "dollars": "_has:Observation:patient:code-value-quantity=" + "$" * 4000,
    "commas": "name=" + "," * 100_000,
    "colons": "name" + ":" * 100_000 + "=a",
    "dots": "name" + "." * 100_000 + "=a",
    "has": "_has:Observation:patient:" * 10_000 + "code=a",
    "name": "x" * 100_000 + ":y=a",
    "digits": "_lastUpdated=" + "9" * 100_000,
    "exponent": "_has:RiskAssessment:patient:probability=1e9999",
    "sql": "_id=1'; drop table resource; --",
    "filter": "_filter=" + "not(" * 4000,
    "elements pattern": "_elements=" + "a" * 50_000 + "!",
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_hostile_searches_are_refused_soon(case: str) -> None:
    start = time.process_time()
    reasons = refused("Patient", HOSTILE[case])
    assert time.process_time() - start < 30
    assert all(len(r) < 2000 for r in reasons)


def test_invented_names_do_not_stay_in_memory() -> None:
    before = len(_builds)
    for i in range(2000):
        ask("Patient", f"nope{i}=a&name:exact=b", strict=False)
    assert len(_builds) <= before + 1
