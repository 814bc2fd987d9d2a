"""What was written in a room, bounded; kept until it ends."""

from collections import deque
from typing import Any


class Chat:
    """The newest `limit` messages, numbered from 1 on."""

    def __init__(self, limit: int) -> None:
        self.messages: deque[dict[str, Any]] = deque(maxlen=limit)
        self._next = 1

    def add(self, sender: str, name: str, role: str, text: str, time: str) -> dict[str, Any]:
        """The message as everybody gets it."""
        message = {"id": self._next, "from": sender, "name": name, "role": role, "text": text, "time": time}
        self._next += 1
        self.messages.append(message)
        return message

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"next": self._next, "messages": list(self.messages)}

    def restore(self, saved: dict[str, Any]) -> None:
        """From `snapshot()`."""
        self._next = saved["next"]
        self.messages.extend(saved["messages"])
