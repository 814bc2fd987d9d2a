"""search and history as Bundles: pages, links, notices (R4 search.html, http.html#search, #history)."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest


async def fill(client: httpx.AsyncClient, n: int, family: str = "Nguyễn") -> list[str]:
    ids = []
    for i in range(n):
        identifier = [{"system": "urn:x", "value": str(i)}]
        body = {"resourceType": "Patient", "name": [{"family": family}], "identifier": identifier, "active": True}
        ids.append((await client.post("Patient", json=body)).json()["id"])
    return ids


def links(bundle: dict[str, Any]) -> dict[str, str]:
    return {link["relation"]: link["url"] for link in bundle["link"]}


def ids(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]


async def test_a_searchset(client: httpx.AsyncClient) -> None:
    (id,) = await fill(client, 1)
    await fill(client, 1, "Trần")
    response = await client.get("Patient", params={"name": "nguyen"})
    bundle = response.json()
    assert response.status_code == 200
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "searchset")
    assert bundle["entry"] == [{"fullUrl": f"http://hub.test/fhir/Patient/{id}", "resource": (await client.get(f"Patient/{id}")).json(),
                                "search": {"mode": "match"}}]  # fmt: skip
    assert links(bundle) == {"self": "http://hub.test/fhir/Patient?name=nguyen"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_pages_lead_forwards_and_back(client: httpx.AsyncClient, method: str) -> None:
    made = await fill(client, 7)
    query = {"_count": "3", "_total": "accurate"}
    bundle = (await (client.get("Patient", params=query) if method == "GET" else client.post("Patient/_search", data=query))).json()
    pages = [bundle]
    while "next" in links(pages[-1]):
        url = links(pages[-1])["next"]
        assert url.startswith("http://hub.test/fhir/Patient?")
        pages.append((await client.get(url)).json())
    assert [ids(p) for p in pages] == [made[:3], made[3:6], made[6:]]
    assert [p["total"] for p in pages] == [7, 7, 7]
    assert ids((await client.get(links(pages[2])["previous"])).json()) == made[3:6]
    assert links(pages[1])["previous"] == links(pages[1])["first"] == links(pages[0])["self"]
    assert ids((await client.get(links(pages[1])["self"])).json()) == made[3:6]
    # A client may take only the query of the link and ask the type again.
    again = await client.get("Patient", params=dict(parse_qsl(urlsplit(links(pages[0])["next"]).query)))
    assert ids(again.json()) == made[3:6]


async def test_a_page_token_cannot_be_made_up_or_moved(client: httpx.AsyncClient) -> None:
    await fill(client, 3)
    url = links((await client.get("Patient", params={"_count": "1"})).json())["next"]
    token = url.partition("_page=")[2]
    for bad in (url[:-1] + ("A" if url[-1] != "A" else "B"), url.replace("Patient", "Observation"), url.replace("_count=1", "_count=2"),
                f"Patient?_page={token}", "Patient?_count=1&_page=", "Patient?_count=1&_page=%00", "Patient?_count=1&_page=ééé",
                "Patient?_count=1&_page=" + "A" * 5000):  # fmt: skip
        response = await client.get(bad)
        assert (response.status_code, response.json()["resourceType"]) == (400, "OperationOutcome"), bad
    assert (await client.get(url + "&_format=json&_pretty=true")).status_code == 200


async def test_ignored_parameters_are_told_and_strict_handling_refuses_them(client: httpx.AsyncClient) -> None:
    await fill(client, 1)
    lenient = (await client.get("Patient", params={"colour": "blue", "active": "true"})).json()
    assert links(lenient)["self"] == "http://hub.test/fhir/Patient?active=true"
    (notice,) = [e for e in lenient["entry"] if e["search"]["mode"] == "outcome"]
    assert notice["resource"]["issue"][0]["severity"] == "warning"
    assert "colour" in notice["resource"]["issue"][0]["diagnostics"]
    strict = await client.get("Patient", params={"colour": "blue"}, headers={"Prefer": "handling=strict"})
    assert strict.status_code == 400
    assert (await client.get("Patient", params={"birthdate": "blue"})).status_code == 400


async def test_count_only(client: httpx.AsyncClient) -> None:
    await fill(client, 2)
    for query in ({"_summary": "count"}, {"_count": "0"}):
        bundle = (await client.get("Patient", params=query)).json()
        assert bundle["total"] == 2
        assert "entry" not in bundle


async def test_parts_of_what_is_found(client: httpx.AsyncClient) -> None:
    await fill(client, 1)
    (entry,) = (await client.get("Patient", params={"_elements": "active"})).json()["entry"]
    assert entry["resource"].keys() == {"resourceType", "id", "meta", "active"}
    assert entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_search_forms_must_be_forms(client: httpx.AsyncClient) -> None:
    assert (await client.post("Patient/_search", json={"name": "x"})).status_code == 415
    assert (await client.post("Patient/_search?name=x", data={"active": "true"})).status_code == 200
    assert (await client.post("_search", data={"_type": "Patient"})).status_code == 200


async def test_history_of_instance_type_and_system(client: httpx.AsyncClient) -> None:
    (id,) = await fill(client, 1)
    body = (await client.get(f"Patient/{id}")).json()
    await client.put(f"Patient/{id}", json=body)
    await client.delete(f"Patient/{id}")
    bundle = (await client.get(f"Patient/{id}/_history")).json()
    assert (bundle["type"], bundle["total"]) == ("history", 3)
    gone, second, first = bundle["entry"]
    assert "resource" not in gone
    assert gone["request"] == {"method": "DELETE", "url": f"Patient/{id}"}
    assert gone["response"]["status"].startswith("204")
    assert (second["request"]["method"], second["response"]["etag"]) == ("PUT", 'W/"2"')
    assert first["request"] == {"method": "POST", "url": "Patient"}
    assert first["resource"] == body
    assert len((await client.get("Patient/_history")).json()["entry"]) == 3
    assert len((await client.get("_history")).json()["entry"]) == 3
    assert (await client.get("Patient/none/_history")).status_code == 404


async def test_history_pages(client: httpx.AsyncClient) -> None:
    await fill(client, 5)
    for path in ("Patient/_history", "_history"):
        bundle = (await client.get(path, params={"_count": "2"})).json()
        seen = [e["resource"]["id"] for e in bundle["entry"]]
        while "next" in links(bundle):
            bundle = (await client.get(links(bundle)["next"])).json()
            seen += [e["resource"]["id"] for e in bundle["entry"]]
        assert len(seen) == len(set(seen)) == 5


async def test_history_since_and_at(client: httpx.AsyncClient) -> None:
    (id,) = await fill(client, 1)
    body = (await client.get(f"Patient/{id}")).json()
    second = (await client.put(f"Patient/{id}", json=body)).json()["meta"]["lastUpdated"]
    url = f"Patient/{id}/_history"
    assert len((await client.get(url, params={"_since": second})).json()["entry"]) in (1, 2)  # 2 within one millisecond
    assert "entry" not in (await client.get(url, params={"_since": "2100-01-01T00:00:00Z"})).json()
    assert "entry" not in (await client.get(url, params={"_at": "2013"})).json()
    assert len((await client.get(url, params={"_at": "ge2013"})).json()["entry"]) == 2
    assert len((await client.get(url, params={"_at": ["ge2013", "lt2999"]})).json()["entry"]) == 2
    assert "entry" not in (await client.get(url, params={"_at": ["ge2013", "lt2014"]})).json()
    bare_plus = await client.get(f"{url}?_since={second}")  # a client that does not encode +07:00
    assert bare_plus.status_code == 200
    for bad in ({"_since": "soon"}, {"_at": "2013-02-30"}, {"_count": "-1"}, {"_count": "x"}, {"_page": "x"}):
        assert (await client.get(url, params=bad)).status_code == 400


async def test_a_form_says_the_format_too(client: httpx.AsyncClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await client.post("Patient/_search", content="_format=xml", headers=form)
    assert response.headers["content-type"].startswith("application/fhir+xml")
    assert "\n  " in (await client.post("Patient/_search", content="_pretty=true", headers=form)).text
    assert (await client.post("Patient/_search", content="_format=ttl", headers=form)).status_code == 406
