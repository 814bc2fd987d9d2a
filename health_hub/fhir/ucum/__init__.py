"""UCUM units of measure: full grammar, exact conversion to base units (ucum.org; R4 search.html#quantity).

`canonical("mg")` is (1/1000, 0, "g"): canonical value = value * factor + offset. Units of one canonical name convert to each other.
"""

from health_hub.fhir.ucum.unit import canonical, convert, valid

__all__ = ["canonical", "convert", "valid"]
