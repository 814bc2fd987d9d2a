"""What happened in signing in and with tokens, told to the audit trail; the trail itself is above (access/)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "sign-in", "sign-in-refused", "sign-out", "step-up", "token", "token-refused", "account-changed", "client-registered",
    "client-changed", "revoked", "key-rotated", "consent-given", "consent-refused",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuthEvent:
    """One event. `detail` is for the auditor and never holds a secret, a token, a password or what was typed as a login.

    account, client: ids where they are known. address: the network address it came from, "" when it came from the command line.
    """

    kind: Kind
    account: str | None = None
    client: str | None = None
    address: str = ""
    success: bool = True
    detail: str = ""


Audit = Callable[[AuthEvent], Awaitable[None]]


async def untold(event: AuthEvent) -> None:
    """Where no trail is connected."""
