"""Rows to be written, and the statements that write them on either database."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from health_hub.fhir.index import Rows
from health_hub.store.access import persons_text
from health_hub.store.postgresql import PostgresTransaction
from health_hub.store.sqlite import SqliteTransaction

Transaction = PostgresTransaction | SqliteTransaction


@dataclass(frozen=True, slots=True)
class Head:
    """The current version of a resource, as far as writing needs it."""

    rid: int
    version: int
    deleted: bool
    updated: int
    owner: str | None = None
    author: str | None = None


@dataclass(slots=True)
class Write:
    """One row to be inserted, or to replace what `replaces` says."""

    rid: int
    type: int
    id: str
    version: int
    updated: int
    deleted: bool
    method: int
    self: int
    blob: int | None
    doc: bytes | None
    rows: Rows | None
    replaces: bool
    owner: str | None = None
    author: str | None = None
    lent: int | None = None  # prepare.lend


ORDERED = {
    "date_key": ("p", "low", "high", "rid", "flags"),
    "number_key": ("p", "low", "high", "rid", "flags"),
    "quantity_key": ("p", "low", "high", "code", "unit", "canon", "clow", "chigh", "rid", "flags"),
    "string_key": ("p", "v", "rid", "flags"),
    "position_key": ("p", "lat", "lon", "rid"),
    "relation": ("party", "person", "since", "until", "rid"),
    "consent": ("person", "since", "until", "kind", "rules", "rid"),
}


def ordered_rows(rid: int, rows: Rows) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the ordered tables in their column order."""
    return {
        "date_key": [(p, low, high, rid, flags) for p, low, high, flags in rows.dates],
        "number_key": [(p, low, high, rid, flags) for p, low, high, flags in rows.numbers],
        "quantity_key": [(*row[:8], rid, row[8]) for row in rows.quantities],
        "string_key": [(p, v, rid, flags) for p, v, flags in rows.strings],
        "position_key": [(p, lat, lon, rid) for p, lat, lon in rows.positions],
        "relation": [(*row, rid) for row in rows.relations],
        "consent": [(*row, rid) for row in rows.consents],
    }


# --- PostgreSQL: one statement for any number of resources, arrays in, `unnest` out.

_TYPES = {
    "p": "bigint",
    "low": "bigint",
    "high": "bigint",
    "rid": "bigint",
    "flags": "smallint",
    "code": "bigint",
    "unit": "bigint",
    "canon": "bigint",
    "clow": "double precision",
    "chigh": "double precision",
    "v": "text",
    "lat": "double precision",
    "lon": "double precision",
    "party": "bigint",
    "person": "bigint",
    "since": "bigint",
    "until": "bigint",
    "kind": "smallint",
    "rules": "text",
}


def _column_type(table: str, column: str) -> str:
    return "double precision" if column in ("low", "high") and table != "date_key" else _TYPES[column]


_VERSION = "rid, version, type, id, updated, deleted, method, seq, blob, doc"
_SEQ = "(SELECT commit_number($19::bigint))"  # settled.py


def _forget(rids: str) -> list[str]:
    return [f"x{i} AS (DELETE FROM {t} WHERE rid = ANY ({rids}::bigint[]))" for i, t in enumerate(ORDERED)]


def _remember(at: int) -> list[str]:
    """Inserts into the ordered tables, their columns as arrays from `$at` on."""
    parts = []
    for i, (table, columns) in enumerate(ORDERED.items()):
        arrays = ", ".join(f"${at + k}::{_column_type(table, c)}[]" for k, c in enumerate(columns))
        parts.append(f"o{i} AS (INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays}) AS o({', '.join(columns)}))")
        at += len(columns)
    return parts


def _statement(*, replacing: bool) -> str:
    """$1-$10 the resources ($5 the time, $10 keys as array text, $11 deleted, $12 whether a row replaces one), $13 those that are replaced,
    $14-$18 owner, author, labels, persons as array text, lent; $19 the time that is not to be settled yet; then the ordered columns.
    """
    new = (
        "unnest($1::bigint[], $2::smallint[], $3::text[], $4::int[], $6::smallint[], $7::bigint[], $8::bigint[], $9::bytea[], $10::text[], "
        "$11::boolean[], $12::boolean[], $14::text[], $15::text[], $16::bigint[], $17::text[], $18::bigint[]) "
        "AS n(rid, type, id, version, method, self, blob, doc, keys, deleted, old, owner, author, sensitive, persons, lent)"
    )
    parts = []
    if replacing:
        parts.append(
            f"h AS (INSERT INTO history ({_VERSION}) SELECT {_VERSION} FROM resource WHERE rid = ANY ($13::bigint[]))"
        )
        parts.append(
            f"u AS (UPDATE resource r SET version = n.version, updated = $5::bigint, deleted = n.deleted, method = n.method, seq = {_SEQ}, "
            "blob = n.blob, doc = n.doc, keys = n.keys::bigint[], lent = n.lent, "
            "sensitive = CASE WHEN n.deleted THEN r.sensitive ELSE n.sensitive END, "
            "persons = CASE WHEN n.deleted THEN r.persons ELSE n.persons::bigint[] END "
            f"FROM {new} WHERE r.rid = n.rid AND n.old)"
        )
        parts += _forget("$13")
    parts += _remember(20)
    unused = "" if replacing else " AND cardinality($13::bigint[]) = 0"
    return (
        f"WITH {', '.join(parts)} INSERT INTO resource "
        "(rid, type, id, version, updated, deleted, method, seq, self, blob, doc, keys, owner, author, sensitive, persons, lent) "
        f"SELECT n.rid, n.type, n.id, n.version, $5::bigint, n.deleted, n.method, {_SEQ}, n.self, n.blob, n.doc, n.keys::bigint[], "
        "n.owner, n.author, n.sensitive, n.persons::bigint[], n.lent "
        f"FROM {new} WHERE NOT n.old{unused}"
    )


CREATE, REPLACE = _statement(replacing=False), _statement(replacing=True)
REINDEX = (
    f"WITH {', '.join([*_forget('$1'), *_remember(5)])} UPDATE resource r SET keys = n.keys::bigint[], sensitive = n.sensitive, "
    "persons = n.persons::bigint[] FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[]) AS n(rid, keys, sensitive, persons) "
    "WHERE r.rid = n.rid"
)
_EMPTY: dict[str, list[Any]] = {t: [[] for _ in c] for t, c in ORDERED.items()}


def _columns(rows: list[tuple[Any, ...]], table: str) -> list[Any]:
    return [list(c) for c in zip(*rows, strict=True)] if rows else _EMPTY[table]


def _array(keys: list[int]) -> str:
    return "{" + str(keys)[1:-1] + "}"


def _persons(rows: Rows | None) -> str | None:
    return _array(rows.persons) if rows and rows.persons else None


def _ordered(rows: Iterable[tuple[int, Rows | None]]) -> dict[str, list[tuple[Any, ...]]]:
    """The ordered tables' rows of several resources."""
    out: dict[str, list[tuple[Any, ...]]] = {table: [] for table in ORDERED}
    for rid, found in rows:
        if found:
            for table, more in ordered_rows(rid, found).items():
                out[table] += more
    return out


async def _write_postgresql(t: PostgresTransaction, writes: list[Write], chosen: int) -> None:
    old = [w.rid for w in writes if w.replaces]
    args = [
        [w.rid for w in writes],
        [w.type for w in writes],
        [w.id for w in writes],
        [w.version for w in writes],
        writes[0].updated,
        [w.method for w in writes],
        [w.self for w in writes],
        [w.blob for w in writes],
        [w.doc for w in writes],
        [_array(w.rows.keys) if w.rows else "{}" for w in writes],
        [w.deleted for w in writes],
        [w.replaces for w in writes],
        old,
        [w.owner for w in writes],
        [w.author for w in writes],
        [w.rows.sensitive if w.rows else 0 for w in writes],
        [_persons(w.rows) for w in writes],
        [w.lent for w in writes],
        chosen,
    ]
    for table, rows in _ordered((w.rid, w.rows) for w in writes).items():
        args += _columns(rows, table)
    await t.run([(REPLACE if old else CREATE, [args])])


async def _heads_postgresql(t: PostgresTransaction, wanted: list[tuple[int, str]]) -> list[Any]:
    # Locked in one order, so that two workers wait for each other and never both.
    return await t.fetch(
        "SELECT r.type, r.id, r.rid, r.version, r.deleted, r.updated, r.owner, r.author "
        "FROM unnest($1::smallint[], $2::text[]) AS q(type, id) "
        "JOIN resource r ON r.type = q.type AND r.id = q.id ORDER BY r.rid FOR UPDATE OF r",
        ([n for n, _ in wanted], [i for _, i in wanted]),
    )


# --- SQLite

_INSERT = (
    "INSERT INTO resource "
    "(rid, type, id, version, updated, deleted, method, seq, self, blob, doc, keys, sensitive, persons, lent, owner, author) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
)
_UPDATE = (
    "UPDATE resource SET version = ?4, updated = ?5, deleted = ?6, method = ?7, seq = ?8, blob = ?10, doc = ?11, keys = ?12, "
    "lent = ?15, sensitive = CASE WHEN ?6 THEN sensitive ELSE ?13 END, persons = CASE WHEN ?6 THEN persons ELSE ?14 END WHERE rid = ?1"
)
_HISTORY = f"INSERT INTO history ({_VERSION}) SELECT {_VERSION} FROM resource WHERE rid = ?1"
_ORDERED_INSERT = {t: f"INSERT INTO {t} ({', '.join(c)}) VALUES ({', '.join('?' * len(c))})" for t, c in ORDERED.items()}


def packed(keys: list[int]) -> bytes:
    """Keys as SQLite stores them beside the document: 64-bit little-endian."""
    return array("q", keys).tobytes()


async def _forget_sqlite(t: SqliteTransaction, rids: list[int]) -> list[tuple[str, Any]]:
    """Statements that remove the keys of rows about to be replaced: the packed keys say which."""
    gone = []
    for rid in rids:
        (blob,) = (await t.fetch("SELECT keys FROM resource WHERE rid = ?1", (rid,)))[0]
        gone += [(k, rid) for k in array("q", blob or b"")]
    one = [(rid,) for rid in rids]
    return [("DELETE FROM key WHERE key = ?1 AND rid = ?2", gone), *[(f"DELETE FROM {table} WHERE rid = ?1", one) for table in ORDERED]]


def _remember_sqlite(rows: list[tuple[int, Rows | None]]) -> list[tuple[str, Any]]:
    # Sorted: neighbours in the tree are written together.
    keys = sorted((k, rid) for rid, found in rows if found for k in found.keys)
    return [
        ("INSERT INTO key (key, rid) VALUES (?1, ?2)", keys),
        *[(_ORDERED_INSERT[table], more) for table, more in _ordered(rows).items()],
    ]


async def _write_sqlite(t: SqliteTransaction, writes: list[Write]) -> None:
    old = [w.rid for w in writes if w.replaces]
    seq = (await t.fetch("UPDATE setting SET value = value + 1 WHERE name = 'seq' RETURNING CAST(value AS integer)"))[0][0]
    statements: list[tuple[str, Any]] = []
    if old:
        statements += [(_HISTORY, [(rid,) for rid in old]), *await _forget_sqlite(t, old)]
    rows: dict[str, list[Any]] = {_INSERT: [], _UPDATE: []}
    for w in writes:
        rows[_UPDATE if w.replaces else _INSERT].append(
            (
                w.rid,
                w.type,
                w.id,
                w.version,
                w.updated,
                w.deleted,
                w.method,
                seq,
                w.self,
                w.blob,
                w.doc,
                packed(w.rows.keys if w.rows else []),
                w.rows.sensitive if w.rows else 0,
                persons_text(w.rows.persons) if w.rows else None,
                w.lent,
                *(() if w.replaces else (w.owner, w.author)),
            )
        )
    statements += [*rows.items(), *_remember_sqlite([(w.rid, w.rows) for w in writes])]
    await t.run([(sql, more) for sql, more in statements if more])


async def _heads_sqlite(t: SqliteTransaction, wanted: list[tuple[int, str]]) -> list[Any]:
    found: list[Any] = []
    for at in range(0, len(wanted), 400):
        part = wanted[at : at + 400]
        values = ", ".join(["(?, ?)"] * len(part))
        found += await t.fetch(
            f"SELECT type, id, rid, version, deleted, updated, owner, author FROM resource WHERE (type, id) IN (VALUES {values})",
            [x for pair in part for x in pair],
        )
    return found


async def heads(t: Transaction, wanted: list[tuple[int, str]]) -> dict[tuple[int, str], Head]:
    """The current versions of those (type, id) that exist, locked until the transaction ends."""
    rows = await (_heads_postgresql(t, wanted) if isinstance(t, PostgresTransaction) else _heads_sqlite(t, wanted))
    return {(r[0], r[1]): Head(r[2], r[3], bool(r[4]), *r[5:8]) for r in rows}


async def write(t: Transaction, writes: list[Write], chosen: int) -> None:
    """All rows, their search keys and, for those that replace one, its history. chosen: the time that is tried (settled.py)."""
    await (_write_postgresql(t, writes, chosen) if isinstance(t, PostgresTransaction) else _write_sqlite(t, writes))


async def reindex(t: Transaction, rows: list[tuple[int, Rows]]) -> None:
    """New search keys for rows whose documents stay as they are."""
    if isinstance(t, PostgresTransaction):
        args: list[Any] = [
            [rid for rid, _ in rows],
            [_array(r.keys) for _, r in rows],
            [r.sensitive for _, r in rows],
            [_persons(r) for _, r in rows],
        ]
        for table, more in _ordered(rows).items():
            args += _columns(more, table)
        await t.run([(REINDEX, [args])])
        return
    statements = [*await _forget_sqlite(t, [rid for rid, _ in rows]), *_remember_sqlite(list(rows))]
    changed = [(rid, packed(r.keys), r.sensitive, persons_text(r.persons)) for rid, r in rows]
    statements.append(("UPDATE resource SET keys = ?2, sensitive = ?3, persons = ?4 WHERE rid = ?1", changed))
    await t.run([(sql, more) for sql, more in statements if more])
