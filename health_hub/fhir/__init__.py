"""FHIR itself, without I/O: lossless JSON and XML, references, search grammar, index keys, outcomes."""
