"""Health Hub: a FHIR exchange, authorization server and telemedicine hub for a province."""

__version__ = "0.1.0"
