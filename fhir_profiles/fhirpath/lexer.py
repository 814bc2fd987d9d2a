"""FHIRPath text to tokens (FHIRPath N1 grammar)."""

import re
from typing import NamedTuple

from fhir_profiles.fhirpath.errors import syntax

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\u00a0]+|//[^\r\n]*|/\*.*?\*/)
    |(?P<datetime>@\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?)
    |(?P<time>@T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<delimited>`(?:[^`\\]|\\.)*`)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<dollar>\$[a-z]+)
    |(?P<symbol><=|>=|!=|!~|[.,()\[\]{}%+\-*/&|<>=~])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


class Token(NamedTuple):
    kind: str
    text: str
    at: int


def _escape(match: "re.Match[str]") -> str:
    if match[1]:
        return chr(int(match[1], 16))
    # N1 lists the letters that may be escaped; R4's own invariants escape others (eld-19 `\\-`), which stand for themselves.
    return _PLAIN.get(match[2], match[2])


def unescape(text: str) -> str:
    """The meaning of a quoted text without its quotes."""
    return _ESCAPE.sub(_escape, text) if "\\" in text else text


def tokens(expression: str) -> list[Token]:
    """Every token, ending with one of kind `end`. Quoted texts come unescaped."""
    found: list[Token] = []
    at, end, match = 0, len(expression), _TOKEN.match
    while at < end:
        m = match(expression, at)
        if m is None:
            raise syntax(f"unexpected {expression[at]!r} at character {at + 1}")
        kind = m.lastgroup or ""
        text = m[0]
        if kind in ("string", "delimited"):
            text = unescape(text[1:-1])
        if kind != "space":
            found.append(Token(kind, text, at))
        at = m.end()
    found.append(Token("end", "", end))
    return found
