"""Passwords: how they are kept, and which are refused."""

import time
import unicodedata

import pytest
from argon2 import extract_parameters

from health_hub.auth.password_policy import COMMON, LONG, NUMBERS, PERSONAL, SHORT, Text, refusal, refusal_now
from health_hub.auth.passwords import MEMORY_KIB, PASSES, Passwords
from health_hub.store.store import Store
from tests.auth.hub import PASSWORD, hub, person

ABOUT = ("bs.lan", "Nguyễn Thị Lan", "1990-08-19", "019190012345")


async def test_kept_as_argon2id_at_owasps_cost(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    record = await store.records.get("password", account.id)
    assert record
    p = extract_parameters(record.data["hash"])
    assert (p.type.name, p.memory_cost, p.time_cost, p.parallelism) == ("ID", 19_456, 2, 1)
    assert (p.salt_len, p.hash_len) == (16, 32)
    assert PASSWORD not in str(record)


async def test_compared_in_one_normal_form(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    assert await s.passwords.verify(account, unicodedata.normalize("NFD", PASSWORD))
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], PASSWORD * 40, "x" * 1_000_000, "\0", PASSWORD + "\0", "\ud800"):
        assert not await s.passwords.verify(account, wrong)


async def test_an_old_cost_is_raised_at_sign_in(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    cheap = Passwords(store, memory_kib=64, passes=1)
    await cheap.set(account, PASSWORD)
    assert not await s.passwords.verify(account, "wrong")
    assert await s.passwords.verify(account, PASSWORD)
    record = await store.records.get("password", account.id)
    assert record
    p = extract_parameters(record.data["hash"])
    assert (p.memory_cost, p.time_cost) == (MEMORY_KIB, PASSES)
    assert await s.passwords.verify(account, PASSWORD)


async def test_an_account_without_a_password_has_none(store: Store) -> None:
    h, s = hub(store)
    account = await h.accounts.add("moi", "auditor")
    assert not await s.passwords.present(account)
    for password in ("", "x", PASSWORD):
        assert not await s.passwords.verify(account, password)


@pytest.mark.parametrize(("password", "why"), [
    ("mật khẩu", SHORT), ("", SHORT), (unicodedata.normalize("NFD", "mật khẩu ế"[:9]), SHORT), ("ế9" * 65, LONG), ("x" * 1_000_000, LONG),
    ("0912345678", NUMBERS), ("+84912345678", NUMBERS), ("0912 345 678!", NUMBERS), ("19/08/1990", NUMBERS), ("019190012345", NUMBERS),
    ("1234567890123", NUMBERS), ("2026-11-26 ...", NUMBERS),
    ("Matkhau@123", COMMON), ("mậtkhẩu2026", COMMON), ("anhyeuem123", COMMON), ("Vietnam@2026", COMMON), ("password123", COMMON),
    ("P@ssw0rd1234", COMMON), ("qwertyuiop123", COMMON), ("aaaaaaaaaaaaaa", COMMON), ("abcdefghijkl", COMMON), ("lan0912345678", COMMON),
    ("an19081990an", COMMON), ("BSBSBS19/08/1990", COMMON), ("thainguyen@2026", COMMON), ("1234567890abc", COMMON),
    ("nguyenthilan-8", COMMON), ("bs.lan.bs.lan.x", PERSONAL), ("NguyenLan-1990-bs", PERSONAL), ("lan.bacsi.2026", PERSONAL),
])  # fmt: skip
def test_refused(password: str, why: Text) -> None:
    given = refusal_now(password, ABOUT)
    assert given is not None
    if why in (COMMON, PERSONAL):
        assert given in (COMMON, PERSONAL)
    else:
        assert given == why


@pytest.mark.parametrize("password", [
    PASSWORD, "con mèo nằm trên mái nhà", "chè xanh đồi cọ", "Correct horse battery", "x7#Qm2!vPzK9", "khoai lang nướng bếp 0912345678",
])  # fmt: skip
async def test_accepted(password: str) -> None:
    assert await refusal(password, ABOUT) is None


def test_a_reason_is_in_both_languages() -> None:
    for text in (SHORT, LONG, NUMBERS, PERSONAL, COMMON):
        assert text.vi
        assert text.en
        assert text.vi != text.en


@pytest.mark.parametrize("password", ["a" * 128, "ab" * 64, "4@l3" * 32, "0l1e3a4s5t7$" * 10, "qwertyuiop" * 12, "12345678" * 16,
                                      "(" * 128])  # fmt: skip
def test_none_takes_long_to_look_at(password: str) -> None:
    refusal_now("nạp trước", ABOUT)
    start = time.process_time()
    refusal_now(password, ABOUT)
    assert time.process_time() - start < 30
