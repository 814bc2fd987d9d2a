"""Pushed authorization requests (RFC 9126): kept for a client that has authenticated, under a name that is used once.

Record kind "par", id SHA-256 of the random part of the request_uri: {"client", "params"}; it lives SECONDS.
"""

import hashlib
import secrets
from collections.abc import Mapping

from health_hub.auth.model import AuthError, Client
from health_hub.store.records import Put, Records, now

PREFIX = "urn:ietf:params:oauth:request_uri:"
SECONDS = 90
# What proves the client is no part of the request.
_PROOF = ("client_secret", "client_assertion", "client_assertion_type")


def pushable(client: Client, form: Mapping[str, str]) -> dict[str, str]:
    """The authorization request in a pushed form. Raises AuthError."""
    if "request_uri" in form:
        raise AuthError("invalid_request", "a pushed request has no request_uri (RFC 9126 2.1)")
    if "request" in form:
        raise AuthError("request_not_supported", "request objects are not supported")
    return {k: v for k, v in form.items() if k not in _PROOF} | {"client_id": client.id}


async def push(records: Records, client: Client, params: Mapping[str, str]) -> dict[str, str | int]:
    """Keeps a request that was found valid; the answer (RFC 9126 2.2)."""
    name = secrets.token_urlsafe(32)
    await records.change(
        [Put("par", _hash(name), {"client": client.id, "params": dict(params)}, version=0, expires=now() + SECONDS * 1000)]
    )
    return {"request_uri": PREFIX + name, "expires_in": SECONDS}


async def pull(records: Records, request_uri: str, client: Client) -> dict[str, str] | None:
    """The request kept under a request_uri, for its client alone, once; None: there is none (any more)."""
    if not request_uri.startswith(PREFIX) or len(request_uri) > 200:
        return None
    id = _hash(request_uri.removeprefix(PREFIX))
    there = await records.get("par", id)
    # Looked at before it is taken: another client cannot use up what is not its own.
    if there is None or there.data["client"] != client.id:
        return None
    taken = await records.take("par", id)
    return None if taken is None else dict(taken.data["params"])


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
