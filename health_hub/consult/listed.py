"""The consultations of a person: those that are open to them now, and those of the next day."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from health_hub.access.gate import Access, Gate
from health_hub.consult import record
from health_hub.consult.who import HOSTS, MICRO, OPEN, Closed, Seat, consultation, seated, span
from health_hub.fhir.search.parse import parse
from telemed.rooms.roles import Role

LOOKED = 100  # of each type, the newest
AHEAD_DAYS, BEHIND_DAYS = 1, 1
PAST_DAYS = 90


@dataclass(frozen=True, slots=True)
class Listed:
    """at, opens: seconds since 1970 UTC, 0: unknown, open already. host: may invite guests."""

    path: str
    title: str
    people: tuple[str, ...]
    at: int
    opens: int
    host: bool


async def listed(gate: Gate, access: Access) -> Sequence[Listed]:
    """By time. What the person is not in is not listed, though they may see it."""
    view, settings = access.view(gate.store, "s"), gate.authority.settings
    now = time.time()
    days = [datetime.fromtimestamp(now + d * 86_400, UTC).isoformat(timespec="seconds") for d in (-BEHIND_DAYS, AHEAD_DAYS)]
    dated = [("date", f"ge{days[0]}"), ("date", f"le{days[1]}"), ("_sort", "-date")]
    out: list[Listed] = []
    for kind, more in (("Appointment", dated), ("Encounter", [("class", "VR"), ("_sort", "-_lastUpdated")])):
        pairs = [*more, ("status", ",".join(sorted(OPEN[kind]))), ("_count", str(LOOKED))]
        query = parse((kind,), pairs, strict=True, zone=ZoneInfo(settings.zone), base=gate.authority.audience)
        for hit in (await view.search(query)).hits:
            found = consultation(hit.stored)
            sits = await seated(gate, access.who, found) if found is not None else None
            if sits is not None:
                opens = 0
                try:
                    sits.consultation.check_open(settings, now)
                except Closed as e:
                    if e.why == "over":
                        continue
                    opens = e.opens
                out.append(_line(sits, opens))
    return sorted(out, key=lambda line: (line.at, line.path))


async def past(gate: Gate, access: Access, roles: Collection[Role]) -> Sequence[Listed]:
    """Those of the last months, open or over, of which a recording or message was kept, for who sits in them as one of `roles`."""
    view, settings = access.view(gate.store, "s"), gate.authority.settings
    since = datetime.fromtimestamp(time.time() - PAST_DAYS * 86_400, UTC).isoformat(timespec="seconds")
    out: list[Listed] = []
    dated = [("date", f"ge{since}"), ("_sort", "-date")]
    for kind, pairs in (("Appointment", dated), ("Encounter", [("class", "VR"), ("_sort", "-_lastUpdated")])):
        query = parse((kind,), [*pairs, ("_count", str(LOOKED))], strict=True, zone=ZoneInfo(settings.zone), base=gate.authority.audience)
        for hit in (await view.search(query)).hits:
            found = consultation(hit.stored)
            kept = await gate.store.records.get(record.KIND, found.room) if found is not None else None
            if found is None or kept is None or not (kept.data.get("recordings") or kept.data.get("messages")):
                continue
            sits = await seated(gate, access.who, found)
            if sits is not None and sits.role in roles:
                out.append(_line(sits, 0))
    return sorted(out, key=lambda line: line.at, reverse=True)


def _line(sits: Seat, opens: int) -> Listed:
    resource = sits.consultation.resource
    starts = span(resource.get("start") or (resource.get("period") or {}).get("start"))
    at = starts[0] // MICRO if starts is not None else 0
    return Listed(sits.consultation.path, _title(resource), tuple(_people(resource)), at, opens, sits.role in HOSTS)


def _title(resource: dict[str, Any]) -> str:
    for name in ("serviceType", "type", "reasonCode"):
        value = resource.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict):
            said = first.get("text") or next((c.get("display") for c in first.get("coding", ()) if c.get("display")), "")
            if said:
                return str(said)
    return str(resource.get("description") or "")


def _people(resource: dict[str, Any]) -> list[str]:
    parts = [p.get("actor") or p.get("individual") or {} for p in resource.get("participant") or () if isinstance(p, dict)]
    if isinstance(resource.get("subject"), dict):
        parts.insert(0, resource["subject"])
    return list(dict.fromkeys(str(p["display"]) for p in parts if p.get("display")))
