"""FHIR definitions as data: compact R4 tables, their loader, FHIRPath and the validator."""
