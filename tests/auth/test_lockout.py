"""Guessing gets slow, and nobody else does."""

import asyncio

import pytest

from health_hub.auth import lockout, passwords
from health_hub.auth.lockout import ADDRESS, DEVICE, FACTOR, LOGIN, NETWORK, Limit, network
from health_hub.auth.signin import Refused, SignedIn, SignIn
from health_hub.store.store import Store
from tests.auth.hub import PASSWORD, caller, hub, person, signed_in

CLINIC, STRANGER = "203.0.113.7", "198.51.100.66"


async def tries(s: SignIn, login: str, n: int, address: str, **more: str | None) -> list[str]:
    out = []
    for _ in range(n):
        with pytest.raises(Refused) as e:
            await s.begin(login, "sai mật khẩu rồi", caller(address, **more))
        out.append(e.value.reason)
    return out


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MEMORY_KIB", 64)


async def test_five_guesses_are_free_and_the_sixth_waits_longer_each_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    h, s = hub(store)
    await person(h, s)
    assert await tries(s, "bs.lan", 6, STRANGER) == ["credentials"] * 5 + ["wait"]
    now, waits = lockout.now(), []
    for _ in range(10):
        with pytest.raises(Refused) as e:
            await s.begin("bs.lan", PASSWORD, caller(STRANGER))
        assert e.value.reason == "wait"
        waits.append(e.value.seconds)
        now += e.value.seconds * 1000
        monkeypatch.setattr(lockout, "now", lambda n=now: n)
        assert await tries(s, "bs.lan", 1, STRANGER) == ["credentials"]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]


async def test_the_neighbour_behind_the_same_address_signs_in(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    await person(h, s, "bs.mai", "nurse")
    assert (await tries(s, "bs.lan", 8, CLINIC))[-1] == "wait"
    assert isinstance(await s.begin("bs.mai", PASSWORD, caller(CLINIC)), SignedIn)


async def test_a_strangers_guesses_do_not_lock_out_the_owner(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    before = await signed_in(s)
    for n in range(30):  # from many networks, so that the login itself is slow
        await tries(s, "bs.lan", 1, f"198.51.{n}.1")
    assert await tries(s, "bs.lan", 1, "192.0.2.1") == ["wait"], "a browser never seen waits with the stranger"
    assert isinstance(await s.begin("bs.lan", PASSWORD, caller(CLINIC, device=before.device)), SignedIn)
    # Her browser is nobody else's pass: what it may guess at another login is counted as any stranger's.
    await person(h, s, "bs.mai", "nurse")
    assert (await tries(s, "bs.mai", 6, STRANGER, device=before.device))[-1] == "wait"


async def test_a_trusted_browser_is_slowed_too(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    device = (await signed_in(s)).device
    assert await tries(s, "bs.lan", 11, CLINIC, device=device) == ["credentials"] * 10 + ["wait"]


async def test_an_owner_who_signs_in_gives_the_guesser_no_new_guesses(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    device = (await signed_in(s)).device
    assert (await tries(s, "bs.lan", 6, STRANGER))[-1] == "wait"
    await s.begin("bs.lan", PASSWORD, caller(CLINIC, device=device))
    await s.begin("bs.lan", PASSWORD, caller(CLINIC))
    assert await tries(s, "bs.lan", 1, STRANGER) == ["wait"]


async def test_a_login_nobody_has_waits_alike(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    known, unknown = [await tries(s, login, 7, STRANGER) for login in ("bs.lan", "khong.co")]
    assert known == unknown


async def test_a_login_is_one_however_it_is_written(store: Store) -> None:
    h, s = hub(store)
    await person(h, s, "0912345678", "nurse")
    reasons = [(await tries(s, login, 1, STRANGER))[0] for login in ("0912345678", "+84912345678", "0912 345 678", "0912.345.678",
                                                                      "+84 912345678", " 0912345678 ")]  # fmt: skip
    assert reasons == ["credentials"] * 5 + ["wait"]


async def test_guesses_sent_at_once_do_not_go_through_together(store: Store) -> None:
    h, s = hub(store)
    await person(h, s)
    await s.begin("bs.lan", PASSWORD, caller())
    before = s.passwords.hashed
    answers = await asyncio.gather(*(s.begin("bs.lan", f"sai {n}", caller(STRANGER)) for n in range(60)), return_exceptions=True)
    assert all(isinstance(a, Refused) for a in answers)
    assert s.passwords.hashed - before <= NETWORK.free


async def test_one_address_at_many_logins_is_slowed_late(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    h, s = hub(store)
    await person(h, s)
    monkeypatch.setattr(lockout, "ADDRESS", Limit(12, 1, 60, 3600))
    reasons = [(await tries(s, f"nguoi.{n}", 1, STRANGER))[0] for n in range(14)]
    assert reasons == ["credentials"] * 12 + ["wait"] * 2
    assert isinstance(await s.begin("bs.lan", PASSWORD, caller(CLINIC)), SignedIn)


async def test_counts_are_forgotten_and_hold_no_login(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, s = hub(store)
    await tries(s, "khong.co", 3, STRANGER)
    kept = await store.records.page("attempts")
    assert len(kept) == 3
    for record in kept:
        assert "khong" not in str(record)
        assert record.expires
        assert record.expires <= lockout.now() + 3_700_000


async def test_a_flood_of_passwords_takes_no_more_memory_than_two(store: Store) -> None:
    """With the real cost: two threads hash, a hundred wait, the rest is told to come back."""
    h, s = hub(store)
    await person(h, s)
    at_once, most = 0, 0
    original = s.passwords._matches

    def counted(hash: str, password: str) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        right = original(hash, password)
        at_once -= 1
        return right

    s.passwords._matches = counted  # type: ignore[method-assign]
    account = await h.accounts.by_login("bs.lan")
    answers = await asyncio.gather(*(s.passwords.verify(account, f"sai {n}") for n in range(300)), return_exceptions=True)
    assert most <= passwords.THREADS
    assert sum(a is False for a in answers) == passwords.WAITING_MAX
    assert sum(isinstance(a, passwords.Busy) for a in answers) == 300 - passwords.WAITING_MAX
    assert await s.passwords.verify(account, PASSWORD)


@pytest.mark.parametrize(("address", "of"), [
    ("203.0.113.7", "203.0.113.0/24"), ("2001:db8:1:2::9", "2001:db8:1::/48"), ("::ffff:203.0.113.7", "203.0.113.0/24"),
    ("fe80::1%eth0", "fe80::/48"), ("", "-"), ("unix", "-"),
])  # fmt: skip
def test_networks(address: str, of: str) -> None:
    assert network(address) == of


def test_every_limit_grows_and_ends() -> None:
    for limit in (NETWORK, LOGIN, DEVICE, ADDRESS, FACTOR):
        delays = [limit.delay(n) for n in range(limit.free + 10_000)]
        assert delays == sorted(delays)
        assert not any(delays[: limit.free])
        assert delays[-1] == limit.most <= 900
