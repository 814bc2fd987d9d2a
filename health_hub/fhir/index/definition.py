"""A SearchParameter resource as the definition that extraction and search work by (R4 searchparameter.html)."""

from typing import Any

from fhir_profiles.tables import SearchParam


def definition(resource: dict[str, Any]) -> SearchParam | None:
    """None for one that is not active: only active parameters are served."""
    if resource.get("status") != "active":
        return None
    components = tuple((c.get("definition", ""), c.get("expression", "")) for c in resource.get("component", ()))
    return SearchParam(resource.get("url", ""), resource.get("code", ""), tuple(resource.get("base", ())), resource.get("type", "special"),
                       resource.get("expression", ""), tuple(resource.get("target", ())), components)
