"""Observation/$lastn groups by code and gives the newest of each group."""

from typing import Any

import httpx

from tests.rest.bundles import Json, done, entry, observation, patient

LOINC = "http://loinc.org"


def coded(n: str, when: str | None, *codes: str, text: str | None = None, **more: Any) -> Json:
    code: Json = {"coding": [{"system": LOINC, "code": c} for c in codes]} if codes else {}
    out = observation("Patient/p", id=n, category=[{"coding": [{"code": "vital-signs"}]}], **more)
    out["code"] = code | ({"text": text} if text else {})
    return out | ({"effectiveDateTime": when} if when else {})


async def store(client: httpx.AsyncClient, *observations: Json) -> None:
    people = [entry("PUT", "Patient/p", patient(id="p"))]
    await done(client, *people, *[entry("PUT", f"Observation/{o['id']}", o) for o in observations])


async def lastn(client: httpx.AsyncClient, query: str = "patient=p&category=vital-signs") -> list[str]:
    response = await client.get(f"Observation/$lastn?{query}")
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["type"] == "searchset"
    assert body["total"] == len(body.get("entry", []))
    return [e["resource"]["id"] for e in body.get("entry", [])]


async def test_the_newest_of_each_code(client: httpx.AsyncClient) -> None:
    await store(
        client, coded("a1", "2020-01-01", "a"), coded("a2", "2020-01-03", "a"), coded("b1", "2020-01-02", "b"), coded("a3", None, "a")
    )
    assert await lastn(client) == ["a2", "b1"]
    assert await lastn(client, "patient=p&category=vital-signs&max=2") == ["a2", "b1", "a1"]
    assert await lastn(client, "subject=Patient/p&code=a&max=9") == ["a2", "a1", "a3"]
    assert await lastn(client, "patient=other&category=vital-signs") == []


async def test_ties_are_all_given(client: httpx.AsyncClient) -> None:
    await store(client, *[coded(f"a{n}", "2020-01-01T10:00:00Z", "a") for n in range(3)], coded("old", "2019-01-01", "a"))
    assert sorted(await lastn(client)) == ["a0", "a1", "a2"]
    assert sorted(await lastn(client, "patient=p&code=a&max=2")) == ["a0", "a1", "a2"]


async def test_translations_join_groups(client: httpx.AsyncClient) -> None:
    await store(client, coded("a", "2020-01-01", "a"), coded("b", "2020-01-02", "b"), coded("c", "2020-01-03", "c"))
    assert await lastn(client) == ["c", "b", "a"]
    await store(client, coded("ac", "2020-01-04", "a", "c"))
    assert await lastn(client) == ["ac", "b"]
    assert await lastn(client, "patient=p&category=vital-signs&max=2") == ["ac", "c", "b"]


async def test_codes_without_coding_go_by_their_text(client: httpx.AsyncClient) -> None:
    await store(client, *[coded(f"t{n}", f"2020-01-0{n + 1}", text=t) for n, t in enumerate(["textM", "Text", "t e x t", "Text"])])
    assert await lastn(client) == ["t3", "t2", "t0"]


async def test_periods_count_by_their_end(client: httpx.AsyncClient) -> None:
    period = coded("p1", None, "a") | {"effectivePeriod": {"start": "2019-01-01", "end": "2020-06-01"}}
    await store(client, period, coded("d1", "2020-05-01", "a"))
    assert await lastn(client) == ["p1"]


async def test_post_takes_parameters(client: httpx.AsyncClient) -> None:
    await store(client, coded("a1", "2020-01-01", "a"))
    given = [{"name": "patient", "valueString": "p"}, {"name": "code", "valueString": "a"}, {"name": "max", "valuePositiveInt": 1}]
    response = await client.post("Observation/$lastn", json={"resourceType": "Parameters", "parameter": given})
    assert [e["resource"]["id"] for e in response.json()["entry"]] == ["a1"]


async def test_what_lastn_needs(client: httpx.AsyncClient) -> None:
    assert (await client.get("Observation/$lastn?category=vital-signs")).status_code == 400
    assert (await client.get("Observation/$lastn?patient=p")).status_code == 400
    for bad in ("0", "-1", "x", "1.5"):
        assert (await client.get(f"Observation/$lastn?patient=p&code=a&max={bad}")).status_code == 400
    assert (await client.get("Observation/$lastn?patient=p&code=a&date=never")).status_code == 400
