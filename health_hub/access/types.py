"""Which resource types are about a person, which about the health system, and what each role may write, as data (docs/security.md)."""

from fhir_profiles.tables import RESOURCE_TYPES, compartment, type_number

# About facilities, the people who work there and what they offer; no patient is in them.
DIRECTORY = frozenset(
    ("Organization", "OrganizationAffiliation", "Location", "Practitioner", "PractitionerRole", "HealthcareService", "Endpoint",
     "InsurancePlan", "Schedule", "Slot", "Medication", "MedicationKnowledge", "Substance")
)  # fmt: skip
# Definitions that everybody needs to read the rest.
DEFINITIONS = frozenset(
    ("ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem", "CompartmentDefinition", "ConceptMap",
     "ExampleScenario", "GraphDefinition", "ImplementationGuide", "Library", "Measure", "MessageDefinition", "NamingSystem",
     "ObservationDefinition", "OperationDefinition", "PlanDefinition", "Questionnaire", "SearchParameter", "SpecimenDefinition",
     "StructureDefinition", "StructureMap", "TerminologyCapabilities", "TestScript", "ValueSet", "EventDefinition", "CatalogEntry")
)  # fmt: skip
TRAIL = frozenset(("AuditEvent", "Provenance"))
# A person's record: R4's Patient compartment and what else names a Patient.
_NAMED = {"Patient", "Task", "Device", "Contract", "GuidanceResponse", "Binary"}
CLINICAL = (frozenset(compartment("Patient")) | _NAMED) - TRAIL - DIRECTORY - {"Group"}
# Only who owns them sees them: they may hold anything.
OTHER = frozenset(RESOURCE_TYPES) - DIRECTORY - DEFINITIONS - TRAIL - CLINICAL

# What is sent to somebody, who may read it whomever it is about.
MESSAGES = ("Communication", "CommunicationRequest")

PATIENT_WRITES = frozenset(
    ("Appointment", "AppointmentResponse", "Communication", "Consent", "Observation", "QuestionnaireResponse", "Binary")
)
OPERATOR_WRITES = frozenset(
    ("Organization", "Location", "Practitioner", "PractitionerRole", "HealthcareService", "Schedule", "Slot", "Device")
)
# A person at work does not register patients: the facility's system does, and is seen to have done so.
CLINICIAN_WRITES = (CLINICAL - {"Patient", "RelatedPerson", "Person"}) | {"Provenance"}
SYSTEM_WRITES = (CLINICAL | DIRECTORY | OTHER | {"Provenance"}) - {"AuditEvent"}
PROVINCE_WRITES = frozenset(RESOURCE_TYPES) - {"AuditEvent"}


def numbers(types: frozenset[str]) -> frozenset[int]:
    return frozenset(map(type_number, types))
