"""create, update, patch and delete by id (R4 http.html#create, #update, #patch, #delete)."""

import asyncio
from typing import Any

from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.validate import check
from health_hub.rest.hub import Hub
from health_hub.rest.patch import patched
from health_hub.rest.read import gone, is_id, unknown
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.store import blobs
from health_hub.store.model import Change, Result, Stored

# An update by several clients at once is settled within a few turns; a patch without If-Match just takes its turn again.
TURNS = 20


async def create(hub: Hub, request: Request) -> Response:
    resource = await incoming(request)
    resource.pop("id", None)  # R4 http.html#create: an id sent along is ignored
    await checked(request, resource)
    result = (await hub.commit(request, [Change("create", request.type, None, resource, method="POST")]))[0]
    return created(request, result)


async def update(hub: Hub, request: Request) -> Response:
    """Creates when there is nothing under the id (update-as-create), unless If-Match expects a version."""
    must_be_id(request)
    resource = await incoming(request)
    same_id(request, resource)
    await checked(request, resource)
    change = Change("update", request.type, request.id, resource, method="PUT")
    expect_version(request, change)
    return answer(request, (await hub.commit(request, [change]))[0])


async def delete(hub: Hub, request: Request) -> Response:
    """Deleting what is not there, or no longer, is no error (R4 http.html#delete)."""
    must_be_id(request)
    change = Change("delete", request.type, request.id, method="DELETE")
    expect_version(request, change)
    return deleted((await hub.commit(request, [change]))[0])


async def patch(hub: Hub, request: Request) -> Response:
    must_be_id(request)
    view = hub.view(request)
    for turn in range(TURNS):
        stored = await view.read(request.type, request.id)
        if stored is None:
            raise unknown(f"{request.type}/{request.id}")
        if stored.deleted:
            raise gone(stored)
        change = await patch_of(hub, request, stored)
        try:
            return answer(request, (await hub.commit(request, [change]))[0])
        except FhirError as e:
            if e.status != 412 or b"if-match" in request.headers or turn == TURNS - 1:
                raise
    raise AssertionError("the last turn raises")


async def patch_of(hub: Hub, request: Request, stored: Stored) -> Change:
    """The change a patch makes to this version; If-Match is held against it."""
    wanted = request.if_match
    if wanted is not None and wanted not in ("*", str(stored.version)):
        raise FhirError(412, Issue("conflict", f"{stored.reference} is at version {stored.version}, not {wanted[:50]}"))
    before = loads(stored.doc or b"{}")
    after = await patched(before, request)
    if after.get("resourceType") != stored.type or after.get("id") != stored.id:
        raise FhirError(422, Issue("business-rule", "a patch cannot change resourceType or id", (stored.type,)))
    check(after)
    # The content of a Binary that stands beside its document stays with it.
    blob = await blobs.number(hub.store.database, stored) if stored.type == "Binary" and "data" not in after else None
    return Change("update", stored.type, stored.id, after, if_version=stored.version, may_create=False, method="PATCH", blob=blob)


# --- what these and the conditional ones share


async def incoming(request: Request) -> dict[str, Any]:
    """The body as a resource of the type in the URL, not yet validated."""
    resource = await request.resource()
    if not isinstance(resource, dict):
        raise bad_request("the body is not a resource: a JSON object is expected", "structure")
    found = resource.get("resourceType")
    if found != request.type:
        if found is None:
            raise bad_request(f"the body has no resourceType; {request.type} is expected", "required", "resourceType")
        raise bad_request(f"the body is a {str(found)[:64]}, the URL says {request.type}", "invalid", "resourceType")
    return resource


async def checked(request: Request, resource: dict[str, Any]) -> None:
    """FhirError naming every problem unless the resource is valid R4."""
    if request.large:
        await asyncio.to_thread(check, resource)
    else:
        check(resource)


def must_be_id(request: Request) -> None:
    if not is_id(request.id):
        raise bad_request(f"{request.id[:70]!r} is no id: 1 to 64 letters, digits, '-' and '.'", "value", f"{request.type}.id")


def same_id(request: Request, resource: dict[str, Any]) -> None:
    """R4 http.html#update: the body's id is there and equals that of the URL."""
    found = resource.get("id")
    if found is None:
        raise bad_request(f"an update's body needs the id of the URL, {request.id!r}", "required", f"{request.type}.id")
    if found != request.id:
        raise bad_request(f"the body's id is {str(found)[:70]!r}, the URL's {request.id!r}", "invalid", f"{request.type}.id")


def expect_version(request: Request, change: Change) -> None:
    """If-Match and If-None-Match: * as a condition of the commit."""
    wanted = request.if_match
    if wanted is not None:
        if wanted == "*":
            change.may_create = False
        elif wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 10 and int(wanted) > 0:
            change.if_version = int(wanted)
        else:
            raise FhirError(412, Issue("conflict", f"no version has the tag {wanted[:50]!r}; tags look like W/\"3\""))
    elif request.if_none_match == "*" and change.action == "update":
        change.if_version = 0


def created(request: Request, result: Result) -> Response:
    return Response(201, stored=result.stored, location=location(request, result.stored), written=True)


def answer(request: Request, result: Result) -> Response:
    """201 or 200 to an update or patch."""
    if result.created:
        return created(request, result)
    return Response(200, stored=result.stored, headers=[("Content-Location", location(request, result.stored))], written=True)


def location(request: Request, stored: Stored) -> str:
    return f"{request.base}/{stored.type}/{stored.id}/_history/{stored.version}"


def deleted(result: Result) -> Response:
    return Response(204, stored=result.stored, written=True)
