"""Which kind of patch a body is, and what it makes of a resource (R4 http.html#patch)."""

import binascii
from typing import Any

from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.patch import fhirpath_patch, json_patch, merge_patch
from health_hub.rest import negotiate
from health_hub.rest.request import Request

KINDS = "application/json-patch+json (JSON Patch), application/fhir+json or +xml (FHIRPath Patch), application/merge-patch+json"
ACCEPT_PATCH = "application/json-patch+json, application/fhir+json, application/fhir+xml, application/merge-patch+json"


async def patched(resource: dict[str, Any], request: Request) -> dict[str, Any]:
    """The resource after the patch of the body. Not yet validated; the given resource stays as it is."""
    kind, body = await _read(request)
    return apply(resource, kind, body)


def apply(resource: dict[str, Any], kind: str, body: Any) -> dict[str, Any]:
    """`kind` is the content type without parameters."""
    after: Any
    if kind == "application/json-patch+json" or isinstance(body, list):
        if not isinstance(body, list):
            raise bad_request("a JSON Patch is an array of operations", "structure")
        after = json_patch(resource, body)
    elif not isinstance(body, dict):
        raise bad_request("a patch is an object or an array", "structure")
    elif kind != "application/merge-patch+json" and body.get("resourceType") == "Parameters":
        after = fhirpath_patch(resource, body)
    elif kind == "application/merge-patch+json" or negotiate.FORMATS.get(kind) == "json":
        # fhirpy sends the members to change as application/json: the whole of it is a merge.
        after = merge_patch(resource, body)
    else:
        raise bad_request("a FHIRPath Patch is a Parameters resource", "structure")
    if not isinstance(after, dict):
        raise FhirError(422, Issue("structure", "the patch leaves no resource"))
    return after


async def _read(request: Request) -> tuple[str, Any]:
    kind = request.content_type.name or "application/json-patch+json"
    if kind in ("application/json-patch+json", "application/merge-patch+json"):
        return kind, loads(await request.body())
    if request.body_format is None:
        issue = Issue("not-supported", f"Content-Type {kind!r} is no patch; this server takes {KINDS}")
        raise FhirError(415, issue, [("Accept-Patch", ACCEPT_PATCH)])
    body = await request.resource()
    if isinstance(body, dict) and body.get("resourceType") == "Binary":
        return _binary(body)
    return kind, body


def _binary(binary: dict[str, Any]) -> tuple[str, Any]:
    """A patch wrapped in a Binary, as entries of Bundles carry it (R4 http.html#patch)."""
    kind = negotiate.media_type(str(binary.get("contentType", ""))).name
    if kind not in ("application/json-patch+json", "application/merge-patch+json") and negotiate.FORMATS.get(kind) != "json":
        why = f"contentType {kind!r} is no patch; this server takes {KINDS}"
        raise FhirError(415, Issue("not-supported", why, ("Binary.contentType",)))
    try:
        data = binascii.a2b_base64(str(binary.get("data", "")))
    except binascii.Error:
        raise bad_request("the patch is not base64", "value", "Binary.data") from None
    return kind, loads(data)
