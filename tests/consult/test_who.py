"""Who may join a consultation, and as what."""

import pytest

from health_hub.consult import relays
from telemed.rooms.roles import DEFAULTS, Role
from telemed.tokens import Tokens
from tests.consult.conftest import OWN, Consults, appointment, at, visit

A, B = "Organization/a", "Organization/b"


async def test_those_who_are_named_join_as_what_they_are(consults: Consults) -> None:
    await consults.write(appointment("t1", "Patient/binh", "Practitioner/dung"), visit("v1", "binh", "Practitioner/dung"))
    for path in ("Appointment/t1", "Encounter/v1"):
        assert await consults.seat("dung", path, A) == (200, "doctor")
        assert await consults.seat("carer", path) == (200, "carer"), "of the child that is named"
    await consults.write(visit("v2", "an", "Practitioner/dung"))
    assert await consults.seat("an", "Encounter/v2") == (200, "patient")
    for nobody in ("chi", "carer", "operator", "auditor", "admin"):
        assert await consults.seat(nobody, "Encounter/v2") == (404, "not-found"), nobody


async def test_the_token_is_for_one_room_and_one_person(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    body = (await consults.token("an", "Encounter/v1")).json()
    tokens: Tokens = relays.tokens(consults.hub.authority.settings, consults.hub.store.secret)
    said = tokens.verify(body["token"])
    assert (said.room, said.participant, said.role, said.admitted) == ("Encounter.v1", "Patient.an", "patient", False)
    assert said.expires - said.issued == body["expires_in"] == 300
    again = tokens.verify((await consults.token("an", "Encounter/v1")).json()["token"])
    assert again.participant == said.participant
    assert again.jti != said.jti


async def test_a_nurse_of_the_facility_where_it_takes_place_assists(consults: Consults) -> None:
    await consults.write(visit("v1", "binh", "Practitioner/dung"))
    assert await consults.seat("giang", "Encounter/v1", B) == (404, "not-found"), "binh is treated at b, and this visit is at a"
    await consults.write(visit("v2", "binh", "Practitioner/dung", serviceProvider={"reference": B}))
    assert await consults.seat("giang", "Encounter/v2", B) == (200, "nurse")


@pytest.mark.parametrize("who", ["an", "chi", "carer", "dung", "giang", "operator", "auditor", "admin"])
async def test_hidden_and_absent_are_the_same_answer(consults: Consults, who: str) -> None:
    await consults.write(visit("hidden", "chi"), owner=B)
    facility = {"dung": A, "giang": B}.get(who)
    absent = await consults.token(who, "Encounter/absent", facility)
    for path in ("Appointment/none", "Observation/o-an", "Encounter/e-an", "Encounter/%00", "Encounter/..", "Patient/an"):
        found = await consults.token(who, path, facility)
        assert found.status_code in (404, 405), path
        if found.headers["content-type"] == "application/json" and found.status_code == 404:
            assert found.content == absent.content
    if who not in ("chi", "giang"):
        hidden = await consults.token(who, "Encounter/hidden", facility)
        assert (hidden.status_code, hidden.content) == (404, absent.content)


async def test_who_declined_or_is_done_is_not_in_it(consults: Consults) -> None:
    declined = appointment("t1", "Patient/an", "Practitioner/dung")
    declined["participant"][1]["status"] = "declined"
    past = visit("v1", "an", "Practitioner/dung")
    past["participant"][0]["period"] = {"start": at(-100), "end": at(-50)}
    await consults.write(declined, past)
    assert await consults.seat("dung", "Appointment/t1", A) == (404, "not-found")
    assert await consults.seat("dung", "Encounter/v1", A) == (404, "not-found")


async def test_a_clinician_joins_for_the_facility_they_act_for_only(consults: Consults) -> None:
    await consults.write(appointment("t1", "Patient/an", "PractitionerRole/dung-a"))
    assert await consults.seat("dung", "Appointment/t1", A) == (200, "doctor")
    assert await consults.seat("dung", "Appointment/t1", B) == (404, "not-found")
    assert await consults.seat("dung", "Appointment/t1", None) == (404, "not-found")


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({"start": 61, "end": 90}, "early"), ({"start": 59, "end": 90}, 200), ({"start": -400, "end": -239}, 200),
        ({"start": -400, "end": -241}, "over"), ({"status": "cancelled"}, "over"), ({"status": "fulfilled"}, "over"),
        ({"status": "entered-in-error"}, "over"), ({"status": "proposed"}, "over"), ({"status": "arrived"}, 200),
    ],
)  # fmt: skip
async def test_an_appointment_is_open_around_its_time(consults: Consults, more: dict[str, object], answer: object) -> None:
    await consults.write(appointment("t1", "Patient/an", "Practitioner/dung", **more))  # type: ignore[arg-type]
    found = await consults.token("an", "Appointment/t1")
    assert (found.status_code if answer == 200 else found.json()["code"]) == answer
    async with await consults.browser("an") as http:
        page = await http.get("/consult/Appointment/t1")
        assert page.status_code == (200 if answer == 200 else 403)


@pytest.mark.parametrize(("more", "status"), [
    ({"status": "planned", "period": {}}, 200), ({"status": "finished"}, 403), ({"status": "cancelled"}, 403),
    ({"class": {"code": "AMB"}}, 404), ({"period": {"start": "2026-01-01", "end": "2026-01-02"}}, 403),
])  # fmt: skip
async def test_an_encounter_is_open_while_it_lasts(consults: Consults, more: dict[str, object], status: int) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung", **more))
    assert (await consults.token("an", "Encounter/v1")).status_code == status


async def test_the_page_of_the_room(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    async with consults.nobody() as http:
        sent = await http.get("/consult/Encounter/v1")
        assert sent.status_code == 303
        assert sent.headers["location"] == "/sign-in?next=%2Fconsult%2FEncounter%2Fv1"
    async with await consults.browser("an") as http:
        page = await http.get("/consult/Encounter/v1")
        assert page.status_code == 200
        assert "camera=(self)" in page.headers["permissions-policy"]
        assert "/consult/Encounter/v1/token?as=" in page.text
        assert (await http.get("/consult/Encounter/absent")).status_code == 404
        listed = await http.get("/consult")
        assert 'href="/consult/Encounter/v1"' in listed.text
        assert "/invite" not in listed.text
    async with await consults.browser("dung", A) as http:
        assert 'href="/consult/Encounter/v1/invite"' in (await http.get("/consult")).text
    async with await consults.browser("chi") as http:
        assert "Encounter/v1" not in (await http.get("/consult")).text


async def test_tokens_are_given_to_our_own_page_only(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    async with await consults.browser("an") as http:
        elsewhere = [OWN | {"sec-fetch-site": site} for site in ("cross-site", "same-site", "none")]
        for headers in ({}, {"origin": "https://evil.example"}, {"origin": "null"}, *elsewhere):
            answer = await http.post("/consult/Encounter/v1/token", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "form"), headers
            assert "access-control-allow-origin" not in answer.headers
        assert (await http.get("/consult/Encounter/v1/token")).status_code == 405
    async with consults.nobody() as http:
        assert (await http.post("/consult/Encounter/v1/token", headers=OWN)).status_code == 401


async def test_applications_join_with_an_access_token(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    async with consults.nobody() as http:

        async def ask(name: str, **more: object) -> int:
            token = consults.hub.actor(name, **more).token
            return (await http.post("/consult/Encounter/v1/token", headers={"Authorization": f"Bearer {token}"})).status_code

        assert await ask("an") == 200
        assert await ask("dung") == 200
        assert await ask("chi") == 404
        assert await ask("his-a") == 404
        assert await ask("an", scope="user/Observation.rs") == 404, "the application may not see Encounters"
        bad = await http.post("/consult/Encounter/v1/token", headers={"Authorization": "Bearer x"})
        assert bad.status_code == 401
        assert bad.headers["www-authenticate"].startswith("Bearer")


async def test_whoever_asks_is_in_the_trail(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    await consults.token("dung", "Encounter/v1", A)
    await consults.token("chi", "Encounter/v1")
    await consults.hub.gate.scribe.now()
    found = (await consults.hub.actor("auditor").get("AuditEvent?_sort=-date&_count=10")).json()["entry"]
    events = [e["resource"] for e in found if e["resource"]["subtype"][0]["code"] == "consult-join"]
    assert [e["outcome"] for e in sorted(events, key=lambda e: e["outcome"])] == ["0", "4"]
    good = next(e for e in events if e["outcome"] == "0")
    assert {"reference": "Patient/an"} in [x["what"] for x in good["entity"] if "what" in x]
    assert good["subtype"][0]["system"] == "https://health-hub.vn/fhir/CodeSystem/audit"
    bad = next(e for e in events if e["outcome"] == "4")
    assert not [x for x in bad.get("entity", ()) if "Patient" in x.get("what", {}).get("reference", "")]


async def test_a_device_of_a_doctor_or_nurse_has_a_token_of_its_own(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    async with await consults.browser("dung", "Organization/a") as http:
        said = (await http.post("/consult/Encounter/v1/token?device=sieu-am", headers=OWN)).json()
        assert (said["role"], said["participant"]) == ("device", "device.sieu-am.Practitioner.dung")
        settings, store = consults.hub.authority.settings, consults.hub.store
        identity = relays.tokens(settings, store.secret).verify(said["token"], "Encounter.v1")
        assert identity.rights == DEFAULTS[Role.DEVICE]
        assert not identity.main
        for bad in ("x" * 13, "A", "a/b", "\u0111"):
            refused = await http.post("/consult/Encounter/v1/token", params={"device": bad}, headers=OWN)
            assert (refused.status_code, refused.json()["code"]) == (403, "device"), bad
    async with await consults.browser("an") as http:
        assert (await http.post("/consult/Encounter/v1/token?device=sieu-am", headers=OWN)).status_code == 403
