"""Observation/$lastn: the most recent observations of each code (R4 observation-operation-lastn.html).

Groups follow the codes: observations that share a coding are one group, and so are groups that such an observation joins.
"""

from dataclasses import dataclass, field
from typing import Any

from health_hub.fhir import dates
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.search.query import MICROSECOND_MAX
from health_hub.rest import page
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.hub import Hub
from health_hub.rest.operations.parameters import inputs
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.table import operation
from health_hub.store.model import Stored

_PAGE = 1000
# The search parameters whose expression holds a code, one of which (or `category`) R4 asks for.
_CODES = frozenset(
    (
        "category", "code", "combo-code", "component-code", "code-value-concept", "code-value-date", "code-value-quantity",
        "code-value-string", "combo-code-value-concept", "combo-code-value-quantity", "component-code-value-concept",
        "component-code-value-quantity",
    )
)  # fmt: skip
Coding = tuple[str | None, str | None]


@dataclass(slots=True)
class Group:
    """The newest of one set of equal codes, newest first, ties of the last one kept."""

    codings: set[Coding]
    newest: list[tuple[int, Stored]] = field(default_factory=list)

    def add(self, more: list[tuple[int, Stored]], most: int) -> None:
        merged = sorted(self.newest + more, key=lambda pair: -pair[0])
        if len(merged) > most:
            last = merged[most - 1][0]
            merged = [pair for n, pair in enumerate(merged) if n < most or pair[0] == last]
        self.newest = merged


@operation("type", "Observation", "lastn")
async def lastn(hub: Hub, request: Request) -> Response:
    given = await inputs(request)
    most = given.count("max", 10_000) or 1
    pairs = [(name, text) for name, text in given.pairs() if name != "max"]
    names = {name.partition(":")[0].partition(".")[0] for name, _ in pairs}
    if not names & {"patient", "subject"}:
        raise bad_request("$lastn needs a patient or a subject", "required", "patient")
    if not names & _CODES:
        raise bad_request("$lastn needs a category, or a parameter with a code such as `code`", "required", "category")
    query = hub.query(("Observation",), pairs, strict=request.prefer.handling == "strict", base=request.base)
    # Grouping needs them all; neither order nor includes matter on the way.
    query.sort, query.includes, query.total, query.count = (), (), None, _PAGE
    groups = await _grouped(hub, request, query, most)
    found = sorted((pair for group in groups for pair in group.newest), key=lambda pair: -pair[0])
    entries = [
        b'{"fullUrl":"%b/%b","resource":%b,"search":{"mode":"match"}}' % (request.base.encode(), s.reference.encode(), s.doc or b"{}")
        for _, s in found
    ]
    return Response(200, json=page.bundle("searchset", updated=hub.now(), total=len(entries), links=(), entries=entries), subset_done=True)


async def _grouped(hub: Hub, request: Request, query: Any, most: int) -> list[Group]:
    view = hub.view(request, "s")
    by_coding: dict[Coding, Group] = {}
    pace, looked_at, cursor = Pace(), 0, None
    while True:
        found = await view.search(query, cursor)
        for hit in found.hits:
            if hit.mode != "match" or hit.stored.doc is None:
                continue
            looked_at += 1
            observation = loads(hit.stored.doc)
            _place(by_coding, codings(observation), (effective(hub, observation), hit.stored), most)
            if pace.due():
                await pace.rest()
        if looked_at > hub.settings.lastn_max:
            why = f"more than {hub.settings.lastn_max} Observations match; narrow the search"
            raise FhirError(400, Issue("too-costly", why))
        cursor = found.cursor
        if cursor is None:
            return list({id(group): group for group in by_coding.values()}.values())


def _place(by_coding: dict[Coding, Group], own: set[Coding], one: tuple[int, Stored], most: int) -> None:
    """Puts an observation into its group, joining groups that it shows to be equal."""
    touched = list({id(g): g for c in own if (g := by_coding.get(c)) is not None}.values())
    group = touched[0] if touched else Group(set())
    for other in touched[1:]:
        group.codings |= other.codings
        group.add(other.newest, most)
    group.codings |= own
    group.add([one], most)
    for coding in group.codings if len(touched) > 1 else own:
        by_coding[coding] = group


def codings(observation: dict[str, Any]) -> set[Coding]:
    """The codes of an Observation; without any, its text, which no coding equals."""
    code = observation.get("code") or {}
    found = {(c.get("system"), c["code"]) for c in code.get("coding", ()) if c.get("code")}
    return found or {("\x00text", code.get("text"))}


def effective(hub: Hub, observation: dict[str, Any]) -> int:
    """When it was: the last moment of effective[x] in microseconds; without one it is the oldest of all."""
    text = observation.get("effectiveDateTime") or observation.get("effectiveInstant")
    if text is None and (period := observation.get("effectivePeriod")) is not None:
        text = period.get("end")
        if text is None:
            return MICROSECOND_MAX if period.get("start") else -MICROSECOND_MAX
    if text is None and (timing := observation.get("effectiveTiming")) is not None:
        return max((dates.span(e, hub.zone)[1] for e in timing.get("event", ()) if e), default=-MICROSECOND_MAX)
    return dates.span(text, hub.zone)[1] if text else -MICROSECOND_MAX
