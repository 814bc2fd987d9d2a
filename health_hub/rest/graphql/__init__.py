"""FHIR GraphQL (R4 graphql.html): the document read and checked, run against a View, and its answer put together."""
