"""The XHTML of a narrative (R4 narrative.html, txt-1 and txt-2): formatting only, nothing that runs or loads code."""

import re
from typing import Any
from xml.parsers import expat

from fhir_profiles.validator.problems import Wrong

XHTML = "http://www.w3.org/1999/xhtml"
XML = "http://www.w3.org/XML/1998/namespace"  # xml:lang, xml:space


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# HTML 4.0 chapters 7-11 (without 9.4) and 15, without what is deprecated; as the official validator has them.
ELEMENTS = _words(
    "p br div h1 h2 h3 h4 h5 h6 a span b em i strong small big tt dfn q var abbr acronym cite blockquote hr address bdo kbd sub sup ul ol"
    " li dl dt dd pre table caption colgroup col thead tr tfoot tbody th td code samp img map area"
)
_COMMON = _words(
    "title style class id lang dir accesskey tabindex span width align valign char charoff abbr axis headers scope rowspan colspan"
)
_OWN = {
    "a": _words("charset type name href hreflang rel rev shape coords"),
    "img": _words("src alt longdesc height width usemap ismap border"),
    "area": _words("shape coords href nohref alt"),
    "map": _words("name"),
    "blockquote": _words("cite"),
    "q": _words("cite"),
    "table": _words("summary border frame rules cellspacing cellpadding bgcolor"),
    "pre": _words("space"),
    "td": _words("nowrap bgcolor"),
    "th": _words("nowrap"),
    "tr": _words("bgcolor"),
    "ol": _words("start type"),
    "li": _words("value"),
    "hr": _words("size"),
}
_LINKS = _words("href src cite longdesc")
# Schemes are case-insensitive, and browsers skip control characters and spaces inside them.
_runs = re.compile(
    r"[\x00-\x20]*(?:j[\s\x00-\x1f]*a[\s\x00-\x1f]*v[\s\x00-\x1f]*a|v[\s\x00-\x1f]*b)[\s\x00-\x1f]*s[\s\x00-\x1f]*c.*:",
    re.IGNORECASE | re.DOTALL,
).match
_data = re.compile(r"\s*data:", re.IGNORECASE).match
_data_not_image = re.compile(r"\s*data:(?!\s*image/(?:png|jpe?g|gif|webp|bmp|svg\+xml)[;,])", re.IGNORECASE).match
_style_runs = re.compile(r"expression\s*\(|javascript\s*:|@import|behavior\s*:|-moz-binding", re.IGNORECASE).search


class _Refused(Exception):
    pass


class _Narrative:
    """What the parser has seen of one `div`."""

    def __init__(self) -> None:
        self.depth = 0
        self.content = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        if namespace != XHTML:
            raise _Refused(f"<{local}> is not in the namespace {XHTML}")
        if self.depth == 0 and local != "div":
            raise _Refused("the XHTML starts with <div>")
        self.depth += 1
        if self.depth > 100:
            raise _Refused("elements are nested more than 100 deep")
        if local not in ELEMENTS:
            raise _Refused(f"<{local[:40]}> cannot stand in a narrative")
        self.content = self.content or local == "img"
        for attribute, value in attributes.items():
            self._attribute(local, attribute, value)

    def _attribute(self, element: str, name: str, value: str) -> None:
        namespace, _, local = name.rpartition(" ")
        if namespace not in ("", XML):
            raise _Refused(f"the attribute {local[:40]} of {namespace[:80]} cannot stand in a narrative")
        own = _OWN.get(element)
        if local not in _COMMON and (own is None or local not in own):
            raise _Refused(f"the attribute {local[:40]} cannot stand on <{element}> in a narrative")
        if local in _LINKS and (_runs(value) or (_data if local == "href" else _data_not_image)(value)):
            raise _Refused(f"{local} on <{element}> holds a script")
        if local == "style" and _style_runs(value):
            raise _Refused("a style holds a script or an import")

    def end(self, name: str) -> None:
        self.depth -= 1

    def text(self, data: str) -> None:
        if not self.content and not data.isspace():
            self.content = True

    def refuse(self, *_: Any) -> None:
        raise _Refused("it has a document type or a processing instruction")


def check(value: Any) -> Wrong | None:
    """None or why this is not a narrative's XHTML."""
    if type(value) is not str:
        return "structure", "xhtml is a string in JSON"
    seen = _Narrative()
    parser = expat.ParserCreate("UTF-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.end
    parser.CharacterDataHandler = seen.text
    parser.StartDoctypeDeclHandler = seen.refuse
    parser.ProcessingInstructionHandler = seen.refuse
    try:
        parser.Parse(value.encode(), True)
    except expat.ExpatError as e:
        return "invariant", f"txt-1: the narrative is not well-formed XHTML: {e}"
    except (_Refused, UnicodeEncodeError) as e:
        return "invariant", f"txt-1: the narrative is not allowed: {e}"
    return None if seen.content else ("invariant", "txt-2: the narrative has no text and no image")
