"""FHIR XML to the dict form and back, nothing lost (R4 xml.html): `from_xml(bytes)`, `to_xml(resource)`."""

from health_hub.fhir.xml.read import from_xml
from health_hub.fhir.xml.write import to_xml

__all__ = ["from_xml", "to_xml"]
