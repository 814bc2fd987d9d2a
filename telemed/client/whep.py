"""Watching by WHEP: the room's main publisher, or with `?participant=` another."""

from collections.abc import Iterable

from telemed.client.http import HttpSession, connect

__all__ = ["HttpSession", "watch"]


async def watch(url: str, token: str | None = None, kinds: Iterable[str] = ("audio", "video")) -> HttpSession:
    """Receive from `/telemed/whep/{room}`; `session.tracks` has a track for each of `kinds`. Raises HttpRefused, OSError, TimeoutError."""
    return await connect(url, token, [(kind, "recvonly") for kind in kinds])
