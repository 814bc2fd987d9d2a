"""Search: a Query becomes SQL, and rows become a page (R4 search.html).

`search`, `count` and `find` are called by the View with its reader and filter. On the way: values.py says what a value
means for the row of a resource (condition.py), resolve.py asks other resources first where a condition speaks of them,
paging.py chooses the statement, sql.py writes it and puts the filter into every access to a resource.
"""

from collections.abc import Sequence
from typing import Any

from fhir_profiles.tables import type_number
from health_hub.fhir.index import Direct
from health_hub.fhir.outcome import Issue, bad_request
from health_hub.fhir.search.query import NearValue, Query, Test
from health_hub.store.commit import stored
from health_hub.store.condition import NOTHING, Keys, Source, all_, conjuncts
from health_hub.store.model import Filter, Hit, SearchPage
from health_hub.store.search.include import INCLUDED, ROUNDS, included
from health_hub.store.search.order import sort_keys
from health_hub.store.search.paging import page
from health_hub.store.search.resolve import World, conditions
from health_hub.store.search.total import total
from health_hub.store.search.values import plans

__all__ = ["count", "find", "search"]

COUNT = 20  # matches a page when the client does not say


async def search(reader: Any, query: Query, filter: Filter, cursor: Any | None = None, *, timeout: float | None = None) -> SearchPage:
    """One page: matches, then what they include; `cursor` is that of the page before."""
    world = await World.open(reader, filter, timeout)
    source = await _source(query, world)
    if query.summary == "count" or query.count == 0:
        return SearchPage([], None, await total(source, world))
    found = await page(source, sort_keys(query.sort, query.types), query.count or COUNT, cursor, world)
    n: int | None = None
    if cursor:
        n = cursor.get("t")
    elif found.cursor is None:
        n = len(found.rows)  # known for free
    elif query.total in ("accurate", "estimate"):
        n = await total(source, world)
    if found.cursor is not None and n is not None:
        found.cursor["t"] = n
    places = [v for node in query.where if isinstance(node, Test) for v in node.values if isinstance(v, NearValue)]
    far = await _distances(found.rows, query, places, world) if places else {}
    hits = [Hit(stored(row), "match", far.get(row[0])) for row in found.rows]
    result = SearchPage(hits, found.cursor, None if query.total == "none" else n)
    if query.includes and found.rows:
        rows, cut = await included(found.rows, query.includes, world)
        hits += [Hit(stored(row), "include") for row in rows]
        if cut:
            why = f"what is included ends at {INCLUDED} resources and {ROUNDS} rounds of :iterate; there is more"
            result.issues = (Issue("too-costly", why, (), "warning"),)
    return result


async def count(reader: Any, query: Query, filter: Filter, *, timeout: float | None = None) -> int:
    """How many match."""
    world = await World.open(reader, filter, timeout)
    return await total(await _source(query, world), world)


async def find(reader: Any, queries: Sequence[Query], filter: Filter, limit: int = 2, *, timeout: float | None = None) -> list[list[str]]:
    """Ids that match each query, the oldest `limit`. Those by keys alone go together in one statement."""
    world = await World.open(reader, filter, timeout, hurried=True)
    out: list[list[str]] = [[] for _ in queries]
    together: dict[tuple[tuple[int, ...], int], list[tuple[int, tuple[int, ...]]]] = {}
    for n, query in enumerate(queries):
        source = await _source(query, world)
        if source.condition == NOTHING:
            continue
        keys = [p.any[0] for p in conjuncts(source.condition) if type(p) is Keys and len(p.any) == 1]
        if keys and len(keys) == len(conjuncts(source.condition)) and world.dialect == "postgresql":
            together.setdefault((source.types if world.guarded else (), len(keys)), []).append((n, tuple(keys)))
        else:
            out[n] = [row[2] for row in (await page(source, (), limit, None, world)).rows]
    for (types, width), asked in together.items():
        sql = world.sql()
        names = [f"k{i}" for i in range(width)]
        arrays = ", ".join(sql.array([keys[i] for _, keys in asked]) for i in range(width))
        every = ", ".join("q." + k for k in names)
        seen = "".join(f" AND {c}" for c in sql.seen("r", types))
        # OFFSET 0: the keys first, whatever the planner thinks of walking in order until enough is found.
        one = f"SELECT r.id, r.rid FROM resource r WHERE r.keys @> ARRAY[{every}]{seen} OFFSET 0"
        rows = await world.fetch(
            f"SELECT q.n, x.id FROM unnest({arrays}) WITH ORDINALITY AS q({', '.join(names)}, n) "
            f"CROSS JOIN LATERAL (SELECT y.id, y.rid FROM ({one}) y ORDER BY y.rid LIMIT {int(limit)}) x ORDER BY q.n, x.rid",
            sql.args,
        )
        for place, identity in rows:
            out[asked[place - 1][0]].append(identity)
    return out


async def _source(query: Query, world: World) -> Source:
    if query.contained != "false":
        raise bad_request(
            "parameter _contained: contained resources are not searched for themselves here, only false is supported", "not-supported"
        )
    types = tuple(map(type_number, query.types))
    # The filter stands among the conditions, so that the choice of a statement knows of it.
    return Source(types, all_((await conditions(query.where, query.types, world), world.seen(types))))


async def _distances(rows: Sequence[Any], query: Query, places: Sequence[NearValue], world: World) -> dict[int, float]:
    """Kilometres from the nearest of the places, by rid."""
    if not rows:
        return {}
    ps = [plan.p for _, plan in plans(query.types, "near") if isinstance(plan, Direct)]
    far: dict[int, float] = {}
    for place in places if ps else ():
        sql = world.sql()
        where = f"{sql.among('n.rid', [r[0] for r in rows])} AND {sql.among('n.p', ps)}"
        for rid, km in await world.fetch(f"SELECT n.rid, {sql.distance('n', place)} FROM position_key n WHERE {where}", sql.args):
            far[rid] = min(km, far.get(rid, km))
    return far
