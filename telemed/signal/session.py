"""A participant's signalling: outlives its WebSocket, numbers what it says, and repeats what was missed."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from telemed.ice_servers import ice_servers
from telemed.rooms.participant import Participant, stamp
from telemed.rooms.room import Room, encode
from telemed.settings import Settings
from telemed.signal.connection import Connection
from telemed.tokens import Tokens


class Session:
    """`client`: digest of the client's own secret, "" when it has none and so cannot come back."""

    def __init__(
        self, id: str, client: str, room: Room, who: Participant, tokens: Tokens, settings: Settings, now: Callable[[], float]
    ) -> None:
        self.id, self.client, self.room, self.who = id, client, room, who
        self._tokens, self._settings, self._now = tokens, settings, now
        self.seq = 0
        self.connection: Connection | None = None
        self.token_at = 0.0
        self._kept: deque[tuple[int, str]] = deque()
        self._kept_bytes = 0

    # ---- what the room says (rooms.participant.Ear) ----

    def tell(self, text: str, kept: bool) -> None:
        if kept:
            self.seq += 1
            text = f'{{"seq":{self.seq},{text[1:]}'
            self._kept.append((self.seq, text))
            self._kept_bytes += len(text)
            while len(self._kept) > self._settings.backlog_messages or self._kept_bytes > self._settings.backlog_bytes:
                self._kept_bytes -= len(self._kept.popleft()[1])
        if self.connection is not None:
            self.connection.send(text, not kept)

    def admitted(self, by: str) -> None:
        self.say({"type": "admitted", "by": by, **self.room.view(self.who), **self._ice(), "resume": self.resume_token()})

    def finish(self, code: int) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.session = None
            connection.finish(code)

    # ---- what the protocol says ----

    def say(self, message: dict[str, Any], re: int | str | None = None) -> None:
        """One kept message, a reply when `re` is given."""
        self.tell(encode({**message, "re": re} if re is not None else message), True)

    def welcome(self, re: int | str | None, media: str, restored: bool) -> None:
        """Everything from the start; what was kept is void."""
        self._kept.clear()
        self._kept_bytes = 0
        s = self._settings
        self.say(
            {
                "type": "welcome", "version": 1, "time": stamp(self._now()), **self.room.view(self.who), **self._ice(),
                "resume": self.resume_token(), "media": media, "restored": restored,
                "ping_seconds": s.ping_seconds, "grace_seconds": s.grace_seconds,
                "limits": {
                    "message": s.message_bytes, "rate": s.rate, "burst": s.burst, "chat": s.chat_chars, "data": s.data_bytes,
                    "publishers": s.publishers, "watchers": s.watchers, "record": self.room.records,
                    "messages": bool(s.messages),
                },
            },
            re,
        )  # fmt: skip

    def replayable(self, seq: int) -> bool:
        """Whether everything after `seq` is still there."""
        return seq <= self.seq and (seq == self.seq or (bool(self._kept) and self._kept[0][0] <= seq + 1))

    def replay(self, re: int | str | None, seq: int) -> None:
        """`resumed` and what was missed, to the new connection alone."""
        assert self.connection is not None
        missed = [text for number, text in self._kept if number > seq]
        message = {
            "type": "resumed", "seq": self.seq, "missed": len(missed), "media": "kept" if self.who.peer is not None else "new",
            "resume": self.resume_token(), **self._ice(),
        }  # fmt: skip
        self.connection.send(encode({**message, "re": re} if re is not None else message))
        for text in missed:
            self.connection.send(text)

    def ice(self, re: int | str | None) -> None:
        """Fresh TURN credentials."""
        self.say({"type": "ice-servers", **self._ice()}, re)

    def resume_token(self) -> str:
        """For the client to keep; empty when it cannot come back."""
        if not self.client:
            return ""
        self.token_at = self._now()
        identity = replace(self.who.identity, admitted=self.who.admitted)
        return self._tokens.issue_resume(identity, self.id, self.client, self._settings.resume_seconds)

    def _ice(self) -> dict[str, Any]:
        return {"ice_servers": ice_servers(self._settings, self.who.id, self._now()), "ice_seconds": self._settings.turn_seconds}
