"""FHIR XML to the dict form (R4 xml.html), safely: no DTD, no entities, bounded depth, every problem with its place.

Elements may come in any order, as other servers allow too; JSON has no order to lose. Comments and processing instructions are
no part of a resource. The XHTML of narratives is taken over character by character.
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn
from xml.parsers import expat  # the DTD handler below refuses entities before they can be declared

from fhir_profiles import tables
from fhir_profiles.number import number
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.xml.div import rewrite, stands_alone
from health_hub.fhir.xml.layout import FHIR, JSON_INTEGERS, MAX_DEPTH, SPACED, XHTML, Child, tags

MAX_PROBLEMS = 100
MAX_TAGS = 3_000_000  # 64 MiB of FHIR XML as people write it hold fewer

_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,9})?")
_ENCODINGS = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_ROOTS = {f"{FHIR} {name}": name for name in tables.RESOURCE_TYPES}
_WHITE = " \t\r\n"  # XML's white space, which a no-break space is not
_NO_CHILDREN: dict[str, Child] = {}
_WRAPPED = Child("", 0, "resource", "Resource", False)


class _Stop(Exception):
    """Enough is known to refuse."""


class _Frame:
    """An open element. `target` receives its content; for a primitive it is None until an extension or id asks for `_name`."""

    __slots__ = ("child", "children", "padded", "parent", "target")

    def __init__(self, child: Child, parent: dict[str, Any], target: dict[str, Any] | None, children: dict[str, Child]) -> None:
        self.child = child
        self.parent = parent
        self.target = target
        self.children = children
        self.padded: list[str] | None = None


def from_xml(data: bytes) -> dict[str, Any]:
    """A resource from UTF-8 XML. FhirError 400 names every problem by XPath, line and FHIRPath expression (the first hundred)."""
    if len(data) > MAX_TAGS and data.count(b"<") > MAX_TAGS:
        raise FhirError(413, Issue("too-costly", f"the body holds more than {MAX_TAGS} tags"))
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.stack: list[_Frame] = []
        self.root: dict[str, Any] = {}
        self.problems: list[Issue] = []
        self.namespaces: dict[str, list[str]] = {}
        self.div_at = 0
        self.div_depth = 0
        parser = expat.ParserCreate("UTF-8", " ")
        self.parser = parser
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.data_outside
        parser.StartDoctypeDeclHandler = self.doctype
        parser.XmlDeclHandler = self.declaration
        parser.StartNamespaceDeclHandler = self.namespace
        parser.EndNamespaceDeclHandler = self.namespace_end

    def read(self) -> dict[str, Any]:
        data = self.data
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:4] in (b"\x00<\x00?", b"<\x00?\x00"):
            self.refuse("the XML is in UTF-16; FHIR XML is UTF-8")
        try:
            data.decode()
        except UnicodeDecodeError as e:
            self.refuse(f"the XML is not UTF-8 at byte {e.start}")
        try:
            self.parser.Parse(data, True)
        except expat.ExpatError as e:
            if not self.problems:
                self.refuse(f"the body is not well-formed XML: {expat.ErrorString(e.code)} at line {e.lineno} column {e.offset + 1}")
        except _Stop:
            pass
        finally:
            # The parser and this object hold each other, and this one the whole body: let go now, not at some collection.
            parser = self.parser
            parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = None
            parser.StartDoctypeDeclHandler = parser.XmlDeclHandler = None
            parser.StartNamespaceDeclHandler = parser.EndNamespaceDeclHandler = None
        if self.problems:
            raise FhirError(400, self.problems)
        return self.root

    # --- problems -----------------------------------------------------------------------------------------------------

    def refuse(self, reason: str) -> NoReturn:
        raise FhirError(400, Issue("structure", reason))

    def problem(self, reason: str, last: str = "", code: str = "structure") -> None:
        """Notes a problem at the open element, or at `last` (`f:name`) that has just begun inside it."""
        xpath, expression = self.place()
        if last:
            name = last[2:]
            child = self.stack[-1].children.get(f"{FHIR} {name}")
            known = (self.stack[-1].target or {}).get(name)
            at = len(known) if child is not None and child.array and isinstance(known, list) else 0
            array = child is not None and child.array
            xpath = f"{xpath}/{last}[{at + 1}]" if array else f"{xpath}/{last}"
            if name.isidentifier():
                expression = f"{expression}.{name}[{at}]" if array else f"{expression}.{name}"
        line, column = self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1
        self.problems.append(Issue(code, f"{xpath or '/'} (line {line} column {column}): {reason}", (expression,) if expression else ()))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def place(self) -> tuple[str, str]:
        """The open element as XPath and as FHIRPath."""
        xpath: list[str] = []
        expression: list[str] = []
        for frame in self.stack:
            child = frame.child
            if child is _WRAPPED:
                name = str((frame.target or {}).get("resourceType", ""))
                xpath.append(f"/f:{name}")
                if not expression:
                    expression.append(name)
                continue
            at = ""
            if child.array:
                here = frame.parent.get(child.name)
                # A wrapper's resource is put into the array when it comes.
                index = len(here) - 1 if isinstance(here, list) else 0
                if child.kind == "resource" and frame.target is None:
                    index = len(here) if isinstance(here, list) else 0
                at = f"[{index}]"
                xpath.append(f"/f:{child.name}[{index + 1}]")
            else:
                xpath.append(f"/f:{child.name}")
            expression.append(child.name + at)
        return "".join(xpath), ".".join(expression)

    # --- before the root ----------------------------------------------------------------------------------------------

    def doctype(self, *_: Any) -> NoReturn:
        self.refuse("a document type declaration is not allowed in FHIR XML")

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            self.refuse(f"the XML declares the encoding {encoding[:40]}; FHIR XML is UTF-8")

    def namespace(self, prefix: str | None, uri: str | None) -> None:
        self.namespaces.setdefault(prefix or "", []).append(uri or "")

    def namespace_end(self, prefix: str | None) -> None:
        self.namespaces[prefix or ""].pop()

    # --- elements -----------------------------------------------------------------------------------------------------

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        stack = self.stack
        if not stack:
            self.start_root(tag, attributes)
            return
        frame = stack[-1]
        child = frame.children.get(tag)
        if child is None:
            self.start_other(frame, tag, attributes)
            return
        if len(stack) >= MAX_DEPTH:
            self.too_deep()
        target = frame.target
        if target is None:  # the first extension of a primitive
            target = frame.target = {}
        name = child.name
        if child.kind == "primitive":
            self.start_primitive(child, target, attributes)
            return
        if child.kind == "complex":
            new: dict[str, Any] = {}
            if child.array:
                here = target.get(name)
                if here is None:
                    target[name] = [new]
                else:
                    here.append(new)
            elif name in target:
                self.problem("it may stand here once only", f"f:{name}")
            else:
                target[name] = new
            stack.append(_Frame(child, target, new, tags(child.type)))
            if attributes:
                self.attributes(attributes, new, ("id", "url") if child.type == "Extension" else ("id",))
            return
        if child.kind == "resource":
            if not child.array and name in target:
                self.problem("it may stand here once only", f"f:{name}")
            stack.append(_Frame(child, target, None, _NO_CHILDREN))
            self.attributes(attributes, None, ())
            return
        if name in target:
            self.problem("it may stand here once only", "h:div")
        stack.append(_Frame(child, target, None, _NO_CHILDREN))
        self.start_div()

    def start_root(self, tag: str, attributes: dict[str, str]) -> None:
        name = _ROOTS.get(tag)
        if name is None:
            namespace, _, local = tag.rpartition(" ")
            if namespace != FHIR:
                self.refuse(f"the root element {local[:100]} is in the namespace {namespace[:200]!r}, not in {FHIR}")
            self.refuse(f"{local[:100]} is no resource type of R4")
        self.root["resourceType"] = name
        self.stack.append(_Frame(_WRAPPED, {}, self.root, tags(name)))
        self.attributes(attributes, None, ())

    def start_other(self, frame: _Frame, tag: str, attributes: dict[str, str]) -> None:
        """A resource inside its wrapper, or something that does not belong here."""
        if frame.child.kind == "resource" and frame.child is not _WRAPPED:
            name = _ROOTS.get(tag)
            if name is not None and frame.target is None:
                if len(self.stack) >= MAX_DEPTH:
                    self.too_deep()
                new: dict[str, Any] = {"resourceType": name}
                if frame.child.array:
                    frame.parent.setdefault(frame.child.name, []).append(new)
                else:
                    frame.parent[frame.child.name] = new
                frame.target = new
                self.stack.append(_Frame(_WRAPPED, {}, new, tags(name)))
                self.attributes(attributes, None, ())
                return
        namespace, _, local = tag.rpartition(" ")
        if namespace not in (FHIR, XHTML):
            reason = f"the namespace {namespace[:200]!r} does not belong into a resource"
        elif frame.child.kind == "resource" and frame.child is not _WRAPPED:
            reason = "one resource is expected here" if frame.target is None else "there is more than one resource here"
        else:
            reason = "this element is not known here"
        self.problem(reason, f"{'h' if namespace == XHTML else 'f'}:{local[:100]}")
        self.skip()

    def start_primitive(self, child: Child, target: dict[str, Any], attributes: dict[str, str]) -> None:
        name = child.name
        text = attributes.pop("value", None)
        value = None
        if text is not None:
            kind = child.type
            value = text if kind in SPACED else _CONVERT[kind](text) if kind in _CONVERT else text.strip(_WHITE)
            if value is None or value == "":
                self.problem(f"{text[:60]!r} is no {kind}" if text else "the value is empty", f"f:{name}", "value")
                value = None
        if child.array:
            here = target.get(name)
            if here is None:
                target[name] = [value]
            else:
                here.append(value)
        elif name in target or "_" + name in target:
            self.problem("it may stand here once only", f"f:{name}")
        elif value is not None:
            target[name] = value
        frame = _Frame(child, target, None, _EXTENSION)
        self.stack.append(frame)
        if attributes:
            frame.target = {}
            self.attributes(attributes, frame.target, ("id",))
        elif text is None:
            frame.padded = []  # nothing yet: the end has to look

    def attributes(self, attributes: dict[str, str], target: dict[str, Any] | None, allowed: tuple[str, ...]) -> None:
        for key, text in attributes.items():
            if key not in allowed or target is None:
                namespace, _, local = key.rpartition(" ")
                of = f" of the namespace {namespace[:200]}" if namespace else ""
                self.problem(f"the attribute {local[:100]}{of} is not known here")
            elif not text:
                self.problem(f"the attribute {key} is empty", code="value")
            else:
                target[key] = text

    def end(self, tag: str) -> None:
        frame = self.stack.pop()
        child = frame.child
        if child.kind == "primitive":
            extra = frame.target
            if extra:
                self.end_extra(frame, extra)
            elif frame.padded is not None:
                self.empty(frame)
            return
        if frame.padded is not None:
            assert frame.target is not None
            _pad(frame.target, frame.padded)
        if not frame.target:
            self.empty(frame)

    def empty(self, frame: _Frame) -> None:
        self.stack.append(frame)
        if frame.child.kind == "resource":
            self.problem("a resource is expected here")
        else:
            self.problem("an element has a value, extensions or child elements; this one is empty")
        self.stack.pop()

    def end_extra(self, frame: _Frame, extra: dict[str, Any]) -> None:
        """Puts id and extensions of a primitive beside its value."""
        name = "_" + frame.child.name
        if not frame.child.array:
            frame.parent[name] = extra
            return
        beside = frame.parent.setdefault(name, [])
        beside.extend([None] * (len(frame.parent[frame.child.name]) - 1 - len(beside)))
        beside.append(extra)
        owner = self.stack[-1]
        if owner.padded is None:
            owner.padded = []
        owner.padded.append(frame.child.name)

    def too_deep(self) -> NoReturn:
        self.refuse(f"elements are nested more than {MAX_DEPTH} deep")

    # --- what is not read as elements: text, foreign elements, XHTML ---------------------------------------------------

    def data_outside(self, text: str) -> None:
        text = text.strip(_WHITE)
        if text:
            self.problem(f"the text {text[:40]!r} does not belong here")

    def skip(self) -> None:
        """Leaves out the element that has just begun."""
        self.inside(self.leave)

    def start_div(self) -> None:
        self.div_at = self.parser.CurrentByteIndex
        self.inside(self.end_div)

    def inside(self, done: Callable[[], None]) -> None:
        parser = self.parser
        self.div_depth = 1
        limit = MAX_DEPTH - len(self.stack)

        def start(tag: str, attributes: dict[str, str]) -> None:
            self.div_depth += 1
            if self.div_depth > limit:
                self.too_deep()

        def end(tag: str) -> None:
            self.div_depth -= 1
            if not self.div_depth:
                done()
                self.leave()

        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, None

    def leave(self) -> None:
        parser = self.parser
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = self.start, self.end, self.data_outside

    def end_div(self) -> None:
        frame = self.stack.pop()
        tag = _START_TAG.match(self.data, self.div_at)
        assert tag is not None  # expat has read it
        # At `</div>` otherwise; an end tag has no attributes to hide a > in.
        stop = tag.end() if tag[0].endswith(b"/>") else self.data.index(b">", self.parser.CurrentByteIndex) + 1
        text = self.data[self.div_at : stop].decode()
        if not stands_alone(text):
            try:
                text = rewrite(text, {p: uris[-1] for p, uris in self.namespaces.items() if uris})
            except ValueError as e:
                self.problem(str(e), "h:div")
        frame.parent.setdefault("div", text)


_START_TAG = re.compile(rb"""<(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_EXTENSION = tags("Element")


def _pad(target: dict[str, Any], names: list[str]) -> None:
    """Both arrays as long as each other, and no array of nothing but nulls (R4 json.html#primitive)."""
    for name in dict.fromkeys(names):
        values, beside = target[name], target["_" + name]
        beside.extend([None] * (len(values) - len(beside)))
        if all(v is None for v in values):
            del target[name]


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.strip(_WHITE))


def _integer(text: str) -> int | None:
    text = text.strip(_WHITE)
    return int(text) if _INTEGER.fullmatch(text) else None


def _decimal(text: str) -> Any:
    text = text.strip(_WHITE)
    return number(text) if _DECIMAL.fullmatch(text) else None


_CONVERT: dict[str, Callable[[str], Any]] = {"boolean": _boolean, "decimal": _decimal, **dict.fromkeys(JSON_INTEGERS, _integer)}
