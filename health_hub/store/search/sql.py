"""Conditions as SQL of PostgreSQL or SQLite. Every row of `resource` that search reads comes through `Sql.visible`."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fhir_profiles.tables import RESOURCE_TYPES, type_name
from health_hub.fhir import keys
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import NearValue
from health_hub.store.access import Seen
from health_hub.store.condition import (
    EVERYTHING,
    All,
    Among,
    Any_,
    Atom,
    Condition,
    Consented,
    Decided,
    Element,
    Ids,
    Keys,
    Near,
    Not_,
    OfType,
    Ordered,
    Owned,
    Persons,
    ReferredBy,
    RefersTo,
    Related,
    Selves,
    Source,
    Tests,
    Unlabelled,
    Updated,
    Written,
    conjuncts,
)

COLUMNS = "rid, type, id, version, updated, deleted, method, doc"
HEAD = 128  # characters of a string that its index holds
MANY = 50  # values are a list of placeholders up to here
KEYS = 50_000  # that one condition may come to
_EARTH_KM = 6371.0088


@lru_cache(maxsize=256)
def type_key(number: int) -> int:
    """The key that every living resource of a type carries."""
    return keys.parameter(type_name(number), "_type") ^ keys.value("p", "")


class Sql:
    """One statement being written: placeholders, the dialect and the filter.

    literal: integers are written into the text, so that PostgreSQL plans with them; else they are arguments and the text
    is always the same, so that it is planned once a connection.
    """

    def __init__(self, dialect: str, access: Seen, *, literal: bool = False) -> None:
        self.sqlite = dialect == "sqlite"
        self.access = access
        self.literal = literal and not self.sqlite
        self.row_by_row = False  # PostgreSQL: ordered rows are looked up for each resource, not gathered first
        self.args: list[Any] = []
        self._aliases = 0

    # Values

    def arg(self, value: Any) -> str:
        self.args.append(value)
        return f"?{len(self.args)}" if self.sqlite else f"${len(self.args)}"

    def value(self, value: int | float | str, kind: str = "bigint") -> str:
        if self.sqlite:
            return self.arg(value)
        if self.literal and type(value) is int:
            return f"'{value}'::bigint" if value < 0 else str(value)
        if self.literal and type(value) is float:
            return f"'{value!r}'::double precision"
        if type(value) is float:
            kind = "double precision"
        elif type(value) is str:
            kind = "text"
        return f"{self.arg(value)}::{kind}"

    def array(self, values: Sequence[int]) -> str:
        """PostgreSQL only."""
        if self.literal:
            return "'{" + ",".join(map(str, values)) + "}'::bigint[]"
        return self.arg(list(values)) + "::bigint[]"

    def among(self, column: str, values: Sequence[int]) -> str:
        if len(values) > KEYS:
            raise FhirError(
                403,
                Issue("too-costly", f"the search comes to {len(values)} keys, {KEYS} are the limit; narrow it, or name a resource type"),
            )
        if len(values) == 1:
            return f"{column} = {self.value(values[0])}"
        if self.sqlite:
            if len(values) > MANY:
                # One placeholder; a text of so many numbers would take longer to read than to search.
                return f"{column} IN (SELECT value FROM json_each({self.arg('[' + ','.join(map(str, values)) + ']')}))"
            return f"{column} IN ({', '.join([self.arg(v) for v in values])})"
        return f"{column} = ANY ({self.array(values)})"

    def alias(self) -> str:
        self._aliases += 1
        return f"a{self._aliases}"

    # What is seen

    def visible(
        self, alias: str, types: Sequence[int], condition: Condition, rid: str | None = None, *, given: Condition | None = None
    ) -> str:
        """WHERE text for `resource alias`: living rows of `types` inside the filter that meet the condition.

        given: a conjunct that the statement has seen to already.
        """
        every = conjuncts(condition)
        parts = [p for p in every if p is not given]
        out: list[str] = []
        if self.sqlite:
            out += [self.condition(p, alias, rid) for p in parts]
        else:
            single = [p.any[0] for p in parts if type(p) is Keys and len(p.any) == 1]
            if single:
                out.append(f"{alias}.keys @> {self.array(single)}")
            out += [self.condition(p, alias) for p in parts if type(p) is not Keys or len(p.any) != 1]
        if not (implies_type(every) or (given is not None and implies_type((given,)))):
            if not types and any(type(p) is Ids for p in every):
                types = range(1, len(RESOURCE_TYPES) + 1)  # the index on ids begins with the type
            out.insert(0, self._living(alias, types))
        return " AND ".join(out + self.seen(alias, types, rid, have=every)) or "1 = 1"

    def seen(self, alias: str, types: Sequence[int], rid: str | None = None, *, have: Sequence[Condition] = ()) -> list[str]:
        """What the filter asks of `resource alias`, a row of one of `types` (none: any): the one place it is written.

        have: what the statement asks already.
        """
        asked = self.access.on(types)
        return [] if asked == EVERYTHING else [self.condition(c, alias, rid) for c in conjuncts(asked) if c not in have]

    def _living(self, alias: str, types: Sequence[int]) -> str:
        if not types:
            return f"NOT {alias}.deleted"
        return f"{self._of_type(alias, types)} AND NOT {alias}.deleted"

    def _of_type(self, alias: str, types: Sequence[int]) -> str:
        text = ", ".join(map(str, types))
        if self.sqlite:
            return f"{alias}.type IN ({text})"
        # Not `=`: with the type a constant the planner takes (type, rid) for rid and walks the primary key.
        return f"{alias}.type = ANY ('{{{text}}}'::smallint[])"

    # Conditions

    def condition(self, c: Condition, alias: str, rid: str | None = None) -> str:
        """Boolean SQL on `resource alias`. rid: another column that holds alias.rid, where that is read for free."""
        at = rid or f"{alias}.rid"
        match c:
            case Keys(any=wanted):
                return self._keys(wanted, alias, at)
            case Ordered():
                a = self.alias()
                alone = " OFFSET 0" if self.row_by_row else ""
                return f"EXISTS (SELECT 1 FROM {self.by_rid(c.table, a)} WHERE {a}.rid = {at} AND {self.row(c, a)}{alone})"
            case All(parts=parts):
                return "(" + " AND ".join(self.condition(p, alias, rid) for p in parts) + ")" if parts else "(1 = 1)"
            case Any_(parts=parts):
                return either([self.condition(p, alias, rid) for p in parts])
            case Not_(part=part):
                return f"NOT {self.condition(part, alias, rid)}"
            case Ids(ids=ids):
                if len(ids) == 1:
                    return f"{alias}.id = {self.value(ids[0])}"
                if self.sqlite:
                    return f"{alias}.id IN ({', '.join(self.arg(i) for i in ids)})"
                return f"{alias}.id = ANY ({self.arg(list(ids))}::text[])"
            case Updated(tests=tests):
                return self.tests(tests, alias)
            case Selves(selves=selves):
                return f"({self.among(alias + '.self', selves)})" if selves else "(1 = 0)"
            case OfType(types=types):
                return f"({self._of_type(alias, types)})"
            case Element(parts=parts):
                return self._element(parts, at)
            case Near(ps=ps, places=places):
                a = self.alias()
                near = either([self._near(a, place) for place in places])
                tables = self.by_rid("position_key", a)
                return f"EXISTS (SELECT 1 FROM {tables} WHERE {a}.rid = {at} AND {self.among(a + '.p', ps)} AND {near})"
            case Persons(any=persons):
                if self.sqlite:
                    return f"EXISTS (SELECT 1 FROM json_each({alias}.persons) j WHERE {self.among('j.value', persons)})"
                return f"({alias}.persons && {self.array(persons)})"
            case Among(all=persons):
                if self.sqlite:
                    return f"NOT EXISTS (SELECT 1 FROM json_each({alias}.persons) j WHERE NOT ({self.among('j.value', persons)}))"
                return f"({alias}.persons IS NULL OR {alias}.persons <@ {self.array(persons)})"
            case Owned(by=by):
                named = [o for o in by if o is not None]
                every = [f"{alias}.owner = {self.value(o)}" for o in named] + ([f"{alias}.owner IS NULL"] if None in by else [])
                return either(every)
            case Written(by=author):
                return f"({alias}.author IS NOT NULL AND {alias}.author = {self.value(author)})"
            case Unlabelled(bits=bits):
                return f"(({alias}.sensitive & {self.value(bits)}) = 0)"
            case Related(parties=parties):
                return self._beside("relation", alias, self.among("{a}.party", parties))
            case Consented():
                return self._beside("consent", alias, "{a}.kind IN (1, 3)")
            case Decided():
                raise TypeError("Consents are asked before SQL is written (store/access.py)")
            case RefersTo(ps=ps, target=target):
                return self._refers_to(ps, target, alias, at)
            case ReferredBy(ps=ps, other=other):
                return self._referred_by(ps, other, alias)

    def _keys(self, wanted: Sequence[int], alias: str, at: str) -> str:
        if not wanted:
            return "(1 = 0)"
        if self.sqlite or len(wanted) > KEYS:
            a = self.alias()
            return f"EXISTS (SELECT 1 FROM key {a} WHERE {self.among(a + '.key', wanted)} AND {a}.rid = {at})"
        return f"({alias}.keys {'@>' if len(wanted) == 1 else '&&'} {self.array(wanted)})"

    def _beside(self, table: str, alias: str, where: str) -> str:
        """A current row of `relation` or `consent` about one of the persons of the resource."""
        a = self.alias()
        # Always an argument: a text that changes with the clock would be planned anew each time.
        at = self.arg(self.access.at) + ("" if self.sqlite else "::bigint")
        now = f"{a}.until > {at} AND {a}.since <= {at} AND {where.replace('{a}', a)}"
        if self.sqlite:
            return f"EXISTS (SELECT 1 FROM json_each({alias}.persons) j_{a} JOIN {table} {a} ON {a}.person = j_{a}.value WHERE {now})"
        return f"EXISTS (SELECT 1 FROM {table} {a} WHERE {a}.person = ANY ({alias}.persons) AND {now})"

    def by_rid(self, table: str, a: str) -> str:
        """FROM text for the rows of one resource. SQLite would rather take the range, having no statistics."""
        return f"{table} {a} INDEXED BY {table}_rid" if self.sqlite else f"{table} {a}"

    def row(self, c: Ordered, a: str) -> str:
        """A row of the ordered table, without whose it is."""
        under = self.among(f"{a}.p", c.ps)
        return under if c.tests == ((),) else f"{under} AND {self.tests(c.tests, a)}"

    def tests(self, tests: Tests, a: str) -> str:
        if not tests:
            return "(1 = 0)"
        # What all groups ask is said once, in front: it bounds the walk of an index.
        shared = [atom for atom in tests[0] if all(atom in group for group in tests)] if len(tests) > 1 else []
        groups = [" AND ".join([self.atom(atom, a) for atom in group if atom not in shared]) for group in tests]
        out = [self.atom(atom, a) for atom in shared]
        if all(groups):
            out.append(groups[0] if len(groups) == 1 else either(groups))
        return " AND ".join(out) or "(1 = 1)"

    def atom(self, atom: Atom, a: str) -> str:
        column, operator, value = atom
        name = f"{a}.{column}"
        if operator == "without":
            return f"({name} & {int(value)}) = 0"
        if type(value) is not str:
            return f"{name} {operator} {self.value(value)}"
        head = f"substr({name}, 1, {HEAD})"
        match operator:
            case "prefix":
                low, high = prefix_range(value)
                out = f"{head} >= {self.value(low)}"
                if high is not None:
                    out += f" AND {head} < {self.value(high)}"
                if len(value) > HEAD:
                    out += f" AND substr({name}, 1, {len(value)}) = {self.value(value)}"
                return out
            case "contains":
                return f"{'instr' if self.sqlite else 'strpos'}({name}, {self.value(value)}) > 0"
            case "ends":
                return (f"substr({name}, -{len(value)})" if self.sqlite else f"right({name}, {len(value)})") + f" = {self.value(value)}"
            case "=":
                return f"{head} = {self.value(value[:HEAD])}" + (f" AND {name} = {self.value(value)}" if len(value) >= HEAD else "")
            case _:
                return f"{name} {operator} {self.value(value)}"

    def _element(self, parts: Sequence[Ordered], at: str) -> str:
        names = [self.alias() for _ in parts]
        first = names[0]
        tables = self.by_rid(parts[0].table, first)
        for part, a in zip(parts[1:], names[1:], strict=True):
            join = "CROSS JOIN" if self.sqlite else "JOIN"
            tables += f" {join} {self.by_rid(part.table, a)} ON {a}.rid = {first}.rid AND ({a}.flags >> 4) = ({first}.flags >> 4)"
        where = " AND ".join(self.row(part, a) for part, a in zip(parts, names, strict=True))
        return f"EXISTS (SELECT 1 FROM {tables} WHERE {first}.rid = {at} AND {where})"

    def _near(self, a: str, place: NearValue) -> str:
        degrees = place.km / _EARTH_KM * 57.29577951308232 + 1e-9
        low, high = self.value(place.latitude - degrees), self.value(place.latitude + degrees)
        return f"({a}.lat >= {low} AND {a}.lat <= {high} AND {self.distance(a, place)} <= {self.value(float(place.km))})"

    def distance(self, a: str, place: NearValue) -> str:
        """Kilometres along the sphere (haversine)."""
        lat, lon = self.value(float(place.latitude)), self.value(float(place.longitude))
        least = "min" if self.sqlite else "least"
        half_lat, half_lon = f"sin(radians({a}.lat - {lat}) / 2)", f"sin(radians({a}.lon - {lon}) / 2)"
        h = f"{half_lat} * {half_lat} + cos(radians({lat})) * cos(radians({a}.lat)) * {half_lon} * {half_lon}"
        return f"{2 * _EARTH_KM} * asin(sqrt({least}(1.0, {h})))"

    # Other resources

    def _xor(self, left: str, right: str) -> str:
        return f"(({left} | {right}) - ({left} & {right}))" if self.sqlite else f"({left} # {right})"

    def _refers_to(self, ps: Sequence[int], target: Source, alias: str, at: str) -> str:
        t, k = self.alias(), self.alias()
        if self.sqlite:
            wanted = f"{k}.key IN ({', '.join(self._xor(f't_{t}.self', self.value(p)) for p in ps)})"
            return f"{at} IN (SELECT {k}.rid FROM ({self.select('self', target, t)}) t_{t} CROSS JOIN key {k} WHERE {wanted})"
        there = [f"{k}.key # {self.value(p)}" for p in ps]
        own = f"{t}.self = ({there[0]})" if len(there) == 1 else f"{t}.self = ANY (ARRAY[{', '.join(there)}])"
        where = self.visible(t, target.types, target.condition)
        return f"EXISTS (SELECT 1 FROM unnest({alias}.keys) AS {k}(key) JOIN resource {t} ON {own} WHERE {where})"

    def _referred_by(self, ps: Sequence[int], other: Source, alias: str) -> str:
        o, k = self.alias(), self.alias()
        if self.sqlite:
            wanted = ", ".join(self._xor(f"{alias}.self", self.value(p)) for p in ps)
            where = self.visible(o, other.types, other.condition, f"{k}.rid")
            return f"EXISTS (SELECT 1 FROM key {k} CROSS JOIN resource {o} ON {o}.rid = {k}.rid WHERE {k}.key IN ({wanted}) AND {where})"
        where = self.visible(o, other.types, other.condition)
        many = "".join(f" UNION ALL SELECT {self.value(p)}" for p in ps[1:])
        by = f"(SELECT {self.value(ps[0])} AS p{many})"
        return f"{alias}.self IN (SELECT {k}.key # {k}_p.p FROM resource {o}, unnest({o}.keys) AS {k}(key), {by} AS {k}_p WHERE {where})"

    def select(self, columns: str, source: Source, t: str) -> str:
        """SELECT of the visible resources of a source."""
        names = ", ".join(f"{t}.{c}" for c in columns.split(", "))
        return f"SELECT {names} {self.from_where(source, driver_of(source) if self.sqlite else None, t)}"

    def from_where(self, source: Source, by: Condition | None, t: str) -> str:
        """FROM and WHERE of the visible resources of a source; SQLite starts at the rows of `by`, one of its conjuncts."""
        if type(by) is Updated:
            where = self.visible(t, source.types, source.condition)
            return f"FROM resource {t} INDEXED BY resource_updated WHERE {t}.type = {source.types[0]} AND {where}"
        tables, rid, first = self.driver(by, t)
        where = self.visible(t, source.types, source.condition, rid, given=by)
        return f"FROM {tables} WHERE {first}{where}"

    def driver(self, by: Condition | None, t: str) -> tuple[str, str | None, str]:
        """SQLite: FROM text that starts at the rows of `by`, each resource once; the column with its rid; WHERE text."""
        d = f"d_{t}"
        if type(by) is Keys and len(by.any) == 1:
            return f"key {d} CROSS JOIN resource {t} ON {t}.rid = {d}.rid", f"{d}.rid", f"{d}.key = {self.value(by.any[0])} AND "
        if type(by) is Keys or type(by) is Ordered:
            return f"({self.rids(by)}) {d} CROSS JOIN resource {t} ON {t}.rid = {d}.rid", f"{d}.rid", ""
        return f"resource {t}", None, ""

    def rids(self, by: Keys | Ordered) -> str:
        if type(by) is Keys:
            return f"SELECT DISTINCT rid FROM key WHERE {self.among('key', by.any)}"
        assert type(by) is Ordered
        return f"SELECT DISTINCT x.rid FROM {by.table} x WHERE {self.row(by, 'x')}"


def either(conditions: Sequence[str]) -> str:
    """OR as a balanced tree: SQLite refuses expressions deeper than 1,000."""
    if len(conditions) < 2:
        return f"({conditions[0]})" if conditions else "(1 = 0)"
    middle = len(conditions) // 2
    return f"({either(conditions[:middle])} OR {either(conditions[middle:])})"


def implies_type(parts: Sequence[Condition]) -> bool:
    """Keys and ordered rows are hashed with the type they are of, and only living resources have any."""
    return any(type(p) is Keys or type(p) is Ordered or type(p) is Element or type(p) is Near or p == Any_(()) for p in parts)


def driver_of(source: Source) -> Condition | None:
    """Without counting: a key set, an id, an ordered row, the type."""
    parts = conjuncts(source.condition)
    for kind in (Ids, Selves):
        if any(type(p) is kind for p in parts):
            return None
    keyed = [p for p in parts if type(p) is Keys and p.any]
    if keyed:
        return min(keyed, key=lambda p: len(p.any))
    for p in parts:
        if type(p) is Ordered and p.tests:
            return p
    return Keys(tuple(map(type_key, source.types))) if source.types else None


def prefix_range(text: str) -> tuple[str, str | None]:
    """Texts that start with this one lie in [low, high), in the order of code points."""
    head = text[:HEAD]
    for n in range(len(head), 0, -1):
        point = ord(head[n - 1])
        if point < 0x10FFFF:
            # No text holds a half of a surrogate pair.
            return head, head[: n - 1] + chr(0xE000 if point == 0xD7FF else point + 1)
    return head, None
