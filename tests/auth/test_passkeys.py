"""Passkeys: made, used, and refused where something is not as it should be (Web Authentication level 3, 7.1 and 7.2)."""

import asyncio
import json

import pytest

from health_hub.auth.model import Account
from health_hub.auth.own import Own
from health_hub.auth.passkeys import PER_ACCOUNT, PasskeyError, Passkeys
from health_hub.auth.signin import Next, Refused, SignedIn, SignIn
from health_hub.store.store import Store
from tests.auth.authenticator import Device, b64
from tests.auth.hub import ISSUER, PASSWORD, Hub, caller, hub, person, signed_in

BROWSER = caller().browser


async def registered(store: Store) -> tuple[Hub, SignIn, Account, Device]:
    h, s = hub(store)
    account, device = await person(h, s), Device(ISSUER)
    options = await s.passkeys.registration(account, BROWSER)
    await s.passkeys.register(account, BROWSER, device.create(options), "Điện thoại của Lan")
    return h, s, account, device


async def refused(s: SignIn, answer: str) -> str:
    with pytest.raises(PasskeyError) as e:
        await s.passkeys.authenticate(BROWSER, answer)
    return str(e.value)


async def test_it_signs_in_without_a_login_or_password_as_both_factors(store: Store) -> None:
    h, s, account, device = await registered(store)
    options = await s.passkey_options(caller())
    assert options["userVerification"] == "required"
    assert not options.get("allowCredentials")
    done = await s.passkey(device.get(options), caller())
    assert (done.account, done.session.amr) == (account, ("pop", "user", "mfa"))
    assert await h.sessions.of(done.cookie)
    made, = await s.passkeys.list(account)
    assert (made.name, made.used > 0, made.synced) == ("Điện thoại của Lan", True, False)


async def test_it_is_the_second_factor_of_a_role_that_needs_one(store: Store) -> None:
    h, s = hub(store)
    account, device = await person(h, s, "quan.tri", "administrator"), Device(ISSUER)
    await s.passkeys.register(account, BROWSER, device.create(await s.passkeys.registration(account, BROWSER)), "khóa")
    step = await s.begin("quan.tri", PASSWORD, caller())
    assert isinstance(step, Next)
    assert (step.step, step.methods) == ("code", ("passkey",))
    assert isinstance(await s.passkey(device.get(await s.passkey_options(caller())), caller()), SignedIn)


async def test_what_is_asked_of_the_device_when_one_is_made(store: Store) -> None:
    _, s, account, device = await registered(store)
    options = await s.passkeys.registration(account, BROWSER)
    assert options["rp"] == {"name": "Health Hub", "id": "localhost"}
    assert options["authenticatorSelection"] == {"requireResidentKey": True, "residentKey": "required", "userVerification": "required"}
    assert options["attestation"] == "none"
    assert [c["id"] for c in options["excludeCredentials"]] == [b64(device.id)]
    assert "bs.lan" not in options["user"]["id"]


async def test_a_challenge_is_answered_once(store: Store) -> None:
    _, s, _, device = await registered(store)
    options = await s.passkeys.authentication(BROWSER)
    answer = device.get(options)
    await s.passkeys.authenticate(BROWSER, answer)
    assert "answered before" in await refused(s, answer)
    assert "answered before" in await refused(s, device.get(options))
    again = device.get(await s.passkeys.authentication(BROWSER))
    answers = await asyncio.gather(*(s.passkeys.authenticate(BROWSER, again) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(a, Account) for a in answers) == 1


async def test_a_challenge_belongs_to_its_browser_purpose_and_account(store: Store) -> None:
    h, s, account, device = await registered(store)
    options = await s.passkeys.authentication("another" * 7)
    assert "another browser" in await refused(s, device.get(options))
    # A challenge made for registration is none for signing in, and the other way round.
    options = await s.passkeys.registration(account, BROWSER)
    assert "purpose" in await refused(s, device.get({**options, "rpId": "localhost"}))
    options = await s.passkeys.authentication(BROWSER)
    new, about = Device(ISSUER), {"user": {"id": b64(account.id.encode())}, "rp": {"id": "localhost"}}
    with pytest.raises(PasskeyError, match="purpose"):
        await s.passkeys.register(account, BROWSER, new.create({**options, **about}), "x")
    other = await person(h, s, "bs.mai")
    options = await s.passkeys.registration(other, BROWSER)
    with pytest.raises(PasskeyError, match="account"):
        await s.passkeys.register(account, BROWSER, new.create(options), "x")
    assert "no such challenge" in await refused(s, device.get({"challenge": b64(b"x" * 32), "rpId": "localhost"}))
    with pytest.raises(Refused):
        await s.passkey_options(caller(browser=""))


@pytest.mark.parametrize(("lie", "value"), [
    ("origin", "http://localhost:18301"), ("origin", "https://localhost:18300"), ("origin", "http://localhost.evil.vn"),
    ("rp", "evil.vn"), ("rp", "127.0.0.1"),
    ("flags", 1), ("flags", 4), ("flags", 0), ("flags", 1 | 4 | 16),
])  # fmt: skip
async def test_wrong_origin_wrong_party_or_nobody_there(store: Store, lie: str, value: object) -> None:
    _, s, account, device = await registered(store)
    setattr(device, lie, value)
    await refused(s, device.get(await s.passkeys.authentication(BROWSER)))
    new = Device(ISSUER)
    setattr(new, lie, value)
    with pytest.raises(PasskeyError):
        await s.passkeys.register(account, BROWSER, new.create(await s.passkeys.registration(account, BROWSER)), "x")
    assert len(await s.passkeys.list(account)) == 1


async def test_a_counter_that_does_not_rise_speaks_of_a_copied_key(store: Store) -> None:
    h, s, _, device = await registered(store)
    for _ in range(3):
        await s.passkeys.authenticate(BROWSER, device.get(await s.passkeys.authentication(BROWSER)))
    clone = Device(ISSUER, count=1, key=device.key, id=device.id, user=device.user)
    with pytest.raises(Refused):
        await s.passkey(clone.get(await s.passkey_options(caller())), caller())
    assert (h.events[-1].kind, h.events[-1].detail) == ("sign-in-refused", "passkey: authentication: signature counter did not rise")
    assert "counter" in await refused(s, device.get(await s.passkeys.authentication(BROWSER), rise=0))


async def test_devices_without_a_counter_are_used_again(store: Store) -> None:
    _, s, account, device = await registered(store)
    for _ in range(2):
        answer = device.get(await s.passkeys.authentication(BROWSER), rise=0)
        assert await s.passkeys.authenticate(BROWSER, answer) == account


async def test_another_key_or_another_users_handle_is_refused(store: Store) -> None:
    h, s, _, device = await registered(store)
    forged = Device(ISSUER, id=device.id, user=device.user)
    await refused(s, forged.get(await s.passkeys.authentication(BROWSER)))
    other = await person(h, s, "bs.mai")
    device.user = other.id.encode()
    assert "handle" in await refused(s, device.get(await s.passkeys.authentication(BROWSER)))
    unknown = Device(ISSUER, user=device.user)
    assert "unknown" in await refused(s, unknown.get(await s.passkeys.authentication(BROWSER)))


@pytest.mark.parametrize("answer", [
    "", "null", "[]", "{}", "x" * 100_000, "[" * 10_000, '{"response": 1}', '{"response": {"clientDataJSON": "%%%"}}',
    '{"response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiAxfQ"}}', '{"response": {"clientDataJSON": "bnVsbA"}}',
])  # fmt: skip
async def test_what_is_no_answer_is_refused(store: Store, answer: str) -> None:
    _, s = hub(store)
    await refused(s, answer)


async def test_an_answer_with_broken_parts_is_refused(store: Store) -> None:
    _, s, account, device = await registered(store)
    for part in ("authenticatorData", "signature", "userHandle"):
        for value in ("", "AAAA", None, 7, "%", "ế"):
            answer = json.loads(device.get(await s.passkeys.authentication(BROWSER)))
            answer["response"][part] = value
            await refused(s, json.dumps(answer))
    new = Device(ISSUER)
    for value in ("", "AAAA", "oA", None, 7):
        answer = json.loads(new.create(await s.passkeys.registration(account, BROWSER)))
        answer["response"]["attestationObject"] = value
        with pytest.raises(PasskeyError):
            await s.passkeys.register(account, BROWSER, json.dumps(answer), "x")


async def test_there_are_several_with_names_and_no_more_than_some(store: Store) -> None:
    h, s, account, device = await registered(store)
    other = await person(h, s, "bs.mai")
    with pytest.raises(PasskeyError, match="registered already"):
        await s.passkeys.register(other, BROWSER, device.create(await s.passkeys.registration(other, BROWSER)), "của người khác")
    for n in range(PER_ACCOUNT - 1):
        options = await s.passkeys.registration(account, BROWSER)
        made = await s.passkeys.register(account, BROWSER, Device(ISSUER).create(options), f"k{n}\n")
    assert made.name == f"k{PER_ACCOUNT - 2}"
    with pytest.raises(PasskeyError, match="at most"):
        await s.passkeys.registration(account, BROWSER)
    assert not await s.passkeys.remove(other, made.id)
    assert not await s.passkeys.remove(account, "\0")
    assert not await s.passkeys.rename(other, made.id, "x")
    assert await s.passkeys.rename(account, made.id, "Máy tính phòng khám")
    assert "Máy tính phòng khám" in {p.name for p in await s.passkeys.list(account)}
    assert await s.passkeys.remove(account, made.id)
    assert len(await s.passkeys.list(account)) == PER_ACCOUNT - 1


async def test_a_disabled_accounts_passkey_signs_nobody_in(store: Store) -> None:
    h, s, account, device = await registered(store)
    await h.accounts.disable(account.id)
    with pytest.raises(Refused):
        await s.passkey(device.get(await s.passkey_options(caller())), caller())


async def test_showing_again_who_one_is_takes_ones_own(store: Store) -> None:
    h, s, _, device = await registered(store)
    mai = await person(h, s, "bs.mai")
    done, own = await signed_in(s, "bs.mai"), Own(s)
    with pytest.raises(Refused):
        await s.step_up_passkey(mai, done.session, device.get(await s.passkey_options(caller())), caller())
    hers = Device(ISSUER)
    await own.passkey_add(mai, done.session, hers.create(await own.passkey_options(mai, done.session, caller())), "khóa", caller())
    _, session = await s.step_up_passkey(mai, done.session, hers.get(await s.passkey_options(caller())), caller())
    assert session.amr == ("pop", "user", "mfa")
    assert await own.passkey_remove(mai, session, (await s.passkeys.list(mai))[0].id, caller())


@pytest.mark.parametrize(("issuer", "possible"), [
    ("https://hub.example.vn", True), ("http://localhost:8080", True), ("http://127.0.0.1:8080", False), ("http://[::1]:8080", False),
])  # fmt: skip
async def test_there_are_none_on_an_address(store: Store, issuer: str, possible: bool) -> None:
    assert Passkeys(store, hub(store)[0].accounts, issuer).possible is possible
