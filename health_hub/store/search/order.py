"""The order of a search: `_sort` keys as SQL and, for versions of the past, as values from a document (R4 search.html#sort).

A parameter with several values sorts by its smallest going up, its largest going down; resources without a value come
last either way, and equal ones in the order they were created in (going down: reversed).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key, lru_cache
from operator import eq, ge, gt, le, lt
from typing import Any

from fhir_profiles.fhirpath import Expression, compile_
from fhir_profiles.tables import SearchParam
from health_hub.fhir import index
from health_hub.fhir.index import LARGEST, SMALLEST, Column, Composite, Direct, Plan, Restricted, Rows, Union
from health_hub.fhir.json import loads
from health_hub.fhir.search.query import Sort
from health_hub.store.condition import Atom, Table, Tests
from health_hub.store.search.sql import HEAD, Sql, prefix_range
from health_hub.store.search.values import plans

# By type of parameter: table, column going up, column going down.
_TABLES: dict[str, tuple[Table, str, str]] = {
    "date": ("date_key", "low", "high"),
    "number": ("number_key", "low", "low"),
    "quantity": ("quantity_key", "low", "low"),
    "string": ("string_key", "v", "v"),
    "uri": ("string_key", "v", "v"),
}
# Where a column stands in an extracted row of dates, numbers or quantities.
_PLACES = {"low": 1, "high": 2, "code": 3, "unit": 4, "canon": 5, "clow": 6, "chigh": 7}
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key. table "": `column` of the resource row itself; table None: only the document says (token, reference)."""

    table: Table | None
    column: str
    ps: tuple[int, ...]
    descending: bool
    param: SearchParam | None = None
    prefix: str | None = None  # the order of a string search: by what was found
    met: tuple[Tests, ...] = ()  # the order of a search by ranges: the rows that meet all of these

    @property
    def own(self) -> bool:
        return self.table is None and self.param is None

    def expression(self, sql: Sql, alias: str, at: str) -> str:
        """The value for `resource alias`, NULL if there is none."""
        if self.own:
            return f"{alias}.{self.column}"
        s = sql.alias()
        column = self.name(s)
        where = f"{s}.rid = {at} AND {sql.among(s + '.p', self.ps)} AND ({s}.flags & {self.bit}) <> 0"
        if len(self.ps) > 1:
            return f"(SELECT {'max' if self.descending else 'min'}({column}) FROM {sql.by_rid(self.table or '', s)} WHERE {where})"
        return f"(SELECT {column} FROM {sql.by_rid(self.table or '', s)} WHERE {where} LIMIT 1)"

    def name(self, s: str) -> str:
        return f"substr({s}.v, 1, {HEAD})" if self.column == "v" else f"{s}.{self.column}"

    @property
    def bit(self) -> int:
        return LARGEST if self.descending else SMALLEST

    def of(self, rows: Rows, doc: dict[str, Any], updated: int, identity: str) -> Any:
        """The value of a version, from its document and what was extracted of it."""
        if self.param is not None:
            said = texts(self.param, doc)
            return (max(said) if self.descending else min(said)) if said else None
        if self.table is None:
            return updated if self.column == "updated" else identity
        if self.table == "string_key":
            if self.prefix is not None:
                low, high = prefix_range(self.prefix)
                found: list[Any] = [
                    v[:HEAD] for p, v, _ in rows.strings if p in self.ps and v[:HEAD] >= low and (high is None or v[:HEAD] < high)
                ]
            else:
                found = [v[:HEAD] for p, v, flags in rows.strings if p in self.ps and flags & self.bit]
        else:
            tables: dict[str | None, list[Any]] = {
                "date_key": list(rows.dates),
                "number_key": list(rows.numbers),
                "quantity_key": list(rows.quantities),
            }
            at = _PLACES[self.column]
            mine = [row for row in tables[self.table] if row[0] in self.ps]
            if self.met:
                found = [row[at] for row in mine if all(_meets(row, tests) for tests in self.met)]
            else:
                found = [row[at] for row in mine if row[-1] & self.bit]
        return (max(found) if self.descending else min(found)) if found else None


def _meets(row: tuple[Any, ...], tests: Tests) -> bool:
    return any(all(_holds(row, atom) for atom in group) for group in tests)


def _holds(row: tuple[Any, ...], atom: Atom) -> bool:
    column, sign, value = atom
    if sign == "without":
        return not row[-1] & value
    return bool(_SIGNS[sign](row[_PLACES[column]], value))


def sort_keys(sort: Sequence[Sort], types: tuple[str, ...]) -> tuple[SortKey, ...]:
    """`_score` says nothing here: every match is a full one."""
    out: list[SortKey] = []
    for key in sort:
        if key.param is None:
            continue
        if key.param.code in ("_id", "_lastUpdated"):
            out.append(SortKey(None, "id" if key.param.code == "_id" else "updated", (), key.descending))
            continue
        ps = tuple(dict.fromkeys(p for _, plan in plans(types, key.param.code) for p in _places(plan)))
        if key.param.type in _TABLES:
            table, up, down = _TABLES[key.param.type]
            out.append(SortKey(table, down if key.descending else up, ps, key.descending))
        else:
            out.append(SortKey(None, "", (), key.descending, key.param))
    return tuple(out)


def _places(plan: Plan) -> list[int]:
    match plan:
        case Direct():
            return [plan.p]
        case Restricted():
            return [plan.of.p]
        case Union():
            return [p for one in plan.of for p in _places(one)]
        case Composite() | Column() | _:
            return []


Position = tuple[tuple[Any, ...], int]
"""Where a row stands: its values, and its rid."""


def compare(keys: Sequence[SortKey], a: Position, b: Position) -> int:
    for key, x, y in zip(keys, a[0], b[0], strict=True):
        if x == y:
            continue
        if x is None or y is None:
            return 1 if x is None else -1
        return (1 if x > y else -1) * (-1 if key.descending else 1)
    down = bool(keys) and keys[0].descending
    return (a[1] > b[1]) - (a[1] < b[1]) if not down else (a[1] < b[1]) - (a[1] > b[1])


def placed(keys: Sequence[SortKey]) -> Any:
    """A key function for sorted(), of Positions."""
    return cmp_to_key(lambda a, b: compare(keys, a, b))


def position(keys: Sequence[SortKey], doc: bytes, updated: int, identity: str, rid: int) -> Position:
    """Where a version stood."""
    if all(k.own for k in keys):
        return tuple(updated if k.column == "updated" else identity for k in keys), rid
    resource = loads(bytes(doc))
    rows = index.extract(resource) if any(k.table for k in keys) else Rows()
    return tuple(k.of(rows, resource, updated, identity) for k in keys), rid


def texts(param: SearchParam, resource: dict[str, Any]) -> list[str]:
    """What a token or reference parameter finds in a document, as text to sort by: codes, identifier values, targets."""
    out: list[str] = []
    for value in _expression(param.expression)(resource, resource["resourceType"]):
        stack = [value]
        while stack:
            match stack.pop():
                case bool(flag):
                    out.append("true" if flag else "false")
                case dict(element):
                    stack += (
                        element.get("coding", ()) or [element.get(k) for k in ("code", "value", "reference", "text") if k in element][:1]
                    )
                case None:
                    pass
                case other:
                    out.append(str(other))
    return out


@lru_cache(maxsize=512)
def _expression(text: str) -> Expression:
    return compile_(text)


def after(sql: Sql, keys: Sequence[SortKey], names: Sequence[str], rid: str, at: Position, *, down: bool | None = None) -> str:
    """Rows that come after a position. `names` are the columns that hold the keys' values; `down`: the way of ties."""
    if down is None:
        down = bool(keys) and keys[0].descending
    text = f"{rid} {'<' if down else '>'} {sql.value(at[1])}"
    for key, name, value in reversed(list(zip(keys, names, at[0], strict=True))):
        if value is None:
            text = f"({name} IS NULL AND {text})"
        else:
            here = sql.value(value)
            text = f"({name} {'<' if key.descending else '>'} {here} OR {name} IS NULL OR ({name} = {here} AND {text}))"
    return text


def order_by(keys: Sequence[SortKey], names: Sequence[str], rid: str) -> str:
    down = bool(keys) and keys[0].descending
    parts = [f"{name} DESC NULLS LAST" if key.descending else f"{name} ASC NULLS LAST" for key, name in zip(keys, names, strict=True)]
    return "ORDER BY " + ", ".join([*parts, rid + (" DESC" if down else "")])
