"""history: order, parameters, paging (R4 http.html#history)."""

import asyncio

import httpx

from tests.conformance.asking import Asking, patient


def versions(bundle: dict) -> list[str]:  # type: ignore[type-arg]
    return [e["response"]["etag"] for e in bundle.get("entry", ())]


async def test_since_and_count_more_than_once_are_400(ask: Asking) -> None:
    await ask.put(patient("1"))
    for name in ("_since=2020-01-01T00:00:00Z", "_count=1"):
        assert await ask.status(f"Patient/1/_history?{name}&{name}") == 400, name


async def test_since_is_at_or_after(ask: Asking, client: httpx.AsyncClient) -> None:
    for n in range(3):
        await ask.put(patient("1", active=bool(n % 2)))
        await asyncio.sleep(0.005)
    second = (await client.get("Patient/1/_history/2")).json()["meta"]["lastUpdated"]
    found = (await client.get("Patient/1/_history", params={"_since": second})).json()
    assert versions(found) == ['W/"3"', 'W/"2"']


async def test_at_gives_what_was_current(ask: Asking, client: httpx.AsyncClient) -> None:
    for n in range(3):
        await ask.put(patient("1", active=bool(n % 2)))
        await asyncio.sleep(0.01)
    stamps = [(await client.get(f"Patient/1/_history/{n}")).json()["meta"]["lastUpdated"] for n in (1, 2, 3)]
    found = (await client.get("Patient/1/_history", params={"_at": stamps[1]})).json()
    assert versions(found) == ['W/"2"']
    found = (await client.get("Patient/1/_history", params={"_at": "gt" + stamps[1]})).json()
    assert versions(found) == ['W/"3"', 'W/"2"']
    found = (await client.get("Patient/1/_history", params={"_at": "lt" + stamps[1]})).json()
    assert versions(found) == ['W/"1"']
    assert versions((await client.get("Patient/1/_history", params={"_at": "2000"})).json()) == []


async def test_list(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(
        patient("1"), patient("2"),
        {"resourceType": "List", "id": "l", "status": "current", "mode": "working", "entry": [{"item": {"reference": "Patient/2"}}]},
    )  # fmt: skip
    for url in ("Patient/_history?_list=l", "_history?_list=l", "Patient/_history?_list=List/l"):
        found = (await client.get(url)).json()
        assert [e["resource"]["id"] for e in found["entry"]] == ["2"], url


async def test_what_history_does_not_know_is_told(ask: Asking, client: httpx.AsyncClient) -> None:
    await ask.put(patient("1"))
    assert (await client.get("Patient/_history?name=x", headers={"Prefer": "handling=strict"})).status_code == 400


async def test_entries_follow_the_rules_of_bundle(ask: Asking, client: httpx.AsyncClient) -> None:
    made = await client.post("Patient", json={"resourceType": "Patient"})
    id = made.json()["id"]
    await client.put(f"Patient/{id}", json=patient(id))
    await client.delete(f"Patient/{id}")
    entries = (await client.get("_history")).json()["entry"]
    assert [(e["request"]["method"], e["request"]["url"]) for e in entries] == [
        ("DELETE", f"Patient/{id}"), ("PUT", f"Patient/{id}"), ("POST", "Patient")]  # fmt: skip
    assert [e["response"]["status"][:3] for e in entries] == ["204", "200", "201"]
    assert all(e["response"]["lastModified"] and e["fullUrl"].endswith(f"Patient/{id}") for e in entries)
    checked = await client.post("Bundle/$validate", json=(await client.get("_history")).json())
    assert all(i["severity"] != "error" for i in checked.json()["issue"]), checked.text


async def test_pages_stand_still_while_others_write(ask: Asking, client: httpx.AsyncClient) -> None:
    for n in range(10):
        await ask.put(patient(f"p{n}"))
    page = (await client.get("Patient/_history?_count=3")).json()
    seen = [e["fullUrl"] + e["response"]["etag"] for e in page["entry"]]
    n = 0
    while True:
        await ask.put(patient(f"p{n % 10}", active=True))
        n += 1
        onward = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not onward:
            break
        page = (await client.get(onward[0])).json()
        seen += [e["fullUrl"] + e["response"]["etag"] for e in page["entry"]]
    assert len(seen) == len(set(seen)) == 10
    assert all(s.endswith('W/"1"') for s in seen)
