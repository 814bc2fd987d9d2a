"""The demo records: valid, complete in themselves, the same every time, loaded once."""

from typing import Any

from fhir_profiles.validator import validate
from health_hub import demo
from health_hub.fhir.json import dumps
from health_hub.store.store import Store


def test_every_record_is_valid() -> None:
    problems = [(r["resourceType"], r["id"], p) for r in demo.records() for p in validate(r)]
    assert not problems


def test_they_are_the_same_every_time() -> None:
    assert dumps(demo.records()) == dumps(demo.records())


def test_every_reference_has_its_target_before_it() -> None:
    there: set[str] = set()
    for r in demo.records():
        absent = {x for x in _references(r) if x not in there}
        assert not absent, f"{r['resourceType']}/{r['id']}"
        there.add(f"{r['resourceType']}/{r['id']}")


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [x for v in value for x in _references(v)]
    if isinstance(value, dict):
        return [value[k] for k in ("reference",) if k in value] + [x for v in value.values() for x in _references(v)]
    return []


def test_a_citizen_number_says_sex_and_year_of_birth() -> None:
    for r in demo.records():
        if r["resourceType"] == "Patient":
            number, year = r["identifier"][0]["value"], int(r["birthDate"][:4])
            assert len(number) == 12
            assert (int(number[3]) % 2, int(number[3]) // 2) == (r["gender"] == "female", year // 100 - 19)
            assert int(number[4:6]) == year % 100


async def test_loaded_once(store: Store) -> None:
    assert await demo.load(store) == len(demo.records())
    assert await demo.load(store) == 0
    found = await store.view().read("Patient", "bn-001")
    assert found
    assert found.version == 1
