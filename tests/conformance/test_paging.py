"""Pages neither repeat nor skip a resource while others write (issue: paging; R4 http.html#paging)."""

import asyncio
from random import Random
from typing import Any

import httpx
import pytest

from tests.conformance.asking import Asking, observation, patient

FAMILIES = ("An", "Bùi", "Đặng", "Đinh", "Lê", "Lý", "Nguyễn", "Trần", None)


def person(random: Random, n: int) -> dict[str, Any]:
    made = patient(f"p{n}", active=True)
    family = random.choice(FAMILIES)
    if family:
        made["name"] = [{"family": family}]
    if random.random() < 0.9:
        made["birthDate"] = f"19{random.randrange(50, 99)}-0{random.randrange(1, 9)}"
    return made


def finding(random: Random, n: int) -> dict[str, Any]:
    made = observation(f"p{n}")
    if random.random() < 0.9:
        made["effectiveDateTime"] = f"2024-0{random.randrange(1, 9)}-1{random.randrange(9)}"
    return made


async def walk(client: httpx.AsyncClient, url: str) -> Any:
    """The ids of each page, one page at a time."""
    while url:
        bundle = (await client.get(url)).json()
        assert bundle["resourceType"] == "Bundle", bundle
        yield [e["resource"]["id"] for e in bundle.get("entry", ())]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")


SEARCHES = [
    ("Patient?active=true&_sort=family,-birthdate", person),
    ("Patient?_sort=_lastUpdated", person),
    ("Patient?_sort=-_lastUpdated", person),
    ("Patient?active=true", person),
    ("Patient?_sort=_id", person),
    ("Observation?_sort=-date", finding),
    ("Observation?code=8867-4&_sort=date,_id", finding),
    ("Observation?code=8867-4&_sort=-date&_include=Observation:subject", finding),
]


@pytest.mark.parametrize(("search", "make"), SEARCHES)
async def test_between_the_pages_others_write(ask: Asking, client: httpx.AsyncClient, search: str, make: Any) -> None:
    random = Random(search)
    kind = search.partition("?")[0]
    await ask.put(*(make(random, n) for n in range(40)))
    await ask.put(*(make(random, n) for n in range(0, 40, 3)))
    gone: set[str] = set()
    touched: list[str] = []
    seen: list[str] = []
    new = 40
    async for page in walk(client, f"{search}&_count=6"):
        seen += page
        for _ in range(4):
            n = random.randrange(40)
            what = random.random()
            if what < 0.6 and f"p{n}" not in gone:
                await ask.put(make(random, n))
                touched.append(f"p{n}")
            elif what < 0.8:
                await client.delete(f"{kind}/p{n}")
                gone.add(f"p{n}")
            else:
                await ask.put(make(random, new))
                new += 1
    old = [i for i in seen if int(i[1:]) < 40]
    assert len(seen) == len(set(seen)), [i for i in seen if seen.count(i) > 1]
    assert {f"p{n}" for n in range(40)} - gone <= set(old), {f"p{n}" for n in range(40)} - gone - set(old)


@pytest.mark.parametrize(("search", "make"), SEARCHES[:2] + SEARCHES[5:6])
async def test_writers_beside_the_walk(ask: Asking, client: httpx.AsyncClient, search: str, make: Any) -> None:
    random = Random(7)
    await ask.put(*(make(random, n) for n in range(60)))
    stop = False

    async def writer(seed: int) -> None:
        mine = Random(seed)
        while not stop:
            await ask.put(make(mine, mine.randrange(60)))
            await asyncio.sleep(0)

    writers = [asyncio.create_task(writer(n)) for n in range(4)]
    try:
        for _ in range(3):
            seen = [i async for page in walk(client, f"{search}&_count=7") for i in page]
            assert len(seen) == len(set(seen)), [i for i in seen if seen.count(i) > 1]
            assert set(seen) >= {f"p{n}" for n in range(60)}, {f"p{n}" for n in range(60)} - set(seen)
    finally:
        stop = True
        await asyncio.gather(*writers)


async def test_the_order_of_a_walk_is_that_of_its_first_page(ask: Asking, client: httpx.AsyncClient) -> None:
    """What moved across the place where the walk stands is given where it was."""
    await ask.put(*(patient(f"p{n}", birthDate=f"200{n}-01-01") for n in range(8)))
    pages = walk(client, "Patient?_sort=birthdate&_count=3")
    assert await anext(pages) == ["p0", "p1", "p2"]
    await ask.put(patient("p7", birthDate="1990-01-01"), patient("p0", birthDate="2020-01-01"))
    rest = [i async for page in pages for i in page]
    assert sorted(rest) == ["p3", "p4", "p5", "p6", "p7"]


async def test_everything_in_pages(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"), *(observation(f"o{n}", subject={"reference": "Patient/1"}) for n in range(25)))
    url, seen = "Patient/1/$everything?_count=10", []
    while url:
        bundle = (await client.get(url)).json()
        seen += [e["resource"]["id"] for e in bundle["entry"]]
        await ask.put(observation(f"o{len(seen) % 25}", subject={"reference": "Patient/1"}, effectiveDateTime="2020"))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    assert len(seen) == len(set(seen))
    assert set(seen) >= {"1", *(f"o{n}" for n in range(25))}
