"""HTTP for FHIR: interactions, bundles, operations and the CapabilityStatement."""
