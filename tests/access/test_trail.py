"""The trail: one AuditEvent for each access, of the right agent, patients and outcome; nothing in the journal changes unseen."""

import asyncio
import base64
import json
import time
from typing import Any

import httpx
import msgspec
import pytest

from health_hub.access import entry as entries
from health_hub.access.connect import Connected
from health_hub.access.entry import Entry
from health_hub.access.gate import ADDRESSES
from health_hub.access.scribe import Scribe
from health_hub.auth.audit import AuthEvent, Kind
from health_hub.auth.model import Account
from health_hub.rest.once import OnceApp
from health_hub.store.model import Stored
from health_hub.store.store import Store
from tests.access.conftest import BASE, Hub, encounter, observation

KINDS: tuple[Kind, ...] = ("sign-in", "token", "account-changed", "sign-out")
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."


async def events(hub: Hub) -> list[dict[str, Any]]:
    """Every AuditEvent in the order it was recorded, past the API."""
    await hub.gate.scribe.catch_up()
    found = [json.loads(s.doc or b"{}") async for s in hub.store.view().scan(("AuditEvent",))]
    return sorted(found, key=lambda e: (e["recorded"], e["id"]))


async def news(hub: Hub, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {e["id"] for e in before}
    return [e for e in await events(hub) if e["id"] not in known]


def patients(event: dict[str, Any]) -> set[str]:
    names = [e.get("what", {}).get("reference", "") for e in event.get("entity", ())]
    return {n for n in names if n.startswith("Patient/")}


def bundle(kind: str, *requests: tuple[str, str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [{"request": {"method": m, "url": u}} | ({"resource": r} if r else {}) for m, u, r in requests],
    }


PATCH = [{"op": "replace", "path": "/status", "value": "amended"}]
# (who, method, url, body, headers, interaction, action, outcome, patients, profile)
ACCESSES: list[tuple[str, str, str, Any, dict[str, str], str, str, str, set[str], str | None]] = [
    ("dung", "GET", "Observation/o-an", None, {}, "read", "R", "0", {"an"}, "PatientRead"),
    ("dung", "HEAD", "Observation/o-an", None, {}, "read", "R", "0", {"an"}, "PatientRead"),
    ("dung", "GET", "Observation/o-an", None, {"If_None_Match": 'W/"1"'}, "read", "R", "0", {"an"}, "PatientRead"),
    ("dung", "GET", "Patient/an", None, {}, "read", "R", "0", {"an"}, "PatientRead"),
    ("dung", "GET", "Practitioner/dung", None, {}, "read", "R", "0", set(), "Read"),
    ("dung", "GET", "Observation/o-an/_history/1", None, {}, "vread", "R", "0", {"an"}, "PatientRead"),
    ("dung", "GET", "Observation/o-an/_history", None, {}, "history-instance", "R", "0", {"an"}, None),
    ("dung", "GET", "Observation/_history", None, {}, "history-type", "R", "0", {"an", "binh"}, None),
    ("dung", "GET", "_history?_count=100", None, {}, "history-system", "R", "0", {"an", "binh"}, None),
    ("dung", "GET", "Observation", None, {}, "search-type", "E", "0", {"an", "binh"}, "Query"),
    ("dung", "GET", "Observation?patient=an", None, {}, "search-type", "E", "0", {"an"}, "PatientQuery"),
    ("dung", "GET", "Observation?patient=an&_include=Observation:patient", None, {}, "search-type", "E", "0", {"an"}, "PatientQuery"),
    ("dung", "GET", "Patient?_id=binh&_revinclude=Observation:patient", None, {}, "search-type", "E", "0", {"binh"}, "PatientQuery"),
    ("dung", "GET", "Observation?_summary=count", None, {}, "search-type", "E", "0", set(), "Query"),
    ("dung", "GET", "Observation?patient=chi", None, {}, "search-type", "E", "0", set(), "Query"),
    ("dung", "GET", "?_id=o-an", None, {}, "search-system", "E", "0", {"an"}, "PatientQuery"),
    ("dung", "GET", "Patient/an/Observation", None, {}, "search-type", "E", "0", {"an"}, "PatientQuery"),
    (
        "dung",
        "POST",
        "Observation/_search",
        "patient=an",
        {"Content_Type": "application/x-www-form-urlencoded"},
        "search-type",
        "E",
        "0",
        {"an"},
        "PatientQuery",
    ),
    ("dung", "GET", "Patient/an/$everything", None, {}, "operation", "E", "0", {"an"}, None),
    ("dung", "GET", "Encounter/e-an/$everything", None, {}, "operation", "E", "0", {"an"}, None),
    ("dung", "GET", "Observation/$lastn?patient=an&category=vital-signs", None, {}, "operation", "E", "0", {"an"}, None),
    ("dung", "GET", "Patient/an/$meta", None, {}, "operation", "E", "0", {"an"}, None),
    ("dung", "GET", '$graphql?query={Patient(id:"an"){id}}', None, {}, "operation", "E", "0", {"an"}, None),
    ("dung", "GET", "Patient/an/$graphql?query={id}", None, {}, "operation", "E", "0", {"an"}, None),
    ("his-a", "POST", "Observation", observation("x", "an"), {}, "create", "C", "0", {"an"}, "PatientCreate"),
    ("his-a", "PUT", "Observation/o-an", observation("o-an", "an"), {}, "update", "U", "0", {"an"}, "PatientUpdate"),
    (
        "his-a",
        "PATCH",
        "Observation/o-an",
        PATCH,
        {"Content_Type": "application/json-patch+json"},
        "patch",
        "U",
        "0",
        {"an"},
        "PatientUpdate",
    ),
    (
        "his-a",
        "POST",
        "Observation/o-an/$meta-add",
        {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]},
        {},
        "operation",
        "E",
        "0",
        {"an"},
        None,
    ),
    ("an", "GET", "Observation", None, {}, "search-type", "E", "0", {"an"}, "PatientQuery"),
    ("carer", "GET", "Patient/binh", None, {}, "read", "R", "0", {"binh"}, "PatientRead"),
    # Refused: who asked what, and no patient that they did not see.
    ("dung", "GET", "Observation/o-chi", None, {}, "read", "R", "4", set(), None),
    ("dung", "GET", "Patient/chi/$everything", None, {}, "operation", "E", "4", set(), None),
    ("dung", "POST", "Observation", observation("x", "chi"), {}, "create", "C", "4", set(), None),
    ("dung", "PUT", "Observation/o-chi", observation("o-chi", "an"), {}, "update", "U", "4", set(), None),
    ("his-a", "PUT", "Observation/o-binh-b", observation("o-binh-b", "binh"), {}, "update", "U", "4", set(), None),
    ("his-a", "DELETE", "Observation/o-binh-b", None, {}, "delete", "D", "4", set(), None),
    ("admin", "GET", "Patient", None, {}, "search-type", "E", "4", set(), None),
    ("an", "GET", "Patient?nonsense=1", None, {"Prefer": "handling=strict"}, "search-type", "E", "4", set(), None),
    ("dung", "POST", "Observation", "{", {}, "create", "C", "4", set(), None),
    ("his-a", "DELETE", "Observation/o-an", None, {}, "delete", "D", "0", set(), "Delete"),
]
ROLES = {"dung": "practitioner", "his-a": "system", "an": "patient", "carer": "carer", "admin": "administrator", "giang": "nurse"}


async def test_each_access_leaves_exactly_one_event_of_who_what_and_whom(hub: Hub) -> None:
    before = await events(hub)
    for name, method, url, body, headers, interaction, action, outcome, whom, profile in ACCESSES:
        answer = await hub.actor(name)(method, url, body, X_Request_Id="nr-1", **headers)
        made = await news(hub, before)
        what = (name, method, url, answer.status_code)
        assert len(made) == 1, (what, made)
        event, before = made[0], before + made
        assert event["subtype"][0]["code"] == interaction, what
        assert (event["action"], event["outcome"]) == (action, outcome), what
        assert patients(event) == {f"Patient/{p}" for p in whom}, what
        assert event.get("meta", {}).get("profile") == ([BALP + profile] if profile else None), what
        assert ("outcomeDesc" in event) == (outcome != "0"), what
        by = event["agent"]
        assert sum(a["requestor"] for a in by) == 1, what
        asker = next(a for a in by if a["requestor"])
        if name == "his-a":
            assert asker["who"]["identifier"]["value"] == "app"
        else:
            assert asker["who"]["identifier"]["value"] == f"account-{name}"
            assert asker["role"][0]["coding"][0]["code"] == ROLES[name]
        assert by[0]["type"]["coding"][0]["code"] == "110150", "the application"
        assert by[0]["network"] == {"address": "127.0.0.1", "type": "2"}
        facility = [a["who"]["reference"] for a in by if str(a["who"].get("reference", "")).startswith("Organization/")]
        assert facility == (["Organization/a"] if name in ("dung", "his-a") else []), what
        assert event["source"]["observer"]["display"] == "Health Hub"
        assert any(e.get("type", {}).get("code") == "XrequestId" and e["what"]["identifier"]["value"] == "nr-1" for e in event["entity"])
        if interaction.startswith("search") or outcome != "0":
            asked = [base64.b64decode(e["query"]).decode() for e in event["entity"] if "query" in e]
            assert len(asked) == 1, what
            assert asked[0].startswith(url.split("?")[0]), what
        if name in ("dung", "an", "carer", "his-a"):
            assert event["purposeOfEvent"][0]["coding"][0]["code"] == ("TREAT" if name in ("dung", "his-a") else "PATRQT")
    assert [p async for p in hub.store.trail.check()] == []


async def test_bundles_are_told_once_with_all_they_concern(hub: Hub) -> None:
    before = await events(hub)
    his = hub.actor("his-a")
    reads = [("GET", "Observation/o-an", None), ("GET", "Patient?_id=binh", None)]
    answer = await his("POST", "", bundle("batch", *reads, ("GET", "Observation/o-chi", None), ("GET", "Patient/nobody", None)))
    assert answer.status_code == 200
    made = await news(hub, before)
    assert [(e["subtype"][0]["code"], e["outcome"], patients(e)) for e in made] == [("batch", "0", {"Patient/an", "Patient/binh"})]
    assert made[0]["outcomeDesc"] == "2 entries were refused"
    before += made
    assert (await his("POST", "", bundle("transaction", *reads))).status_code == 200
    made = await news(hub, before)
    assert [(e["subtype"][0]["code"], patients(e)) for e in made] == [("transaction", {"Patient/an", "Patient/binh"})]
    before += made
    writes = [("POST", "Observation", observation("x", "an")), ("PUT", "Observation/o-binh", observation("o-binh", "binh"))]
    assert (await his("POST", "", bundle("transaction", *writes))).status_code == 200
    made = await news(hub, before)
    assert [(e["subtype"][0]["code"], patients(e)) for e in made] == [("transaction", {"Patient/an", "Patient/binh"})]
    before += made
    assert (await his("POST", "", bundle("transaction", *writes, ("POST", "Observation", observation("x", "chi"))))).status_code == 422
    made = await news(hub, before)
    assert [(e["subtype"][0]["code"], e["outcome"]) for e in made] == [("transaction", "4")]


async def test_a_first_relationship_is_marked(hub: Hub) -> None:
    his = hub.actor("his-b")
    patient = (await his("POST", "Patient", {"resourceType": "Patient"})).json()["id"]
    before = await events(hub)
    for _ in range(2):
        assert (await his("POST", "Encounter", encounter("x", patient, "Organization/b"))).status_code == 201
    codes = [[c["code"] for c in e["subtype"]] for e in await news(hub, before)]
    assert codes == [["create", "first-relationship"], ["create"]]


async def test_an_asynchronous_answer_is_told_once_and_is_its_senders(hub: Hub) -> None:
    before = await events(hub)
    started = await hub.actor("dung")("GET", "Observation?patient=an", Prefer="respond-async")
    assert started.status_code == 202
    job = started.headers["Content-Location"].removeprefix(BASE + "/")
    for _ in range(100):
        answer = await hub.actor("dung").get(job)
        if answer.status_code == 200:
            break
        await asyncio.sleep(0.02)
    assert answer.status_code == 200
    told = [e for e in await news(hub, before) if patients(e)]
    assert [(e["subtype"][0]["code"], patients(e)) for e in told] == [("search-type", {"Patient/an"})]
    unknown = await hub.actor("his-a").get("_job/unknown")
    for name in ("an", "giang", "his-a", "his-b", "province", "auditor", "admin"):
        for method in ("GET", "DELETE"):
            other = await hub.actor(name)(method, job)
            assert (other.status_code, other.text) == (404, unknown.text), name
    assert (await hub.actor("dung").get(job)).status_code == 200


async def test_an_idempotency_key_is_its_senders(hub: Hub) -> None:
    """The door with keys is OnceApp; FhirApp alone ignores them. Held here at the store: marks of two senders differ."""
    app = OnceApp(hub.store, hub.authority.settings, hub.gate)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE + "/") as http:
        statuses = []
        for name in ("his-a", "dung", "his-a", "dung"):
            headers = {"Authorization": f"Bearer {hub.actor(name).token}", "Idempotency-Key": "k", "Content-Type": "application/fhir+json"}
            statuses.append((await http.post("Observation", json=observation("x", "an"), headers=headers)).status_code)
    assert statuses == [201, 201, 409, 409]


async def test_anonymous_refusals_are_counted_not_written_one_by_one(hub: Hub) -> None:
    before = await events(hub)
    for n in range(40):
        headers = {"Authorization": "Bearer x.y.z"} if n % 2 else {}
        assert (await hub.http.get("Patient/an", headers=headers)).status_code == 401
    assert await news(hub, before) == []
    await hub.gate._flush()
    made = await news(hub, before)
    assert len(made) == 1
    assert made[0]["outcome"] == "4"
    assert made[0]["agent"][0]["who"] == {"display": "127.0.0.1"}
    assert [e["detail"][0]["valueString"] for e in made[0]["entity"] if "detail" in e] == ["40"]
    before += made
    for n in range(ADDRESSES + 300):
        hub.gate._count(f"10.0.{n // 250}.{n % 250}")
    await hub.gate._flush()
    made = await news(hub, before)
    assert len(made) == ADDRESSES + 1, "a flood from many addresses does not fill the trail"
    assert sum(int(e["detail"][0]["valueString"]) for event in made for e in event["entity"] if "detail" in e) == ADDRESSES + 300


async def test_no_secret_stands_in_the_trail(hub: Hub) -> None:
    doctor = hub.actor("dung")
    await doctor.get("Observation/o-an")
    await hub.http.get("Patient", headers={"Authorization": f"Bearer {doctor.token[:-3]}xyz"})
    await hub.gate._flush()
    every = json.dumps(await events(hub)) + str(await hub.store.database.fetch("SELECT data FROM trail"))
    assert doctor.token not in every
    assert doctor.token.split(".")[2] not in every


async def test_a_page_of_accesses_is_full_however_often_the_patient_signs_in(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no access to the record is left out by the search, not from the page that it found."""
    monkeypatch.setattr("health_hub.access.connect.ACCESSES", 4)
    me, doctor = await account(hub, "an"), hub.actor("dung")
    for n in range(6):
        assert (await doctor.get("Observation/o-an")).status_code == 200
        for kind in KINDS:
            await hub.authority.audit(AuthEvent(kind, me.id, "app", detail=str(n)))
    sizes: list[int] = []
    after = None
    while True:
        page = await hub.authority.access_list(me, "an", after)
        sizes.append(len(page.accesses))
        assert {seen.interaction for seen in page.accesses} <= {"read"}
        after = page.after
        if after is None:
            break
    assert sum(sizes) == 6
    assert sizes[0] == 4
    emergency = Entry(time.time_ns() // 1_000_000, "emergency", "E", 200, account="x", name="x", role="nurse", patients=["an"], note="gấp")
    await hub.gate.note(emergency)
    page = await hub.authority.access_list(me, "an", None)
    assert page.accesses[0].emergency


async def test_a_patient_is_told_of_themselves_only(hub: Hub) -> None:
    for url in ("Observation", "Patient?_id=an,binh", "Observation?patient=an,chi"):
        await hub.actor("dung").get(url)
    answer = await hub.actor("an").get("AuditEvent?patient=Patient/an&_count=50")
    assert len(answer.json()["entry"]) == 3
    assert all(patients(e["resource"]) == {"Patient/an"} for e in answer.json()["entry"])
    assert "binh" not in answer.text
    assert "query" not in answer.text
    me = await account(hub, "an")
    told = await hub.authority.access_list(me, "an", None)
    assert len(told.accesses) == 4, "with their own look at the AuditEvents"
    assert "binh" not in str(told)
    for asked in (
        "patient=Patient/binh",
        "entity=Patient/binh",
        "patient=an,binh",
        "entity=Observation/o-binh",
        "entity:not=Patient/an",
        "_content=binh",
        "patient=Patient/nobody",
        "_filter=patient eq Patient/binh",
        "_filter=not (entity eq Patient/binh)",
    ):
        refused = await hub.actor("an").get(f"AuditEvent?{asked}")
        assert refused.status_code in (400, 403), asked
        assert "binh" not in refused.text.replace(asked, "")
    for asked in ("Patient/an", "Organization/a"):
        answer = await hub.actor("an").get(f"{asked.split('/')[0]}?_has:AuditEvent:entity:entity=Observation/o-binh&_summary=count")
        assert answer.status_code == 403
    whole = (await hub.actor("auditor").get("AuditEvent?patient=Patient/binh")).json()
    assert len(whole["entry"]) == 2


async def account(hub: Hub, name: str) -> Any:
    Connected(hub.gate)
    found = await hub.store.records.get("account", f"account-{name}")
    assert found is not None
    return Account.of(found.data)


# --- the journal


async def filled(hub: Hub, rows: int = 8) -> list[Any]:
    """Some rows in at least one chain; they as they are."""
    for n in range(rows):
        await hub.actor("dung").get(f"Observation/o-an?_format=json&n={n}")
    assert [p async for p in hub.store.trail.check()] == []
    found = await hub.store.database.fetch("SELECT chain, n, time, data, hash FROM trail ORDER BY chain, n")
    longest = max({r[0] for r in found}, key=lambda c: sum(r[0] == c for r in found))
    return [tuple(r) for r in found if r[0] == longest]


async def run(store: Store, *statements: tuple[str, tuple[Any, ...]]) -> None:
    mark = "?" if store.database.dialect == "sqlite" else "$"
    async with store.database.transaction() as t:
        await t.run([(sql.replace("@", mark), [args]) for sql, args in statements])


TAMPER = [
    "data",
    "time",
    "hash",
    "number",
    "middle",
    "first",
    "several",
    "swap",
    "insert behind",
    "insert between",
    "copy",
    "other chain",
    "renumber",
]


@pytest.mark.parametrize("how", TAMPER)
async def test_tampering_with_the_journal_is_found(hub: Hub, how: str) -> None:
    rows = await filled(hub)
    chain, last = rows[0][0], rows[-1]
    row = rows[3]
    store = hub.store
    delete = "DELETE FROM trail WHERE chain = @1 AND n = @2"
    insert = "INSERT INTO trail (chain, n, time, data, hash) VALUES (@1, @2, @3, @4, @5)"
    match how:
        case "data":
            await run(
                store, ("UPDATE trail SET data = @3 WHERE chain = @1 AND n = @2", (chain, row[1], bytes(row[3]).replace(b"dung", b"lung")))
            )
        case "time":
            await run(store, ("UPDATE trail SET time = time + 1 WHERE chain = @1 AND n = @2", (chain, row[1])))
        case "hash":
            await run(store, ("UPDATE trail SET hash = @3 WHERE chain = @1 AND n = @2", (chain, row[1], b"\0" * 32)))
        case "number":
            await run(store, ("UPDATE trail SET n = n + 1000 WHERE chain = @1 AND n = @2", (chain, last[1])))
        case "middle":
            await run(store, (delete, (chain, row[1])))
        case "first":
            await run(store, (delete, (chain, 0)))
        case "several":
            await run(store, ("DELETE FROM trail WHERE chain = @1 AND n > 2 AND n < @2", (chain, last[1])))
        case "swap":
            a, b = rows[3], rows[5]
            await run(
                store, (delete, (chain, a[1])), (delete, (chain, b[1])), (insert, (chain, a[1], *b[2:])), (insert, (chain, b[1], *a[2:]))
            )
        case "insert behind":
            await run(store, (insert, (chain, last[1] + 1, last[2] + 1, bytes(last[3]), bytes(last[4]))))
        case "insert between":
            await run(
                store, ("UPDATE trail SET n = n + 1 WHERE chain = @1 AND n = @2", (chain, last[1])), (insert, (chain, last[1], *last[2:]))
            )
        case "copy":
            await run(store, (insert, (chain, last[1] + 1, *row[2:])))
        case "other chain":
            await run(store, ("UPDATE trail SET chain = chain - 1 WHERE chain = @1", (chain,)))
        case "renumber":
            await run(store, (delete, (chain, row[1])))
            for n in range(row[1] + 1, last[1] + 1):
                await run(store, ("UPDATE trail SET n = n - 1 WHERE chain = @1 AND n = @2", (chain, n)))
    assert [p async for p in store.trail.check()] != []


@pytest.mark.parametrize("how", ["tail", "chain"])
async def test_a_cut_tail_and_a_chain_that_is_gone_are_named_by_the_next_chain(hub: Hub, database_url: str, how: str) -> None:
    rows = await filled(hub)
    other = await Store.open(database_url)  # a worker that starts anew
    await other.commit([], trail=[b'{"t":1,"i":"read","a":"R","s":200}'])
    await other.close()
    assert [p async for p in hub.store.trail.check()] == []
    if how == "tail":
        await run(hub.store, ("DELETE FROM trail WHERE chain = @1 AND n = @2", (rows[0][0], rows[-1][1])))
    else:
        await run(hub.store, ("DELETE FROM trail WHERE chain = @1", (rows[0][0],)))
    assert [p async for p in hub.store.trail.check()] != []


async def test_a_changed_audit_event_is_no_changed_journal_but_is_seen_beside_it(hub: Hub) -> None:
    """AuditEvents are made of the journal: what they said can be told again from it."""
    await hub.actor("dung").get("Observation/o-an")
    event = (await events(hub))[-1]
    journal = await hub.store.database.fetch("SELECT data FROM trail WHERE n > 0")
    assert any(b"o-an" in bytes(r[0]) for r in journal)
    chain, n, _ = event["id"].split("-")
    rows = await hub.store.trail.rows(int(chain, 16), int(n) - 1, 1)
    assert rows[0].records[0]["p"] == "Observation/o-an"


async def ids(store: Store) -> list[str]:
    return sorted([s.id async for s in store.view().scan(("AuditEvent",))])


async def test_a_crash_between_journal_and_events_loses_and_doubles_nothing(
    hub: Hub, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        await hub.actor("dung").get(f"Observation/o-an?n={n}")
    assert await ids(hub.store) == [], "the journal alone is durable so far"
    monkeypatch.setattr("health_hub.access.scribe.BATCH", 7)
    real, turns = hub.store.commit, 0

    async def failing(*args: Any, **more: Any) -> Any:
        nonlocal turns
        turns += 1
        if turns == 2:
            raise ConnectionError("gone before it was written")
        made = await real(*args, **more)
        if turns == 3:
            raise ConnectionError("gone after it was written")
        return made

    monkeypatch.setattr(hub.store, "commit", failing)
    for _ in range(4):
        try:
            await Scribe(hub.store, "Asia/Ho_Chi_Minh").catch_up()
        except ConnectionError:
            continue
    monkeypatch.setattr(hub.store, "commit", real)
    other = await Store.open(database_url)
    await Scribe(other, "Asia/Ho_Chi_Minh").catch_up()
    found = await ids(other)
    versions = {s.version async for s in other.view().scan(("AuditEvent",))}
    await other.close()
    assert len(found) == len(set(found)) == 30
    assert versions == {1}


async def test_two_scribes_at_once_write_each_event_once(hub: Hub, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("health_hub.access.scribe.BATCH", 5)
    for n in range(40):
        await hub.actor("dung").get(f"Observation/o-an?n={n}")
    other = await Store.open(database_url)
    scribes = [Scribe(hub.store, "Asia/Ho_Chi_Minh"), Scribe(other, "Asia/Ho_Chi_Minh"), Scribe(hub.store, "Asia/Ho_Chi_Minh")]
    await asyncio.gather(*[s.catch_up() for s in scribes])
    await scribes[0].catch_up()
    versions = [s.version async for s in hub.store.view().scan(("AuditEvent",))]
    await other.close()
    assert versions == [1] * 40


def test_an_entry_written_quickly_reads_as_one_that_was_made() -> None:
    said = Entry(
        7, "search-type", "E", 403, account="a\"b", name="Bà Hoà\n", role="nurse", me="Practitioner/x", client="c",
        facility="Organization/a", address="::1", target='Patient?name="\\',
        resources=["Patient/a/_history/1", "Observation/b/_history/22"], patients=["a", "b-1.c"],
        more=3, purpose="TREAT", note="Ghi chú \"x\"", first=True, session="s", request="r",
    )  # fmt: skip
    bare = msgspec.structs.replace(said, target="", resources=[], patients=[], more=0, note="", first=False, request="")
    same = entries.fixed(bare)
    more = {"more": 3, "note": said.note, "first": True, "request": "r"}
    versions = [Stored(1, "Patient", "a", 1, 0, False, "PUT", b"{}"), Stored(2, "Observation", "b", 22, 0, False, "PUT", b"{}")]
    quick = entries.quick(7, "search-type", "E", 403, same, said.target, versions, said.patients, **more)
    assert entries.decode(quick) == said
    one = entries.quick(7, "search-type", "E", 403, same, said.target, versions[:1], said.patients, **more)
    assert entries.decode(one) == msgspec.structs.replace(said, resources=said.resources[:1])
    assert entries.decode(entries.quick(7, "search-type", "E", 403, same, "", [], [], note="", first=False)) == bare
    nobody = Entry(1, "read", "R", 200)
    assert entries.decode(entries.quick(1, "read", "R", 200, entries.fixed(nobody), "", [], [])) == nobody
