"""Conditional create, update, patch and delete: on none, one or several matches (R4 http.html#ccreate, #cond-update, #cdelete).

What matched is looked up first and expected again when committing, under a lock: when another client was faster the
whole interaction starts anew, so that twenty clients creating the same identifier make one resource.
"""

import asyncio
from collections.abc import Awaitable, Callable

from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.search.query import Query
from health_hub.fhir.search.split import split_query
from health_hub.rest import write
from health_hub.rest.hub import Hub, not_granted
from health_hub.rest.read import gone, unknown
from health_hub.rest.request import Pairs, Request
from health_hub.rest.respond import Response
from health_hub.store.model import Change, Expect, ExpectationChanged, Result, Stored

TURNS = 20
# Parameters that shape an answer, and the name Medplum's client gives a Binary's file; as a condition they say nothing.
_SHAPE = frozenset(
    ("_format", "_pretty", "_summary", "_elements", "_total", "_totalMethod", "_count", "_sort", "_include", "_revinclude", "_contained",
     "_filename")
)  # fmt: skip


def has_criteria(request: Request) -> bool:
    """Whether the URL of a create asks for something that a match could have."""
    return any(name.partition(":")[0] not in _SHAPE for name, _ in request.pairs)


def condition(hub: Hub, request: Request, type: str, pairs: Pairs) -> Query:
    """The search of a conditional interaction. Always strict: an ignored parameter would match what was not meant."""
    criteria = [(name, value) for name, value in pairs if name.partition(":")[0] not in _SHAPE]
    query = hub.query((type,), criteria, strict=True, base=request.base)
    if not query.where:
        raise bad_request(f"a conditional interaction needs search parameters of {type}", "required")
    return query


def if_none_exist(hub: Hub, request: Request, type: str, text: str) -> Query:
    """The condition of an If-None-Exist header: the query alone, or with `Type?` before it as some clients write it."""
    _, mark, query = text.partition("?")
    return condition(hub, request, type, split_query((query if mark else text).strip().encode("latin-1", "replace")))


async def create(hub: Hub, request: Request) -> Response:
    """No match: created. One: that one, 200. Several: 412.

    The condition stands in If-None-Exist, or in the URL as fhirpy's `get_or_create` writes it: ignoring it there would make duplicates.
    """
    resource = await write.incoming(request)
    resource.pop("id", None)
    await write.checked(request, resource)
    asked, type = request.header(b"if-none-exist"), request.type
    query = condition(hub, request, type, request.pairs) if asked is None else if_none_exist(hub, request, type, asked)

    async def attempt() -> Response:
        ids = await _ids(hub, request, query)
        if ids:
            stored = await _stored(hub, request, ids[0])
            return Response(200, stored=stored, location=write.location(request, stored), written=True)
        change = Change("create", request.type, None, resource, method="POST")
        return write.created(request, await _commit(hub, request, change, query, ids))

    return await _settled(attempt)


async def update(hub: Hub, request: Request) -> Response:
    """No match: created, under the body's id if it has one. One: updated. Several: 412."""
    resource = await write.incoming(request)
    given = resource.get("id")
    await write.checked(request, resource)
    query = condition(hub, request, request.type, request.pairs)

    async def attempt() -> Response:
        ids = await _ids(hub, request, query)
        if not ids:
            if request.if_match is not None:
                raise FhirError(412, Issue("conflict", "nothing matches, so there is no version that If-Match could mean"))
            # Something else under that id is not what was meant: 409 comes from the store.
            change = Change("create", request.type, given, resource, method="PUT", chosen=given is not None)
        else:
            if given is not None and given != ids[0]:
                raise bad_request(f"the match is {request.type}/{ids[0]}, the body's id is {given!r}", "invalid", f"{request.type}.id")
            change = Change("update", request.type, ids[0], resource, may_create=False, method="PUT")
            write.expect_version(request, change)
        return write.answer(request, await _commit(hub, request, change, query, ids))

    return await _settled(attempt)


async def patch(hub: Hub, request: Request) -> Response:
    """No match: 404. One: patched. Several: 412."""
    query = condition(hub, request, request.type, request.pairs)

    async def attempt() -> Response:
        ids = await _ids(hub, request, query)
        if not ids:
            raise unknown(f"{request.type}?{request.query.decode('latin-1')}")
        stored = await _stored(hub, request, ids[0])
        change = await write.patch_of(hub, request, stored)
        try:
            return write.answer(request, await _commit(hub, request, change, query, ids))
        except FhirError as e:
            if e.status == 412 and b"if-match" not in request.headers:
                raise ExpectationChanged from None
            raise

    return await _settled(attempt)


async def delete(hub: Hub, request: Request) -> Response:
    """No match: nothing to do. One: deleted. Several: 412, or all deleted where the hub is set so."""
    query = condition(hub, request, request.type, request.pairs)
    limit = hub.settings.conditional_delete_max if hub.settings.conditional_delete == "multiple" else 1

    async def attempt() -> Response:
        ids = (await hub.view(request, "s").find([query], limit + 1))[0]
        if len(ids) > limit:
            raise several(request.type, ids) if limit == 1 else _too_many(limit)
        if not ids:
            return Response(204, written=True)
        changes = [Change("delete", request.type, id, method="DELETE") for id in ids]
        if len(ids) == 1:
            write.expect_version(request, changes[0])
        # Every deletion is of a version that matched; several at once are expected to be the same set.
        expects = [Expect(query, tuple(ids), hub.view(request, "s").filter)] if len(ids) == 1 else []
        results = await hub.commit(request, changes, expects)
        return write.deleted(results[0]) if len(results) == 1 else Response(204, written=True)

    return await _settled(attempt)


def several(type: str, ids: list[str]) -> FhirError:
    why = f"several {type} resources match, {' and '.join(ids[:2])} among them; the condition must name one"
    return FhirError(412, Issue("multiple-matches", why))


def _too_many(limit: int) -> FhirError:
    return FhirError(412, Issue("too-costly", f"more than {limit} resources match"))


async def _ids(hub: Hub, request: Request, query: Query) -> list[str]:
    ids: list[str] = (await hub.view(request, "s").find([query], 2))[0]
    if len(ids) > 1:
        raise several(request.type, ids)
    return ids


async def _stored(hub: Hub, request: Request, id: str) -> Stored:
    stored: Stored | None = await hub.view(request).read(request.type, id)
    if stored is None:
        if await hub.only_found(request, request.type, id):
            raise not_granted(request.type, "r")
        raise ExpectationChanged
    if stored.deleted:
        raise ExpectationChanged from gone(stored)
    return stored


async def _commit(hub: Hub, request: Request, change: Change, query: Query, ids: list[str]) -> Result:
    results: list[Result] = await hub.commit(request, [change], [Expect(query, tuple(ids), hub.view(request, "s").filter)])
    return results[0]


async def _settled(attempt: Callable[[], Awaitable[Response]]) -> Response:
    for turn in range(TURNS):
        try:
            return await attempt()
        except ExpectationChanged:
            await asyncio.sleep(0.002 * turn)
    raise FhirError(409, Issue("conflict", "others keep changing what this request matches; try again"), [("Retry-After", "1")])
