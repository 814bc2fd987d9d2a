"""How fast one client may speak."""


class Bucket:
    """`rate` a second, `burst` at once. Times are seconds on any steady clock."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate, self._burst, self._left, self._at = rate, float(burst), float(burst), now

    def take(self, now: float) -> bool:
        """Whether one more is in order."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
