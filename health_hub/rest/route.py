"""Which interaction a method and a path below [base] ask for (R4 http.html#summary); 404 and 405 where there is none."""

from typing import NamedTuple

from fhir_profiles import tables
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest import async_, binary, capability, conditional, history, operations, read, search, table, write
from health_hub.rest.bundle.process import process
from health_hub.rest.hub import Interaction
from health_hub.rest.request import Request
from health_hub.rest.types import TYPES


class Route(NamedTuple):
    """`long`: may take `timeout_long`. `streams`: reads its body by itself. `detach`: may be answered asynchronously."""

    interaction: Interaction
    long: bool = False
    streams: bool = False
    detach: bool = False


_READ = Route(read.read)
_VREAD = Route(read.vread)
_SEARCH = Route(search.search, detach=True)
_SEARCH_FORM = Route(search.search_form, detach=True)
_COMPARTMENT = Route(search.search_compartment, detach=True)
_COMPARTMENT_FORM = Route(search.search_compartment_form, detach=True)
_HISTORY = Route(history.history, detach=True)
_INSTANCE = {"GET": _READ, "PUT": Route(write.update), "PATCH": Route(write.patch), "DELETE": Route(write.delete)}
_TYPE = {"GET": _SEARCH, "POST": Route(write.create), "PUT": Route(conditional.update), "PATCH": Route(conditional.patch),
         "DELETE": Route(conditional.delete, long=True)}  # fmt: skip
_CREATE_IF_NONE = Route(conditional.create)
_SYSTEM = {"GET": _SEARCH, "POST": Route(process, long=True, detach=True)}
_BINARY = {"GET": Route(binary.read, long=True), "PUT": Route(binary.update, long=True, streams=True), "PATCH": Route(write.patch),
           "DELETE": Route(write.delete)}  # fmt: skip
_BINARY_CREATE = Route(binary.create, long=True, streams=True)
_BINARY_VREAD = Route(binary.vread, long=True)
_METADATA = Route(capability.metadata)
_JOB = {"GET": Route(async_.status), "DELETE": Route(async_.cancel)}

assert operations  # importing them registered them


def route(request: Request) -> Route:
    """Finds the interaction and tells the request its type, id and version. HEAD is GET without the body."""
    method = "GET" if request.method == "HEAD" else request.method
    segments = request.segments
    n = len(segments)
    if n == 2 and segments[0] in TYPES and segments[1][:1] not in ("$", "_"):
        request.type, request.id = segments
        return _of(_INSTANCE if request.type != "Binary" else _BINARY, method)
    if n == 1 and segments[0] in TYPES:
        request.type = segments[0]
        if method == "POST":
            if b"if-none-exist" in request.headers or (request.query and conditional.has_criteria(request)):
                return _CREATE_IF_NONE
            if request.type == "Binary":
                return _BINARY_CREATE
        return _of(_TYPE, method)
    if n == 0:
        return _of(_SYSTEM, method)
    return _other(request, method, segments, n)


def _other(request: Request, method: str, segments: list[str], n: int) -> Route:
    first, last = segments[0], segments[-1]
    if n == 1:
        if first == "metadata":
            return _of({"GET": _METADATA}, method)
        if first == "_history":
            return _of({"GET": _HISTORY}, method)
        if first == "_search":
            return _of({"POST": _SEARCH_FORM}, method)
        if first[:1] == "$":
            return _operation("system", "", first, method)
    elif first == async_.PATH and n == 2:
        request.id = last
        return _of(_JOB, method)
    if first not in TYPES:
        if tables.is_resource_type(first) or first[:1].isupper():
            raise FhirError(404, Issue("not-supported", f"{first[:64]} is no resource type that this server keeps"))
        raise nowhere(segments)
    request.type = first
    if n == 2:
        if last == "_history":
            return _of({"GET": _HISTORY}, method)
        if last == "_search":
            return _of({"POST": _SEARCH_FORM}, method)
        if last[:1] == "$":
            return _operation("type", first, last, method)
        raise nowhere(segments)
    request.id = segments[1]
    if n == 3:
        if last == "_history":
            return _of({"GET": _HISTORY}, method)
        if last[:1] == "$":
            return _operation("instance", first, last, method)
        if last in TYPES or last == "*":
            return _of({"GET": _COMPARTMENT}, method)
    elif segments[2] == "_history":
        request.version = segments[3]
        if n == 4:
            return _of({"GET": _VREAD if first != "Binary" else _BINARY_VREAD}, method)
        if n == 5 and last[:1] == "$":
            return _operation("instance", first, last, method)
    elif n == 4 and last == "_search" and (segments[2] in TYPES or segments[2] == "*"):
        return _of({"POST": _COMPARTMENT_FORM}, method)
    raise nowhere(segments)


def _operation(level: table.Level, type: str, name: str, method: str) -> Route:
    found = table.find(level, type, name[1:])
    if found is None:
        where = {"system": "the system", "type": type, "instance": f"one {type}"}[level]
        raise FhirError(404, Issue("not-supported", f"there is no operation {name[:64]} on {where}"))
    made = Route(found.function, long=True, detach=True)
    return _of({"GET": made, "POST": made} if found.reads else {"POST": made}, method)


def _of(routes: dict[str, Route], method: str) -> Route:
    found = routes.get(method)
    if found is None:
        allow = [*(["GET", "HEAD"] if "GET" in routes else []), *(m for m in routes if m != "GET")]
        raise FhirError(405, Issue("not-supported", f"{method[:20]} is not allowed here"), [("Allow", ", ".join(allow))])
    return found


def nowhere(segments: list[str]) -> FhirError:
    path = "/".join(segments)
    return FhirError(404, Issue("not-found", f"there is nothing at [base]/{path[:200]}"))
