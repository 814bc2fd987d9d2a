"""How many rows a condition may find: what decides where a statement starts.

PostgreSQL keeps the frequent members of an array column in its statistics: a key that is not among them is rare. SQLite
counts, up to a bound.
"""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from health_hub.store.condition import Condition, Ids, Keys, Ordered, Selves, Source, Updated, conjuncts
from health_hub.store.search.sql import type_key

if TYPE_CHECKING:
    from health_hub.store.search.resolve import World

FEW = 2000  # rows that are sorted faster than an index is walked
_FRESH = 60.0  # seconds that the statistics of a large table stay right
_SOON = 5.0  # of a small one, which a load may multiply meanwhile
_STATISTICS = """
SELECT s.most_common_elems::text::bigint[] AS keys, s.most_common_elem_freqs AS parts, c.reltuples AS n
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = 'keys'
WHERE c.oid = to_regclass('resource')
"""


class Frequent:
    """The keys that many rows carry, with how many."""

    def __init__(self) -> None:
        self.rows: dict[int, float] = {}
        self.until = 0.0


_NONE = Frequent()
_known: "WeakKeyDictionary[Any, Frequent]" = WeakKeyDictionary()


async def frequent(world: "World") -> Frequent:
    """PostgreSQL's statistics, seconds old, or up to a minute for a large table. Without any, every key counts as rare."""
    if world.hurried:
        return _NONE
    found = _known.get(world.reader)
    if found is None:
        found = _known[world.reader] = Frequent()
    now = time.monotonic()
    if now >= found.until:
        found.until = now + _SOON
        rows = await world.fetch(_STATISTICS, ())
        if rows and rows[0][0]:
            keys, parts, n = rows[0]
            found.rows = {k: f * n for k, f in zip(keys, parts, strict=False) if f * n > FEW / 40}
            if n > 1_000_000:
                found.until = now + _FRESH
    return found


def few(parts: Sequence[Condition], frequent: Frequent, types: Sequence[int], limit: int) -> bool:
    """Whether these together find so few rows that fetching all is cheaper than walking an index until `limit` are found.

    Fetching costs as many rows as match, walking `limit` times the rows of the type for each that matches.
    """
    for part in parts:
        if type(part) is Ids or (type(part) is Selves and len(part.selves) <= FEW):
            return True
    keyed = [p for p in parts if type(p) is Keys]
    rows = frequent.rows
    if not keyed:
        return False
    found = [rows.get(p.any[0], 0) if len(p.any) == 1 else sum(rows.get(k, 1) for k in p.any) for p in keyed]
    every = sum(rows.get(type_key(t), 0) for t in types)
    least = min(found)
    if not every:
        return least <= FEW
    together = every
    for n in found:
        together *= min(1.0, n / every)
    # What goes together by chance goes together more often by its meaning.
    together = max(together, least / 20)
    return FEW >= 0 and together <= max(FEW / 20, math.sqrt(limit * every))


async def smallest(source: Source, world: "World") -> tuple[Condition | None, bool]:
    """SQLite: the conjunct to start at, and whether it finds few."""
    parts = conjuncts(source.condition)
    for part in parts:
        if type(part) is Ids or (type(part) is Selves and len(part.selves) <= FEW):
            return None, True  # the row's own indexes
    one_type = len(source.types) == 1
    able = [p for p in parts if (type(p) is Keys and p.any) or (type(p) is Ordered and _ranged(p)) or (type(p) is Updated and one_type)]
    if not able:
        return None, False
    for bound in (FEW // 10, FEW):
        sql = world.sql()
        counts = []
        for part in able:
            if type(part) is Keys:
                inner = f"SELECT 1 FROM key WHERE {sql.among('key', part.any)}"
            elif type(part) is Updated:
                changed = f"x.type = {source.types[0]} AND {sql.tests(part.tests, 'x')}"
                inner = f"SELECT 1 FROM resource x INDEXED BY resource_updated WHERE {changed}"
            else:
                assert type(part) is Ordered
                inner = f"SELECT 1 FROM {part.table} x WHERE {sql.row(part, 'x')}"
            counts.append(f"(SELECT count(*) FROM ({inner} LIMIT {bound + 1}))")
        found = (await world.fetch(f"SELECT {', '.join(counts)}", sql.args))[0]
        n, at = min((n, i) for i, n in enumerate(found))
        if n <= bound:
            return able[at], True
    return able[at], False


def _ranged(part: Ordered) -> bool:
    """Whether an index bounds it: the text inside of others has none, numbers have none on their upper end."""
    columns = ("low", "high") if part.table == "date_key" else ("low", "clow", "v")
    return bool(part.tests) and all(any(c in columns and op not in ("contains", "ends") for c, op, _ in group) for group in part.tests)
