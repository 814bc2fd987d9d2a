"""Two server processes on one PostgreSQL are one hub (issue: Reliability)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.commands.test_program import serving
from tests.conformance.asking import observation, patient
from tests.conformance.test_search_parameters import parameter
from tests.databases import Cluster

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def bases(cluster: Cluster) -> Iterator[tuple[str, str]]:
    db = asyncio.run(cluster.create("two_servers"))
    with serving("--db", db) as (one, _), serving("--db", db) as (two, _):
        yield f"{one}/fhir/", f"{two}/fhir/"


@pytest.fixture
async def both(bases: tuple[str, str]) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    async with httpx.AsyncClient(base_url=bases[0], timeout=60) as one, httpx.AsyncClient(base_url=bases[1], timeout=60) as two:
        yield one, two


async def test_conditional_create_by_twenty_clients_makes_one(both: Any) -> None:
    for n in range(5):
        made = {"resourceType": "Patient", "identifier": [{"system": "http://cccd", "value": str(n)}]}
        header = {"If-None-Exist": f"identifier=http://cccd|{n}"}
        answers = await asyncio.gather(*[both[k % 2].post("Patient", json=made, headers=header) for k in range(20)])
        assert sorted(a.status_code for a in answers) == [200] * 19 + [201]
        assert (await both[0].get(f"Patient?identifier=http://cccd|{n}")).json()["total"] == 1


async def test_conditional_updates_and_transactions_by_many_make_one(both: Any) -> None:
    made = {"resourceType": "Patient", "identifier": [{"system": "http://cccd", "value": "u"}]}
    entry = {"resource": made, "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=http://cccd|u"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    asked = [
        both[k % 2].put("Patient?identifier=http://cccd|u", json=made) if k % 3 else both[k % 2].post("", json=bundle) for k in range(20)
    ]
    answers = await asyncio.gather(*asked)
    assert {a.status_code for a in answers} <= {200, 201}, [a.text for a in answers if a.status_code > 201]
    assert (await both[1].get("Patient?identifier=http://cccd|u")).json()["total"] == 1


async def test_fifty_writers_with_if_match(both: Any) -> None:
    await both[0].put("Basic/n", json={"resourceType": "Basic", "id": "n", "code": {"text": "0"}})
    versions: list[int] = []

    async def writer(k: int) -> None:
        client = both[k % 2]
        while True:
            now = await client.get("Basic/n")
            text = str(int(now.json()["code"]["text"]) + 1)
            made = {"resourceType": "Basic", "id": "n", "code": {"text": text}}
            done = await client.put("Basic/n", json=made, headers={"If-Match": now.headers["etag"]})
            if done.status_code == 200:
                versions.append(int(done.json()["meta"]["versionId"]))
                return
            assert done.status_code in (409, 412), done.text

    await asyncio.gather(*[writer(k) for k in range(50)])
    assert sorted(versions) == list(range(2, 52))
    assert (await both[0].get("Basic/n")).json()["code"]["text"] == "50"


async def test_a_write_is_read_by_the_other_at_once(both: Any) -> None:
    for n in range(30):
        made = await both[n % 2].put(f"Patient/w{n}", json=patient(f"w{n}", active=True))
        other = both[1 - n % 2]
        assert (await other.get(f"Patient/w{n}")).headers["etag"] == made.headers["etag"]
        assert (await other.get(f"Patient?_id=w{n}")).json()["total"] == 1
        await both[n % 2].delete(f"Patient/w{n}")
        assert (await other.get(f"Patient/w{n}")).status_code == 410


async def test_pages_begun_at_one_go_on_at_the_other_while_both_write(both: Any) -> None:
    for n in range(30):
        await both[n % 2].put(f"Observation/s{n}", json=observation(f"s{n}", effectiveDateTime=f"2024-01-{n + 1:02}"))
    stop = False

    async def writer(k: int) -> None:
        n = 0
        while not stop:
            n = (n + 7) % 30
            await both[k].put(f"Observation/s{n}", json=observation(f"s{n}", effectiveDateTime=f"2024-{(n + k) % 9 + 1:02}-01"))

    writers = [asyncio.create_task(writer(k)) for k in (0, 1)]
    try:
        for search in ("Observation?_sort=-date&_count=4", "Observation?_sort=_lastUpdated&_count=4", "Observation?_count=4"):
            seen: list[str] = []
            url, k = search, 0
            while url:
                page = (await both[k].get(url)).json()
                seen += [e["resource"]["id"] for e in page["entry"]]
                onward = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
                url, k = onward.partition("/fhir/")[2], 1 - k
            assert len(seen) == len(set(seen)), search
            assert len(seen) == 30, search
    finally:
        stop = True
        await asyncio.gather(*writers)


@pytest.mark.parametrize("by", ["newest", "bundle", "history"])
async def test_last_updated_as_a_mark_misses_nothing(both: Any, by: str) -> None:
    """A client that goes on from the newest time it has seen, or from the Bundle's, gets every resource, each once."""
    stop = False

    async def writer(k: int) -> int:
        n = 0
        while not stop:
            await both[k].post("Basic", json={"resourceType": "Basic", "code": {"text": by}, "identifier": [{"value": f"{by}-{k}"}]})
            n += 1
        return n

    writers = [asyncio.create_task(writer(k % 2)) for k in range(6)]
    mark, got = "2000-01-01T00:00:00.000+07:00", []
    end = time.monotonic() + 4
    last_round = False
    while not last_round:
        if time.monotonic() > end and not stop:
            stop = True
            made = sum(await asyncio.gather(*writers))
            last_round = True
        since = mark.replace("+", "%2B")
        asked = f"identifier={by}-0,{by}-1&_sort=_lastUpdated&_lastUpdated=gt{since}"
        url = f"Basic/_history?_since={since}&_count=100" if by == "history" else f"Basic?{asked}&_count=100"
        told = ""
        while url:
            page = (await both[0].get(url)).json()
            found = [e["resource"] for e in page.get("entry", ())]
            got += [r["id"] for r in found if r["code"]["text"] == by]
            mark = max([mark, *(r["meta"]["lastUpdated"] for r in found)])
            told = told or page["meta"]["lastUpdated"]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
        if by == "bundle":
            mark = told
    if by != "history":  # _since is inclusive
        assert len(got) == len(set(got))
    assert len(set(got)) == made


async def test_a_search_parameter_is_served_by_the_other_worker(both: Any) -> None:
    one, two = both
    await one.put("Patient/sp", json=patient("sp", contact=[{"name": {"family": "Vũ"}}]))
    assert (await one.put("SearchParameter/kin", json=parameter("kin"))).status_code == 201
    refused = await two.put("SearchParameter/bad", json=parameter("bad", expression="Patient.("))
    assert refused.status_code == 422, refused.text
    strict = {"Prefer": "handling=strict"}
    for _ in range(150):
        answer = await two.get("Patient?kin=vu", headers=strict)
        entries = answer.json().get("entry", ()) if answer.status_code == 200 else ()
        if answer.status_code == 200 and not [e for e in entries if e["search"]["mode"] == "outcome"]:
            # Whole, or told not to be: never quietly incomplete.
            assert [e["resource"]["id"] for e in entries] == ["sp"]
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError(answer.text)
    await two.put("Patient/sp2", json=patient("sp2", contact=[{"name": {"family": "Vũ"}}]))
    assert (await one.get("Patient?kin=vu")).json()["total"] == 2
    await two.delete("SearchParameter/kin")
    for _ in range(100):
        if (await one.get("Patient?kin=vu", headers=strict)).status_code == 400:
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("still served by the other")
