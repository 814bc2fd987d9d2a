"""Patches: JSON Patch (RFC 6902), FHIRPath Patch (R4 fhirpatch.html), JSON Merge Patch (RFC 7396).

Each takes a resource and gives a new one; the given one stays as it is. FhirError 400: the patch is malformed; 422: it does not
fit this resource. JSON and merge patches do just what their RFC says and may leave `[]` or `{}` behind, which FHIR does not have:
without_empty() takes them away before the outcome is validated.
"""

from health_hub.fhir.patch.fhirpath_patch import fhirpath_patch
from health_hub.fhir.patch.json_patch import json_patch
from health_hub.fhir.patch.merge_patch import merge_patch
from health_hub.fhir.patch.tree import without_empty

__all__ = ["fhirpath_patch", "json_patch", "merge_patch", "without_empty"]
