"""Accounts and their logins."""

import asyncio
import unicodedata

import pytest

from health_hub.auth.accounts import AccountError, Accounts, fold, login_of
from health_hub.store.store import Store


@pytest.mark.parametrize(("typed", "kept"), [
    ("BS.Lan", "bs.lan"), ("  Lan@BenhVien.vn ", "lan@benhvien.vn"), ("0912 345 678", "0912345678"), ("+84912345678", "0912345678"),
    ("0912.345.678", "0912345678"), ("+1 (555) 010-9999", "+15550109999"), (unicodedata.normalize("NFD", "Tuyết"), "tuyết"),
    ("019190012345", "019190012345"),
])  # fmt: skip
def test_a_login_is_compared_folded(typed: str, kept: str) -> None:
    assert login_of(typed) == kept
    assert fold(fold(typed)) == kept


@pytest.mark.parametrize("login", ["", "ab", "a b c", "a" * 101, "a" * 100_000, "аdmin", "admin\u200b", "ad\0min", "<b>lan</b>", ".lan",
                                   "-lan", "lan@", "@lan", "a@b@c.vn", "lan@benhvien", "ａｄｍｉｎ",
                                   "lan/../x", "admin\n", "العربية"])  # fmt: skip
def test_what_can_be_no_login(login: str) -> None:
    if login == "admin\n":  # white space at the ends is trimmed
        assert login_of(login) == "admin"
        return
    with pytest.raises(AccountError):
        login_of(login)


async def test_a_login_is_unique_among_all_who_add_at_once(store: Store) -> None:
    accounts = Accounts(store)
    logins = ("Lan@bv.vn", "lan@bv.vn", "LAN@BV.VN", "lan@BV.vn ")
    made = await asyncio.gather(*(accounts.add(x, "administrator") for x in logins), return_exceptions=True)
    assert sum(isinstance(m, AccountError) for m in made) == 3
    assert len(await accounts.list()) == 1


async def test_found_by_login_and_id(store: Store) -> None:
    accounts = Accounts(store)
    a = await accounts.add("0912345678", "patient", fhir_user="Patient/bn-001", name="Nguyễn Thị Lan", labels=("HIV",))
    assert await accounts.by_login("+84 912 345 678") == a
    assert await accounts.get(a.id) == a
    assert await accounts.by_login("0912345679") is None
    assert await accounts.by_login("x" * 5000) is None
    assert await accounts.get("x") is None
    assert await accounts.get("x\0") is None
    assert await accounts.by_login("lan\ud800") is None
    assert await accounts.list(after=a.id) == []


@pytest.mark.parametrize(("role", "given"), [
    ("patient", {}), ("patient", {"fhir_user": "Practitioner/1"}), ("carer", {"fhir_user": "Patient/1"}),
    ("practitioner", {"fhir_user": "Practitioner/../1"}), ("nurse", {"fhir_user": "Patient/1"}), ("king", {}),
    ("auditor", {"fhir_user": "Patient/1"}), ("operator", {"organizations": ("Patient/1",)}), ("operator", {"labels": ("a b",)}),
    ("operator", {"organizations": tuple(f"Organization/{n}" for n in range(51))}), ("auditor", {"name": "x" * 201}),
    ("auditor", {"name": "a\nb"}), ("auditor", {"language": "fr"}),
])  # fmt: skip
async def test_parts_that_do_not_fit_are_refused(store: Store, role: str, given: dict[str, object]) -> None:
    accounts = Accounts(store)
    with pytest.raises(AccountError):
        await accounts.add("ai.do", role, **given)  # type: ignore[arg-type]
    assert await accounts.list() == []


async def test_changes_made_at_once_are_all_kept_and_rights_that_change_revoke(store: Store) -> None:
    accounts, revoked = Accounts(store), []

    async def revoke(account: object) -> None:
        revoked.append(account)

    accounts.revoke = revoke
    a = await accounts.add("lan", "operator")
    await asyncio.gather(accounts.change(a.id, name="Lan"), accounts.change(a.id, language="en"), accounts.change(a.id, login="lan.moi"))
    b = await accounts.by_login("lan.moi")
    assert b
    assert (b.name, b.language, b.id) == ("Lan", "en", a.id)
    assert await accounts.by_login("lan") is None
    assert not revoked
    await accounts.change(a.id, role="auditor")
    await accounts.disable(a.id)
    await accounts.change(a.id, labels=("HIV",))
    assert len(revoked) == 3
    assert (await accounts.enable(a.id)).enabled
    await accounts.add("lan", "operator")
    with pytest.raises(AccountError, match="taken"):
        await accounts.change(a.id, login="LAN")
    with pytest.raises(KeyError):
        await accounts.change("x\0", name="x")
