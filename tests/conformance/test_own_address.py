"""References written with the own address are local ones, whoever wrote the index (R4 references.html#literal)."""

from health_hub.fhir import index
from health_hub.store import reindex
from health_hub.store.model import Change
from health_hub.store.store import Store
from tests.conformance.asking import observation, patient

BASE = "https://hub.example.vn/fhir"


async def test_check_agrees_with_what_was_indexed_under_the_own_address(database_url: str) -> None:
    try:
        store = await Store.open(database_url, base=BASE)
        try:
            written = [patient("1"), observation("a", subject={"reference": f"{BASE}/Patient/1"})]
            await store.commit([Change("update", r["resourceType"], r["id"], r) for r in written])
            assert store.stale_index  # made when the address was not known
            assert [line async for line in reindex.check(store, lambda n: None)] == []
        finally:
            await store.close()
    finally:
        index.set_base("")
