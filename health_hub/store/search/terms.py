"""Codes below and above a code, and the codes of a value set: from stored CodeSystems and ValueSets, else from R4's own.

Stored resources are read within the same filter as the search, so a value set that may not be seen finds nothing.
"""

from typing import TYPE_CHECKING, Any

from fhir_profiles import tables
from fhir_profiles.tables import SearchParam, type_number
from health_hub.fhir.index import registry
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.search.query import UriValue
from health_hub.store.condition import Condition, Ids, Source, any_
from health_hub.store.search.values import matching, plans

if TYPE_CHECKING:
    from health_hub.store.search.resolve import World

CODES = 10_000  # of a value set, or below a code
_DEPTH = 20  # value sets that include value sets
Codes = dict[tuple[str, str | None], None]
"""(system, code); code None: every code of the system."""


def known(resource_type: str, code: str) -> SearchParam | None:
    return registry.params(resource_type).get(code)


def param(resource_type: str, code: str) -> SearchParam:
    return registry.params(resource_type)[code]


def named(types: tuple[str, ...], url: str) -> Condition:
    """Resources of that canonical URL, of the types that have one."""
    return any_(matching(name, plan, UriValue(url), None) for name, plan in plans(types, "url"))


async def _definition(kind: str, url: str, world: "World") -> dict[str, Any] | None:
    """The stored CodeSystem or ValueSet of a canonical URL, or of `ValueSet/id`; the latest written if there are several."""
    url, _, version = url.partition("|")
    name, slash, id_ = url.partition("/")
    by: Condition = Ids((id_,)) if slash and name == kind else named((kind,), url)
    rows = await world.select("updated, doc", Source((type_number(kind),), by), 20)
    docs = [loads(bytes(doc)) for _, doc in sorted(rows, key=lambda r: r[0], reverse=True)]
    return next((d for d in docs if not version or d.get("version") == version), None)


def _tree(system: dict[str, Any]) -> tuple[dict[str, list[str]], list[str]]:
    """(code -> codes right below it, all codes), by nesting and by the properties parent, child and subsumedBy."""
    below: dict[str, list[str]] = {}
    every: list[str] = []
    stack: list[tuple[str | None, dict[str, Any]]] = [(None, c) for c in reversed(system.get("concept", ()))]
    while stack:
        parent, concept = stack.pop()
        code = concept.get("code")
        if not isinstance(code, str):
            continue
        every.append(code)
        if parent is not None:
            below.setdefault(parent, []).append(code)
        for prop in concept.get("property", ()):
            other = prop.get("valueCode")
            if isinstance(other, str) and prop.get("code") in ("parent", "subsumedBy"):
                below.setdefault(other, []).append(code)
            elif isinstance(other, str) and prop.get("code") == "child":
                below.setdefault(code, []).append(other)
        stack += [(code, c) for c in reversed(concept.get("concept", ()))]
    return below, every


def _reach(start: str, edges: dict[str, Any]) -> list[str]:
    seen: dict[str, None] = {start: None}
    edge = [start]
    while edge:
        edge = [c for e in edge for c in edges.get(e, ()) if c not in seen]
        seen.update(dict.fromkeys(edge))
        if len(seen) > CODES:
            raise _too_many(f"{start} and what is below or above it")
    return list(seen)


def _too_many(what: str) -> FhirError:
    return FhirError(403, Issue("too-costly", f"{what[:200]}: more than {CODES} codes"))


async def _children(system: str, world: "World") -> tuple[dict[str, Any], list[str] | None]:
    stored = await _definition("CodeSystem", system, world)
    if stored is not None:
        below, every = _tree(stored)
        return below, every if stored.get("content") in ("complete", None) else None
    displays = tables.code_displays(system)
    return dict(tables.code_children(system)), None if displays is None else list(displays)


async def related(system: str, code: str, *, below: bool, world: "World") -> list[str]:
    """The code and those it subsumes (below), or that subsume it. A code nobody defines stands for itself."""
    edges, _ = await _children(system, world)
    if not below:
        above: dict[str, list[str]] = {}
        for parent, children in edges.items():
            for child in children:
                above.setdefault(child, []).append(parent)
        edges = above
    return _reach(code, edges)


async def value_set(url: str, world: "World") -> Codes:
    """Every code of a value set. FhirError if it is not known or too large."""
    codes = await _expand(url, world, ())
    if len(codes) > CODES:
        raise _too_many(f"value set {url}")
    return codes


async def _expand(url: str, world: "World", within: tuple[str, ...]) -> Codes:
    if url in within or len(within) > _DEPTH:
        raise bad_request(f"value set {url[:200]} includes itself", "value")
    stored = await _definition("ValueSet", url, world)
    if stored is None:
        systems = tables.value_set_systems(url)
        if systems is None:
            why = "cannot be listed here" if tables.is_value_set(url) else "is not known here"
            raise FhirError(400, Issue("not-supported" if tables.is_value_set(url) else "not-found", f"value set {url[:200]} {why}"))
        return {(s, c): None for s, codes in systems.items() for c in codes}
    compose = stored.get("compose")
    if compose is None:
        return _listed(stored.get("expansion", {}).get("contains", ()))
    codes: Codes = {}
    for part in compose.get("include", ()):
        codes.update(await _part(part, world, (*within, url), url))
    for part in compose.get("exclude", ()):
        gone = await _part(part, world, (*within, url), url)
        for system in {s for s, c in codes if c is None} & {s for s, _ in gone}:
            # Everything but some: only where everything is known.
            if (system, None) not in gone:
                _, every = await _children(system, world)
                if every is None:
                    raise bad_request(
                        f"value set {url[:200]} excludes codes of {system[:200]}, whose codes are not known here", "not-supported"
                    )
                codes.update({(system, c): None for c in every})
            codes.pop((system, None))
        whole = {s for s, c in gone if c is None}
        codes = {k: None for k in codes if k not in gone and k[0] not in whole}
    return codes


def _listed(contains: Any) -> Codes:
    codes: Codes = {}
    stack = list(contains)
    while stack:
        entry = stack.pop()
        if entry.get("code") and not entry.get("abstract"):
            codes[entry.get("system", ""), entry["code"]] = None
        stack += entry.get("contains", ())
    return codes


async def _part(part: dict[str, Any], world: "World", within: tuple[str, ...], url: str) -> Codes:
    """One include or exclude: a system's codes, all or listed or filtered, within every value set it names."""
    system = part.get("system")
    codes: Codes | None = None
    if system is not None:
        listed = [c["code"] for c in part.get("concept", ()) if "code" in c]
        filters = part.get("filter", ())
        if listed:
            codes = {(system, c): None for c in listed}
        elif filters:
            codes = await _filtered(system, filters, world, url)
        else:
            codes = {(system, None): None}
    for other in part.get("valueSet", ()):
        more = await _expand(other, world, within)
        codes = more if codes is None else _both(codes, more)
    return codes or {}


def _both(a: Codes, b: Codes) -> Codes:
    whole_a, whole_b = {s for s, c in a if c is None}, {s for s, c in b if c is None}
    return {k: None for k in (*a, *b) if (k in a or k[0] in whole_a) and (k in b or k[0] in whole_b)}


async def _filtered(system: str, filters: Any, world: "World", url: str) -> Codes:
    edges, every = await _children(system, world)
    found: set[str] | None = None
    for f in filters:
        value, op = f.get("value", ""), f.get("op")
        if f.get("property") not in ("concept", "code", "parent", "ancestor") or op not in (
            "is-a",
            "descendent-of",
            "is-not-a",
            "in",
            "not-in",
            "=",
            "generalizes",
        ):
            raise bad_request(
                f"value set {url[:200]} has a filter {str(f.get('property'))[:60]} {op} that is not supported here", "not-supported"
            )
        if op in ("in", "="):
            some = set(value.split(","))
            if f.get("property") == "parent":
                some = {c for v in some for c in edges.get(v, ())}
        elif op == "generalizes":
            some = set(await related(system, value, below=False, world=world))
        elif op == "not-in":
            some = set(_all(every, system, url)) - set(value.split(","))
        else:
            some = set(_reach(value, edges))
            if op == "descendent-of":
                some.discard(value)
            elif op == "is-not-a":
                some = set(_all(every, system, url)) - some
        found = some if found is None else found & some
    return {(system, c): None for c in sorted(found or ())}


def _all(every: list[str] | None, system: str, url: str) -> list[str]:
    if every is None:
        raise bad_request(f"value set {url[:200]} needs all codes of {system[:200]}, which are not known here", "not-supported")
    return every
