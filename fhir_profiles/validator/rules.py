"""Invariants written in Python because nearly every resource has them; a test holds each against its FHIRPath.

BY_KEY decides alone. SURELY only says that an invariant holds beyond doubt; the others are left to FHIRPath.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fhir_profiles.number import decimal
from fhir_profiles.validator.problems import Run

Json = dict[str, Any]

# Checked where their elements are: references.py, xhtml.py, and the JSON itself (no element is empty).
ELSEWHERE = frozenset(("ref-1", "txt-1", "txt-2"))


def _contained(resource: Json) -> Iterator[Json]:
    return (r for r in resource["contained"] if type(r) is dict)


def dom_2(resource: Json, run: Run) -> bool:
    return "contained" not in resource or not any("contained" in r for r in _contained(resource))


def dom_3(resource: Json, run: Run) -> bool:
    if "contained" not in resource:
        return True
    mentioned = set(_strings(resource))
    return all(f"#{r.get('id')}" in mentioned or "#" in set(_strings(r)) for r in _contained(resource))


def _strings(value: Any) -> Iterator[str]:
    """Every string that starts with #: references, canonicals and URIs to contained resources."""
    stack = [value]
    while stack:
        at = stack.pop()
        if type(at) is dict:
            stack.extend(at.values())
        elif type(at) is list:
            stack.extend(at)
        elif type(at) is str and at[:1] == "#":
            yield at


def _metas(resource: Json) -> Iterator[Json]:
    return (r["meta"] for r in _contained(resource) if type(r.get("meta")) is dict)


def dom_4(resource: Json, run: Run) -> bool:
    return "contained" not in resource or not any("versionId" in m or "lastUpdated" in m for m in _metas(resource))


def dom_5(resource: Json, run: Run) -> bool:
    return "contained" not in resource or not any("security" in m for m in _metas(resource))


def obs_7(observation: Json, run: Run) -> bool:
    if "component" not in observation or not any(k.startswith(("value", "_value")) for k in observation):
        return True
    whole = {_coding(c) for c in observation.get("code", {}).get("coding", ())}
    return not any(_coding(c) in whole for part in observation["component"] for c in part.get("code", {}).get("coding", ()))


def _coding(coding: Json) -> tuple[tuple[str, str], ...]:
    # intersect() compares whole codings.
    return tuple(sorted((k, repr(v)) for k, v in coding.items()))


def _has_coding(concept: Any, system: str, *codes: str) -> bool:
    return any(c.get("system") == system and c.get("code") in codes for c in (concept or {}).get("coding", ()))


_CONDITION = "http://terminology.hl7.org/CodeSystem/condition-"
_ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


def con_4(condition: Json, run: Run) -> bool:
    if not any(k.startswith(("abatement", "_abatement")) for k in condition):
        return True
    return _has_coding(condition.get("clinicalStatus"), _CONDITION + "clinical", "resolved", "remission", "inactive")


def con_5(condition: Json, run: Run) -> bool:
    return "clinicalStatus" not in condition or not _has_coding(
        condition.get("verificationStatus"), _CONDITION + "ver-status", "entered-in-error"
    )


def ait_1(allergy: Json, run: Run) -> bool:
    return "clinicalStatus" in allergy or _has_coding(allergy.get("verificationStatus"), _ALLERGY, "entered-in-error")


def ait_2(allergy: Json, run: Run) -> bool:
    return "clinicalStatus" not in allergy or not _has_coding(allergy.get("verificationStatus"), _ALLERGY, "entered-in-error")


def not_home(value: Json, run: Run) -> bool:
    """org-2 and org-3"""
    return value.get("use") != "home"


def sqty_1(quantity: Json, run: Run) -> bool:
    return "comparator" not in quantity and "_comparator" not in quantity


def que_7(enable_when: Json, run: Run) -> bool:
    # The standard says `answer is Boolean`, FHIRPath's own type, which no element is; its examples show what is meant.
    return enable_when.get("operator") != "exists" or "answerBoolean" in enable_when or "_answerBoolean" in enable_when


def _not_negative(name: str) -> Callable[[Json, Run], bool]:
    def holds(value: Json, run: Run) -> bool:
        number = value.get(name)
        return number is None or decimal(number) >= 0

    return holds


def per_1(period: Json, run: Run) -> bool:
    start, end = period.get("start"), period.get("end")
    if start is None or end is None:
        return True
    # Of one form and one offset, text is in the order of time.
    same_form = len(start) == len(end) and (len(start) <= 10 or start[19:20] + start[-6:] == end[19:20] + end[-6:])
    return bool(same_form and start <= end)


def rng_2(limits: Json, run: Run) -> bool:
    low, high = limits.get("low"), limits.get("high")
    if low is None or high is None:
        return True
    if "value" not in low or "value" not in high or any(low.get(k) != high.get(k) for k in ("system", "code", "unit")):
        return False
    return decimal(low["value"]) <= decimal(high["value"])


def bdl_1(bundle: Json, run: Run) -> bool:
    return "total" not in bundle and "_total" not in bundle


def bdl_2(bundle: Json, run: Run) -> bool:
    return bundle.get("type") == "searchset" or not any("search" in e for e in bundle.get("entry", ()))


def _all_entries(name: str, *types: str) -> Callable[[Json, Run], bool]:
    """bdl-3 and bdl-4: `name` stands in every entry of Bundles of these types, in none of others."""

    def holds(bundle: Json, run: Run) -> bool:
        wanted = bundle.get("type") in types
        return "type" in bundle and all((name in e) is wanted for e in bundle.get("entry", ()))

    return holds


def bdl_7(bundle: Json, run: Run) -> bool:
    if bundle.get("type") == "history":
        return True
    urls = [e["fullUrl"] for e in bundle.get("entry", ()) if "fullUrl" in e]
    return len(set(urls)) == len(urls)


def bdl_8(entry: Json, run: Run) -> bool:
    return "/_history/" not in entry.get("fullUrl", "")


def _distinct(name: str, children: str) -> Callable[[Json, Run], bool]:
    """csd-1 and que-2: no two in the tree below `children` share `name`. Terminologies have tens of thousands."""

    def holds(resource: Json, run: Run) -> bool:
        if "contained" in resource:
            return False  # FHIRPath looks into those as well
        found, stack = [], list(resource.get(children, ()))
        while stack:
            at = stack.pop()
            if name in at:
                found.append(at[name])
            stack += at.get(children, ())
        return len(set(found)) == len(found)

    return holds


SURELY: dict[str, Callable[[Any, Run], bool]] = {
    "per-1": per_1,
    "rng-2": rng_2,
    "bdl-1": bdl_1,
    "bdl-2": bdl_2,
    "bdl-3": _all_entries("request", "batch", "transaction", "history"),
    "bdl-4": _all_entries("response", "batch-response", "transaction-response", "history"),
    "bdl-7": bdl_7,
    "bdl-8": bdl_8,
    "csd-1": _distinct("code", "concept"),
    "que-2": _distinct("linkId", "item"),
}
BY_KEY: dict[str, Callable[[Any, Run], bool]] = {
    "dom-2": dom_2,
    "dom-3": dom_3,
    "dom-4": dom_4,
    "dom-5": dom_5,
    "obs-7": obs_7,
    "con-4": con_4,
    "con-5": con_5,
    "ait-1": ait_1,
    "ait-2": ait_2,
    "que-7": que_7,
    "org-2": not_home,
    "org-3": not_home,
    "sqty-1": sqty_1,
    "tim-4": _not_negative("duration"),
    "tim-5": _not_negative("period"),
}
