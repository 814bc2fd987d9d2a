"""The FHIRPath engine with what lives on this floor: UCUM. Import it from here, so that quantities convert."""

from datetime import tzinfo

from fhir_profiles.fhirpath import (
    Expression,
    FHIRPathError,
    Hooks,
    Node,
    compile_,
    set_ucum,
    set_zone,
)
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.ucum import canonical

__all__ = ["Expression", "FHIRPathError", "Hooks", "Node", "compile_", "refusal", "use_zone"]

set_ucum(canonical)


def use_zone(zone: tzinfo) -> None:
    """The zone in which now() and today() are told (the setting; +07:00 until it is called)."""
    set_zone(zone)


def refusal(error: FHIRPathError, expression: str) -> FhirError:
    """What a client hears of its expression: 400 if it is none, 422 if it fails on the data or costs too much."""
    code = {"limit": "too-costly", "execution": "processing"}.get(error.kind, "invalid")
    status = 400 if error.kind in ("syntax", "semantic") else 422
    return FhirError(status, Issue(code, f"the FHIRPath {expression[:200]!r}: {error}"))
