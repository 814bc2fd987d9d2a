"""The generated extraction against the full FHIRPath engine, for every search parameter of every type."""

from collections import Counter
from typing import Any

import pytest

from fhir_profiles import tables
from health_hub.fhir import index, keys
from health_hub.fhir.index import Direct, Restricted, Union
from tests.fhir.filled import Filler
from tests.fhir.index_oracle import Expected, nodes, type_of

SEEDS = range(4)


def filled(name: str) -> list[dict[str, Any]]:
    return [Filler(seed * 1000 + len(name)).resource(name) for seed in SEEDS]


def named(hashes: set[int], resource: dict[str, Any]) -> Counter[str]:
    """What keys may belong to, for a failure that can be read."""
    type_ = resource["resourceType"]
    return Counter(
        next((c for c in tables.search_params(type_) if h ^ keys.parameter(type_, c) == keys.value("p", "")), "?") for h in hashes
    )


@pytest.mark.parametrize("name", tables.RESOURCE_TYPES)
def test_extraction_finds_what_fhirpath_finds(name: str) -> None:
    for resource in filled(name):
        check(resource)


def check(resource: dict[str, Any]) -> None:
    name = resource["resourceType"]
    rows = index.extract(resource)
    expected = Expected(resource).all()
    assert rows.keys == sorted(set(rows.keys))
    missing = expected.keys - set(rows.keys)
    assert not missing, named(missing, resource)
    words = {keys.parameter(name, c) ^ keys.value("w", w) for c in ("_text", "_content") for w in words_of(resource)}
    words |= {keys.parameter(name, c) ^ keys.value("p", "") for c in ("_text", "_content")}
    extra = set(rows.keys) - expected.keys - words
    assert not extra, named(extra, resource)
    assert {r[:3] for r in rows.dates} == expected.dates
    assert {r[:3] for r in rows.numbers} == expected.numbers
    assert {r[:2] for r in rows.strings} == expected.strings
    assert set(rows.positions) == expected.positions
    quantities = {r[:-1] for r in rows.quantities}
    assert {r[:6] for r in quantities} == {r[:6] for r in expected.quantities}
    for got, want in zip(sorted(quantities), sorted(expected.quantities), strict=True):
        assert got[6:] == pytest.approx(want[6:])


def words_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {w for v in value.values() for w in words_of(v)}
    if isinstance(value, list):
        return {w for v in value for w in words_of(v)}
    if not isinstance(value, str):
        return set()
    text = value.replace("&amp;", "&").replace("<p>", " ").replace("</p>", " ")
    return set(index.words(text))


@pytest.mark.parametrize("name", tables.RESOURCE_TYPES)
def test_restricted_and_union_find_what_their_own_expression_finds(name: str) -> None:
    for code, param in tables.search_params(name).items():
        plan = index.plan(name, code)
        if isinstance(plan, Restricted | Union) and param.type != "composite":
            for resource in filled(name):
                assert found_by(plan, name, resource) == found(nodes(param, resource)), code


def found(of: list[tuple[str, Any, Any]]) -> set[str]:
    return {repr(value) for _, value, _ in of}


def found_by(plan: Any, name: str, resource: dict[str, Any]) -> set[str]:
    if isinstance(plan, Union):
        return set().union(*(found_by(p, name, resource) for p in plan.of))
    if isinstance(plan, Direct):
        return found(nodes(index.params(name)[plan.code], resource))
    assert isinstance(plan, Restricted)
    base = index.params(name)[plan.of.code]
    return {repr(x) for _, x, _ in nodes(base, resource) if type_of(x.get("reference", ""), x, resource) in plan.targets}
