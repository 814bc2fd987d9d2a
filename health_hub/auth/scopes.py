"""SMART scopes: read from text, written as text, held against each other (SMART App Launch 2.2, Scopes and Launch Context).

A resource scope is `context/type.interactions`, v2 in letters of "cruds" in that order and perhaps `?` and search parameters that
all must hold, v1 in `read`, `write` or `*`. Inside the hub there is only v2; `spoken` gives a client back the words it asked in.
Pure: nothing here knows a client, a person or a request.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache

from fhir_profiles.tables import RESOURCE_TYPES
from health_hub.auth.model import AuthError

LENGTH, COUNT, WORD = 8000, 100, 200  # characters of what is asked, scopes in it, characters of one
GRANTED = 4000  # characters of what is granted: it stands in every access token
# Scopes that are one word: who the person is, how long it lasts, what context to give.
PLAIN = frozenset((
    "openid", "profile", "fhirUser", "offline_access", "online_access", "launch", "launch/patient", "launch/encounter",
))  # fmt: skip
PERSONS, SYSTEMS = ("patient", "user"), ("system",)
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_V1_WORD = {letters: word for word, letters in _V1.items()}
# RFC 6749 3.3: a scope has no space, no quote and no backslash.
_SCOPE = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,60})\.(read|write|\*|(?=[cruds])c?r?u?d?s?)(?:\?([\x21\x23-\x5b\x5d-\x7e]{1,150}))?"
)
RestrictionOk = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Scope:
    """A resource scope. context: patient, user or system; type: a resource type or `*`; query: `category=a&status=final`, "" none."""

    context: str
    type: str
    c: bool
    r: bool
    u: bool
    d: bool
    s: bool
    query: str = ""

    @property
    def letters(self) -> str:
        return "".join(x for x in "cruds" if getattr(self, x))

    def __str__(self) -> str:
        return f"{self.context}/{self.type}.{self.letters}" + (f"?{self.query}" if self.query else "")


def _scope(context: str, type: str, letters: Collection[str], query: str) -> Scope:
    c, r, u, d, s = (x in letters for x in "cruds")
    return Scope(context, type, c, r, u, d, s, query)


@cache
def _types() -> frozenset[str]:
    return frozenset(RESOURCE_TYPES) | {"*"}


def one(word: str) -> Scope | None:
    """The resource scope that a word is, v1 or v2; None: it is none of this hub."""
    found = _SCOPE.fullmatch(word) if len(word) <= WORD else None
    if found is None or found[2] not in _types():
        return None
    return _scope(found[1], found[2], _V1.get(found[3], found[3]), found[4] or "")


def parse(text: str) -> tuple[Scope, ...]:
    """The resource scopes in a text; everything else is passed over."""
    return tuple(found for word in text.split() if (found := one(word)) is not None)


def words(text: str) -> list[str]:
    """Each scope of a text once. Raises AuthError invalid_scope for more than anyone needs."""
    if len(text) > LENGTH:
        raise AuthError("invalid_scope", f"scope has at most {LENGTH} characters")
    found = list(dict.fromkeys(text.split(" ")))
    if len(found) > COUNT:
        raise AuthError("invalid_scope", f"scope has at most {COUNT} scopes")
    return [w for w in found if w]


def covers(outer: Scope, inner: Scope) -> bool:
    """Whether one scope allows all that another does: `user/*.cruds` covers `user/Patient.r?name=an`."""
    return _reaches(outer, inner) and set(inner.letters) <= set(outer.letters)


def _reaches(outer: Scope, inner: Scope) -> bool:
    """As `covers`, whatever the interactions. More parameters are narrower, since all of them must hold."""
    return (
        outer.context == inner.context and outer.type in ("*", inner.type)
        and (not outer.query or set(outer.query.split("&")) <= set(inner.query.split("&")))
    )  # fmt: skip


def within(inner: str, outer: str) -> bool:
    """Whether all of a text's scopes are allowed by another's, also by several together; a word that is unknown only by itself."""
    allowed, named = parse(outer), set(outer.split())
    for word in inner.split():
        scope = one(word)
        if word in named:
            continue
        if scope is None:
            return False
        if not all(any(x in o.letters and _reaches(o, scope) for o in allowed) for x in scope.letters):
            return False
    return True


def meet(a: Scope, b: Scope) -> Scope | None:
    """What both allow: `user/*.rs` and `user/Patient.cruds` meet in `user/Patient.rs`; None: nothing."""
    letters = set(a.letters) & set(b.letters)
    if a.context != b.context or not letters or (a.type != b.type and "*" not in (a.type, b.type)):
        return None
    query = "&".join(dict.fromkeys((*filter(None, a.query.split("&")), *filter(None, b.query.split("&")))))
    return _scope(a.context, b.type if a.type == "*" else a.type, letters, query)


def grant(asked: str, allowed: str, restriction_ok: RestrictionOk, contexts: Iterable[str] = PERSONS) -> str:
    """What of the scopes asked may be had by a client that may have `allowed`, in v2; the rest is dropped, unknown ones too.

    asked "": all that is allowed. contexts: those that can be granted here (PERSONS or SYSTEMS). restriction_ok(type, query):
    whether a restriction can be enforced; a scope whose restriction cannot is dropped, never granted without it. "": nothing is left.
    Raises AuthError invalid_scope.
    """
    may, plain, contexts = parse(allowed), set(allowed.split()), tuple(contexts)
    out: dict[str, None] = {}
    for word in words(asked or allowed):
        scope = one(word)
        if scope is None:
            if word in PLAIN and word in plain and contexts == PERSONS:
                out[word] = None
            continue
        if scope.context not in contexts:
            continue
        met = [m for other in may if (m := meet(scope, other)) is not None]
        met = [m for m in dict.fromkeys(met) if not m.query or restriction_ok(m.type, m.query)]
        for n, m in enumerate(met):
            if not any(covers(other, m) for k, other in enumerate(met) if k != n and (k < n or not covers(m, other))):
                out[str(m)] = None
    text = " ".join(out)
    if len(text) > GRANTED:
        raise AuthError("invalid_scope", f"the scopes that could be granted have more than {GRANTED} characters: ask for less")
    return text


def narrow(asked: str, granted: str) -> str:
    """Scopes of a refresh, in v2: those granted, or some of them. Raises AuthError invalid_scope for more (RFC 6749 6)."""
    wanted = words(asked)
    if not within(" ".join(wanted), granted):
        raise AuthError("invalid_scope", "a refresh may ask for what was granted, and for no more")
    return " ".join(dict.fromkeys(str(scope) if (scope := one(w)) is not None else w for w in wanted)) or granted


def only(scope: str, keep: Callable[[Scope], bool]) -> str:
    """A text without the resource scopes that are not to be kept."""
    return " ".join(w for w in scope.split() if (found := one(w)) is None or keep(found))


def spoken(granted: str, asked: str) -> str:
    """What was granted, in v1 where it was asked in v1 and v1 can say it."""
    old = [found for w in asked.split() if w.rpartition(".")[2] in _V1 and (found := one(w)) is not None]
    if not old:
        return granted
    out = []
    for word in granted.split():
        scope = one(word)
        said = _V1_WORD.get(scope.letters) if scope is not None and not scope.query else None
        if scope is not None and said is not None and any(covers(o, scope) for o in old):
            word = f"{scope.context}/{scope.type}.{said}"
        out.append(word)
    return " ".join(out)


def wants_patient(scope: str) -> bool:
    """Whether it is worth nothing, or not all, without a patient in context."""
    return "launch/patient" in scope.split() or any(s.context == "patient" for s in parse(scope))


def wants_fhir(scope: str) -> bool:
    """Whether it lets a client use the FHIR API."""
    return bool(parse(scope))
