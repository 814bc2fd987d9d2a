"""Elements with a sensitive label of their own, and the resource without them (HL7 DS4P inline security labels).

The label is an extension on the element: `{url: INLINE, valueCoding: {code: "HIV"}}`. A masked element says so by
data-absent-reason, the resource by the label REDACTED; the narrative, which may tell the same, goes with it.
"""

from typing import Any

from health_hub.fhir.json import loads
from health_hub.fhir.labels import BITS

INLINE = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
MARK = INLINE.encode()  # in a document's bytes: only then is it looked through
_ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
PLACEHOLDER = b'"valueCode":"masked"'  # in the bytes of a document with a masked element
_REDACTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "REDACTED"}


def redacted(resource: dict[str, Any], allowed: int) -> dict[str, Any]:
    """A copy without elements whose label is not among `allowed` (bits of labels.BITS); the resource itself when there is none."""
    out, changed = _object(resource, allowed)
    return marked(out) if changed else resource


def absent() -> dict[str, Any]:
    """What stands in the place of a masked element."""
    return dict(_ABSENT)


def marked(out: dict[str, Any]) -> dict[str, Any]:
    """A resource with masked elements, as it is shown: it says so, and has no narrative, which may tell the same."""
    out.pop("text", None)
    meta = dict(out.get("meta") or {})
    meta["security"] = [*(meta.get("security") or ()), _REDACTED]
    head: dict[str, Any] = {name: out[name] for name in ("resourceType", "id") if name in out}
    return {**head, "meta": meta, **{name: value for name, value in out.items() if name not in ("resourceType", "id", "meta")}}


def masks(doc: bytes | None, allowed: int) -> bool:
    """Whether a document holds elements that are not among `allowed`."""
    if doc is None or MARK not in doc:
        return False
    resource = loads(doc)
    return redacted(resource, allowed) is not resource


def _hidden(element: Any, allowed: int) -> bool:
    if not isinstance(element, dict):
        return False
    for extension in element.get("extension") or ():
        if isinstance(extension, dict) and extension.get("url") == INLINE:
            bit = BITS.get(str((extension.get("valueCoding") or {}).get("code")), 0)
            if bit & ~allowed:
                return True
    return False


def _object(value: dict[str, Any], allowed: int) -> tuple[dict[str, Any], bool]:
    out: dict[str, Any] = {}
    changed = False
    gone: set[str] = set()
    for name, child in value.items():
        if name in gone:
            changed = True
            continue
        if name[:1] == "_":
            children = child if isinstance(child, list) else [child]
            if any(_hidden(c, allowed) for c in children):
                # A primitive: its value stands beside its extensions. Of a list all go, because places in the two lists correspond.
                out.pop(name[1:], None)
                gone.add(name[1:])
                out[name] = [_ABSENT] if isinstance(child, list) else _ABSENT
                changed = True
                continue
        out[name], here = _any(child, allowed)
        changed = changed or here
    return out, changed


def _any(value: Any, allowed: int) -> tuple[Any, bool]:
    if isinstance(value, dict):
        return (_ABSENT, True) if _hidden(value, allowed) else _object(value, allowed)
    if isinstance(value, list):
        pairs = [_any(v, allowed) for v in value]
        return [v for v, _ in pairs], any(c for _, c in pairs)
    return value, False
