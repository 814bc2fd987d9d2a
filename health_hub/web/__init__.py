"""Pages and everything else that is not the FHIR API, by FastAPI."""
