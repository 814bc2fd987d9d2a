"""The operations, one file each; importing this registers them (`health_hub.rest.table`)."""

from health_hub.rest.operations import emergency, everything, graphql, lastn, meta, validate

__all__ = ["emergency", "everything", "graphql", "lastn", "meta", "validate"]
