"""Publishing by WHIP (RFC 9725), as an ultrasound machine or OBS does."""

from collections.abc import Iterable

from aiortc import MediaStreamTrack

from telemed.client.http import HttpSession, connect

__all__ = ["HttpSession", "publish"]


async def publish(url: str, token: str | None, tracks: Iterable[MediaStreamTrack]) -> HttpSession:
    """Send `tracks` to `/telemed/whip/{room}`. Raises HttpRefused, OSError, TimeoutError."""
    return await connect(url, token, [(track, "sendonly") for track in tracks])
