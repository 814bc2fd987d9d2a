"""Long walks read ahead on PostgreSQL, and show what is there when a page is read."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from health_hub.fhir.search.parse import parse
from health_hub.fhir.search.split import split_query
from health_hub.store.model import Change
from health_hub.store.search import ahead, sizes
from health_hub.store.store import Store


def basic(n: int, code: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "id": f"b{n}", "code": {"coding": [{"system": "urn:x", "code": code}]}}


async def test_a_long_walk_repeats_nothing_and_misses_nothing_that_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PAGE", 5)
    monkeypatch.setattr(sizes, "FEW", 10)
    asked: list[int | None] = []
    real = ahead.ahead

    async def spied(*args: Any) -> list[Any] | None:
        rows = await real(*args)
        asked.append(None if rows is None else len(rows))
        return rows

    monkeypatch.setattr("health_hub.store.search.paging.ahead", spied)
    await store.commit([Change("update", "Basic", f"b{n}", basic(n, "yes" if n % 3 else "no")) for n in range(900)])
    if store.database.dialect == "postgresql":
        await store.database.fetch("ANALYZE resource")
    query = parse(("Basic",), split_query(b"code=urn:x|yes&_count=10"), strict=True, zone=ZoneInfo("Asia/Ho_Chi_Minh"))
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = await store.view().search(query, cursor)
        seen += [h.stored.id for h in page.hits]
        cursor, pages = page.cursor, pages + 1
        if pages == 5:  # gone, no longer matching, changed but matching, new
            await store.commit(
                [
                    Change("delete", "Basic", "b301"),
                    Change("update", "Basic", "b302", basic(302, "no")),
                    Change("update", "Basic", "b304", basic(304, "yes")),
                    Change("update", "Basic", "b900", basic(900, "yes")),
                ]
            )
        if cursor is None:
            break
    expected = [f"b{n}" for n in range(900) if n % 3 and n not in (301, 302)] + ["b900"]
    assert seen == expected
    if store.database.dialect == "postgresql":
        assert asked.count(11) > 40
