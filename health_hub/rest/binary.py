"""Binary: its content as it is, streamed both ways, in ranges; or as a FHIR resource when that is asked for (R4 binary.html#rest)."""

import base64
import binascii
import re
from collections.abc import AsyncIterator
from typing import Any

from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.validate import check
from health_hub.rest import negotiate, write
from health_hub.rest.hub import Hub
from health_hub.rest.read import gone, is_id, unchanged, unknown
from health_hub.rest.request import Request
from health_hub.rest.respond import Response, http_date
from health_hub.store import blobs
from health_hub.store.model import Change, Stored

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*\Z")
_HEADER_TEXT = re.compile(r"[\x20-\x7e]{1,200}\Z")
# What a stored page or image could do in a browser on this host: nothing.
_HARMLESS = [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'; sandbox"), ("Accept-Ranges", "bytes")]


async def read(hub: Hub, request: Request) -> Response:
    stored = await hub.view(request).read("Binary", request.id) if is_id(request.id) else None
    return await _serve(hub, request, stored, f"Binary/{request.id}")


async def vread(hub: Hub, request: Request) -> Response:
    stored = None
    if is_id(request.id) and request.version.isascii() and request.version.isdigit() and len(request.version) < 10:
        stored = await hub.view(request).vread("Binary", request.id, int(request.version))
    return await _serve(hub, request, stored, f"Binary/{request.id}/_history/{request.version}")


async def create(hub: Hub, request: Request) -> Response:
    """A FHIR Binary as any resource; anything else is content and is stored as it comes."""
    if await _is_resource(request):
        return await write.create(hub, request)
    change = await _upload(hub, request, Change("create", "Binary", None, method="POST"))
    return write.created(request, (await hub.commit(request, [change]))[0])


async def update(hub: Hub, request: Request) -> Response:
    if await _is_resource(request):
        return await write.update(hub, request)
    write.must_be_id(request)
    change = Change("update", "Binary", request.id, method="PUT")
    write.expect_version(request, change)
    change = await _upload(hub, request, change)
    return write.answer(request, (await hub.commit(request, [change]))[0])


async def _is_resource(request: Request) -> bool:
    if request.by_hand:
        return True
    kind = request.content_type.name
    if kind not in negotiate.FORMATS:
        return False
    if "fhir" in kind:
        return True
    try:  # generic JSON or XML may be either
        resource = await request.resource()
    except FhirError as e:
        if e.status != 400:
            raise
        return False
    return isinstance(resource, dict) and resource.get("resourceType") == "Binary"


async def _upload(hub: Hub, request: Request, change: Change) -> Change:
    resource: dict[str, Any] = {"resourceType": "Binary", "contentType": request.header(b"content-type") or "application/octet-stream"}
    if change.id is not None:
        resource["id"] = change.id
    context = request.header(b"x-security-context")
    if context:
        resource["securityContext"] = {"reference": context}
    check(resource)
    limit = hub.settings.max_binary
    change.blob, _ = await hub.store.stage(request.stream(limit), limit)
    change.resource = resource
    return change


async def _serve(hub: Hub, request: Request, stored: Stored | None, name: str) -> Response:
    if stored is None:
        raise unknown(name)
    if stored.deleted:
        raise gone(stored)
    if unchanged(request, stored):
        return Response(304, stored=stored, empty=True)
    resource = loads(stored.doc or b"{}")
    content_type = str(resource.get("contentType") or "application/octet-stream")
    if not _HEADER_TEXT.match(content_type):
        content_type = "application/octet-stream"
    if request.by_hand or _wants_resource(request, content_type):
        return await _as_resource(hub, request, stored, resource)
    return await _raw(hub, request, stored, resource, content_type)


def _wants_resource(request: Request, content_type: str) -> bool:
    if b"_format" in request.query or b"_summary" in request.query or b"_elements" in request.query:
        return True
    accept = request.header(b"accept")
    if accept is None:
        return False
    if negotiate.asked_for_fhir(accept):
        return True
    # Neither FHIR by name nor the content's own type: generic JSON or XML is better than nothing; else `format` says 406.
    return not negotiate.allows(accept, content_type)


async def _as_resource(hub: Hub, request: Request, stored: Stored, resource: dict[str, Any]) -> Response:
    format = request.format
    partial = b"_summary" in request.query or b"_elements" in request.query
    blob = None if "data" in resource else await blobs.number(hub.store.database, stored)
    if blob is None or (partial and request.parameter("_summary") not in (None, "data", "false")):
        return Response(200, stored=stored)
    pieces = hub.view(request).blob(stored)
    size = await blobs.length(hub.store.database, blob)
    if size * 4 // 3 < hub.settings.max_body:
        data = b"".join([piece async for piece in pieces])
        return Response(200, stored=stored, json=dumps(resource | {"data": base64.b64encode(data).decode()}))
    if format == "xml" or partial or request.by_hand:
        raise FhirError(406, Issue("too-costly", f"the content has {size} bytes: ask for it as it is, or as JSON"))
    head = (stored.doc or b"{}")[:-1] + b',"data":"'
    length = len(head) + (size + 2) // 3 * 4 + 2
    return Response(200, stored=stored, content=_encoded(head, pieces), content_type=negotiate.CONTENT_TYPE["json"], length=length)


async def _encoded(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    held = b""
    async for piece in pieces:
        held += piece
        whole = len(held) - len(held) % 3
        yield binascii.b2a_base64(held[:whole], newline=False)
        held = held[whole:]
    yield binascii.b2a_base64(held, newline=False) + b'"}'


async def _raw(hub: Hub, request: Request, stored: Stored, resource: dict[str, Any], content_type: str) -> Response:
    content: bytes | None = None
    if "data" in resource:
        content = base64.b64decode(str(resource["data"]))
        size = len(content)
    else:
        blob = await blobs.number(hub.store.database, stored)
        size = 0 if blob is None else await blobs.length(hub.store.database, blob)
        content = b"" if blob is None else None
    headers = list(_HARMLESS)
    context = (resource.get("securityContext") or {}).get("reference")
    if isinstance(context, str) and _HEADER_TEXT.match(context):
        headers.append(("X-Security-Context", context))
    part = _part(request, stored, size)
    start, stop = part or (0, size)
    if part is not None:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    return Response(
        200 if part is None else 206,
        stored=stored,
        content=hub.view(request).blob(stored, start, stop) if content is None else content[start:stop],
        content_type=content_type,
        length=stop - start,
        headers=headers,
    )


def _part(request: Request, stored: Stored, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a Range header; None: the whole (RFC 9110 14.2). Several ranges get the whole."""
    header = request.header(b"range")
    if header is None or request.method not in ("GET", "HEAD"):
        return None
    if_range = request.headers.get(b"if-range")
    if if_range is not None and if_range.strip() != http_date(stored.updated // 1000):
        return None
    match = _RANGE.match(header)
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < int(match[1]):
            return None
    else:
        start, stop = max(size - int(match[2]), 0), size
    if start >= size or start >= stop:
        issue = Issue("value", f"Range {header!r}: the content has {size} bytes")
        raise FhirError(416, issue, [("Content-Range", f"bytes */{size}")])
    return start, stop
