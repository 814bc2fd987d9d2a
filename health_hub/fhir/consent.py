"""What a patient's Consent says about who may see what: compiled once when it is written, decided for each viewer (R4 consent.html).

Honoured: `status` active, scope patient-privacy, `dateTime`, `policyRule` OPTIN/OPTOUT as the base, and in `provision`, nested:
`type`, `period`, `actor`, `action`, `securityLabel`, `purpose`, `class`, `code`, `data`. A deeper provision refines its parent, deny wins
over permit at the same depth. What cannot be understood in a provision makes a denial wider and a permission void.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

import msgspec

from fhir_profiles import tables
from health_hub.fhir import dates, keys
from health_hub.fhir.index.settings import local
from health_hub.fhir.labels import bits_of
from health_hub.fhir.relations import ALWAYS

Decision = Literal["permit", "deny"]
VIEWING = frozenset(("access", "use", "disclose"))
DEPTH, NODES = 8, 200  # what a Consent may nest and hold; beyond, it denies
PRIVACY = "patient-privacy"
ANYONE = keys.reference("*")  # the party of a permission that names nobody
DENIES, PARTIAL = 1, 2  # what a Consent may do beyond permitting somebody everything


class Rule(msgspec.Struct, omit_defaults=True):
    """One provision. A list that is None asks nothing; `odd`: it asks something that is not understood.

    actors: keys.reference of who is meant. types: resource types. codes: `system|code`. data: keys.reference of resources.
    """

    type: Decision | None = None
    since: int = ALWAYS[0]
    until: int = ALWAYS[1]
    actors: list[int] | None = None
    viewing: bool = True
    purposes: list[str] | None = None
    labels: int | None = None
    types: list[str] | None = None
    codes: list[str] | None = None
    data: list[int] | None = None
    odd: bool = False
    rules: list["Rule"] = []


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom is decided. actors: keys.reference of all that they are or act for. purposes: v3-ActReason codes."""

    actors: frozenset[int]
    purposes: frozenset[str]


_DENY = Rule(type="deny")
_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Rule).decode


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Consent in force. Times in ms. kind: DENIES, PARTIAL. grants: (actor, since, until) of whole permissions."""

    patient: int
    since: int
    until: int
    kind: int
    rules: str
    grants: list[tuple[int, int, int]]


def compiled(consent: dict[str, Any], zone: tzinfo) -> Compiled | None:
    """None when it is not in force, or says nothing of who may see what."""
    if consent.get("resourceType") != "Consent" or consent.get("status") != "active":
        return None
    patient = (consent.get("patient") or {}).get("reference")
    codings = _codings([consent.get("scope")])
    if not isinstance(patient, str) or (codings and all(c.get("code") != PRIVACY for c in codings)):
        return None
    since = _low(consent.get("dateTime"), zone)
    root = _rule(consent.get("provision") or {}, zone, [NODES], DEPTH)
    base = {str(c.get("code")) for c in _codings([consent.get("policyRule")])}
    if root.type is None:
        root.type = "deny" if any(c.startswith("OPTOUT") for c in base) else "permit" if any(c.startswith("OPTIN") for c in base) else None
    if root.type is None and not root.rules:
        return None
    grants, partial = _grants(root)
    kind = (DENIES if _denies(root) else 0) | (PARTIAL if partial else 0)
    return Compiled(keys.reference(local(patient)), since, root.until, kind, _encode(root).decode(), grants)


def _denies(rule: Rule) -> bool:
    return rule.type == "deny" or any(map(_denies, rule.rules))


def _grants(root: Rule) -> tuple[list[tuple[int, int, int]], bool]:
    """Permissions of everything, which are treatment relationships of those they name; whether there are others besides."""
    found: list[tuple[int, int, int]] = []
    partial = False
    for rule in (root, *root.rules):
        bare = rule.labels is None and rule.types is None and rule.codes is None and rule.data is None and not rule.odd
        if rule is root and not bare:
            return [], permits(root)
        if rule.type == "permit":
            if bare and rule.viewing and (rule.purposes is None or "TREAT" in rule.purposes) and (rule is root or root.actors is None):
                since, until = max(rule.since, root.since), min(rule.until, root.until)
                found += [(actor, since, until) for actor in (rule.actors if rule.actors is not None else [ANYONE])]
            else:
                partial = True
        partial = partial or (rule is not root and any(map(permits, rule.rules)))
    return found, partial


def permits(rule: Rule) -> bool:
    """Whether it, or what is nested in it, permits anything."""
    return rule.type == "permit" or any(map(permits, rule.rules))


def _low(text: Any, zone: tzinfo) -> int:
    try:
        return dates.span(text, zone)[0] // 1000 if isinstance(text, str) else ALWAYS[0]
    except ValueError:
        return ALWAYS[0]


def _high(text: Any, zone: tzinfo) -> int:
    try:
        return dates.span(text, zone)[1] // 1000 if isinstance(text, str) else ALWAYS[1]
    except ValueError:
        return ALWAYS[1]


def _rule(p: dict[str, Any], zone: tzinfo, left: list[int], depth: int) -> Rule:
    left[0] -= 1
    if left[0] < 0 or depth == 0:
        return _DENY
    kind = p.get("type")
    rule = Rule(type=kind if kind in ("permit", "deny") else None)
    period = p.get("period") or {}
    rule.since, rule.until = _low(period.get("start"), zone), _high(period.get("end"), zone)
    if actors := p.get("actor"):
        named = _references(actors)
        rule.actors = [keys.reference(local(n)) for n in named]
        rule.odd = len(named) < len(actors) or any(n.startswith(("Group/", "CareTeam/", "#")) for n in named)
    if actions := p.get("action"):
        rule.viewing = any(c.get("code") in VIEWING for c in _codings(actions))
    if purposes := p.get("purpose"):
        rule.purposes = [str(c.get("code")) for c in purposes]
    if labels := p.get("securityLabel"):
        wanted = [str(c.get("code")) for c in labels]
        rule.labels = bits_of(wanted)
        rule.odd = rule.odd or any(not bits_of([n]) for n in wanted)
    if classes := p.get("class"):
        rule.types = [str(c.get("code")) for c in classes if tables.is_resource_type(str(c.get("code")))]
        rule.odd = rule.odd or len(rule.types) < len(classes)
    if codes := p.get("code"):
        found = _codings(codes)
        rule.codes = [f"{c.get('system') or ''}|{c['code']}" for c in found if isinstance(c.get("code"), str)]
        rule.odd = rule.odd or not rule.codes or any(not c.get("coding") for c in codes)
    if data := p.get("data"):
        rule.data = [keys.reference(local(n)) for n in _references(data)]
        rule.odd = rule.odd or len(rule.data) < len(data) or any(d.get("meaning") != "instance" for d in data)
    rule.odd = rule.odd or "dataPeriod" in p
    rule.rules = [_rule(inner, zone, left, depth - 1) for inner in p.get("provision") or ()]
    return rule


def _references(elements: Iterable[Any]) -> list[str]:
    """What the `reference` of each names, where it names something."""
    found = [(e.get("reference") or {}).get("reference") for e in elements]
    return [n for n in found if isinstance(n, str)]


def _codings(concepts: Iterable[Any]) -> list[dict[str, Any]]:
    return [c for concept in concepts if isinstance(concept, dict) for c in concept.get("coding") or () if isinstance(c, dict)]


def concerns(rule: Rule, viewer: Viewer, now: int) -> bool | None:
    """Whether what a provision asks of the viewer and the moment is met; None: it cannot be told."""
    if not rule.since <= now <= rule.until or not rule.viewing:
        return False
    if rule.purposes is not None and viewer.purposes.isdisjoint(rule.purposes):
        return False
    if rule.actors is not None and viewer.actors.isdisjoint(rule.actors):
        return None if rule.odd else False
    return None if rule.odd else True


def decide(rule: Rule, viewer: Viewer, now: int, about: Callable[[Rule], bool]) -> Decision | None:
    """The decision on one resource; `about(rule)` says whether a provision's labels, types, codes and data are the resource's."""
    met = concerns(rule, viewer, now)
    if met is False or (met is None and rule.type == "permit"):
        return None
    if met is None:
        return "deny"
    if not about(rule):
        return None
    deeper = [decide(inner, viewer, now, about) for inner in rule.rules]
    if "deny" in deeper:
        return "deny"
    return "permit" if "permit" in deeper else rule.type


def decide_all(rules: Iterable[Rule], viewer: Viewer, now: int, about: Callable[[Rule], bool]) -> Decision | None:
    """Of several Consents: one that denies is enough."""
    found = {decide(rule, viewer, now, about) for rule in rules}
    return "deny" if "deny" in found else "permit" if "permit" in found else None
