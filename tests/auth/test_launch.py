"""SMART EHR launch and standalone launch: whose patient an application works with."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from health_hub.auth import authorize, launch
from health_hub.auth.authorize import Returned
from health_hub.auth.launch import Launch
from health_hub.auth.model import Account, AuthError, Client
from health_hub.store.records import Put
from health_hub.store.store import Store
from tests.auth.flow import Flow, flow, query

SCOPE = "openid fhirUser launch patient/*.rs"


@pytest.fixture
async def f(store: Store) -> AsyncIterator[Flow]:
    async with flow(store) as found:
        yield found


async def launched(f: Flow, client: Client, account: Account, patient: str | None = "bn-001", encounter: str | None = "e-1") -> str:
    return await launch.create(
        f.authority.store.records,
        Launch(client.id, account.id, patient, encounter, need_patient_banner=False, intent="reconcile", smart_style_url="https://hub/style.json"),
    )


async def doctor(f: Flow, login: str = "bs.lan") -> Account:
    return await f.person("practitioner", login, organizations=("Organization/a",))


async def test_an_ehr_launch_brings_its_context_to_the_token_response(f: Flow) -> None:
    client, _ = await f.app()
    account = await doctor(f)
    session = await f.session(account, organization="Organization/a")
    said = await f.tokens(client, session, scope=SCOPE + " launch/encounter", launch=await launched(f, client, account))
    assert (said["patient"], said["encounter"], said["need_patient_banner"]) == ("bn-001", "e-1", False)
    assert (said["intent"], said["smart_style_url"]) == ("reconcile", "https://hub/style.json")
    assert said["scope"] == SCOPE + " launch/encounter"
    claims = f.authority.tokens.verify(said["access_token"])
    assert (claims.patient, claims.encounter, claims.organization) == ("bn-001", "e-1", "Organization/a")


async def test_a_launch_is_good_once(f: Flow) -> None:
    client, _ = await f.app()
    account = await doctor(f)
    session = await f.session(account)
    value = await launched(f, client, account)
    both = [await f.begin(client, scope=SCOPE, launch=value) for _ in range(2)]
    await authorize.finish(f.authority, both[0], session, scope=SCOPE)
    with pytest.raises(AuthError):
        await authorize.finish(f.authority, both[1], session, scope=SCOPE)
    with pytest.raises(Returned, match="invalid_request"):
        await f.begin(client, scope=SCOPE, launch=value)


async def test_another_client_can_neither_use_nor_spend_a_launch(f: Flow) -> None:
    client, _ = await f.app()
    other, _ = await f.app()
    account = await doctor(f)
    value = await launched(f, client, account)
    with pytest.raises(Returned, match="invalid_request"):
        await f.begin(other, scope=SCOPE, launch=value)
    await f.tokens(client, await f.session(account), scope=SCOPE, launch=value)


async def test_another_persons_launch_is_refused_and_stays_good(f: Flow) -> None:
    client, _ = await f.app()
    account, other = await doctor(f), await doctor(f, "bs.minh")
    value = await launched(f, client, account)
    pending = await f.begin(client, scope=SCOPE, launch=value)
    with pytest.raises(Returned, match="access_denied"):
        await authorize.finish(f.authority, pending, await f.session(other), scope=SCOPE)
    await f.tokens(client, await f.session(account), scope=SCOPE, launch=value)


async def test_a_launch_ends(f: Flow) -> None:
    client, _ = await f.app()
    value = await launched(f, client, await doctor(f))
    records = f.authority.store.records
    [record] = await records.page("launch")
    await records.change([Put("launch", record.id, record.data | {"ends": 1}, expires=record.expires)])
    with pytest.raises(Returned, match="invalid_request"):
        await f.begin(client, scope=SCOPE, launch=value)
    assert value not in str(record)


@pytest.mark.parametrize("value", ["x", "", "x" * 300, "é"])
async def test_a_made_up_launch_is_none(f: Flow, value: str) -> None:
    client, _ = await f.app()
    with pytest.raises(AuthError):
        await launch.find(f.authority.store.records, value, client.id)


async def test_a_launch_opens_no_patient_that_the_person_may_not_see(f: Flow) -> None:
    client, _ = await f.app()
    account = await doctor(f)
    pending = await f.begin(client, scope=SCOPE, launch=await launched(f, client, account, "bn-hidden"))
    with pytest.raises(Returned, match="access_denied") as refused:
        await authorize.finish(f.authority, pending, await f.session(account), scope=SCOPE)
    assert "bn-hidden" not in refused.value.url
    assert query(refused.value.url)["error"] == "access_denied"


async def test_the_launched_patient_is_not_exchanged_for_another(f: Flow) -> None:
    client, _ = await f.app()
    account = await f.person("practitioner", "bs.lan", ("bn-001", "bn-002"), organizations=("Organization/a",))
    pending = await f.begin(client, scope=SCOPE, launch=await launched(f, client, account))
    with pytest.raises(AuthError, match="invalid_request"):
        await authorize.finish(f.authority, pending, await f.session(account), scope=SCOPE, patient="bn-002")


async def test_a_launch_without_a_patient_is_followed_by_the_picker(f: Flow) -> None:
    client, _ = await f.app()
    account = await doctor(f)
    session = await f.session(account)
    pending = await f.begin(client, scope=SCOPE, launch=await launched(f, client, account, None, None))
    assert await authorize.missing(f.authority, pending, session) == "patient"
    pending = await authorize.pick(f.authority, pending, session, "bn-001")
    await authorize.finish(f.authority, pending, session, scope=SCOPE)


async def test_a_carer_picks_among_theirs(f: Flow) -> None:
    client, _ = await f.app()
    session = await f.session(await f.person("carer", "me.mai", ("con-1", "con-2")))
    pending = await f.begin(client)
    assert await authorize.missing(f.authority, pending, session) == "patient"
    account = await f.authority.accounts.get(session.account)
    assert account
    assert [p.id for p in await f.authority.patients(account, None, "")] == ["con-1", "con-2"]
    with pytest.raises(AuthError, match="access_denied"):
        await authorize.pick(f.authority, pending, session, "bn-001")
    said = await f.tokens(client, session, patient="con-2")
    assert said["patient"] == "con-2"


async def test_what_was_picked_for_one_person_is_looked_at_again_for_another(f: Flow) -> None:
    client, _ = await f.app()
    one = await f.session(await f.person("carer", "me.mai", ("con-1",)))
    other = await f.session(await f.person("carer", "bo.nam", ("con-2",)))
    pending = await authorize.pick(f.authority, await f.begin(client), one, "con-1")
    with pytest.raises(Returned, match="access_denied"):
        await authorize.finish(f.authority, pending, other, scope="openid patient/*.rs")


async def test_no_context_that_can_be_none(f: Flow) -> None:
    good = Launch("c", "a", "bn-001", "e-1")
    for bad in (replace(good, patient="Patient/bn-001"), replace(good, patient=None), replace(good, encounter="x" * 65),
                replace(good, intent="a b")):  # fmt: skip
        with pytest.raises(ValueError):
            await launch.create(f.authority.store.records, bad)
