"""The name of a search parameter, with chains, `_has` and modifier, to a function that builds its condition.

`code[:modifier]`, `reference[:Type].name`, `_has:Type:reference:name` (R4 search.html#modifiers, #chaining, #has). Compiling
depends on the types searched and the name alone, so the parser keeps what comes out of here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fhir_profiles import tables
from fhir_profiles.tables import SearchParam
from health_hub.fhir import keys
from health_hub.fhir.search.escape import split, unescape
from health_hub.fhir.search.query import And, Chain, Has, Node, Or, StringValue, Test
from health_hub.fhir.search.values import MAX_LENGTH, TYPES, Context, reader, targets_alone

MAX_VALUES = 1000
MAX_HOPS = 10
MAX_NAME = 1000

# R4 search.html#modifiers, by parameter type; `:missing` fits every type but composite.
MODIFIERS: dict[str, tuple[str, ...]] = {
    "string": ("exact", "contains", "text"),
    "token": ("text", "not", "above", "below", "in", "not-in", "of-type"),
    "reference": ("identifier", "above", "below"),
    "uri": ("above", "below"),
    "date": (),
    "number": (),
    "quantity": (),
    "composite": (),
    "special": (),
}
# Parameters without a row of their own in the index to be missing, and those that are not conditions at all.
_NEVER_MISSING = frozenset(("_id", "_lastUpdated", "_text", "_content", "_list"))
_PLAIN = frozenset(("_text", "_content", "_list", "_lastUpdated"))
NOT_CONDITIONS = frozenset(("_filter", "_query", "_type", "_in", "_has", "_compartment"))

Lookup = Callable[[str], Mapping[str, SearchParam]]
ByUrl = Callable[[str], SearchParam | None]
Build = Callable[[str, Context], Node]
Leaf = Callable[[SearchParam, str | None], Build]
Group = tuple[tuple[str, ...], Build]


class Unknown(Exception):
    """No such parameter: lenient handling leaves it out, strict handling refuses it."""


class NoReference(ValueError):
    """A chain goes on after what is no reference."""


def search_params(types: Sequence[str], lookup: Lookup) -> Mapping[str, SearchParam]:
    """What can be searched on one type, or without a type: the parameters of every resource (_text included)."""
    if types:
        return lookup(types[0])
    return lookup("DomainResource")


def compile_name(types: tuple[str, ...], name: str, lookup: Lookup, by_url: ByUrl) -> Build:
    """The condition `name=...` on resources of all of `types` (none: every type). Unknown or ValueError."""
    groups = compile_path(types, name, lookup, lambda param, modifier: leaf(param, modifier, by_url))
    if len(groups) != 1 or (types and len(groups[0][0]) != len(types)):
        # R4 http.html#vsearch: an error, and nothing to leave out quietly: the types without it would come whole.
        raise ValueError(f"it is not common to {', '.join(types[:10])}")
    return groups[0][1]


def compile_path(types: tuple[str, ...], name: str, lookup: Lookup, make_leaf: Leaf) -> list[Group]:
    """The types `name` can be asked of, with how; several groups where the parameter's type differs between them."""
    if len(name) > MAX_NAME:
        raise ValueError(f"the name is longer than {MAX_NAME} characters")
    if name.count(".") + name.count("_has:") > MAX_HOPS:
        raise ValueError(f"a chain has at most {MAX_HOPS} links")
    return _path(types, name, lookup, make_leaf)


def _path(types: tuple[str, ...], name: str, lookup: Lookup, make_leaf: Leaf) -> list[Group]:
    if name.startswith("_has:"):
        return _has(types, name, lookup, make_leaf)
    head, dot, rest = name.partition(".")
    code, colon, modifier = head.partition(":")
    if colon and not modifier:
        raise ValueError("a modifier must follow the :")
    found = definitions(types, code, lookup)
    if not dot:
        return [(having, make_leaf(param, modifier or None)) for having, param in found]
    having, param = reference_among(found, code)
    targets = targets_of(param, modifier)
    inner = _path(targets, rest, lookup, make_leaf)
    return [(having, either([_chain(param, reached, build) for reached, build in inner]))]


def _has(types: tuple[str, ...], name: str, lookup: Lookup, make_leaf: Leaf) -> list[Group]:
    parts = name.split(":", 3)
    if len(parts) != 4 or not parts[3]:
        raise ValueError("_has is written _has:Type:reference:parameter")
    _, source, code, rest = parts
    if source not in TYPES:
        raise ValueError(f"{source[:64]!r} is no resource type")
    _, param = reference_among(definitions((source,), code, lookup), code)
    reachable = tuple(t for t in types if not param.targets or t in param.targets)
    if types and not reachable:
        raise ValueError(f"{code} of {source} does not refer to {', '.join(types[:10])}")
    ((_, where),) = _path((source,), rest, lookup, make_leaf)
    return [(reachable, lambda text, context: Has(source, param, where(text, context)))]


def definitions(types: tuple[str, ...], code: str, lookup: Lookup) -> list[tuple[tuple[str, ...], SearchParam]]:
    """The types that have `code`, with its definition; one entry for each kind of value. Targets are united."""
    if code == "_query":
        # R4 search.html#query: a search whose _query is not recognised SHALL be refused.
        raise ValueError("there are no named queries here")
    if code in NOT_CONDITIONS:
        raise Unknown("is not supported here")
    if not types:
        param = search_params((), lookup).get(code)
        if param is None:
            raise Unknown("is no parameter of every resource type; name a type, or several with _type")
        return [((), searchable(param))]
    groups: dict[tuple[object, ...], list[str]] = {}
    chosen: dict[tuple[object, ...], SearchParam] = {}
    for type_ in types:
        param = lookup(type_).get(code)
        if param is None:
            continue
        searchable(param)
        key = (param.type, tuple(url for url, _ in param.components))
        groups.setdefault(key, []).append(type_)
        known = chosen.setdefault(key, param)
        if known is not param and known.targets != param.targets:
            # No targets means any type, and stays so.
            united = tuple(dict.fromkeys(known.targets + param.targets)) if known.targets and param.targets else ()
            chosen[key] = replace(known, targets=united)
    if not groups:
        raise Unknown(f"is no search parameter of {', '.join(types[:10])}{' ...' if len(types) > 10 else ''}")
    return [(tuple(having), chosen[key]) for key, having in groups.items()]


def searchable(param: SearchParam) -> SearchParam:
    """Some parameters (Patient?age) have no expression in R4, only prose: nobody can index them."""
    if not param.expression and param.code not in _PLAIN:
        raise Unknown("is defined without an expression and is not supported here")
    return param


def reference_among(found: list[tuple[tuple[str, ...], SearchParam]], code: str) -> tuple[tuple[str, ...], SearchParam]:
    for having, param in found:
        if param.type == "reference":
            return having, param
    raise NoReference(f"{code} is of type {found[0][1].type}, only a reference can be followed")


def targets_of(param: SearchParam, modifier: str) -> tuple[str, ...]:
    """The types a chain goes on with."""
    targets = targets_alone(param)
    if not modifier:
        return targets or tables.RESOURCE_TYPES
    if modifier not in TYPES:
        raise ValueError(f":{modifier[:64]} is no resource type to follow {param.code} to")
    if targets and modifier not in targets:
        raise ValueError(f"{param.code} does not refer to {modifier}, but to {', '.join(targets)}")
    return (modifier,)


def _chain(param: SearchParam, types: tuple[str, ...], where: Build) -> Build:
    return lambda text, context: Chain(param, types, where(text, context))


def either(builds: list[Build]) -> Build:
    if len(builds) == 1:
        return builds[0]
    return lambda text, context: Or(tuple(build(text, context) for build in builds))


def check_modifier(param: SearchParam, modifier: str) -> None:
    """ValueError where R4 does not give this modifier to this type of parameter."""
    allowed = () if param.code in _PLAIN else MODIFIERS.get(param.type, ())
    if param.code == "_id":
        allowed = ("not",)
    if param.type != "composite" and param.code not in _NEVER_MISSING:
        allowed = (*allowed, "missing")
    if modifier in allowed:
        return
    if param.type == "reference" and modifier in TYPES and param.code not in _PLAIN:
        targets_of(param, modifier)
        return
    names = ", ".join(":" + a for a in allowed) or "none"
    raise ValueError(f"the modifier :{modifier[:64]} does not fit a parameter of type {param.type} (allowed: {names})")


def leaf(param: SearchParam, modifier: str | None, by_url: ByUrl) -> Build:
    """`param:modifier=values`, the values joined by commas of which any may match."""
    if modifier is not None:
        check_modifier(param, modifier)
        if modifier == "missing":
            return lambda text, context: missing(param, text)
    read = reader(param, modifier, by_url)
    if modifier in TYPES:
        modifier = None
    if modifier == "text" and param.type == "string":
        return lambda text, context: _words(param, text)

    def build(text: str, context: Context) -> Test:
        if "," not in text:
            if len(text) > MAX_LENGTH:
                raise ValueError(f"a value is longer than {MAX_LENGTH} characters")
            return Test(param, modifier, (read(text, context),))
        return Test(param, modifier, tuple([read(part, context) for part in alternatives(text)]))

    return build


def missing(param: SearchParam, text: str) -> Test:
    if text not in ("true", "false"):
        raise ValueError("missing is true or false")
    return Test(param, "missing", (), text == "true")


def alternatives(text: str) -> list[str]:
    """The values between unescaped commas."""
    parts = split(text, ",")
    if len(parts) > MAX_VALUES:
        raise ValueError(f"there are more than {MAX_VALUES} values")
    for part in parts:
        if not part:
            raise ValueError("a value beside a comma is empty")
        if len(part) > MAX_LENGTH:
            raise ValueError(f"a value is longer than {MAX_LENGTH} characters")
    return parts


def _words(param: SearchParam, text: str) -> Node:
    """`:text` of a string: every word stands somewhere in the strings, in any order."""
    either_: list[Node] = []
    for part in alternatives(text):
        words = dict.fromkeys(word for word in unescape(part).split() if keys.fold(word).strip())
        if not words or len(words) > 32:
            raise ValueError("a text has 1 to 32 words")
        tests = tuple(Test(param, "contains", (StringValue(word),)) for word in words)
        either_.append(tests[0] if len(tests) == 1 else And(tests))
    return either_[0] if len(either_) == 1 else Or(tuple(either_))
