"""search on type, system and compartment level, by GET and by POST _search (R4 http.html#search, search.html)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import Issue, outcome
from health_hub.fhir.search.link import link
from health_hub.fhir.search.query import Query
from health_hub.rest import page, subset
from health_hub.rest.hub import Hub
from health_hub.rest.read import is_id, unknown
from health_hub.rest.request import Pairs, Request
from health_hub.rest.respond import Response
from health_hub.store.model import Hit

_DISTANCE = "http://hl7.org/fhir/StructureDefinition/location-distance"


async def search(hub: Hub, request: Request) -> Response:
    """[base]/Type?... or, without a type, [base]?..."""
    return await _search(hub, request, (request.type,) if request.type else (), request.type)


async def search_form(hub: Hub, request: Request) -> Response:
    """POST [base]/Type/_search: the parameters of the form and the URL together."""
    await request.form()
    return await search(hub, request)


async def search_compartment(hub: Hub, request: Request) -> Response:
    """[base]/Patient/1/Observation?... or [base]/Patient/1/*?..."""
    wanted = request.segments[2]
    if not is_id(request.id):
        raise unknown(f"{request.type}/{request.id}")
    path = f"{request.type}/{request.id}/{wanted}"
    return await _search(hub, request, () if wanted == "*" else (wanted,), path, (request.type, request.id))


async def search_compartment_form(hub: Hub, request: Request) -> Response:
    await request.form()
    return await search_compartment(hub, request)


async def _search(hub: Hub, request: Request, types: tuple[str, ...], path: str, compartment: tuple[str, str] | None = None) -> Response:
    pairs = request.pairs
    token: str | None = None
    if any(name == page.PAGE for name, _ in pairs):
        token = request.parameter(page.PAGE)
        pairs = [pair for pair in pairs if pair[0] != page.PAGE]
    query = hub.query(types, pairs, strict=request.prefer.handling == "strict", base=request.base, compartment=compartment)
    if query.count is None:
        query.count = hub.settings.count_default
    # Bound to what was understood: the links hold that, and reading them again understands the same.
    bound = page.context(path, query.understood)
    place = page.FIRST if token is None else page.unseal(hub.store.secret, bound, token)
    view = hub.view(request, "s")
    text = _query_of(query, pairs)
    updated = hub.now()
    if query.summary == "count" or query.count == 0:
        links = page.links(hub.store.secret, request.base, path, text, bound, page.FIRST, None, None)
        body = page.bundle("searchset", updated=updated, total=await view.count(query), links=links, entries=_notices(query, ()))
        return Response(200, json=body, subset_done=True)
    if place is not page.FIRST and place.total is not None:
        query.total = None  # counted on the first page and carried along
    found = await view.search(query, place.cursor)
    total = place.total if place.total is not None else found.total
    links = page.links(hub.store.secret, request.base, path, text, bound, place, found.cursor, total)
    entries = _entries(request.base, query, found.hits)
    entries += _notices(query if place is page.FIRST else None, found.issues)
    if found.until is not None:
        updated = hub.store.clock.text(found.until)  # from which a client may go on
    body = page.bundle("searchset", updated=updated, total=total, links=links, entries=entries)
    return Response(200, json=body, subset_done=True, headers=_link_header(links))


def _query_of(query: Query, pairs: Pairs) -> str:
    """The query of the links: what was understood, and the format, which a client that follows a link does not repeat."""
    format = "&".join(f"{name}={quote(value.replace(' ', '+'), '/')}" for name, value in pairs if name in ("_format", "_pretty"))
    return "&".join(filter(None, (link(query), format)))


def _link_header(links: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """RFC 8288, for clients that page by header; only where there is somewhere to go."""
    onward = [f'<{url}>; rel="{relation}"' for relation, url in links if relation in ("next", "previous")]
    return [("Link", ", ".join(onward))] if onward and sum(map(len, onward)) < 6000 else []


def _entries(base: str, query: Query, hits: Any) -> list[bytes]:
    """One entry a hit, around the bytes it is stored in unless a part of it was asked for."""
    prefix = b'{"fullUrl":"' + dumps(base)[1:-1] + b"/"
    cut = query.elements or query.summary in ("true", "text", "data")
    out = []
    for hit in hits:
        stored = hit.stored
        document = stored.doc or b"{}"
        if cut and not (query.elements and hit.mode == "include"):
            document = dumps(subset.reduce(loads(document), query.summary, query.elements))
        mode = _MODE[hit.mode] if hit.distance_km is None else _near(hit)
        out.append(b"%b%b/%b\",\"resource\":%b%b" % (prefix, stored.type.encode(), stored.id.encode(), document, mode))
    return out


_MODE = {"match": b',"search":{"mode":"match"}}', "include": b',"search":{"mode":"include"}}'}


def _near(hit: Hit) -> bytes:
    distance = {"value": round(hit.distance_km or 0.0, 3), "unit": "km", "system": "http://unitsofmeasure.org", "code": "km"}
    search = {"extension": [{"url": _DISTANCE, "valueDistance": distance}], "mode": hit.mode}
    return b',"search":' + dumps(search) + b"}"


def _notices(query: Query | None, found: Sequence[Issue]) -> list[bytes]:
    """The entry that tells what was ignored (R4 search.html#errors: servers should say so) and what the store has to say."""
    ignored = query.ignored if query is not None else ()
    issues = [Issue("not-supported", f"parameter {name[:200]} was ignored: {why}", severity="warning") for name, why in ignored]
    issues += found
    if not issues:
        return []
    return [b'{"resource":' + dumps(outcome(issues)) + b',"search":{"mode":"outcome"}}']


