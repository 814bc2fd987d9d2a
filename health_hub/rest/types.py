"""The resource types this server keeps: all of R4 but Parameters, which exists only in transit (R4 parameters.html)."""

from fhir_profiles.tables import RESOURCE_TYPES

TYPES = frozenset(RESOURCE_TYPES) - {"Parameters"}
