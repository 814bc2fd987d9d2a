"""The dict form to FHIR XML, elements in the order of their definitions (R4 xml.html)."""

from decimal import Decimal
from typing import Any

from fhir_profiles import tables
from fhir_profiles.number import Number
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.xml.div import embed
from health_hub.fhir.xml.layout import FHIR, MAX_DEPTH, Child, children
from health_hub.fhir.xml.text import attribute

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


class _Unwritable(Exception):
    """What has no XML form; the path to it is put together on the way out."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.path: list[str] = []
        super().__init__(reason)


def to_xml(resource: dict[str, Any], pretty: bool = False) -> bytes:
    """UTF-8 XML of a resource. FhirError 422 names what XML or R4 cannot say (an unknown property, U+0001 in a string)."""
    out: list[str] = [DECLARATION]
    try:
        _resource(out, resource, "\n" if pretty else "", f' xmlns="{FHIR}"', 0)
    except _Unwritable as e:
        where = ".".join(reversed(e.path))
        raise FhirError(422, Issue("structure", f"cannot be written as XML: {e.reason}", (where,) if where else ())) from None
    if pretty:
        out.append("\n")
    return "".join(out).encode()


def _resource(out: list[str], resource: Any, pad: str, declaration: str, depth: int) -> None:
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    if not tables.is_resource_type(name):
        raise _Unwritable("this is no resource of a known type")
    assert isinstance(name, str)
    out.append(f"{pad}<{name}{declaration}")
    try:
        if len(resource) == 1:
            out.append("/>")
            return
        out.append(">")
        _content(out, resource, name, pad and pad + "  ", depth + 1)
    except _Unwritable as e:
        if declaration:
            e.path.append(name)
        raise
    out.append(f"{pad}</{name}>")


def _order(child: Child) -> int:
    return child.order


def _content(out: list[str], source: dict[str, Any], type_name: str, pad: str, depth: int) -> None:
    """The child elements of an object; its attributes are written already."""
    if depth > MAX_DEPTH:
        raise _Unwritable(f"it is nested more than {MAX_DEPTH} deep")
    known = children(type_name)
    found: list[Child] = []
    for key in source:
        child = known.get(key)
        if child is None:
            if key == "resourceType":
                continue
            raise _failed(_Unwritable(f"{key} is no element of {type_name}"), key)
        # `_name` goes along with `name`.
        if child.kind != "attribute" and not (child.extra and child.name in source):
            found.append(child)
    found.sort(key=_order)
    for child in found:
        name = child.name
        value = source.get(name)
        try:
            if child.kind == "primitive":
                extra = source.get("_" + name)
                if child.array:
                    _primitives(out, child, value, extra, pad, depth)
                elif type(value) is str and extra is None and value:
                    out.append(f'{pad}<{name} value="{attribute(value)}"/>')
                else:
                    _primitive(out, name, value, extra, pad, depth)
            elif not child.array:
                _one(out, child, value, pad, depth)
            else:
                if not isinstance(value, list) or not value:
                    raise _Unwritable("it is an array with at least one item")
                at = 0
                try:
                    for at, item in enumerate(value):  # noqa: B007
                        _one(out, child, item, pad, depth)
                except _Unwritable as e:
                    raise _failed(e, f"{name}[{at}]") from None
        except _Unwritable as e:
            if not (e.path and e.path[-1].startswith(f"{name}[")):
                e.path.append(name)
            raise
        except ValueError as e:
            raise _failed(_Unwritable(str(e)), name) from None


def _failed(e: _Unwritable, step: str) -> _Unwritable:
    e.path.append(step)
    return e


def _one(out: list[str], child: Child, value: Any, pad: str, depth: int) -> None:
    if child.kind == "complex":
        _complex(out, child.name, child.type, value, pad, depth)
    elif child.kind == "resource":
        out.append(f"{pad}<{child.name}>")
        _resource(out, value, pad and pad + "  ", "", depth + 1)
        out.append(f"{pad}</{child.name}>")
    else:
        if not isinstance(value, str):
            raise _Unwritable("XHTML is a string")
        out.append(pad)
        out.append(embed(value))


def _complex(out: list[str], name: str, type_name: str, value: Any, pad: str, depth: int) -> None:
    if not isinstance(value, dict) or not value:
        raise _Unwritable("it is an object with at least one property")
    tag = f"{pad}<{name}"
    attributes = 0
    for key in ("id", "url") if type_name == "Extension" else ("id",):
        text = value.get(key)
        if text is not None:
            if not isinstance(text, str):
                raise _Unwritable(f"{key} is a string")
            tag += f' {key}="{attribute(text)}"'
            attributes += 1
    if len(value) == attributes:
        out.append(tag + "/>")
        return
    out.append(tag + ">")
    _content(out, value, type_name, pad and pad + "  ", depth + 1)
    out.append(f"{pad}</{name}>")


def _primitive(out: list[str], name: str, value: Any, extra: Any, pad: str, depth: int) -> None:
    """One primitive with its id and extensions."""
    tag = f"{pad}<{name}"
    content: dict[str, Any] | None = None
    if extra is not None:
        if not isinstance(extra, dict) or not extra:
            raise _Unwritable(f"_{name} is an object with id or extension")
        if "id" in extra:
            tag += f' id="{attribute(extra["id"])}"'
        if len(extra) > ("id" in extra):
            content = extra
    elif value is None:
        raise _Unwritable("it has neither a value nor an extension")
    if value is not None:
        tag += f' value="{_text(value)}"'
    if content is None:
        out.append(tag + "/>")
        return
    out.append(tag + ">")
    _content(out, content, "Element", pad and pad + "  ", depth + 1)
    out.append(f"{pad}</{name}>")


def _primitives(out: list[str], child: Child, values: Any, extras: Any, pad: str, depth: int) -> None:
    """An array of primitives beside the array of their ids and extensions."""
    values = [] if values is None else values
    extras = [] if extras is None else extras
    if not isinstance(values, list) or not isinstance(extras, list) or not (values or extras):
        raise _Unwritable("it is an array with at least one item")
    for at in range(max(len(values), len(extras))):
        try:
            value = values[at] if at < len(values) else None
            _primitive(out, child.name, value, extras[at] if at < len(extras) else None, pad, depth)
        except _Unwritable as e:
            raise _failed(e, f"{child.name}[{at}]") from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        if not value:
            raise _Unwritable("it is empty")
        return attribute(value)
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Number):
        return bytes(value).decode()
    if isinstance(value, int | float | Decimal):
        return str(value)
    raise _Unwritable(f"a {type(value).__name__} is no primitive")
