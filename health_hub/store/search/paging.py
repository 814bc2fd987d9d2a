"""One page of matches: which statement finds it fastest, and where the next page goes on.

Shapes. small: few rows by some key: they are fetched and sorted. walk: an index is walked in the order asked for, each row
tested, until the page is full; rows without a value come after. words: a search of one string goes by what it finds.
ranges: one by ordered values goes along their index.
Without `_sort` all others are in order of creation (rid), which no change of a resource can disturb. In any other order the
pages after the first show every resource where it stood when the first page was read (its place then is found in its
history), so that nothing is shown twice or passed over while others write.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_profiles.number import Number
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.store.condition import NOTHING, Condition, Ids, Keys, Not_, OfType, Ordered, Selves, Source, all_, conjuncts
from health_hub.store.search.ahead import FROM, ahead
from health_hub.store.search.order import Position, SortKey, after, compare, order_by, placed, position
from health_hub.store.search.ranges import Range, range_sql, ranged
from health_hub.store.search.resolve import World
from health_hub.store.search.sizes import few, frequent, smallest
from health_hub.store.search.sql import COLUMNS, HEAD, Sql, prefix_range, type_key

DOCUMENTS = 10_000  # that are sorted by what only they say
WIDTH = len(COLUMNS.split(", "))
_R = ", ".join("r." + c for c in COLUMNS.split(", "))
_X = ", ".join("x." + c for c in COLUMNS.split(", "))


@dataclass(slots=True)
class Page:
    """Rows (COLUMNS first) in order; `cursor` None on the last page."""

    rows: Sequence[Any]
    cursor: dict[str, Any] | None = None


async def page(source: Source, keys: tuple[SortKey, ...], count: int, cursor: dict[str, Any] | None, world: World) -> Page:
    """At most `count` matches after the cursor."""
    if source.condition == NOTHING:
        return Page([])
    at = _position(cursor)
    words = along = None
    way = cursor.get("o") if cursor else None  # that of the first page, whatever statistics say since
    if not keys and (cursor is None or way == "v"):
        words = await _words(source, world, again=way is not None)
        if words is not None:
            keys = (SortKey("string_key", "v", words.ps, False, prefix=words.tests[0][0][2]),)
    if not keys and (cursor is None or way == "r"):
        along = await ranged(source, count, world, again=way is not None)
        if along is not None:
            keys = (along.key,)
    if any(k.param is not None for k in keys):
        return await by_document(source, keys, count, cursor, world)
    if not keys:
        return await _by_creation(source, count, at, cursor.get("n", 1) if cursor else 0, world)
    moment: list[Any] | None = cursor.get("s") if cursor else None
    stable = all(k.own and k.column == "id" for k in keys)
    if words is not None:
        sql = _words_sql(source, words, count + 1, at, moment, world)
    elif along is not None:
        sql = _range_sql(source, along, count + 1, at, moment, world)
    else:
        sql = await _sorted_sql(source, keys, count + 1, at, moment if not stable else None, world)
    # No value: past all that the index holds, only what did not fit at the moment is left.
    ended = at is not None and at[0][0] is None and (words is not None or along is not None)
    rows = [] if ended else await world.fetch(sql[0], sql[1].args)
    if moment is None and rows:
        moment = _moment(rows[0][-1], world)
    width = len(keys)
    found: list[tuple[Position, Any]] = [((tuple(r[WIDTH : WIDTH + width]), r[0]), r) for r in rows]
    more = len(found) > count
    if cursor and not stable and moment is not None:
        last = found[-1][0] if more else None
        found += [(p, r) for p, r in await _moved(source, keys, moment, world) if _between(keys, at, p, last)]
    found.sort(key=lambda f: placed(keys)(f[0]))
    # A resource with two texts that differ beyond the indexed part comes twice.
    unique = list({f[1][0]: f for f in reversed(found)}.values())[::-1]
    more = more or len(unique) > count
    kept = unique[:count]
    if not more or not kept:
        return Page([r for _, r in kept])
    (values, rid), _ = kept[-1]
    out: dict[str, Any] = {"k": list(values), "r": rid, "s": moment}
    if words is not None or along is not None:
        out["o"] = "v" if words is not None else "r"
    return Page([r for _, r in kept], out)


def _position(cursor: dict[str, Any] | None) -> Position | None:
    """Where the last page ended. Numbers that come out of a link are texts of numbers."""
    return (tuple(float(v) if type(v) is Number else v for v in cursor["k"]), cursor["r"]) if cursor else None


def _between(keys: Sequence[SortKey], low: Position | None, p: Position, high: Position | None) -> bool:
    return (low is None or compare(keys, p, low) > 0) and (high is None or compare(keys, p, high) < 0)


# In order of creation


async def _by_creation(source: Source, count: int, at: Position | None, read: int, world: World) -> Page:
    rows = await ahead(source, count + 1, at[1], world) if at is not None and read >= FROM else None
    if rows is None:
        rows = await _next_by_creation(source, count + 1, at, world)
    if len(rows) <= count:
        return Page(rows)
    return Page(rows[:count], {"k": [], "r": rows[count - 1][0], "n": read + 1})


async def _next_by_creation(source: Source, limit: int, at: Position | None, world: World) -> list[Any]:
    sql, text = await small_or_walk(source, limit, world)
    # On SQLite the column that is read in order: the key's own where the statement starts at a key.
    rid = "d_r.rid" if " d_r " in text else "r.rid"
    if at is not None:
        text += f" AND {rid} > {sql.value(at[1])}"
    # `type = ANY` with the type in the order: only the index (type, rid) can serve that. Otherwise the planner walks the
    # primary key from its beginning, past all rows of other types.
    order = "r.type, r.rid" if "r.type = ANY " in text and len(source.types) == 1 else rid
    return await world.fetch(f"SELECT {_R} {text} ORDER BY {order} LIMIT {limit}", sql.args)


async def small_or_walk(source: Source, limit: int, world: World) -> tuple[Sql, str]:
    """FROM and WHERE (alias r) of the matches, so that asking for them by rid is fast."""
    if world.dialect == "sqlite":
        sql = world.sql()
        parts = conjuncts(source.condition)
        # One key alone needs no counting: it is in the order of rid.
        by, little = (
            (parts[0], False) if len(parts) == 1 and type(parts[0]) is Keys and len(parts[0].any) == 1 else await smallest(source, world)
        )
        if by is not None and not little and not (type(by) is Keys and len(by.any) == 1):
            by = None
        if by is None and not little:
            by = Keys((type_key(source.types[0]),)) if len(source.types) == 1 else None
        return sql, sql.from_where(source, by, "r")
    fenced = await _fenced(source, limit, world)
    if fenced is not None:
        return fenced
    sql = world.sql(literal=True)
    text = f"FROM resource r WHERE {sql.visible('r', source.types, source.condition)}"
    if len(source.types) == 1 and "r.type = ANY" not in text:
        text += f" AND {sql.condition(OfType(source.types), 'r')}"
    return sql, text


async def _fenced(source: Source, limit: int, world: World) -> tuple[Sql, str] | None:
    """PostgreSQL: few rows by their keys first, whatever the planner thinks; the same text always, planned once."""
    parts = conjuncts(source.condition)
    if not few(parts, await frequent(world), source.types, limit):
        return None
    sql = world.sql()
    first = tuple(p for p in parts if type(p) is Keys)
    rest = tuple(p for p in parts if type(p) is not Keys)
    if any(type(p) is Ids or type(p) is Selves for p in rest):
        return sql, f"FROM resource r WHERE {sql.visible('r', source.types, source.condition)}"
    single = [p.any[0] for p in first if len(p.any) == 1]
    inner = [f"r.keys @> {sql.array(single)}"] if single else []
    inner += [sql.condition(p, "r") for p in first if len(p.any) != 1]
    sql.row_by_row = True
    outer = [sql.condition(p, "r") for p in rest] + sql.seen("r", source.types, have=parts)
    return sql, f"FROM (SELECT * FROM resource r WHERE {' AND '.join(inner)} OFFSET 0) r WHERE {' AND '.join(outer) or 'true'}"


# Sorted


async def _sorted_sql(
    source: Source, keys: tuple[SortKey, ...], limit: int, at: Position | None, moment: list[Any] | None, world: World
) -> tuple[str, Sql]:
    names = [f"k{i}" for i in range(len(keys))]
    small = await _small(source, limit, world)
    if small is None and (len(keys[0].ps) == 1 or keys[0].own):
        return _walk_sql(source, keys, limit, at, moment, world)
    sql, text = small or await small_or_walk(source, limit, world)
    if moment is not None:
        text += " AND " + _then(sql, "r", moment)
    columns = "".join(f", {k.expression(sql, 'r', 'r.rid')} AS {n}" for k, n in zip(keys, names, strict=True))
    inner = f"SELECT {_R}{columns} {text}"
    where = f" WHERE {after(sql, keys, ['x.' + n for n in names], 'x.rid', at)}" if at is not None else ""
    order = order_by(keys, ["x." + n for n in names], "x.rid")
    # The documents of what is sorted away are never looked at: on PostgreSQL the row is only referred to.
    return f"SELECT {_X}{''.join(', x.' + n for n in names)}{_now(world)} FROM ({inner}) x{where} {order} LIMIT {limit}", sql


async def _small(source: Source, limit: int, world: World) -> tuple[Sql, str] | None:
    if world.dialect == "postgresql":
        return await _fenced(source, limit, world)
    by, little = await smallest(source, world)
    if not little:
        return None
    sql = world.sql()
    return sql, sql.from_where(source, by, "r")


def _walk_sql(
    source: Source, keys: tuple[SortKey, ...], limit: int, at: Position | None, moment: list[Any] | None, world: World
) -> tuple[str, Sql]:
    """Rows with a value for the first key in the order of its index, then those without."""
    sql = world.sql(literal=True)
    first, names = keys[0], [f"k{i}" for i in range(len(keys))]
    direction = "DESC" if first.descending else "ASC"
    out = []
    if at is None or at[0][0] is not None:
        if first.own:
            start, value, rid = "resource r", f"r.{first.column}", "r.rid"
            if sql.sqlite and first.column == "updated":
                start += " INDEXED BY resource_updated" if len(source.types) == 1 else " INDEXED BY resource_time"
            where = [sql.visible("r", source.types, source.condition)]
            if len(source.types) == 1:
                where.append(f"r.type = {source.types[0]}")
        else:
            join = "CROSS JOIN resource r ON" if sql.sqlite else "JOIN resource r ON"
            start, value, rid = f"{first.table} s {join} r.rid = s.rid", first.name("s"), "s.rid"
            where = [
                f"{sql.among('s.p', first.ps)} AND (s.flags & {first.bit}) <> 0",
                sql.visible("r", source.types, source.condition, "s.rid"),
            ]
        if at is not None:
            a, b = sql.value(at[0][0]), sql.value(at[1])
            sign = "<" if first.descending else ">"
            if len(keys) == 1:
                where.append(f"({value}, {rid}) {sign} ({a}, {b})")
            else:
                where.append(f"{value} {sign}= {a}")
        if moment is not None:
            where.append(_then(sql, "r", moment))
        others = "".join(f", {k.expression(sql, 'r', rid)} AS {n}" for k, n in zip(keys[1:], names[1:], strict=True))
        inner = f"SELECT {_R}, {value} AS k0{others} FROM {start} WHERE {' AND '.join(where)}"
        if len(keys) == 1:
            out.append(f"{inner} ORDER BY {value} {direction}, {rid} {direction} LIMIT {limit}")
        else:
            beyond = f" WHERE {after(sql, keys, ['x.' + n for n in names], 'x.rid', at)}" if at is not None else ""
            tail = (
                order_by(keys, ["x." + n for n in names], "x.rid")
                .replace("x.k0 DESC NULLS LAST", "x.k0 DESC", 1)
                .replace("x.k0 ASC NULLS LAST", "x.k0 ASC", 1)
            )
            out.append(f"SELECT x.* FROM ({inner}) x{beyond} {tail} LIMIT {limit}")
    if not first.own:
        without = Source(source.types, _and(source.condition, Not_(Ordered(first.table or "date_key", first.ps, ((),)))))
        by = None
        if sql.sqlite:
            keyed = [p for p in conjuncts(source.condition) if type(p) is Keys and len(p.any) == 1]
            by = keyed[0] if keyed else Keys((type_key(source.types[0]),)) if len(source.types) == 1 else None
        text = sql.from_where(without, by, "r")
        if moment is not None:
            text += " AND " + _then(sql, "r", moment)
        others = "".join(f", {k.expression(sql, 'r', 'r.rid')} AS {n}" for k, n in zip(keys[1:], names[1:], strict=True))
        empty = (
            "NULL"
            if sql.sqlite
            else {"string_key": "NULL::text", "date_key": "NULL::bigint"}.get(first.table or "", "NULL::double precision")
        )
        inner = f"SELECT {_R}, {empty} AS k0{others} {text}"
        here = at if at is not None and at[0][0] is None else None
        rest: Position | None = (here[0][1:], here[1]) if here else None
        turned = [SortKey(None, "", (), first.descending), *keys[1:]]
        beyond = ""
        if rest is not None:
            down = first.descending
            beyond = f" WHERE {after(sql, keys[1:], ['x.' + n for n in names[1:]], 'x.rid', rest, down=down)}"
        tail = (
            order_by(turned, ["x." + n for n in names], "x.rid")
            .replace("x.k0 DESC NULLS LAST, ", "", 1)
            .replace("x.k0 ASC NULLS LAST, ", "", 1)
        )
        out.append(f"SELECT x.* FROM ({inner}) x{beyond} {tail} LIMIT {limit}")
    body = out[0] if len(out) == 1 else f"SELECT * FROM ({out[0]}) p0 UNION ALL SELECT * FROM ({out[1]}) p1"
    return f"SELECT x.*{_now(world)} FROM ({body}) x LIMIT {limit}", sql


def _and(condition: Condition, more: Condition) -> Condition:
    return all_((condition, more))


# By what a string search finds


async def _words(source: Source, world: World, *, again: bool) -> Ordered | None:
    """The one string a search goes by: a prefix, beside nothing that finds fewer rows."""
    parts = conjuncts(source.condition)
    found = [p for p in parts if type(p) is Ordered and p.table == "string_key" and len(p.ps) == 1]
    if len(found) != 1 or len(found[0].tests) != 1 or len(found[0].tests[0]) != 1 or found[0].tests[0][0][1] != "prefix":
        return None
    others = [p for p in parts if p is not found[0]]
    if any(type(p) is not Keys for p in others):
        return None
    if others and not again:
        counts = await frequent(world) if world.dialect == "postgresql" else None
        if counts is None or few(others, counts, source.types, 20):
            return None
    return found[0]


def _words_sql(source: Source, words: Ordered, limit: int, at: Position | None, moment: list[Any] | None, world: World) -> tuple[str, Sql]:
    """Rows of the index of strings in its order; a resource stands at the first of its texts that fits."""
    sql = world.sql()
    text: str = words.tests[0][0][2]
    low, high = prefix_range(text)
    lower, p = sql.value(low), sql.value(words.ps[0])
    value = f"substr(s.v, 1, {HEAD})"
    where = [f"s.p = {p}", f"{value} >= {lower}"]
    if high is not None:
        where.append(f"{value} < {sql.value(high)}")
    if len(text) > HEAD:
        where.append(f"substr(s.v, 1, {len(text)}) = {sql.value(text)}")
    if at is not None:
        where.append(f"({value}, s.rid) > ({sql.value(at[0][0])}, {sql.value(at[1])})")
    before = f"e.rid = s.rid AND e.p = {p} AND substr(e.v, 1, {HEAD}) >= {lower} AND substr(e.v, 1, {HEAD}) < {value}"
    where.append(f"NOT EXISTS (SELECT 1 FROM {sql.by_rid('string_key', 'e')} WHERE {before})")
    where.append(sql.visible("r", source.types, source.condition, "s.rid", given=words))
    if moment is not None:
        where.append(_then(sql, "r", moment))
    join = "CROSS JOIN resource r ON" if sql.sqlite else "JOIN resource r ON"
    body = f"SELECT {_R}, {value} AS k0 FROM string_key s {join} r.rid = s.rid WHERE {' AND '.join(where)}"
    body += f" ORDER BY {value}, s.rid LIMIT {limit}"
    return f"SELECT x.*{_now(world)} FROM ({body}) x", sql


def _range_sql(source: Source, along: Range, limit: int, at: Position | None, moment: list[Any] | None, world: World) -> tuple[str, Sql]:
    sql = world.sql(literal=True)
    body = range_sql(sql, source, along, at, _R, _then(sql, "r", moment) if moment is not None else "", limit)
    return f"SELECT x.*{_now(world)} FROM ({body}) x", sql


# By what only documents say


async def by_document(source: Source, keys: tuple[SortKey, ...], count: int, cursor: dict[str, Any] | None, world: World) -> Page:
    """Tokens and references are stored as hashes, so their order is found in the documents: of a bounded number."""
    sql, text = await small_or_walk(source, DOCUMENTS, world)
    if cursor:
        text += f" AND {_then(sql, 'r', cursor['s'])}"
    rows = await world.fetch(f"SELECT {_R}{_now(world)} {text} LIMIT {DOCUMENTS + 1}", sql.args)
    if len(rows) > DOCUMENTS:
        names = ", ".join(k.param.code for k in keys if k.param is not None)
        raise FhirError(403, Issue("too-costly", f"sorting by {names} is for at most {DOCUMENTS} matches; narrow the search"))
    moment = cursor["s"] if cursor else _moment(rows[0][-1], world) if rows else []
    found = await _moved(source, keys, moment, world) if cursor else []
    for n, r in enumerate(rows):
        if n % 200 == 199:
            await asyncio.sleep(0)  # others want to be served meanwhile
        found.append((position(keys, r[7], r[4], r[2], r[0]), r))
    at = _position(cursor)
    found = [f for f in found if _between(keys, at, f[0], None)]
    place = placed(keys)
    found.sort(key=lambda f: place(f[0]))
    kept = found[:count]
    if len(found) <= count or not kept:
        return Page([r for _, r in kept])
    return Page([r for _, r in kept], {"k": list(kept[-1][0][0]), "r": kept[-1][0][1], "s": moment})


# The moment of the first page


def _now(world: World) -> str:
    if world.dialect == "sqlite":
        return ", (SELECT CAST(value AS integer) FROM setting WHERE name = 'seq')"
    return ", (SELECT pg_current_snapshot()::text)"


def _moment(text: Any, world: World) -> list[Any]:
    """PostgreSQL: [xmin, xmax, those between that were still running]; SQLite: [number of the last commit]."""
    if world.dialect == "sqlite":
        return [text or 0]
    low, high, running = str(text).split(":")
    return [int(low), int(high), [int(x) for x in running.split(",") if x]]


def _then(sql: Sql, row: str, moment: list[Any]) -> str:
    """The version was there at that moment."""
    if sql.sqlite:
        return f"{row}.seq <= {sql.value(moment[0])}"
    low, high, running = moment
    if not running:
        return f"{row}.seq < {sql.value(high)}"
    return f"({row}.seq < {sql.value(low)} OR ({row}.seq < {sql.value(high)} AND {row}.seq <> ALL ({sql.array(running)})))"


async def _moved(source: Source, keys: tuple[SortKey, ...], moment: list[Any], world: World) -> list[tuple[Position, Any]]:
    """Matches that have changed since the moment, where they stood at it."""
    sql = world.sql(literal=True)
    first = sql.value(moment[0])
    changed = f"r.version > 1 AND r.seq {'>' if sql.sqlite else '>='} {first} AND NOT ({_then(sql, 'r', moment)})"
    visible = sql.visible("r", source.types, source.condition)
    old = f"h.rid = r.rid AND h.version = (SELECT max(o.version) FROM history o WHERE o.rid = r.rid AND {_then(sql, 'o', moment)})"
    # SQLite would take the index on the type, and go through all of it for every page.
    start = "resource r INDEXED BY resource_changed CROSS JOIN" if sql.sqlite else "resource r JOIN"
    rows = await world.fetch(
        f"SELECT {_R}, h.doc, h.updated FROM {start} history h ON {old} WHERE {changed} AND NOT h.deleted AND {visible}", sql.args
    )
    return [(position(keys, r[WIDTH], r[WIDTH + 1], r[2], r[0]), r) for r in rows]
