"""What relays report becomes part of the record: the status of the Encounter or Appointment, the audit trail, a summary with quality.

Events wait in the directory until they are here. Each is taken over once: its mark stands in the same commit as what it changed.
Record kind "consultation", id the room: {"state", "since", "participants": {id: {"name", "role", "seconds", "quality"}}, "ended",
"messages": [{"id", "participant", "name", "type", "length", "time"}], "recordings": [{"name", "seconds", "tracks", "reason", "time"}]};
a message that was read has "seen": {"participant", "name", "time"}, a recording that was deleted "deleted": its time.
"""

import asyncio
import hashlib
import logging
import time
from typing import Any

from health_hub.access import entry as entries
from health_hub.access.entry import Entry
from health_hub.consult.who import KINDS, Consultation, consultation
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError
from health_hub.store.model import Change, Stored
from health_hub.store.records import Conflict, Put, now
from health_hub.store.store import Store
from telemed.directory.ports import Directory

EVERY = 1.0  # seconds between two looks
BATCH = 100
MARK_DAYS = 7
KIND, MARK = "consultation", "consult-event"
TOLD = frozenset((  # in the audit trail
    "admitted", "left", "refused", "removed", "consent", "recording", "recorded", "recording-deleted", "message", "message-seen", "ended",
))  # fmt: skip
PARTICIPANTS = 500
LISTED = 500  # messages, and recordings, of one consultation
_BEGUN = {"Encounter": (("planned", "arrived", "triaged"), "in-progress"), "Appointment": (("pending", "booked", "checked-in"), "arrived")}
_ENDED = {"Encounter": "finished", "Appointment": "fulfilled"}

log = logging.getLogger(__name__)


class Recorder:
    """One a hub process; several share the work."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store, self._directory = store, directory

    async def run(self) -> None:
        """Until it is cancelled."""
        told = False
        while True:
            try:
                taken = await self.catch_up()
                told = False
            except OSError as e:
                if not told:
                    log.warning("events of consultations cannot be read yet: %s", e)
                taken, told = 0, True
            except Exception:
                log.exception("events of consultations are not in the record yet; they follow")
                taken = 0
            if taken < BATCH:
                await asyncio.sleep(EVERY)

    async def catch_up(self) -> int:
        """One batch; how many were taken over."""
        found = await self._directory.events(BATCH)
        for number, data in found:
            for _ in range(10):
                try:
                    await self._take(data)
                    break
                except (Conflict, FhirError) as e:
                    last = e
                    await asyncio.sleep(0.02)
            else:
                raise RuntimeError("an event cannot be written") from last
            await self._directory.done([number])
        return len(found)

    async def _take(self, data: bytes) -> None:
        event = loads(data)
        kind, _, id = str(event.get("room", "")).partition(".")
        if kind not in KINDS:
            return
        mark = hashlib.sha256(data).hexdigest()
        if await self._store.records.get(MARK, mark) is not None:
            return  # it stopped between writing and saying so
        stored = await self._store.view().read(kind, id)
        found = consultation(stored)
        kept = await self._store.records.get(KIND, event["room"])
        summary = _summed(kept.data if kept is not None else {"participants": {}}, event)
        records = [
            Put(MARK, mark, {}, version=0, expires=now() + MARK_DAYS * 86_400_000),
            Put(KIND, event["room"], summary, version=kept.version if kept is not None else 0),
        ]
        changes = [] if stored is None or found is None else _changes(stored, found, event)
        trail = [entries.encode(_entry(found, event, summary))] if event["event"] in TOLD else []
        await self._store.commit(changes, trail=trail, records=records)


def _summed(summary: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    people: dict[str, Any] = dict(summary["participants"])
    who = str(event.get("participant", ""))
    match event["event"]:
        case "state":
            summary = summary | {"state": event["to"], "since": event["time"]}
        case "admitted" if who in people or len(people) < PARTICIPANTS:
            known = people.get(who, {"seconds": 0})
            people[who] = known | {"name": event["name"], "role": event["role"], "joined": known.get("joined", event["time"])}
        case "left" if who in people:
            seconds = round(float(people[who]["seconds"]) + float(event["seconds"]), 1)
            people[who] = people[who] | {"left": event["time"], "seconds": seconds, "quality": _plain(event["quality"])}
        case "message":
            one = {"id": event["message"], "participant": who, "name": event["name"], "type": event["kind"], "length": int(event["length"])}
            summary = _listed(summary, "messages", one | {"time": event["time"]})
        case "recorded":
            one = {"name": event["recording"], "seconds": float(event["seconds"]), "tracks": int(event["tracks"])}
            summary = _listed(summary, "recordings", one | {"reason": event["reason"], "time": event["time"]})
        case "recording-deleted":
            summary = _noted(summary, "recordings", "name", str(event["recording"]), {"deleted": event["time"]})
        case "message-seen":
            seen = {"participant": who, "name": event["name"], "time": event["time"]}
            summary = _noted(summary, "messages", "id", str(event["message"]), {"seen": seen})
        case "ended":
            for one in event["participants"]:
                if one["id"] in people:
                    people[one["id"]] = people[one["id"]] | {"seconds": float(one["seconds"]), "quality": _plain(one.get("quality", {}))}
            summary = summary | {"ended": event["time"], "reason": event["reason"]}
    return summary | {"participants": people}


def _listed(summary: dict[str, Any], name: str, one: dict[str, Any]) -> dict[str, Any]:
    before = summary.get(name, [])
    return summary if len(before) >= LISTED else summary | {name: [*before, one]}


def _noted(summary: dict[str, Any], name: str, key: str, value: str, more: dict[str, Any]) -> dict[str, Any]:
    return summary | {name: [one | more if one[key] == value else one for one in summary.get(name, [])]}


def _plain(quality: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in quality.items()}


def _changes(stored: Stored, found: Consultation, event: dict[str, Any]) -> list[Change]:
    """It has begun when two see each other, and ended when the doctor ended it; an empty room says nothing about care."""
    resource, kind = dict(found.resource), found.kind
    if event["event"] == "state" and event["to"] == "live":
        before, after = _BEGUN[kind]
        if resource.get("status") not in before:
            return []
        resource["status"] = after
        if kind == "Encounter":
            resource["period"] = {"start": event["time"]} | (resource.get("period") or {})
    elif event["event"] == "ended" and event["reason"] == "end" and resource.get("status") == _BEGUN[kind][1]:
        resource["status"] = _ENDED[kind]
        if kind == "Encounter":
            resource["period"] = (resource.get("period") or {}) | {"end": event["time"]}
    else:
        return []
    return [Change("update", kind, found.id, resource, if_version=stored.version, may_create=False)]


def _entry(found: Consultation | None, event: dict[str, Any], summary: dict[str, Any]) -> Entry:
    who = str(event.get("participant", ""))
    person = summary["participants"].get(who, {})
    kind, _, id = who.partition(".")
    said = [str(event[name]) for name in ("reason", "state", "given", "message", "recording") if event.get(name) not in (None, "")]
    said += [f"{name}: {value}" for name, value in (("by", event.get("by")), ("seconds", event.get("seconds"))) if value]
    said += [f"{name}: {value}" for name, value in sorted((event.get("quality") or {}).items()) if name != "seconds"]
    name = {"admitted": "joined"}.get(event["event"], event["event"])
    return Entry(
        time.time_ns() // 1_000_000, f"consult-{name}", "E", 200, name=str(event.get("name") or person.get("name", "")),
        role=str(event.get("role") or person.get("role", "")), me=f"{kind}/{id}" if kind not in ("guest", "device") and id else "",
        resources=[] if found is None else [f"{found.kind}/{found.id}"], patients=[] if found is None else found.patients(),
        note=", ".join(said)[:1000],
    )  # fmt: skip
