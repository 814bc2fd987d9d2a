"""An entry of the journal as an AuditEvent (IHE BALP 1.1: patterns of RESTful activities, OAuth and authentication)."""

import base64
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from health_hub.access.entry import Entry

_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
REST = "http://hl7.org/fhir/restful-interaction"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_OBJECT = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
EMERGENCY = "110127"  # DICOM: Emergency Override Started
OWN = "https://health-hub.vn/fhir/CodeSystem/audit"
_PROFILES = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete"}
INTERACTIONS = frozenset(
    ("read", "vread", "create", "update", "patch", "delete", "search-type", "search-system", "history-instance", "history-type",
     "history-system", "operation", "batch", "transaction")
)  # fmt: skip
_AUTH = frozenset(("sign-in", "sign-out", "sign-in-refused"))


def audit_event(entry: Entry, id: str, zone: ZoneInfo) -> dict[str, Any]:
    """`id` is that of the resource; the observer is this hub."""
    out: dict[str, Any] = {"resourceType": "AuditEvent", "id": id}
    profile = _profile(entry)
    if profile:
        out["meta"] = {"profile": [profile]}
    out |= _what(entry)
    out["action"] = entry.action
    out["recorded"] = datetime.fromtimestamp(entry.t / 1000, zone).isoformat(timespec="milliseconds")
    out["outcome"] = "0" if entry.status < 400 else "4" if entry.status < 500 else "8"
    if entry.note or entry.status >= 400:
        out["outcomeDesc"] = entry.note or f"HTTP {entry.status}"
    if entry.purpose:
        out["purposeOfEvent"] = [{"coding": [{"system": _REASON, "code": entry.purpose}]}]
    out["agent"] = _agents(entry)
    out["source"] = {
        "observer": {"display": "Health Hub"},
        "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
    }
    entities = _entities(entry)
    if entities:
        out["entity"] = entities
    return out


def _profile(entry: Entry) -> str | None:
    if entry.interaction in _AUTH or entry.status >= 400 or not entry.account:
        return None
    patient = "Patient" if len(entry.patients) == 1 else ""
    if entry.interaction.startswith("search"):
        return f"{_PROFILE}{patient}Query"
    if entry.interaction in ("read", "vread", "create", "update", "patch", "delete"):
        return f"{_PROFILE}{patient}{_PROFILES[entry.action]}"
    return None


def _what(entry: Entry) -> dict[str, Any]:
    if entry.interaction in _AUTH:
        code = "110123" if entry.interaction == "sign-out" else "110122"  # Logout, Login
        return {
            "type": {"system": DICOM, "code": "110114"},
            "subtype": [{"system": DICOM, "code": code}],
        }
    if entry.interaction == "emergency":
        return {
            "type": {"system": DICOM, "code": "110113"},
            "subtype": [{"system": DICOM, "code": EMERGENCY}],
        }
    if entry.interaction in ("token", "refused") or not entry.interaction.isascii() or entry.interaction.startswith(("account", "consult")):
        return {
            "type": {"system": DICOM, "code": "110113"},
            "subtype": [{"system": OWN, "code": entry.interaction}],
        }
    subtype = [{"system": REST, "code": entry.interaction}]
    if entry.first:
        subtype.append({"system": OWN, "code": "first-relationship"})
    return {"type": {"system": _TYPE, "code": "rest"}, "subtype": subtype}


def _agents(entry: Entry) -> list[dict[str, Any]]:
    network = {"address": entry.address, "type": "2"} if entry.address else None
    agents: list[dict[str, Any]] = []
    if entry.client:
        client: dict[str, Any] = {
            "type": {"coding": [{"system": DICOM, "code": "110150"}]},
            "who": {"identifier": {"value": entry.client}},
            "requestor": entry.role in ("system", ""),
        }
        if network:
            client["network"] = network
        agents.append(client)
    if entry.role != "system" or not agents:
        who: dict[str, Any] = {"identifier": {"value": entry.account}} if entry.account else {"display": entry.name or entry.address or "?"}
        if entry.me:
            who["reference"] = entry.me
        if entry.name:
            who["display"] = entry.name
        person: dict[str, Any] = {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "who": who,
            "requestor": True,
        }
        if entry.role:
            person["role"] = [{"coding": [{"system": OWN, "code": entry.role}]}]
        if network and not entry.client:
            person["network"] = network
        if entry.session:
            person["policy"] = [f"urn:health-hub:session:{entry.session}"]
        agents.append(person)
    if entry.facility:
        agents.append(
            {
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "PROV"}]},
                "who": {"reference": entry.facility},
                "requestor": False,
            }
        )
    return agents


# What was asked for is told beside what was shown: no resource names it.
_TARGETED = ("search", "history", "operation", "batch", "transaction", "consult-play")


def _entities(entry: Entry) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = [
        {
            "what": {"reference": f"Patient/{id}"},
            "type": {"system": _OBJECT, "code": "1"},
            "role": {"system": _ROLE, "code": "1"},
        }
        for id in entry.patients
    ]
    for reference in entry.resources:
        if not reference.startswith("Patient/"):
            entities.append(
                {
                    "what": {"reference": reference},
                    "type": {"system": _OBJECT, "code": "2"},
                    "role": {"system": _ROLE, "code": "4"},
                }
            )
    if entry.target and (entry.interaction.startswith(_TARGETED) or entry.status >= 400):
        entities.append(
            {
                "type": {"system": _OBJECT, "code": "2"},
                "role": {"system": _ROLE, "code": "24"},
                "query": base64.b64encode(entry.target.encode("utf-8", "replace")).decode(),
            }
        )
    if entry.request:
        entities.append(
            {
                "what": {"identifier": {"value": entry.request}},
                "type": {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId"},
            }
        )
    if entry.more or entry.count:
        what = "morePatients" if entry.more else "refusals"
        entities.append({"name": what, "detail": [{"type": what, "valueString": str(entry.more or entry.count)}]})
    return entities
