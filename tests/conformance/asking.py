"""Short words for what a client does: put resources, search, follow pages."""

from typing import Any
from urllib.parse import quote

import httpx

Resource = dict[str, Any]


class Asking:
    """A client that expects its requests to succeed."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def put(self, *resources: Resource) -> None:
        for resource in resources:
            answer = await self.client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
            assert answer.status_code in (200, 201), answer.text

    async def bundle(self, query: str) -> Resource:
        """`Patient?name=x` as written here: what is not ASCII, and | and \\, are escaped on the way."""
        answer = await self.client.get(quote(query, safe="/?&=%:,$+-._~*'()"))
        assert answer.status_code == 200, answer.text
        body: Resource = answer.json()
        notices = [e["resource"] for e in body.get("entry", ()) if e["search"]["mode"] == "outcome"]
        assert not notices, notices
        return body

    async def ids(self, query: str) -> list[str]:
        """The ids of all matches, in order, of all pages."""
        found: list[str] = []
        bundle = await self.bundle(query)
        while True:
            found += [e["resource"]["id"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
            onward = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
            if not onward:
                return found
            bundle = (await self.client.get(onward[0])).json()

    async def found(self, query: str) -> str:
        """The ids of all matches, sorted, with spaces between them."""
        return " ".join(sorted(await self.ids(query)))

    async def included(self, query: str) -> set[str]:
        bundle = await self.bundle(query)
        return {
            f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle.get("entry", ()) if e["search"]["mode"] == "include"
        }

    async def status(self, query: str, **headers: str) -> int:
        return (await self.client.get(quote(query, safe="/?&=%:,$+-._~*'()"), headers=headers)).status_code


def observation(id: str, **more: Any) -> Resource:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code} | more


def patient(id: str, **more: Any) -> Resource:
    return {"resourceType": "Patient", "id": id} | more
