"""read and vread, conditional too (R4 http.html#read, #vread, #cread)."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.store.model import Stored

is_id = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z").match
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")


async def read(hub: Hub, request: Request) -> Response:
    """The current version: 404 when there never was one, 410 when it is deleted, 304 when the client has it."""
    stored = await hub.view(request).read(request.type, request.id) if is_id(request.id) else None
    if stored is None:
        raise unknown(f"{request.type}/{request.id}")
    if stored.deleted:
        raise gone(stored)
    if unchanged(request, stored):
        return Response(304, stored=stored, empty=True)
    return Response(200, stored=stored)


async def vread(hub: Hub, request: Request) -> Response:
    """One version, by number."""
    stored = None
    if is_id(request.id) and _VERSION.match(request.version):
        stored = await hub.view(request).vread(request.type, request.id, int(request.version))
    if stored is None:
        raise unknown(f"{request.type}/{request.id}/_history/{request.version}")
    if stored.deleted:
        raise gone(stored)
    if unchanged(request, stored):
        return Response(304, stored=stored, empty=True)
    return Response(200, stored=stored)


def unknown(reference: str) -> FhirError:
    return FhirError(404, Issue("not-found", f"{reference[:200]} is not known"))


def gone(stored: Stored) -> FhirError:
    return FhirError(410, Issue("deleted", f"{stored.reference} was deleted"), [("ETag", f'W/"{stored.version}"')])


def unchanged(request: Request, stored: Stored) -> bool:
    """Whether If-None-Match or, without it, If-Modified-Since says that the client has this version (RFC 9110 13.2.2)."""
    match = request.headers.get(b"if-none-match")
    if match is not None:
        return has_version(match, stored.version)
    since = request.headers.get(b"if-modified-since")
    if since is not None:
        seconds = http_seconds(since.decode("latin-1"))
        return seconds is not None and stored.updated // 1000 <= seconds
    return False


def has_version(header: bytes, version: int) -> bool:
    """Whether an entity tag of the list, weak, strong or bare, is this version's; `*` is every version's."""
    for tag in header.split(b","):
        tag = tag.strip()
        if tag == b"*" or tag.removeprefix(b"W/").strip(b'"') == b"%d" % version:
            return True
    return False


@lru_cache(maxsize=1024)
def http_seconds(text: str) -> int | None:
    """Seconds since 1970 of an HTTP date; None for what is none, which RFC 9110 says to ignore."""
    try:
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
