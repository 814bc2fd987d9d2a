"""Search keys: stable 64-bit hashes that make every exact match one mechanism (docs/architecture.md, "Keys").

A key is `parameter(type, code) ^ value(form, text)`. XOR lets SQL compute a key too: a reference key is
`parameter ^ self`, and every resource row carries its `self`, so chains join without a link table.

Forms (the first letter of what is hashed):
    p  the parameter has a value                       t  token `system|code`
    c  token code, any system                          n  token code without system
    s  token system, any code                          o  identifier of type `system|code|value`
    r  reference `Type/id` or absolute URL             T  type a reference points to
    u  uri or canonical without version                v  canonical with `|version`
    e  exact string (NFC)                              w  a folded word
    x  composite of token forms, joined by `$`        A  an account, the party of emergency access
    L  what marks a party whose relationship is lent (fhir/relations.py)
"""

import hashlib
import unicodedata
from functools import lru_cache

_int = int.from_bytes


def _hash(text: str) -> int:
    # blake2b, not a faster unkeyed hash: nobody may be able to build two values with one key.
    return _int(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=16384)
def parameter(resource_type: str, code: str) -> int:
    """Hash of a search parameter on a type, signed 64 bit; also `p` in the ordered tables."""
    return _hash(f"\x00{resource_type}\x00{code}")


@lru_cache(maxsize=32768)
def value(form: str, text: str) -> int:
    """Hash of a value in one searchable form, signed 64 bit. Cached: codes repeat."""
    return _hash(form + text)


def reference(target: str) -> int:
    """Hash of a reference target, the `self` of the resource it names. Uncached: targets seldom repeat."""
    return _hash("r" + target)


@lru_cache(maxsize=32768)
def fold(text: str) -> str:
    """A string as search compares it: no case, no tone marks, đ as d, either Unicode form (R4 search.html#string)."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFC", text).casefold())
    return unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)).replace("đ", "d"))


def exact(text: str) -> str:
    """A string as `:exact` compares it: the same text in either Unicode form."""
    return unicodedata.normalize("NFC", text)
