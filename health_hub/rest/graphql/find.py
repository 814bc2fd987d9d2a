"""Searches in GraphQL: `PatientList`, `PatientConnection`, and both within a resource by `_reference` (R4 graphql.html#searching)."""

from typing import Any

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import Query
from health_hub.rest import page
from health_hub.rest.graphql import schema
from health_hub.rest.graphql.document import Field, leaf_names, refuse
from health_hub.rest.graphql.execute import Run, truth, whole_number
from health_hub.rest.graphql.output import Output
from health_hub.rest.page import Place
from health_hub.store.model import Hit

_OWN = frozenset(("fhirpath", "_reference", "_count", "_offset", "_cursor", "cursor"))
_NOT_HERE = frozenset(("_include", "_revinclude", "_contained", "_containedType", "_summary", "_elements", "_total"))
_WHOLE = frozenset(("_sort", "_filter", "_type"))  # their commas are their own syntax
_CONTEXT = "graphql"


async def search(run: Run, field: Field, name: str, focus: str | None) -> list[Output]:
    """The answer to one search field: an Output a match, or one for the connection."""
    found = schema.search_of(name)
    assert found is not None
    type_name, kind = found
    return await (_list if kind == "List" else _connection)(run, field, type_name, focus)


def _pairs(arguments: dict[str, Any], type_name: str, focus: str | None) -> list[tuple[str, str]]:
    """Arguments as search parameters: `_` for `-` within names, a list for what REST separates by commas."""
    out: list[tuple[str, str]] = []
    if focus is not None:
        if "id" in arguments or "_id" in arguments:
            raise refuse(f"GraphQL: {type_name}List within a resource takes no id")
        out.append((_name(str(arguments["_reference"])), focus))
    elif "_reference" in arguments:
        raise refuse("GraphQL: _reference belongs to searches within a resource")
    for name, value in arguments.items():
        if name in _OWN or value is None:
            continue
        if name in _NOT_HERE:
            raise refuse(f"GraphQL: {name} is not supported here", "not-supported")
        values = value if isinstance(value, list) else [value]
        if name == "id":
            name = "_id"
        texts = [_text(v) if name in _WHOLE else _text(v).replace(",", "\\,") for v in values]
        out.append((_name(name), ",".join(texts)))
    return out


def _name(name: str) -> str:
    return name if name[:1] == "_" else name.replace("_", "-")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise refuse("GraphQL: a search argument is a plain value or a list of them")
    return str(value)


def _query(run: Run, type_name: str, pairs: list[tuple[str, str]]) -> Query:
    return run.hub.query((type_name,), pairs, strict=True, base=run.request.base)


async def _list(run: Run, field: Field, type_name: str, focus: str | None) -> list[Output]:
    """All matches, or as many as `_count` says. More than the hub gives at once is an error, never a silent cut."""
    arguments = field.arguments
    if "_cursor" in arguments or "cursor" in arguments:
        raise refuse(f"GraphQL: {type_name}List has no pages; {type_name}Connection has")
    query = _query(run, type_name, _pairs(arguments, type_name, focus))
    count, skip = whole_number(arguments, "_count"), whole_number(arguments, "_offset") or 0
    most = run.hub.settings.count_max
    if count is not None and count > most:
        raise refuse(f"GraphQL: _count is {most} at most", "too-costly")
    run.spend(skip)
    hits: list[Hit] = []
    cursor: Any = None
    wanted = skip + (count if count is not None else most + 1)
    while len(hits) < wanted:
        query.count = min(wanted - len(hits), most)
        found = await run.view.search(query, cursor)
        hits += [h for h in found.hits if h.mode == "match"]
        cursor = found.cursor
        if cursor is None:
            break
    if count is None and len(hits) - skip > most:
        raise refuse(f"GraphQL: {type_name}List matches more than {most}; say _count, or use {type_name}Connection", "too-costly")
    return _outputs(run, field, type_name, hits[skip:wanted])


def _outputs(run: Run, field: Field, type_name: str, hits: list[Hit]) -> list[Output]:
    out: list[Output] = []
    for n, resource in enumerate(_matching(run, field, hits)):
        inner = Output()
        assert field.children is not None
        run.select(field.children, type_name, resource, inner)
        out.append(inner)
        if field.first and n == 0:
            break
    return out


def _matching(run: Run, field: Field, hits: list[Hit]) -> list[dict[str, Any]]:
    resources = [run.found(hit.stored) for hit in hits]
    text = field.arguments.get("fhirpath")
    if text is None:
        return resources
    return [r for n, r in enumerate(resources) if truth(run.path(str(text), r["resourceType"], r, n, r))]


async def _connection(run: Run, field: Field, type_name: str, focus: str | None) -> list[Output]:
    """One page. Its links are sealed: they hold the search itself, which is why none may be given beside a cursor."""
    arguments, settings = field.arguments, run.hub.settings
    secret = run.hub.store.secret
    token = arguments.get("_cursor", arguments.get("cursor"))
    if token is not None:
        if focus is not None:
            raise refuse("GraphQL: a cursor belongs to the root of a query")
        if arguments.keys() - {"_cursor", "cursor"}:
            raise refuse("GraphQL: the cursor says what is searched for; no other argument goes with it")
        kind, pairs, size, offset, cursor, before = page.unseal(secret, _CONTEXT, str(token)).cursor
        if kind != type_name:
            raise refuse(f"GraphQL: the cursor is of a {kind}Connection")
        pairs = [(name, value) for name, value in pairs]
    else:
        pairs = _pairs(arguments, type_name, focus)
        size = min(whole_number(arguments, "_count") or settings.count_default, settings.count_max)
        offset, cursor, before = whole_number(arguments, "_offset") or 0, None, []
    query = _query(run, type_name, pairs)
    asked = leaf_names(field.children or ())
    query.total = "accurate" if "count" in asked and token is None else None
    if token is None and offset:
        run.spend(offset)
        query.count = offset
        cursor = (await run.view.search(query, None)).cursor if offset <= settings.count_max else _too_far(settings.count_max)
    query.count = size
    found = await run.view.search(query, cursor) if not (token is None and offset and cursor is None) else None
    hits = [h for h in found.hits if h.mode == "match"] if found is not None else []
    total = (
        await run.view.count(query)
        if "count" in asked and (found is None or found.total is None)
        else found.total
        if found is not None
        else None
    )

    def sealed(at: int, where: Any, trail: list[Any]) -> str:
        return page.seal(secret, _CONTEXT, Place([type_name, pairs, size, at, where, trail]))

    onward = found.cursor if found is not None else None
    scalars: dict[str, Any] = {
        "count": total, "offset": offset, "pagesize": size, "pageSize": size,
        "first": sealed(0, None, []),
        "previous": sealed(before[-1][0], before[-1][1], before[:-1]) if before else None,
        "next": sealed(offset + len(hits), onward, [*before, [offset, cursor]][-page.BACK :]) if onward is not None else None,
        "last": None,
    }  # fmt: skip
    out = Output()
    for child in field.children or ():
        if child.name == "edges":
            slot = out.slot(child.key, "list", "match")
            slot.values += [_edge(run, child, type_name, resource) for resource in _matching(run, field, hits)]
        elif child.name == "__typename":
            out.slot(child.key, "one", "").values.append(f"{type_name}Connection")
        elif scalars.get(child.name) is not None:
            out.slot(child.key, "one", "").values.append(scalars[child.name])
    return [out]


def _too_far(most: int) -> Any:
    raise FhirError(400, Issue("too-costly", f"GraphQL: _offset is {most} at most; follow `next` instead"))


def _edge(run: Run, field: Field, type_name: str, resource: dict[str, Any]) -> Output:
    out = Output()
    for child in field.children or ():
        if child.name == "mode":
            out.slot(child.key, "one", "").values.append("match")
        elif child.name == "__typename":
            out.slot(child.key, "one", "").values.append(f"{type_name}Edge")
        elif child.name == "resource":
            inner = Output()
            out.slot(child.key, "one", "").values.append(inner)
            assert child.children is not None
            run.select(child.children, type_name, resource, inner)
    return out
