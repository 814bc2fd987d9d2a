"""Patient/$emergency-access: opens one person's record for some hours, seen by the patient and the auditor (docs/security.md)."""

from health_hub.access import emergency
from health_hub.access.gate import Access
from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.rest import read
from health_hub.rest.hub import Hub
from health_hub.rest.operations.parameters import Inputs, inputs
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.table import operation
from health_hub.store.model import Stored

_DEFINITION = "https://health-hub.vn/fhir/OperationDefinition/Patient-emergency-access"
_NAMES = frozenset(("reason", "note"))


@operation("instance", "Patient", "emergency-access", definition=_DEFINITION, reads=False)
async def on_one(hub: Hub, request: Request) -> Response:
    """With `reason` and `note`."""
    given = await inputs(request, known=_NAMES)
    patients = await emergency.by_id(hub.store, request.id) if read.is_id(request.id) else []
    return await _grant(hub, request, given, patients, f"Patient/{request.id}")


@operation("type", "Patient", "emergency-access", definition=_DEFINITION, reads=False)
async def by_number(hub: Hub, request: Request) -> Response:
    """With `identifier`, `reason` and `note`; opens what each facility has of the person."""
    given = await inputs(request, known=_NAMES | {"identifier"})
    identifier = given.one("identifier")
    if not isinstance(identifier, dict):
        raise bad_request("parameter identifier (valueIdentifier) is missing", "required", "Parameters.parameter")
    _access(request)
    patients = await emergency.by_identifier(hub.store, identifier)
    return await _grant(hub, request, given, patients, "a Patient with this identifier")


def _access(request: Request) -> Access:
    if request.access is None:
        raise FhirError(400, Issue("not-supported", "the hub runs without access control: every record is open"))
    emergency.may(request.access)
    return request.access


async def _grant(hub: Hub, request: Request, given: Inputs, patients: list[Stored], name: str) -> Response:
    access = _access(request)
    reason = given.one("reason")
    code = reason.get("code") if isinstance(reason, dict) else reason
    granted = await emergency.grant(
        hub.store, access, patients, str(code or ""), str(given.one("note") or ""), hub.settings.emergency_hours, name
    )
    out = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "until", "valueInstant": hub.store.clock.text(granted.until)},
            *({"name": "patient", "valueReference": {"reference": p.reference}} for p in granted.patients),
        ],
    }
    return Response(200, resource=out)
