"""What was written in a room, bounded; kept until it ends."""

from collections import deque
from typing import Any

MAX_CHARS = 131_072  # of all messages: whoever comes late gets them in one message, which must pass a thin link


class Chat:
    """The newest `limit` messages, numbered from 1 on."""

    def __init__(self, limit: int) -> None:
        self.messages: deque[dict[str, Any]] = deque(maxlen=limit)
        self._next = 1
        self._chars = 0

    def add(self, sender: str, name: str, role: str, text: str, time: str) -> dict[str, Any]:
        """The message as everybody gets it."""
        message = {"id": self._next, "from": sender, "name": name, "role": role, "text": text, "time": time}
        self._next += 1
        self._keep(message)
        return message

    def _keep(self, message: dict[str, Any]) -> None:
        if len(self.messages) == self.messages.maxlen:
            self._chars -= len(self.messages.popleft()["text"])
        self.messages.append(message)
        self._chars += len(message["text"])
        while self._chars > MAX_CHARS:
            self._chars -= len(self.messages.popleft()["text"])

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"next": self._next, "messages": list(self.messages)}

    def restore(self, saved: dict[str, Any]) -> None:
        """From `snapshot()`."""
        self._next = saved["next"]
        for message in saved["messages"]:
            self._keep(message)
