"""An unsorted search by ordered values goes along their index: a page is found where it begins, however many rows match.

Dates of one bound go by that end of theirs: both ends have an index. What needs a lower bound on the upper end together
with an upper bound on the lower one (`ge` with `le`, `ap`; of numbers, which have an index on `low` alone, also `gt`) goes
by `low`: narrow rows, as almost all are, lie a step around the range, and the wide ones have a small index of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_profiles.tables import type_name
from health_hub.fhir import index
from health_hub.store.condition import Atom, Condition, Keys, Not_, Ordered, Source, Table, Tests, all_, conjuncts
from health_hub.store.search import sizes
from health_hub.store.search.order import Position, SortKey
from health_hub.store.search.resolve import World
from health_hub.store.search.sizes import few, frequent
from health_hub.store.search.sql import Sql

NARROW = 86_400_000_000  # microseconds: an instant or a day
# Whether a row is wide, 1 or 0. The condition of the indexes `*_wide` (schema.py) says `= 1`, word for word: a cast,
# because PostgreSQL takes such an equation to be met seldom, but a bare comparison of two columns by every third row.
_WIDE: dict[str, str] = {
    "date_key": f"CAST(s.high - s.low > {NARROW} AS integer)",
    "number_key": "CAST(s.high <> s.low AS integer)",
    "quantity_key": "CAST(s.high <> s.low AS integer)",
}
_ABOVE, _BELOW = (">", ">="), ("<", "<=")
_BOTH = index.SMALLEST | index.LARGEST


@dataclass(frozen=True, slots=True)
class Range:
    """Rows of `table` under `p` that meet every one of `tests`, in the order of `column`, which lies in [low, high].

    parts: the conjuncts this sees to. canon: the one unit, where the column is of canonical quantities. split: narrow rows
    lie within the bounds, wide ones may lie anywhere. once: a resource has one row at most.
    """

    table: Table
    p: int
    column: str
    tests: tuple[Tests, ...]
    parts: tuple[Ordered, ...]
    low: int | float | None
    high: int | float | None
    canon: int | None = None
    split: bool = False
    once: bool = False

    @property
    def key(self) -> SortKey:
        return SortKey(self.table, self.column, (self.p,), False, met=self.tests)


async def ranged(source: Source, limit: int, world: World, *, again: bool) -> Range | None:
    """How the index is walked; None where another condition finds fewer rows. again: the first page went this way."""
    found = range_of(source)
    if found is None:
        return None
    others = [p for p in conjuncts(source.condition) if p not in found.parts]
    if any(type(p.part if type(p) is Not_ else p) is not Keys for p in others):
        return None
    keyed: list[Condition] = [p for p in others if type(p) is Keys]
    if again:
        return found
    if world.dialect == "sqlite":
        return None if keyed and await _rare(keyed, world) else found
    return None if keyed and few(keyed, await frequent(world), source.types, limit) else found


async def _rare(keyed: Sequence[Condition], world: World) -> bool:
    """SQLite: whether one of the keys has so few rows that going through them is fast."""
    sql, bound = world.sql(), 10 * sizes.FEW
    counts = [
        f"(SELECT count(*) FROM (SELECT 1 FROM key WHERE {sql.among('key', k.any)} LIMIT {max(bound, 0) + 1}))"
        for k in keyed
        if type(k) is Keys and k.any
    ]
    return bool(counts) and min((await world.fetch(f"SELECT {', '.join(counts)}", sql.args))[0]) <= bound


def range_of(source: Source) -> Range | None:
    """The one range that the ordered conditions of a search are."""
    parts = tuple(p for p in conjuncts(source.condition) if type(p) is Ordered)
    if not parts or len({(p.table, p.ps) for p in parts}) > 1 or len(parts[0].ps) != 1 or not all(_connected(p.tests) for p in parts):
        return None
    table, p = parts[0].table, parts[0].ps[0]
    if table == "string_key":
        return None
    once = len(source.types) == 1 and p in index.single(type_name(source.types[0]))
    if len(parts) > 1 and not once:
        return None  # each may be met by another value of the same resource
    units = {_unit(part.tests) for part in parts}
    if len(units) > 1:
        return None
    canon = units.pop()
    tests = tuple(part.tests for part in parts)
    lower, upper = ("low", "high") if canon is None else ("clow", "chigh")
    a, b = _bound(tests, lower, _ABOVE), _bound(tests, lower, _BELOW)
    c, d = _bound(tests, upper, _ABOVE), _bound(tests, upper, _BELOW)
    if table == "date_key":
        if a is None and b is None and (c is not None or d is not None):
            return Range(table, p, upper, tests, parts, c, d, once=once)
        if a is None and c is not None:
            return Range(table, p, lower, tests, parts, c - NARROW, b, split=True, once=once)
    elif (a is None and c is not None) or (b is None and d is not None):
        below = [x for x in (b, d) if x is not None]
        return Range(table, p, lower, tests, parts, c if a is None else a, min(below, default=None), canon, split=True, once=once)
    return Range(table, p, lower, tests, parts, a, b, canon, once=once)


def _shared(tests: Tests) -> list[Atom]:
    return [atom for atom in tests[0] if all(atom in group for group in tests)] if tests else []


def _connected(tests: Tests) -> bool:
    """Whether what the groups find lies together: not so for several values with nothing between them."""
    if not tests or not all(tests):
        return False
    shared = _shared(tests)
    if len(tests) == 1 or any(op in _ABOVE or op in _BELOW for _, op, _ in shared):
        return True
    rest = [[atom for atom in group if atom not in shared] for group in tests]  # ne: below one bound or above the other
    return len(rest) == 2 and [len(r) for r in rest] == [1, 1] and rest[0][0][1] in _BELOW and rest[1][0][1] in _ABOVE


def _unit(tests: Tests) -> int | None:
    return next((value for column, _, value in _shared(tests) if column == "canon"), None)


def _bound(tests: Sequence[Tests], column: str, operators: tuple[str, str]) -> Any:
    """What no row that meets them lies below (operators > and >=) or above; None if there is no such bound."""
    tight, loose = (max, min) if operators is _ABOVE else (min, max)
    found = []
    for groups in tests:
        each = [[v for c, op, v in group if c == column and op in operators] for group in groups]
        if all(each):
            found.append(loose(map(tight, each)))
    return tight(found) if found else None


def range_sql(sql: Sql, source: Source, at: Range, start: Position | None, columns: str, more: str, limit: int) -> str:
    """SELECT of `columns` of resource r and the value as k0. more: SQL on r that has to hold as well."""
    first = _part(sql, source, at, start, columns, more, limit, wide=False)
    if not at.split:
        return first
    second = _part(sql, source, at, start, columns, more, limit, wide=True)
    names = ", ".join(f"u.{c.removeprefix('r.')}" for c in columns.split(", "))
    both = f"SELECT * FROM ({first}) u0 UNION ALL SELECT * FROM ({second}) u1"
    return f"SELECT {names}, u.k0 FROM ({both}) u ORDER BY u.k0, u.rid LIMIT {limit}"


def _part(sql: Sql, source: Source, at: Range, start: Position | None, columns: str, more: str, limit: int, *, wide: bool) -> str:
    value = f"s.{at.column}"
    where = _rows(sql, at, start, wide)
    # Of several rows the first that fits; one that is the only one, or begins before all others, needs no look.
    earlier = (
        f"NOT EXISTS (SELECT 1 FROM {sql.by_rid(at.table, 'e')} WHERE e.rid = s.rid AND e.p = {sql.value(at.p)} "
        f"AND e.{at.column} < {value} AND {' AND '.join(sql.tests(t, 'e') for t in at.tests)})"
    )
    if at.once or at.column in ("low", "clow"):
        bits = _BOTH if at.column == "high" else index.SMALLEST
        earlier = f"((s.flags & {bits}) = {bits} OR {earlier})" if at.column != "clow" or at.once else earlier
    where.append(earlier)
    tables = _table(sql, at, wide)
    if wide and not sql.sqlite:
        tables = f"(SELECT * FROM {tables} WHERE {' AND '.join(where)} ORDER BY {value}, s.rid OFFSET 0) s"
        where = []
    where += _others(sql, source, at)
    where += [more] if more else []
    join = "CROSS JOIN resource r ON" if sql.sqlite else "JOIN resource r ON"
    tables += f" {join} r.rid = s.rid"
    return f"SELECT {columns}, {value} AS k0 FROM {tables} WHERE {' AND '.join(where) or 'true'} ORDER BY {value}, s.rid LIMIT {limit}"


def _table(sql: Sql, at: Range, wide: bool) -> str:
    if sql.sqlite:
        return f"{at.table} s INDEXED BY {at.table}_{'wide' if wide else at.column}"
    if not wide:
        return f"{at.table} s"
    # OFFSET 0: these come from their own index, few as they are, not from all rows in the order of the page.
    where = [f"s.p = {sql.value(at.p)}", f"{_WIDE[at.table]} = 1"]
    if at.canon is None:
        bounds = ("high", ">=", _bound(at.tests, "high", _ABOVE)), ("low", "<=", _bound(at.tests, "low", _BELOW))
        where += [f"s.{column} {sign} {sql.value(value)}" for column, sign, value in bounds if value is not None]
    return f"(SELECT * FROM {at.table} s WHERE {' AND '.join(where)} OFFSET 0) s"


def _rows(sql: Sql, at: Range, start: Position | None, wide: bool) -> list[str]:
    """What a row s has to meet."""
    value, tests = f"s.{at.column}", at.tests
    where = [f"s.p = {sql.value(at.p)}"]
    if at.canon is not None:
        where.append(f"s.canon = {sql.value(at.canon)}")
    if start is not None and start[0][0] is not None and (wide or at.low is None or start[0][0] >= at.low):
        where.append(f"({value}, s.rid) > ({sql.value(start[0][0])}, {sql.value(start[1])})")
        # PostgreSQL begins at the bound that is said first: only the nearer one is said.
        tests = tuple(_open(t, at.column) for t in tests)
    elif at.low is not None and not wide:
        where.append(f"{value} >= {sql.value(at.low)}")
    if at.high is not None and not wide:
        where.append(f"{value} <= {sql.value(at.high)}")
    where += [text for t in tests if (text := sql.tests(t, "s")) != "(1 = 1)"]
    return [*where, f"{_WIDE[at.table]} {'=' if wide else '<>'} 1"] if at.split else where


def _open(tests: Tests, column: str) -> Tests:
    gone = [atom for atom in _shared(tests) if atom[0] == column and atom[1] in _ABOVE]
    return tuple(tuple(atom for atom in group if atom not in gone) for group in tests)


async def range_count(source: Source, world: World) -> tuple[str, Sql] | None:
    """SELECT of the number of matches, from the index alone if nothing else is asked; None where another way is better."""
    at = await ranged(source, 1, world, again=False)
    if at is None or not at.once:
        return None
    sql = world.sql(literal=True)
    others = _others(sql, source, at)
    if others and sql.sqlite:
        return None
    counts = []
    for wide in (False, True) if at.split else (False,):
        where = _rows(sql, at, None, wide) + others
        join = " JOIN resource r ON r.rid = s.rid" if others else ""
        counts.append(f"(SELECT count(*) FROM {_table(sql, at, wide)}{join} WHERE {' AND '.join(where)})")
    return f"SELECT {' + '.join(counts)}", sql


def _others(sql: Sql, source: Source, at: Range) -> list[str]:
    """What resource r has to meet beside the range."""
    others = [p for p in conjuncts(source.condition) if p not in at.parts]
    seen = sql.visible("r", source.types, all_((*others, at.parts[0])), "s.rid", given=at.parts[0])
    return [] if seen == "1 = 1" else [seen]
