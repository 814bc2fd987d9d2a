"""$validate: would this content be acceptable (R4 resource-operation-validate.html). Always 200 when that could be told."""

from typing import Any

from fhir_profiles import tables
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request, outcome
from health_hub.fhir.validate import check
from health_hub.rest import read
from health_hub.rest.hub import Hub
from health_hub.rest.operations.parameters import inputs
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.table import ANY, operation

_MODES = ("create", "update", "delete", "profile")
_NAMES = frozenset(("resource", "mode", "profile"))
_BASE = "http://hl7.org/fhir/StructureDefinition/"


@operation("type", ANY, "validate")
async def validate_type(hub: Hub, request: Request) -> Response:
    return await _validate(hub, request)


@operation("instance", ANY, "validate")
async def validate_instance(hub: Hub, request: Request) -> Response:
    return await _validate(hub, request)


async def _validate(hub: Hub, request: Request) -> Response:
    given = await inputs(request, known=_NAMES, resources=frozenset("*"))
    mode = given.text("mode")
    if mode is not None and mode not in _MODES:
        raise bad_request(f"mode={mode[:50]!r}: it is one of {', '.join(_MODES)}", "code-invalid", "mode")
    if mode in ("update", "delete") and not request.id:
        raise bad_request(f"mode={mode} belongs to one resource: [base]/{request.type}/[id]/$validate", "invalid", "mode")
    _known_profile(given.text("profile"), request.type)
    resource = given.body if given.body is not None else given.one("resource")
    issues: list[Issue] = []
    if mode == "delete":
        await _present(hub, request, issues)
    else:
        if resource is None:
            resource = await _stored(hub, request)
        issues += _problems(resource, request.type)
        if mode == "update":
            await _present(hub, request, issues)
            if isinstance(resource, dict) and resource.get("id") != request.id:
                why = f"an update's body needs the id of the URL, {request.id!r}"
                issues.append(Issue("value", why, (f"{request.type}.id",)))
    if not issues:
        issues.append(Issue("informational", "No problem was found", severity="information"))
    return Response(200, resource=outcome(issues), subset_done=True)


def _problems(resource: Any, type_name: str) -> list[Issue]:
    try:
        check(resource, expected_type=type_name)
    except FhirError as e:
        return list(e.issues)
    return []


def _known_profile(profile: str | None, type_name: str) -> None:
    """R4: a server that cannot validate against the profile asked for says so."""
    if profile is None:
        return
    name = profile.partition("|")[0].removeprefix(_BASE)
    if not profile.startswith(_BASE) or not tables.is_resource_type(name):
        raise FhirError(422, Issue("not-supported", f"the profile {profile[:200]} cannot be validated against here", ("profile",)))
    if name != type_name:
        raise bad_request(f"the profile is of {name}, the URL says {type_name}", "invalid", "profile")


async def _stored(hub: Hub, request: Request) -> Any:
    """Without a resource, the one that is stored is validated."""
    if not request.id:
        raise bad_request("the resource to validate is missing", "required", "resource")
    found = (await read.read(hub, request)).stored
    return loads(found.doc or b"{}") if found is not None else None


async def _present(hub: Hub, request: Request, issues: list[Issue]) -> None:
    """Whether there is something to update or delete, at the version If-Match names."""
    stored = await hub.view(request).read(request.type, request.id) if read.is_id(request.id) else None
    if stored is None or stored.deleted:
        what = "is not known" if stored is None else "is deleted"
        severity = "warning" if request.parameter("mode") == "update" else "error"
        issues.append(Issue("not-found" if stored is None else "deleted", f"{request.type}/{request.id} {what}", severity=severity))
    elif request.if_match is not None and request.if_match not in ("*", str(stored.version)):
        issues.append(Issue("conflict", f"{stored.reference} is at version {stored.version}, not {request.if_match[:50]}"))
