"""metadata: the CapabilityStatement, made from the tables and the routes that are really served (R4 capabilitystatement.html)."""

import hashlib
from collections import defaultdict
from functools import lru_cache
from typing import Any

import health_hub
from fhir_profiles import tables
from fhir_profiles.tables import SearchParam
from health_hub.fhir.index.registry import on_change, params
from health_hub.fhir.json import dumps
from health_hub.fhir.outcome import bad_request
from health_hub.fhir.search.path import Unknown, searchable
from health_hub.rest import table
from health_hub.rest.hub import Hub
from health_hub.rest.patch import ACCEPT_PATCH
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.types import TYPES

INSTANCE = ("read", "vread", "update", "patch", "delete", "history-instance")
TYPE = ("history-type", "create", "search-type")
SYSTEM = ("transaction", "batch", "search-system", "history-system")
_CORE = "http://hl7.org/fhir/"
_MODES = ("full", "normative", "terminology")


async def metadata(hub: Hub, request: Request) -> Response:
    mode = request.parameter("mode") or "full"
    if mode not in _MODES:
        raise bad_request(f"mode={mode[:50]!r}: it is one of {', '.join(_MODES)}", "value", "http.mode")
    if mode == "terminology":
        return Response(200, resource=_terminology(hub, request.base))
    body = _statement(hub, request.base)
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    known = request.header(b"if-none-match")
    unchanged = known is not None and tag.removeprefix("W/") in known
    return Response(304 if unchanged else 200, json=body, headers=[("ETag", tag)], empty=unchanged)


_made: dict[tuple[str, str], bytes] = {}


def _forget() -> None:
    _made.clear()
    _pointing.cache_clear()


on_change(_forget)


def _statement(hub: Hub, base: str) -> bytes:
    """Kept for each base until a search parameter comes or goes."""
    key = (base, hub.started)
    if key not in _made:
        if len(_made) > 16:
            _made.clear()
        _made[key] = dumps(statement(hub, base))
    return _made[key]


def statement(hub: Hub, base: str) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "id": "health-hub",
        "url": f"{base}/metadata",
        "version": health_hub.__version__,
        "name": "HealthHub",
        "title": "Health Hub",
        "status": "active",
        "date": hub.started,
        "kind": "instance",
        "software": {"name": "Health Hub", "version": health_hub.__version__},
        "implementation": {"description": "Kho hồ sơ sức khoẻ liên thông FHIR R4 | FHIR R4 exchange", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ACCEPT_PATCH.split(", "),
        "rest": [
            {
                "mode": "server",
                "security": hub.security,
                "resource": [_resource(hub, name) for name in sorted(TYPES)],
                "interaction": [{"code": code} for code in SYSTEM],
                "searchParam": [_param(p) for code, p in sorted(params("Basic").items())
                                if set(p.base) & {"Resource", "DomainResource"} and _served(p)],
                "compartment": [f"{_CORE}CompartmentDefinition/{name.lower()}" for name in tables.compartments()],
            }
            | _operations("system", "")
        ],
    }  # fmt: skip


def _resource(hub: Hub, name: str) -> dict[str, Any]:
    served = [p for code, p in sorted(params(name).items()) if _served(p)]
    out: dict[str, Any] = {
        "type": name,
        "profile": f"{_CORE}StructureDefinition/{name}",
        "interaction": [{"code": code} for code in (*INSTANCE, *TYPE)],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": hub.settings.conditional_delete,
        "referencePolicy": ["literal", "logical"],
        "searchInclude": ["*", *(f"{name}:{p.code}" for p in served if p.type == "reference")],
    }
    reverse = _pointing().get(name, []) + _pointing().get("", [])
    if reverse:
        out["searchRevInclude"] = sorted(set(reverse))
    out["searchParam"] = [_param(p) for p in served]
    return out | _operations("type", name)


@lru_cache(maxsize=1)
def _pointing() -> dict[str, list[str]]:
    """The reference parameters that may point to each type; under "" those that may point to any."""
    found: dict[str, list[str]] = defaultdict(list)
    for source in sorted(TYPES):
        for code, param in params(source).items():
            if param.type == "reference" and _served(param):
                for target in param.targets or ("",):
                    found[target].append(f"{source}:{code}")
    return dict(found)


def _served(param: SearchParam) -> bool:
    try:
        searchable(param)
    except Unknown:
        return False
    return True


def _param(param: SearchParam) -> dict[str, Any]:
    return {"name": param.code, "definition": param.url, "type": param.type}


def _operations(level: str, type: str) -> dict[str, Any]:
    """Those of a type and of its instances under the type, R4 has one list for both."""
    found = {
        (name, operation.definition)
        for (at, of, name), operation in table.OPERATIONS.items()
        if (at == "system" if level == "system" else at != "system" and of in (type, table.ANY))
    }
    return {"operation": [{"name": name, "definition": url} for name, url in sorted(found)]} if found else {}


def _terminology(hub: Hub, base: str) -> dict[str, Any]:
    """No terminology service yet: the statement says only which server this is."""
    return {
        "resourceType": "TerminologyCapabilities",
        "url": f"{base}/metadata?mode=terminology",
        "version": health_hub.__version__,
        "name": "HealthHub",
        "status": "active",
        "date": hub.started,
        "kind": "instance",
        "software": {"name": "Health Hub", "version": health_hub.__version__},
        "implementation": {"description": "Health Hub", "url": base},
    }
