"""FHIRPath (HL7 FHIRPath N1 with the functions of FHIR R4) over plain JSON resources.

    compile_("name.where(use = 'official').given")(patient) -> ["Nguyễn", "Thị"]

Every evaluation ends: it has a number of steps, texts it may build are limited, and regular expressions do not backtrack without end.
"""

from fhir_profiles.fhirpath.context import Hooks
from fhir_profiles.fhirpath.errors import FHIRPathError
from fhir_profiles.fhirpath.expression import Expression, compile_
from fhir_profiles.fhirpath.node import Node, root
from fhir_profiles.fhirpath.quantity import Quantity, set_ucum
from fhir_profiles.fhirpath.temporal import Temporal, set_zone

__all__ = ["Expression", "FHIRPathError", "Hooks", "Node", "Quantity", "Temporal", "compile_", "root", "set_ucum", "set_zone"]
