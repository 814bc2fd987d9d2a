"""Sorting and paging on both databases: order, missing values, and pages that stay exact while others write."""

import random
from typing import Any

import pytest

from health_hub.fhir.outcome import FhirError
from health_hub.store.model import Change
from health_hub.store.search import paging, sizes
from health_hub.store.store import Store
from tests.store.searching import found, observation, pages, patient, put, query

DATES = ["2024", "2024-02", "2024-02-03", "2023-12-31", "2024-02-03T10:00:00+07:00", "2025-01-01", None]


def _people(n: int) -> list[dict[str, Any]]:
    rnd = random.Random(3)
    out = []
    for i in range(n):
        p = patient(f"p{i}", gender=rnd.choice(["male", "female", "other"]))
        if rnd.random() < 0.8:
            p["birthDate"] = rnd.choice(["1980", "1980-05", "1980-05-17", "1990-01-01"])
        if rnd.random() < 0.8:
            p["name"] = [{"family": rnd.choice(["Nguyễn", "Trần", "An", "Đỗ"])}, {"family": rnd.choice(["Bùi", "Zê"])}][
                : rnd.choice([1, 2])
            ]
        out.append(p)
    return out


@pytest.fixture(params=[True, False], ids=["few", "many"])
def shape(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to a sorted page: few matches are sorted, many are walked."""
    if not request.param:
        monkeypatch.setattr(sizes, "FEW", -1)


@pytest.mark.parametrize(
    "sort",
    [
        "birthdate",
        "-birthdate",
        "family",
        "-family",
        "_id",
        "-_id",
        "_lastUpdated",
        "-_lastUpdated",
        "family,-birthdate",
        "-birthdate,family,_id",
        "gender,-_id",
    ],
)
async def test_pages_are_slices_of_one_order(store: Store, shape: None, sort: str) -> None:
    await put(store, *_people(40))
    for where in ("", "gender=male&", "name:missing=false&"):
        whole = await found(store, f"Patient?{where}_sort={sort}&_count=1000")
        parts = await pages(store, f"Patient?{where}_sort={sort}&_count=7")
        assert [i for p in parts for i in p] == whole
        assert all(len(p) == 7 for p in parts[:-1])
        assert sorted(whole) == sorted(await found(store, f"Patient?{where}_count=1000"))


async def test_order_by_date_smallest_up_largest_down_missing_last(store: Store, shape: None) -> None:
    day = {"a": "2024-02-03", "b": "2024", "c": None, "d": "2023-12-31", "e": "2024-02"}
    await put(store, *[observation(i, **({"effectiveDateTime": d} if d else {})) for i, d in day.items()])
    assert await found(store, "Observation?_sort=date") == ["d", "b", "e", "a", "c"]
    assert await found(store, "Observation?_sort=-date&_count=2") == ["b", "e", "a", "d", "c"]
    assert await found(store, "Observation?code=8867-4&_sort=-date&_count=3") == ["b", "e", "a", "d", "c"]


async def test_order_by_name_uses_the_smallest_or_largest_of_several(store: Store, shape: None) -> None:
    await put(
        store,
        patient("a", name=[{"family": "Bình"}, {"family": "Yến"}]),
        patient("b", name=[{"family": "Cúc"}]),
        patient("c"),
        patient("d", name=[{"family": "Ân"}]),
    )
    assert await found(store, "Patient?_sort=family") == ["d", "a", "b", "c"]
    assert await found(store, "Patient?_sort=-family") == ["a", "b", "d", "c"]


async def test_order_by_token_and_reference_comes_from_the_documents(store: Store) -> None:
    await put(
        store,
        observation("a", status="preliminary", subject={"reference": "Patient/2"}),
        observation("b", status="amended", subject={"reference": "Patient/1"}),
        observation("c", status="final"),
    )
    assert await found(store, "Observation?_sort=status&_count=1") == ["b", "c", "a"]
    assert await found(store, "Observation?_sort=-status&_count=2") == ["a", "c", "b"]
    assert await found(store, "Observation?_sort=subject") == ["b", "a", "c"]


async def test_token_order_of_too_many_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "DOCUMENTS", 2)
    await put(store, *[observation(f"o{i}") for i in range(3)])
    with pytest.raises(FhirError, match="narrow") as refusal:
        await store.view().search(query("Observation?_sort=status"))
    assert refusal.value.status == 403


@pytest.mark.parametrize("sort", ["", "&_sort=date", "&_sort=-date", "&_sort=-_lastUpdated", "&_sort=_lastUpdated", "&_sort=status,-date"])
async def test_pages_neither_repeat_nor_skip_while_others_write(store: Store, shape: None, sort: str) -> None:
    rnd = random.Random(5)
    made = {f"o{i}": observation(f"o{i}", **({"effectiveDateTime": d} if (d := rnd.choice(DATES)) else {})) for i in range(60)}
    await put(store, *made.values())
    asked, view = query(f"Observation?code=8867-4{sort}&_count=7"), store.view()
    cursor, seen, gone = None, [], set()
    while True:
        page = await view.search(asked, cursor)
        seen += [h.stored.id for h in page.hits]
        if page.cursor is None:
            break
        cursor = page.cursor
        # Others move what was and what was not yet seen, delete, and create.
        for _ in range(4):
            i = rnd.choice(sorted(set(made) - gone))
            if rnd.random() < 0.15:
                await store.commit([Change("delete", "Observation", i)])
                gone.add(i)
            else:
                when = rnd.choice(DATES)
                await put(store, observation(i, **({"effectiveDateTime": when} if when else {}), status=rnd.choice(["final", "amended"])))
        await put(store, observation(f"new{len(seen)}", effectiveDateTime=rnd.choice([d for d in DATES if d])))
    assert len(seen) == len(set(seen)), "a page repeats a resource"
    assert set(made) - gone <= set(seen), "a page passes a resource over"


async def test_name_search_pages_hold_while_names_change(store: Store) -> None:
    names = ["Nguyễn An", "Nguyên", "Ngô", "Nga", "Ngân", "ng"]
    await put(store, *[patient(f"p{i}", name=[{"family": names[i % 6], "given": [names[(i + 1) % 6]]}]) for i in range(30)])
    asked, view = query("Patient?name=ng&_count=4"), store.view()
    cursor, seen, n = None, [], 0
    while True:
        page = await view.search(asked, cursor)
        seen += [h.stored.id for h in page.hits]
        if page.cursor is None:
            break
        cursor, n = page.cursor, n + 3
        await put(store, patient(f"p{n % 30}", name=[{"family": names[n % 5]}]))
        await put(store, patient(f"p{(n * 7) % 30}", name=[{"family": "Ngz"}]))
    assert sorted(seen) == sorted(f"p{i}" for i in range(30))


async def test_order_of_a_name_search_is_that_of_the_names(store: Store) -> None:
    await put(
        store,
        patient("a", name=[{"family": "Ngô"}]),
        patient("b", name=[{"family": "Nga", "given": ["Ngân"]}]),
        patient("c", name=[{"family": "Trần", "given": ["Ngát"]}]),
    )
    assert await found(store, "Patient?name=ng") == ["b", "c", "a"]


async def test_totals(store: Store) -> None:
    await put(store, *[observation(f"o{i}") for i in range(5)])
    view = store.view()
    assert (await view.search(query("Observation?code=8867-4"))).total == 5  # one page: known for free
    first = await view.search(query("Observation?code=8867-4&_count=2"))
    assert (first.total, len(first.hits)) == (None, 2)
    first = await view.search(query("Observation?code=8867-4&_count=2&_total=accurate"))
    assert first.total == 5
    assert (await view.search(query("Observation?code=8867-4&_count=2&_total=accurate"), first.cursor)).total == 5
    for text in ("Observation?_summary=count", "Observation?_count=0", "?_summary=count"):
        page = await view.search(query(text))
        assert (page.total, list(page.hits), page.cursor) == (5, [], None)
    assert await view.count(query("Observation?code:not=8867-4")) == 0
