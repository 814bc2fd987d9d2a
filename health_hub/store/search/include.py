"""What `_include` and `_revinclude` add to a page of matches (R4 search.html#include). All of it through the same filter."""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_profiles.tables import RESOURCE_TYPES, SearchParam, type_name, type_number
from health_hub.fhir import index, keys
from health_hub.fhir.index import Direct, Restricted, registry
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import Include
from health_hub.store.condition import NOTHING, Keys, Selves, Source
from health_hub.store.search import terms
from health_hub.store.search.resolve import World, by_url, canonical
from health_hub.store.search.sql import COLUMNS
from health_hub.store.search.values import plans

INCLUDED = 10_000  # resources beside the matches of a page
ROUNDS = 50  # of :iterate; each asks the database anew
KEYS = 50_000  # of one reverse include
_BATCH = 1000
_TYPES = frozenset(RESOURCE_TYPES)


async def included(matches: Sequence[Any], includes: Sequence[Include], world: World) -> tuple[list[Any], bool]:
    """Rows to add, each resource once; and whether there were more: than INCLUDED, or further away than ROUNDS references."""
    seen = {row[0] for row in matches}
    out: list[Any] = []
    new: Sequence[Any] = matches
    active: Sequence[Include] = includes
    for _ in range(ROUNDS):
        if not new or not active:
            return out, False
        found: dict[int, Any] = {}
        left = INCLUDED - len(out)
        for rows in [
            await _forward(new, [i for i in active if not i.reverse], world),
            *[await _reverse(new, i, left + 1, world) for i in active if i.reverse],
        ]:
            found.update((row[0], row) for row in rows if row[0] not in seen)
        fresh = list(found.values())
        if len(fresh) > left:
            return [*out, *fresh[:left]], True
        out += fresh
        seen.update(found)
        new = fresh
        active = [i for i in includes if i.iterate]
    return out, bool(new and active)


async def _forward(rows: Sequence[Any], includes: Sequence[Include], world: World) -> list[Any]:
    wanted: dict[str, None] = {}
    canonical: dict[tuple[str, tuple[str, ...]], None] = {}
    for row in rows if includes else ():
        name = type_name(row[1])
        mine = [i for i in includes if i.source in ("*", name)]
        if not mine:
            continue
        resource = loads(bytes(row[7]))
        for include in mine:
            for target in index.references(resource, include.param) if include.param else index.all_references(resource):
                of, slash, _ = target.partition("/")
                if slash and of in _TYPES:
                    if include.target in (None, of):
                        wanted[target] = None
                elif include.param is not None:
                    canonical[target, (include.target,) if include.target else include.param.targets] = None
    found = await _fetch([Source((), Selves(tuple(map(keys.reference, part)))) for part in _parts(list(wanted))], world)
    for (url, targets), _ in zip(canonical, range(_BATCH), strict=False):
        found += await _canonical(url, targets, world)
    return found


def _parts(values: list[Any]) -> Iterable[list[Any]]:
    return (values[at : at + _BATCH] for at in range(0, len(values), _BATCH))


async def _fetch(sources: Iterable[Source], world: World, limit: int | None = None) -> list[Any]:
    out: list[Any] = []
    for source in sources:
        sql = world.sql()
        text = sql.select(COLUMNS, source, "r")
        out += await world.fetch(text + (f" LIMIT {limit}" if limit is not None else ""), sql.args)
    return out


async def _canonical(url: str, targets: tuple[str, ...], world: World) -> list[Any]:
    """What a canonical names: the resources of that `url`, of the version if it says one, else the latest written."""
    plain, _, version = url.partition("|")
    by = terms.named(targets, plain)
    rows = await _fetch([Source((), by)], world, 100) if by != NOTHING else []
    if version:
        rows = [r for r in rows if loads(bytes(r[7])).get("version") == version]
    return sorted(rows, key=lambda r: r[4])[-1:]


async def _reverse(rows: Sequence[Any], include: Include, limit: int, world: World) -> list[Any]:
    sources = RESOURCE_TYPES if include.source == "*" else (include.source,)
    by_type: dict[str, list[str]] = {}
    for row in rows:
        name = type_name(row[1])
        if include.target in (None, name):
            by_type.setdefault(name, []).append(row[2])
    wanted: dict[int, None] = {}
    numbers: list[int] = []
    for source in sources:
        before = len(wanted)
        for p, targets in _paths(source, include.param):
            for name, ids in by_type.items():
                if not targets or name in targets:
                    wanted.update((p ^ keys.reference(f"{name}/{i}"), None) for i in ids)
        if include.param is not None:
            wanted.update((key, None) for key in _by_url(source, include.param, include.target, rows))
        if len(wanted) > before:
            numbers.append(type_number(source))
        if len(wanted) > KEYS:
            raise FhirError(
                403, Issue("too-costly", "this _revinclude asks for too much at once; name a type and a parameter, or ask for fewer a page")
            )
    return await _fetch([Source(tuple(numbers), Keys(tuple(part))) for part in _parts(list(wanted))], world, limit)


def _by_url(source: str, param: SearchParam, target: str | None, rows: Sequence[Any]) -> Iterable[int]:
    """The keys of canonicals of `source` that name what is in these rows."""
    for _, plan in plans((source,), param.code):
        if isinstance(plan, Direct) and canonical(plan):
            for row in rows:
                if target in (None, type_name(row[1])) and (key := by_url(plan.p, loads(bytes(row[7])))) is not None:
                    yield key


def _paths(source: str, param: SearchParam | None) -> dict[tuple[int, tuple[str, ...]], None]:
    """Where references of a type are found: (p, types they may point to)."""
    out: dict[tuple[int, tuple[str, ...]], None] = {}
    params = [param] if param is not None else [p for p in registry.params(source).values() if p.type == "reference"]
    for one in params:
        for _, plan in plans((source,), one.code):
            for place in plan.of if hasattr(plan, "of") and isinstance(plan.of, tuple) else (plan,):
                if isinstance(place, Direct):
                    out[place.p, place.targets] = None
                elif isinstance(place, Restricted) and (param is not None or not any(p == place.of.p for p, _ in out)):
                    out[place.of.p, place.targets] = None
    return out
