"""What a person agreed to let an application have, so that they are not asked again, and can see it and take it back.

Record kind "consent", id ACCOUNT.CLIENT, refs account/ID and client/ID: {"account", "client", "scope": all that was agreed to, in
v2, "at": seconds since 1970 UTC of the latest}. It ends after HEALTH_HUB_GRANT_SECONDS.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from health_hub.auth import scopes
from health_hub.auth.audit import AuthEvent
from health_hub.auth.model import Client
from health_hub.store.records import Conflict, Put, Take

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


@dataclass(frozen=True, slots=True)
class Agreed:
    """client: None where the application is no longer registered. at: seconds since 1970 UTC. active: whether it holds access now."""

    client_id: str
    client: Client | None
    scope: str
    at: int
    active: bool


async def remembered(authority: "Authority", account: str, client: str) -> str:
    """The scopes agreed to before; "" none."""
    record = await authority.store.records.get("consent", _id(account, client))
    return str(record.data["scope"]) if record else ""


async def remember(authority: "Authority", account: str, client: str, scope: str) -> None:
    """Adds to what was agreed to."""
    records = authority.store.records
    while True:
        record = await records.get("consent", _id(account, client))
        before = str(record.data["scope"]) if record else ""
        together = scope if scopes.within(before, scope) else " ".join(dict.fromkeys(f"{before} {scope}".split()))
        now = int(time.time())
        # What grows with every authorization and never ends would one day be too long to read.
        data = {"account": account, "client": client, "scope": together if len(together) <= scopes.LENGTH else scope, "at": now}
        put = Put("consent", _id(account, client), data, version=record.version if record else 0,
                  expires=(now + authority.settings.grant_seconds) * 1000, refs=(f"account/{account}", f"client/{client}"))  # fmt: skip
        try:
            await records.change([put])
        except Conflict:
            continue
        return


async def listed(authority: "Authority", account: str) -> list[Agreed]:
    """A person's applications, the latest agreed to first."""
    held = {g.client for g in await authority.families.of_account(account)}
    found = [r.data for r in await authority.store.records.find("consent", f"account/{account}")]
    out = [Agreed(d["client"], await authority.clients.get(d["client"]), d["scope"], d["at"], d["client"] in held) for d in found]
    return sorted(out, key=lambda a: -a.at)


async def withdraw(authority: "Authority", account: str, client: str, address: str = "") -> None:
    """The application loses all it holds of this person, at once, and must ask again; twice is no error."""
    await authority.store.records.change([Take("consent", _id(account, client))])
    await authority.families.end_pair(account, client)
    await authority.audit(AuthEvent("revoked", account, client, address, detail="by the person"))


def _id(account: str, client: str) -> str:
    return f"{account}.{client}"
