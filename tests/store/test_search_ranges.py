"""Unsorted searches by dates, numbers and quantities: the same as any other way finds, in pages, while others write."""

import random
from typing import Any

import pytest

from fhir_profiles.tables import type_number
from health_hub.fhir import keys
from health_hub.fhir.json import dumps, loads
from health_hub.store.access import EVERY
from health_hub.store.condition import Keys, Source
from health_hub.store.model import Change, Filter, Grant
from health_hub.store.search import sizes
from health_hub.store.search.ranges import range_of
from health_hub.store.search.resolve import World, conditions
from health_hub.store.store import Store
from tests.store.searching import found, observation, pages, put, query

UCUM = "http://unitsofmeasure.org"
WHEN: list[dict[str, Any]] = [
    {"effectiveDateTime": "2024"},
    {"effectiveDateTime": "2024-02"},
    {"effectiveDateTime": "2024-02-03"},
    {"effectiveDateTime": "2024-02-03T10:00:00+07:00"},
    {"effectiveDateTime": "2024-02-04T00:00:00+07:00"},
    {"effectiveInstant": "2023-12-31T23:59:59.5Z"},
    {"effectivePeriod": {"start": "2023-11-01", "end": "2024-02-10"}},
    {"effectivePeriod": {"start": "2024-02-02"}},
    {"effectivePeriod": {"end": "2024-02-05T08:00:00Z"}},
    {"effectivePeriod": {"start": "2024-02-03", "end": "2024-02-04"}},
    {"effectiveTiming": {"event": ["2024-01-30", "2024-03-01"]}},
    {},
]
WHAT: list[dict[str, Any]] = [
    {"valueQuantity": {"value": 5, "unit": "mg", "system": UCUM, "code": "mg"}},
    {"valueQuantity": {"value": 0.005, "system": UCUM, "code": "g"}},
    {"valueQuantity": {"value": 5.4, "unit": "x"}},
    {"valueQuantity": {"value": 6, "comparator": "<", "system": UCUM, "code": "mg"}},
    {"valueQuantity": {"value": 4, "comparator": ">=", "system": UCUM, "code": "mg"}},
    {"valueQuantity": {"value": 7}},
    {"valueSampledData": {"origin": {"value": 0}, "period": 1, "dimensions": 1, "data": "3 5 8"}},
    {},
]
DATES = ["2024-02-03", "2024", "2024-02-03T10:00:00+07:00"]
AMOUNTS = ["5", "5.4", "0.005|http://unitsofmeasure.org|g", "5||mg"]


def _made(n: int) -> list[dict[str, Any]]:
    rnd = random.Random(11)
    out: list[dict[str, Any]] = []
    for i in range(n):
        status = rnd.choice(["final", "amended"])
        parts = [{"code": {"text": "x"}, **what} for what in rnd.sample(WHAT[:6], rnd.choice([0, 1, 2, 3]))]
        more: dict[str, Any] = {"component": parts} if parts else {}
        out.append(observation(f"o{i}", status=status, **rnd.choice(WHEN), **rnd.choice(WHAT), **more))
        wide = {"low": {"value": 0.2}, "high": {"value": 0.4}}
        chances = [{"probabilityDecimal": p} for p in (0.1, 0.25, 0.5)] + [{"probabilityRange": wide}]
        out.append(
            {
                "resourceType": "RiskAssessment",
                "id": f"r{i}",
                "status": "final",
                "subject": {"reference": "Patient/1"},
                "prediction": [rnd.choice(chances) for _ in range(rnd.choice([1, 2, 3]))],
            }
        )
    return loads(dumps(out))  # type: ignore[no-any-return]


PREFIXES = ["", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
SEARCHES = [
    *[f"Observation?date={p}{d}" for p in PREFIXES for d in DATES],
    *[f"Observation?{c}={p}{a}" for c in ("value-quantity", "component-value-quantity") for p in PREFIXES for a in AMOUNTS],
    *[f"RiskAssessment?probability={p}{n}" for p in PREFIXES for n in ("0.25", "0.3")],
    *[f"Observation?date={p}2024-02-01&date={q}2024-02-04" for p in ("ge", "gt", "sa") for q in ("le", "lt", "eb")],
    "Observation?date=2024,2023-12",
    "Observation?date=ge2024-02-01&date=le2024-02-04&status=final",
    "Observation?date=ge2024-02-01&date=le2024-02-04&status:not=final",
    "Observation?date=ge2024-02-01&value-quantity=gt4",
    "Observation?date:missing=true&status=final",
    "Observation?value-quantity=gt4&value-quantity=lt6",
    "Observation?value-quantity=gt4|http://unitsofmeasure.org|mg&value-quantity=lt6|http://unitsofmeasure.org|mg",
    "Observation?value-quantity=gt4|http://unitsofmeasure.org|mg&value-quantity=lt6",
    "Observation?component-value-quantity=gt5&component-value-quantity=lt5",
    "RiskAssessment?probability=gt0.2&probability=lt0.3",
    "Observation?code-value-quantity=8867-4$gt4",
    "Observation?date=gt2100",
]


@pytest.fixture(params=[True, False], ids=["few", "many"])
def shape(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(sizes, "FEW", -1)


async def test_ranges_find_what_a_sorted_search_finds_in_pages_of_one_order(store: Store, shape: None) -> None:
    await put(store, *_made(60))
    some = Filter((Grant(EVERY, Keys((keys.parameter("Observation", "status") ^ keys.value("c", "amended"),))),))
    view = store.view()
    for text in SEARCHES:
        expected = sorted(await found(store, f"{text}&_sort=_id&_count=1000"))
        whole = await found(store, f"{text}&_count=1000")
        assert sorted(whole) == expected, text
        parts = await pages(store, f"{text}&_count=7")
        assert [i for p in parts for i in p] == whole, text
        assert await view.count(query(text)) == len(expected), text
        seen = await found(store, f"{text}&_count=7", some)
        assert sorted(seen) == sorted(await found(store, f"{text}&_sort=_id&_count=1000", some)), text
        assert await store.view(some).count(query(text)) == len(seen), text


@pytest.mark.parametrize(
    "text",
    [
        "Observation?date=ge2024-01-15&date=le2024-02-04",
        "Observation?date=ge2024-02-01",
        "Observation?date=lt2024-02-04",
        "Observation?value-quantity=gt4",
        "Observation?component-value-quantity=gt4",
        "Observation?date=ge2024-01-15&date=le2024-02-04&code=8867-4",
    ],
)
async def test_pages_neither_repeat_nor_skip_while_others_write(store: Store, shape: None, text: str) -> None:
    rnd = random.Random(5)
    made = [r for r in _made(60) if r["resourceType"] == "Observation"]
    await put(store, *made)
    always = set(await found(store, f"{text}&_sort=_id&_count=1000"))
    fit = [r for r in made if r["id"] in always]
    asked, view = query(f"{text}&_count=5"), store.view()
    cursor, seen, gone = None, [], set()
    while True:
        page = await view.search(asked, cursor)
        seen += [h.stored.id for h in page.hits]
        if page.cursor is None:
            break
        cursor = loads(dumps(page.cursor))
        for _ in range(4):
            # Others take the values of one that fits, so that they move within the answer; some go.
            i = rnd.choice([r["id"] for r in fit if r["id"] not in gone])
            if rnd.random() < 0.15:
                await store.commit([Change("delete", "Observation", i)])
                gone.add(i)
            else:
                await put(store, {**rnd.choice(fit), "id": i})
        await put(store, {**rnd.choice(fit), "id": f"new{len(seen)}"})
    assert len(seen) == len(set(seen)), "a page repeats a resource"
    assert always - gone <= set(seen), "a page passes a resource over"


async def test_which_searches_are_one_range(store: Store) -> None:
    async def one(text: str) -> str | None:
        asked, world = query(text), World(store.view()._db.reader, Filter.everything(), None)
        source = Source(tuple(map(type_number, asked.types)), await conditions(asked.where, asked.types, world))
        at = range_of(source)
        return at and at.column + (" split" if at.split else "") + (" once" if at.once else "")

    assert await one("Observation?date=ge2024&date=le2024") == "low split once"
    assert await one("Observation?date=2024") == "low once"
    assert await one("Observation?date=gt2024") == "high once"
    assert await one("Observation?value-quantity=lt5") == "low once"
    assert await one("Observation?value-quantity=gt5|http://unitsofmeasure.org|mg") == "clow split once"
    assert await one("Observation?component-value-quantity=gt5") == "low split"
    assert await one("Observation?component-value-quantity=gt5&component-value-quantity=lt9") is None
    assert await one("Observation?date=2024,2020") is None
    assert await one("Observation?date=gt2024&value-quantity=gt5") is None
