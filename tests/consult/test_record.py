"""What relays report is kept once, whatever stops in between."""

import json
from pathlib import Path
from typing import Any

import pytest

from health_hub.consult.record import Recorder
from health_hub.fhir.json import loads
from telemed.directory.sqlite import SqliteDirectory
from tests.consult.conftest import OWN, Consults, appointment, visit

QUALITY = {"seconds": 300, "samples": 30, "lost": 0.021, "round_trip_ms": 180.0, "mos": 3.9}


def story(room: str, reason: str = "end") -> list[dict[str, Any]]:
    def one(event: str, second: int, **more: Any) -> dict[str, Any]:
        return {"event": event, "room": room, "time": f"2026-11-26T08:00:{second:02d}.000Z"} | more

    return [
        one("opened", 0),
        one("admitted", 1, participant="Practitioner.dung", by=None, name="Dung", role="doctor", via="ws"),
        one("waiting", 2, participant="Patient.an", name="An", role="patient"),
        one("admitted", 3, participant="Patient.an", by="Practitioner.dung", name="An", role="patient", via="ws"),
        one("state", 4, **{"from": "admitted", "to": "live"}),
        one("left", 30, participant="Patient.an", reason="lost", seconds=27.0, quality=QUALITY),
        one("ended", 40, by="Practitioner.dung", reason=reason, seconds=39.0, participants=[
            {"id": "Practitioner.dung", "name": "Dung", "role": "doctor", "seconds": 39.0, "quality": QUALITY},
            {"id": "Patient.an", "name": "An", "role": "patient", "seconds": 27.0, "quality": QUALITY}]),
    ]  # fmt: skip


@pytest.fixture
async def directory(tmp_path: Path) -> Any:
    made = SqliteDirectory(str(tmp_path / "telemed.db"))
    await made.open()
    yield made
    await made.close()


async def _status(consults: Consults, kind: str, id: str) -> dict[str, Any]:
    stored = await consults.hub.store.view().read(kind, id)
    assert stored is not None
    return loads(stored.doc or b"{}")


async def test_an_encounter_begins_and_ends_with_the_call(consults: Consults, directory: SqliteDirectory) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung", status="planned", period={}))
    recorder = Recorder(consults.hub.store, directory)
    events = story("Encounter.v1")
    await directory.report([json.dumps(e).encode() for e in events[:5]])
    assert await recorder.catch_up() == 5
    begun = await _status(consults, "Encounter", "v1")
    assert (begun["status"], begun["period"]) == ("in-progress", {"start": "2026-11-26T08:00:04.000Z"})
    await directory.report([json.dumps(e).encode() for e in events[5:]])
    await recorder.catch_up()
    done = await _status(consults, "Encounter", "v1")
    assert (done["status"], done["period"]["end"]) == ("finished", "2026-11-26T08:00:40.000Z")
    assert await directory.events(10) == []

    await consults.hub.gate.scribe.now()
    found = (await consults.hub.actor("auditor").get("AuditEvent?_count=100")).json()["entry"]
    told = {e["resource"]["subtype"][0]["code"]: e["resource"] for e in found if e["resource"]["subtype"][0]["code"].startswith("consult-")}
    assert {"consult-joined", "consult-left", "consult-ended"} <= told.keys()
    assert "lost: 0.021" in told["consult-left"]["outcomeDesc"]
    assert {"reference": "Encounter/v1"} in [e["what"] for e in told["consult-left"]["entity"] if "what" in e]

    async with await consults.browser("dung", "Organization/a") as http:
        summary = (await http.get("/consult/Encounter/v1/summary")).json()
    assert summary["participants"]["Patient.an"]["quality"]["mos"] == 3.9
    assert summary["participants"]["Patient.an"]["seconds"] == 27.0
    assert summary["reason"] == "end"
    async with await consults.browser("an") as http:
        assert (await http.get("/consult/Encounter/v1/summary")).status_code == 403
    async with await consults.browser("chi") as http:
        assert (await http.get("/consult/Encounter/v1/summary", headers=OWN)).status_code == 404


async def test_an_appointment_is_fulfilled_when_the_doctor_ends_it_and_not_when_it_runs_empty(
    consults: Consults, directory: SqliteDirectory
) -> None:
    await consults.write(appointment("t1", "Patient/an"), appointment("t2", "Patient/an"))
    recorder = Recorder(consults.hub.store, directory)
    for room, reason in (("Appointment.t1", "end"), ("Appointment.t2", "empty")):
        await directory.report([json.dumps(e).encode() for e in story(room, reason)])
    await recorder.catch_up()
    assert (await _status(consults, "Appointment", "t1"))["status"] == "fulfilled"
    assert (await _status(consults, "Appointment", "t2"))["status"] == "arrived"


async def test_what_was_taken_over_and_not_said_so_is_taken_once(consults: Consults, directory: SqliteDirectory) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung", status="planned"))
    recorder = Recorder(consults.hub.store, directory)
    events = [json.dumps(e).encode() for e in story("Encounter.v1")]
    await directory.report(events)
    await recorder.catch_up()
    version = (await _status(consults, "Encounter", "v1"))["meta"]["versionId"]
    await directory.report(events)  # as if nothing had been deleted
    await recorder.catch_up()
    assert (await _status(consults, "Encounter", "v1"))["meta"]["versionId"] == version


async def test_events_of_rooms_that_are_no_consultation_are_let_go(consults: Consults, directory: SqliteDirectory) -> None:
    recorder = Recorder(consults.hub.store, directory)
    for room in ("demo", "Encounter.absent", "Patient.an", "Encounter."):
        await directory.report([json.dumps(e).encode() for e in story(room)])
    while await recorder.catch_up():
        pass
    assert await directory.events(10) == []


async def test_messages_and_recordings_are_listed_with_the_consultation(consults: Consults, directory: SqliteDirectory) -> None:
    await consults.write(visit("v9", "an", "Practitioner/dung", status="planned", period={}))
    at = {"room": "Encounter.v9", "time": "2026-11-26T09:00:00.000Z"}
    message = {"event": "message", "participant": "Patient.an", "message": "ab" * 16, "name": "An", "role": "patient"}
    recorded = {"event": "recorded", "recording": "20261126T080004Z-0a1b2c3d", "seconds": 31.5, "tracks": 4, "reason": "asked"}
    told = [*story("Encounter.v9"), at | recorded, at | message | {"kind": "video/webm", "length": 120_000}]
    await directory.report([json.dumps(e).encode() for e in told])
    recorder = Recorder(consults.hub.store, directory)
    assert await recorder.catch_up() == len(told)
    await directory.report([json.dumps(told[-1]).encode()])  # told twice by one who died in between
    await recorder.catch_up()
    kept = await consults.hub.store.records.get("consultation", "Encounter.v9")
    assert kept is not None
    assert [(m["id"], m["participant"], m["length"]) for m in kept.data["messages"]] == [("ab" * 16, "Patient.an", 120_000)]
    assert [(r["name"], r["tracks"]) for r in kept.data["recordings"]] == [("20261126T080004Z-0a1b2c3d", 4)]
    assert (await _status(consults, "Encounter", "v9"))["status"] == "finished"
    gone = at | {"event": "recording-deleted", "recording": recorded["recording"]}
    other = gone | {"recording": "20200101T080004Z-0a1b2c3d"}
    reader = {"participant": "Practitioner.dung", "name": "Dung", "role": "doctor"}
    seen = at | {"event": "message-seen", "message": message["message"]} | reader
    await directory.report([json.dumps(e).encode() for e in (gone, other, seen)])
    assert await recorder.catch_up() == 3
    kept = await consults.hub.store.records.get("consultation", "Encounter.v9")
    assert kept is not None
    assert [r["deleted"] for r in kept.data["recordings"]] == [at["time"]]
    assert kept.data["messages"][0]["seen"] == {"participant": "Practitioner.dung", "name": "Dung", "time": at["time"]}
    await consults.hub.gate.scribe.now()
    found = (await consults.hub.actor("auditor").get("AuditEvent?_count=100")).json()["entry"]
    codes = {e["resource"]["subtype"][0]["code"] for e in found}
    assert {"consult-recording-deleted", "consult-message-seen"} <= codes
