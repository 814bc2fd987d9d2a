"""Which representation a client sends and wants: media types, q-values, `_format`, Prefer (R4 http.html#mime-type)."""

from functools import lru_cache
from typing import Literal, NamedTuple

Format = Literal["json", "xml"]

JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "application/json+fhir"})
XML_TYPES = frozenset({"application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir"})
GENERIC = frozenset({"application/json", "text/json", "application/xml", "text/xml"})
FORMATS: dict[str, Format] = {**dict.fromkeys(JSON_TYPES | {"json"}, "json"), **dict.fromkeys(XML_TYPES | {"xml"}, "xml")}
CONTENT_TYPE: dict[Format, str] = {"json": "application/fhir+json;charset=utf-8", "xml": "application/fhir+xml;charset=utf-8"}
SUPPORTED = "application/fhir+json, application/fhir+xml"


class MediaType(NamedTuple):
    """A media type in lower case with its parameters."""

    name: str
    parameters: tuple[tuple[str, str], ...]

    def get(self, parameter: str) -> str | None:
        return next((v for k, v in self.parameters if k == parameter), None)


@lru_cache(maxsize=512)
def media_type(text: str) -> MediaType:
    """`type/subtype; name=value` with quotes taken off."""
    name, *rest = text.split(";")
    parameters = []
    for part in rest:
        key, _, value = part.partition("=")
        parameters.append((key.strip().lower(), value.strip().strip('"')))
    return MediaType(name.strip().lower(), tuple(parameters))


def _quality(media: MediaType) -> float:
    try:
        return min(max(float(media.get("q") or 1), 0.0), 1.0)
    except ValueError:
        return 0.0


def right_version(media: MediaType) -> bool:
    """R4 versioning.html#mt-version: a media type may name the FHIR version."""
    return (media.get("fhirversion") or "4.0") in ("4.0", "4.0.1")


@lru_cache(maxsize=512)
def ranges(accept: str) -> tuple[tuple[MediaType, float], ...]:
    """The media ranges of an Accept header, best first; ties keep the order they were written in."""
    listed = [(m, _quality(m)) for part in accept.split(",") if part.strip() for m in (media_type(part),)]
    return tuple(sorted(listed, key=lambda pair: -pair[1]))


@lru_cache(maxsize=512)
def accepted(accept: str) -> Format | None:
    """The format for an Accept header, JSON where either would do; None: neither is acceptable (406)."""
    listed = ranges(accept)
    if not listed:
        return "json"
    quality: dict[Format, float] = {}
    for name, formats in ((JSON_TYPES, "json"), (XML_TYPES, "xml")):
        exact = [q for m, q in listed if m.name in name and right_version(m)]
        wide = [q for m, q in listed if m.name in ("application/*", "*/*")]
        found = exact or wide
        if found and max(found) > 0:
            quality[formats] = max(found)  # type: ignore[index]
    # A browser names application/xml before */* for pages, not for data: it gets JSON.
    if "json" in quality and any(m.name in ("text/html", "application/xhtml+xml") for m, _ in listed):
        return "json"
    if not quality:
        return None
    return max(quality, key=lambda f: (quality[f], f == "json"))


@lru_cache(maxsize=512)
def content_type(accept: str, format: Format) -> str:
    """The Content-Type for what an Accept header led to: a generic type is answered with itself (R4 http.html#mime-type)."""
    names = JSON_TYPES if format == "json" else XML_TYPES
    asked = next((m.name for m, q in ranges(accept) if q > 0 and m.name in names and right_version(m)), "")
    return f"{asked};charset=utf-8" if asked in GENERIC else CONTENT_TYPE[format]


def asked_for_fhir(accept: str) -> bool:
    """Whether an Accept header names a FHIR format outright, as a Binary's reader must (R4 binary.html#rest)."""
    return any("fhir" in m.name and m.name in FORMATS for m, _ in ranges(accept))


def allows(accept: str, content_type: str) -> bool:
    """Whether an Accept header admits a media type."""
    listed = ranges(accept)
    name = media_type(content_type).name
    wide = (name, name.partition("/")[0] + "/*", "*/*")
    for pattern in wide:
        exact = [q for m, q in listed if m.name == pattern]
        if exact:
            return max(exact) > 0
    return not listed


class Prefer(NamedTuple):
    """RFC 7240 as R4 uses it. Unknown values (`return=presentation` is one in the wild) count as absent."""

    returns: Literal["minimal", "representation", "OperationOutcome"] | None = None
    handling: Literal["strict", "lenient"] | None = None
    respond_async: bool = False


@lru_cache(maxsize=256)
def prefer(header: str) -> Prefer:
    returns, handling, respond_async = None, None, False
    for part in header.replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "return":
            returns = {"minimal": "minimal", "representation": "representation", "operationoutcome": "OperationOutcome"}.get(value.lower())
        elif name == "handling":
            handling = value.lower() if value.lower() in ("strict", "lenient") else None
        elif name == "respond-async":
            respond_async = True
    return Prefer(returns, handling, respond_async)  # type: ignore[arg-type]
