"""The texts that a string parameter searches, of every FHIR type that has some."""

from collections.abc import Callable
from typing import Any

_NAME = ("family", "text")
_NAME_LISTS = ("given", "prefix", "suffix")
_ADDRESS = ("text", "city", "district", "state", "postalCode", "country")


def plain(x: Any) -> list[str]:
    return [x]


def human_name(x: Any) -> list[str]:
    found = [x[n] for n in _NAME if n in x]
    for n in _NAME_LISTS:
        if n in x:
            found += [t for t in x[n] if t is not None]
    return found


def address(x: Any) -> list[str]:
    found = [x[n] for n in _ADDRESS if n in x]
    if "line" in x:
        found += [t for t in x["line"] if t is not None]
    return found


def concept(x: Any) -> list[str]:
    found = [x["text"]] if "text" in x else []
    found += [c["display"] for c in x.get("coding") or () if "display" in c]
    return found


def one(name: str) -> Callable[[Any], list[str]]:
    return lambda x: [x[name]] if name in x else []


TEXTS: dict[str, Callable[[Any], list[str]]] = {
    "string": plain, "markdown": plain, "code": plain, "id": plain, "uri": plain, "url": plain, "canonical": plain, "oid": plain,
    "uuid": plain, "HumanName": human_name, "Address": address, "CodeableConcept": concept, "Coding": one("display"),
    "Annotation": one("text"), "Identifier": one("value"), "ContactPoint": one("value"), "Reference": one("display"),
    "Attachment": one("title"), "ContactDetail": one("name"), "Narrative": one("div"),
}  # fmt: skip
