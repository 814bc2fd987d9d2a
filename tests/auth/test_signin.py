"""Signing in, step by step, and what each step refuses."""

import asyncio
import time

import pyotp
import pytest

from health_hub.auth.model import Account
from health_hub.auth.own import Own, PasswordRefused
from health_hub.auth.signin import Next, Refused, SignedIn, SignIn
from health_hub.store.store import Store
from tests.auth.hub import PASSWORD, Place, caller, hub, person, signed_in


async def refused(work: object) -> Refused:
    with pytest.raises(Refused) as e:
        await work  # type: ignore[misc]
    return e.value


async def with_totp(s: SignIn, account: Account) -> pyotp.TOTP:
    return pyotp.parse_uri((await s.totp.enrol(account, confirmed=True)).url)  # type: ignore[return-value]


async def test_a_password_signs_in(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    done = await signed_in(s, "BS.Lan ")
    assert await h.sessions.of(done.cookie) == (done.session, account)
    assert (done.session.amr, done.session.agent, done.session.address) == (("pwd",), "Chrome, Android", "203.0.113.7")
    assert [(e.kind, e.account, e.success) for e in h.events] == [("sign-in", account.id, True)]


async def test_a_wrong_password_an_unknown_login_and_a_disabled_account_answer_alike_and_cost_alike(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    gone = await person(h, s, "nghi.viec")
    await h.accounts.disable(gone.id)
    await refused(s.begin("nobody", "x" * 12, caller("198.51.100.1")))
    answers, work = set(), []
    asked = [("bs.lan", "wrong"), ("nobody", "wrong"), ("nghi.viec", PASSWORD), ("a b\0", PASSWORD), ("\ud800", "\ud800")]
    for n, (login, password) in enumerate(asked):
        before = s.passwords.hashed
        e = await refused(s.begin(login, password, caller(f"198.51.{n}.1")))
        work.append(s.passwords.hashed - before)
        answers.add((e.reason, e.vi, e.en, e.seconds))
    assert len(answers) == 1
    assert work == [1] * 5
    assert not any("lan" in e.detail or e.detail == "wrong" for e in h.events)


async def test_a_second_factor_is_asked_for_where_there_is_one(store: Store) -> None:
    h, s = hub(store)
    totp = await with_totp(s, await person(h, s))
    step = await s.begin("bs.lan", PASSWORD, caller())
    assert isinstance(step, Next)
    assert (step.step, step.methods) == ("code", ("totp",))
    assert (await refused(s.second(step.id, "000000", caller()))).reason == "code"
    done = await s.second(step.id, totp.now(), caller())
    assert done.session.amr == ("pwd", "otp", "mfa")


async def test_a_code_is_good_once(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    totp = await with_totp(s, account)
    code = totp.now()
    one, two = [await s.begin("bs.lan", PASSWORD, caller()) for _ in range(2)]
    assert isinstance(one, Next)
    assert isinstance(two, Next)
    answers = await asyncio.gather(*(s.second(x.id, code, caller()) for x in (one, two)), return_exceptions=True)
    assert sorted(type(a).__name__ for a in answers) == ["Refused", "SignedIn"]
    assert not await s.totp.verify(account, code)


async def test_one_step_early_or_late_is_accepted_and_two_are_not(store: Store) -> None:
    h, s = hub(store)
    account, now = await person(h, s), int(time.time())
    totp = await with_totp(s, account)
    assert not await s.totp.verify(account, totp.at(now - 90))
    assert not await s.totp.verify(account, totp.at(now + 90))
    assert await s.totp.verify(account, totp.at(now - 25))
    assert await s.totp.verify(account, totp.at(now + 25))
    assert not await s.totp.verify(account, totp.at(now - 25)), "an older code after a newer one"


async def test_a_pending_sign_in_belongs_to_its_browser_and_is_used_once(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    totp = await with_totp(s, account)
    step = await s.begin("bs.lan", PASSWORD, caller())
    assert isinstance(step, Next)
    assert (await refused(s.second(step.id, totp.now(), caller(browser="another" * 7)))).reason == "expired"
    assert (await refused(s.second("\0\ud800", totp.now(), caller()))).reason == "expired"
    assert (await refused(s.second(step.id, totp.now(), caller(browser="")))).reason == "expired"
    assert (await refused(s.enrol(step.id, caller()))).reason == "expired", "who has a factor gets no second one by the password alone"
    await s.second(step.id, totp.now(), caller())
    assert (await refused(s.second(step.id, totp.at(int(time.time()) + 30), caller()))).reason == "expired"


async def test_a_role_that_needs_a_second_factor_gets_no_session_without(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s, "quan.tri", "administrator")
    step = await s.begin("quan.tri", PASSWORD, caller())
    assert isinstance(step, Next)
    assert (step.step, step.methods) == ("enrol", ())
    assert not await h.sessions.list(account.id)
    enrolment = await s.enrol(step.id, caller())
    assert enrolment.svg.startswith("<svg")
    assert (await refused(s.enrolled(step.id, "123456", caller()))).reason == "code"
    done, codes = await s.enrolled(step.id, pyotp.TOTP(enrolment.secret.replace(" ", "")).now(), caller())
    assert done.session.amr == ("pwd", "otp", "mfa")
    assert len(codes) == 10


async def test_a_recovery_code_is_good_once_and_counted(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    await with_totp(s, account)
    codes = await s.recovery.make(account)
    step = await s.begin("bs.lan", PASSWORD, caller())
    assert isinstance(step, Next)
    assert step.methods == ("totp", "recovery")
    done = await s.second(step.id, codes[3].lower().replace("-", " "), caller())
    assert isinstance(done, SignedIn)
    assert await s.recovery.left(account) == 9
    answers = await asyncio.gather(s.recovery.use(account, codes[4]), s.recovery.use(account, codes[4]))
    assert sorted(answers) == [False, True]
    assert not await s.recovery.use(account, codes[3])
    other = await person(h, s, "bs.mai")
    assert not await s.recovery.use(other, codes[5])
    record = await store.records.get("recovery", account.id)
    assert record
    assert not any(c.replace("-", "") in str(record.data) for c in codes)


async def test_codes_are_not_guessed(store: Store) -> None:
    h, s = hub(store)
    totp = await with_totp(s, await person(h, s))
    step = await s.begin("bs.lan", PASSWORD, caller())
    assert isinstance(step, Next)
    reasons = [(await refused(s.second(step.id, f"{n:06d}", caller()))).reason for n in range(8)]
    assert reasons[:5] == ["code"] * 5
    assert set(reasons[5:]) == {"wait"}
    e = await refused(s.second(step.id, totp.now(), caller(f"198.51.100.{9}")))
    assert e.reason == "wait"
    assert 0 < e.seconds <= 5
    assert str(e.seconds) in e.vi


async def test_one_facility_is_taken_and_of_several_one_is_chosen(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    h.places = (Place("Organization/a"),)
    assert (await signed_in(s)).session.organization == "Organization/a"
    h.places = (Place("Organization/a"), Place("Organization/b"))
    done = await signed_in(s)
    assert done.session.organization is None
    assert (await refused(s.act_for(done.session, account, "Organization/c"))).reason == "facility"
    await s.act_for(done.session, account, "Organization/b")
    found = await h.sessions.of(done.cookie)
    assert found
    assert found[0].organization == "Organization/b"
    patient = await person(h, s, "0912345678", "patient")
    assert (await signed_in(s, "+84 912 345 678")).session.organization is None
    assert not await s.facilities(patient)


async def test_a_change_of_password_ends_the_other_sessions(store: Store) -> None:
    h, s = hub(store)
    account, own = await person(h, s), Own(s)
    one, two = await signed_in(s), await signed_in(s)
    new = "đom đóm bay qua bụi chuối"
    assert (await refused(own.password(account, one.session, "wrong", new, caller()))).reason == "credentials"
    with pytest.raises(PasswordRefused):
        await own.password(account, one.session, PASSWORD, "bs.lan-12345", caller())
    cookie, _ = await own.password(account, one.session, PASSWORD, new, caller())
    assert await h.sessions.of(cookie)
    assert not await h.sessions.of(one.cookie), "the cookie's secret is a new one"
    assert not await h.sessions.of(two.cookie)
    assert not await s.lockout.trusted(account, two.device)
    assert (await refused(s.begin("bs.lan", PASSWORD, caller()))).reason == "credentials"
    assert isinstance(await s.begin("bs.lan", new, caller()), SignedIn)


async def test_what_guards_an_account_is_changed_by_who_has_just_shown_who_they_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    h, s = hub(store)
    account, own = await person(h, s), Own(s)
    done = await signed_in(s)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 700)
    assert not own.fresh(done.session)
    for work in (
        own.totp_enrol(account, done.session), own.totp_confirm(account, done.session, "000000", caller()),
        own.totp_remove(account, done.session, caller()), own.recovery_codes(account, done.session, caller()),
        own.passkey_options(account, done.session, caller()), own.passkey_add(account, done.session, "{}", "x", caller()),
        own.passkey_remove(account, done.session, "x", caller()),
    ):  # fmt: skip
        assert (await refused(work)).reason == "step-up"
    assert (await refused(s.step_up(account, done.session, caller(), password="wrong"))).reason == "credentials"
    cookie, session = await s.step_up(account, done.session, caller(), password=PASSWORD)
    assert session.id == done.session.id
    assert own.fresh(session)
    assert not await h.sessions.of(done.cookie)
    assert await h.sessions.of(cookie)
    enrolment = await own.totp_enrol(account, session)
    totp = pyotp.TOTP(enrolment.secret.replace(" ", ""))
    assert not await s.totp.present(account), "not before a code of it"
    at = int(real()) + 700
    assert len(await own.totp_confirm(account, session, totp.at(at), caller())) == 10
    assert (await refused(s.step_up(account, session, caller(), password=PASSWORD, code=totp.at(at)))).reason == "code", "used to confirm"
    await s.step_up(account, session, caller(), password=PASSWORD, code=totp.at(at + 30))
