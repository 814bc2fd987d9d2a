"""References and links inside resources: find them, say what they point to, rewrite them (R4 references.html, http.html#trules).

A transaction renames what it creates, and every place that may name it has to follow: `Reference.reference`, elements of type
uri and url, `href` and `src` of narratives. Elements of type canonical stay as they are (R4 says so: they name a definition by
its own `url`, not by where it was posted), and so does that `url` itself. R4 lists oid and uuid too, but a `Type/id`
is neither, and a resource with one there could not be stored.

The walk knows nothing of types, for speed: text that equals a known name is looked at again, with types, only when it stands
outside a Reference.
"""

import html
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any

from fhir_profiles import tables

Holder = dict[str, Any] | list[Any]
# Where a text stands: what holds it, under which name or index, and the text as sent. Filling it again starts from `text`.
Slot = tuple[Holder, str | int, str]

_LITERAL = re.compile(
    r"(?P<base>https?://[^?#]*/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9.\-]{1,64})(?:/_history/(?P<version>[A-Za-z0-9.\-]{1,64}))?(?P<fragment>#.*)?\Z",
    re.DOTALL,
)
_CONDITIONAL = re.compile(r"(?P<base>https?://[^?#]*/)?(?P<type>[A-Z][A-Za-z]+)\?(?P<query>[^#]*)(?P<fragment>#.*)?\Z", re.DOTALL)
_LINK = re.compile(r"""(\b(?:href|src)\s*=\s*)(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_LINK_TYPES = frozenset(("uri", "url"))
# Names that no element of a link type has (a test holds them against the tables); an Identifier's `value` often equals a fullUrl.
NEVER_LINKS = frozenset(("value", "id", "display", "text"))


@dataclass(frozen=True, slots=True)
class Literal:
    """`[base]Type/id[/_history/version][#fragment]`; base ends with `/` and is empty in a relative reference."""

    base: str
    type: str
    id: str
    version: str | None
    fragment: str

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Conditional:
    """`Type?query`, a reference by search, allowed in transactions only (R4 http.html#trules)."""

    base: str
    type: str
    query: str
    fragment: str


def literal(text: str) -> Literal | None:
    """What a RESTful reference names, or None when it is something else (urn:, #contained, another URL)."""
    found = _LITERAL.match(text)
    if found is None or not tables.is_resource_type(found["type"]):
        return None
    return Literal(found["base"] or "", found["type"], found["id"], found["version"], found["fragment"] or "")


def conditional(text: str) -> Conditional | None:
    found = _CONDITIONAL.match(text)
    if found is None or not tables.is_resource_type(found["type"]):
        return None
    return Conditional(found["base"] or "", found["type"], found["query"], found["fragment"] or "")


def split(text: str) -> tuple[str, str, str]:
    """A reference without version and fragment, then `/_history/n` or "", then `#fragment` or ""."""
    rest, mark, fragment = text.partition("#")
    name, history, version = rest.partition("/_history/")
    return name, history + version, mark + fragment


def find(resource: dict[str, Any]) -> list[Slot]:
    """Every `Reference.reference` of a resource and of what it contains, `#contained` ones too."""
    out: list[Slot] = []
    stack: list[dict[str, Any]] = [resource]
    while stack:
        node = stack.pop()
        for key, value in node.items():
            kind = type(value)
            if kind is dict:
                stack.append(value)
            elif kind is list:
                _push(stack, value)
            elif kind is str and key == "reference":
                out.append((node, key, value))
    return out


def _push(stack: list[dict[str, Any]], values: list[Any]) -> None:
    for value in values:
        if type(value) is dict:
            stack.append(value)


def slots(resource: dict[str, Any], names: Container[str]) -> tuple[list[Slot], list[Slot], list[Slot]]:
    """One walk for what a transaction must look at: (references, uris, narratives).

    references: those that are a known name (with version or fragment too), a urn, or a search. uris: elements of type uri
    or url that equal a known name. narratives: XHTML with at least one link.
    """
    out: list[Slot] = []
    candidates: list[Slot] = []
    narratives: list[Slot] = []
    stack: list[dict[str, Any]] = [resource]
    pop, push = stack.pop, stack.append
    while stack:
        node = pop()
        for key, value in node.items():
            kind = type(value)
            if kind is str:
                if key == "reference":
                    if value[:1] != "#" and (value[:4] == "urn:" or value in names or "?" in value or _is_known_part(value, names)):
                        out.append((node, key, value))
                elif value in names and key not in NEVER_LINKS:
                    candidates.append((node, key, value))
                elif key == "div" and ("href" in value or "src" in value):
                    narratives.append((node, key, value))
            elif kind is dict:
                push(value)
            elif kind is list:
                for index, item in enumerate(value):
                    kind = type(item)
                    if kind is dict:
                        push(item)
                    elif kind is str and item in names:
                        candidates.append((value, index, item))
    return out, _typed(resource, candidates) if candidates else candidates, narratives


def _is_known_part(text: str, names: Container[str]) -> bool:
    return ("#" in text or "/_history/" in text) and split(text)[0] in names


def _typed(resource: dict[str, Any], candidates: list[Slot]) -> list[Slot]:
    """Those candidates that are elements of a link type, found by walking again with the tables."""
    wanted = {(id(holder), key) for holder, key, _ in candidates}
    good: set[tuple[int, str | int]] = set()
    for holder, key, type_name, is_own_url in _elements(resource, ""):
        if (id(holder), key) in wanted and type_name in _LINK_TYPES and not is_own_url:
            good.add((id(holder), key))
    return [slot for slot in candidates if (id(slot[0]), slot[1]) in good]


def _elements(node: dict[str, Any], type_name: str) -> Iterator[tuple[Holder, str | int, str, bool]]:
    """Every primitive text with its FHIR type; the last value tells the `url` by which a resource or extension names itself."""
    is_root = "resourceType" in node
    if is_root:
        type_name = node["resourceType"]
        if type(type_name) is not str or not tables.is_resource_type(type_name):
            return
    elif type_name in ("", "Resource"):
        return
    elements = tables.type_(type_name).elements
    for key, value in node.items():
        element = elements.get(key.removeprefix("_"))
        if element is None:
            continue
        of = "Element" if key[0] == "_" else element.type
        if type(value) is list:
            for index, item in enumerate(value):
                if type(item) is dict:
                    yield from _elements(item, of)
                elif type(item) is str:
                    yield value, index, of, False
        elif type(value) is dict:
            yield from _elements(value, of)
        elif type(value) is str:
            yield node, key, of, key == "url" and (is_root or type_name == "Extension")


def fill(slot: Slot, text: str) -> None:
    """Put `text` where the slot is."""
    slot[0][slot[1]] = text  # type: ignore[index]


def links(text: str) -> list[str]:
    """The `href` and `src` values of XHTML, as written (still escaped)."""
    return [double or single for _, double, single in _LINK.findall(text)]


def rewrite_narrative(text: str, new: Callable[[str], str | None]) -> str:
    """XHTML with each `href` and `src` replaced by what `new` says of it; None leaves it, to the letter."""

    def one(found: re.Match[str]) -> str:
        double = found[2] is not None
        target = new(html.unescape(found[2] if double else found[3]))
        if target is None:
            return found[0]
        quote = '"' if double else "'"
        return f"{found[1]}{quote}{html.escape(target)}{quote}"

    return _LINK.sub(one, text)


def path(resource: dict[str, Any], slot: Slot) -> str:
    """FHIRPath of a slot within its resource, without the type in front: `subject.reference`. For messages only."""
    holder, key, _ = slot
    found = _search(resource, holder, "")
    at = found if found is not None else ""
    if isinstance(key, int):
        return f"{at}[{key}]"
    return f"{at}.{key}" if at else key


def _search(node: Any, holder: Holder, at: str) -> str | None:
    if node is holder:
        return at
    if type(node) is dict:
        for key, value in node.items():
            if type(value) in (dict, list) and (found := _search(value, holder, f"{at}.{key}" if at else key)) is not None:
                return found
    elif type(node) is list:
        for index, value in enumerate(node):
            if type(value) is dict and (found := _search(value, holder, f"{at}[{index}]")) is not None:
                return found
    return None
