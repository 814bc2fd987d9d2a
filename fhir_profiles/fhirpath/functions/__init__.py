"""The functions of FHIRPath N1 and those FHIR R4 adds, by the chapters of the standard. Importing registers them."""

from fhir_profiles.fhirpath.functions import conversion, existence, fhir, math, strings, subsetting, tree, typing

__all__ = ["conversion", "existence", "fhir", "math", "strings", "subsetting", "tree", "typing"]
