"""From the bytes of a query string or form body to name and value pairs (URL standard, with one mercy for dates)."""

import re
from urllib.parse import unquote_to_bytes

from health_hub.fhir.outcome import FhirError, Issue

MAX_BYTES = 1 << 20
MAX_PAIRS = 1000

# `T10:00:00+07:00` written without encoding the plus: a form would read it as a space, and every such client means an offset.
_BARE_OFFSET = re.compile(rb"([Tt]\d\d(?:(?::|%3[Aa])\d\d){1,2}(?:\.\d{1,9})?)\+(?=\d\d(?::|%3[Aa])\d\d)")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def split_query(raw: bytes) -> list[tuple[str, str]]:
    """The decoded pairs in order. FhirError 400 for wrong percent codes or UTF-8, NUL and too many or too long pairs."""
    if len(raw) > MAX_BYTES:
        raise _refuse(f"the query is longer than {MAX_BYTES} bytes", "too-long")
    if raw.count(b"&") >= MAX_PAIRS:
        raise _refuse(f"the query has more than {MAX_PAIRS} parameters", "too-costly")
    pairs: list[tuple[str, str]] = []
    for piece in raw.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_decode(name, ""), _decode(value, name.decode("ascii", "replace"))))
    return pairs


def _decode(raw: bytes, name: str) -> str:
    if b"+" in raw:
        raw = _BARE_OFFSET.sub(rb"\1%2B", raw).replace(b"+", b" ")
    if b"%" in raw:
        if _BAD_PERCENT.search(raw):
            raise _refuse("a % is not followed by two hexadecimal digits", "invalid", name)
        raw = unquote_to_bytes(raw)
    if b"\0" in raw:
        raise _refuse("a NUL character is not allowed", "invalid", name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _refuse("the text is not UTF-8", "invalid", name) from None


def _refuse(reason: str, code: str, name: str = "") -> FhirError:
    where = f"parameter {name[:100]}: " if name else "query: "
    return FhirError(400, Issue(code, where + reason, (f"http.{name[:100]}",) if name else ()))
