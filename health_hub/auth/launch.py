"""SMART EHR launch: a `launch` value stands for a patient, perhaps an encounter, that a person has open in their own system.

Record kind "launch", id SHA-256 of the value: Launch and "ends" (ms). It is good for one client, one account, one authorization
that begins within SECONDS; the record stays a while longer, so that a slow sign-in does not lose it.
"""

import hashlib
import re
import secrets
from dataclasses import asdict, dataclass, fields

from health_hub.auth.model import AuthError
from health_hub.store.records import Put, Records, Take, now

SECONDS, LONGER = 600, 900  # to begin in; until the authorization that began must be finished
VALUE_MAX = 200  # characters
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_INTENT = re.compile(r"[A-Za-z0-9._:/-]{1,100}")


@dataclass(frozen=True, slots=True)
class Launch:
    """client, account: ids. patient, encounter: bare ids. The rest as in SMART's token response."""

    client: str
    account: str
    patient: str | None = None
    encounter: str | None = None
    need_patient_banner: bool = True
    intent: str | None = None
    smart_style_url: str | None = None


async def create(records: Records, launch: Launch) -> str:
    """A value for the `launch` parameter. Raises ValueError for what can be no context."""
    for name in ("patient", "encounter"):
        id = getattr(launch, name)
        if id is not None and not _ID.fullmatch(id):
            raise ValueError(f"{name} is the id of a resource, without its type")
    if launch.encounter and not launch.patient:
        raise ValueError("an encounter is launched with its patient")
    if launch.intent is not None and not _INTENT.fullmatch(launch.intent):
        raise ValueError("intent is a word")
    value, ends = secrets.token_urlsafe(32), now() + SECONDS * 1000
    await records.change([Put("launch", _hash(value), {**asdict(launch), "ends": ends}, version=0, expires=ends + LONGER * 1000)])
    return value


async def find(records: Records, value: str, client: str) -> tuple[str, Launch]:
    """The launch and the id under which `used` marks it. Raises AuthError: another client's is as none."""
    record = await records.get("launch", _hash(value)) if len(value) <= VALUE_MAX else None
    if record is None or record.data["client"] != client or record.data["ends"] <= now():
        raise AuthError("invalid_request", "launch is not one that this application was given, or it has ended")
    known = {f.name for f in fields(Launch)}
    return record.id, Launch(**{k: v for k, v in record.data.items() if k in known})


def used(id: str) -> Take:
    """For the change in which the authorization is given: it conflicts where the launch was used before."""
    return Take("launch", id, must=True)


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
