"""Pages of a longer result: Bundles put together from stored bytes, and sealed links to go on (R4 http.html#paging).

A `_page` token holds where the walk stands: values of a sort among it, which may be a patient's name and do not belong
into a log. So it is sealed (AES-GCM) together with the query it belongs to: it can neither be read, nor made up, nor moved
to another search. Links keep the form [base]/Patient?... because some clients take only their query.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from health_hub.fhir.json import dumps
from health_hub.fhir.outcome import bad_request
from health_hub.rest.request import Pairs

PAGE = "_page"
BACK = 8  # how many pages back `previous` leads before it stops being offered
_NONCE = 12
# May differ between the pages of one walk.
_FREE = frozenset((PAGE, "_format", "_pretty"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk stands: the cursor of this page, those of the pages before it, the total counted on the first."""

    cursor: Any = None
    before: tuple[Any, ...] = ()
    total: int | None = None

    def after(self, cursor: Any, total: int | None) -> "Place":
        return Place(cursor, (*self.before, self.cursor)[-BACK:], total)

    @property
    def previous(self) -> "Place":
        return Place(self.before[-1], self.before[:-1], self.total)


FIRST = Place()


def seal(secret: bytes, context: str, place: Place) -> str:
    """A token for a place within the walk that `context` names."""
    payload, nonce = dumps([place.cursor, list(place.before), place.total]), os.urandom(_NONCE)
    sealed = _cipher(secret).encrypt(nonce, payload, context.encode("utf-8", "surrogatepass"))
    return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()


def unseal(secret: bytes, context: str, token: str) -> Place:
    """400 for a token that this hub did not make for this walk."""
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(raw).rstrip(b"=") != token.encode("ascii"):
            raise ValueError("another spelling of the same bytes")
        payload = _cipher(secret).decrypt(raw[:_NONCE], raw[_NONCE:], context.encode("utf-8", "surrogatepass"))
        cursor, before, total = msgspec.json.decode(payload)
        return Place(cursor, tuple(before), total)
    except (ValueError, UnicodeError, binascii.Error, InvalidTag):
        raise bad_request("_page is not a page of this search; follow the links as they were given", "invalid", f"http.{PAGE}") from None


@lru_cache(maxsize=4)
def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(hashlib.blake2b(b"page", key=secret[:64], digest_size=32).digest())


def context(path: str, pairs: Pairs) -> str:
    """What a token is bound to: the path and every parameter that shapes the result."""
    return repr((path, [pair for pair in pairs if pair[0] not in _FREE]))


def links(
    secret: bytes, base: str, path: str, query: str, bound: str, place: Place, next_cursor: Any, total: int | None
) -> list[tuple[str, str]]:
    """self, first, previous and next as they apply. `query` is the walk's own, without `_page`; `bound` its context."""
    where = f"{base}/{path}" if path else base
    plain = f"{where}?{query}" if query else where
    more = f"{plain}&{PAGE}=" if query else f"{where}?{PAGE}="
    out = [("self", plain if place is FIRST else more + seal(secret, bound, place))]
    if place.before or next_cursor is not None:
        out.append(("first", plain))
    if place.before:
        out.append(("previous", plain if place.previous.cursor is None else more + seal(secret, bound, place.previous)))
    if next_cursor is not None:
        out.append(("next", more + seal(secret, bound, place.after(next_cursor, total))))
    return out


def bundle(type: str, *, updated: str, total: int | None, links: Sequence[tuple[str, str]], entries: Sequence[bytes]) -> bytes:
    """A Bundle around entries that are JSON already."""
    head = [b'{"resourceType":"Bundle","meta":{"lastUpdated":"', updated.encode(), b'"},"type":"', type.encode(), b'"']
    if total is not None:
        head.append(b',"total":%d' % total)
    if links:
        head.append(b',"link":' + dumps([{"relation": relation, "url": url} for relation, url in links]))
    if not entries:
        return b"".join(head) + b"}"
    head.append(b',"entry":[')
    return b"".join(head) + b",".join(entries) + b"]}"
