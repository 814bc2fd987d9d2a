"""Words of the narrative (_text) and of everything a person wrote in a resource (_content)."""

import html
import re
from functools import cache, lru_cache
from typing import Any

from fhir_profiles import tables
from health_hub.fhir import keys
from health_hub.fhir.index.forms import fold

# A longer resource is found by its first words only.
WORDS = 1000
PRESENT = keys.value("p", "")
_WORD = re.compile(r"\w{1,64}")
_TAG = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)
# Texts of these elements name things rather than say something.
_NAMES = frozenset(("Reference.reference", "Quantity.unit", "Age.unit", "Count.unit", "Distance.unit", "Duration.unit"))


def words(text: str) -> list[str]:
    """The distinct folded words of a text, in order."""
    return list(dict.fromkeys(_WORD.findall(fold(text))))


@lru_cache(maxsize=16384)
def _cached(text: str) -> tuple[int, ...]:
    return tuple(keys.value("w", w) for w in words(text))


def _hashes(text: str) -> tuple[int, ...]:
    return _cached(text) if len(text) <= 120 else _cached.__wrapped__(text)


def narrative(div: str) -> str:
    """The text of an xhtml div."""
    return html.unescape(_TAG.sub(" ", div))


@cache
def _textual(name: str) -> dict[str, tuple[str, bool]]:
    """JSON name -> (type, array) of the elements that are texts ("string", "xhtml") or may have some inside."""
    found = {}
    for element in tables.type_(name).elements.values():
        of = element.type
        if of in ("string", "markdown"):
            if element.name != "id" and f"{name}.{element.name}" not in _NAMES:
                found[element.name] = ("string", element.array)
        elif of == "xhtml":
            found[element.name] = ("xhtml", element.array)
        elif of == "Resource" or (of in tables.type_names() and _has_texts(of, frozenset((name,)))):
            found[element.name] = (of, element.array)
    return found


@cache
def _has_texts(name: str, seen: frozenset[str]) -> bool:
    """Whether a type can hold a text outside its extensions' values; recursion counts as none."""
    if tables.type_(name).kind == "primitive":
        return False
    for element in tables.type_(name).elements.values():
        of = element.type
        if of in ("string", "markdown", "xhtml", "Resource"):
            if f"{name}.{element.name}" not in _NAMES and element.name != "id":
                return True
        elif of not in seen and of != "Extension" and _has_texts(of, seen | {name}):
            return True
    return False


def _collect(value: Any, name: str, out: list[str]) -> None:
    """Append the texts of a value of a type."""
    known = _textual(name)
    for key, x in value.items():
        if key not in known:
            continue
        of, array = known[key]
        for item in x if array else (x,):
            if of == "string":
                if item:
                    out.append(item)
            elif of == "xhtml":
                out.append(narrative(item))
            elif item is not None:
                _collect(item, item["resourceType"] if of == "Resource" else of, out)


def word_keys(resource: dict[str, Any]) -> list[int]:
    """The word keys of a resource under _text and _content."""
    name = resource["resourceType"]
    p_text, p_content = keys.parameter(name, "_text"), keys.parameter(name, "_content")
    found: list[int] = []
    told: set[int] = set()
    if "text" in resource and tables.is_a(name, "DomainResource"):
        div = resource["text"].get("div")
        if div:
            told = set(_hashes(narrative(div))[:WORDS])
            found = [p_text ^ h for h in told]
            found.append(p_text ^ PRESENT)
            resource = {k: v for k, v in resource.items() if k != "text"}
    texts: list[str] = []
    _collect(resource, name, texts)
    said: dict[int, None] = {}
    for text in texts:
        for h in _hashes(text):
            if h not in told:
                said[h] = None
        if len(said) > WORDS:
            said = dict.fromkeys(list(said)[:WORDS])
            break
    if said or told:
        found.append(p_content ^ PRESENT)
        for h in said:
            found.append(p_content ^ h)
    return found
