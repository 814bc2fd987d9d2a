"""$meta, $meta-add and $meta-delete: profiles, tags and security labels (R4 resource-operation-meta.html)."""

from collections.abc import Callable
from typing import Any

import msgspec

from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.validate import check
from health_hub.rest import read
from health_hub.rest.hub import Hub
from health_hub.rest.operations.parameters import inputs, parameters
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.table import ANY, operation
from health_hub.rest.write import TURNS, expect_version
from health_hub.store import blobs
from health_hub.store.model import Change, Stored

_KINDS = ("profile", "security", "tag")
_NONE: frozenset[str] = frozenset()


class _OnlyMeta(msgspec.Struct):
    """Decodes nothing else of a document."""

    meta: dict[str, Any] = {}  # msgspec copies it


_decoder = msgspec.json.Decoder(_OnlyMeta)


@operation("instance", ANY, "meta")
async def meta(hub: Hub, request: Request) -> Response:
    """The meta of the current version, or of one version when called below _history."""
    await inputs(request, known=_NONE)
    found = await (read.vread if request.version else read.read)(hub, request)
    doc = found.stored.doc if found.stored is not None else None
    return parameters("return", "valueMeta", loads(doc or b"{}").get("meta") or {})


@operation("type", ANY, "meta")
async def meta_of_type(hub: Hub, request: Request) -> Response:
    return await _in_use(hub, request, (request.type,))


@operation("system", "", "meta")
async def meta_of_system(hub: Hub, request: Request) -> Response:
    return await _in_use(hub, request, ())


async def _in_use(hub: Hub, request: Request, types: tuple[str, ...]) -> Response:
    """Every profile, tag and label in use. Search keys are hashes that do not tell what they were made of: documents are read."""
    await inputs(request, known=_NONE)
    seen: dict[str, dict[Any, Any]] = {kind: {} for kind in _KINDS}
    async for stored in hub.view(request).scan(types):
        found = _decoder.decode(stored.doc or b"{}").meta
        for kind in _KINDS:
            for value in found.get(kind, ()):
                seen[kind].setdefault(_identity(value), value)
    return parameters("return", "valueMeta", {kind: list(values.values()) for kind, values in seen.items() if values})


def _identity(value: Any) -> Any:
    """A tag or label is its system and code, a profile its URL."""
    return (value.get("system"), value.get("code")) if isinstance(value, dict) else value


@operation("instance", ANY, "meta-add", reads=False)
async def meta_add(hub: Hub, request: Request) -> Response:
    return await _change(hub, request, _added)


@operation("instance", ANY, "meta-delete", reads=False)
async def meta_delete(hub: Hub, request: Request) -> Response:
    return await _change(hub, request, _removed)


def _added(have: list[Any], given: list[Any]) -> list[Any]:
    known = {_identity(v) for v in have}
    return have + [v for n, v in enumerate(given) if _identity(v) not in known and _identity(v) not in {_identity(o) for o in given[:n]}]


def _removed(have: list[Any], given: list[Any]) -> list[Any]:
    gone = {_identity(v) for v in given}
    return [v for v in have if _identity(v) not in gone]


async def _change(hub: Hub, request: Request, change: Callable[[list[Any], list[Any]], list[Any]]) -> Response:
    """A new version with the changed meta; none when nothing changes."""
    if request.version:
        raise FhirError(405, Issue("not-supported", "versions stay as they were written; call this on the resource itself"))
    given = (await inputs(request, known=frozenset(("meta",)))).one("meta")
    if not isinstance(given, dict):
        raise bad_request("parameter meta (valueMeta) is missing", "required", "Parameters.parameter")
    # Checked as the meta of some resource, so that bad codings are named as such.
    check({"resourceType": "Basic", "meta": given, "code": {"text": "meta"}})
    for turn in range(TURNS):
        stored = await _current(hub, request)
        resource = loads(stored.doc or b"{}")
        before = resource.get("meta") or {}
        after = {k: v for k, v in before.items() if k not in _KINDS}
        for kind in _KINDS:
            values = change(before.get(kind, []), given.get(kind, []))
            if values:
                after[kind] = values
        if after == before:
            return parameters("return", "valueMeta", before)
        wanted = Change("update", stored.type, stored.id, {**resource, "meta": after}, may_create=False, method="PUT")
        if stored.type == "Binary" and "data" not in resource:
            wanted.blob = await blobs.number(hub.store.database, stored)  # its content stays
        expect_version(request, wanted)
        if wanted.if_version is None:
            wanted.if_version = stored.version
        try:
            result = (await hub.commit(request, [wanted]))[0]
        except FhirError as e:
            if e.status != 412 or b"if-match" in request.headers or turn == TURNS - 1:
                raise
            continue
        return parameters("return", "valueMeta", loads(result.stored.doc or b"{}").get("meta") or {})
    raise AssertionError("the last turn raises")


async def _current(hub: Hub, request: Request) -> Stored:
    stored: Stored | None = await hub.view(request).read(request.type, request.id) if read.is_id(request.id) else None
    if stored is None:
        raise read.unknown(f"{request.type}/{request.id}")
    if stored.deleted:
        raise read.gone(stored)
    return stored
