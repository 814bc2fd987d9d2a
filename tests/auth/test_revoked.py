import asyncio
import logging
import time

import pytest

from health_hub.auth.model import Claims
from health_hub.auth.revoked import SILENT, Revoked
from health_hub.store.store import Store


def claims(issued: int | None = None, **more: str) -> Claims:
    now = int(time.time()) if issued is None else issued
    given = {"id": "t1", "subject": "acc", "client": "app", "role": "patient", "scope": "", "session": "g1"} | more
    return Claims(issued=now, expires=now + 300, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("id", ["token/t1", "session/g1", "client/app", "account/acc"])
async def test_what_is_revoked_is_refused_here_at_once_and_by_others_at_their_next_look(store: Store, id: str) -> None:
    here, there = Revoked(store.records, 300), Revoked(store.records, 300)
    # Given before: a token of a later second than the revocation's is good again, whenever the clock ticks over.
    given, other = claims(), claims(id="t2", session="g2", client="b", subject="c")
    await there.look()
    assert not here.covers(given)
    await here.add(id)
    assert id in here
    assert here.covers(given)
    assert not there.covers(given)
    await there.look()
    assert there.covers(given)
    assert not there.covers(other)


async def test_every_worker_knows_by_itself(store: Store) -> None:
    here, there = Revoked(store.records, 300), Revoked(store.records, 300)
    await there.start()
    try:
        await here.add("token/t1")
        began = time.monotonic()
        while "token/t1" not in there:
            assert time.monotonic() - began < 20
            await asyncio.sleep(0.01)
    finally:
        await there.stop()


async def test_a_worker_that_starts_knows_what_was_revoked_before(store: Store) -> None:
    await Revoked(store.records, 300).add("client/app")
    later = Revoked(store.records, 300)
    await later.start()
    await later.stop()
    assert "client/app" in later


async def test_a_client_or_account_goes_on_with_what_is_given_after(store: Store) -> None:
    revoked = Revoked(store.records, 300)
    await revoked.add("account/acc", "client/app")
    record = await store.records.get("revoked", "account/acc")
    assert record
    assert revoked.covers(claims(record.data["at"]))
    assert not revoked.covers(claims(record.data["at"] + 1))


async def test_what_has_ended_is_forgotten(store: Store) -> None:
    revoked = Revoked(store.records, 300)
    await revoked.add("token/t1", seconds=1)
    await asyncio.sleep(1.05)
    assert "token/t1" not in revoked
    await revoked.look()
    assert not revoked._ids
    assert not (await store.records.page("revoked"))


async def test_a_look_without_news_reads_one_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    revoked = Revoked(store.records, 300)
    await revoked.add("token/t1")
    await revoked.look()

    async def never(*args: object) -> list[object]:
        raise AssertionError

    monkeypatch.setattr(store.records, "page", never)
    await revoked.look()


async def test_more_than_a_page_is_read_whole(store: Store) -> None:
    here, there = Revoked(store.records, 300), Revoked(store.records, 300)
    await here.add(*(f"token/{n}" for n in range(1500)))
    await there.look()
    assert all(f"token/{n}" in there for n in range(1500))


async def test_without_the_database_what_is_known_stays_refused_and_the_log_says_so_once(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    revoked = Revoked(store.records, 300, clock=lambda: clock[0])
    await revoked.add("token/t1")
    await revoked.look()

    async def down(*args: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr("health_hub.auth.revoked.LOOK", 0.01)
    real = store.records.get
    monkeypatch.setattr(store.records, "get", down)
    revoked._task = asyncio.create_task(revoked._watch())
    await asyncio.sleep(0.05)
    assert not caplog.records
    clock[0] += SILENT
    await asyncio.sleep(0.1)
    said = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(said) == 1
    assert "t1" not in said[0].getMessage()
    assert "token/t1" in revoked
    monkeypatch.setattr(store.records, "get", real)
    await asyncio.sleep(0.3)
    await revoked.stop()
    assert any("again" in r.getMessage() for r in caplog.records)


async def test_it_stops_whatever_it_is_doing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation lost just as a look is answered would keep the server from ending."""
    monkeypatch.setattr("health_hub.auth.revoked.LOOK", 0.0)
    revoked = Revoked(store.records, 300)
    for n in range(100):
        await revoked.start()
        for _ in range(n % 20):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await revoked.stop()
