"""Parts of resources: `_summary` and `_elements`, marked SUBSETTED (R4 search.html#summary, #elements)."""

from typing import Any, Literal, get_args

from fhir_profiles.tables import Element, type_
from health_hub.fhir.outcome import bad_request
from health_hub.fhir.validate import SUBSETTED

Summary = Literal["true", "text", "data", "count", "false"]


def wanted(summary: str | None, elements: str | None) -> tuple[Summary | None, tuple[str, ...]]:
    """`_summary` and `_elements` as asked for; `_summary=false` is None. 400 for what `_summary` cannot be."""
    if summary is not None and summary not in get_args(Summary):
        raise bad_request(f"_summary={summary!r}: it is one of {', '.join(get_args(Summary))}", "value")
    names = tuple(name.strip() for name in (elements or "").split(",") if name.strip())
    return (None if summary in (None, "false") else summary), names  # type: ignore[return-value]


def reduce(resource: dict[str, Any], summary: Summary | None, elements: tuple[str, ...] = ()) -> dict[str, Any]:
    """A copy with only the elements asked for, the mandatory ones, `id` and `meta`; tagged SUBSETTED."""
    type_name = resource["resourceType"]
    if type_name == "OperationOutcome":
        return resource
    table = type_(type_name).elements
    if elements:
        names = {_top(name, type_name) for name in elements}
        kept = _keep(resource, table, lambda e: e.name in names or e.path_name in names or e.min > 0 or e.modifier)
    elif summary == "data":
        kept = {name: value for name, value in resource.items() if name != "text"}
    elif summary == "text":
        kept = _keep(resource, table, lambda e: e.name == "text" or e.min > 0)
    else:
        kept = _summarised(resource, type_name)
    return _tagged(kept)


def _top(name: str, type_name: str) -> str:
    """`Patient.name.family` and `name.family` both ask for `name`: R4 knows top elements only."""
    parts = name.split(".")
    return parts[1] if parts[0] == type_name and len(parts) > 1 else parts[0]


def _keep(resource: dict[str, Any], table: dict[str, Element], want: Any) -> dict[str, Any]:
    kept = {}
    for name, value in resource.items():
        element = table.get(name.removeprefix("_"))
        if name in ("resourceType", "id", "meta") or (element is not None and want(element)):
            kept[name] = value
    return kept


def _summarised(value: dict[str, Any], type_name: str) -> dict[str, Any]:
    table = type_(type_name).elements
    kept: dict[str, Any] = {}
    for name, child in value.items():
        if name in ("resourceType", "id"):
            kept[name] = child
            continue
        element = table.get(name.removeprefix("_"))
        # A mandatory child stays where its parent does, or the result would not be valid.
        if element is None or not (element.summary or element.min > 0):
            continue
        if isinstance(child, dict) and not name.startswith("_"):
            child = _inner(child, element.type)
        elif isinstance(child, list) and not name.startswith("_"):
            child = [_inner(c, element.type) if isinstance(c, dict) else c for c in child]
        if child != {}:
            kept[name] = child
    return kept


def _inner(child: dict[str, Any], type_name: str) -> dict[str, Any]:
    # Only backbone elements are cut: parts of a data type mean little without one another.
    if type_name == "Resource" or "resourceType" in child or type_(type_name).kind != "backbone":
        return child
    return _summarised(child, type_name)


def _tagged(kept: dict[str, Any]) -> dict[str, Any]:
    meta = dict(kept.get("meta") or {})
    tags = list(meta.get("tag") or ())
    if SUBSETTED not in tags:
        tags.append(SUBSETTED)
    meta["tag"] = tags
    out: dict[str, Any] = {}
    for name, value in kept.items():
        if name not in ("resourceType", "id", "meta"):
            continue
        out[name] = value
    out["meta"] = meta
    return out | {name: value for name, value in kept.items() if name not in out}
