"""How each parameter of a type is stored: which ones are others in disguise, so that nothing is indexed twice."""

from dataclasses import dataclass, field, replace
from functools import cache

from fhir_profiles import tables
from fhir_profiles.fhirpath import Expression
from fhir_profiles.tables import SearchParam
from health_hub.fhir import keys
from health_hub.fhir.index import emit, registry, tokens
from health_hub.fhir.index.emit import Target
from health_hub.fhir.index.model import APART, Age, Column, Composite, Direct, Elsewhere, Part, Plan, Restricted, Union, Words
from health_hub.fhir.index.path import Branch, Step, Unsupported, branches

_COLUMNS = {"_id": "id", "_lastUpdated": "updated", "_type": "type"}
_AGE = "http://hl7.org/fhir/SearchParameter/patient-extensions-Patient-age"


@dataclass(frozen=True, slots=True)
class Source:
    """A parameter that is stored: where its values are found, what is written. An Expression's values are of any type.

    apart: the ways that a composite does not take, though it has the parameter as a part: R4 finds value-quantity in a SampledData
    and value-string in the text of a CodeableConcept, code-value-quantity and code-value-string do not.
    """

    direct: Direct
    ways: tuple[Branch, ...] | Expression
    apart: set[Branch] = field(default_factory=set)

    def target(self, resource_type: str, branch: Branch | None = None) -> Target:
        d = self.direct
        if branch is None:
            return Target(resource_type, d.code, d.type, d.folded, d.typed)
        return Target(resource_type, d.code, d.type, d.folded, d.typed, branch.only, branch.binding, APART if branch in self.apart else 0)


@dataclass(frozen=True, slots=True)
class Plans:
    """Of one resource type. composites: those stored element by element."""

    plans: dict[str, Plan]
    sources: dict[str, Source]
    composites: dict[str, tuple[Composite, SearchParam]]


def _expanded(ways: tuple[Branch, ...], param: SearchParam, resource_type: str) -> tuple[Branch, ...]:
    """Extensions stand for their values."""
    out: list[Branch] = []
    for b in ways:
        if b.type == "Extension":
            choices = tables.type_("Extension").choices["value"]
            for name, of in emit.extension_values(Target(resource_type, param.code, param.type), choices):
                out.append(replace(b, steps=(*b.steps, Step("child", name)), type=of, binding=None, targets=()))
        elif b.type == "Resource" and not b.only:
            # Bundle?composition and Bundle?message have one expression; only the target type tells them apart.
            out.append(replace(b, only=param.targets))
        else:
            out.append(b)
    return tuple(out)


def _source(param: SearchParam, resource_type: str) -> Source:
    p = keys.parameter(resource_type, param.code)
    ways = registry.ways(param, resource_type)
    if isinstance(ways, Expression):
        targets = param.targets if param.type == "reference" else ()
        return Source(Direct(p, param.code, param.type, False, targets, len(targets) != 1 and param.type == "reference"), ways)
    ways = _expanded(ways, param, resource_type)
    probe = Target(resource_type, param.code, param.type)
    indexed = tuple(b for b in ways if emit.emitter(probe, b.type) is not None)
    types = tuple(sorted({b.type for b in indexed}))
    direct = Direct(p, param.code, param.type, types=types)
    if param.type == "token":
        direct = replace(direct, folded=bool(types) and tokens.FOLDED.issuperset(types))
    elif param.type == "reference":
        targets = _targets(indexed, param)
        direct = replace(direct, targets=targets, typed=len(targets) != 1)
    return Source(direct, indexed)


def _targets(ways: tuple[Branch, ...], param: SearchParam) -> tuple[str, ...]:
    """What the elements may point to, within what the parameter says."""
    found: set[str] = set()
    for b in ways:
        may = b.only or b.targets
        if not may or "Resource" in may:
            return param.targets
        found.update(may)
    if param.targets:
        found = found.intersection(param.targets) or found
    return tuple(sorted(found))


def _cover(wanted: frozenset[Branch], type_: str, sources: dict[str, Source]) -> list[Source | tuple[Source, tuple[str, ...]]] | None:
    """Other sources that together find exactly these branches, at least one of them not all; None if there are none."""
    found: list[Source | tuple[Source, tuple[str, ...]]] = []
    left = set(wanted)
    for other in sources.values():
        have = frozenset(other.ways) if isinstance(other.ways, tuple) else frozenset()
        if other.direct.type == type_ and have and have <= left:
            found.append(other)
            left -= have
    for other in sources.values():
        have = frozenset(other.ways) if isinstance(other.ways, tuple) else frozenset()
        if other.direct.type != type_ or not have or any(b.only for b in have):
            continue
        narrowed = {b for b in left if b.only and b.anywhere in have}
        only = {b.only for b in narrowed}
        if len(narrowed) == len(have) and len(only) == 1:
            found.append((other, only.pop()))
            left -= narrowed
    return found if not left and found else None


@cache
def plans(resource_type: str) -> Plans:
    known = registry.params(resource_type)
    found: dict[str, Plan] = {}
    everything: dict[str, Source] = {}
    for code, param in known.items():
        if code in _COLUMNS:
            found[code] = Column(_COLUMNS[code])
        elif code in ("_text", "_content"):
            found[code] = _words(resource_type, code)
        elif param.expression and param.type != "composite":
            everything[code] = _source(param, resource_type)
        elif not param.expression and param.url != _AGE:
            found[code] = Elsewhere(param)
    sources = _distinct(everything, found, {p.code for p in registry.added()})
    for code, param in known.items():
        if param.url == _AGE:
            birth, dead = found.get("birthdate"), found.get("deceased")
            found[code] = Age(birth, dead) if isinstance(birth, Direct) and isinstance(dead, Direct) else Elsewhere(param)
    composites: dict[str, tuple[Composite, SearchParam]] = {}
    late = []
    for code, param in known.items():
        if param.type == "composite" and param.expression:
            plan = _composite(param, resource_type, sources, found)
            if plan is None:
                late.append(param)
            else:
                found[code] = plan
                if not plan.rooted:
                    composites[code] = (plan, param)
    for param in late:
        union = _combined(param, resource_type, known, found)
        if union:
            found[param.code] = union
        else:
            plan = _by_element(param, resource_type, found)
            found[param.code], composites[param.code] = plan, (plan, param)
    return Plans(found, sources, composites)


@cache
def single(resource_type: str) -> frozenset[int]:
    """The `p` of those parameters that find one element at most in a resource."""
    own = tables.type_(resource_type)

    def place(branch: Branch) -> tuple[str, ...]:
        """Types of one choice stand in one place: only one of them may be there."""
        names = [step.name for step in branch.steps]
        return (own.elements[names[0]].path_name,) if len(names) == 1 and names[0] in own.elements else tuple(names)

    return frozenset(
        source.direct.p
        for source in plans(resource_type).sources.values()
        if isinstance(source.ways, tuple)
        and len({place(b) for b in source.ways}) == 1
        and all(step.kind == "child" and not step.array for b in source.ways for step in b.steps)
    )


registry.on_change(plans.cache_clear)
registry.on_change(single.cache_clear)


def _words(resource_type: str, code: str) -> Words:
    text = keys.parameter(resource_type, "_text")
    return Words((text,) if code == "_text" else (text, keys.parameter(resource_type, "_content")))


def _width(source: Source) -> int:
    return len(source.ways) if isinstance(source.ways, tuple) else 0


def _distinct(everything: dict[str, Source], found: dict[str, Plan], added: set[str]) -> dict[str, Source]:
    """Fill the plans of all but composites; what is left has to be stored.

    R4's own never lean on added ones: what is stored for them stays as it is when parameters come and go.
    """
    sources: dict[str, Source] = {}
    same: dict[tuple[str, frozenset[Branch]], str] = {}
    for code in sorted(everything, key=lambda c: (c in added, _width(everything[c]), c)):
        source = everything[code]
        d = source.direct
        if not isinstance(source.ways, tuple) or not source.ways:
            sources[code] = source
            continue
        first = same.setdefault((d.type, frozenset(source.ways)), code)
        if first != code:
            continue
        sources[code] = source
    for code in list(sources):
        source = sources[code]
        if not isinstance(source.ways, tuple) or not source.ways:
            found[code] = source.direct
            continue
        others = {c: s for c, s in sources.items() if c != code and _width(s) and (code in added or c not in added)}
        covered = _cover(frozenset(source.ways), source.direct.type, others)
        if covered is None:
            found[code] = source.direct
            continue
        del sources[code]
        parts = tuple(c.direct if isinstance(c, Source) else Restricted(c[0].direct, c[1]) for c in covered)
        found[code] = parts[0] if len(parts) == 1 else Union(parts)
    for code, source in everything.items():
        if code not in found and isinstance(source.ways, tuple):
            plan = found[same[source.direct.type, frozenset(source.ways)]]
            found[code] = replace(plan, targets=source.direct.targets) if isinstance(plan, Direct) else plan
    return sources


def _composite(param: SearchParam, resource_type: str, sources: dict[str, Source], found: dict[str, Plan]) -> Composite | None:
    """None: several contexts, so a union of others perhaps."""
    contexts = _parts(param.expression, resource_type)
    if len(contexts) > 1:
        return None
    plan = _by_element(param, resource_type, found)
    if not contexts or contexts[0].steps or not plan.parts:
        return plan
    parts = []
    for part, (url, expression) in zip(plan.parts, param.components, strict=True):
        definition = registry.by_url(url)
        whole = set(_found_by(definition, resource_type)) if definition else set()
        mine = set(_parts(expression, resource_type))
        if not (mine and mine <= whole and (mine == whole or isinstance(part.of, Direct))):
            return plan
        parts.append((replace(part, apart=mine != whole), whole - mine))
    for part, rest in parts:
        if rest and isinstance(part.of, Direct):
            sources[part.of.code].apart.update(rest)
    return replace(plan, parts=tuple(part for part, _ in parts), rooted=True)


def _found_by(param: SearchParam, resource_type: str) -> tuple[Branch, ...]:
    ways = registry.ways(param, resource_type)
    return ways if isinstance(ways, tuple) else ()


def _parts(expression: str, context: str) -> tuple[Branch, ...]:
    try:
        return branches(expression, context)
    except Unsupported:
        return ()


def _by_element(param: SearchParam, resource_type: str, found: dict[str, Plan]) -> Composite:
    parts = []
    for url, _ in param.components:
        definition = registry.by_url(url)
        plan = found.get(definition.code) if definition else None
        if definition is None:
            return Composite(keys.parameter(resource_type, param.code), param.code, (), False)
        of = plan if isinstance(plan, Direct | Union | Restricted) else Direct(0, definition.code, definition.type)
        parts.append(Part(of, definition.type))
    return Composite(keys.parameter(resource_type, param.code), param.code, tuple(parts), False)


def _combined(param: SearchParam, resource_type: str, known: dict[str, SearchParam], found: dict[str, Plan]) -> Union | None:
    """combo-code-value-quantity is code-value-quantity or component-code-value-quantity."""
    parts = []
    mine = tuple(e for _, e in param.components)
    contexts = branches(param.expression, resource_type)
    for context in contexts:
        for code, other in known.items():
            plan = found.get(code)
            alike = isinstance(plan, Composite) and tuple(e for _, e in other.components) == mine
            if isinstance(plan, Composite) and alike and _parts(other.expression, resource_type) == (context,):
                parts.append(plan)
                break
    return Union(tuple(parts)) if len(parts) == len(contexts) else None
