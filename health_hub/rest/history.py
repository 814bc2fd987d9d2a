"""history of an instance, a type and the whole system, newest first (R4 http.html#history)."""

from urllib.parse import urlencode

from health_hub.fhir import dates
from health_hub.fhir.index.settings import local
from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import bad_request
from health_hub.rest import page, subset
from health_hub.rest.hub import Hub
from health_hub.rest.read import is_id, unknown
from health_hub.rest.request import Pairs, Request
from health_hub.rest.respond import Response
from health_hub.rest.types import TYPES
from health_hub.store.model import Stored
from health_hub.store.view import View

_EVER = (-(2**53), 2**53)
_ONCE = frozenset(("_since", "_list", "_count"))
_OTHER = frozenset(("_format", "_pretty", "_summary", "_elements", page.PAGE))


async def history(hub: Hub, request: Request) -> Response:
    """On the level the request names: Type/id, Type or everything."""
    if request.id and not is_id(request.id):
        raise unknown(f"{request.type}/{request.id}")
    path = "/".join(filter(None, (request.type, request.id, "_history")))
    pairs = [pair for pair in request.pairs if pair[0] != page.PAGE]
    since, at, listed, count = _asked(hub, request, pairs)
    token = request.parameter(page.PAGE)
    bound = page.context(path, pairs)
    place = page.FIRST if token is None else page.unseal(hub.store.secret, bound, token)
    view = hub.view(request)
    if request.id and await view.read(request.type, request.id) is None:
        raise unknown(f"{request.type}/{request.id}")
    rids = None if listed is None else await _rids(view, listed)
    found = await view.history(
        request.type or None, request.id or None, since_ms=since, at=at, rids=rids, count=max(count, 1), cursor=place.cursor
    )
    total = place.total if place.total is not None else found.total
    versions = found.versions if count else []
    onward = found.cursor if count else None
    links = page.links(hub.store.secret, request.base, path, urlencode(pairs), bound, place, onward, total)
    entries = [_entry(request, version) for version in versions]
    updated = hub.now() if found.until is None else hub.store.clock.text(found.until)  # from which a client may go on
    return Response(200, json=page.bundle("history", updated=updated, total=total, links=links, entries=entries), subset_done=True)


async def _rids(view: View, listed: str) -> list[int]:
    """The resources that a List names and has not marked as deleted."""
    found = await view.read("List", listed)
    if found is None or found.doc is None:
        return []
    entries = [e for e in loads(found.doc).get("entry", ()) if e.get("deleted") is not True]
    names = [local(e["item"].get("reference", "")).partition("/") for e in entries if "item" in e]
    wanted = [(type, id) for type, _, id in names if type in TYPES and is_id(id)]
    return [s.rid for s in await view.read_many(wanted) if s is not None]


def _asked(hub: Hub, request: Request, pairs: Pairs) -> tuple[int | None, tuple[int, int] | None, str | None, int]:
    since: int | None = None
    at: tuple[int, int] | None = None
    listed: str | None = None
    count = hub.settings.count_default
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen and name in _ONCE:
            raise bad_request(f"{name} is given twice", "value", f"http.{name}")
        seen.add(name)
        if name == "_since":
            # Milliseconds as shown: a version of that very moment is included (R4: "at or after").
            since = -(-_span(hub, name, value)[0] // 1000)
        elif name == "_at":
            # Twice is from and until, as HAPI's client writes a range.
            low, high = _period(hub, value)
            at = (low, high) if at is None else (max(at[0], low), min(at[1], high))
        elif name == "_list":
            listed = value.removeprefix("List/")
            if not is_id(listed):
                raise bad_request("_list names a List by its id; functional lists are not kept here", "value", "http._list")
        elif name == "_count":
            if not (value.isascii() and value.isdigit() and len(value) < 20):
                raise bad_request(f"_count={value[:50]!r}: it is a whole number, 0 or more", "value", "http._count")
            count = min(int(value), hub.settings.count_max)
        elif name not in _OTHER and request.prefer.handling == "strict":
            raise bad_request(f"parameter {name[:200]} is not one of history", "not-supported", f"http.{name[:100]}")
    return since, at, listed, count


def _span(hub: Hub, name: str, value: str) -> tuple[int, int]:
    try:
        return dates.span(value, hub.zone)
    except ValueError as e:
        raise bad_request(f"{name}: {e}", "value", f"http.{name}") from None


def _period(hub: Hub, value: str) -> tuple[int, int]:
    prefix = value[:2] if value[:2].isalpha() else "eq"
    low, high = _span(hub, "_at", value.removeprefix(prefix))
    low, high = low // 1000, high // 1000
    periods = {"eq": (low, high), "ge": (low, _EVER[1]), "gt": (high + 1, _EVER[1]), "sa": (high + 1, _EVER[1]),
               "le": (_EVER[0], high), "lt": (_EVER[0], low - 1), "eb": (_EVER[0], low - 1)}  # fmt: skip
    if prefix not in periods:
        raise bad_request(f"_at: the prefix {prefix} does not fit", "value", "http._at")
    return periods[prefix]


def _entry(request: Request, version: Stored) -> bytes:
    name = version.reference
    out: list[bytes] = [b'{"fullUrl":', dumps(f"{request.base}/{name}")]
    if version.doc is not None and not version.deleted:
        document = version.doc
        if b"_summary" in request.query or b"_elements" in request.query:
            summary, elements = subset.wanted(request.parameter("_summary"), request.parameter("_elements"))
            if elements or summary not in (None, "count"):
                document = dumps(subset.reduce(loads(document), summary, elements))
        out += [b',"resource":', document]
    created = version.method == "POST" or (version.version == 1 and not version.deleted)
    status = "204 No Content" if version.deleted else "201 Created" if created else "200 OK"
    answered = {"status": status, "etag": f'W/"{version.version}"', "lastModified": _instant(version.updated)}
    url = version.type if version.method == "POST" else name
    asked = {"method": "DELETE" if version.deleted else version.method, "url": url}
    return b"".join([*out, b',"request":', dumps(asked), b',"response":', dumps(answered), b"}"])


def _instant(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
