"""Records: compare-and-swap, references, ends, one taker of several."""

import asyncio

import pytest

from health_hub.store.records import Conflict, Put, Take, now
from health_hub.store.store import Store


async def test_a_record_is_read_back_and_found_by_its_references(store: Store) -> None:
    await store.records.put("session", "s1", {"name": "Đào"}, refs=("account/a", "client/c"))
    await store.records.put("session", "s2", {}, refs=("account/a",))
    record = await store.records.get("session", "s1")
    assert record is not None
    assert (record.version, record.data) == (1, {"name": "Đào"})
    assert [r.id for r in await store.records.find("session", "account/a")] == ["s1", "s2"]
    await store.records.put("session", "s1", {}, refs=("client/c",))
    assert [r.id for r in await store.records.find("session", "account/a")] == ["s2"]
    assert [r.id for r in await store.records.page("session", "s1")] == ["s2"]


async def test_a_version_is_written_over_once(store: Store) -> None:
    await store.records.put("account", "a", {"n": 0}, version=0)
    with pytest.raises(Conflict):
        await store.records.put("account", "a", {"n": 9}, version=0)

    async def raise_by_one() -> bool:
        try:
            await store.records.put("account", "a", {"n": 1}, version=1)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*[raise_by_one() for _ in range(10)])) == 1
    record = await store.records.get("account", "a")
    assert record is not None
    assert (record.version, record.data["n"]) == (2, 1)


async def test_all_or_none(store: Store) -> None:
    await store.records.put("code", "x", {})
    with pytest.raises(Conflict):
        await store.records.change([Put("grant", "g", {}), Take("code", "x", must=True), Take("code", "x", must=True)])
    assert await store.records.get("grant", "g") is None
    assert await store.records.get("code", "x") is not None


async def test_of_many_takers_one_has_it(store: Store) -> None:
    await store.records.put("code", "x", {"a": 1})
    taken = await asyncio.gather(*[store.records.take("code", "x") for _ in range(10)])
    assert [r.data for r in taken if r] == [{"a": 1}]


async def test_what_has_ended_does_not_exist(store: Store) -> None:
    await store.records.put("code", "x", {}, expires=now() - 1, refs=("account/a",))
    assert await store.records.get("code", "x") is None
    assert await store.records.find("code", "account/a") == []
    assert await store.records.take("code", "x") is None
    with pytest.raises(Conflict):
        await store.records.put("code", "x", {}, version=1)
    await store.records.put("code", "x", {"again": True}, version=0)
    record = await store.records.get("code", "x")
    assert record is not None
    assert record.data == {"again": True}
    await store.records.put("code", "x", {}, expires=now() - 1)
    await store.records.expire()
    assert await store.records.page("code") == []
