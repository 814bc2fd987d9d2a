"""One access as the journal keeps it: small to write before an answer goes out; an AuditEvent is made of it afterwards (balp.py)."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from health_hub.store.model import Result, Stored

PATIENTS = 1000  # Patients that one entry names; more are counted
RESOURCES = 20  # resources it names beside
_PATIENT = re.compile(rb'"reference":"(?:https?://[^"]{1,500}/)?Patient/([A-Za-z0-9.-]{1,64})')


_SHORT = {
    "interaction": "i", "action": "a", "status": "s", "account": "u", "name": "n", "role": "r", "me": "f", "client": "c", "facility": "g",
    "address": "ip", "target": "p", "resources": "e", "patients": "w", "more": "m", "purpose": "y", "note": "x", "first": "new",
    "session": "z", "request": "q", "count": "k",
}  # fmt: skip


class Entry(msgspec.Struct, omit_defaults=True, rename=_SHORT):
    """t: ms since 1970 UTC. interaction: FHIR's restful-interaction code, or what was done in signing in.

    action: C R U D E (DICOM). status: HTTP's. resources: `Type/id/_history/n`. patients: bare ids. more: Patients that were not named.
    first: a first relationship of the facility with the patient. count: of refusals that are told together.
    """

    t: int
    interaction: str
    action: str
    status: int
    account: str = ""
    name: str = ""
    role: str = ""
    me: str = ""
    client: str = ""
    facility: str = ""
    address: str = ""
    target: str = ""
    resources: list[str] = []
    patients: list[str] = []
    more: int = 0
    purpose: str = ""
    note: str = ""
    first: bool = False
    session: str = ""
    request: str = ""
    count: int = 0


encode = msgspec.json.Encoder().encode
_BARE = encode(Entry(0, "", "", 0))[:-1]
decode = msgspec.json.Decoder(Entry).decode


def fixed(said: Entry) -> bytes:
    """The members of an entry that are the same for all of a sender's, for `quick`."""
    return encode(msgspec.structs.replace(said, t=0, interaction="", action="", status=0))[len(_BARE) : -1]


def quick(
    t: int, interaction: str, action: str, status: int, same: bytes, target: str, versions: Sequence[Stored], patients: Sequence[str],
    **more: Any,
) -> bytes:  # fmt: skip
    """As `encode`, without making an Entry: a read waits for it. same: what `fixed` gave. more: members that are seldom there.

    interaction and action are words of ours; versions and patients give ids, which need no escaping.
    """
    said = f'{{"t":{t},"i":"{interaction}","a":"{action}","s":{status}'
    if versions:
        said += ',"e":["' + '","'.join([f"{v.type}/{v.id}/_history/{v.version}" for v in versions]) + '"]'
    if patients:
        said += ',"w":["' + '","'.join(patients) + '"]'
    out = b'%b%b,"p":%b' % (said.encode(), same, encode(target))
    for name, value in more.items():
        if value:
            out += b',"%b":%b' % (_SHORT[name].encode(), encode(value))
    return out + b"}"


def patients_of(versions: Iterable[Stored]) -> list[str]:
    """The Patients that versions are of or refer to, by their bare ids."""
    found: dict[str, None] = {}
    for stored in versions:
        if stored.type == "Patient":
            found[stored.id] = None
        if stored.doc is not None:
            for id in _PATIENT.findall(stored.doc):
                found[id.decode()] = None
    return list(found)


def written(results: Iterable[Result]) -> list[Stored]:
    return [r.stored for r in results if r.stored.version]
