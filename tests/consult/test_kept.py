"""Recordings and messages on the hub's pages: who may play which, ranges, what a relay does not give away, and the audit trail."""

import base64
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from health_hub.consult import kept as pages
from health_hub.consult import relays
from health_hub.consult.record import Recorder
from telemed.directory.sqlite import SqliteDirectory
from telemed.front import Front
from telemed.pieces.routes import CONTENT, PATH
from telemed.record.delete import delete
from telemed.record.play import play
from telemed.record.recording import Limits, Recording
from tests.consult.conftest import OWN, Consults, appointment, visit
from tests.telemed.hub.cluster import Relay, Served
from tests.telemed.record.media import audio, video

KEY = "the key of recordings in the tests, of an operator"
NAME = "20261126T080004Z-0a1b2c3d"
PATHS = f"/consult/Encounter/v1/kept/recordings/{NAME}"


def recorded(root: Path, room: str, *people: str, name: str = NAME) -> dict[str, bytes]:
    """A recording of everyone's sound and the first one's picture; what a player is to get, by file."""
    agreed = {who: datetime.now(UTC) for who in people}
    r = Recording(root / name, KEY.encode(), room, agreed, limits=Limits(free=0), clock=lambda: 100.0)
    for who in people:
        track = r.track(f"a-{who}", who, "audio", "opus", 48_000)
        for packet in audio(100):
            track.write(packet.data, packet.arrival)
    track = r.track("v", people[0], "video", "VP8", 90_000)
    for packet in video("VP8"):
        track.write(packet.data, packet.arrival)
    r.stop().result(20)
    out = root.parent / f"out-{name}"
    index, problems = play(root / name, out, KEY.encode())
    assert not problems
    return {t["file"]: (out / t["file"]).read_bytes() for t in index["tracks"]}


@pytest.fixture
async def relay(consults: Consults, tmp_path: Path) -> AsyncIterator[Relay]:
    (tmp_path / "rec").mkdir()
    hub = consults.hub
    secret = relays.secret(hub.authority.settings, hub.store.secret)
    made = Relay(
        f"sqlite:///{tmp_path}/telemed.db", "r", secret=secret, issuer=hub.authority.issuer,
        recordings=str(tmp_path / "rec"), record_key=KEY, messages=str(tmp_path / "mes"), disk_free=0,
    )  # fmt: skip
    await made.start()
    yield made
    await made.stop()


async def trail(consults: Consults) -> list[tuple[str, str, str, str]]:
    """(what, who, outcome, which) of what was played or refused, in order."""
    await consults.hub.gate.scribe.now()
    found = (await consults.hub.actor("auditor").get("AuditEvent?_count=200&_sort=date")).json().get("entry", ())
    out = []
    for e in (entry["resource"] for entry in found):
        code = e["subtype"][0]["code"]
        if code in ("consult-play", "consult-kept"):
            who = next(a["who"]["display"] for a in e["agent"] if a["requestor"])
            which = "".join(base64.b64decode(entity["query"]).decode() for entity in e["entity"] if "query" in entity)
            out.append((code, who, e["outcome"], which))
    return out


async def test_a_doctor_plays_a_recording_by_ranges_and_it_is_noted_once(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung", status="finished"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung", "Patient.an")
    async with await consults.browser("dung", "Organization/a") as http:
        listing = await http.get("/consult/Encounter/v1/kept")
        assert listing.status_code == 200
        assert f'href="{PATHS}"' in listing.text
        assert "0:02" in listing.text
        shown = await http.get(PATHS)
        assert "media-src 'self'" in shown.headers["content-security-policy"]
        for file, data in files.items():
            assert f'src="{PATHS}/{file}"' in shown.text
            whole = await http.get(f"{PATHS}/{file}", headers=OWN)
            assert (whole.status_code, whole.content) == (200, data), "as `play` writes it, lengths and cues filled in"
            assert whole.headers["content-type"] == f"{file[3:8]}/webm"
            assert whole.headers["cache-control"] == "no-store"
            assert whole.headers["content-disposition"] == "inline"
            assert "sandbox" in whole.headers["content-security-policy"]
            for start, stop in ((0, 1), (5, 400), (100, len(data)), (len(data) - 1, len(data))):
                part = await http.get(f"{PATHS}/{file}", headers=OWN | {"Range": f"bytes={start}-{stop - 1}"})
                assert (part.status_code, part.content) == (206, data[start:stop])
                assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"
            assert (await http.get(f"{PATHS}/{file}", headers=OWN | {"Range": "bytes=-10"})).content == data[-10:]
            condition = {"Range": "bytes=0-9", "If-Range": '"another"'}
            assert (await http.get(f"{PATHS}/{file}", headers=OWN | condition)).status_code == 200
            beyond = await http.get(f"{PATHS}/{file}", headers=OWN | {"Range": f"bytes={len(data)}-"})
            assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
            for bad in ("bytes=9-1", "bytes=x-", "pages=1-2", "bytes=0-1,5-6"):
                assert (await http.get(f"{PATHS}/{file}", headers=OWN | {"Range": bad})).content == data
    plays = [t for t in await trail(consults) if t[0] == "consult-play"]
    assert plays == [("consult-play", "dung", "0", f"Encounter/v1/recordings/{NAME}")]
    async with await consults.browser("an") as http:
        access = (await http.get("/record/access")).text
    assert "dung" in access
    assert "bản ghi hoặc lời nhắn của buổi khám từ xa" in access


async def test_a_long_range_is_given_in_parts(consults: Consults, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.record.routes.PART", 1000)
    monkeypatch.setattr("telemed.record.kept.PIECE", 64)  # cuts through what is written over the file
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung")
    file, data = max(files.items(), key=lambda one: len(one[1]))
    got = b""
    async with await consults.browser("dung", "Organization/a") as http:
        while len(got) < len(data):
            part = await http.get(f"{PATHS}/{file}", headers=OWN | {"Range": f"bytes={len(got)}-"})
            assert part.headers["content-range"] == f"bytes {len(got)}-{min(len(got) + 1000, len(data)) - 1}/{len(data)}"
            got += part.content
    assert got == data


async def test_who_may_play_and_who_may_not(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(
        visit("v1", "an", "Practitioner/dung", status="finished"),
        appointment("t1", "Practitioner/dung", "Patient/an", start=-200, end=-100, status="fulfilled"),
    )
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung", "Patient.an")
    recorded(tmp_path / "rec", "Appointment.t1", "Practitioner.dung", "Patient.an", name="20261126T090004Z-0a1b2c3d")
    media = f"{PATHS}/{next(iter(files))}"
    for name, organization in (("dung", "Organization/a"), ("an", None)):
        async with await consults.browser(name, organization) as http:
            assert (await http.get(media, headers=OWN)).status_code == 200, name
            assert (await http.get(PATHS)).status_code == 200, name
    async with await consults.browser("an") as http:
        assert "20261126T090004Z-0a1b2c3d" in (await http.get("/consult/Appointment/t1/kept")).text
        # What belongs to another room, is none, or leads elsewhere.
        for path in (
            f"/consult/Appointment/t1/kept/recordings/{NAME}/01-audio.webm", f"{PATHS}/09-audio.webm", f"{PATHS}/journal.sealed",
            f"{PATHS}/index.json.sealed", f"{PATHS}/..%2f..%2fkey", f"/consult/Encounter/v1/kept/recordings/..%2f{NAME}/01-audio.webm",
            "/consult/Encounter/v1/kept/recordings/x/01-audio.webm",
        ):  # fmt: skip
            answer = await http.get(path, headers=OWN)
            assert answer.status_code == 404, path
            assert "sealed" not in answer.text
        gone = await http.get("/consult/Encounter/v1/kept/recordings/20200101T000000Z-00000000")
        assert gone.status_code == 404
        assert "Không có bản ghi này" in gone.text
        assert "There is no such recording" in gone.text
    async with await consults.browser("chi") as http:
        refused = await http.get(media, headers=OWN)
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
        assert refused.json()["vi"]
        page = await http.get("/consult/Encounter/v1/kept")
        assert page.status_code == 404
        assert "người bệnh không (còn) đồng ý" in page.text
        assert "the patient does not agree (any longer)" in page.text
        absent = await http.get("/consult/Encounter/none/kept")
        assert absent.text.replace("/none/", "/v1/") == page.text, "what is hidden is as what is not there"
    async with consults.nobody() as http:
        assert (await http.get(media, headers=OWN)).status_code == 401
        assert (await http.get("/consult/Encounter/v1/kept")).status_code == 303
    async with await consults.browser("an") as http:
        for site in ("cross-site", "same-site", "none"):
            assert (await http.get(media, headers={"sec-fetch-site": site})).status_code == 403, site
    assert ("consult-play", "chi", "4", f"Encounter/v1/recordings/{NAME}") in await trail(consults)


async def test_an_interpreter_of_the_consultation_is_told_that_it_is_not_for_them(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    translates = [{"coding": [{"code": "TRANS"}]}]
    people = [{"individual": {"reference": "Practitioner/dung"}, "type": translates}]
    await consults.write(visit("v1", "an", participant=people))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung", "Patient.an")
    async with await consults.browser("dung", "Organization/a") as http:
        page = await http.get("/consult/Encounter/v1/kept")
        assert page.status_code == 403
        assert "Bản ghi không dành cho vai trò của bạn" in page.text
        assert "Recordings are not for your role" in page.text
        refused = await http.get(f"{PATHS}/{next(iter(files))}", headers=OWN)
        assert (refused.status_code, refused.json()["code"]) == (403, "role")


async def test_a_patient_does_not_see_another_who_was_in_it(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung", "Patient.an", "Patient.binh")
    async with await consults.browser("an") as http:
        assert NAME not in (await http.get("/consult/Encounter/v1/kept")).text
        assert (await http.get(PATHS)).status_code == 404
        assert (await http.get(f"{PATHS}/{next(iter(files))}", headers=OWN)).status_code == 404
    async with await consults.browser("dung", "Organization/a") as http:
        assert (await http.get(f"{PATHS}/{next(iter(files))}", headers=OWN)).status_code == 200


async def test_a_relay_gives_recordings_to_fronts_alone(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung")
    paths = ("", f"/{NAME}", f"/{NAME}/{next(iter(files))}")
    relay.agent._require = False  # a relay alone, without a directory, has no door of its own
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{relay.port}") as http:
        for headers in ({}, {"x-telemed-front": "x" * 64}, {"x-telemed-front": "\xff"}):
            for path in paths:
                answer = await http.get(f"/telemed/recordings/Encounter.v1{path}", headers=httpx.Headers(headers, encoding="latin-1"))
                assert (answer.status_code, answer.json()["code"]) == (404, "unknown")
    tokens = relays.tokens(consults.hub.authority.settings, consults.hub.store.secret)
    directory = SqliteDirectory(str(tmp_path / "telemed.db"))
    await directory.open()
    front = await Served(Front(directory, relay.settings.secret, tokens), lifespan="off").start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}") as http:
            for path in paths:
                assert (await http.get(f"/telemed/recordings/Encounter.v1{path}")).status_code == 404
    finally:
        await front.stop()
        await directory.close()


async def test_what_was_changed_on_the_disk_is_not_played(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung")
    first, second = sorted(files)
    path = tmp_path / "rec" / NAME / second
    cut = path.read_bytes()
    path.write_bytes(cut[:-1])
    async with await consults.browser("dung", "Organization/a") as http:
        answer = await http.get(f"{PATHS}/{second}", headers=OWN)
        assert (answer.status_code, answer.json()["code"]) == (500, "damaged")
        path.write_bytes((tmp_path / "rec" / NAME / first).read_bytes())  # another file of it under this name
        assert (await http.get(f"{PATHS}/{second}", headers=OWN)).status_code == 500
        (tmp_path / "rec" / NAME / "index.json.sealed").write_bytes(b"x")
        assert (await http.get(f"{PATHS}/{first}", headers=OWN)).status_code == 500
        assert (await http.get("/consult/Encounter/v1/kept")).status_code == 200, "a list without it"


async def test_without_a_relay_the_page_says_what_is_missing(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung")
    await relay.kill()
    async with await consults.browser("dung", "Organization/a") as http:
        page = await http.get("/consult/Encounter/v1/kept")
        assert page.status_code == 200
        assert "Một máy chủ chưa trả lời" in page.text
        away = await http.get(f"{PATHS}/{next(iter(files))}", headers=OWN)
        assert (away.status_code, away.json()["code"]) == (503, "away")
        assert (await http.get(PATHS)).status_code == 503


async def test_relays_with_a_folder_each_are_all_asked(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    other = "20261126T090004Z-0a1b2c3d"
    for folder, name in (("rec", NAME), ("rec2", other)):
        recorded(tmp_path / folder, "Encounter.v1", "Practitioner.dung", name=name)
    keeps = {"recordings": str(tmp_path / "rec2"), "record_key": KEY, "disk_free": 0}
    second = Relay(f"sqlite:///{tmp_path}/telemed.db", "s", secret=relay.settings.secret, issuer=relay.settings.issuer, **keeps)
    await second.start()
    async with await consults.browser("dung", "Organization/a") as http:
        page = (await http.get("/consult/Encounter/v1/kept")).text
        assert page.index(other) < page.index(NAME), "the newest first"
        for name in (NAME, other):
            path = f"/consult/Encounter/v1/kept/recordings/{name}/01-audio.webm"
            assert (await http.get(path, headers=OWN | {"Range": "bytes=0-3"})).content == b"\x1a\x45\xdf\xa3"
        await second.stop()
        assert other not in (await http.get("/consult/Encounter/v1/kept")).text
        assert (await http.get(f"/consult/Encounter/v1/kept/recordings/{NAME}/01-audio.webm", headers=OWN)).status_code == 200


async def test_too_many_requests_are_refused(consults: Consults, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "RATE", 0.0)
    monkeypatch.setattr(pages, "BURST", 3)
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung")
    async with await consults.browser("dung", "Organization/a") as http:
        found = [(await http.get(f"{PATHS}/{next(iter(files))}", headers=OWN)).status_code for _ in range(4)]
    assert found == [200, 200, 200, 429]


async def send(relay: Relay, token: str, data: bytes, **metadata: str) -> str:
    said = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in metadata.items())
    headers = {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Upload-Metadata": said}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{relay.port}") as http:
        made = await http.post(PATH, headers=headers | {"Content-Type": CONTENT}, content=data)
    assert made.status_code == 201, made.text
    return str(made.headers["location"]).rpartition("/")[2]


async def test_a_message_is_listed_played_and_marked_as_seen(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    over = appointment("t1", "Practitioner/dung", "Patient/an", start=-200, end=-100, status="fulfilled")
    await consults.write(visit("v1", "an", "Practitioner/dung"), over)
    relay.agent._require = False
    token = (await consults.token("an", "Encounter/v1")).json()["token"]
    data = os.urandom(100_000)
    id = await send(relay, token, data, filetype="video/webm", seconds="65.2")
    bad = await send(relay, token, b"<script>", filetype="text/html", seconds="1e9")
    at, path = "/consult/Encounter/v1/kept", f"/consult/Encounter/v1/kept/messages/{id}"
    async with await consults.browser("an") as http:  # one's own is not seen by oneself
        assert (await http.get(path, headers=OWN)).content == data
        page = (await http.get(at)).text
        assert "Chưa xem" in page
        assert f'src="{path}"' in page
    async with await consults.browser("dung", "Organization/a") as http:
        page = (await http.get(at)).text
        assert "Chưa xem" in page
        assert "Dài 1:05" in page
        assert f'src="{at}/messages/{bad}"' not in page
        part = await http.get(path, headers=OWN | {"Range": "bytes=10-19"})
        assert (part.status_code, part.content, part.headers["content-type"]) == (206, data[10:20], "video/webm")
        assert part.headers["cache-control"] == "no-store"
        assert "dung đã xem lúc" in (await http.get(at)).text
        assert (await http.get(f"{at}/messages/{'0' * 32}", headers=OWN)).status_code == 404
        assert (await http.get(f"{at}/messages/{bad}", headers=OWN)).headers["content-type"] == "application/octet-stream"
        assert (await http.get(f"/consult/Appointment/t1/kept/messages/{id}", headers=OWN)).status_code == 404, "of another consultation"
    async with await consults.browser("chi") as http:
        assert (await http.get(path, headers=OWN)).status_code == 404
    # It is known after a restart, and the record has it.
    await relay.agent._flush()
    recorder = Recorder(consults.hub.store, relay.directory)
    while await recorder.catch_up():
        pass
    kept = await consults.hub.store.records.get("consultation", "Encounter.v1")
    assert kept is not None
    seen = {m["id"]: m.get("seen", {}).get("participant") for m in kept.data["messages"]}
    assert seen == {id: "Practitioner.dung", bad: "Practitioner.dung"}
    async with await consults.browser("dung", "Organization/a") as http:
        assert f'href="{at}"' in (await http.get("/consult/kept")).text
    async with await consults.browser("chi") as http:
        assert at not in (await http.get("/consult/kept")).text
    plays = [t for t in await trail(consults) if t[0] == "consult-play"]
    assert plays.count(("consult-play", "an", "0", f"Encounter/v1/messages/{id}")) == 1
    for message in (id, bad):
        assert plays.count(("consult-play", "dung", "0", f"Encounter/v1/messages/{message}")) == 1
    store = relay.settings.messages
    await relay.stop()
    sealed = b"".join(file.read_bytes() for file in Path(store).iterdir())
    assert b"Practitioner" not in sealed
    again = Relay(
        f"sqlite:///{tmp_path}/telemed.db", "r", secret=relay.settings.secret, issuer=relay.settings.issuer, messages=store, disk_free=0
    )
    await again.start()
    try:
        async with await consults.browser("dung", "Organization/a") as http:
            while "dung đã xem lúc" not in (await http.get(at)).text:
                continue  # its folder is being read
    finally:
        await again.stop()


async def test_a_withdrawn_consent_ends_playing(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung", status="finished"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung", "Patient.an")
    media = f"{PATHS}/{next(iter(files))}"
    deny = {
        "resourceType": "Consent", "id": "no", "status": "active", "dateTime": "2026-01-01", "patient": {"reference": "Patient/an"},
        "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"coding": [{"code": "59284-0"}]}],
        "policyRule": {"coding": [{"code": "OPTIN"}]}, "provision": {"type": "deny", "class": [{"code": "Encounter"}],
        "actor": [{"role": {"coding": [{"code": "IRCP"}]}, "reference": {"reference": "Organization/a"}}]},
    }  # fmt: skip
    async with await consults.browser("dung", "Organization/a") as http:
        assert (await http.get(media, headers=OWN)).status_code == 200
        await consults.write(deny)
        refused = await http.get(media, headers=OWN | {"Range": "bytes=5-"})
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found"), json.dumps(refused.json())
        assert "consent" in refused.json()["en"]
    async with await consults.browser("an") as http:
        assert (await http.get(media, headers=OWN)).status_code == 200, "it is the patient's own"


async def test_what_was_deleted_is_gone_from_the_pages(consults: Consults, relay: Relay, tmp_path: Path) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    files = recorded(tmp_path / "rec", "Encounter.v1", "Practitioner.dung")
    async with await consults.browser("dung", "Organization/a") as http:
        assert NAME in (await http.get("/consult/Encounter/v1/kept")).text
        delete(tmp_path / "rec" / NAME)
        assert NAME not in (await http.get("/consult/Encounter/v1/kept")).text
        answer: Any = await http.get(f"{PATHS}/{next(iter(files))}", headers=OWN)
        assert (answer.status_code, answer.json()["code"]) == (404, "gone")
