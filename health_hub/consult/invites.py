"""Invitations of guests without an account, an interpreter for instance: one room, one role, for a while, and a wait at the door.

Record kind "consult-invite", id a hash of the secret that is in the link alone, {"kind", "id", "name", "role", "by"}, and its end.
"""

from dataclasses import dataclass

from health_hub.auth.cookies import digest, secret
from health_hub.consult.who import Closed, Consultation, NotHere, Seat, consultation
from health_hub.settings import Settings
from health_hub.store.records import now
from health_hub.store.store import Store
from telemed.rooms.roles import Role

MINUTES, MINUTES_MAX = 60, 1440
ROLES = (Role.INTERPRETER, Role.CARER, Role.OBSERVER)  # all of them wait in the waiting room
NAME_MAX = 80
KIND = "consult-invite"


@dataclass(frozen=True, slots=True)
class Invite:
    """path: with the secret in its fragment, which no server sees. until: seconds since 1970 UTC."""

    path: str
    until: int


async def invite(store: Store, consultation: Consultation, name: str, role: Role, by: str, minutes: int = MINUTES) -> Invite:
    """by: who invites, for the record. Raises ValueError."""
    name = " ".join(name.split())
    if not 0 < len(name) <= NAME_MAX or not name.isprintable():
        raise ValueError(f"a name has 1 to {NAME_MAX} characters")
    if role not in ROLES:
        raise ValueError(f"a guest is one of {', '.join(ROLES)}")
    if not 0 < minutes <= MINUTES_MAX:
        raise ValueError(f"an invitation lasts 1 to {MINUTES_MAX} minutes")
    key, until = secret(), now() + minutes * 60_000
    data = {"kind": consultation.kind, "id": consultation.id, "name": name, "role": role.value, "by": by}
    await store.records.put(KIND, digest(key), data, version=0, expires=until)
    return Invite(f"/consult/guest#invite={key}", until // 1000)


async def guest(store: Store, settings: Settings, key: str) -> Seat:
    """Where the guest with this secret sits.

    Raises NotHere and Closed.
    """
    id = digest(key)
    record = await store.records.get(KIND, id) if 0 < len(key) <= 200 else None
    if record is None:
        raise NotHere
    found = consultation(await store.view().read(record.data["kind"], record.data["id"]))
    if found is None:
        raise Closed("over")
    found.check_open(settings)
    return Seat(found, f"guest.{id[:24]}", record.data["name"], Role(record.data["role"]))
