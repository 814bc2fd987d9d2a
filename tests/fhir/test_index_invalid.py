"""Content that no validator has seen: what cannot be indexed is left out, the rest is found."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_profiles import tables
from health_hub.fhir import index, keys
from health_hub.fhir.index import Rows
from tests.fhir.filled import Filler

JUNK: list[Any] = [
    None,
    "",
    "x",
    5,
    True,
    [],
    {},
    [None],
    [[]],
    ["x"],
    [5],
    [{}],
    {"x": 1},
    {"coding": "x"},
    {"value": "x"},
    "\0",
    "2020-13-45",
    [True, None],
]


def well_formed(found: Rows) -> None:
    assert found.keys == sorted(set(found.keys))
    assert all(isinstance(k, int) and -(2**63) <= k < 2**63 for k in found.keys)
    assert all((isinstance(r[1], int) and r[1] <= r[2]) or r[1] > r[2] for r in found.dates)
    assert all(isinstance(text, str) and "\0" not in text for _, text, _ in found.strings)
    assert all(isinstance(x, float) for r in found.numbers for x in r[1:3])
    assert all(isinstance(x, float) for r in found.quantities for x in (*r[1:3], *r[6:8]))


def spoil(value: Any, r: random.Random) -> Any:
    if r.random() < 0.04:
        return r.choice(JUNK)
    if isinstance(value, dict):
        return {k: spoil(v, r) for k, v in value.items()}
    if isinstance(value, list):
        return [spoil(v, r) for v in value]
    return value


@pytest.mark.parametrize("name", tables.RESOURCE_TYPES)
def test_spoilt_content_never_raises(name: str) -> None:
    for seed in range(4):
        resource = {**spoil(Filler(seed).resource(name, 4), random.Random(seed)), "resourceType": name}
        well_formed(index.extract(resource))
        index.references(resource)
        index.all_references(resource)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["coding", "value", "reference", "code", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*tables.type_("Observation").elements]), JSON, max_size=6))
def test_any_json_in_the_place_of_any_element(elements: dict[str, Any]) -> None:
    well_formed(index.extract({**elements, "resourceType": "Observation"}))


def test_the_rest_is_still_found() -> None:
    found = index.extract(
        {"resourceType": "Observation", "status": "final", "code": {"coding": ["x", {"code": "ok"}]}, "effectiveDateTime": "2020-99"}
    )
    assert keys.parameter("Observation", "status") ^ keys.value("c", "final") in found.keys
    assert keys.parameter("Observation", "code") ^ keys.value("c", "ok") in found.keys
    assert found.dates == []


@pytest.mark.parametrize("resource", [{}, {"resourceType": "Nothing"}, {"resourceType": 5}, {"resourceType": "Resource"}])
def test_what_is_no_resource_has_no_rows(resource: dict[str, Any]) -> None:
    assert index.extract(resource) == Rows()
