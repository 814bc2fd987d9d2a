"""The XHTML of a narrative: kept as it was written, and checked before it goes into other XML."""

import html
import re
from typing import Any
from xml.parsers import expat  # entities and DTDs are refused below

from health_hub.fhir.xml.layout import MAX_DEPTH, XHTML
from health_hub.fhir.xml.text import attribute, character_data

_OWN_NAMESPACE = re.compile(rf"""<div(?=\s)(?:[^>"']|"[^"]*"|'[^']*')*?\sxmlns\s*=\s*(?:"{XHTML}"|'{XHTML}')""")
# Perhaps a name with a prefix, whose namespace may have been declared outside.
_PREFIX = re.compile(r"</?[^\s/>:<]+:|\s(?!xml:)[A-Za-z_][\w.-]*:[\w.-]+\s*=")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_XML_ENTITIES = frozenset(("amp", "lt", "gt", "quot", "apos"))
_VOID = frozenset(("br", "hr", "img", "col"))


def stands_alone(text: str) -> bool:
    """Whether this slice of a document means the same on its own."""
    if not _OWN_NAMESPACE.match(text):
        return False
    if _PREFIX.search(text):
        try:
            _run(_parser(" "), text)
        except ValueError:
            return False
    return True


def rewrite(text: str, namespaces: dict[str, str]) -> str:
    """The same content with namespaces of its own. `namespaces`: prefix to URI, as in scope where it stood. ValueError if not XHTML."""
    declarations = "".join(f' xmlns{":" + p if p else ""}="{attribute(u)}"' for p, u in namespaces.items() if p != "xml")
    out: list[str] = []
    depth = 0
    opened = False

    def close() -> None:
        nonlocal opened
        if opened:
            out.append(">")
            opened = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, opened
        depth += 1
        if depth == 1:
            return
        close()
        namespace, _, name = tag.rpartition(" ")
        if namespace != XHTML:
            raise ValueError(f"{name} is not in the XHTML namespace")
        out.append(f"<{name}")
        if depth == 2:
            out.append(f' xmlns="{XHTML}"')
        for key, value in attributes.items():
            where, _, local = key.rpartition(" ")
            if where and where != "http://www.w3.org/XML/1998/namespace":
                raise ValueError(f"the attribute {local} is of another namespace")
            out.append(f' {"xml:" if where else ""}{local}="{attribute(value)}"')
        opened = True

    def end(tag: str) -> None:
        nonlocal depth, opened
        depth -= 1
        if depth == 0:
            return
        name = tag.rpartition(" ")[2]
        if opened and name in _VOID:
            out.append("/>")
            opened = False
        else:
            close()
            out.append(f"</{name}>")

    def data(characters: str) -> None:
        close()
        out.append(character_data(characters))

    parser = _parser(" ")
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    _run(parser, f"<r{declarations}>{text}</r>")
    return "".join(out)


def embed(text: str) -> str:
    """A `div` of the JSON form, fit to stand inside FHIR XML. ValueError if it is not one well-formed element."""
    text = text.strip()
    if text.startswith("<?") and "?>" in text:
        text = text[text.index("?>") + 2 :].lstrip()
    if "&" in text:  # HTML's own entities need a DTD, which FHIR forbids
        text = _ENTITY.sub(lambda m: m[0] if m[1] in _XML_ENTITIES else html.unescape(m[0]), text)
    depth = 0
    root = ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, root
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        root = root or tag

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1

    parser = _parser(" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    _run(parser, text)
    if root == "div" and text.startswith("<div"):
        return re.sub(r"<div\b", f'<div xmlns="{XHTML}"', text, count=1)
    if root != f"{XHTML} div":
        raise ValueError("it is no XHTML div")
    return text


def _parser(separator: str | None) -> expat.XMLParserType:
    parser = expat.ParserCreate("UTF-8", separator)
    parser.StartDoctypeDeclHandler = _no_doctype
    return parser


def _no_doctype(*_: Any) -> None:
    raise ValueError("a DTD is not allowed")


def _run(parser: expat.XMLParserType, text: str) -> None:
    try:
        parser.Parse(text.encode(), True)
    except (expat.ExpatError, UnicodeEncodeError) as e:
        raise ValueError(f"it is not well-formed: {e}") from None
