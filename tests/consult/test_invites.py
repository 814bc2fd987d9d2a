"""Guests without an account: one room, for a while, and only by who may invite."""

import re

import pytest

from health_hub.consult import invites, relays
from health_hub.consult.who import Consultation
from telemed.rooms.roles import Role
from tests.consult.conftest import ISSUER, OWN, Consults, visit

A = "Organization/a"


async def _made(consults: Consults, **fields: str) -> tuple[int, str]:
    async with await consults.browser("dung", A) as http:
        page = await http.get("/consult/Encounter/v1/invite")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert csrf
        sent = {"csrf": csrf[1], "name": "Lò Thị Mai", "role": "interpreter"} | fields
        answer = await http.post("/consult/Encounter/v1/invite", data=sent, headers=OWN)
    link = re.search(re.escape(ISSUER) + r"/consult/guest#invite=([\w-]+)", answer.text)
    return answer.status_code, link[1] if link else ""


async def test_the_doctor_invites_an_interpreter(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    status, key = await _made(consults)
    assert status == 200
    async with consults.nobody() as http:
        page = await http.get("/consult/guest")
        assert page.status_code == 200
        assert "connect-src 'self'" in page.headers["content-security-policy"]
        answer = await http.post("/consult/guest/token", json={"invite": key}, headers=OWN)
        assert answer.status_code == 200, answer.text
        said = relays.tokens(consults.hub.authority.settings, consults.hub.store.secret).verify(answer.json()["token"])
        assert (said.room, said.name, said.role, said.admitted) == ("Encounter.v1", "Lò Thị Mai", "interpreter", False)
        assert said.participant.startswith("guest.")
        assert (await http.post("/consult/guest/token", json={"invite": key})).status_code == 403, "not from a page of ours"
        for wrong in (key[:-1], key + "x", "", "é", 5, None, ["x"]):
            assert (await http.post("/consult/guest/token", json={"invite": wrong}, headers=OWN)).status_code == 404
        for body in (b"", b"{", b"[" * 3000, b"x" * 9000):
            assert (await http.post("/consult/guest/token", content=body, headers=OWN)).status_code == 404
    assert "invite=" not in str(await consults.hub.store.records.page("consult-invite")), "only a hash of the secret is kept"
    assert key not in str(await consults.hub.store.records.page("consult-invite"))


async def test_an_invitation_ends_with_the_consultation(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    _, key = await _made(consults)
    await consults.write(visit("v1", "an", "Practitioner/dung", status="finished"))
    async with consults.nobody() as http:
        assert (await http.post("/consult/guest/token", json={"invite": key}, headers=OWN)).json()["code"] == "over"


async def test_only_who_may_let_people_in_invites_and_with_bounds(consults: Consults) -> None:
    await consults.write(visit("v1", "an", "Practitioner/dung"))
    async with await consults.browser("an") as http:
        assert (await http.get("/consult/Encounter/v1/invite")).status_code == 403
        assert (await http.post("/consult/Encounter/v1/invite", data={"name": "x"}, headers=OWN)).status_code == 403
    async with await consults.browser("chi") as http:
        assert (await http.get("/consult/Encounter/v1/invite")).status_code == 404
    for fields in ({"name": " "}, {"name": "x" * 81}, {"role": "doctor"}, {"role": "nurse"}, {"name": "a\u202eb"}):
        assert await _made(consults, **fields) == (422, ""), fields
    place = Consultation("Encounter", "v1", {})
    for minutes in (0, -1, 1441):
        with pytest.raises(ValueError, match="minutes"):
            await invites.invite(consults.hub.store, place, "Mai", Role.INTERPRETER, "x", minutes)
