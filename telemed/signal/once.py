"""Join tokens shown over WebSocket: each is bound to the client that showed it first."""

import hashlib
import hmac
from collections.abc import Callable


def digest(client: str | None) -> str:
    """Of a client's own secret; "" for none."""
    return hashlib.sha256(client.encode()).hexdigest()[:32] if client else ""


class Once:
    """Only tokens whose signature was checked come here, so that the memory is as bounded as what the hub issues."""

    def __init__(self, now: Callable[[], float], keep: int) -> None:
        self._now, self._keep = now, keep
        self._seen: dict[str, tuple[float, str]] = {}  # jti -> when to forget, client; in the order of forgetting

    def take(self, jti: str, client: str) -> bool:
        """False when another client (or one that cannot be told from another) has used it."""
        now = self._now()
        while self._seen and (first := next(iter(self._seen))) and self._seen[first][0] <= now:
            del self._seen[first]
        if jti in self._seen:
            known = self._seen[jti][1]
            return bool(known) and hmac.compare_digest(known, client)
        self._seen[jti] = (now + self._keep, client)
        return True
