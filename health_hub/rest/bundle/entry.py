"""Reads the entries of a batch or transaction Bundle: what each one asks for, or every reason why it cannot (R4 bundle.html)."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.validate import check
from health_hub.rest.types import TYPES

Kind = Literal["create", "update", "patch", "delete", "get", "search", "operation"]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
_ENTRY = frozenset(("fullUrl", "resource", "request"))
_REQUEST = frozenset(("method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"))


@dataclass(slots=True)
class Entry:
    """One entry's request. `type` "" is the system level; `query` None where the url has no `?`."""

    index: int
    method: str
    url: str  # relative to the base
    kind: Kind
    type: str
    id: str | None
    query: str | None
    resource: dict[str, Any] | None
    full_url: str | None
    request: dict[str, Any] = field(repr=False)

    @property
    def at(self) -> str:
        return f"Bundle.entry[{self.index}]"

    @property
    def if_none_exist(self) -> str | None:
        return self.request.get("ifNoneExist")

    @property
    def reference(self) -> str | None:
        return f"{self.type}/{self.id}" if self.id else None


class Unreadable(Exception):
    """What is wrong with one entry."""

    def __init__(self, *issues: Issue) -> None:
        self.issues = issues
        super().__init__(issues[0].diagnostics)


def entries(bundle: dict[str, Any], limit: int) -> list[Any]:
    """The raw entries of a Bundle, checked for being a list of a bearable length; the Bundle around them is checked too."""
    check({name: value for name, value in bundle.items() if name != "entry"})
    found = bundle.get("entry", [])
    if not isinstance(found, list) or ("entry" in bundle and not found):
        raise FhirError(400, Issue("structure", "entry must be a list with at least one entry", ("Bundle.entry",)))
    if len(found) > limit:
        raise FhirError(413, Issue("too-costly", f"the Bundle has {len(found)} entries, the limit is {limit}", ("Bundle.entry",)))
    return found


def read(raw: Any, index: int, base: str) -> Entry:
    """One entry. Raises Unreadable with every issue found in it."""
    at = f"Bundle.entry[{index}]"
    if type(raw) is not dict:
        raise Unreadable(Issue("structure", "an entry must be an object", (at,)))
    issues: list[Issue] = []
    request = raw.get("request")
    if type(request) is not dict:
        raise Unreadable(Issue("required", "an entry of a batch or transaction needs a request", (f"{at}.request",)))
    if not (raw.keys() <= _ENTRY and request.keys() <= _REQUEST):
        issues += _unusual(raw, request, at)
    for name, value in request.items():
        if name in _REQUEST and (type(value) is not str or not value):
            issues.append(Issue("value", f"request.{name} must be a non-empty string", (f"{at}.request.{name}",)))
    full_url = raw.get("fullUrl")
    if full_url is not None and (type(full_url) is not str or not full_url or len(full_url.split()) != 1):
        issues.append(Issue("value", "fullUrl must be a URI", (f"{at}.fullUrl",)))
    elif full_url is not None and "/_history/" in full_url:
        issues.append(Issue("invariant", "bdl-8: fullUrl cannot be a version specific reference", (f"{at}.fullUrl",)))
    resource = raw.get("resource")
    if resource is not None and (type(resource) is not dict or type(resource.get("resourceType")) is not str):
        issues.append(Issue("structure", "resource must be an object with a resourceType", (f"{at}.resource",)))
    method, url = request.get("method"), request.get("url")
    if method is None:
        issues.append(Issue("required", "request.method is missing", (f"{at}.request.method",)))
    elif type(method) is str and method not in _METHODS:
        known = ", ".join(sorted(_METHODS))
        issues.append(Issue("code-invalid", f"request.method {method[:20]!r} is not one of {known}", (f"{at}.request.method",)))
    if url is None:
        issues.append(Issue("required", "request.url is missing", (f"{at}.request.url",)))
    if issues:
        raise Unreadable(*issues)
    assert isinstance(url, str)
    assert isinstance(method, str)
    return _interaction(index, at, method, url, base, resource, full_url, request)


def _unusual(raw: dict[str, Any], request: dict[str, Any], at: str) -> list[Issue]:
    """Of an entry with more than the usual elements (link, extension, ...): whether it may have them."""
    around = {name: value for name, value in raw.items() if name not in ("resource", "request")}
    rest = {name: value for name, value in request.items() if name not in ("method", "url")}
    known = {"method": "GET", "url": "metadata"}  # what is wrong with the real ones is told elsewhere
    try:
        check({"resourceType": "Bundle", "type": "batch", "entry": [{**around, "request": {**rest, **known}}]})
    except FhirError as e:
        found = [(i, tuple(x.replace("Bundle.entry[0]", at, 1) for x in i.expression)) for i in e.issues]
        return [Issue(i.code, i.diagnostics, where, i.severity) for i, where in found]
    return []


def relative(url: str, base: str) -> str:
    """A request's url relative to the base, whether it was given so, with a leading slash, or in full."""
    if url.startswith(base) and url[len(base) : len(base) + 1] in ("", "/", "?"):
        url = url[len(base) :]
    return url.lstrip("/")


def _interaction(
    index: int, at: str, method: str, url: str, base: str, resource: dict[str, Any] | None, full_url: str | None, request: dict[str, Any]
) -> Entry:
    where = (f"{at}.request.url",)
    url = relative(url, base)
    path, mark, query = url.partition("?")
    steps = path.split("/") if path else []
    if steps and steps[-1] == "" and len(steps) > 1:
        steps.pop()
    if "%" in path:
        steps = [unquote(s) for s in steps]

    def entry(kind: Kind, type_name: str = "", id_: str | None = None) -> Entry:
        return Entry(index, method, url, kind, type_name, id_, query if mark else None, resource, full_url, request)

    def refuse(why: str, code: str = "value") -> Unreadable:
        return Unreadable(Issue(code, f"request.url {url[:200]!r}: {why}", where))

    if "://" in path or path.startswith("urn:"):
        raise refuse("it is not on this server")
    type_name = steps[0] if steps and steps[0][:1] not in ("$", "_") and steps[0] != "metadata" else ""
    if type_name and type_name not in TYPES:
        raise refuse(f"{type_name[:64]!r} is no resource type that this server keeps", "not-supported")
    if method in ("GET", "HEAD"):
        return entry("get", type_name, steps[1] if type_name and len(steps) > 1 and _ID.match(steps[1]) else None)
    if method == "POST" and steps:
        if steps[-1][:1] == "$":
            return entry("operation", type_name, steps[1] if type_name and len(steps) > 2 else None)
        if steps[-1] == "_search":
            return entry("search", type_name)
    if not type_name or len(steps) > 2:
        raise refuse(f"{method} cannot be done there")
    id_ = steps[1] if len(steps) == 2 else None
    if id_ is not None and not _ID.match(id_):
        raise refuse(f"{id_!r} is not an id")
    if id_ is not None and mark and query:
        raise refuse(f"{method} takes either an id or a search, not both")
    if method == "POST":
        if id_ is not None or (mark and query):
            raise refuse("POST creates on the type: `POST Patient`")
        return _with_body(entry("create", type_name))
    if id_ is None and not query:
        raise refuse(f"{method} needs an id or a search: `{type_name}/id` or `{type_name}?identifier=...`")
    if method == "DELETE":
        if resource is not None:
            raise Unreadable(Issue("structure", "DELETE takes no resource", (f"{at}.resource",)))
        return entry("delete", type_name, id_)
    if method == "PATCH":
        found = entry("patch", type_name, id_)
        if resource is None:
            raise Unreadable(Issue("required", "PATCH needs a Binary (JSON Patch) or Parameters (FHIRPath Patch)", (f"{at}.resource",)))
        return found
    return _with_body(entry("update", type_name, id_))


def _with_body(entry: Entry) -> Entry:
    """POST and PUT: a resource of the url's type, and with PUT the url's id."""
    at, resource = entry.at, entry.resource
    if resource is None:
        raise Unreadable(Issue("required", f"{entry.method} needs a resource", (f"{at}.resource",)))
    if resource["resourceType"] != entry.type:
        raise Unreadable(
            Issue("value", f"the url says {entry.type}, the resource is a {resource['resourceType']}", (f"{at}.resource.resourceType",))
        )
    if entry.kind == "update" and entry.id is not None and resource.get("id") != entry.id:
        said = resource.get("id")
        why = f"the url says id {entry.id!r}, the resource " + (f"says {str(said)[:70]!r}" if said is not None else "has none")
        raise Unreadable(Issue("value", why, (f"{at}.resource.id",)))
    return entry


def version_of(etag: str, at: str, name: str) -> int:
    """The version in `W/"3"`, `"3"` or a bare `3` (fhirpy sends it so). -1 stands for a version that cannot exist."""
    text = etag.strip()
    text = text[2:] if text[:2] in ("W/", "w/") else text
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not text or '"' in text:
        raise FhirError(400, Issue("value", f'{name} {etag!r} is not an ETag like W/"1"', (f"{at}.request.{name}",)))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
