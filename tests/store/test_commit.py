"""The write door: versions, preconditions, atomicity, and what is told afterwards."""

import asyncio
import json

import pytest

from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError
from health_hub.store.model import AlreadyDone, Change
from health_hub.store.reindex import check, rebuild
from health_hub.store.store import Store


def patient(family: str = "Nguyễn", **more: object) -> dict[str, object]:
    return {"resourceType": "Patient", "name": [{"family": family}], "birthDate": "1980-02", **more}


async def clean(store: Store) -> list[str]:
    return [p async for p in check(store)]


async def test_create_sets_id_and_meta_and_keeps_the_rest_as_sent(store: Store) -> None:
    sent = loads(
        b'{"resourceType":"Observation","meta":{"source":"urn:x","profile":["http://p"]},"status":"final","code":{"text":"a"},"valueQuantity":{"value":1.50},"id":"mine"}'
    )
    [result] = await store.commit([Change("create", "Observation", resource=sent, method="POST")])
    doc = loads(result.stored.doc or b"")
    assert result.created
    assert result.stored.version == 1
    assert doc["id"] == result.stored.id != "mine"
    assert doc["meta"]["versionId"] == "1"
    assert doc["meta"]["lastUpdated"].endswith("+07:00")
    assert doc["meta"]["profile"] == ["http://p"]
    assert b'"value":1.50' in (result.stored.doc or b"")
    read = await store.view().read("Observation", result.stored.id)
    assert read is not None
    assert read.doc == result.stored.doc
    assert await clean(store) == []


async def test_update_keeps_every_version_and_only_the_newest_keys(store: Store) -> None:
    for n in range(1, 4):
        [r] = await store.commit([Change("update", "Patient", "p1", patient(f"Họ{n}"))])
        assert r.stored.version == n
    view = store.view()
    for n in range(1, 4):
        old = await view.vread("Patient", "p1", n)
        assert old is not None
        assert json.loads(old.doc or b"")["name"][0]["family"] == f"Họ{n}"
    assert await view.vread("Patient", "p1", 4) is None
    history = await view.history("Patient", "p1")
    assert [v.version for v in history.versions] == [3, 2, 1]
    assert history.total == 3
    assert await clean(store) == []


async def test_delete_keeps_history_and_update_brings_back(store: Store) -> None:
    await store.commit([Change("update", "Patient", "p1", patient())])
    [gone] = await store.commit([Change("delete", "Patient", "p1")])
    assert gone.stored.version == 2
    assert (await store.view().read("Patient", "p1")).deleted  # type: ignore[union-attr]
    [again] = await store.commit([Change("delete", "Patient", "p1")])
    assert again.stored.version == 2
    [back] = await store.commit([Change("update", "Patient", "p1", patient())])
    assert back.stored.version == 3
    assert back.created
    assert [v.method for v in (await store.view().history("Patient", "p1")).versions] == ["PUT", "DELETE", "PUT"]
    assert await clean(store) == []


async def test_a_failing_change_undoes_the_whole_commit(store: Store) -> None:
    await store.commit([Change("update", "Patient", "p1", patient())])
    with pytest.raises(FhirError) as e:
        await store.commit(
            [Change("create", "Patient", resource=patient("Mới")), Change("update", "Patient", "p1", patient("Sai"), if_version=7)]
        )
    assert e.value.status == 412
    assert [s.id async for s in store.view().scan()] == ["p1"]
    assert await clean(store) == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (Change("create", "Patient", "p1", patient()), 409),
        (Change("update", "Patient", "unknown", patient(), may_create=False), 404),
        (Change("update", "Patient", "p1", patient(), if_version=2), 412),
        (Change("delete", "Patient", "p1", if_version=9), 412),
        (Change("update", "Patient", "p1", patient(), if_version=0), 412),
        (Change("update", "Patient", "a b", patient()), 400),
        (Change("update", "Patient", "x" * 65, patient()), 400),
    ],
)
async def test_preconditions(store: Store, change: Change, status: int) -> None:
    await store.commit([Change("update", "Patient", "p1", patient())])
    with pytest.raises(FhirError) as e:
        await store.commit([change])
    assert e.value.status == status


async def test_fifty_writers_on_one_resource_lose_no_update(store: Store) -> None:
    await store.commit([Change("update", "Patient", "p1", patient("0"))])
    won = []

    async def writer(n: int) -> None:
        while True:
            current = await store.view().read("Patient", "p1")
            assert current is not None
            family = json.loads(current.doc or b"")["name"][0]["family"]
            try:
                [r] = await store.commit([Change("update", "Patient", "p1", patient(f"{family},{n}"), if_version=current.version)])
            except FhirError as e:
                if e.status != 412:
                    raise
                continue
            won.append(r.stored.version)
            return

    await asyncio.gather(*[writer(n) for n in range(50)])
    assert sorted(won) == list(range(2, 52))
    final = await store.view().read("Patient", "p1")
    assert final is not None
    assert sorted(json.loads(final.doc or b"")["name"][0]["family"].split(",")) == sorted(["0", *map(str, range(50))])
    assert await clean(store) == []


async def test_many_at_once_each_succeed_or_fail_alone(store: Store) -> None:
    async def one(n: int) -> str:
        try:
            await store.commit([Change("update", "Patient", f"p{n % 20}", patient(str(n)), if_version=5 if n % 7 == 0 else None)])
        except FhirError:
            return "refused"
        return "done"

    outcomes = await asyncio.gather(*[one(n) for n in range(200)])
    assert {n for n, o in enumerate(outcomes) if o == "refused"} <= {n for n in range(200) if n % 7 == 0}
    assert await clean(store) == []


async def test_a_mark_is_committed_with_its_work_once(store: Store) -> None:
    await store.commit([Change("create", "Patient", resource=patient())], mark="file:1")
    with pytest.raises(AlreadyDone):
        await store.commit([Change("create", "Patient", resource=patient())], mark="file:1")
    assert await store.marked(["file:1", "file:2"]) == {"file:1"}
    assert len([s async for s in store.view().scan()]) == 1


async def test_history_of_type_and_system_pages_newest_first(store: Store) -> None:
    for n in range(1, 13):
        await store.commit(
            [
                Change(
                    "update",
                    "Patient" if n % 3 else "Basic",
                    f"r{n % 4}",
                    patient() if n % 3 else {"resourceType": "Basic", "code": {"text": "x"}},
                )
            ]
        )
    for type in ("Patient", None):
        seen, cursor = [], None
        while True:
            page = await store.view().history(type, count=3, cursor=cursor)
            seen += [(v.updated, v.type, v.id, v.version) for v in page.versions]
            cursor = page.cursor
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == (8 if type else 12)
        assert [s[0] for s in seen] == sorted((s[0] for s in seen), reverse=True)


async def test_history_at_shows_what_was_current_then(store: Store) -> None:
    times = []
    for n in range(3):
        [r] = await store.commit([Change("update", "Patient", "p1", patient(str(n)))])
        times.append(r.stored.updated)
        await asyncio.sleep(0.01)
    page = await store.view().history("Patient", "p1", at=(times[1] + 1, times[1] + 2))
    assert [v.version for v in page.versions] == [2]
    assert [v.version for v in (await store.view().history("Patient", "p1", since_ms=times[1])).versions] == [3, 2]


async def test_rebuild_restores_lost_keys(store: Store) -> None:
    await store.commit([Change("update", "Patient", f"p{n}", patient()) for n in range(5)])
    await store.database.execute("DELETE FROM string_key", [()])
    assert len(await clean(store)) == 5
    assert await rebuild(store) == 5
    assert await clean(store) == []


async def test_staged_content_reads_back_in_ranges(store: Store) -> None:
    content = bytes(range(256)) * 3000

    async def pieces():  # type: ignore[no-untyped-def]
        for at in range(0, len(content), 100_000):
            yield content[at : at + 100_000]

    blob, size = await store.stage(pieces(), 10_000_000)
    [r] = await store.commit([Change("create", "Binary", resource={"resourceType": "Binary", "contentType": "image/png"}, blob=blob)])
    assert size == len(content)
    view = store.view()
    for start, stop in ((0, None), (5, 300_000), (262_144, 262_145), (700_000, None)):
        assert b"".join([p async for p in view.blob(r.stored, start, stop)]) == content[start:stop]


async def test_what_the_database_refuses_is_refused_to_nobody_else(store: Store) -> None:
    # The validator keeps such text out; should it ever fail, the neighbours in the shared transaction must not suffer.
    poisoned = patient(text={"status": "generated", "div": "x"}, identifier=[{"system": "urn:x", "value": "v" * 10}])
    changes = [Change("create", "Patient", resource=patient(str(n))) for n in range(5)]
    changes[2] = Change("create", "Patient", resource=poisoned, blob=2**70)
    outcomes = await asyncio.gather(*[store.commit([c]) for c in changes], return_exceptions=True)
    assert [isinstance(o, Exception) for o in outcomes] == [False, False, True, False, False]
    assert len([s async for s in store.view().scan()]) == 4
    assert await clean(store) == []
