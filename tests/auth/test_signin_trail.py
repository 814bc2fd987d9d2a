"""What is told to the audit trail: each step once, and no secret ever."""

import time

import pyotp
import pytest

from health_hub.auth.own import Own
from health_hub.auth.signin import Next, Refused
from health_hub.store.store import Store
from tests.auth.authenticator import Device
from tests.auth.hub import ISSUER, PASSWORD, caller, hub, person, signed_in

NEW = "đom đóm bay qua bụi chuối"


async def test_every_step_is_told_and_no_secret(store: Store) -> None:
    h, s = hub(store)
    account, own, secrets = await person(h, s), Own(s), [PASSWORD, NEW]
    told: list[tuple[str, bool, str]] = []

    def since() -> list[tuple[str, bool, str]]:
        new = [(e.kind, e.success, e.detail) for e in h.events[len(told):]]
        told.extend(new)
        return new

    with pytest.raises(Refused):
        await s.begin("bs.lan", "sai mật khẩu", caller())
    assert since() == [("sign-in-refused", False, "wrong password")]
    with pytest.raises(Refused):
        await s.begin("mat-khau-go-nham-vao-day", "x", caller())
    assert since() == [("sign-in-refused", False, "no such login")]
    done = await signed_in(s)
    assert since() == [("sign-in", True, "pwd")]
    session = done.session
    enrolment = await own.totp_enrol(account, session)
    totp = pyotp.TOTP(enrolment.secret.replace(" ", ""))
    codes = await own.totp_confirm(account, session, totp.at(int(time.time()) - 30), caller())
    secrets += [enrolment.secret, totp.secret, *codes]
    assert since() == [("account-changed", True, "authenticator application added")]
    device = Device(ISSUER)
    passkey = await own.passkey_add(account, session, device.create(await own.passkey_options(account, session, caller())), "k", caller())
    assert since() == [("account-changed", True, "passkey added")]
    step = await s.begin("bs.lan", PASSWORD, caller())
    assert isinstance(step, Next)
    assert since() == [], "half a sign-in is none"
    with pytest.raises(Refused):
        await s.second(step.id, "000000", caller())
    assert since() == [("sign-in-refused", False, "wrong code")]
    second = await s.second(step.id, totp.now(), caller())
    assert since() == [("sign-in", True, "pwd otp mfa")]
    cookie, _ = await s.step_up(account, session, caller(), password=PASSWORD, code=codes[0])
    assert since() == [("step-up", True, "pwd otp mfa")]
    await own.passkey_remove(account, session, passkey.id, caller())
    await own.recovery_codes(account, session, caller())
    await own.end_session(account, second.session.id, caller())
    await own.end_other_sessions(account, session, caller())
    await own.totp_remove(account, session, caller())
    await own.password(account, session, PASSWORD, NEW, caller())
    await s.sign_out(session, "203.0.113.7")
    assert [kind for kind, _, _ in since()] == ["account-changed"] * 2 + ["sign-out"] * 2 + ["account-changed"] * 2 + ["sign-out"]
    secrets += [cookie, cookie.partition(".")[2], done.cookie, done.device, second.cookie, caller().browser]
    for e in h.events:
        assert e.address == "203.0.113.7"
        assert e.account in (account.id, None)
        assert not any(x in str(e) for x in [*secrets, "mat-khau-go-nham"])


async def test_guesses_are_counted_for_all_workers(store: Store) -> None:
    h, one = hub(store)
    _, two = hub(store)
    await person(h, one)
    reasons = []
    for n in range(8):
        with pytest.raises(Refused) as e:
            await (one, two)[n % 2].begin("bs.lan", "sai", caller())
        reasons.append(e.value.reason)
    assert reasons == ["credentials"] * 5 + ["wait"] * 3
