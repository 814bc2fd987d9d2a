"""Searches straight at the store, for the tests beside this file."""

from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from health_hub.fhir.json import dumps, loads
from health_hub.fhir.search.parse import parse
from health_hub.fhir.search.query import Query
from health_hub.store.model import Change, Filter
from health_hub.store.store import Store

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def query(text: str) -> Query:
    """`Patient?name=x&_count=3`; without a type before the `?`, of every type."""
    kind, _, rest = text.partition("?")
    pairs = [(unquote(k), unquote(v)) for k, _, v in (p.partition("=") for p in rest.split("&") if p)]
    return parse((kind,) if kind else (), pairs, strict=True, zone=ZONE, base="http://hub.test/fhir")


async def put(store: Store, *resources: dict[str, Any]) -> None:
    for at in range(0, len(resources), 200):
        await store.commit([Change("update", r["resourceType"], r["id"], r) for r in resources[at : at + 200]])


async def pages(store: Store, text: str, filter: Filter | None = None) -> list[list[str]]:
    """The ids of every page's matches; cursors go through JSON, as links do."""
    asked, view, cursor, out = query(text), store.view(filter), None, []
    while True:
        page = await view.search(asked, cursor)
        out.append([h.stored.id for h in page.hits if h.mode == "match"])
        if page.cursor is None:
            return out
        cursor = loads(dumps(page.cursor))


async def found(store: Store, text: str, filter: Filter | None = None) -> list[str]:
    return [i for page in await pages(store, text, filter) for i in page]


async def included(store: Store, text: str, filter: Filter | None = None) -> set[str]:
    page = await store.view(filter).search(query(text))
    return {h.stored.reference for h in page.hits if h.mode == "include"}


def patient(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def observation(id: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        **more,
    }
