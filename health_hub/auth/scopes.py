"""tmp"""
import re
from dataclasses import dataclass

_S = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?)(?:\?(.+))?\Z")
@dataclass(frozen=True, slots=True)
class Scope:
    context: str
    type: str
    c: bool
    r: bool
    u: bool
    d: bool
    s: bool
    query: str = ""
def parse(text: str) -> tuple[Scope, ...]:
    out = []
    for word in text.split():
        m = _S.match(word)
        if m:
            out.append(Scope(m[1], m[2], "c" in m[3], "r" in m[3], "u" in m[3], "d" in m[3], "s" in m[3], m[4] or ""))
    return tuple(out)
