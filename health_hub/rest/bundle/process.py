"""POST [base]: a Bundle to be processed as a batch or a transaction (R4 http.html#transaction)."""

from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.rest.bundle.batch import batch
from health_hub.rest.bundle.transaction import transaction
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.respond import Response


async def process(hub: Hub, request: Request) -> Response:
    bundle = await request.resource()
    if not isinstance(bundle, dict):
        raise bad_request("the body is not a Bundle: a JSON object is expected", "structure")
    found = bundle.get("resourceType")
    if found != "Bundle":
        raise bad_request(
            f"what is posted to [base] is a Bundle; a {str(found)[:64]} goes to [base]/{str(found)[:64]}", "invalid", "resourceType"
        )
    kind = bundle.get("type")
    if kind == "transaction":
        return await transaction(hub, request, bundle)
    if kind == "batch":
        request.batch = True
        return await batch(hub, request, bundle)
    why = "it is missing" if kind is None else f"{str(kind)[:64]!r} is kept with POST [base]/Bundle and not processed"
    raise FhirError(400, Issue("not-supported" if kind else "required", f"Bundle.type is batch or transaction: {why}", ("Bundle.type",)))
