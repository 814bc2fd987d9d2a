"""What a scope allows, in a person's words: what the consent page, the account page and the device page show."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_plus

from health_hub.auth import scopes
from health_hub.auth.scopes import Scope
from health_hub.web.texts import TEXTS, Language, text
from health_hub.web.type_words import type_word

# Context that the sign-in itself gives: nothing is left of the request without it.
FIXED = ("launch", "launch/patient", "launch/encounter")
Group = Literal["data", "more", "fixed"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """One scope. scope: as OAuth has it; what: a sentence; about: whose, and what it is restricted to, or what it means."""

    scope: str
    group: Group
    what: str
    about: str = ""
    writes: bool = False


def allowed(scope: str, lang: Language) -> list[Allowed]:
    """Each scope of a text: health data first, writing before reading, what is always included last."""
    found = [_one(word, lang) for word in dict.fromkeys(scope.split())]
    order: tuple[Group, ...] = ("data", "more", "fixed")
    return sorted(found, key=lambda a: (order.index(a.group), not a.writes if a.group == "data" else False))


def _one(word: str, lang: Language) -> Allowed:
    scope = scopes.one(word)
    if scope is not None:
        return Allowed(word, "data", _what(scope, lang), _about(scope, lang), bool(set(scope.letters) & set("cud")))
    key = f"scope.{word}"
    if key not in TEXTS:
        return Allowed(word, "more", word)
    return Allowed(word, "fixed" if word in FIXED else "more", text(key, lang), text(f"{key}.about", lang))


def _what(scope: Scope, lang: Language) -> str:
    verbs = [text(f"may.{name}", lang) for name, letters in (("read", "rs"), ("add", "c"), ("change", "u"), ("delete", "d"))
             if set(letters) & set(scope.letters)]  # fmt: skip
    said = verbs[0] if len(verbs) == 1 else text("and", lang, first=", ".join(verbs[:-1]), last=verbs[-1])
    type = text("scope.everything", lang) if scope.type == "*" else type_word(scope.type, lang)
    sentence = f"{said} {type}"
    return sentence[:1].upper() + sentence[1:]


def _about(scope: Scope, lang: Language) -> str:
    whose = text(f"scope.of.{scope.context}", lang)
    narrow = [_restriction(part, lang) for part in scope.query.split("&") if part]
    return f"{whose} {text('scope.only', lang, what='; '.join(narrow))}" if narrow else whose


def _restriction(part: str, lang: Language) -> str:
    name, _, values = part.partition("=")
    name = unquote_plus(name)
    codes = [unquote_plus(v).rpartition("|")[2] or unquote_plus(v) for v in values.split(",")]
    said = ", ".join(text(k, lang) if (k := f"category.{c}") in TEXTS and name == "category" else c for c in codes)
    return text("scope.where", lang, name=text(k, lang) if (k := f"parameter.{name}") in TEXTS else name, value=said)
