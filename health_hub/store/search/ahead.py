"""Long walks in order of creation: what lies ahead is found once by the key, and every page looks at its own rows again.

On PostgreSQL a page of a walk costs as many rows of the type as lie between its matches. From the third page on, the row
numbers of all that carry the keys are kept for a while (8 bytes each); a page then reads just its rows, under the whole
condition, so that what has changed or gone meanwhile is not shown. Under an access filter, which may leave few of them, it does not pay.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

from health_hub.store.condition import Keys, Source, conjuncts
from health_hub.store.search.resolve import World
from health_hub.store.search.sizes import frequent
from health_hub.store.search.sql import COLUMNS

PAGE = 200  # matches a page from which on it pays
FROM = 2  # pages read in the usual way before
MOST = 300_000  # rows ahead of one walk
WALKS = 8  # kept by a process
SECONDS = 120.0  # that a walk is kept

_R = ", ".join("r." + c for c in COLUMNS.split(", "))
_walks: "WeakKeyDictionary[Any, OrderedDict[Any, tuple[float, array[int]]]]" = WeakKeyDictionary()


async def ahead(source: Source, limit: int, at: int, world: World) -> list[Any] | None:
    """The next `limit` rows behind row number `at`; None where the usual way is as good, and at the end of the walk."""
    keyed = [p.any[0] for p in conjuncts(source.condition) if type(p) is Keys and len(p.any) == 1]
    if world.dialect != "postgresql" or limit <= PAGE or len(source.types) != 1 or not keyed or world.guarded:
        return None
    kept = _walks.setdefault(world.reader, OrderedDict())
    now = time.monotonic()
    until, rids = kept.get(source, (0.0, array("q")))
    if until < now:
        rows = (await frequent(world)).rows
        if not 10 * limit < min(rows.get(k, 0) for k in keyed) < MOST:
            return None
        sql = world.sql()
        inner = f"SELECT r.rid FROM resource r WHERE r.keys @> {sql.array(keyed)} OFFSET 0"
        found = await world.fetch(f"SELECT array_agg(x.rid) FROM ({inner}) x WHERE x.rid > {sql.value(at)}", sql.args)
        rids = array("q", sorted(found[0][0] or ()))
        kept[source] = now + SECONDS, rids
        while len(kept) > WALKS:
            kept.popitem(last=False)
    start = bisect_right(rids, at)
    out: list[Any] = []
    while len(out) < limit:
        part = rids[start : start + limit - len(out)]
        if len(part) < limit - len(out):
            kept.pop(source, None)  # near its end: what was created since lies behind it
            return None
        sql = world.sql()
        where = f"r.rid = ANY ({sql.array(part.tolist())}) AND {sql.visible('r', source.types, source.condition)}"
        out += await world.fetch(f"SELECT {_R} FROM resource r WHERE {where} ORDER BY r.rid", sql.args)
        start += len(part)
    return out
