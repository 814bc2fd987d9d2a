"""A Query's conditions, with what must be asked of other resources: chains, `_has`, lists, hierarchies, value sets.

Few targets become keys of the searched row itself, found by an index; many stay a condition on the other rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_profiles.tables import RESOURCE_TYPES, SearchParam, type_name, type_number
from health_hub.fhir import index, keys
from health_hub.fhir.index import Direct, Plan, Restricted, Union, forms
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.search.query import And, Chain, Has, Node, Not, Or, ReferenceValue, Test, TokenValue, UriValue
from health_hub.store.access import Seen, settled
from health_hub.store.condition import (
    NOTHING,
    Condition,
    Ids,
    Keys,
    OfType,
    Ordered,
    ReferredBy,
    RefersTo,
    Selves,
    Source,
    all_,
    any_,
    not_,
)
from health_hub.store.model import Filter
from health_hub.store.search import ordered, terms
from health_hub.store.search.sql import Sql
from health_hub.store.search.values import ELSEWHERE, matching, plans, test

# Up to these many, other resources are fetched and become keys; each key is one more look-up in the index.
CHAINED, REFERRING = 1000, 500
HIERARCHY = 10_000  # resources or codes below one


class World:
    """Where other resources are looked up: one reader within one filter. hurried: statistics are not waited for."""

    def __init__(self, reader: Any, filter: Filter, timeout: float | None, *, hurried: bool = False) -> None:
        self.hurried = hurried
        self.reader, self.filter, self.timeout = reader, filter, timeout
        self.dialect: str = reader.dialect
        self._access = Seen(filter)

    @staticmethod
    async def open(reader: Any, filter: Filter, timeout: float | None, *, hurried: bool = False) -> "World":
        """With what the filter needs to know."""
        world = World(reader, filter, timeout, hurried=hurried)
        if filter.elsewhere():
            world._access = await settled(filter, world.fetch, sqlite=world.dialect == "sqlite")
        return world

    @property
    def guarded(self) -> bool:
        return self.filter.grants is not None

    def seen(self, types: Sequence[int]) -> Condition:
        """What the filter asks of rows of these types."""
        return self._access.on(types)

    def sql(self, *, literal: bool = False) -> Sql:
        return Sql(self.dialect, self._access, literal=literal)

    async def fetch(self, text: str, args: Sequence[Any]) -> list[Any]:
        try:
            return await self.reader.fetch(text, args, self.timeout)  # type: ignore[no-any-return]
        except TimeoutError:
            raise too_long(self.timeout) from None

    async def select(self, columns: str, source: Source, limit: int) -> list[Any]:
        """Visible resources of a source, in no order."""
        if source.condition == NOTHING:
            return []
        sql = self.sql(literal=True)
        return await self.fetch(f"{sql.select(columns, source, 't')} LIMIT {limit}", sql.args)

    async def docs(self, source: Source, limit: int) -> list[dict[str, Any]]:
        return [loads(bytes(row[0])) for row in await self.select("doc", source, limit)]


def too_long(seconds: float | None) -> FhirError:
    return FhirError(503, Issue("too-costly", f"the search took longer than {seconds or 0:g} s; narrow it"))


def simple(node: Node) -> bool:
    """Whether the searched rows can answer it alone."""
    return type(node) is Test and node.modifier not in ELSEWHERE and node.param.code != "_list"


async def conditions(nodes: Iterable[Node], types: tuple[str, ...], world: World) -> Condition:
    """What resources of `types` (none: every type) must meet to meet all of these."""
    return all_([test(n, types) if simple(n) else await condition(n, types, world) for n in nodes])  # type: ignore[arg-type]


async def condition(node: Node, types: tuple[str, ...], world: World) -> Condition:
    match node:
        case And(parts=parts):
            return all_([await condition(p, types, world) for p in parts])
        case Or(parts=parts):
            return any_([await condition(p, types, world) for p in parts])
        case Not(part=part):
            return not_(await condition(part, types, world))
        case Chain():
            return await _chain(node, types, world)
        case Has():
            return await _has(node, types, world)
        case Test():
            if simple(node):
                return test(node, types)
            if node.param.code == "_list":
                return await _list(node, world)
            found = any_(
                [await _elsewhere(name, plan, value, node, world) for name, plan in plans(types, node.param.code) for value in node.values]
            )
            return not_(found) if node.modifier == "not-in" else found


def _paths(plan: Plan) -> list[tuple[int, frozenset[str] | None]]:
    """The `p` under which a reference parameter's keys are, with the types it may point to (None: any)."""
    match plan:
        case Direct():
            return [(plan.p, None)]
        case Restricted():
            return [(plan.of.p, frozenset(plan.targets))]
        case Union():
            return [path for p in plan.of for path in _paths(p)]
        case _:
            return []


def _by_targets(param: SearchParam, types: tuple[str, ...]) -> dict[frozenset[str] | None, list[int]]:
    found: dict[frozenset[str] | None, list[int]] = {}
    for _, plan in plans(types, param.code):
        for p, targets in _paths(plan):
            found.setdefault(targets, []).append(p)
    return found


def canonical(plan: Plan) -> bool:
    """Whether a reference parameter is of canonicals, which name a resource by its `url`."""
    return isinstance(plan, Direct) and "canonical" in plan.types


def by_url(p: int, resource: dict[str, Any]) -> int | None:
    """The key of canonicals that name this resource, of whatever version; None when it has no `url`."""
    url = resource.get("url")
    return p ^ keys.reference(url) if isinstance(url, str) else None


async def _chain(chain: Chain, types: tuple[str, ...], world: World) -> Condition:
    where = await condition(chain.where, chain.types, world)
    source = Source(tuple(map(type_number, chain.types)), where)
    every = [plan for _, plan in plans(types, chain.param.code)]
    ps = [plan.p for plan in every if isinstance(plan, Direct) and canonical(plan)]
    if not ps:
        return await _literal(chain, types, where, source, world)
    by_urls = await _canonical(ps, source, world)
    return by_urls if len(ps) == len(every) else any_([by_urls, await _literal(chain, types, where, source, world)])


async def _canonical(ps: list[int], source: Source, world: World) -> Condition:
    docs = await world.docs(source, CHAINED + 1)
    if len(docs) > CHAINED:
        raise FhirError(403, Issue("too-costly", f"the chain goes by the URLs of more than {CHAINED} resources; narrow it"))
    return Keys(tuple(key for doc in docs for p in ps if (key := by_url(p, doc)) is not None))


async def _literal(chain: Chain, types: tuple[str, ...], where: Condition, source: Source, world: World) -> Condition:
    paths = _by_targets(chain.param, types)
    rows = await world.select("type, self", source, CHAINED + 1)
    if len(rows) <= CHAINED:
        return Keys(
            tuple(
                p ^ row[1] for targets, ps in paths.items() for row in rows if targets is None or type_name(row[0]) in targets for p in ps
            )
        )
    out: list[Condition] = []
    for targets, ps in paths.items():
        reached = tuple(type_number(t) for t in chain.types if targets is None or t in targets)
        if reached:
            out.append(RefersTo(tuple(ps), Source(reached, where)))
    return any_(out)


async def _has(has: Has, types: tuple[str, ...], world: World) -> Condition:
    where = await condition(has.where, (has.type,), world)
    paths = _by_targets(has.param, (has.type,))
    number = type_number(has.type)
    rows = await world.select("doc", Source((number,), where), REFERRING + 1)
    wanted = {t for targets in paths for t in targets or ()} if None not in paths else None
    if len(rows) <= REFERRING:
        selves: dict[int, None] = {}
        urls: dict[str, None] = {}
        named = any(canonical(plan) for _, plan in plans((has.type,), has.param.code))
        for row in rows:
            for target in index.references(loads(bytes(row[0])), has.param):
                of, slash, _ = target.partition("/")
                if slash and of in _TYPES and (not types or of in types) and (wanted is None or of in wanted):
                    selves[keys.reference(target)] = None
                elif named:
                    urls[target.partition("|")[0]] = None
        return any_([Selves(tuple(selves)) if selves else NOTHING, *(terms.named(types, url) for url in urls)])
    out: list[Condition] = []
    for targets, ps in paths.items():
        found: Condition = ReferredBy(tuple(ps), Source((number,), where))
        out.append(found if targets is None else all_((OfType(tuple(map(type_number, targets))), found)))
    return any_(out)


_TYPES = frozenset(RESOURCE_TYPES)
_LIST_ITEM = "item"


async def _list(asked: Test, world: World) -> Condition:
    """_list=42: what List/42 names and has not marked as deleted."""
    ids = tuple(v.id for v in asked.values if isinstance(v, ReferenceValue) and v.id)
    selves: dict[int, None] = {}
    for doc in await world.docs(Source((type_number("List"),), Ids(ids)), len(ids)):
        kept = {**doc, "entry": [e for e in doc.get("entry", ()) if e.get("deleted") is not True]}
        for target in index.references(kept, terms.param("List", _LIST_ITEM)):
            selves[keys.reference(target)] = None
    return Selves(tuple(selves)) if selves else NOTHING


async def _elsewhere(name: str, plan: Plan, value: object, asked: Test, world: World) -> Condition:
    """:above, :below, :in and :not-in of one value on one type."""
    if isinstance(plan, Union):
        return any_([await _elsewhere(name, p, value, asked, world) for p in plan.of])
    if asked.modifier in ("in", "not-in"):
        assert isinstance(value, UriValue)
        assert isinstance(plan, Direct)
        codes = await terms.value_set(value.text, world)
        return any_([matching(name, plan, TokenValue(system, code), None) for system, code in codes])
    below = asked.modifier == "below"
    match value:
        case TokenValue():
            if not value.system or not value.code:
                raise bad_request(f"{asked.param.code}:{asked.modifier} needs system|code", "value")
            related = await terms.related(value.system, value.code, below=below, world=world)
            return any_([matching(name, plan, TokenValue(value.system, code), None) for code in related])
        case UriValue() if isinstance(plan, Direct):
            if below:
                return Ordered("string_key", (plan.p,), ordered.below_url(value.text))
            return Keys(tuple(plan.p ^ forms.value(*forms.uri(u)) for u in ordered.above_url(value.text)))
        case ReferenceValue():
            return await _hierarchy(name, plan, value, below, world)
    raise bad_request(f"{asked.param.code} has no :{asked.modifier}", "not-supported")


async def _hierarchy(name: str, plan: Plan, value: ReferenceValue, below: bool, world: World) -> Condition:
    """References to a place or organisation, or to any that is part of it (below) or that it is part of (above)."""
    if value.id is None:
        return matching(name, plan, value, None)
    targets = plan.targets if isinstance(plan, Direct | Restricted) else ()
    reached: dict[tuple[str, str], None] = {}
    for of in (value.type,) if value.type else targets or RESOURCE_TYPES:
        reached.update(dict.fromkeys(await _lineage(of, value.id, below, world)))
    return any_([matching(name, plan, ReferenceValue(t, i), None) for t, i in reached])


async def _lineage(of: str, id_: str, below: bool, world: World) -> list[tuple[str, str]]:
    """The resource itself and those above or below it by the parameter of its type that says `part of`."""
    param = next((p for code in ("partof", "part-of") if (p := terms.known(of, code)) and of in p.targets), None)
    seen: dict[str, None] = {id_: None}
    edge = [id_]
    while edge and param is not None:
        if below:
            paths = _by_targets(param, (of,))
            wanted = tuple(p ^ keys.reference(f"{of}/{i}") for ps in paths.values() for p in ps for i in edge)
            found = [row[0] for row in await world.select("id", Source((type_number(of),), Keys(wanted)), HIERARCHY + 1)]
        else:
            docs = await world.docs(Source((type_number(of),), Ids(tuple(edge))), len(edge))
            found = [t.partition("/")[2] for doc in docs for t in index.references(doc, param) if t.startswith(of + "/")]
        edge = [i for i in dict.fromkeys(found) if i not in seen]
        seen.update(dict.fromkeys(edge))
        if len(seen) > HIERARCHY:
            raise FhirError(403, Issue("too-costly", f"more than {HIERARCHY} resources lie {'below' if below else 'above'} {of}/{id_}"))
    return [(of, i) for i in seen]
