"""Search keys made anew from the documents, while the hub goes on working; and the check that they agree."""

from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fhir_profiles.tables import type_name, type_number
from health_hub.fhir import index, keys, relations
from health_hub.fhir.json import loads
from health_hub.store.access import persons_of
from health_hub.store.prepare import belonging, lend, rows_of
from health_hub.store.write import ORDERED, ordered_rows, reindex

CHUNK = 200


def _m(store: Any) -> str:
    return "?" if store.database.dialect == "sqlite" else "$"


def fingerprint() -> str:
    """Changes with everything that rows are derived by: a database with another one is rebuilt."""
    return f"{index.fingerprint()} {relations.durations()}"


async def count(store: Any, types: Sequence[str] = ()) -> int:
    """How many resources `rebuild` will visit."""
    where = f" AND type IN ({', '.join(str(type_number(t)) for t in types)})" if types else ""
    return int((await store.database.fetch(f"SELECT count(*) FROM resource WHERE NOT deleted{where}"))[0][0])


async def rebuild(store: Any, types: Sequence[str] = (), progress: Callable[[int], None] = lambda n: None, after: int = 0) -> int:
    """Extracts the keys of every resource (of `types`) again; `progress` gets the numbers done. Can be repeated and interrupted."""
    where = f" AND type IN ({', '.join(str(type_number(t)) for t in types)})" if types else ""
    m, lock, done = _m(store), "" if store.database.dialect == "sqlite" else " FOR UPDATE", 0
    while True:
        async with store.database.transaction() as t:
            rows = await t.fetch(
                "SELECT rid, doc, type, owner, author, updated, lent FROM resource "
                f"WHERE rid > {m}1 AND NOT deleted{where} ORDER BY rid LIMIT {CHUNK}{lock}",
                (after,),
            )
            if rows:
                await reindex(t, [(r[0], _rows(*r[1:])) for r in rows])
        if not rows:
            break
        after, done = rows[-1][0], done + len(rows)
        progress(len(rows))
    if not types:
        await store.put_setting("index", fingerprint())
        store.stale_index = False
    return done


def _rows(doc: bytes, number: int, owner: str | None, author: str | None, updated: int, lent: int | None) -> index.Rows:
    """All that is derived from a current version and whose it is."""
    resource = loads(doc)
    rows = rows_of(resource, doc)
    belonging(type_name(number), resource, rows, owner, author, updated)
    lend(rows, lent)
    return rows


def _have(row: Any) -> list[int]:
    return list(array("q", row or b"")) if isinstance(row, bytes | type(None)) else list(row)


async def check(store: Any, progress: Callable[[int], None] = lambda n: None) -> AsyncIterator[str]:
    """Every disagreement between documents, versions and search keys, one sentence each. Nothing: all is consistent."""
    db, m, after = store.database, _m(store), 0
    sqlite = db.dialect == "sqlite"
    while True:
        rows = await db.fetch(
            "SELECT rid, type, id, version, deleted, doc, keys, self, owner, author, updated, sensitive, persons, lent FROM resource "
            f"WHERE rid > {m}1 ORDER BY rid LIMIT {CHUNK}",
            (after,),
        )
        if not rows:
            break
        first, after = rows[0][0], rows[-1][0]
        ordered: dict[int, dict[str, list[Any]]] = {}
        for table, columns in ORDERED.items():
            for row in await db.fetch(f"SELECT {', '.join(columns)} FROM {table} WHERE rid BETWEEN {m}1 AND {m}2", (first, after)):
                ordered.setdefault(row[columns.index("rid")], {}).setdefault(table, []).append(tuple(row))
        versions: dict[int, set[int]] = {}
        for rid, version in await db.fetch(f"SELECT rid, version FROM history WHERE rid BETWEEN {m}1 AND {m}2", (first, after)):
            versions.setdefault(rid, set()).add(version)
        for row in rows:
            for problem in _problems(row, ordered.pop(row[0], {}), versions.pop(row[0], set())):
                yield f"{type_name(row[1])}/{row[2]}: {problem}"
            if sqlite:
                have = {
                    r[0]
                    for r in await db.fetch(
                        "SELECT key FROM key WHERE rid = ?1 AND key IN (SELECT value FROM json_each(?2))", (row[0], str(_have(row[6])))
                    )
                }
                if have != set(_have(row[6])):
                    yield f"{type_name(row[1])}/{row[2]}: keys are missing from the key table"
        for rid in ordered.keys() | versions.keys():
            yield f"row {rid}: search keys or versions of a resource that is not there"
        progress(len(rows))
    if sqlite:
        stored = (await db.fetch("SELECT count(*) FROM key"))[0][0]
        packed = (await db.fetch("SELECT coalesce(sum(length(keys)), 0) / 8 FROM resource"))[0][0]
        if stored != packed:
            yield f"the key table has {stored} rows, the resources have {packed} keys"


def _problems(row: Any, ordered: dict[str, list[Any]], versions: set[int]) -> list[str]:
    rid, number, id, version, deleted, doc, have, self, owner, author, updated, sensitive, persons, lent = row
    out = []
    if versions != set(range(1, version)):
        out.append(f"version {version} follows the versions {sorted(versions)[:20]}")
    if self != keys.reference(f"{type_name(number)}/{id}"):
        out.append("its own reference key is wrong")
    if deleted:
        if doc is not None or _have(have) or ordered:
            out.append("deleted, and yet has a document or search keys")
        return out
    resource = loads(doc)
    if (resource.get("resourceType"), resource.get("id"), resource.get("meta", {}).get("versionId")) != (
        type_name(number),
        id,
        str(version),
    ):
        out.append("the document names another type, id or version")
    rows = _rows(doc, number, owner, author, updated, lent)
    if (rows.sensitive, rows.persons) != (sensitive, persons_of(persons) if isinstance(persons, str) else list(persons or ())):
        out.append("its labels or patients differ from those of the document")
    if sorted(rows.keys) != sorted(_have(have)):
        out.append("the search keys differ from those of the document")
    for table, want in ordered_rows(rid, rows).items():
        if sorted(want) != sorted(ordered.get(table, [])):
            out.append(f"its rows in {table} differ from those of the document")
    return out
