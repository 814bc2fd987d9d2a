"""Patient/$everything and Encounter/$everything: the record of one person or one stay (R4 patient-operation-everything.html).

The compartment, then what its members refer to: practitioners, organizations, locations, medications, binaries. `start` and
`end` are about care dates, `_since` about when the record changed, `_type` about what is wanted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhir_profiles import tables
from health_hub.fhir import dates, index, keys, references
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.search.query import MICROSECOND_MAX, MICROSECOND_MIN
from health_hub.rest import page
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.hub import Hub
from health_hub.rest.operations.parameters import Inputs, inputs
from health_hub.rest.page import Place
from health_hub.rest.read import gone, is_id, unknown
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.table import operation
from health_hub.store.model import Stored

_PAGE = 500
_STEPS = 3  # how far references are followed outside of the compartment: Encounter -> Location -> Organization -> its parent
_REMEMBERED = 1000  # supporting resources a page link remembers as sent; beyond, one may come again on a later page
_NAMES = frozenset(("start", "end", "_since", "_type", "_count"))

# The parameters that say when care happened, first the one that decides; a type without any has no care date.
_CARE = ("date", "period", "effective", "performed", "onset-date", "occurrence", "authoredon", "authored-on", "authored", "started",
         "whenhandedover", "effective-time", "start", "created", "recorded-date", "issued", "sent", "collected", "birthdate")  # fmt: skip


@dataclass(slots=True)
class Wanted:
    """What of the record is asked for."""

    types: frozenset[str]
    since: int | None  # ms
    low: int
    high: int

    def takes(self, stored: Stored) -> bool:
        return (not self.types or stored.type in self.types) and (self.since is None or stored.updated >= self.since)

    @property
    def dated(self) -> bool:
        return self.low != MICROSECOND_MIN or self.high != MICROSECOND_MAX


@operation("instance", "Patient", "everything")
async def of_patient(hub: Hub, request: Request) -> Response:
    return await _everything(hub, request)


@operation("instance", "Encounter", "everything")
async def of_encounter(hub: Hub, request: Request) -> Response:
    return await _everything(hub, request)


async def _everything(hub: Hub, request: Request) -> Response:
    given = await inputs(request, known=_NAMES if request.type == "Patient" else _NAMES - {"start", "end"})
    wanted = _wanted(hub, given)
    count = given.count("_count", hub.settings.count_max)
    view = hub.view(request)
    focus: Stored | None = await view.read(request.type, request.id) if is_id(request.id) else None
    if focus is None:
        raise unknown(f"{request.type}/{request.id}")
    if focus.deleted:
        raise gone(focus)
    path = f"{request.type}/{request.id}/$everything"
    text = "&".join(f"{name}={value}" for name, value in _shown(given))
    bound = page.context(path, given.pairs())
    token = request.parameter(page.PAGE)
    place = page.unseal(hub.store.secret, bound, token) if token is not None else page.FIRST
    cursor, sent = place.cursor if place.cursor is not None else (None, [])
    record = Record(hub, request, focus, wanted, set(sent))
    entries, cursor = await record.page(cursor, count, first=place == page.FIRST)
    links = [("self", f"{request.base}/{path}" + (f"?{text}" if text else ""))]
    if cursor is not None:
        onward = page.seal(hub.store.secret, bound, Place([cursor, sorted(record.sent)[-_REMEMBERED:]]))
        links.append(("next", f"{request.base}/{path}?{text}&{page.PAGE}={onward}"))
    total = record.matches if cursor is None and place == page.FIRST else None
    return Response(200, json=page.bundle("searchset", updated=hub.now(), total=total, links=links, entries=entries), subset_done=True)


def _shown(given: Inputs) -> list[tuple[str, str]]:
    from urllib.parse import quote

    return [(name, quote(value, ",:")) for name, value in given.pairs()]


def _wanted(hub: Hub, given: Inputs) -> Wanted:
    types = [t.strip() for value in given.values.get("_type", ()) for t in str(value).split(",")]
    for name in types:
        if not tables.is_resource_type(name):
            raise bad_request(f"_type: {name[:64]!r} is no R4 resource type", "value", "_type")
    since = given.text("_since")
    start, end = given.text("start"), given.text("end")
    low = _span(hub, "start", start)[0] if start is not None else MICROSECOND_MIN
    high = _span(hub, "end", end)[1] if end is not None else MICROSECOND_MAX
    if low > high:
        raise bad_request("start is after end", "value", "start")
    return Wanted(frozenset(types), None if since is None else _span(hub, "_since", since)[0] // 1000, low, high)


def _span(hub: Hub, name: str, text: str) -> tuple[int, int]:
    try:
        return dates.span(text, hub.zone)
    except ValueError as e:
        raise bad_request(f"{name}={text[:64]!r} is no date: {e}", "value", name) from None


class Record:
    """Walks one compartment and what it refers to."""

    def __init__(self, hub: Hub, request: Request, focus: Stored, wanted: Wanted, sent: set[int]) -> None:
        self._view = hub.view(request, "s")
        self._limit = hub.settings.everything_max
        self._base = request.base
        self._focus, self._wanted = focus, wanted
        self._members = tables.compartment(request.type).keys() | {request.type}
        self._query = hub.query((), [], strict=True, base=request.base, compartment=(request.type, request.id))
        if wanted.types and wanted.types <= self._members:
            # Members of other types cannot lead to anything that is wanted.
            self._query.types = tuple(sorted(wanted.types & self._members))
        self._pace = Pace()
        self._seen: set[str] = {focus.reference}
        self.sent = sent
        self.matches = 0

    async def page(self, cursor: Any, count: int | None, *, first: bool) -> tuple[list[bytes], Any]:
        """Entries of one page, and where the next one begins; the whole record when `count` is None."""
        matches: list[Stored] = []
        links: dict[str, None] = {}
        if first:
            self._look(self._focus, links)
            if self._wanted.takes(self._focus):
                matches.append(self._focus)
        while True:
            self._query.count = _PAGE if count is None else max(1, min(_PAGE, count - len(matches)))
            found = await self._view.search(self._query, cursor)
            for hit in found.hits:
                stored = hit.stored
                if hit.mode != "match" or stored.rid == self._focus.rid:
                    continue
                self._seen.add(stored.reference)
                if self._look(stored, links) and self._wanted.takes(stored):
                    matches.append(stored)
                if self._pace.due():
                    await self._pace.rest()
            cursor = found.cursor
            if cursor is None or (count is not None and len(matches) >= count):
                break
            if len(matches) > self._limit:
                raise FhirError(
                    400, Issue("too-costly", f"the record has more than {self._limit} resources; ask for pages with _count", ("_count",))
                )
        self.matches = len(matches)
        supporting = await self._supporting(links)
        return [self._entry(s, b"match") for s in matches] + [self._entry(s, b"include") for s in supporting], cursor

    def _look(self, stored: Stored, links: dict[str, None]) -> bool:
        """Notes what a member refers to. False when its care dates are outside of what is asked for."""
        resource = loads(stored.doc or b"{}")
        if self._wanted.dated and stored.rid != self._focus.rid and not self._cared(resource):
            return False
        links.update(dict.fromkeys(self._targets(resource)))
        return True

    def _cared(self, resource: dict[str, Any]) -> bool:
        """Whether any care date overlaps the period asked for; what has none is always taken."""
        type_name = resource["resourceType"]
        rows = index.extract(resource).dates
        known = tables.search_params(type_name)
        for code in _CARE:
            if code in known:
                p = keys.parameter(type_name, code)
                spans = [(row[1], row[2]) for row in rows if row[0] == p]
                if spans:
                    return any(low <= self._wanted.high and high >= self._wanted.low for low, high in spans)
        return True

    def _targets(self, resource: dict[str, Any]) -> Iterable[str]:
        """`Type/id` of the local resources a resource refers to, with the Binaries of its attachments."""
        for _, _, text in references.find(resource):
            literal = references.literal(text) if text[:1] != "#" else None
            if literal is not None and literal.base in ("", self._base + "/"):
                yield literal.reference
        for text in _attachments(resource):
            literal = references.literal(text)
            if literal is not None and literal.type == "Binary" and literal.base in ("", self._base + "/"):
                yield literal.reference

    async def _supporting(self, links: dict[str, None]) -> list[Stored]:
        """What members refer to outside of the compartment."""
        out: list[Stored] = []
        for _ in range(_STEPS):
            names = [name for name in links if name not in self._seen]
            self._seen.update(names)
            if not names:
                break
            links = {}
            for stored in await self._view.read_many([_split(name) for name in names]):
                if stored is None or stored.deleted:
                    continue
                resource = loads(stored.doc or b"{}")
                targets = list(self._targets(resource))
                if not self._supports(stored, resource, targets):
                    continue
                if stored.type not in self._members:
                    links.update(dict.fromkeys(targets))
                if stored.rid not in self.sent and self._wanted.takes(stored):
                    self.sent.add(stored.rid)
                    out.append(stored)
                if self._pace.due():
                    await self._pace.rest()
        return out

    def _supports(self, stored: Stored, resource: dict[str, Any], targets: list[str]) -> bool:
        """Members of the compartment come by themselves, on whatever page; other patients and what is theirs is not of this record."""
        if self._focus.type == "Patient" and stored.type == "Patient":
            return False
        if stored.type not in self._members:
            return True
        if self._compartment(stored.type) in index.extract(resource).keys:
            return False
        kind = self._focus.type + "/"
        return stored.type == "Patient" or not any(t.startswith(kind) and t != self._focus.reference for t in targets)

    def _compartment(self, type_name: str) -> int:
        return keys.parameter(type_name, "_compartment") ^ keys.reference(self._focus.reference)

    def _entry(self, stored: Stored, mode: bytes) -> bytes:
        url = f"{self._base}/{stored.reference}".encode()
        return b'{"fullUrl":"%b","resource":%b,"search":{"mode":"%b"}}' % (url, stored.doc or b"{}", mode)


def _attachments(node: Any) -> Iterable[str]:
    """Every `url` of something that has a contentType: an Attachment."""
    if isinstance(node, dict):
        url = node.get("url")
        if isinstance(url, str) and ("contentType" in node or url.startswith("Binary/") or "/Binary/" in url):
            yield url
        for value in node.values():
            if isinstance(value, dict | list):
                yield from _attachments(value)
    elif isinstance(node, list):
        for value in node:
            if isinstance(value, dict):
                yield from _attachments(value)


def _split(name: str) -> tuple[str, str]:
    type_name, _, id_ = name.partition("/")
    return type_name, id_
