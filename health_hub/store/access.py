"""An access filter on a row that has been read, and on rows that are to be found.

The same conditions are decided twice: here in Python for a row by id, with everything they ask about fetched beside it, and in SQL
(search/sql.py) for searches. A test holds the two against each other.
"""

import time
from array import array
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_profiles.tables import RESOURCE_TYPES, search_params, type_name
from health_hub.fhir import consent, keys
from health_hub.fhir.consent import Rule, Viewer
from health_hub.fhir.index import forms
from health_hub.store.condition import (
    EVERYTHING,
    NOTHING,
    All,
    Among,
    Any_,
    Condition,
    Consented,
    Decided,
    Keys,
    Not_,
    OfType,
    Owned,
    Persons,
    Related,
    Selves,
    Unlabelled,
    Written,
    all_,
    any_,
    not_,
)
from health_hub.store.model import Filter

TYPED = 2000  # keys that a condition on persons or owners may become; more are looked for in the row's own column
NEAR = 500  # related persons that are named in a search; more are joined
RESTRICTED = 5000  # persons whose Consents are held against a search
GROUPS = 100  # different sets of rules among them
EVERY = frozenset(range(1, len(RESOURCE_TYPES) + 1))
PROVINCE = "Organization"  # what stands for the province among owners


def now() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def owner_key(type: str, owner: str | None) -> int:
    """The key of every resource under its owner."""
    return keys.parameter(type, "_owner") ^ keys.reference(owner or PROVINCE)


def person_key(type: str, person: int) -> int:
    """The key of everything about a Patient."""
    return keys.parameter(type, "_person") ^ person


@dataclass(slots=True)
class Facts:
    """What a filter may ask of one row. parties: of treatment relationships with its persons now. rules: of their Consents."""

    type: int
    self: int
    keys: Any
    owner: str | None = None
    author: str | None = None
    sensitive: int = 0
    persons: Sequence[int] = ()
    parties: frozenset[int] = frozenset()
    rules: Sequence[Rule] = field(default_factory=list)


def sees(condition: Condition, facts: Facts, at: int) -> bool:
    """Whether the row meets it at that moment (ms)."""
    match condition:
        case Keys(any=wanted):
            return not set(wanted).isdisjoint(facts.keys)
        case All(parts=parts):
            return all(sees(p, facts, at) for p in parts)
        case Any_(parts=parts):
            return any(sees(p, facts, at) for p in parts)
        case Not_(part=part):
            return not sees(part, facts, at)
        case Persons(any=wanted):
            return not set(wanted).isdisjoint(facts.persons)
        case Among(all=every):
            return set(every).issuperset(facts.persons)
        case Owned(by=by):
            return facts.owner in by
        case Written(by=by):
            return facts.author == by
        case Unlabelled(bits=bits):
            return not facts.sensitive & bits
        case Related(parties=parties):
            return not facts.parties.isdisjoint(parties)
        case Decided(viewer=viewer, decision=decision):
            return bool(facts.rules) and consent.decide_all(facts.rules, viewer, at, lambda rule: _about(rule, facts)) == decision
        case OfType(types=types):
            return facts.type in types
        case Consented():
            return bool(facts.rules)
        case Selves(selves=selves):
            return facts.self in selves
    raise TypeError(f"{type(condition).__name__} is no condition of an access filter")


# A Consent's rule on a row


def _about(rule: Rule, facts: Facts) -> bool:
    return sees(about(rule, frozenset((facts.type,))), facts, 0)


def about(rule: Rule, types: frozenset[int]) -> Condition:
    """What a rule's labels, classes, codes and data ask of rows of these types."""
    parts: list[Condition] = []
    if rule.labels is not None:
        parts.append(not_(Unlabelled(rule.labels)))
    if rule.types is not None:
        parts.append(OfType(tuple(t for t in sorted(types) if type_name(t) in rule.types)))
    if rule.codes is not None:
        found: list[int] = []
        for t in sorted(types):
            name = type_name(t)
            if "code" in search_params(name) and search_params(name)["code"].type == "token":
                p = keys.parameter(name, "code")
                for text in rule.codes:
                    system, _, code = text.partition("|")
                    form, value = forms.token(system or None, code, folded=True)
                    found.append(p ^ keys.value(form, value))
        parts.append(Keys(tuple(found)))
    if rule.data is not None:
        parts.append(Selves(tuple(rule.data)))
    return all_(parts)


def residual(rule: Rule, viewer: Viewer, at: int, types: frozenset[int]) -> tuple[Condition, Condition]:
    """(rows that the rule permits, rows that it denies) to this viewer at this moment."""
    met = consent.concerns(rule, viewer, at)
    if met is False or (met is None and rule.type == "permit"):
        return NOTHING, NOTHING
    if met is None:
        return NOTHING, EVERYTHING
    here = about(rule, types)
    deeper = [residual(inner, viewer, at, types) for inner in rule.rules]
    permitted, denied = any_([p for p, _ in deeper]), any_([d for _, d in deeper])
    deny = denied
    permit = all_((permitted, not_(denied)))
    rest = not_(any_((permitted, denied)))
    if rule.type == "deny":
        deny = any_((deny, rest))
    elif rule.type == "permit":
        permit = any_((permit, rest))
    return all_((here, permit)), all_((here, deny))


# Searches


@dataclass(slots=True)
class Seen:
    """A filter with what had to be asked beforehand: what rows of any types must meet, for SQL.

    near: of each Related, the persons, where they are few. consents: of each Decided, persons with their rules; None: too many.
    """

    filter: Filter
    at: int = 0
    near: dict[Related, tuple[int, ...]] = field(default_factory=dict)
    consents: dict[Decided, list[tuple[list[Rule], list[int]]] | None] = field(default_factory=dict)
    plain: bool = False  # the row's own columns are asked instead of its keys
    _known: dict[tuple[int, ...], Condition] = field(default_factory=dict)

    def on(self, types: Sequence[int]) -> Condition:
        """Of rows of these types (none: all)."""
        if self.filter.grants is None:
            return EVERYTHING
        asked = tuple(types)
        found = self._known.get(asked)
        if found is None:
            every = frozenset(asked) or EVERY
            parts: list[Condition] = []
            for grant in self.filter.grants:
                if hit := grant.types & every:
                    where = self._expand(grant.where, hit)
                    parts.append(where if hit == every else all_((OfType(tuple(sorted(hit))), where)))
            found = self._known[asked] = any_(parts)
        return found

    def _expand(self, condition: Condition, types: frozenset[int]) -> Condition:
        match condition:
            case All(parts=parts):
                return all_([self._expand(p, types) for p in parts])
            case Any_(parts=parts):
                return any_([self._expand(p, types) for p in parts])
            case Not_(part=part):
                return not_(self._expand(part, types))
            case Owned(by=by) if not self.plain and len(by) * len(types) <= TYPED:
                return Keys(tuple(owner_key(type_name(t), o) for t in sorted(types) for o in by))
            case Persons(any=wanted) if not self.plain:
                return typed(wanted, types)
            case Related() if not self.plain and condition in self.near:
                return typed(self.near[condition], types)
            case Decided():
                return self._decided(condition, types)
            case _:
                return condition

    def _decided(self, asked: Decided, types: frozenset[int]) -> Condition:
        groups = self.consents[asked]
        made: dict[Condition, list[int]] = {}
        for rules, persons in groups or ():
            found = [residual(rule, asked.viewer, self.at, types) for rule in rules]
            deny = any_([d for _, d in found])
            where = deny if asked.decision == "deny" else all_((any_([p for p, _ in found]), not_(deny)))
            if where != NOTHING:
                made.setdefault(where, []).extend(persons)
        if groups is None or len(made) > GROUPS:
            # More than can be told apart: whoever has such a Consent is left out. Nothing is shown that one forbids.
            return NOTHING if asked.decision == "permit" else Consented()
        return any_([all_((Persons(tuple(p)) if self.plain else typed(sorted(p), types), where)) for where, p in made.items()])


def typed(persons: Sequence[int], types: frozenset[int]) -> Condition:
    """Persons as keys, which an index finds, where they are not too many."""
    if not persons:
        return NOTHING
    if len(persons) * len(types) > TYPED:
        return Persons(tuple(persons))
    return Keys(tuple(person_key(type_name(t), p) for t in sorted(types) for p in persons))


Fetch = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]


async def settled(filter: Filter, fetch: Fetch, *, sqlite: bool) -> Seen:
    """Asks what searches within the filter need to know: relationships that are few, Consents."""
    seen = Seen(filter, now())
    decided: list[Decided] = []
    for asked in filter.elsewhere():
        if type(asked) is Related:
            if (near := await _near(asked.parties, seen.at, fetch, sqlite)) is not None:
                seen.near[asked] = near
        elif type(asked) is Decided:
            decided.append(asked)
    if decided:
        groups = await _consents(decided, seen.at, fetch, sqlite)
        seen.consents = dict.fromkeys(decided, groups)
    return seen


def _among(column: str, place: str, sqlite: bool) -> str:
    return f"{column} IN (SELECT value FROM json_each({place}))" if sqlite else f"{column} = ANY ({place}::bigint[])"


def _list(values: Sequence[int], sqlite: bool) -> Any:
    return str(list(values)) if sqlite else list(values)


# Parties that were found to have many relationships, and until when (monotonic seconds) they are taken to have.
_many: dict[tuple[int, ...], float] = {}
MANY_FOR = 10.0


async def _near(parties: tuple[int, ...], at: int, fetch: Fetch, sqlite: bool) -> tuple[int, ...] | None:
    """The persons that the parties are related to now, if they are few."""
    moment = time.monotonic()
    if _many.get(parties, 0.0) > moment:
        return None
    a, b = ("?1", "?2") if sqlite else ("$1", "$2::bigint")
    where = f"{_among('g.party', a, sqlite)} AND g.until > {b} AND g.since <= {b}"
    rows = await fetch(
        f"SELECT DISTINCT g.person FROM relation g WHERE {where} LIMIT {NEAR + 1}",
        (_list(parties, sqlite), at),
    )
    if len(rows) <= NEAR:
        return tuple(sorted(r[0] for r in rows))
    if len(_many) > 1000:
        _many.clear()
    _many[parties] = moment + MANY_FOR
    return None


async def _consents(
    asked: Sequence[Decided], at: int, fetch: Fetch, sqlite: bool
) -> list[tuple[list[Rule], list[int]]] | None:
    """Persons with the rules of their Consents, those with the same ones together; None: too many.

    Of those whose Consents permit a part, or may deny: the latter matter where one of the parties has a relationship.
    """
    a, b = ("?1", "?2") if sqlite else ("$1::bigint", "$2")
    args: list[Any] = [at]
    which = f"d.kind >= {consent.PARTIAL}"
    denials = [d for d in asked if d.decision == "deny"]
    if any(not d.parties for d in denials):
        which = "d.kind > 0"
    elif denials:
        args.append(_list(tuple({p for d in denials for p in d.parties}), sqlite))
        related = f"SELECT g.person FROM relation g WHERE {_among('g.party', b, sqlite)} AND g.until > {a} AND g.since <= {a}"
        which += f" OR (d.kind = {consent.DENIES} AND d.person IN ({related}))"
    rows = await fetch(
        f"SELECT c.person, c.rules FROM consent c WHERE c.since <= {a} AND c.until > {a} AND c.person IN "
        f"(SELECT d.person FROM consent d WHERE {which}) ORDER BY c.person, c.rules LIMIT {RESTRICTED + 1}",
        args,
    )
    if len(rows) > RESTRICTED:
        return None
    by_person: dict[int, list[str]] = {}
    for person, rules in rows:
        by_person.setdefault(person, []).append(rules)
    groups: dict[tuple[str, ...], list[int]] = {}
    for person, texts in by_person.items():
        groups.setdefault(tuple(texts), []).append(person)
    return [([consent.decode(text) for text in texts], persons) for texts, persons in groups.items()]


# Rows


def facts_of(row: Any) -> Facts:
    """From a row of Reads with its access columns (store/view.py)."""
    have = row[8]
    persons = row[12]
    if isinstance(have, bytes | type(None)):
        have = array("q", have or b"")
        persons = persons_of(persons)
    return Facts(row[1], row[13], have, row[9], row[10], row[11], persons or ())


def persons_of(text: Any) -> list[int]:
    """SQLite keeps them as JSON."""
    return [int(p) for p in text[1:-1].split(",")] if isinstance(text, str) and len(text) > 2 else []


def persons_text(persons: Iterable[int]) -> str | None:
    text = ",".join(map(str, persons))
    return f"[{text}]" if text else None


__all__ = [
    "EVERY", "PROVINCE", "Facts", "Seen", "facts_of", "now", "owner_key", "person_key", "persons_of", "persons_text", "sees", "settled",
]  # fmt: skip
