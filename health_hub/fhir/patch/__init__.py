"""Patches: JSON Patch (RFC 6902), FHIRPath Patch (R4 fhirpatch.html), JSON Merge Patch (RFC 7396).

Each takes a resource and gives a new one; the given one stays as it is. FhirError 400: the patch is malformed; 422: it does not fit
this resource.
"""

from health_hub.fhir.patch.fhirpath_patch import fhirpath_patch
from health_hub.fhir.patch.json_patch import json_patch
from health_hub.fhir.patch.merge_patch import merge_patch

__all__ = ["fhirpath_patch", "json_patch", "merge_patch"]
