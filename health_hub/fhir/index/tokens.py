"""Token forms: what `system|code` searches compare, of every FHIR type that is one (R4 search.html#token)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fhir_profiles import tables
from fhir_profiles.number import Number
from health_hub.fhir.index import forms

BOOLEAN = "http://terminology.hl7.org/CodeSystem/special-values"
# Value sets that cannot be listed but have one code system.
_OPEN = {
    "http://hl7.org/fhir/ValueSet/mimetypes": "urn:ietf:bcp:13", "http://hl7.org/fhir/ValueSet/all-languages": "urn:ietf:bcp:47",
    "http://hl7.org/fhir/ValueSet/languages": "urn:ietf:bcp:47", "http://hl7.org/fhir/ValueSet/currencies": forms.CURRENCY,
    "http://hl7.org/fhir/ValueSet/ucum-units": forms.UCUM,
}  # fmt: skip
# Types whose codes compare without case; a parameter that meets any other compares exactly.
FOLDED = frozenset(("code", "Coding", "CodeableConcept", "boolean", "ContactPoint"))

Form = tuple[str, str]
Forms = Callable[[Any], list[Form]]


def pair(system: str | None, code: str | None, folded: bool) -> list[Form]:
    """t, c and s of a system and a code; n instead where there is no system."""
    if not code:
        return [("s", system)] if system else []
    found = [forms.token(None, code, folded=folded), forms.token(system or "", code, folded=folded)]
    if system:
        found.append(("s", system))
    return found


def coding(folded: bool) -> Forms:
    return lambda x: pair(x.get("system"), x.get("code"), folded)


def concept(folded: bool) -> Forms:
    return lambda x: [f for c in x.get("coding") or () for f in pair(c.get("system"), c.get("code"), folded)]


def identifier(folded: bool) -> Forms:
    def found(x: Any) -> list[Form]:
        number = x.get("value")
        out = pair(x.get("system"), number, folded)
        kind = x.get("type")
        if kind and number:
            out += [forms.of_type(c.get("system"), c["code"], number) for c in kind.get("coding") or () if c.get("code")]
        return out

    return found


def contact(folded: bool) -> Forms:
    def found(x: Any) -> list[Form]:
        number = x.get("value")
        if not number:
            return []
        out = [forms.token(None, number, folded=folded)]
        # R4's table says ContactPoint.use is the system; clients send ContactPoint.system. The two have no code in common.
        systems = [x[n] for n in ("use", "system") if x.get(n)] or [""]
        return out + [forms.token(s, number, folded=folded) for s in systems]

    return found


def code(folded: bool, binding: str | None = None) -> Forms:
    systems = tables.value_set_systems(binding) if binding else None
    only = _OPEN.get((binding or "").partition("|")[0])

    @lru_cache(maxsize=1024)
    def found(x: str) -> list[Form]:
        of = [only] if only else [s for s, codes in (systems or {}).items() if x in codes] or [""]
        return [forms.token(None, x, folded=folded), *(forms.token(s, x, folded=folded) for s in of)]

    return found


def boolean(folded: bool) -> Forms:
    values = {b: [("c", text), ("t", f"{BOOLEAN}|{text}")] for b, text in ((True, "true"), (False, "false"))}
    return lambda x: values[x] if x.__class__ is bool else []


def plain(folded: bool) -> Forms:
    def found(x: Any) -> list[Form]:
        text = x if x.__class__ is str else bytes(x).decode() if x.__class__ is Number else str(x)
        return [forms.token(None, text, folded=folded), forms.token("", text, folded=folded)] if text else []

    return found


_PLAIN = ("string", "id", "uri", "url", "canonical", "oid", "uuid", "integer", "positiveInt", "unsignedInt", "decimal", "date", "dateTime",
          "instant", "time", "markdown")  # fmt: skip
_TOKENS: dict[str, Callable[[bool], Forms]] = {
    "Coding": coding, "CodeableConcept": concept, "Identifier": identifier, "ContactPoint": contact, "boolean": boolean,
    **dict.fromkeys(_PLAIN, plain),
}  # fmt: skip


def of(element_type: str, folded: bool, binding: str | None) -> Forms | None:
    """What gives the forms of an element of a type; None for a type that is no token."""
    if element_type == "code":
        return code(folded, binding)
    make = _TOKENS.get(element_type)
    return make(folded) if make else None


def _identifier_texts(x: Any) -> list[str]:
    kind = x.get("type")
    return [kind["text"]] if kind and kind.get("text") else []


def _concept_texts(x: Any) -> list[str]:
    found = [x["text"]] if x.get("text") else []
    return found + [c["display"] for c in x.get("coding") or () if c.get("display")]


# What :text searches.
TEXTS: dict[str, Callable[[Any], list[str]]] = {
    "Coding": lambda x: [x["display"]] if x.get("display") else [],
    "CodeableConcept": _concept_texts,
    "Identifier": _identifier_texts,
}
