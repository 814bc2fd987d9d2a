import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from health_hub.auth import device as devices
from health_hub.auth.device import ALPHABET, GRANT, Approved, Devices, typed
from health_hub.auth.lockout import Wait
from health_hub.auth.model import AuthError, Client, Session
from health_hub.auth.routes import device as route
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door

PATH = "/auth/device_authorization"
HERE = "203.0.113.5"
SESSION = Session("s1", "acc1", 1_700_000_000, ("pwd",), "Organization/tyt-01")


class Clock:
    ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


class Station:
    def __init__(self, d: Door, client: Client) -> None:
        self.door, self.client = d, client
        self.devices = Devices(d.authority)

    async def begin(self, **form: str) -> dict[str, Any]:
        answer = await self.door.ask("POST", PATH, data={"client_id": self.client.id} | form)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def poll(self, code: str, client: Client | None = None) -> Approved | str:
        try:
            return await self.devices.poll(client or self.client, code)
        except AuthError as e:
            return e.error


@pytest.fixture
async def station(store: Store) -> AsyncIterator[Station]:
    d = await door(store, lambda a: route.router(a, Devices(a)))
    client, _ = await d.client(grant_types=(GRANT,), token_endpoint_auth_method="none", redirect_uris=(), scope="openid patient/*.rs")
    yield Station(d, client)
    await d.authority.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    c = Clock()
    real = devices.now
    began = real()
    # The store goes by the true time; a code's and a poll's time is moved by hand.
    c.ms = began
    monkeypatch.setattr(devices, "now", c)
    return c


async def test_the_answer_of_the_device_authorization_endpoint(station: Station) -> None:
    said = await station.begin()
    assert re.fullmatch(f"[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}", said["user_code"])
    assert said["verification_uri"] == f"{ISSUER}/device"
    assert said["verification_uri_complete"] == f"{ISSUER}/device?user_code={said['user_code']}"
    assert (said["expires_in"], said["interval"]) == (600, 5)
    kept = json.dumps([[r.id, r.data] for k in ("device-code", "user-code") for r in await station.door.authority.store.records.page(k)])
    assert said["device_code"] not in kept
    assert said["user_code"].replace("-", "") not in kept


async def test_a_person_agrees_and_the_device_gets_it_once(station: Station, clock: Clock) -> None:
    said = await station.begin(scope="patient/*.rs system/*.rs")
    assert await station.poll(said["device_code"]) == "authorization_pending"
    typed_in = said["user_code"].lower().replace("-", " ")
    found = await station.devices.find(typed_in, address=HERE)
    assert found is not None
    assert (found.client.id, found.scope) == (station.client.id, "patient/*.rs")
    assert await station.devices.approve(typed_in, SESSION, "patient/*.rs", "bn-001", address=HERE)
    clock.ms += 5000
    polled = await asyncio.gather(*(station.poll(said["device_code"]) for _ in range(5)))
    assert [p for p in polled if isinstance(p, Approved)] == [
        Approved("acc1", "s1", "Organization/tyt-01", "patient/*.rs", "bn-001", None)
    ]
    clock.ms += 60_000
    assert await station.poll(said["device_code"]) == "invalid_grant"


async def test_a_refusal_is_told_to_the_device(station: Station, clock: Clock) -> None:
    said = await station.begin()
    assert await station.devices.deny(said["user_code"], address=HERE)
    assert await station.poll(said["device_code"]) == "access_denied"


async def test_one_answer_counts(station: Station) -> None:
    code = (await station.begin())["user_code"]
    answers = await asyncio.gather(*(
        station.devices.approve(code, SESSION, "openid", address=HERE) if n % 2 else station.devices.deny(code, address=HERE)
        for n in range(6)
    ))  # fmt: skip
    assert answers.count(True) == 1
    assert await station.devices.find(code, address=HERE) is None


async def test_a_device_that_polls_too_fast_is_slowed_each_time(station: Station, clock: Clock) -> None:
    said = await station.begin()
    seen = []
    for wait in (0, 1, 5, 9, 14, 20):
        clock.ms += wait * 1000
        seen.append(await station.poll(said["device_code"]))
    # 5 s, then 10 after polling 1 s later, 15 after 5, 20 after 9, 25 after 14, 30 after 20.
    assert seen == ["authorization_pending", *["slow_down"] * 5]
    clock.ms += 30_000
    assert await station.poll(said["device_code"]) == "authorization_pending"


async def test_approval_does_not_open_the_door_to_one_who_polls_too_fast(station: Station, clock: Clock) -> None:
    said = await station.begin()
    await station.poll(said["device_code"])
    await station.devices.approve(said["user_code"], SESSION, "openid", address=HERE)
    clock.ms += 1000
    assert await station.poll(said["device_code"]) == "slow_down"
    clock.ms += 10_000
    assert isinstance(await station.poll(said["device_code"]), Approved)


async def test_an_expired_code_says_so_and_cannot_be_approved(station: Station, clock: Clock) -> None:
    said = await station.begin()
    clock.ms += 601_000
    assert await station.poll(said["device_code"]) == "expired_token"
    assert await station.devices.find(said["user_code"], address=HERE) is None
    assert not await station.devices.approve(said["user_code"], SESSION, "openid", address=HERE)


async def test_a_device_code_is_its_clients_alone(station: Station) -> None:
    other, _ = await station.door.client(grant_types=(GRANT,), token_endpoint_auth_method="none")
    said = await station.begin()
    await station.devices.approve(said["user_code"], SESSION, "openid", address=HERE)
    for code in (said["device_code"], "guess", "x" * 300, "\0", "\ud800"):
        assert await station.poll(code, other) == "invalid_grant"
    assert isinstance(await station.poll(said["device_code"]), Approved)


async def test_no_more_is_approved_than_was_asked(station: Station) -> None:
    said = await station.begin(scope="openid")
    with pytest.raises(AuthError, match="invalid_scope"):
        await station.devices.approve(said["user_code"], SESSION, "openid patient/*.rs", address=HERE)


async def test_guessing_user_codes_waits_longer_each_time(station: Station) -> None:
    said = await station.begin()
    for n in range(devices.BY_ADDRESS.free):
        assert await station.devices.find(f"BBBB-BBB{ALPHABET[n]}", address=HERE) is None
    for call in (
        station.devices.find(said["user_code"], address=HERE),
        station.devices.approve(said["user_code"], SESSION, "openid", address=HERE),
        station.devices.deny(said["user_code"], address=HERE),
    ):
        with pytest.raises(Wait):
            await call
    assert await station.devices.find(said["user_code"], address="203.0.113.6") is not None


async def test_a_code_of_ones_own_buys_no_guesses(station: Station) -> None:
    own = (await station.begin())["user_code"]
    for n in range(devices.BY_ADDRESS.free):
        await station.devices.find(f"BBBB-BBB{ALPHABET[n]}", address=HERE)
        if n < devices.BY_ADDRESS.free - 1:
            assert await station.devices.find(own, address=HERE) is not None
    with pytest.raises(Wait):
        await station.devices.find(own, address=HERE)


async def test_guesses_from_many_addresses_are_slowed_together(station: Station) -> None:
    for n in range(devices.BY_ALL.free):
        await station.devices.find("BBBB-BBBB", address=f"203.0.{n // 200}.{n % 200}")
    with pytest.raises(Wait):
        await station.devices.find("BBBB-BBBB", address="203.1.0.1")


@pytest.mark.parametrize("text", ["", "BBBB", "BBBBBBBBB", "AAAA-AAAA", "1234-5678", "ＢBBB-BBBB", "x" * 10_000, "BBBB\0BBB", "ßßßß-ßßßß"])
def test_what_can_be_no_user_code(text: str) -> None:
    assert typed(text) is None


async def test_only_clients_of_the_grant_may_ask(station: Station) -> None:
    other, secret = await station.door.client()
    answer = await station.door.ask("POST", PATH, data={"scope": "openid"}, auth=None, headers={})
    assert answer.status_code == 401
    async with station.door.from_() as client:
        answer = await client.post(PATH, data={"scope": "openid"}, auth=(other.id, secret))
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
        answer = await client.post(PATH, data={"scope": "openid"}, auth=(other.id, "wrong"))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    answer = await station.door.ask("POST", PATH, data={"client_id": station.client.id, "scope": "system/*.rs"})
    assert answer.json()["error"] == "invalid_scope"


async def test_codes_by_one_address_are_limited(station: Station) -> None:
    for _ in range(route.BY_ADDRESS):
        await station.begin()
    answer = await station.door.ask("POST", PATH, data={"client_id": station.client.id})
    assert answer.status_code == 429


async def test_a_form_that_is_none_is_refused(station: Station) -> None:
    for content, kind in ((b"{}", "application/json"), (b"client_id=a&client_id=b", None), (b"a=%ff", None), (b"a=%00", None),
                          (b"&".join(b"a%d=1" % n for n in range(101)), None)):  # fmt: skip
        headers = {"Content-Type": kind or "application/x-www-form-urlencoded"}
        assert (await station.door.ask("POST", PATH, content=content, headers=headers)).json()["error"] == "invalid_request"
    assert (await station.door.ask("POST", f"{PATH}?client_id={station.client.id}")).json()["error"] == "invalid_request"
