"""Rows together with all that an access filter may ask about them, by id or by the hash of their reference, for reads and for commits."""

from collections.abc import Sequence
from typing import Any

from health_hub.fhir.consent import decode
from health_hub.store.access import Facts, facts_of, now

COLUMNS = "rid, type, id, version, updated, deleted, method, doc"
# What a filter asks of the row itself (access.facts_of).
ACCESS = "keys, owner, author, sensitive, persons, self"
R = ", ".join("r." + c for c in COLUMNS.split(", "))
A = ", ".join("r." + c for c in ACCESS.split(", "))
WANTED = "unnest($1::smallint[], $2::text[]) AS q(t, i) JOIN resource r ON r.type = q.t AND r.id = q.i"
Judged = tuple[Any, Facts]


def _beside(at: str) -> str:
    current = f"x.person = ANY (r.persons) AND x.since <= {at} AND x.until > {at}"
    return f"ARRAY(SELECT x.party FROM relation x WHERE {current}), ARRAY(SELECT x.rules FROM consent x WHERE {current})"


_BY_ID = f"SELECT {R}, {A}, {_beside('$3')} FROM {WANTED}"
_BY_SELF = f"SELECT {R}, {A}, {_beside('$2')} FROM resource r WHERE r.self = ANY ($1::bigint[])"


def _postgresql(row: Any) -> Judged:
    facts = facts_of(row)
    facts.parties, facts.rules = frozenset(row[14] or ()), [decode(text) for text in row[15] or ()]
    return row, facts


_PERSON = "person IN (SELECT value FROM json_each(?1)) AND since <= ?2 AND until > ?2"
SQLITE = f"SELECT {COLUMNS}, {ACCESS} FROM resource WHERE type = ?1 AND id = ?2"
SQLITE_PARTIES = f"SELECT party FROM relation WHERE {_PERSON}"
SQLITE_RULES = f"SELECT rules FROM consent WHERE {_PERSON}"


def place(facts: Facts, at: int) -> tuple[str, int]:
    """Arguments of SQLITE_PARTIES and SQLITE_RULES."""
    return str(list(facts.persons)), at


async def by_id(t: Any, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Judged]:
    """Those of (type, id) that exist. `t` fetches: a reader or a transaction."""
    if t.dialect == "postgresql":
        rows = await t.fetch(_BY_ID, ([n for n, _ in wanted], [i for _, i in wanted], now()))
        found = [_postgresql(r) for r in rows]
    else:
        rows = [r for pair in wanted for r in await t.fetch(SQLITE, pair)]
        found = [await _sqlite(t, r) for r in rows]
    return {(row[1], row[2]): (row, facts) for row, facts in found}


async def by_self(t: Any, selves: Sequence[int]) -> dict[int, Judged]:
    """Those whose reference has one of these hashes."""
    if t.dialect == "postgresql":
        found = [_postgresql(r) for r in await t.fetch(_BY_SELF, (list(selves), now()))]
    else:
        sql = f"SELECT {COLUMNS}, {ACCESS} FROM resource WHERE self IN (SELECT value FROM json_each(?1))"
        found = [await _sqlite(t, r) for r in await t.fetch(sql, (str(list(selves)),))]
    return {facts.self: (row, facts) for row, facts in found}


async def _sqlite(t: Any, row: Any) -> Judged:
    facts = facts_of(row)
    if facts.persons:
        asked = place(facts, now())
        facts.parties = frozenset(r[0] for r in await t.fetch(SQLITE_PARTIES, asked))
        facts.rules = [decode(r[0]) for r in await t.fetch(SQLITE_RULES, asked)]
    return row, facts
