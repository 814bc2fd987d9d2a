"""Demo sign-ins: one for each role, tied to demo records, which every one of them can use."""

import asyncio

from health_hub import demo
from health_hub.auth.model import ROLES
from health_hub.auth.password_policy import refusal_now
from health_hub.auth.signin import Next, SignedIn
from health_hub.demo.accounts import ACCOUNTS, demo_accounts
from health_hub.store.store import Store
from tests.auth.hub import caller, hub


async def test_every_role_signs_in(store: Store) -> None:
    h, s = hub(store)
    made = await demo_accounts(store)
    assert {d.role for d in made} == set(ROLES)
    for d in made:
        step = await s.begin(d.login, d.password, caller(f"198.51.100.{len(d.login)}"))
        assert isinstance(step, Next if d.role in h.settings.second_factor_roles else SignedIn)
        assert "demo" in d.login


async def test_made_once_and_left_as_they_are(store: Store) -> None:
    h, s = hub(store)
    await asyncio.gather(demo_accounts(store), demo_accounts(store))
    account = await h.accounts.by_login("bacsi.demo")
    assert account
    await s.passwords.set(account, "một mật khẩu khác của tôi")
    await h.accounts.change(account.id, name="Khác")
    await demo_accounts(store)
    assert len(await h.accounts.list()) == len(ACCOUNTS)
    assert await s.passwords.verify(account, "một mật khẩu khác của tôi")


def test_passwords_pass_the_policy() -> None:
    from health_hub.demo.accounts import password

    for d in ACCOUNTS:
        assert refusal_now(password(d.login), (d.login, d.name)) is None


def test_they_are_tied_to_records_that_are_there() -> None:
    there = {f"{r['resourceType']}/{r['id']}": r for r in demo.records()}
    for d in ACCOUNTS:
        for reference in filter(None, (d.fhir_user, *d.organizations)):
            assert reference in there
        if d.fhir_user:
            assert there[d.fhir_user]["name"][0]["text"] == d.name


def test_a_doctor_of_two_facilities_looks_after_some_and_not_others() -> None:
    records = demo.records()
    own = {r["organization"]["reference"] for r in records
           if r["resourceType"] == "PractitionerRole" and r["practitioner"]["reference"] == "Practitioner/bs-01"}  # fmt: skip
    assert own == {"Organization/bvdk-tinh", "Organization/ttyt-dai-tu"}
    managed = [r for r in records if r["resourceType"] == "EpisodeOfCare"]
    assert {r["managingOrganization"]["reference"] for r in managed} > own
    assert [r["id"] for r in records if r["resourceType"] == "Encounter" and r["status"] == "in-progress"] == ["bn-029-noi-tru"]
