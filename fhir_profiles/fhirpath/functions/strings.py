"""Strings (FHIRPath N1, 5.6)."""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable
from typing import Any

from fhir_profiles.fhirpath.context import MAX_TEXT, Context
from fhir_profiles.fhirpath.errors import execution, limit
from fhir_profiles.fhirpath.regex import matcher, replacer
from fhir_profiles.fhirpath.registry import Items, integer, text, values


def bounded(ctx: Context, made: str) -> str:
    """Refuses texts that grow without end; long ones cost steps."""
    if len(made) > MAX_TEXT:
        raise limit(f"the expression builds a text of more than {MAX_TEXT} characters")
    ctx.spend(len(made) >> 6)
    return made


@values("indexOf", 1)
def index_of(ctx: Context, items: Items, part: Items) -> Items:
    a, b = text(items, "indexOf()"), text(part, "indexOf()")
    return [] if a is None or b is None else [a.find(b)]


@values("substring", 1, 2)
def substring(ctx: Context, items: Items, start: Items, length: Items | None = None) -> Items:
    a, at = text(items, "substring()"), integer(start, "substring()")
    if a is None or at is None or not 0 <= at < len(a):
        return []
    if length is None:
        return [a[at:]]
    n = integer(length, "substring()")
    return [a[at:]] if n is None else [a[at : at + max(n, 0)]]


def _test(name: str, test: Any) -> None:
    @values(name, 1)
    def run(ctx: Context, items: Items, part: Items) -> Items:
        a, b = text(items, f"{name}()"), text(part, f"{name}()")
        return [] if a is None or b is None else [test(a, b)]


_test("startsWith", str.startswith)
_test("endsWith", str.endswith)
_test("contains", str.__contains__)


def _change(name: str, change: Any) -> None:
    @values(name)
    def run(ctx: Context, items: Items) -> Items:
        a = text(items, f"{name}()")
        return [] if a is None else [bounded(ctx, change(a))]


_change("upper", str.upper)
_change("lower", str.lower)
_change("trim", str.strip)


@values("length")
def length(ctx: Context, items: Items) -> Items:
    a = text(items, "length()")
    return [] if a is None else [len(a)]


@values("toChars")
def to_chars(ctx: Context, items: Items) -> Items:
    a = text(items, "toChars()")
    if a is None:
        return []
    ctx.spend(len(a))
    return list(a)


@values("replace", 2)
def replace(ctx: Context, items: Items, pattern: Items, substitution: Items) -> Items:
    a, b, c = text(items, "replace()"), text(pattern, "replace()"), text(substitution, "replace()")
    if a is None or b is None or c is None:
        return []
    # Counted first: replacing every character of a long text by a long text is a bomb.
    if len(a) + (a.count(b) if b else len(a) + 1) * len(c) > MAX_TEXT:
        raise limit(f"replace() would build a text of more than {MAX_TEXT} characters")
    return [bounded(ctx, a.replace(b, c))]


@values("matches", 1, 2)
def matches(ctx: Context, items: Items, pattern: Items, flags: Items | None = None) -> Items:
    a, b = text(items, "matches()"), text(pattern, "matches()")
    if a is None or b is None:
        return []
    return [matcher(b, (flags and text(flags, "matches()")) or "")(a)]


@values("matchesFull", 1, 2)
def matches_full(ctx: Context, items: Items, pattern: Items, flags: Items | None = None) -> Items:
    a, b = text(items, "matchesFull()"), text(pattern, "matchesFull()")
    if a is None or b is None:
        return []
    return [matcher(f"^(?:{b})$", (flags and text(flags, "matchesFull()")) or "")(a)]


@values("replaceMatches", 2, 3)
def replace_matches(ctx: Context, items: Items, pattern: Items, substitution: Items, flags: Items | None = None) -> Items:
    a, b, c = text(items, "replaceMatches()"), text(pattern, "replaceMatches()"), text(substitution, "replaceMatches()")
    if a is None or b is None or c is None:
        return []
    if not b:
        return [a]
    return [bounded(ctx, replacer(b, (flags and text(flags, "replaceMatches()")) or "")(a, c))]


@values("split", 1)
def split(ctx: Context, items: Items, separator: Items) -> Items:
    a, b = text(items, "split()"), text(separator, "split()")
    if a is None or b is None:
        return []
    found = a.split(b) if b else list(a)
    ctx.spend(len(found))
    return list(found)


@values("join", 0, 1)
def join(ctx: Context, items: Items, separator: Items | None = None) -> Items:
    if not items:
        return []
    glue = (separator and text(separator, "join()")) or ""
    return [bounded(ctx, glue.join(text([item], "join()") or "" for item in items))]


_Coder = Callable[[bytes], bytes]
_BASE64: dict[str, _Coder] = {"base64": base64.b64encode, "urlbase64": base64.urlsafe_b64encode, "hex": binascii.hexlify}
_DECODE: dict[str, _Coder] = {"base64": base64.b64decode, "urlbase64": base64.urlsafe_b64decode, "hex": binascii.unhexlify}


@values("encode", 1)
def encode(ctx: Context, items: Items, form: Items) -> Items:
    a, b = text(items, "encode()"), text(form, "encode()")
    if a is None or b is None:
        return []
    if b not in _BASE64:
        raise execution(f"encode() knows hex, base64 and urlbase64, not {b!r}")
    return [bounded(ctx, _BASE64[b](a.encode()).decode())]


@values("decode", 1)
def decode(ctx: Context, items: Items, form: Items) -> Items:
    a, b = text(items, "decode()"), text(form, "decode()")
    if a is None or b is None:
        return []
    if b not in _DECODE:
        raise execution(f"decode() knows hex, base64 and urlbase64, not {b!r}")
    try:
        return [_DECODE[b](a.encode()).decode()]
    except ValueError:
        return []


@values("escape", 1)
def escape(ctx: Context, items: Items, form: Items) -> Items:
    a, b = text(items, "escape()"), text(form, "escape()")
    if a is None or b is None:
        return []
    if b == "html":
        return [bounded(ctx, html.escape(a))]
    if b == "json":
        return [bounded(ctx, json.dumps(a, ensure_ascii=False)[1:-1])]
    raise execution(f"escape() knows html and json, not {b!r}")


_JSON_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)


def _json_escape(match: "re.Match[str]") -> str:
    return chr(int(match[1], 16)) if match[1] else {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}.get(match[2], match[2])


@values("unescape", 1)
def unescape(ctx: Context, items: Items, form: Items) -> Items:
    a, b = text(items, "unescape()"), text(form, "unescape()")
    if a is None or b is None:
        return []
    if b == "html":
        return [html.unescape(a)]
    if b == "json":
        return [_JSON_ESCAPE.sub(_json_escape, a)]
    raise execution(f"unescape() knows html and json, not {b!r}")
